//! What goes wrong is an error, in the server's words, with what had come, and nothing left behind.

use std::error::Error as _;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use h2o_chat::{Client, Error, ErrorKind, Proxy, Step};

mod stand_in;

use stand_in::{Act, Plan, Reaction, StandIn, frame};

fn client(server: &StandIn) -> Client {
    Client::builder(&server.url()).retries(0).build().unwrap()
}

/// The error of asking this, on a server where nothing may stay behind.
fn error(server: &StandIn, prompt: &str) -> Error {
    let error = client(server).ask(prompt).unwrap_err();
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
    assert_eq!(error.undeleted(), None);
    error
}

fn of_plan(plan: impl Fn() -> Plan + Send + Sync + 'static) -> Error {
    error(&StandIn::builder().plan(move |_| plan()).start(), "hello")
}

const OUT_OF_MEMORY: &str = "Request failed during generation: Server error: CUDA out of memory";

#[test]
fn an_error_event_is_an_error_whether_first_or_after_tokens() {
    let server = StandIn::start();
    for (prompt, received, after) in [
        ("/error-event-first", "", "after no token"),
        ("/error-event", " Hi there, how can", "after 5 tokens"),
    ] {
        let error = error(&server, prompt);
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Generation, Step::Reply)
        );
        assert_eq!(error.server_message(), Some(OUT_OF_MEMORY));
        assert_eq!(error.received(), received);
        assert!(error.to_string().ends_with(after), "{error}");
    }
}

#[test]
fn an_end_without_the_last_event_is_a_truncated_reply() {
    let server = StandIn::start();
    for prompt in ["/no-final", "/dropped"] {
        let error = error(&server, prompt);
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Truncated, Step::Reply),
            "{prompt}: {error}"
        );
        assert_eq!(error.received(), " Hi there, how can", "{prompt}");
    }
}

#[test]
fn every_truncation_of_a_reply_is_one() {
    let whole: Vec<u8> = [frame::token(1, "é"), frame::last(0, "</s>", "é", None)].concat();
    // Without its last byte, the last event has no blank line after it.
    for end in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let bytes = whole[..end].to_vec();
        let error = of_plan(move || Plan::bytes(vec![bytes.clone()]));
        assert_eq!(
            error.kind(),
            ErrorKind::Truncated,
            "{end} of {}: {error}",
            whole.len()
        );
        assert!(["", "é"].contains(&error.received()));
    }
    let server = StandIn::builder()
        .plan(move |_| Plan::bytes(vec![whole.clone()]))
        .start();
    assert_eq!(client(&server).ask("hello").unwrap(), "é");
}

#[test]
fn after_an_error_the_iterator_is_at_its_end_and_the_tokens_have_been_handed_out() {
    let server = StandIn::start();
    let mut tokens = client(&server).generate("/error-event").unwrap();
    let items: Vec<_> = tokens.by_ref().collect();
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 5);
    assert!(items[5].is_err() && items.len() == 6);
    assert!(tokens.next().is_none() && tokens.next().is_none());
    assert!(tokens.end().is_none());
    tokens.reply().unwrap_err();
}

#[test]
fn a_refusal_is_told_with_its_status_and_the_servers_words() {
    let server = StandIn::start();
    let cases = [
        (
            "/422",
            422,
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048.",
        ),
        ("/429", 429, "Model is overloaded"),
        (
            "/rate-limit",
            429,
            "You are sending too many messages. Try again later.",
        ),
        ("/502", 502, "bad gateway"),
        ("/503", 503, "Model h2oai/h2ogpt is currently loading"),
        ("/dead", 500, "Internal Error"),
    ];
    for (prompt, status, words) in cases {
        let error = error(&server, prompt);
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Status, Step::Message),
            "{prompt}"
        );
        assert_eq!(error.status(), Some(status));
        assert!(
            error.server_message().unwrap().starts_with(words),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(
            error.is_retryable(),
            matches!(status, 429 | 502 | 503),
            "{prompt}"
        );
        let retry_after = (prompt == "/429").then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), retry_after);
    }
    // A message that the server itself refuses has started nothing; a gateway cannot know.
    let requests = server.requests();
    let stops = requests
        .iter()
        .filter(|request| request.path.ends_with("stop-generating"));
    assert_eq!(stops.count(), 2);
}

#[test]
fn events_that_are_no_events_of_a_reply_are_an_error() {
    for event in [
        "nonsense",
        "{}",
        "[]",
        "{\"token\":{\"id\":1}}",
        "\"text\"",
        "{\"token\":{\"text\":\"\u{fffd}",
    ] {
        let bytes = format!("data: {event}\n\n").into_bytes();
        let error = of_plan(move || Plan::bytes(vec![frame::token(0, "a"), bytes.clone()]));
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Protocol, Step::Reply),
            "{event}: {error}"
        );
        assert_eq!(error.received(), "a");
    }
    let invalid_utf8 =
        of_plan(|| Plan::bytes(vec![b"data: {\"token\":{\"text\":\"\xff\"}}\n\n".to_vec()]));
    assert_eq!(invalid_utf8.kind(), ErrorKind::Protocol);
}

