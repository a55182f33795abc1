//! What a server offers, what it expects, and what is wrong with it.

use std::net::TcpListener;

use h2o_chat::{Client, DEFAULT_MODEL, Error, ErrorKind, Request, Step};

mod stand_in;

use stand_in::{Reaction, StandIn};

fn client(server: &StandIn) -> Client {
    Client::builder(&server.url()).retries(0).build().unwrap()
}

#[test]
fn the_models_are_listed_as_the_server_has_them() {
    let server = StandIn::start();
    let models = client(&server).models().unwrap();
    let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, [DEFAULT_MODEL, "other/model"]);
    assert_eq!(models[0].name, DEFAULT_MODEL);
    assert!(models[0].description.is_some() && models[1].description.is_none());
    assert_eq!(server.counts().pages, 0);
}

#[test]
fn a_list_that_cannot_be_read_is_an_error() {
    for body in [
        "",
        "{}",
        "<html>",
        r#"{"nodes":[{"data":[{"models":-1}]}]}"#,
        r#"{"nodes":[null]}"#,
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let server = StandIn::builder()
            .intercept(move |request| {
                (request.path == "/__data.json").then(|| Reaction::Answer(answer.clone().into()))
            })
            .start();
        let error = client(&server).models().unwrap_err();
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Protocol, Step::Models),
            "{body}: {error}"
        );
    }
}

#[test]
fn a_list_that_is_one_long_text_a_thousand_times_is_not_held() {
    let text = "x".repeat(500_000);
    let places = vec!["2"; 1000].join(",");
    let body =
        format!(r#"{{"nodes":[{{"data":[{{"models":1}},[{places}],{{"id":3}},"{text}"]}}]}}"#);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = StandIn::builder()
        .intercept(move |request| {
            (request.path == "/__data.json").then(|| Reaction::Answer(answer.clone().into()))
        })
        .start();
    let error = client(&server).models().unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::TooLarge, Step::Models),
        "{error}"
    );
}

#[test]
fn without_a_named_model_the_servers_first_is_asked() {
    let server = StandIn::builder()
        .models(&["first/model", "second/model"])
        .start();
    let client = client(&server);
    for _ in 0..2 {
        client.ask("/count 1").unwrap();
    }
    let opened = server
        .requests()
        .into_iter()
        .filter(|request| request.path == "/conversation");
    let models: Vec<_> = opened
        .map(|request| request.json()["model"].clone())
        .collect();
    assert_eq!(models, ["first/model", "first/model"]);
    // Tried with the default, listed, tried again: once.
    let paths: Vec<_> = server
        .requests()
        .into_iter()
        .take(4)
        .map(|request| request.path)
        .collect();
    assert_eq!(
        paths,
        ["/settings", "/__data.json", "/settings", "/conversation"]
    );
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|request| request.path == "/__data.json")
            .count(),
        1
    );
}

#[test]
fn a_named_model_is_never_replaced() {
    let server = StandIn::builder()
        .models(&["first/model", "second/model"])
        .start();
    let by_client = Client::builder(&server.url())
        .model(DEFAULT_MODEL)
        .build()
        .unwrap();
    let by_request = client(&server);
    let errors = [
        by_client.ask("hello").unwrap_err(),
        by_request
            .ask(Request::new("hello").model("no/model"))
            .unwrap_err(),
    ];
    for (error, model) in errors.iter().zip([DEFAULT_MODEL, "no/model"]) {
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::UnknownModel, Step::Settings)
        );
        let expected =
            format!("does not have the model {model:?}; it has first/model, second/model");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    assert_eq!(server.counts().created, 0);
}

#[test]
fn a_server_that_fails_otherwise_is_not_said_to_lack_the_model() {
    let server = StandIn::builder()
        .intercept(|request| {
            let answer =
                "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 14\r\n\r\nsomething else";
            (request.path == "/settings").then(|| Reaction::Answer(answer.into()))
        })
        .start();
    let error = client(&server).ask("hello").unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Status, Some(500))
    );
}

