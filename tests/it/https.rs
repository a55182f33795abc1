//! https through a TLS relay in front of the stand-in. Only clients that trust its authority
//! connect.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2o_chat::{CancelHandle, Client, ClientBuilder, ErrorKind, Request, Step, Timeout};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::example;
use crate::stand_in::StandIn;
use crate::support::{GREETING, assert_failed, assert_nothing_left};
use crate::writing;

/// The authority of the relay's certificate. Both are for tests only, and their keys are public.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem");

/// Relays https to the server. Returns the relay's URL.
fn relay_to(server: &StandIn) -> String {
    relay_with(include_bytes!("../tls/server.pem"), server)
}

/// Starts a relay with this certificate.
fn relay_with(certificate: &[u8], server: &StandIn) -> String {
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key.pem")).unwrap();
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key);
    let config = Arc::new(config.unwrap());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let port = server.port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || relay(client, tls, &TcpStream::connect(("127.0.0.1", port))?));
        }
    });
    url
}

/// Relays with two threads that share the state of the connection, but do not lock it in a wait.
fn relay(mut client: TcpStream, tls: ServerConnection, mut server: &TcpStream) -> io::Result<()> {
    let tls = Arc::new(Mutex::new(tls));
    let mut down =
        Down { tls: Arc::clone(&tls), server: server.try_clone()?, client: client.try_clone()? };
    thread::spawn(move || down.run());
    let mut bytes = [0; 4096];
    let ended = loop {
        let length = client.read(&mut bytes)?;
        if length == 0 {
            break Ok(());
        }
        let mut tls = tls.lock().unwrap();
        let mut received = &bytes[..length];
        while !received.is_empty() {
            tls.read_tls(&mut received)?;
            let state = tls.process_new_packets();
            while tls.wants_write() {
                tls.write_tls(&mut client)?;
            }
            let state = state.map_err(io::Error::other)?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut plain)?;
            server.write_all(&plain)?;
        }
    };
    server.shutdown(Shutdown::Both)?;
    ended
}

struct Down {
    tls: Arc<Mutex<ServerConnection>>,
    server: TcpStream,
    client: TcpStream,
}

impl Down {
    fn run(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            let length = self.server.read(&mut bytes)?;
            if length == 0 {
                return self.client.shutdown(Shutdown::Both);
            }
            let mut tls = self.tls.lock().unwrap();
            tls.writer().write_all(&bytes[..length])?;
            while tls.wants_write() {
                tls.write_tls(&mut self.client)?;
            }
        }
    }
}

/// A server that expects https.
fn server() -> StandIn {
    StandIn::builder().https_referer().start()
}

#[test]
fn ssl_cert_file_adds_an_authority() {
    let server = server();
    let mut ask = example::command("ask");
    ask.args(["--url", &relay_to(&server), "hello"]).env("SSL_CERT_FILE", AUTHORITY);
    let output = ask.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.stdout, format!("{GREETING}\n").as_bytes(), "{output:?}");
    let counts = server.counts();
    let seen = (counts.connections, counts.requests, counts.conversations);
    assert_eq!(seen, (1, 4, 0));
}

#[test]
fn a_truncated_https_connection_is_a_truncated_reply() {
    let server = server();
    let error = client(&server).build().unwrap().ask("/dropped").unwrap_err();
    assert_failed(&error, ErrorKind::Truncated, Step::ReadReply);
    assert_eq!(error.received(), " Hi there, how can");
    assert_nothing_left(&server);
}

/// A client that trusts the relay's authority, and no other.
fn client(server: &StandIn) -> ClientBuilder {
    let pem = include_bytes!("../tls/ca.pem");
    Client::builder(&relay_to(server)).root_certificates(pem)
}

#[test]
fn the_client_can_be_given_an_authority() {
    let server = server();
    let trusting = client(&server).build().unwrap();
    assert_eq!(trusting.ask("hello").unwrap(), GREETING);
    // An invalid certificate is refused at once.
    let key = include_bytes!("../tls/server.key.pem");
    for pem in [&key[..], b"", b"nonsense"] {
        let builder = Client::builder("https://127.0.0.1:1").root_certificates(pem);
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let requests = server.counts().requests;
    // The system does not know the authority.
    let stranger = Client::builder(&relay_to(&server)).retries(0).build();
    let error = stranger.unwrap().ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Tls, Step::PostSettings);
    assert!(error.hint().unwrap().contains("SSL_CERT_FILE"), "{error}");
    assert_eq!(server.counts().requests, requests);
}

#[test]
fn certificate_errors_name_the_reason() {
    let expired = include_bytes!("../tls/expired.pem");
    let authority = include_bytes!("../tls/self-signed-ca.pem");
    let server = server();
    let other_name = relay_to(&server).replace("127.0.0.1", "localhost");
    let trusted = include_bytes!("../tls/ca.pem");
    for (url, trusted, words) in [
        (other_name, &trusted[..], "not valid for name"),
        (relay_with(expired, &server), expired, "expired"),
        (relay_with(authority, &server), authority, "CaUsed"),
    ] {
        let client = Client::builder(&url).root_certificates(trusted).build().unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn an_aborted_tls_handshake_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let ended = thread::spawn(move || {
        for _ in 0..2 {
            drop(listener.accept().unwrap());
        }
    });
    let client = Client::builder(&url).retries(1).build().unwrap();
    let error = client.ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    assert!(error.to_string().contains("no secure connection"), "{error}");
    ended.join().unwrap();
}

#[test]
fn write_to_flushes_before_it_waits() {
    let server = StandIn::builder().https_referer();
    writing::assert_lockstep(server, |server| client(server).build().unwrap());
}

#[test]
fn cancels_and_timeouts_work_over_https() {
    const SHORT: Duration = Duration::from_secs(1);
    let walk = |prompt, step| {
        let server = server();
        let short = client(&server).idle_timeout(SHORT).build().unwrap();
        let patient = client(&server).build().unwrap();
        let request = Request::new(prompt).total_timeout(SHORT);
        let (idle, late) = thread::scope(|scope| {
            let idle = scope.spawn(|| short.ask(prompt).unwrap_err());
            let late = patient.ask(request).unwrap_err();
            (idle.join().unwrap(), late)
        });
        assert_failed(&idle, ErrorKind::Timeout(Timeout::Idle), step);
        assert_failed(&late, ErrorKind::Timeout(Timeout::Total), step);
        assert_nothing_left(&server);

        let handle = CancelHandle::default();
        let request = Request::new(prompt).cancel_handle(&handle);
        let error = thread::scope(|scope| {
            let call = scope.spawn(|| patient.ask(request).unwrap_err());
            server.wait_for("the generation", |counts| counts.running == 1);
            handle.cancel();
            call.join().unwrap()
        });
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert_nothing_left(&server);
    };
    thread::scope(|scope| {
        scope.spawn(|| walk("/silent", Step::SendMessage));
        walk("/hang", Step::ReadReply);
    });
}
