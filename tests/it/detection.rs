//! Detection of the protocol and of what the server expects.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use h2o_chat::{Client, ErrorKind, Protocol, Request, Step};
use serde_json::json;

use crate::stand_in::{Builder, Dialect, Plan, Request as Received, StandIn};
use crate::support::{
    ALL, CLASSIC, CURRENT, FORM, GREETING, JSON, Kind, NEWEST, V0_9_5, always, assert_failed,
    assert_nothing_left, builder, client, count, each, other_client, paths, requests_of, response,
    step_of,
};

#[test]
fn a_given_protocol_is_not_detected() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = builder(&server).protocol(kind.protocol).build().unwrap();
        assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        let skipped = usize::from(!kind.is_classic());
        assert_eq!(paths(&server), kind.cold[skipped..], "{kind:?}");

        let named = Request::new("hello").model("other/model");
        let client = builder(&server).protocol(kind.protocol);
        let before = server.counts().requests;
        client.build().unwrap().ask(named).unwrap();
        let asked = server.counts().requests - before;
        let expected = kind.cold.len() - if kind.is_classic() { 0 } else { 2 };
        assert_eq!(asked, expected, "{kind:?}");
    });
}

#[test]
fn any_first_call_detects_the_protocol() {
    each(ALL, |kind| {
        let server = kind.start();
        let keeper = client(&server);
        let id = keeper.conversation().unwrap().keep();
        let fresh = || other_client(&server, &keeper);
        fresh().list_models().unwrap();
        assert_eq!(fresh().list_conversations().unwrap().len(), 1, "{kind:?}");
        assert_eq!(fresh().resume(&id).unwrap().messages().unwrap(), []);
        let text = fresh().resume(&id).unwrap().ask("hello").unwrap();
        assert_eq!(text, GREETING, "{kind:?}");
        let text = fresh().resume(&id).unwrap().regenerate().unwrap().text();
        assert_eq!(text.unwrap(), GREETING, "{kind:?}");
        assert_eq!(fresh().server_info().unwrap().protocol, kind.protocol);
        fresh().delete_conversation(&id).unwrap();
        assert_nothing_left(&server);
    });
}

