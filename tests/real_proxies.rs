//! Replies through proxy programs of the system, where it has them: tinyproxy for http, microsocks for SOCKS. What is
//! promised of every proxy is tested in `proxy.rs`, without them.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::ErrorKind::NotFound;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, Error, ErrorKind, Proxy, Request, Stop};

mod stand_in;

use stand_in::StandIn;

/// A proxy program, which ends with the test.
struct Program {
    process: Child,
    port: u16,
}

impl Program {
    /// Starts it on a port of its own; none if the system does not have it.
    fn start(name: &str, arguments: impl Fn(u16) -> Vec<String>) -> Option<Program> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(name);
        command.args(arguments(port)).stdin(Stdio::null());
        let process = match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == NotFound => {
                println!("there is no {name} here");
                return None;
            }
            process => process.unwrap(),
        };
        let program = Program { process, port };
        program.wait();
        Some(program)
    }

    /// Until it listens.
    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "the proxy does not listen");
            thread::yield_now();
        }
    }

    fn url(&self, scheme: &str, password: &str) -> String {
        format!("{scheme}://me:{password}@127.0.0.1:{}", self.port)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tinyproxy() -> Option<Program> {
    Program::start("tinyproxy", |port| {
        let path = format!("{}/tinyproxy-{port}.conf", env!("CARGO_TARGET_TMPDIR"));
        let config = format!("Port {port}\nListen 127.0.0.1\nMaxClients 20\nBasicAuth me secret\n");
        fs::write(&path, config).unwrap();
        vec!["-d".to_owned(), "-c".to_owned(), path]
    })
}

fn microsocks() -> Option<Program> {
    Program::start("microsocks", |port| {
        let arguments = format!("-i 127.0.0.1 -p {port} -u me -P secret");
        arguments.split(' ').map(str::to_owned).collect()
    })
}

fn client(server: &StandIn, proxy: String) -> Client {
    let builder = Client::builder(&server.url()).proxy(Proxy::url(proxy));
    builder.retries(0).build().unwrap()
}

/// A reply, one that is stopped, and a wrong password.
fn try_out(program: &Program, scheme: &str) -> Error {
    let server = StandIn::start();
    let trusted = client(&server, program.url(scheme, "secret"));
    assert_eq!(trusted.ask("hello").unwrap(), " Hi there, how can I help?");
    assert_eq!(server.counts().connections, 1);

    let stop = Stop::default();
    let request = Request::new("/slow").stop(&stop);
    let mut tokens = trusted.generate(request).unwrap();
    tokens.next().unwrap().unwrap();
    stop.stop();
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.undeleted()),
        (ErrorKind::Stopped, None)
    );
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });

    let stranger = client(&server, program.url(scheme, "wrong"));
    let error = stranger.ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong"), "{error}");
    error
}

#[test]
fn tinyproxy_lets_a_reply_through_and_refuses_a_stranger() {
    if let Some(program) = tinyproxy() {
        let error = try_out(&program, "http");
        // Some versions say 407, others 401.
        assert!(error.to_string().contains("it answered 40"), "{error}");
    }
}

#[test]
fn microsocks_lets_a_reply_through_and_refuses_a_stranger() {
    if let Some(program) = microsocks() {
        for scheme in ["socks5", "socks5h"] {
            try_out(&program, scheme);
        }
    }
}
