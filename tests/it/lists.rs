//! Lists of models and conversations, and `server_info`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use h2o_chat::{CancelHandle, DEFAULT_MODEL, Error, ErrorKind, Message, Request, Step, Timeout};

use crate::stand_in::{Reaction, StandIn};
use crate::support::{
    ALL, CURRENT, GREETING, NEWEST, assert_failed, assert_nothing_left, builder, client, count,
    each, opened_models, paths, response,
};

#[test]
fn models_and_conversations_are_listed() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        let models = client.list_models().unwrap();
        let ids: Vec<&str> = models.iter().map(|model| &*model.id).collect();
        assert_eq!(ids, [DEFAULT_MODEL, "other/model"], "{kind:?}");
        assert_eq!(models[0].name, DEFAULT_MODEL, "{kind:?}");
        assert!(models[0].description.is_some(), "{kind:?}");

        let first = client.conversation().unwrap().keep();
        let other = client.conversation_builder().model("other/model");
        let second = other.open().unwrap().keep();
        client.resume(&second).unwrap().ask("hello").unwrap();
        let listed = client.list_conversations().unwrap();
        let mut seen: Vec<_> = listed
            .iter()
            .map(|known| (&*known.id, &*known.title, known.model.as_deref()))
            .collect();
        // A classic server numbers its titles and does not sort them.
        let (first_title, second_title) = match kind.title {
            Some(title) => ("New Chat", title),
            None => ("Untitled 1", "Untitled 2"),
        };
        let expected = [
            (&*second, second_title, Some("other/model")),
            (&*first, first_title, Some(DEFAULT_MODEL)),
        ];
        if kind.is_classic() {
            seen.sort_by_key(|known| known.0 != second);
        }
        assert_eq!(seen, expected, "{kind:?}");
        let stranger = crate::support::client(&server);
        assert_eq!(stranger.list_conversations().unwrap(), [], "{kind:?}");
        assert_eq!(server.counts().pages, 0, "{kind:?}");
    });
}

#[test]
fn server_info_displays_plain_sentences() {
    each(ALL, |kind| {
        let server = kind.start();
        let info = client(&server).server_info().unwrap();
        assert_eq!(info.protocol, kind.protocol);
        let classic = if kind.is_classic() { "classic " } else { "" };
        let expected = format!(
            "{} is a {classic}chat-ui server. It offers 2 models: {DEFAULT_MODEL}, other/model. \
             This client asks {DEFAULT_MODEL}.",
            server.url()
        );
        assert_eq!(info.to_string(), expected);
        assert_eq!(server.counts().created, 0, "{kind:?}");
    });
}

#[test]
fn the_servers_first_model_is_the_default() {
    each(ALL, |kind| {
        let server = kind.builder().models(&["first/model", "second/model"]);
        let server = server.start();
        let client = client(&server);
        for _ in 0..2 {
            client.ask("/count 1").unwrap();
        }
        let models = opened_models(&server);
        assert_eq!(models, ["first/model", "first/model"], "{kind:?}");
        if kind.is_classic() {
            // One attempt with the default model, the list, and one more attempt.
            let begin =
                ["POST /settings", "GET /__data.json", "POST /settings", "POST /conversation"];
            assert_eq!(paths(&server)[..4], begin);
            assert_eq!(count(&server, Step::ListModels), 1);
        }
        assert_eq!(client.server_info().unwrap().model, "first/model", "{kind:?}");
    });
}

#[test]
fn an_unknown_model_is_an_error_with_the_list() {
    each(ALL, |kind| {
        let server = kind.builder().models(&["first/model", "second/model"]);
        let server = server.start();
        let named = builder(&server).model("no/model").build().unwrap();
        let request = Request::new("hello").model("no/model");
        let errors: [Error; 4] = [
            named.ask("hello").unwrap_err(),
            named.conversation().unwrap_err(),
            named.server_info().unwrap_err(),
            client(&server).ask(request).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::UnknownModel, "{kind:?} {error}");
            let list = "does not have the model \"no/model\"; it has first/model, second/model";
            assert!(error.to_string().contains(list), "{kind:?} {error}");
            assert_eq!(error.undeleted(), None);
            assert!(!error.maybe_undeleted(), "{kind:?} {error}");
        }
        // A model that was set explicitly is not replaced.
        let named = builder(&server).model(DEFAULT_MODEL).build().unwrap();
        let error = named.ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownModel, "{kind:?} {error}");
        assert_eq!(server.counts().created, 0, "{kind:?}");
        let known = Request::new("/count 1").model("second/model");
        client(&server).ask(known).unwrap();
    });
}