#[test]
fn a_server_that_takes_itself_for_an_https_one_is_humoured_and_remembered() {
    let server = StandIn::builder().https_referer().start();
    let client = client(&server);
    client.ask("/count 1").unwrap();
    client
        .ask(Request::new("/count 1").model("other/model"))
        .unwrap();
    let settings = server
        .requests()
        .into_iter()
        .filter(|request| request.path == "/settings");
    let referers: Vec<_> = settings
        .filter_map(|request| request.header("referer").map(str::to_owned))
        .collect();
    let http = format!("{}/", server.url());
    let https = http.replace("http://", "https://");
    assert_eq!(referers, [http, https.clone(), https]);
    assert!(client.check().unwrap().expects_https);
    // Tried again with https because that could have been it; since it was not, back to what is true.
    let server = StandIn::builder()
        .intercept(|request| {
            let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
            (request.path == "/settings").then(|| Reaction::Answer(answer.into()))
        })
        .start();
    let client = Client::new(&server.url()).unwrap();
    client.ask("hello").unwrap_err();
    client.ask("hello").unwrap_err();
    assert_eq!(
        server.requests()[2].header("referer"),
        Some(format!("{}/", server.url()).as_str())
    );
}

#[test]
fn a_good_server_is_told_in_plain_sentences() {
    let server = StandIn::start();
    let url = server.url();
    let info = client(&server).check().unwrap();
    assert_eq!(
        info.to_string(),
        format!(
            "{url} is a classic chat-ui server. It offers 2 models: {DEFAULT_MODEL}, other/model. This client asks {DEFAULT_MODEL}."
        )
    );
    assert_eq!(server.counts().created, 0);

    let server = StandIn::builder()
        .models(&["only/model"])
        .https_referer()
        .start();
    let url = server.url().replace("http://", "http://user:secret@");
    let info = Client::new(&url).unwrap().check().unwrap();
    assert_eq!(
        info.to_string(),
        format!(
            "{} is a classic chat-ui server. It offers one model, only/model. This client asks only/model. \
             It takes itself for an https server; requests say so.",
            server.url()
        )
    );
}

/// What checking a server that answers everything like this says.
fn check(answer: &'static str) -> Error {
    let server = StandIn::builder()
        .intercept(move |_| Some(Reaction::Answer(answer.into())))
        .start();
    client(&server).check().unwrap_err()
}

#[test]
fn what_is_wrong_with_a_server_is_told_with_a_remedy() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Client::builder(&format!("http://{nobody}"))
        .retries(0)
        .build()
        .unwrap();
    let login = StandIn::builder().requires_login().start();
    let base_path = StandIn::builder().base_path("/chat").start();
    let no_path = base_path.url().replace("/chat", "");
    let too_much = format!("{}/ui", base_path.url());
    let cases = [
        (
            nobody.check().unwrap_err(),
            ErrorKind::Connect,
            "Nobody answers there",
        ),
        (
            client(&login).check().unwrap_err(),
            ErrorKind::Login,
            "Log in with a browser",
        ),
        (
            Client::new(&no_path).unwrap().check().unwrap_err(),
            ErrorKind::Status,
            "There is no chat at this path",
        ),
        (
            Client::new(&too_much).unwrap().check().unwrap_err(),
            ErrorKind::Status,
            "There is no chat at this path",
        ),
        (
            check(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<p>It works!\n",
            ),
            ErrorKind::Protocol,
            "does not look like",
        ),
        (
            check("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
            ErrorKind::Status,
            "under another address",
        ),
        (
            check(
                "HTTP/1.1 301 Moved\r\nlocation: https://chat.example.org/settings\r\ncontent-length: 0\r\n\r\n",
            ),
            ErrorKind::Status,
            "under another URL",
        ),
    ];
    for (error, kind, hint) in cases {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.hint().unwrap().contains(hint),
            "{error}: {:?}",
            error.hint()
        );
    }
}
