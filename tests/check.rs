//! What a server offers, what it expects, and what is wrong with it.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, DEFAULT_MODEL, ErrorKind, Limit, Request, Step, Stop};

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
        let server = listing(&["a/model"], || answer("200 OK", body));
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
    let server = listing(&["a/model"], move || answer("200 OK", &body));
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

#[test]
fn a_check_relies_on_nothing_that_was_so_before() {
    let server = StandIn::start();
    let client = client(&server);
    client.ask("/count 1").unwrap();
    client.check().unwrap();
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|request| request.path == "/settings")
            .count(),
        2
    );
    drop(server);
    assert_eq!(client.check().unwrap_err().kind(), ErrorKind::Connect);
}

/// A server that reacts like this when its models are listed.
fn listing(models: &[&str], reaction: impl Fn() -> Reaction + Send + Sync + 'static) -> StandIn {
    StandIn::builder()
        .models(models)
        .intercept(move |request| (request.path == "/__data.json").then(&reaction))
        .start()
}

fn answer(status: &str, body: &str) -> Reaction {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    Reaction::Answer((head + body).into())
}

#[test]
fn a_server_that_only_does_not_list_its_models_is_a_good_one() {
    for (status, body) in [
        ("404 Not Found", ""),
        ("200 OK", "{}"),
        ("200 OK", "no JSON"),
    ] {
        let server = listing(&[DEFAULT_MODEL], move || answer(status, body));
        let info = client(&server).check().unwrap();
        assert!(
            info.to_string().contains("It does not list its models."),
            "{info}"
        );
    }
}

#[test]
fn a_list_that_fails_otherwise_is_what_is_wrong_with_the_server() {
    let cases: [(fn() -> Reaction, ErrorKind); 5] = [
        (
            || answer("500 Internal Server Error", ""),
            ErrorKind::Status,
        ),
        (|| answer("401 Unauthorized", ""), ErrorKind::Login),
        (
            || answer("200 OK", r#"{"type":"redirect","location":"/login"}"#),
            ErrorKind::Login,
        ),
        (|| Reaction::Close, ErrorKind::Truncated),
        (|| Reaction::Silence, ErrorKind::Timeout(Limit::Silence)),
    ];
    for (reaction, kind) in cases {
        let server = listing(&[DEFAULT_MODEL], reaction);
        let client = Client::builder(&server.url())
            .retries(0)
            .silence_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        let error = client.check().unwrap_err();
        assert_eq!(
            (error.kind(), error.step()),
            (kind, Step::Models),
            "{error}"
        );
    }
}

#[test]
fn a_call_that_ends_while_the_models_are_listed_says_so() {
    let server = listing(&["first/model"], || Reaction::Silence);
    let stop = Stop::default();
    let error = thread::scope(|scope| {
        let request = Request::new("hello").stop(&stop);
        let call = scope.spawn(|| client(&server).ask(request).unwrap_err());
        server.wait_for("the listing", |counts| counts.requests == 2);
        stop.stop();
        call.join().unwrap()
    });
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Stopped, Step::Models)
    );
    let request = Request::new("hello").deadline(Duration::from_millis(300));
    let error = client(&server).ask(request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Limit::Deadline));
}

#[test]
fn a_list_may_be_long_and_what_it_says_is_no_part_of_an_error() {
    let model = |text: &str| format!(r#"[{{"models":1}},[2],{{"id":3}},"m","{text}"]"#);
    let page = format!(
        r#"{{"nodes":[{{"data":{}}}]}}"#,
        model(&"x".repeat(2 << 20))
    );
    let server = listing(&["m"], move || answer("200 OK", &page));
    assert_eq!(client(&server).models().unwrap()[0].id, "m");

    for body in [
        r#"{"nodes":[{"data":[{"titles":1},["secret"]]}]}"#,
        r#"["secret""#,
    ] {
        let server = listing(&["m"], move || answer("200 OK", body));
        let error = client(&server).conversations().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        assert_eq!(error.server_message(), None);
    }
}

#[test]
fn a_models_name_cannot_break_the_line() {
    let server = StandIn::builder().models(&["evil\n\u{1b}[2Jmodel"]).start();
    let info = client(&server).check().unwrap().to_string();
    assert!(info.contains("evil [2Jmodel"), "{info}");
    assert!(!info.contains(char::is_control), "{info}");
}

#[test]
fn threads_that_find_out_together_what_the_server_takes_itself_for_all_succeed() {
    const THREADS: usize = 8;
    for _ in 0..10 {
        let server = StandIn::builder().https_referer().start();
        let client = client(&server);
        let begin = Barrier::new(THREADS);
        thread::scope(|scope| {
            let ask = || {
                begin.wait();
                client.ask("/count 1").unwrap()
            };
            let calls: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            for call in calls {
                assert_eq!(call.join().unwrap(), "0 ");
            }
        });
    }
}
