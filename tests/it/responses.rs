//! Every unexpected response at every step, and the counts of the server afterwards.

use std::time::Duration;

use h2o_chat::{ErrorKind, Step};

use ErrorKind::{LoginRequired, Protocol, Status, TooLarge, Truncated};

use crate::stand_in::{Counts, Reaction, Request, Response, StandIn, frame};
use crate::support::{always, assert_failed, builder, client, count, step_of};

/// A response, and its expected outcome.
#[derive(Clone, Copy)]
struct Row {
    step: Step,
    by: By,
    status: &'static str,
    content_type: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static str,
    kind: ErrorKind,
    /// Words in the error message.
    words: &'static str,
    /// The attempts of the step, all requests, and the stops among them.
    counted: [usize; 3],
}

/// The author of a response, who determines its framing.
#[derive(Clone, Copy)]
enum By {
    /// A hook in front of the server's routes: no cookie, in chunks.
    Hook,
    /// A route of the server.
    Route,
    /// The model's server, whose response is relayed.
    Model,
    /// Another program.
    Stranger,
}

use By::{Hook, Model, Route, Stranger};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain";

/// Author, status, content type and body.
type Said = (By, &'static str, &'static str, &'static str);

const fn row(
    step: Step,
    (by, status, content_type, body): Said,
    kind: ErrorKind,
    words: &'static str,
    counted: [usize; 3],
) -> Row {
    Row { step, by, status, content_type, header: None, body, kind, words, counted }
}

const fn with(name: &'static str, value: &'static str, row: Row) -> Row {
    Row { header: Some((name, value)), ..row }
}

const fn location(url: &'static str, row: Row) -> Row {
    with("location", url, row)
}

const MODAL: &str = "You need to accept the welcome modal first";
const MODAL_JSON: &str = r#"{"error":"You need to accept the welcome modal first"}"#;
const NO_REFERER: &str = r#"{"error":"Non-JSON form requests need to have a referer"}"#;
const INVALID_REFERER: &str = r#"{"error":"Invalid referer for POST request"}"#;
const ACTION_ERROR: &str = r#"{"type":"error","error":{"message":"Internal Error"}}"#;
const TO_LOGIN: &str = r#"{"type":"redirect","status":303,"location":"/login"}"#;
const ELSEWHERE: &str = r#"{"type":"redirect","status":303,"location":"/chat/settings"}"#;
const INTERNAL_ERROR: &str = r#"{"message":"Internal Error"}"#;
const NOT_FOUND: &str = r#"{"message":"Conversation not found"}"#;
const RATE_LIMIT: &str = r#"{"message":"You are sending too many messages. Try again later."}"#;
const OVERLOADED: &str = r#"{"error":"Model is overloaded","error_type":"overloaded"}"#;
const LOADING: &str =
    r#"{"error":"Model h2oai/h2ogpt is currently loading","estimated_time":20.0}"#;
const TOO_LONG: &str = concat!(
    r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. "#,
    r#"Given: 3000 `inputs` tokens and 1024 `max_new_tokens`","error_type":"validation"}"#
);
const ERROR_PAGE: &str = "<!doctype html>\n<title>500</title><h1>Internal Error</h1>";
const BAD_GATEWAY: &str = "<html><body>bad gateway</body></html>";
const OTHER_PAGE: &str = "<html><title>Welcome to nginx!</title><a href=/login>Login</a></html>";

/// Three things are retried once: a 429 or 503 without a long wait; settings after a 403, with the
/// other Referer; and a request after a 405, with new settings before it.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(Step::PostSettings, (Hook, "403 Forbidden", JSON, NO_REFERER), Status, "need to have a referer", [2, 2, 0]),
    row(Step::PostSettings, (Hook, "403 Forbidden", JSON, INVALID_REFERER), Status, "Invalid referer", [2, 2, 0]),
    row(Step::PostSettings, (Route, "500 Internal Server Error", JSON, ACTION_ERROR), Status, "Internal Error", [1, 2, 0]),
    row(Step::PostSettings, (Stranger, "404 Not Found", HTML, "<html><title>404</title></html>"), Status, "404", [1, 1, 0]),
    row(Step::PostSettings, (Hook, "405 Method Not Allowed", JSON, MODAL_JSON), Status, "welcome modal", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "405 Method Not Allowed", TEXT, "POST method not allowed"), Status, "not allowed", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "401 Unauthorized", TEXT, "who are you?"), LoginRequired, "who are you?", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "413 Payload Too Large", TEXT, "Invalid request body"), Status, "Invalid request body", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "429 Too Many Requests", JSON, r#"{"message":"Slow down"}"#), Status, "Slow down", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "502 Bad Gateway", HTML, "<html><body><h1>bad\n gateway</h1></body></html>"), Status, "bad gateway", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "200 OK", HTML, OTHER_PAGE), Protocol, "Welcome to nginx!", [1, 1, 0]),
    row(Step::PostSettings, (Stranger, "200 OK", TEXT, "It works!"), Protocol, "It works!", [1, 1, 0]),
    row(Step::PostSettings, (Route, "200 OK", JSON, r#"{"type":"failure","status":400}"#), Protocol, "failure", [1, 1, 0]),
    row(Step::PostSettings, (Route, "200 OK", JSON, TO_LOGIN), LoginRequired, "log in", [1, 1, 0]),
    row(Step::PostSettings, (Route, "200 OK", JSON, ELSEWHERE), Status, "/chat, which", [1, 1, 0]),
    location("/settings/", row(Step::PostSettings, (Route, "308 Permanent Redirect", "", ""), Status, "/settings/, which", [1, 1, 0])),
    location("/chat/settings?x=1", row(Step::PostSettings, (Stranger, "308 Permanent Redirect", "", ""), Status, "/chat, which", [1, 1, 0])),
    location("https://chat.example.org/settings", row(Step::PostSettings, (Stranger, "301 Moved Permanently", "", ""), Status, "a redirect to https://chat.example.org, which", [1, 1, 0])),
    location("https://chat.example.org/login?next=%2F", row(Step::PostSettings, (Stranger, "302 Found", "", ""), LoginRequired, "log in", [1, 1, 0])),
    location("/login", row(Step::PostSettings, (Route, "303 See Other", "", ""), LoginRequired, "log in", [1, 1, 0])),

    row(Step::CreateConversation, (Route, "500 Internal Server Error", JSON, INTERNAL_ERROR), Status, "Internal Error", [1, 2, 0]),
    row(Step::CreateConversation, (Route, "500 Internal Server Error", HTML, ERROR_PAGE), Status, "500", [1, 2, 0]),
    row(Step::CreateConversation, (Hook, "405 Method Not Allowed", JSON, MODAL_JSON), Status, "welcome modal", [2, 4, 0]),
    row(Step::CreateConversation, (Route, "200 OK", JSON, r#"{"conversationId":7}"#), Protocol, "conversationId", [1, 2, 0]),
    row(Step::CreateConversation, (Stranger, "200 OK", JSON, "[]"), Protocol, "[]", [1, 2, 0]),
    row(Step::CreateConversation, (Stranger, "503 Service Unavailable", TEXT, "busy"), Status, "busy", [2, 3, 0]),
    location("http://127.0.0.1/login", row(Step::CreateConversation, (Route, "302 Found", "", ""), LoginRequired, "log in", [1, 2, 0])),
    with("retry-after", "7", row(Step::CreateConversation, (Stranger, "503 Service Unavailable", TEXT, "busy"), Status, "busy", [1, 2, 0])),

    row(Step::SendMessage, (Route, "404 Not Found", JSON, NOT_FOUND), Status, "Conversation not found", [1, 4, 0]),
    row(Step::SendMessage, (Hook, "405 Method Not Allowed", JSON, MODAL_JSON), Status, "welcome modal", [2, 6, 0]),
    row(Step::SendMessage, (Stranger, "413 Payload Too Large", TEXT, "Invalid request body"), Status, "Invalid request body", [1, 4, 0]),
    row(Step::SendMessage, (Model, "422 Unprocessable Entity", JSON, TOO_LONG), Status, "Input validation error: `inputs` tokens", [1, 4, 0]),
    row(Step::SendMessage, (Route, "429 Too Many Requests", JSON, RATE_LIMIT), Status, "too many messages", [1, 4, 0]),
    with("retry-after", "7", row(Step::SendMessage, (Model, "429 Too Many Requests", JSON, OVERLOADED), Status, "Model is overloaded", [1, 4, 0])),
    row(Step::SendMessage, (Route, "500 Internal Server Error", JSON, INTERNAL_ERROR), Status, "Internal Error", [1, 4, 0]),
    row(Step::SendMessage, (Route, "500 Internal Server Error", HTML, ERROR_PAGE), Status, "500", [1, 4, 0]),
    // A gateway does not know whether a generation is running behind it.
    row(Step::SendMessage, (Model, "502 Bad Gateway", "text/html", BAD_GATEWAY), Status, "bad gateway", [1, 5, 1]),
    row(Step::SendMessage, (Model, "503 Service Unavailable", JSON, LOADING), Status, "currently loading", [2, 6, 1]),
    row(Step::SendMessage, (Stranger, "504 Gateway Timeout", "", ""), Status, "Gateway Timeout", [1, 5, 1]),
    row(Step::SendMessage, (Stranger, "200 OK", HTML, OTHER_PAGE), Protocol, "Welcome to nginx!", [1, 4, 0]),
    row(Step::SendMessage, (Stranger, "200 OK", JSON, r#"{"type":"stream","token":"x"}"#), Protocol, "application/json", [1, 4, 0]),

    row(Step::DeleteConversation, (Hook, "405 Method Not Allowed", TEXT, MODAL), Status, "welcome modal", [2, 6, 0]),
    row(Step::DeleteConversation, (Route, "500 Internal Server Error", JSON, INTERNAL_ERROR), Status, "Internal Error", [1, 4, 0]),
    row(Step::DeleteConversation, (Stranger, "403 Forbidden", TEXT, "no"), Status, "no", [1, 4, 0]),
    location("/login", row(Step::DeleteConversation, (Route, "302 Found", "", ""), LoginRequired, "log in", [1, 4, 0])),
];

impl Row {
    /// Renders the response with the framing of its author.
    fn response(&self, request: &Request) -> Vec<u8> {
        let (code, reason) = self.status.split_once(' ').unwrap();
        let mut response = Response::with_reason(code.parse().unwrap(), reason);
        for (name, value) in [("content-type", self.content_type)].into_iter().chain(self.header) {
            if !value.is_empty() {
                response = response.header(name, value);
            }
        }
        if let Route | Model = self.by {
            let session = request.header("cookie").unwrap_or_default();
            let attributes =
                "Path=/; Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None";
            response = response.header("set-cookie", format!("{session}; {attributes}"));
        }
        let response = match self.by {
            Hook => response.body(self.body),
            Model => response.relayed(Vec::new(), self.body.into()),
            Route | Stranger => response.sized(self.body),
        };
        response.render(false)
    }

    fn server(&'static self) -> StandIn {
        let react = |request: &Request| {
            (step_of(request) == Some(self.step))
                .then(|| Reaction::Response(self.response(request)))
        };
        StandIn::builder().intercept(react).start()
    }

    fn code(&self) -> u16 {
        self.status.split(' ').next().unwrap().parse().unwrap()
    }

    /// Returns whether the same call may succeed later.
    fn is_passing(&self) -> bool {
        matches!(self.code(), 429 | 502..=504) && self.step != Step::DeleteConversation
    }
}

/// Returns the counts of a server with this many conversations and no generation.
fn counted(server: &StandIn, step: Step, conversations: usize) -> [usize; 3] {
    let is_quiet = |counts: &Counts| counts.running == 0 && counts.conversations == conversations;
    server.wait_for("nothing to be left", is_quiet);
    [count(server, step), server.counts().requests, count(server, Step::StopGeneration)]
}

#[test]
fn every_unexpected_response_is_an_error_and_leaves_nothing() {
    for row in ROWS {
        let server = row.server();
        let wait = Duration::from_millis(1);
        let client = builder(&server).retries(1).max_retry_wait(wait);
        let client = client.build().unwrap();
        let error = match client.stream("/count 1") {
            Err(error) => error,
            Ok(tokens) => tokens.last().unwrap().unwrap_err(),
        };
        let context = format!("{:?} {} {:?}: {error}", row.step, row.status, row.body);
        let actual = (error.kind(), error.step(), error.status());
        assert_eq!(actual, (row.kind, row.step, Some(row.code())), "{context}");
        assert!(error.to_string().contains(row.words), "{context}");
        assert!(!error.to_string().contains('\n'), "{context}");
        assert_eq!(error.is_retryable(), row.is_passing(), "{context}");

        let left = usize::from(row.step == Step::DeleteConversation);
        assert_eq!(counted(&server, row.step, left), row.counted, "{context}");
        assert_eq!(error.undeleted().is_some(), left == 1, "{context}");
    }
}

/// A response that lets the client go on, whatever it asks.
fn prepared(request: &Request, headers: &[(&str, String)]) -> Vec<u8> {
    let (content_type, body) = match (&*request.method, &*request.path) {
        ("POST", "/settings") => (JSON, br#"{"type":"redirect","status":303}"#.to_vec()),
        ("POST", "/conversation") => (JSON, br#"{"conversationId":"a1"}"#.to_vec()),
        ("POST", _) => ("text/event-stream", frame::last(0, "Hi", "Hi", None)),
        _ => (JSON, b"{}".to_vec()),
    };
    let response = Response::new(200).header("content-type", content_type).sized(body);
    let add = |response: Response, (name, value): &(&str, String)| response.header(name, value);
    headers.iter().fold(response, add).render(false)
}

/// Has a server answer each request with a head of this size. Returns the outcome and the number of
/// connections.
fn with_heads_of(size: usize) -> (h2o_chat::Result<String>, usize) {
    let server = StandIn::builder().intercept(move |request| {
        let padded = |length: usize| prepared(request, &[("x-padding", "x".repeat(length))]);
        let empty = padded(0);
        let head = empty.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        Some(Reaction::Response(padded(size - head)))
    });
    let server = server.start();
    let reply = client(&server).ask("hello");
    (reply, server.counts().connections)
}

#[test]
fn heads_of_16_kib_are_read_on_fresh_and_reused_connections() {
    let (reply, connections) = with_heads_of(16 * 1024);
    assert_eq!((reply.unwrap().as_str(), connections), ("Hi", 1));
    let (reply, _) = with_heads_of(16 * 1024 + 1);
    assert_failed(&reply.unwrap_err(), TooLarge, Step::PostSettings);
}

/// Every line of a request's head fits into the buffer that it is sent from.
#[test]
fn large_headers_are_sent() {
    let cookies = |request: &Request| {
        let header = request.headers.iter().find(|(name, _)| name == "cookie");
        header.map_or(0, |(_, value)| value.len())
    };
    // The most that a server can set: a session, and other cookies beside it.
    let server = StandIn::builder().intercept(|request| {
        let session = format!("hf-chat={}", "s".repeat(1000));
        let others = ["a", "b"].map(|name| format!("{name}={}", "x".repeat(1020)));
        let cookies = [&[session][..], &others].concat();
        let headers: Vec<_> = cookies.into_iter().map(|cookie| ("set-cookie", cookie)).collect();
        Some(Reaction::Response(prepared(request, &headers)))
    });
    let server = server.start();
    // Small headers of the user, and larger ones.
    for length in [350, 7000] {
        let client = builder(&server).header("cookie", format!("c={}", "x".repeat(length)));
        assert_eq!(client.build().unwrap().ask("hello").unwrap(), "Hi");
        let longest = server.requests().iter().map(cookies).max();
        assert!(longest.is_some_and(|longest| longest > 3000 + length), "{longest:?}");
    }
}

#[test]
fn a_truncated_or_endless_response_is_an_error_at_every_step() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let endless =
        ["HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", &" ".repeat(2 << 20)]
            .concat();
    for step in [Step::PostSettings, Step::CreateConversation] {
        for (response, kind) in
            [(cut, Truncated), (&endless, TooLarge), ("HTTP/1.1 200 OK\r\n", Truncated)]
        {
            let response = response.as_bytes().to_vec();
            let reaction = move || Reaction::ResponseAndClose(response.clone());
            let server = always(step, reaction);
            let client = client(&server);
            let error = client.ask("hello").unwrap_err();
            assert_failed(&error, kind, step);
        }
    }
}

#[test]
fn a_body_that_is_encoded_is_an_error_that_names_the_encoding() {
    // The beginning of what gzip and others write, and an end of a line.
    let encoded =
        [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xe6".as_slice(), &[0xb7; 200], b"\n"].concat();
    for (step, content_type) in [
        (Step::CreateConversation, "application/json"),
        (Step::SendMessage, "text/html"),
        (Step::SendMessage, "text/event-stream"),
    ] {
        let answer = Response::new(200).header("content-type", content_type);
        let answer = answer.header("content-encoding", "zstd").sized(encoded.clone());
        let server = always(step, move || Reaction::Response(answer.render(false)));
        let error = client(&server).ask("hello").unwrap_err();
        let is_stream = content_type == "text/event-stream";
        assert_failed(&error, Protocol, if is_stream { Step::ReadReply } else { step });
        assert!(error.to_string().contains("encoded with zstd"), "{error}");
        assert_eq!(error.server_message(), None, "{error}");
    }
    let answer =
        Response::with_reason(502, "Bad Gateway").header("content-encoding", "zstd").sized(encoded);
    let server = always(Step::CreateConversation, move || Reaction::Response(answer.render(false)));
    let error = client(&server).ask("hello").unwrap_err();
    assert_eq!((error.status(), error.server_message()), (Some(502), None), "{error}");
}