#[test]
fn what_goes_wrong_on_this_side_stops_the_generation() {
    let nonsense = of_plan(|| Plan::bytes(vec![b"data: nonsense\n\n".to_vec()]).then([Act::Hang]));
    assert_eq!(nonsense.kind(), ErrorKind::Protocol);
    let endless_line =
        of_plan(|| Plan::acts((0..2048).map(|_| Act::Send(vec![b'x'; 1024]))).then([Act::Hang]));
    assert_eq!(endless_line.kind(), ErrorKind::TooLarge);
}

#[test]
fn an_endless_answer_is_not_read_without_end() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let answer = [head.as_bytes(), &vec![b' '; 2 << 20]].concat();
    let server = StandIn::builder()
        .intercept(move |_| Some(Reaction::AnswerAndClose(answer.clone())))
        .start();
    assert_eq!(error(&server, "hello").kind(), ErrorKind::TooLarge);

    for headers in [
        format!("x-large: {}\r\n", "x".repeat(40_000)),
        "x: y\r\n".repeat(200),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes();
        let server = StandIn::builder()
            .intercept(move |_| Some(Reaction::AnswerAndClose(answer.clone())))
            .start();
        assert_eq!(error(&server, "hello").kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn an_id_that_would_change_the_path_is_not_used() {
    let long = "x".repeat(65);
    let ids = "../../admin|..|.|a.b|/|a/b|a\\/b|a\\\\b|?|a?b|a#b|a%2fb|%2e%2e| |a b|a\\nb|a\\u0000b|a;b|a:b|é|";
    for id in ids.split('|').chain([long.as_str()]) {
        let body = format!("{{\"conversationId\":\"{id}\"}}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let server = StandIn::builder()
            .intercept(move |request| {
                (request.path == "/conversation").then(|| Reaction::Answer(answer.clone().into()))
            })
            .start();
        let error = error(&server, "hello");
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Protocol, Step::Conversation),
            "{id}"
        );
        assert_eq!(server.counts().requests, 2);
    }
}

#[test]
fn a_redirect_names_the_right_url_and_is_not_followed() {
    let server = StandIn::builder()
        .intercept(|_| {
            let answer = "HTTP/1.1 308 Permanent Redirect\r\n\
                          location: https://me:secret@chat.example.org/ui/settings\r\ncontent-length: 0\r\n\r\n";
            Some(Reaction::Answer(answer.into()))
        })
        .start();
    let error = error(&server, "hello");
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Status, Some(308))
    );
    assert!(
        error
            .to_string()
            .contains("pointing to https://chat.example.org/ui;"),
        "{error}"
    );
    assert_eq!(server.counts().requests, 1);
}

#[test]
fn words_that_a_terminal_would_obey_are_made_harmless() {
    let server = StandIn::builder()
        .intercept(|_| {
            let answer =
                "HTTP/1.1 500 Oh\r\ncontent-length: 20\r\n\r\none\r\ntwo \u{1b}]0;x\u{7}three";
            Some(Reaction::Answer(answer.into()))
        })
        .start();
    let error = error(&server, "hello");
    assert_eq!(error.server_message(), Some("one two ]0;x three"));
}

#[test]
fn nobody_listening_is_no_connection() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = Client::new(&format!("http://127.0.0.1:{port}"))
        .unwrap()
        .ask("hello")
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Connect, Step::Settings)
    );
    assert!(error.is_retryable());
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn an_unknown_host_is_no_connection() {
    // Too long for a name, so that nobody has to be asked.
    let url = format!("http://{}.invalid", "x".repeat(64));
    let client = Client::builder(&url).proxy(Proxy::none()).build();
    let error = client.unwrap().ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
}

#[test]
fn a_server_that_closes_without_an_answer_is_a_truncated_answer() {
    let server = StandIn::builder()
        .intercept(|_| Some(Reaction::Close))
        .start();
    let error = error(&server, "hello");
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Truncated, Step::Settings)
    );
}

#[test]
fn a_server_that_speaks_something_else_is_told() {
    let banner = || Reaction::AnswerAndClose(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    let server = StandIn::builder()
        .intercept(move |_| Some(banner()))
        .start();
    let error = error(&server, "hello");
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[cfg(feature = "rustls")]
#[test]
fn a_server_without_tls_is_not_spoken_to_over_https() {
    let server = StandIn::start();
    let url = server.url().replace("http://", "https://");
    let error = Client::new(&url).unwrap().ask("hello").unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Tls | ErrorKind::Truncated),
        "{error}"
    );
}
