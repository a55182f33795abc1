//! A given session belongs to an account, whose settings change only on request.

use h2o_chat::{Client, ErrorKind, Step};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::example;
use crate::stand_in::{Reaction, Request, StandIn};
use crate::support::{
    ALL, CLASSIC, FORM, GREETING, JSON, Kind, NEWER, NEWEST, V0_8_4, V0_9_5, assert_failed,
    assert_nothing_left, builder, client, count, each, paths, requests_of, response, step_of,
};

/// The user's session.
const MINE: &str = "mine";

/// The date at which the user accepted the terms.
const DATE: &str = "2026-11-23T18:21:38.319Z";

/// The servers whose terms have to be accepted.
const WITH_TERMS: [Kind; 5] = [CLASSIC, JSON, V0_8_4, FORM, V0_9_5];

/// Settings without a default value among them.
fn account() -> Value {
    json!({
        "activeModel": "other/model",
        "customPrompts": {"other/model": "Be \"brief\" & kind: é\n"},
        "ethicsModalAcceptedAt": DATE,
        "hideEmojiOnSidebar": true,
        "shareConversationsWithModelAuthors": true,
    })
}

fn account_with(name: &str, value: impl Into<Value>) -> Value {
    let mut account = account();
    account[name] = value.into();
    account
}

/// A server where the session has these settings.
fn server_with(kind: Kind, settings: Value) -> StandIn {
    let server = kind.builder().welcome_modal().start();
    server.set_settings(MINE, settings);
    server
}

fn given(server: &StandIn) -> Client {
    builder(server).session(MINE).build().unwrap()
}

#[track_caller]
fn assert_settings(server: &StandIn, expected: &Value, kind: Kind) {
    assert_eq!(server.settings(MINE), expected.to_string(), "{kind:?}");
}

#[test]
fn examples_leave_an_account_unchanged() {
    each(ALL, |kind| {
        let server = server_with(kind, account());
        let _kept = given(&server).conversation().unwrap().keep();
        for (name, arguments, input) in [
            ("sweep", &[][..], ""),
            ("ask", &["--check"], ""),
            ("ask", &["hello"], ""),
            ("chat", &[&*server.url()], "hello\nAnd now?\n"),
            ("sweep", &["--delete"], ""),
        ] {
            let mut command = example::command(name);
            command.env("H2O_CHAT_URL", server.url());
            command.env("H2O_CHAT_SESSION", MINE).args(arguments);
            let ended = example::run(&mut command, input);
            assert!(ended.status.success(), "{kind:?} {name}: {}", ended.stderr);
            assert_settings(&server, &account(), kind);
        }
        assert_eq!(count(&server, Step::PostSettings), 0, "{kind:?}");
        let is_mine = |request: &Request| request.header("cookie") == Some("hf-chat=mine");
        assert!(server.requests().iter().all(is_mine), "{kind:?}");
        assert_nothing_left(&server);
    });
}

#[test]
fn listing_and_deleting_post_no_settings() {
    each(ALL, |kind| {
        let server = server_with(kind, account());
        let id = given(&server).conversation().unwrap().keep();
        server.forget_sessions();
        let looks: [fn(&Client, &str); 5] = [
            |client, _| assert_eq!(client.list_models().unwrap().len(), 2),
            |client, _| assert_eq!(client.list_conversations().unwrap().len(), 1),
            |client, _| assert_eq!(client.server_info().unwrap().models.len(), 2),
            |client, id| assert_eq!(client.resume(id).unwrap().messages().unwrap(), []),
            // Some servers refuse this before the terms are accepted.
            |client, id| drop(client.delete_conversation(id)),
        ];
        for look in looks {
            look(&given(&server), &id);
        }
        assert_eq!(count(&server, Step::PostSettings), 0, "{kind:?}");
        let unaccepted = account_with("ethicsModalAcceptedAt", Value::Null);
        assert_settings(&server, &unaccepted, kind);
    });
}

