//! Every answer that a server can give instead of the one that is hoped for, at every step where it can.

use h2o_chat::{Client, ErrorKind, Step};

mod stand_in;

use ErrorKind::{Login, Protocol, Status, TooLarge, Truncated};
use stand_in::{Reaction, Request, StandIn};

/// An answer, and what has to become of it.
#[derive(Clone, Copy)]
struct Row {
    step: Step,
    status: &'static str,
    content_type: &'static str,
    /// Lines, each with its end.
    headers: &'static str,
    body: &'static str,
    kind: ErrorKind,
    /// In the server's words, or what the error says besides.
    words: &'static str,
}

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain";

const fn row(
    step: Step,
    status: &'static str,
    content_type: &'static str,
    body: &'static str,
    kind: ErrorKind,
    words: &'static str,
) -> Row {
    Row {
        step,
        status,
        content_type,
        headers: "",
        body,
        kind,
        words,
    }
}

const fn with(headers: &'static str, row: Row) -> Row {
    Row { headers, ..row }
}

const INTERNAL_ERROR: &str = r#"{"message":"Internal Error"}"#;
const ERROR_PAGE: &str = "<!doctype html>\n<html><head><title>500</title></head><body><h1>Internal Error</h1></body></html>";
const LOGIN_PAGE: &str =
    "<html><title>Sign in</title><form><input type=\"password\"></form></html>";
