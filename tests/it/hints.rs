//! Errors of a server have a hint.

use h2o_chat::{Client, Error, ErrorKind};

use crate::stand_in::StandIn;
use crate::support::{builder, client, nobody, response};

/// Returns the error of `server_info` on a server with this response to every request.
fn check(status: &str, headers: &str, body: &str) -> Error {
    let (status, headers, body) = (status.to_owned(), headers.to_owned(), body.to_owned());
    let react = move |_: &_| Some(response(&status, &headers, &body));
    let server = StandIn::builder().intercept(react).start();
    client(&server).server_info().unwrap_err()
}

const HTML: &str = "content-type: text/html\r\n";
const ERROR: &str = r#"{"type":"error","error":{"message":"Internal Error"}}"#;
const GUEST: &str = r#"{"message":"Exceeded number of messages before login"}"#;
const TO_LOGIN: &str = r#"{"type":"redirect","status":303,"location":"/login"}"#;
const BLOG: &str = "<html><title>My blog</title><a href=/x>Login</a></html>";
const MOVED: &str = "location: https://chat.example.org/settings\r\n";

#[rustfmt::skip]
const WRONG: &[(&str, &str, &str, ErrorKind, &str)] = &[
    ("200 OK", HTML, "<p>It works!", ErrorKind::Protocol, "does not look like"),
    ("200 OK", HTML, BLOG, ErrorKind::Protocol, "does not look like"),
    ("200 OK", "", TO_LOGIN, ErrorKind::LoginRequired, "Log in with a browser"),
    ("301 Moved", MOVED, "", ErrorKind::Status, "the URL that the server redirects to"),
    ("403 Forbidden", "", "Invalid referer for POST request", ErrorKind::Status, "expects another address"),
    ("403 Forbidden", HTML, "<title>Denied</title>", ErrorKind::Status, "in front of the server refuses"),
    ("405 Method Not Allowed", "", "", ErrorKind::Status, "does not look like"),
    ("429 Too Many Requests", "", "slow down", ErrorKind::Status, "try again later"),
    ("429 Too Many Requests", "", GUEST, ErrorKind::LoginRequired, "Log in with a browser"),
    ("500 Internal Server Error", "", ERROR, ErrorKind::Status, "choose a model that it has"),
    ("500 Internal Server Error", "", "boom", ErrorKind::Status, ""),
    ("502 Bad Gateway", HTML, "<h1>bad gateway</h1>", ErrorKind::Status, "try again later"),
    ("503 Service Unavailable", "", "busy", ErrorKind::Status, "try again later"),
];

#[test]
fn errors_of_a_server_have_hints() {
    for &(status, headers, body, kind, hint) in WRONG {
        let error = check(status, headers, body);
        assert_eq!(error.kind(), kind, "{error}");
        let hinted = error.hint().unwrap_or_default();
        assert!(hinted.contains(hint), "{error}: {hinted}");
        assert_eq!(hinted.is_empty(), hint.is_empty(), "{error}: {hinted}");
        assert_eq!(error.is_retryable(), hint.contains("later"), "{error}");
    }
}

#[test]
fn a_wrong_address_and_a_login_have_hints() {
    let (address, _kept) = nobody();
    let nobody = format!("http://{address}");
    let login = StandIn::builder().requires_login().start();
    let base_path = StandIn::builder().base_path("/chat").start();
    let no_path = base_path.url().replace("/chat", "");
    let too_much = format!("{}/ui", base_path.url());
    // The name is too long for a lookup.
    let no_host = format!("http://{}.invalid", "x".repeat(64));
    let cases = [
        (nobody, ErrorKind::Connect, "Nobody answers there"),
        (login.url(), ErrorKind::LoginRequired, "Log in with a browser"),
        (no_host, ErrorKind::Connect, "Check the spelling of the host"),
        (no_path, ErrorKind::Status, "There is no chat at this path"),
        (too_much, ErrorKind::Status, "There is no chat at this path"),
    ];
    for (url, kind, hint) in cases {
        let client = Client::builder(&url).retries(0).build().unwrap();
        let error = client.server_info().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
    let server = StandIn::start();
    let named = builder(&server).model("no/model").build().unwrap();
    let error = named.server_info().unwrap_err();
    assert!(error.hint().unwrap().contains("Choose one of these"), "{error}");
}
