//! Failures are errors with the text so far, and leave nothing behind.

use std::error::Error as _;
use std::io;

use h2o_chat::{Client, Error, ErrorKind, Step};

use crate::stand_in::{Act, Plan, StandIn, frame};
use crate::support::{
    NEWEST, always, assert_failed, assert_nothing_left, client, nobody, response,
};

/// Returns the error for this prompt, and checks that nothing is left.
fn error(server: &StandIn, prompt: &str) -> Error {
    let error = client(server).ask(prompt).unwrap_err();
    assert_nothing_left(server);
    assert_eq!(error.undeleted(), None);
    error
}

fn of_plan(plan: impl Fn() -> Plan + Send + Sync + 'static) -> Error {
    error(&StandIn::builder().plan(move |_| plan()).start(), "hello")
}

#[test]
fn every_truncation_is_detected() {
    let whole: Vec<u8> = [frame::token(1, "é"), frame::last(0, "</s>", "é", None)].concat();
    // The JSON of the last event needs no blank line after it.
    let json_end = whole.len() - "\n\n".len();
    for end in (0..json_end).step_by(7).chain([json_end - 1]) {
        let bytes = whole[..end].to_vec();
        let error = of_plan(move || Plan::bytes(vec![bytes.clone()]));
        assert_eq!(error.kind(), ErrorKind::Truncated, "{end} of {}: {error}", whole.len());
        assert!(["", "é"].contains(&error.received()));
    }
    let server = StandIn::builder().plan(move |_| Plan::bytes(vec![whole.clone()])).start();
    assert_eq!(client(&server).ask("hello").unwrap(), "é");
}

#[test]
fn an_error_is_the_last_item_after_all_tokens() {
    let server = StandIn::start();
    let mut tokens = client(&server).stream("/error-event").unwrap();
    let items: Vec<_> = tokens.by_ref().collect();
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 5);
    assert!(items[5].is_err() && items.len() == 6);
    assert!(tokens.next().is_none() && tokens.next().is_none());
    assert!(tokens.end().is_none());
    // A reply that has failed is never taken for a whole one.
    tokens.write_to(std::io::sink()).unwrap_err();
    tokens.reply().unwrap_err();
}

#[test]
fn invalid_events_are_an_error() {
    let after_a_token = |event: &str| {
        let bytes = format!("data: {event}\n\n").into_bytes();
        let error = of_plan(move || Plan::bytes(vec![frame::token(0, "a"), bytes.clone()]));
        assert_eq!(error.received(), "a");
        error
    };
    for event in ["nonsense", "{\"token\":{\"text\":\"\u{fffd}"] {
        assert_failed(&after_a_token(event), ErrorKind::Protocol, Step::ReadReply);
    }
    // Unknown JSON is skipped.
    for event in ["{}", "[]", "null", "\"text\"", "{\"usage\":{\"tokens\":1}}"] {
        assert_failed(&after_a_token(event), ErrorKind::Truncated, Step::ReadReply);
    }
    let invalid_utf8 =
        of_plan(|| Plan::bytes(vec![b"data: {\"token\":{\"text\":\"\xff\"}}\n\n".to_vec()]));
    assert_eq!(invalid_utf8.kind(), ErrorKind::Protocol);
}

#[test]
fn a_client_side_error_stops_the_generation() {
    let nonsense = of_plan(|| Plan::bytes(vec![b"data: nonsense\n\n".to_vec()]).then([Act::Hang]));
    assert_eq!(nonsense.kind(), ErrorKind::Protocol);
    let endless_data = || {
        let pieces = (0..2048).map(|_| Act::Send(vec![b'x'; 1024]));
        Plan::acts([Act::Send(b"data:".to_vec())].into_iter().chain(pieces)).then([Act::Hang])
    };
    assert_eq!(of_plan(endless_data).kind(), ErrorKind::TooLarge);
}

#[test]
fn an_invalid_line_is_an_error_and_stops_the_generation() {
    for line in ["nonsense", "{\"type\":"] {
        let plan = move |_: &str| {
            let lines = [Act::token(0, "a"), Act::Send(format!("{line}\n").into_bytes())];
            Plan::acts(lines).then([Act::Hang])
        };
        let server = NEWEST.builder().plan(plan).start();
        let error = client(&server).ask("hello").unwrap_err();
        assert_failed(&error, ErrorKind::Protocol, Step::ReadReply);
        assert_eq!(error.received(), "a", "{line} {error}");
        assert_nothing_left(&server);
        assert_eq!(server.counts().stopped, 1, "{line}");
    }
    let endless = |_: &str| {
        let pieces = (0..2048).map(|_| Act::Send(vec![b'x'; 1024]));
        Plan::acts(pieces).then([Act::Hang])
    };
    let server = NEWEST.builder().plan(endless).start();
    let error = client(&server).ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_nothing_left(&server);
}

#[test]
fn an_id_that_would_change_the_path_is_refused() {
    let long = "x".repeat(65);
    let ids = "../../admin|..|.|a.b|/|a/b|a\\/b|a\\\\b|?|a?b|a#b|a%2fb|%2e%2e| |a b|\
               a\\nb|a\\u0000b|a;b|a:b|é|";
    for id in ids.split('|').chain([long.as_str()]) {
        let body = format!("{{\"conversationId\":\"{id}\"}}");
        let server = always(Step::CreateConversation, move || response("200 OK", "", &body));
        let error = error(&server, "hello");
        assert_failed(&error, ErrorKind::Protocol, Step::CreateConversation);
        assert_eq!(server.counts().requests, 2);
    }
}

#[test]
fn a_redirect_is_an_error_without_the_password() {
    let location = "location: https://me:secret@chat.example.org/ui/settings\r\n";
    let moved = move || response("308 Permanent Redirect", location, "");
    let server = always(Step::PostSettings, moved);
    let error = error(&server, "hello");
    let message = error.to_string();
    assert!(
        message.contains("a redirect to https://chat.example.org/ui, which is not followed"),
        "{message}"
    );
    assert_eq!(server.counts().requests, 1);
}

#[test]
fn the_source_of_a_connect_error_is_the_systems_error() {
    let (address, _kept) = nobody();
    let client = Client::builder(&format!("http://{address}")).retries(0);
    let error = client.build().unwrap().ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Connect, Step::PostSettings);
    assert!(error.is_retryable());
    let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[cfg(feature = "rustls")]
#[test]
fn https_to_a_server_without_tls_is_an_error() {
    let server = StandIn::start();
    let url = server.url().replace("http://", "https://");
    let error = Client::new(&url).unwrap().ask("hello").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls | ErrorKind::Truncated), "{error}");
}
