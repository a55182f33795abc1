//! Errors as a program shows and makes them.

use std::borrow::Cow;

use h2o_chat::{Error, ErrorKind, Message, Request, Timeout};

use crate::stand_in::StandIn;
use crate::support::client;

#[test]
fn debug_shows_what_is_set_and_the_hint() {
    let server = StandIn::start();
    let error = client(&server).ask("/429").unwrap_err();
    #[rustfmt::skip]
    let expected = r#"Error { kind: Status, step: SendMessage, message: "the server answered 429 (Too Many Requests), asking to wait 7s: Model is overloaded", status: 429, retry_after: 7s, hint: "The server is busy or not ready: try again later." }"#;
    assert_eq!(format!("{error:?}"), expected);

    let error = client(&server).ask("/no-final").unwrap_err();
    #[rustfmt::skip]
    let expected = r#"Error { kind: Truncated, step: ReadReply, message: "the reply ended without its last event, after 5 tokens", received: 18 bytes }"#;
    assert_eq!(format!("{error:?}"), expected);
}

#[test]
fn an_error_can_be_made_from_its_kind() {
    for (kind, message, is_retryable) in [
        (ErrorKind::Truncated, "reading the reply: the reply ended early", false),
        (ErrorKind::Connect, "posting the settings: no connection", true),
        (ErrorKind::InvalidInput, "an argument is invalid", false),
        (ErrorKind::Timeout(Timeout::Idle), "reading the reply: the idle timeout expired", true),
    ] {
        let error = Error::from(kind);
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
        assert_eq!(error.is_retryable(), is_retryable, "{error}");
        assert!(error.received().is_empty() && error.undeleted().is_none());
    }
}

#[test]
fn texts_and_messages_are_requests() {
    let server = StandIn::start();
    let client = client(&server);
    let messages = [Message::user("a"), Message::assistant("b"), Message::user("c")];
    let requests: [Request; 3] =
        [Cow::from("lent").into(), Cow::from("own".to_owned()).into(), messages[..].into()];
    for request in requests {
        client.ask(request).unwrap();
    }
    let expected = ["lent", "own", "User: a\nAssistant: b\nUser: c\nAssistant:"];
    for (prompt, expected) in server.model_prompts().iter().zip(expected) {
        assert_eq!(*prompt, format!("<|prompt|>{expected}<|endoftext|><|answer|>"));
    }
}