const OTHER_PAGE: &str = "<html><title>Welcome to nginx!</title></html>";
const TOO_LONG: &str = r#"{"error":"Input validation error: too long","error_type":"validation"}"#;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(Step::Settings, "403 Forbidden", TEXT, "Non-JSON form requests need to have a referer", Status, "need to have a referer"),
    row(Step::Settings, "403 Forbidden", TEXT, "Invalid referer for POST request", Status, "Invalid referer"),
    row(Step::Settings, "500 Internal Server Error", JSON, r#"{"type":"error","error":{"message":"Internal Error"}}"#, Status, "Internal Error"),
    row(Step::Settings, "404 Not Found", HTML, "<html><title>404</title></html>", Status, "404"),
    row(Step::Settings, "405 Method Not Allowed", TEXT, "POST method not allowed", Status, "not allowed"),
    row(Step::Settings, "401 Unauthorized", TEXT, "who are you?", Login, "who are you?"),
    row(Step::Settings, "413 Payload Too Large", TEXT, "Invalid request body", Status, "Invalid request body"),
    row(Step::Settings, "429 Too Many Requests", JSON, r#"{"message":"Slow down"}"#, Status, "Slow down"),
    row(Step::Settings, "502 Bad Gateway", HTML, "<html><body><h1>bad\n gateway</h1></body></html>", Status, "bad gateway"),
    row(Step::Settings, "200 OK", HTML, LOGIN_PAGE, Login, "Sign in"),
    row(Step::Settings, "200 OK", HTML, OTHER_PAGE, Protocol, "Welcome to nginx!"),
    row(Step::Settings, "200 OK", TEXT, "It works!", Protocol, "It works!"),
    row(Step::Settings, "200 OK", JSON, "", Protocol, "not JSON"),
    row(Step::Settings, "200 OK", JSON, r#"{"type":"failure","status":400}"#, Protocol, "failure"),
    row(Step::Settings, "204 No Content", "", "", Protocol, "not JSON"),
    with("location: /settings/\r\n", row(Step::Settings, "308 Permanent Redirect", "", "", Status, "/settings/; redirects")),
    with("location: https://chat.example.org/settings\r\n", row(Step::Settings, "301 Moved Permanently", "", "", Status, "pointing to https://chat.example.org;")),
    with("location: https://chat.example.org/login?next=%2F\r\n", row(Step::Settings, "302 Found", "", "", Login, "log in")),
    with("location: /login\r\n", row(Step::Settings, "303 See Other", "", "", Login, "log in")),

    row(Step::Conversation, "500 Internal Server Error", JSON, INTERNAL_ERROR, Status, "Internal Error"),
    row(Step::Conversation, "500 Internal Server Error", HTML, ERROR_PAGE, Status, "500"),
    row(Step::Conversation, "405 Method Not Allowed", JSON, r#"{"error":"You need to accept the welcome modal first"}"#, Status, "welcome modal"),
    row(Step::Conversation, "200 OK", JSON, r#"{"conversationId":7}"#, Protocol, "conversationId"),
    row(Step::Conversation, "200 OK", JSON, "[]", Protocol, "[]"),
    row(Step::Conversation, "200 OK", HTML, LOGIN_PAGE, Login, "Sign in"),
    with("location: http://127.0.0.1/login\r\n", row(Step::Conversation, "302 Found", "", "", Login, "log in")),
    with("retry-after: 7\r\n", row(Step::Conversation, "503 Service Unavailable", TEXT, "busy", Status, "busy")),

    row(Step::Message, "404 Not Found", JSON, r#"{"message":"Conversation not found"}"#, Status, "Conversation not found"),
    row(Step::Message, "405 Method Not Allowed", TEXT, "You need to accept the welcome modal first", Status, "welcome modal"),
    row(Step::Message, "413 Payload Too Large", TEXT, "Invalid request body", Status, "Invalid request body"),
    row(Step::Message, "422 Unprocessable Entity", JSON, TOO_LONG, Status, "Input validation error: too long"),
    row(Step::Message, "429 Too Many Requests", JSON, r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, Status, "Model is overloaded"),
    row(Step::Message, "500 Internal Server Error", JSON, INTERNAL_ERROR, Status, "Internal Error"),
    row(Step::Message, "500 Internal Server Error", HTML, ERROR_PAGE, Status, "500"),
    row(Step::Message, "503 Service Unavailable", JSON, r#"{"error":"loading","estimated_time":20.0}"#, Status, "loading"),
    row(Step::Message, "504 Gateway Timeout", "", "", Status, "Gateway Timeout"),
    row(Step::Message, "200 OK", HTML, LOGIN_PAGE, Login, "Sign in"),
    row(Step::Message, "200 OK", HTML, OTHER_PAGE, Protocol, "Welcome to nginx!"),
    row(Step::Message, "200 OK", JSON, r#"{"type":"stream","token":"x"}"#, Protocol, "application/json"),

    row(Step::Delete, "405 Method Not Allowed", TEXT, "You need to accept the welcome modal first", Status, "welcome modal"),
    row(Step::Delete, "500 Internal Server Error", JSON, INTERNAL_ERROR, Status, "Internal Error"),
    row(Step::Delete, "403 Forbidden", TEXT, "no", Status, "no"),
    with("location: /login\r\n", row(Step::Delete, "302 Found", "", "", Login, "log in")),
];

fn step_of(request: &Request) -> Step {
    match (request.method.as_str(), request.path.as_str()) {
        (_, "/settings") => Step::Settings,
        (_, "/conversation") => Step::Conversation,
        ("DELETE", _) => Step::Delete,
        (_, path) if path.ends_with("/stop-generating") => Step::Stop,
        (_, path) if path.starts_with("/conversation/") => Step::Message,
        _ => Step::Models,
    }
}

impl Row {
    fn answer(&self) -> Vec<u8> {
        let Row {
            status,
            content_type,
            headers,
            body,
            ..
        } = self;
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into()
    }

    fn server(&'static self) -> StandIn {
        let answer = |request: &Request| {
            (step_of(request) == self.step).then(|| Reaction::Answer(self.answer()))
        };
        StandIn::builder().intercept(answer).start()
    }

    fn code(&self) -> Option<u16> {
        self.status.split(' ').next()?.parse().ok()
    }
}

#[test]
fn every_answer_is_told_for_what_it_is_and_leaves_nothing_behind() {
    for row in ROWS {
        let server = row.server();
        let client = Client::builder(&server.url()).retries(0).build().unwrap();
        let error = match client.generate("/count 1") {
            Err(error) => error,
            Ok(tokens) => tokens.last().unwrap().unwrap_err(),
        };
        let context = format!("{:?} {} {:?}: {error}", row.step, row.status, row.body);
        assert_eq!(
            (error.kind(), error.step()),
            (row.kind, row.step),
            "{context}"
        );
        if row.kind == Status {
            assert_eq!(error.status(), row.code(), "{context}");
        }
        assert!(error.to_string().contains(row.words), "{context}");
        assert!(!error.to_string().contains('\n'), "{context}");
        let busy = matches!(row.code(), Some(429 | 502 | 503 | 504));
        assert_eq!(
            error.is_retryable(),
            busy && row.step != Step::Delete,
            "{context}"
        );

        server.wait_for("no generation", |counts| counts.running == 0);
        let left = usize::from(row.step == Step::Delete);
        assert_eq!(server.counts().conversations, left, "{context}");
        assert_eq!(error.undeleted().is_some(), left == 1, "{context}");
    }
}

#[test]
fn an_answer_that_breaks_off_or_never_ends_is_an_error_at_every_step() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let endless = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
        &" ".repeat(2 << 20),
    ]
    .concat();
    for step in [Step::Settings, Step::Conversation] {
        for (answer, kind) in [
            (cut, Truncated),
            (&endless, TooLarge),
            ("HTTP/1.1 200 OK\r\n", Truncated),
        ] {
            let answer = answer.as_bytes().to_vec();
            let react = move |request: &Request| {
                (step_of(request) == step).then(|| Reaction::AnswerAndClose(answer.clone()))
            };
            let server = StandIn::builder().intercept(react).start();
            let client = Client::builder(&server.url()).retries(0).build().unwrap();
            let error = client.ask("hello").unwrap_err();
            assert_eq!((error.kind(), error.step()), (kind, step), "{error}");
        }
    }
}