#[test]
fn current_servers_get_an_origin_and_classic_servers_none() {
    each(ALL, |kind| {
        let server = kind.builder().base_path("/chat").start();
        let url = server.url().replace("http://", "http://user:secret@");
        let client = Client::builder(&format!("{url}/")).build().unwrap();
        let mut chat = client.conversation().unwrap();
        for _ in 0..2 {
            assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
        drop(chat);
        client.list_models().unwrap();
        let origin = format!("http://127.0.0.1:{}", server.port());
        let forms = [FORM.dialect, V0_9_5.dialect, NEWEST.dialect];
        let wanted = forms.contains(&kind.dialect);
        for request in server.requests() {
            let is_message = request.path.starts_with("/chat/conversation/");
            let is_form = is_message && request.any_form().is_some();
            assert_eq!(is_form, is_form && wanted, "{kind:?}");
            let expected = is_form.then_some(&*origin);
            assert_eq!(request.header("origin"), expected, "{kind:?} {request:?}");
            assert!(request.path.starts_with("/chat/"), "{}", request.path);
            let referer = request.header("referer").unwrap_or_default();
            assert!(!referer.contains("secret"), "{referer}");
            let authorization = request.header("authorization");
            assert_eq!(authorization, Some("Basic dXNlcjpzZWNyZXQ="));
        }
        assert_nothing_left(&server);
    });
}

#[test]
fn an_unsupported_server_is_refused_before_a_conversation() {
    for builder in [
        StandIn::builder().dialect(Dialect::V07),
        StandIn::builder().dialect(Dialect::V07).https_referer(),
    ] {
        let server = builder.start();
        let errors = [
            client(&server).ask("hello").unwrap_err(),
            client(&server).conversation().unwrap_err(),
            client(&server).list_models().unwrap_err(),
            client(&server).server_info().unwrap_err(),
            client(&server).ask(Request::new("hello").model("other/model")).unwrap_err(),
        ];
        for error in errors {
            assert_failed(&error, ErrorKind::Protocol, Step::PostSettings);
            assert!(error.to_string().contains("chat-ui 0.7"), "{error}");
            let hint = error.hint().unwrap_or_default();
            assert!(!hint.contains("does not look like"), "{hint}");
            assert!(!error.is_retryable());
        }
        assert_eq!(server.counts().created, 0);
    }
}

#[test]
fn the_referer_follows_a_server_that_expects_https() {
    each(ALL, |kind| {
        let server = kind.builder().https_referer().start();
        let client = client(&server);
        for _ in 0..2 {
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
        let tells = [CLASSIC.dialect, JSON.dialect].contains(&kind.dialect);
        assert_eq!(count(&server, Step::PostSettings), 1 + usize::from(tells), "{kind:?}");
        let expects_https = client.server_info().unwrap().expects_https;
        assert_eq!(expects_https, tells, "{kind:?}");
    });
}

/// The Referer headers of all requests that post settings.
fn referers(server: &StandIn) -> Vec<String> {
    let settings = requests_of(server, Step::PostSettings).into_iter();
    settings.filter_map(|request| request.header("referer").map(str::to_owned)).collect()
}

#[test]
fn the_referer_becomes_https_only_if_that_helps() {
    let server = StandIn::builder().https_referer().start();
    let client = client(&server);
    client.ask("/count 1").unwrap();
    client.ask(Request::new("/count 1").model("other/model")).unwrap();
    let http = format!("{}/", server.url());
    let https = http.replace("http://", "https://");
    assert_eq!(referers(&server), [&*http, &*https, &*https]);
    let server = always(Step::PostSettings, || response("403 Forbidden", "", "no"));
    let client = self::client(&server);
    client.ask("hello").unwrap_err();
    client.ask("hello").unwrap_err();
    let http = format!("{}/", server.url());
    let https = http.replace("http://", "https://");
    assert_eq!(referers(&server), [&*http, &*https, &*http, &*https]);
}

#[test]
fn threads_can_detect_the_referer_at_the_same_time() {
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

/// A server without its API, so that the message format is unknown.
fn in_doubt(kind: Kind) -> Builder {
    kind.builder().api_disabled()
}

#[test]
fn an_unknown_message_format_is_tried_both_ways() {
    let refuse = |request: &Received| {
        let is_form = request.header("origin").is_some();
        is_form.then(|| response("403 Forbidden", "", "no"))
    };
    for builder in [in_doubt(JSON), in_doubt(JSON).intercept(refuse)] {
        let server = builder.start();
        let client = client(&server);
        for tries in [2, 3] {
            assert_eq!(client.ask("hello").unwrap(), GREETING);
            assert_eq!(count(&server, Step::SendMessage), tries);
        }
        assert_eq!(server.model_prompts().len(), 2);
        assert_nothing_left(&server);
    }
}

#[test]
fn a_message_refused_in_both_formats_has_the_first_error() {
    each(CURRENT, |kind| {
        let tries = AtomicUsize::new(0);
        let intercept = move |request: &Received| {
            (step_of(request) == Some(Step::SendMessage)).then(|| {
                let number = tries.fetch_add(1, Ordering::Relaxed);
                response("500 Internal Server Error", "", &format!("reason{number}"))
            })
        };
        let server = kind.builder().intercept(intercept).start();
        let error = client(&server).ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Status, "{kind:?} {error}");
        assert_eq!(error.server_message(), Some("reason0"), "{kind:?} {error}");
        assert_eq!(count(&server, Step::SendMessage), 2, "{kind:?}");
        assert_nothing_left(&server);
    });
}

#[test]
fn a_known_message_format_is_not_changed_by_a_refusal() {
    each(CURRENT, |kind| {
        let plan = |prompt: &str| match prompt {
            "refused" => Plan::Refusal { status: 500, message: "Internal Error" },
            prompt => Plan::for_prompt(prompt),
        };
        let server = kind.builder().plan(plan).start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("hello").unwrap();
        let error = chat.ask("refused").unwrap_err();
        assert_eq!(error.status(), Some(500), "{kind:?} {error}");
        assert_eq!(count(&server, Step::SendMessage), 2, "{kind:?}");
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
    });
}

#[test]
fn the_welcome_modal_is_accepted_once() {
    for kind in [JSON, FORM] {
        let server = kind.builder().welcome_modal().start();
        let client = client(&server);
        for _ in 0..2 {
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
        let settings = requests_of(&server, Step::PostSettings).into_iter();
        let bodies: Vec<_> = settings.map(|request| request.json()).collect();
        let model = h2o_chat::DEFAULT_MODEL;
        let accepted = json!({"ethicsModalAccepted": true, "activeModel": model});
        assert_eq!(bodies, [json!(null), accepted], "{kind:?}");

        // After the server forgets it, the first call accepts it again.
        let id = client.conversation().unwrap().keep();
        server.forget_sessions();
        let mut chat = other_client(&server, &client).resume(&id).unwrap();
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        server.forget_sessions();
        other_client(&server, &client).delete_conversation(&id).unwrap();
        assert_nothing_left(&server);
    }
}

#[test]
fn a_required_login_is_its_own_error() {
    each(ALL, |kind| {
        let server = kind.builder().requires_login().start();
        let errors = [
            client(&server).ask("hello").unwrap_err(),
            client(&server).server_info().unwrap_err(),
            client(&server).list_conversations().unwrap_err(),
            client(&server).ask(Request::new("hello").model("other/model")).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::LoginRequired, "{kind:?} {error}");
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains("Log in with a browser"), "{kind:?} {hint}");
            assert!(!error.maybe_undeleted(), "{kind:?} {error}");
        }
        assert_eq!(server.counts().created, 0, "{kind:?}");
    });
}

#[test]
fn switching_sharing_off_is_posted_once() {
    each(CURRENT, |kind| {
        let server = kind.start();
        let client = builder(&server).share_with_model_authors(false).build().unwrap();
        for _ in 0..2 {
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
        let settings = requests_of(&server, Step::PostSettings).into_iter();
        let shared: Vec<_> = settings
            .map(|request| request.json()["shareConversationsWithModelAuthors"].clone())
            .collect();
        assert_eq!(shared, [json!(null), json!(false)], "{kind:?}");
        let at = |wanted: &str| paths(&server).iter().rposition(|path| path == wanted);
        assert!(at("POST /settings") < at("POST /conversation"), "{kind:?}");
    });
}

#[test]
fn a_wrong_given_protocol_is_an_error() {
    for (kind, wrong) in [
        (CLASSIC, Protocol::ChatUi),
        (JSON, Protocol::ChatUiClassic),
        (FORM, Protocol::ChatUiClassic),
        (NEWEST, Protocol::ChatUiClassic),
    ] {
        let server = kind.start();
        let builder = builder(&server).protocol(wrong);
        let error = builder.build().unwrap().ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Status, "{kind:?} {error}");
        assert_eq!(server.counts().created, 0, "{kind:?}");
    }
}