#[test]
fn the_protocol_of_a_given_session_is_detected_by_get() {
    each(ALL, |kind| {
        for is_disabled in [false, true] {
            let builder = kind.builder();
            let builder = if is_disabled { builder.api_disabled() } else { builder };
            let server = builder.start();
            let info = given(&server).server_info().unwrap();
            assert_eq!(info.protocol, kind.protocol, "{kind:?}");
            let requests = paths(&server);
            let begin = ["GET /api/models", "GET /__data.json"];
            let expected = if kind.is_classic() { &begin[..] } else { &begin[..1] };
            assert!(
                requests.starts_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>())
            );
            assert!(requests.iter().all(|it| it.starts_with("GET ")), "{requests:?}");
        }
    });
}

#[test]
fn a_failing_server_is_not_detected_as_classic() {
    let is_down = |request: &Request| request.path == "/api/models";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n[{";
    let failures = [
        response("500 Oh", "", ""),
        response("502 Bad Gateway", "", ""),
        response("401 Unauthorized", "", ""),
        response("403 Forbidden", "", "<h1>firewall</h1>"),
        response("429 Too Many Requests", "retry-after: 999\r\n", ""),
        Reaction::ResponseAndClose(cut.as_bytes().to_vec()),
    ];
    for failure in failures {
        let react = move |request: &Request| is_down(request).then(|| failure.clone());
        let server = NEWEST.builder().intercept(react).start();
        let error = given(&server).ask("hello").unwrap_err();
        assert_eq!(error.step(), Step::ListModels, "{error}");
        assert_eq!(paths(&server), ["GET /api/models"]);
    }
}

#[test]
fn accepting_the_terms_replaces_default_settings() {
    each(WITH_TERMS, |kind| {
        let server = kind.builder().welcome_modal().start();
        let client = given(&server);
        for _ in 0..2 {
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
        assert_eq!(count(&server, Step::PostSettings), 1, "{kind:?}");
        let accepted = json!({
            "activeModel": h2o_chat::DEFAULT_MODEL,
            "customPrompts": {},
            "ethicsModalAcceptedAt": DATE,
            "shareConversationsWithModelAuthors": true,
        });
        assert_settings(&server, &accepted, kind);
    });
}

#[test]
fn accepting_the_terms_changes_nothing_else() {
    each(WITH_TERMS, |kind| {
        for shares in [true, false] {
            let mut settings = account_with("shareConversationsWithModelAuthors", shares);
            settings["ethicsModalAcceptedAt"] = Value::Null;
            let server = server_with(kind, settings.clone());
            assert_eq!(given(&server).ask("hello").unwrap(), GREETING, "{kind:?}");
            settings["ethicsModalAcceptedAt"] = DATE.into();
            assert_settings(&server, &settings, kind);
            assert_nothing_left(&server);
        }
    });
}

#[test]
fn json_keeps_unknown_settings() {
    each([JSON, V0_8_4, FORM, V0_9_5], |kind| {
        let mut settings = account_with("tools", json!(["a", "b"]));
        settings["ethicsModalAcceptedAt"] = Value::Null;
        let server = server_with(kind, settings.clone());
        given(&server).ask("hello").unwrap();
        settings["ethicsModalAcceptedAt"] = DATE.into();
        assert_settings(&server, &settings, kind);
    });
}

#[test]
fn settings_that_a_form_would_lose_are_an_error() {
    let mut settings = account_with("theme", "dark");
    for (accepted, share) in [(Value::Null, true), (DATE.into(), false)] {
        settings["ethicsModalAcceptedAt"] = accepted;
        let server = server_with(CLASSIC, settings.clone());
        let client = builder(&server).session(MINE);
        let client = client.share_with_model_authors(share).build().unwrap();
        for error in [client.ask("hello").unwrap_err(), client.conversation().unwrap_err()] {
            assert_failed(&error, ErrorKind::Unsupported, Step::PostSettings);
            assert!(error.to_string().contains("\"theme\""), "{error}");
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains("once in a browser"), "{hint}");
        }
        assert_settings(&server, &settings, CLASSIC);
        assert_eq!(count(&server, Step::PostSettings), 0);
        assert_eq!(server.counts().created, 0);
    }
}

#[test]
fn unreadable_settings_are_not_replaced() {
    each([JSON, V0_8_4, FORM, V0_9_5, NEWER, NEWEST], |kind| {
        let is_settings = |request: &Request| {
            request.path == "/__data.json" || request.path == "/api/v2/user/settings"
        };
        let react = move |request: &Request| {
            is_settings(request).then(|| response("200 OK", "", r#"{"json":{},"nodes":[]}"#))
        };
        let server = kind.builder().intercept(react).start();
        server.set_settings(MINE, account());
        let client = builder(&server).session(MINE);
        let client = client.share_with_model_authors(false).build().unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_failed(&error, ErrorKind::Unsupported, Step::PostSettings);
        assert!(error.to_string().contains("cannot be read"), "{error}");
        assert!(error.hint().is_some());
        assert_settings(&server, &account(), kind);
        assert_eq!(server.counts().created, 0, "{kind:?}");
    });
}

#[test]
fn an_error_of_the_settings_stays_what_it_is_and_quotes_no_settings() {
    const SECRET: &str = r#"{"json":{"customPrompts":{"a":"my secret"}},"nodes":["my secret"]}"#;
    each([JSON, FORM, NEWEST], |kind| {
        let server_with = |status: &'static str| {
            let react = move |request: &Request| {
                let is_settings =
                    ["/__data.json", "/api/v2/user/settings"].contains(&request.path.as_str());
                let body = if status == "200 OK" { SECRET } else { "" };
                is_settings.then(|| response(status, "", body))
            };
            kind.builder().intercept(react).start()
        };
        for (status, error_kind) in [
            ("200 OK", ErrorKind::Unsupported),
            ("401 Unauthorized", ErrorKind::LoginRequired),
            ("503 Service Unavailable", ErrorKind::Status),
        ] {
            let server = server_with(status);
            let client = builder(&server).session(MINE).share_with_model_authors(false);
            let error = client.retries(0).build().unwrap().ask("hello").unwrap_err();
            assert_failed(&error, error_kind, Step::PostSettings);
            assert_eq!(error.is_retryable(), error_kind == ErrorKind::Status, "{error}");
            let mut source = Some(&error as &dyn std::error::Error);
            while let Some(error) = source {
                assert!(!error.to_string().contains("secret"), "{kind:?}: {error}");
                source = error.source();
            }
        }
    });
}

#[test]
fn switching_sharing_off_changes_nothing_else() {
    each(ALL, |kind| {
        let server = server_with(kind, account());
        let quiet = || {
            let builder = builder(&server).session(MINE);
            builder.share_with_model_authors(false).build().unwrap()
        };
        // A list does not need the change.
        quiet().list_models().unwrap();
        assert_settings(&server, &account(), kind);
        let unshared = account_with("shareConversationsWithModelAuthors", false);
        let client = quiet();
        for client in [&client, &client, &quiet()] {
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
            assert_settings(&server, &unshared, kind);
        }
        assert_eq!(count(&server, Step::PostSettings), 1, "{kind:?}");
    });
}

#[test]
fn a_resumed_conversation_switches_sharing_off_first() {
    each(ALL, |kind| {
        let server = server_with(kind, account());
        let id = given(&server).conversation().unwrap().keep();
        let client = builder(&server).session(MINE);
        let client = client.share_with_model_authors(false).build().unwrap();
        let mut chat = client.resume(&id).unwrap();
        for _ in 0..2 {
            assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
        let unshared = account_with("shareConversationsWithModelAuthors", false);
        assert_settings(&server, &unshared, kind);
        assert_eq!(count(&server, Step::PostSettings), 1, "{kind:?}");
    });
}

#[test]
fn a_refused_login_does_not_replace_a_given_session() {
    each(ALL, |kind| {
        let server = kind.builder().requires_login().start();
        let client = given(&server);
        for _ in 0..2 {
            let error = client.ask("hello").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LoginRequired, "{kind:?} {error}");
            assert_eq!(client.session().as_str(), MINE, "{kind:?}");
        }
        for request in server.requests() {
            assert_eq!(request.header("cookie"), Some("hf-chat=mine"), "{kind:?}");
        }
    });
}

#[test]
fn a_login_redirect_does_not_replace_a_given_session() {
    each(ALL, |kind| {
        let react = |request: &Request| {
            let body =
                r#"{"type":"redirect","status":302,"location":"https://id.example.org/oauth"}"#;
            let cookie = format!("set-cookie: hf-chat={}\r\n", Uuid::new_v4());
            (request.method == "POST").then(|| response("200 OK", &cookie, body))
        };
        let server = kind.builder().welcome_modal().intercept(react).start();
        let client = given(&server);
        for _ in 0..2 {
            client.ask("hello").unwrap_err();
            assert_eq!(client.session().as_str(), MINE, "{kind:?}");
        }
        if kind.is_classic() {
            let error = client.ask("hello").unwrap_err();
            assert_failed(&error, ErrorKind::LoginRequired, Step::PostSettings);
        }
        for request in server.requests() {
            assert_eq!(request.header("cookie"), Some("hf-chat=mine"), "{kind:?}");
        }
    });
}

#[test]
fn an_invented_session_is_replaced_by_the_servers() {
    let other = "4cc55550-fcf7-4e9e-aa5a-3db62a2bd387";
    each(ALL, |kind| {
        let react = move |request: &Request| {
            let cookie = format!("set-cookie: hf-chat={other}\r\n");
            let is_creation = step_of(request) == Some(Step::CreateConversation);
            let is_first = is_creation && !request.header("cookie")?.contains(other);
            is_first.then(|| response("500 Oh", &cookie, ""))
        };
        let server = kind.builder().intercept(react).start();
        let client = client(&server);
        client.ask("hello").unwrap_err();
        assert_eq!(client.session().as_str(), other, "{kind:?}");
        assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
    });
}

#[test]
fn the_newest_servers_offer_the_model_no_tools() {
    each([NEWER, NEWEST], |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("hello").unwrap();
        chat.ask("And now?").unwrap();
        chat.regenerate().unwrap().text().unwrap();
        client(&server).ask("hello").unwrap();
        assert_eq!(server.offered_tools(), vec![json!([]); 4], "{kind:?}");
    });
}

#[test]
fn an_invented_session_detects_the_cookie_name() {
    each(ALL, |kind| {
        let server = kind.builder().welcome_modal().cookie_name("my-chat").start();
        let client = client(&server);
        for _ in 0..2 {
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
            assert_nothing_left(&server);
        }
        assert_eq!(client.cookie_name(), "my-chat", "{kind:?}");
        let id = client.conversation().unwrap().keep();
        let session = client.session();
        let same = builder(&server).session(session.clone());
        let same = same.cookie_name(client.cookie_name()).build().unwrap();
        let text = same.resume(&id).unwrap().ask("hello").unwrap();
        assert_eq!(text, GREETING, "{kind:?}");

        let url = server.url();
        let mut command = example::command("sweep");
        command.args(["--url", &url, "--session", session.as_str()]);
        command.args(["--cookie-name", "my-chat", "--delete"]);
        let ended = example::run(&mut command, "");
        assert_eq!(ended.stderr, "sweep: 1 deleted\n", "{kind:?}");
        assert_nothing_left(&server);
    });
}

#[test]
fn a_given_session_needs_the_right_cookie_name() {
    each(ALL, |kind| {
        let server = kind.builder().welcome_modal().cookie_name("my-chat").start();
        let client = given(&server);
        for error in [client.ask("hello").unwrap_err(), client.conversation().unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{kind:?} {error}");
            assert!(error.to_string().contains("my-chat"), "{kind:?} {error}");
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains("cookie_name"), "{hint}");
            assert_eq!(error.undeleted(), None, "{kind:?}");
        }
        assert_eq!(client.session().as_str(), MINE);
        assert_eq!(client.leftovers(), [""; 0]);
        assert_nothing_left(&server);
        assert_eq!(requests_of(&server, Step::SendMessage).len(), 0);

        let named = builder(&server).session(MINE).cookie_name("my-chat");
        assert_eq!(named.build().unwrap().ask("hello").unwrap(), GREETING);
    });
}
