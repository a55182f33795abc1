//! Bad input is refused before anything is sent, and no secret is shown.

use std::time::Duration;

use h2o_chat::{Client, ClientBuilder, Error, ErrorKind, Message, Protocol, Proxy, Request, Step};

use crate::stand_in::StandIn;
use crate::support::{assert_failed, client};

const URL: &str = "http://127.0.0.1:9";

fn assert_refused(error: &Error) {
    assert_failed(error, ErrorKind::InvalidInput, Step::Validate);
    assert!(!error.is_retryable());
}

#[test]
fn build_refuses_invalid_values() {
    let builders: [fn(ClientBuilder) -> ClientBuilder; 31] = [
        |b| b.model(""),
        |b| b.model(" \t"),
        |b| b.model("a\nb"),
        |b| b.session(""),
        |b| b.session("a;b"),
        |b| b.session("a b"),
        |b| b.session("a\r\nSet-Cookie: x"),
        |b| b.cookie_name(""),
        |b| b.cookie_name("a=b"),
        |b| b.cookie_name("a b"),
        |b| b.header("", "x"),
        |b| b.header("a b", "x"),
        |b| b.header("x-a", "a\nb"),
        |b| b.header("Referer", "x"),
        |b| b.header("content-length", "x"),
        |b| b.header("x-a", "x".repeat(9000)),
        |b| b.session("x".repeat(9000)),
        |b| b.session("a").header("Cookie", "lb=1; hf-chat=secret"),
        |b| b.header("Cookie", "hf-chat=secret; hf-chat=b"),
        |b| b.header("Cookie", "hf-chat=\"secret\""),
        |b| b.user_agent("a\nb"),
        |b| b.connect_timeout(Duration::ZERO),
        |b| b.idle_timeout(Duration::ZERO),
        |b| b.token_timeout(Duration::ZERO),
        |b| b.total_timeout(Duration::ZERO),
        |b| b.cleanup_timeout(Duration::ZERO),
        |b| b.proxy(Proxy::url("")),
        |b| b.proxy(Proxy::url("ftp://127.0.0.1:1")),
        |b| b.proxy(Proxy::url("socks4://127.0.0.1:1")),
        |b| b.proxy(Proxy::url("http://127.0.0.1:65536")),
        |b| b.proxy(Proxy::url("http://user:secret@127.0.0.1:0")),
    ];
    for (n, change) in builders.into_iter().enumerate() {
        let built = change(Client::builder(URL)).build();
        let error = built.err().unwrap_or_else(|| panic!("case {n} was built"));
        assert_refused(&error);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    for proxy in ["http://127.0.0.1:1", "socks5://u:p@127.0.0.1:1", "socks5h://host", "host:3128"] {
        Client::builder(URL).proxy(Proxy::url(proxy)).build().unwrap();
    }
}

#[cfg(not(feature = "rustls"))]
#[test]
fn https_without_its_feature_is_refused() {
    assert_refused(&Client::new("https://127.0.0.1").unwrap_err());
}

#[test]
fn an_invalid_request_is_not_sent() {
    let server = StandIn::start();
    let client = client(&server);
    let requests = [
        Request::new(""),
        Request::new(" \n"),
        Request::messages([]),
        Request::messages([Message::user(" ")]),
        Request::new("a").temperature(f64::NAN),
        Request::new("a").top_p(f64::INFINITY),
        Request::new("a").model(""),
        Request::new("a").total_timeout(Duration::ZERO),
    ];
    for request in requests {
        assert_refused(&client.ask(request.clone()).unwrap_err());
        assert_refused(&client.stream(request).unwrap_err());
    }
    let opening = || client.conversation_builder();
    for builder in [opening().model(""), opening().system(" ")] {
        assert_refused(&builder.open().unwrap_err());
    }
    assert_eq!(server.counts().connections, 0);
}

#[test]
fn an_oversized_request_opens_no_conversation() {
    let large = || Request::new("x".repeat(512 * 1024));
    let server = StandIn::start();
    let named = Client::builder(&server.url()).protocol(Protocol::ChatUiClassic);
    assert_refused(&named.build().unwrap().ask(large()).unwrap_err());
    assert_eq!(server.counts().connections, 0);
    // The maximum is known once the protocol is.
    let client = client(&server);
    assert_refused(&client.ask(large()).unwrap_err());
    assert_refused(&client.ask(large()).unwrap_err());
    let counts = server.counts();
    assert_eq!((counts.requests, counts.created), (1, 0));
}

#[test]
fn a_later_parameter_overrides_an_invalid_number() {
    let server = StandIn::start();
    let client = client(&server);
    let wrong = || Request::new("/count 1").temperature(f64::NAN);
    for request in [wrong().temperature(0.5), wrong().param("temperature", 0.5)] {
        client.ask(request).unwrap();
    }
}

#[test]
fn parameters_are_validated_by_the_server() {
    let server = StandIn::start();
    let client = client(&server);
    let error = client.ask(Request::new("a").temperature(0.0)).unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(422)));
    assert!(error.server_message().unwrap().contains("temperature"), "{error}");
}

#[test]
fn an_unparsable_url_does_not_leak_its_password() {
    for url in [
        "http://user:sec/ret@host",
        "http://user:secret#x@host",
        "http://user:secret?x@host",
        "http://secret:1234/ret@host",
        "http:/user:secret@host",
        "http:///user:secret@host",
        "https//user:secret@host",
        "ftp://user:sec@ret@host",
    ] {
        let by_proxy = Client::builder(URL).proxy(Proxy::url(url));
        let errors = [Client::builder(url).build(), by_proxy.build()].map(Result::unwrap_err);
        let shown = format!("{errors:?} {} {} {:?}", errors[0], errors[1], Proxy::url(url));
        for part in ["secret", "sec/", "ret@", "sec@"] {
            assert!(!shown.contains(part), "{shown}");
        }
        errors.iter().for_each(assert_refused);
    }
}

#[test]
fn debug_shows_no_secret_and_no_prompt() {
    let builder = Client::builder("http://user:secret@127.0.0.1:9")
        .session("secret-session")
        .header("Authorization", "secret")
        .proxy(Proxy::url("http://user:secret@127.0.0.1:1"));
    let client = builder.clone().build().unwrap();
    let request = Request::messages([Message::user("secret")]);
    let prompt = Request::new("secret");
    let shown = format!("{builder:?} {client:?} {request:?} {prompt:?} {:?}", client.session());
    assert!(!shown.contains("secret"), "{shown}");
}
