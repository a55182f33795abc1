//! What a server offers and what it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2o_chat::{Client, DEFAULT_MODEL, Error, ErrorKind, Message, Request, Step};

use crate::stand_in::{Reaction, StandIn};
use crate::table::{ALL, CURRENT, GREETING, NEWEST, assert_nothing_left, client, each};

#[test]
fn models_and_conversations_are_listed() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        let models = client.models().unwrap();
        let ids: Vec<&str> = models.iter().map(|model| &*model.id).collect();
        assert_eq!(ids, [DEFAULT_MODEL, "other/model"], "{kind:?}");
        assert!(models[0].description.is_some(), "{kind:?}");

        let first = client.conversation().unwrap().keep();
        let other = client.conversation_builder().model("other/model");
        let second = other.open().unwrap().keep();
        client.resume(&second).unwrap().ask("hello").unwrap();
        let listed = client.conversations().unwrap();
        let seen: Vec<_> = listed
            .iter()
            .map(|known| (&*known.id, &*known.title, known.model.as_deref()))
            .collect();
        let title = kind.title.unwrap_or("New Chat");
        let expected = [
            (&*second, title, Some("other/model")),
            (&*first, "New Chat", Some(DEFAULT_MODEL)),
        ];
        if kind.is_classic() {
            assert_eq!(seen.len(), 2, "{kind:?}");
        } else {
            assert_eq!(seen, expected, "{kind:?}");
        }
        let stranger = crate::table::client(&server);
        assert_eq!(stranger.conversations().unwrap(), [], "{kind:?}");
        assert_eq!(server.counts().pages, 0, "{kind:?}");
    });
}

#[test]
fn a_server_is_told_in_plain_sentences() {
    each(ALL, |kind| {
        let server = kind.start();
        let info = client(&server).check().unwrap();
        assert_eq!(info.protocol, kind.protocol);
        let expected = format!(
            "{} is a {} chat-ui server. It offers 2 models: {DEFAULT_MODEL}, other/model. This client asks {DEFAULT_MODEL}.",
            server.url(),
            kind.protocol
        );
        assert_eq!(info.to_string(), expected);
        assert_eq!(server.counts().created, 0, "{kind:?}");
    });
}

#[test]
fn without_a_named_model_the_servers_first_is_asked() {
    each(ALL, |kind| {
        let server = kind.builder().models(&["first/model", "second/model"]);
        let server = server.start();
        let client = client(&server);
        for _ in 0..2 {
            client.ask("/count 1").unwrap();
        }
        let requests = server.requests().into_iter();
        let opened = requests.filter(|request| request.path == "/conversation");
        let models: Vec<_> = opened
            .map(|request| request.json()["model"].clone())
            .collect();
        assert_eq!(models, ["first/model", "first/model"], "{kind:?}");
        assert_eq!(client.check().unwrap().model, "first/model", "{kind:?}");
    });
}

#[test]
fn a_named_model_is_never_replaced_and_the_error_has_the_list() {
    each(ALL, |kind| {
        let server = kind.builder().models(&["first/model", "second/model"]);
        let server = server.start();
        let builder = Client::builder(&server.url()).model("no/model");
        let named = builder.build().unwrap();
        let request = Request::new("hello").model("no/model");
        let errors: [Error; 4] = [
            named.ask("hello").unwrap_err(),
            named.conversation().unwrap_err(),
            named.check().unwrap_err(),
            client(&server).ask(request).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::UnknownModel, "{kind:?} {error}");
            let list = "does not have the model \"no/model\"; it has first/model, second/model";
            assert!(error.to_string().contains(list), "{kind:?} {error}");
            assert_eq!(error.undeleted(), None);
            assert!(!error.maybe_undeleted(), "{kind:?} {error}");
        }
        assert_eq!(server.counts().created, 0, "{kind:?}");
        let known = Request::new("/count 1").model("second/model");
        client(&server).ask(known).unwrap();
    });
}

#[test]
fn where_the_api_is_switched_off_the_pages_tell_the_same() {
    each(CURRENT, |kind| {
        let server = kind.builder().api_disabled().start();
        let client = client(&server);
        assert_eq!(client.models().unwrap().len(), 2, "{kind:?}");
        let mut chat = client.conversation().unwrap();
        for turn in ["first", "second"] {
            assert_eq!(chat.ask(turn).unwrap(), GREETING, "{kind:?}");
        }
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert!(server.model_prompts()[1].contains("first"), "{kind:?}");
        let messages = chat.messages().unwrap();
        assert_eq!(messages.len(), 4, "{kind:?}");
        assert_eq!(messages[2], Message::user("second"), "{kind:?}");
        let listed = client.conversations().unwrap();
        assert_eq!(listed[0].id, chat.id(), "{kind:?}");
        drop(chat);
        assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        assert_nothing_left(&server);
        assert_eq!(server.counts().pages, 0, "{kind:?}");
    });
}

/// The body of a success that is not what was asked for.
fn answering(path: &'static str, body: &'static str) -> StandIn {
    let builder = NEWEST.builder();
    let builder = builder.intercept(move |request| (request.path == path).then(|| success(body)));
    builder.start()
}

fn success(body: &str) -> Reaction {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
    let length = body.len();
    Reaction::Answer(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes())
}

/// On every page others, so many of them, each with a title of this length.
fn pages_of(conversations: usize, length: usize) -> (Error, usize) {
    let pages = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&pages);
    let page = move || {
        let title = "x".repeat(length);
        let page = asked.fetch_add(1, Ordering::Relaxed);
        let all = (0..conversations).map(|n| format!(r#"{{"id":"{page}-{n}","title":"{title}"}}"#));
        success(&format!("[{}]", all.collect::<Vec<_>>().join(",")))
    };
    let is_list = |path: &str| path.starts_with("/api/conversations");
    let builder = NEWEST.builder();
    let builder = builder.intercept(move |request| is_list(&request.path).then(&page));
    let error = client(&builder.start()).conversations().unwrap_err();
    (error, pages.load(Ordering::Relaxed))
}

#[test]
fn pages_without_end_are_not_held() {
    for (conversations, length, pages) in [(1, 3 << 20, 6), (20_000, 0, 4), (60_000, 0, 1)] {
        let (error, asked) = pages_of(conversations, length);
        let seen = (error.kind(), error.step());
        assert_eq!(seen, (ErrorKind::TooLarge, Step::Conversations), "{error}");
        assert_eq!(asked, pages, "{conversations} of {length}");
    }
}

#[test]
fn a_list_that_cannot_be_read_is_an_error() {
    for body in ["", "{}", "<html>", "{\"json\":[]}", "null"] {
        let server = answering("/api/models", body);
        let error = client(&server).models().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}: {error}");
        let server = answering("/api/conversations", body);
        let error = client(&server).conversations().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}: {error}");
    }
    let server = answering("/api/models", "[]");
    let error = client(&server).ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownModel, "{error}");
    let unfit = r#"[{"id":"../../admin","title":"x"},{"title":"x"},7]"#;
    let server = answering("/api/conversations", unfit);
    assert_eq!(client(&server).conversations().unwrap(), []);
}

#[test]
fn conversations_are_listed_page_by_page_to_the_last() {
    const MANY: usize = 65;
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        let kept = (0..MANY).map(|_| client.conversation().unwrap().keep());
        let mut kept: Vec<String> = kept.collect();
        let listed = client.conversations().unwrap();
        let mut listed: Vec<String> = listed.into_iter().map(|summary| summary.id).collect();
        kept.sort();
        listed.sort();
        assert_eq!(listed, kept, "{kind:?}");
    });
}
