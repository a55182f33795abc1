//! The same over https: a relay that speaks TLS stands before the stand-in, and only who trusts its authority
//! talks to it.
#![cfg(all(target_os = "linux", feature = "rustls"))]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, ClientBuilder, ErrorKind, Limit, Request, Step, Stop};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

mod example;
mod stand_in;

use stand_in::StandIn;

/// Signed the relay's certificate; both are for tests only, and their keys are known to everybody.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem");

/// Relays https to the server; returns its URL.
fn relay_to(server: &StandIn) -> String {
    relay_with(include_bytes!("tls/server.pem"), server)
}

/// The same with this certificate.
fn relay_with(certificate: &[u8], server: &StandIn) -> String {
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key.pem")).unwrap();
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
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

/// Two threads that share the state of the connection, but wait without holding it.
fn relay(mut client: TcpStream, tls: ServerConnection, mut server: &TcpStream) -> io::Result<()> {
    let tls = Arc::new(Mutex::new(tls));
    let mut down = Down {
        tls: Arc::clone(&tls),
        server: server.try_clone()?,
        client: client.try_clone()?,
    };
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

/// A server that knows that it is spoken to over https.
fn server() -> StandIn {
    StandIn::builder().https_referer().start()
}

fn ask(url: &str, authority: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = example::command("ask");
    command
        .args(["--url", url])
        .args(arguments)
        .stdin(Stdio::null());
    match authority {
        Some(authority) => command.env("SSL_CERT_FILE", authority),
        None => command.env_remove("SSL_CERT_FILE"),
    };
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_reply_over_https_is_four_requests_on_one_connection() {
    let server = server();
    let output = ask(&relay_to(&server), Some(AUTHORITY), &["hello"]);
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (" Hi there, how can I help?\n", "")
    );
    let counts = server.counts();
    assert_eq!(
        (counts.connections, counts.requests, counts.conversations),
        (1, 4, 0)
    );
}

#[test]
fn limits_act_over_https_and_nothing_stays_behind() {
    let server = server();
    let url = relay_to(&server);
    for (prompt, stdout) in [("/silent", ""), ("/hang", " Hi there, how can\n")] {
        let output = ask(&url, Some(AUTHORITY), &["--silence", "2", prompt]);
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(1), stdout)
        );
        assert!(
            text(&output.stderr).contains("the silence limit"),
            "{}",
            text(&output.stderr)
        );
        server.wait_for("nothing to be left", |counts| {
            counts.conversations + counts.running == 0
        });
    }
}

#[test]
fn a_connection_that_breaks_off_is_no_complete_reply_over_https() {
    let server = server();
    let output = ask(&relay_to(&server), Some(AUTHORITY), &["/dropped"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), " Hi there, how can\n")
    );
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_certificate_that_is_not_trusted_is_not_talked_to() {
    let server = server();
    let output = ask(&relay_to(&server), None, &["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("no secure connection") && stderr.contains("SSL_CERT_FILE"),
        "{stderr}"
    );
    assert_eq!(server.counts().requests, 0);
}

/// A client that trusts the relay's authority, and no other.
fn client(server: &StandIn) -> ClientBuilder {
    let pem = include_bytes!("tls/ca.pem");
    Client::builder(&relay_to(server)).authorities(pem)
}

#[test]
fn an_authority_of_ones_own_can_be_given() {
    let server = server();
    let trusting = client(&server).build().unwrap();
    assert_eq!(trusting.ask("hello").unwrap(), " Hi there, how can I help?");
    // The relay's own certificate is no authority, and what is no certificate is refused at once.
    let key = include_bytes!("tls/server.key.pem");
    let broken = b"-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n";
    for pem in [&key[..], b"", b"nonsense", broken] {
        let builder = Client::builder("https://127.0.0.1:1").authorities(pem);
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Input);
    }
    // The system does not know the authority.
    let stranger = Client::builder(&relay_to(&server)).retries(0).build();
    let error = stranger.unwrap().ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
}

#[test]
fn it_is_said_what_is_wrong_with_a_certificate() {
    let expired = include_bytes!("tls/expired.pem");
    let authority = include_bytes!("tls/self-signed-ca.pem");
    let server = server();
    let other_name = relay_to(&server).replace("127.0.0.1", "localhost");
    let trusted = include_bytes!("tls/ca.pem");
    for (url, trusted, words, hint) in [
        (
            other_name,
            &trusted[..],
            "not valid for name",
            "another name",
        ),
        (
            relay_with(expired, &server),
            expired,
            "expired",
            "out of date",
        ),
        (
            relay_with(authority, &server),
            authority,
            "CaUsed",
            "CA:TRUE",
        ),
    ] {
        let client = Client::builder(&url).authorities(trusted).build().unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn a_handshake_that_the_server_ends_is_tried_again() {
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
    assert!(
        error.to_string().contains("no secure connection"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("https"), "{error}");
    ended.join().unwrap();
}

#[test]
fn a_stop_a_silence_and_a_deadline_act_in_head_and_body_over_https() {
    const SHORT: Duration = Duration::from_millis(500);
    let server = server();
    let short = client(&server).silence_timeout(SHORT).build().unwrap();
    let patient = client(&server).build().unwrap();
    for (prompt, step) in [("/silent", Step::Message), ("/hang", Step::Reply)] {
        let error = short.ask(prompt).unwrap_err();
        let silence = ErrorKind::Timeout(Limit::Silence);
        assert_eq!((error.kind(), error.step()), (silence, step), "{error}");

        let request = Request::new(prompt).deadline(SHORT * 2);
        let error = patient.ask(request).unwrap_err();
        let deadline = ErrorKind::Timeout(Limit::Deadline);
        assert_eq!((error.kind(), error.step()), (deadline, step), "{error}");

        let stop = Stop::default();
        let request = Request::new(prompt).stop(&stop);
        let error = thread::scope(|scope| {
            let call = scope.spawn(|| patient.ask(request).unwrap_err());
            server.wait_for("the generation", |counts| counts.running == 1);
            stop.stop();
            call.join().unwrap()
        });
        assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
        server.wait_for("nothing to be left", |counts| {
            counts.conversations + counts.running == 0
        });
    }
}