#[test]
fn lists_come_from_pages_if_the_api_is_switched_off() {
    each(CURRENT, |kind| {
        let server = kind.builder().api_disabled().start();
        let client = client(&server);
        assert_eq!(client.list_models().unwrap().len(), 2, "{kind:?}");
        let mut chat = client.conversation().unwrap();
        for turn in ["first", "second"] {
            assert_eq!(chat.ask(turn).unwrap(), GREETING, "{kind:?}");
        }
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert!(server.model_prompts()[1].contains("first"), "{kind:?}");
        let messages = chat.messages().unwrap();
        assert_eq!(messages.len(), 4, "{kind:?}");
        assert_eq!(messages[2], Message::user("second"), "{kind:?}");
        let listed = client.list_conversations().unwrap();
        assert_eq!(listed[0].id, chat.id(), "{kind:?}");
        drop(chat);
        assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        assert_nothing_left(&server);
        assert_eq!(server.counts().pages, 0, "{kind:?}");
    });
}

/// A success with this body.
fn answering(path: &'static str, body: &'static str) -> StandIn {
    let builder = NEWEST.builder();
    let builder = builder.intercept(move |request| (request.path == path).then(|| success(body)));
    builder.start()
}

fn success(body: &str) -> Reaction {
    response("200 OK", "content-type: application/json\r\n", body)
}

/// A page of `count` conversations that no other page has, with titles of this length.
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
    let error = client(&builder.start()).list_conversations().unwrap_err();
    (error, pages.load(Ordering::Relaxed))
}

#[test]
fn endless_pages_are_bounded() {
    for (conversations, length, pages) in [(1, 3 << 20, 6), (20_000, 0, 4), (60_000, 0, 1)] {
        let (error, asked) = pages_of(conversations, length);
        assert_failed(&error, ErrorKind::TooLarge, Step::ListConversations);
        assert_eq!(asked, pages, "{conversations} of {length}");
    }
}

#[test]
fn an_unreadable_list_is_an_error() {
    for body in ["", "{}", "<html>", "{\"json\":[]}", "null"] {
        let server = answering("/api/models", body);
        let error = client(&server).list_models().unwrap_err();
        assert_failed(&error, ErrorKind::Protocol, Step::ListModels);
        let server = answering("/api/conversations", body);
        let error = client(&server).list_conversations().unwrap_err();
        assert_failed(&error, ErrorKind::Protocol, Step::ListConversations);
    }
    let no_list = r#"{"nodes":[{"data":[{"models":-1}]}]}"#;
    for body in ["", "{}", "<html>", no_list, r#"{"nodes":[null]}"#] {
        let server = listing(&["a/model"], || success(body));
        let error = client(&server).list_models().unwrap_err();
        assert_failed(&error, ErrorKind::Protocol, Step::ListModels);
    }
    let server = answering("/api/models", "[]");
    let error = client(&server).ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownModel, "{error}");
    let unfit = r#"[{"id":"../../admin","title":"x"},{"title":"x"},7]"#;
    let server = answering("/api/conversations", unfit);
    assert_eq!(client(&server).list_conversations().unwrap(), []);
}

#[test]
fn all_pages_of_conversations_are_listed() {
    const MANY: usize = 65;
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        let kept = (0..MANY).map(|_| client.conversation().unwrap().keep());
        let mut kept: Vec<String> = kept.collect();
        let listed = client.list_conversations().unwrap();
        let mut listed: Vec<String> = listed.into_iter().map(|summary| summary.id).collect();
        kept.sort();
        listed.sort();
        assert_eq!(listed, kept, "{kind:?}");
    });
}

/// A classic server with this reaction to a request for its models.
fn listing(models: &[&str], reaction: impl Fn() -> Reaction + Send + Sync + 'static) -> StandIn {
    let builder = StandIn::builder().models(models);
    let is_list = |path: &str| path == "/__data.json";
    builder.intercept(move |request| is_list(&request.path).then(&reaction)).start()
}

