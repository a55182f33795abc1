//! Logs, `Debug` and `Display` contain no secrets and no prompts.

use std::sync::Mutex;

use h2o_chat::{Client, Message, Proxy, Request};
use log::{Level, LevelFilter, Log, Metadata, Record};

mod stand_in;

use stand_in::{Dialect, Reaction, StandIn};

/// Keeps all messages of this crate, and those of other crates up to the debug level.
struct Lines {
    own: Mutex<Vec<(Level, String)>>,
    others: Mutex<Vec<String>>,
}

static LINES: Lines = Lines { own: Mutex::new(Vec::new()), others: Mutex::new(Vec::new()) };

fn is_own(metadata: &Metadata) -> bool {
    metadata.target().starts_with("h2o_chat")
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_own(metadata) || metadata.level() <= Level::Debug
    }

    fn log(&self, record: &Record) {
        let line = record.args().to_string();
        if is_own(record.metadata()) {
            self.own.lock().unwrap().push((record.level(), line));
        } else if self.enabled(record.metadata()) {
            let line = format!("{} {line}", record.target());
            self.others.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

/// Takes the messages of this crate since the last call.
fn logged() -> Vec<(Level, String)> {
    let lines = std::mem::take(&mut *LINES.own.lock().unwrap());
    assert!(!format!("{lines:?}").contains("secret"), "{lines:?}");
    lines
}

/// Takes the messages, of which one line must have the level "info". Returns that line.
fn only_info() -> String {
    let mut lines = logged();
    assert!(lines.len() == 1 && lines[0].0 == Level::Info, "{lines:?}");
    lines.remove(0).1
}

/// A client with secrets in all places that can have one.
fn client(server: &StandIn) -> Client {
    let url = server.url().replace("http://", "http://user:secret@");
    Client::builder(&url)
        .session("secret-session")
        .header("Authorization", "Bearer secret")
        .header("Cookie", "login=secret")
        .header("X-Key", "secret")
        .proxy(Proxy::none())
        .build()
        .unwrap()
}

fn secret_request(prompt: &str) -> Request {
    Request::messages([Message::system("secret"), Message::user(prompt)])
}

/// Sends this response to the first request of this path, and sets a secret cookie.
fn once(path: &'static str, status: &'static str) -> StandIn {
    let responses = Mutex::new(Some(format!(
        "HTTP/1.1 {status}\r\nretry-after: 0\r\nset-cookie: lb=secret\r\n\
         content-length: 4\r\n\r\nbusy"
    )));
    StandIn::builder()
        .plan(|_| stand_in::Plan::tokens(["secret", " text"]))
        .intercept(move |request| {
            let response =
                request.path.starts_with(path).then(|| responses.lock().unwrap().take())?;
            Some(Reaction::Response(response?.into()))
        })
        .start()
}

fn too_many_leftovers_are_a_warning_that_names_the_oldest() {
    const MAX: usize = 1000;
    let refuse = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n";
    let react = |request: &stand_in::Request| {
        (request.method == "DELETE").then(|| Reaction::Response(refuse.to_vec()))
    };
    let server = StandIn::builder().intercept(react).start();
    let client = client(&server);
    for _ in 0..=MAX {
        client.ask("/count 1").unwrap();
    }
    let all = server.conversations();
    assert_eq!(client.leftovers(), all[1..]);
    let lines = logged();
    let dropped: Vec<_> = lines.iter().filter(|(_, line)| line.contains("forgetting")).collect();
    assert!(matches!(dropped[..], [(Level::Warn, line)] if line.contains(&all[0])), "{dropped:?}");
}

#[test]
fn logs_contain_no_secrets() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);

    let server = once("/settings", "503 Service Unavailable");
    let quiet = client(&server);
    let text = quiet.ask(secret_request("secret")).unwrap();
    assert_eq!(text, "secret text");
    let line = only_info();
    assert!(line.contains("503") && line.contains("retrying"), "{line}");
    // The second time there is nothing to log.
    quiet.ask(secret_request("secret")).unwrap();
    assert_eq!(logged(), []);

    let server = once("/conversation", "405 Method Not Allowed");
    // A given session has accepted the terms, so nothing is posted.
    let invented = Client::builder(&server.url()).proxy(Proxy::none());
    let invented = invented.build().unwrap();
    invented.ask(secret_request("secret")).unwrap();
    let line = only_info();
    assert!(line.contains("accepting the terms"), "{line}");

    let server = StandIn::builder().models(&["first/model", "second/model"]).start();
    client(&server).ask(secret_request("secret")).unwrap();
    let line = only_info();
    assert!(line.contains("first/model"), "{line}");

    let server = StandIn::builder().dialect(Dialect::Newest).start();
    let current = client(&server);
    current.ask(secret_request("secret")).unwrap();
    assert_eq!(logged(), []);
    let warm = secret_request("secret").temperature(0.9);
    current.ask(warm).unwrap();
    let line = only_info();
    assert!(line.contains("parameters are not sent"), "{line}");

    let server = StandIn::start();
    let client = client(&server);
    // A conversation that is already gone causes no warning.
    let gone = client.conversation().unwrap().keep();
    server.forget(&gone);
    client.delete_conversation(&gone).unwrap();
    assert_eq!(logged(), []);
    let tokens = client.stream("/slow").unwrap();
    let id = tokens.conversation_id().to_owned();
    drop(server);
    drop(tokens);
    let lines = logged();
    let warnings: Vec<_> = lines.iter().filter(|(level, _)| *level == Level::Warn).collect();
    assert!(matches!(warnings.as_slice(), [(_, line)] if line.contains(&id)), "{lines:?}");

    let error = client.ask(secret_request("secret")).unwrap_err();
    let shown = format!("{lines:?} {error} {error:?} {client:?} {:?}", secret_request("secret"));
    assert!(!shown.contains("secret"), "{shown}");

    too_many_leftovers_are_a_warning_that_names_the_oldest();

    let others = LINES.others.lock().unwrap();
    let requests = others.iter().filter(|line| line.starts_with("ureq"));
    assert!(requests.count() > 0, "nothing was captured");
    let leak = others.iter().find(|line| line.contains("secret"));
    assert_eq!(leak, None);
}