#[test]
fn a_list_that_repeats_a_long_text_is_bounded() {
    let text = "x".repeat(500_000);
    let places = vec!["2"; 1000].join(",");
    let body =
        format!(r#"{{"nodes":[{{"data":[{{"models":1}},[{places}],{{"id":3}},"{text}"]}}]}}"#);
    let server = listing(&["a/model"], move || success(&body));
    let error = client(&server).list_models().unwrap_err();
    assert_failed(&error, ErrorKind::TooLarge, Step::ListModels);
}

#[test]
fn a_list_can_be_long_and_stays_out_of_errors() {
    let model = |text: &str| format!(r#"[{{"models":1}},[2],{{"id":3}},"m","{text}"]"#);
    let page = format!(r#"{{"nodes":[{{"data":{}}}]}}"#, model(&"x".repeat(2 << 20)));
    let server = listing(&["m"], move || success(&page));
    assert_eq!(client(&server).list_models().unwrap()[0].id, "m");

    for body in [r#"{"nodes":[{"data":[{"titles":1},["secret"]]}]}"#, r#"["secret""#] {
        let server = listing(&["m"], move || success(body));
        let error = client(&server).list_conversations().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        assert_eq!(error.server_message(), None);
    }
}

#[test]
fn an_invalid_id_is_refused_before_anything_is_sent() {
    let server = StandIn::start();
    for id in ["", "a/b", "..", "a b", "a?b", &"x".repeat(65)] {
        let deleted = client(&server).delete_conversation(id).unwrap_err();
        let resumed = client(&server).resume(id).unwrap_err();
        assert_eq!(
            (deleted.kind(), resumed.kind()),
            (ErrorKind::InvalidInput, ErrorKind::InvalidInput)
        );
    }
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn server_info_reports_expected_https_without_the_password() {
    let server = StandIn::builder().models(&["only/model"]).https_referer().start();
    let url = server.url().replace("http://", "http://user:secret@");
    let info = h2o_chat::Client::new(&url).unwrap().server_info().unwrap();
    assert_eq!(
        info.to_string(),
        format!(
            "{} is a classic chat-ui server. It offers one model, only/model. \
             This client asks only/model. \
             It considers itself an https server; requests say so.",
            server.url()
        )
    );
}

#[test]
fn server_info_asks_the_server_each_time() {
    let server = StandIn::start();
    let client = client(&server);
    client.ask("/count 1").unwrap();
    client.server_info().unwrap();
    assert_eq!(count(&server, Step::PostSettings), 2);
    drop(server);
    assert_eq!(client.server_info().unwrap_err().kind(), ErrorKind::Connect);
}

#[test]
fn server_info_succeeds_without_a_list_of_models() {
    for (status, body) in [("404 Not Found", ""), ("200 OK", "{}"), ("200 OK", "no JSON")] {
        let server = listing(&[DEFAULT_MODEL], move || response(status, "", body));
        let info = client(&server).server_info().unwrap();
        assert!(info.to_string().contains("It does not list its models."), "{info}");
    }
}

#[test]
fn server_info_returns_the_error_of_the_list() {
    let cases: [(fn() -> Reaction, ErrorKind); 5] = [
        (|| response("500 Oh", "", ""), ErrorKind::Status),
        (|| response("401 Oh", "", ""), ErrorKind::LoginRequired),
        (|| success(r#"{"type":"redirect","location":"/login"}"#), ErrorKind::LoginRequired),
        (|| Reaction::Close, ErrorKind::Truncated),
        (|| Reaction::NoResponse, ErrorKind::Timeout(Timeout::Idle)),
    ];
    for (reaction, kind) in cases {
        let server = listing(&[DEFAULT_MODEL], reaction);
        let limited = builder(&server).idle_timeout(Duration::from_secs(1));
        let error = limited.build().unwrap().server_info().unwrap_err();
        assert_failed(&error, kind, Step::ListModels);
    }
}

#[test]
fn cancels_and_timeouts_end_the_list_of_models() {
    let server = listing(&["first/model"], || Reaction::NoResponse);
    let handle = CancelHandle::default();
    let error = thread::scope(|scope| {
        let request = Request::new("hello").cancel_handle(&handle);
        let call = scope.spawn(|| client(&server).ask(request).unwrap_err());
        server.wait_for("the listing", |counts| counts.requests == 2);
        handle.cancel();
        call.join().unwrap()
    });
    assert_failed(&error, ErrorKind::Cancelled, Step::ListModels);
    let request = Request::new("hello").total_timeout(Duration::from_secs(1));
    let error = client(&server).ask(request).unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(Timeout::Total), Step::ListModels);
}
