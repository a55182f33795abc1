//! Several turns in one conversation, whose history the server keeps.

use std::thread;
use std::time::Duration;

use h2o_chat::{CancelHandle, ErrorKind, Event, Message, Request, Step, Timeout};

use crate::stand_in::{Plan, StandIn};
use crate::support::{
    ENDLESS, EVERY, GREETING, always, assert_failed, assert_nothing_left, at_first, builder,
    client, count, each, inputs, other_client, response, stranger,
};

#[test]
fn each_turn_has_the_history_and_the_expected_requests() {
    each(EVERY, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let mut before = server.counts().requests;
        for (turn, cost) in [("first", kind.turns.0), ("second", kind.turns.1)] {
            assert_eq!(chat.ask(turn).unwrap(), GREETING, "{kind:?}");
            before += cost;
            assert_eq!(server.counts().requests, before, "{kind:?} {turn}");
        }
        // This shows that the second message follows the first reply.
        let first = format!("<|prompt|>first<|endoftext|><|answer|>{GREETING}<|endoftext|>");
        let second = format!("{first}<|prompt|>second<|endoftext|><|answer|>");
        assert_eq!(server.model_prompts()[1], second, "{kind:?}");
        let history = [
            Message::user("first"),
            Message::assistant(GREETING),
            Message::user("second"),
            Message::assistant(GREETING),
        ];
        assert_eq!(chat.messages().unwrap(), history, "{kind:?}");
        assert_eq!(server.counts().connections, 1, "{kind:?}");
        assert_eq!(count(&server, Step::StopGeneration), 0, "{kind:?}");
        drop(chat);
        assert_nothing_left(&server);
    });
}

#[test]
fn a_conversation_can_be_renamed() {
    each(EVERY, |kind| {
        let server = kind.start();
        let client = client(&server);
        let mut chat = client.conversation().unwrap();
        chat.ask("hello").unwrap();
        chat.rename("Zahlen, größer als 2").unwrap();
        assert_eq!(client.list_conversations().unwrap()[0].title, "Zahlen, größer als 2");
        let error = chat.rename(" ").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{kind:?} {error}");
        assert_eq!(count(&server, Step::RenameConversation), 1, "{kind:?}");
        server.forget(chat.id());
        let error = chat.rename("Primes").unwrap_err();
        assert_failed(&error, ErrorKind::Status, Step::RenameConversation);
        assert_eq!(error.status(), Some(404), "{kind:?}");
        assert!(error.to_string().starts_with("renaming the conversation"), "{error}");
    });
}

#[test]
fn dropping_a_conversation_deletes_it_and_delete_returns_the_error() {
    let server = always(Step::DeleteConversation, || response("503 Busy", "", ""));
    let troubled = client(&server);
    let chat = troubled.conversation().unwrap();
    let id = chat.id().to_owned();
    let error = chat.delete().unwrap_err();
    assert_failed(&error, ErrorKind::Status, Step::DeleteConversation);
    assert_eq!((error.status(), error.undeleted()), (Some(503), Some(&*id)));
    // The failed call consumed the conversation.
    assert!(!error.is_retryable());
    assert_eq!(troubled.leftovers(), [id]);

    let server = StandIn::start();
    drop(client(&server).conversation().unwrap());
    assert_nothing_left(&server);
}

#[test]
fn a_conversation_stays_usable_after_a_cancel_or_timeout() {
    let server = StandIn::start();
    let limited = builder(&server).idle_timeout(Duration::from_secs(1));
    let client = limited.build().unwrap();
    let stopped = || {
        let mut chat = client.conversation().unwrap();
        let handle = CancelHandle::default();
        let mut tokens = chat.stream(Request::new(ENDLESS).cancel_handle(&handle)).unwrap();
        tokens.next().unwrap().unwrap();
        handle.cancel();
        let error = tokens.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(tokens.next().is_none());
        drop(tokens);
        assert_eq!(chat.ask("hello").unwrap(), GREETING);
    };
    let time_out = |prompt| {
        let mut chat = client.conversation().unwrap();
        let error = chat.ask(prompt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Timeout::Idle));
        assert_eq!(error.undeleted(), None);
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "after {prompt}");
    };
    thread::scope(|scope| {
        scope.spawn(stopped);
        // A wait for the head has no stream yet that would show the end.
        scope.spawn(|| time_out("/silent"));
        time_out("/hang");
    });
    assert_eq!(server.counts().stopped, 3);
}

#[test]
fn a_conversation_stays_usable_after_an_error() {
    let prompts =
        ["/error-event-first", "/error-event", "/no-final", "/422", "/429", "/dead", "/rate-limit"];
    each(EVERY, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        for prompt in prompts {
            let error = chat.ask(prompt).unwrap_err();
            assert_eq!(error.undeleted(), None, "{kind:?} {prompt}");
            let next = chat.ask("hello").unwrap();
            assert_eq!(next, GREETING, "{kind:?} after {prompt}");
        }
        assert_eq!(count(&server, Step::StopGeneration), 0, "{kind:?}");
        // A generation that may still run is stopped.
        for prompt in ["/502", "/dropped"].into_iter().filter(|_| kind.is_classic()) {
            chat.ask(prompt).unwrap_err();
            assert_eq!(chat.ask("hello").unwrap(), GREETING, "after {prompt}");
        }
        assert_eq!(server.counts().created, 1, "{kind:?}");
    });
}

#[test]
fn a_kept_conversation_can_be_resumed_in_its_session_only() {
    each(EVERY, |kind| {
        let server = kind.start();
        let first = client(&server);
        let mut chat = first.conversation().unwrap();
        chat.ask("first").unwrap();
        let id = chat.keep();

        let mut chat = other_client(&server, &first).resume(&id).unwrap();
        assert_eq!(chat.ask("second").unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 4, "{kind:?}");
        drop(chat);
        assert_eq!(server.conversations(), std::slice::from_ref(&id));

        let mut stolen = stranger(&server).resume(&id).unwrap();
        let error = stolen.ask("hello").unwrap_err();
        assert!(matches!(error.status(), Some(404 | 405)), "{kind:?} {error}");
        let second = other_client(&server, &first);
        second.resume(&id).unwrap().delete().unwrap();
        assert_nothing_left(&server);
    });
}

#[test]
fn a_deleted_conversation_is_never_replaced_by_a_new_one() {
    each(EVERY, |kind| {
        for api_disabled in [false, true] {
            let builder = kind.builder();
            let server =
                if api_disabled { builder.api_disabled().start() } else { builder.start() };
            let mut chat = client(&server).conversation().unwrap();
            chat.ask("hello").unwrap();
            server.forget(chat.id());
            let step = if kind.begins_at_once() { Step::ReadHistory } else { Step::SendMessage };
            for _ in 0..2 {
                let error = chat.ask("hello").unwrap_err();
                assert_eq!(error.status(), Some(404), "{kind:?} {error}");
                assert_eq!(error.step(), step, "{kind:?} {error}");
            }
            let error = chat.messages().unwrap_err();
            assert_eq!(error.status(), Some(404), "{kind:?} {error}");
            assert_eq!(error.step(), Step::ReadHistory, "{kind:?} {error}");
            assert_eq!(server.counts().created, 1, "{kind:?}");
        }
    });
}

#[test]
fn the_system_prompt_is_sent_again_after_a_refused_message() {
    let refusal = || Plan::Refusal { status: 500, message: "Internal Error" };
    let plan = move |prompt: &str| match prompt {
        "Be brief.\n\nrefused" => refusal(),
        prompt => Plan::for_prompt(prompt),
    };
    let server = StandIn::builder().plan(plan).start();
    let mut chat = client(&server).conversation_builder().system("Be brief.").open().unwrap();
    // The server stored nothing of the refused message.
    chat.ask("refused").unwrap_err();
    chat.ask("first").unwrap();
    chat.ask("second").unwrap();
    assert_eq!(inputs(&server), ["Be brief.\n\nrefused", "Be brief.\n\nfirst", "second"]);
}

#[test]
fn a_turn_cannot_change_the_model() {
    let server = StandIn::start();
    let opening = client(&server).conversation_builder().model("other/model");
    let mut chat = opening.open().unwrap();
    chat.ask(Request::new("hello").model("other/model")).unwrap();
    let requests = server.counts().requests;
    let error = chat.ask(Request::new("hello").model("yet/another"));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(server.counts().requests, requests);
}

#[test]
fn events_include_special_tokens_and_the_end() {
    let server = StandIn::builder().plan(|_| Plan::tokens(["a", "", "b"])).start();
    let mut chat = client(&server).conversation().unwrap();
    let mut tokens = chat.stream(Request::new("hello").details(true)).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = tokens.next_event() {
        let Event::Token(token) = event.unwrap() else {
            continue;
        };
        assert_eq!(token.logprob, Some(-0.1));
        assert!(token.id.is_some());
        seen.push((token.text, token.special));
    }
    let texts: Vec<(&str, bool)> = seen.iter().map(|(text, special)| (&**text, *special)).collect();
    assert_eq!(texts, [("a", false), ("", false), ("b", false), ("<|endoftext|>", true)]);
    let end = tokens.end().unwrap();
    assert_eq!(end.text, "ab");
    assert!(end.details.is_some());
    assert!(tokens.next_event().is_none());
}

#[test]
fn dropping_a_conversation_in_mid_turn_stops_and_deletes() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    let mut tokens = chat.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    // A forgotten turn does not stop its generation.
    std::mem::forget(tokens);
    drop(chat);
    assert_nothing_left(&server);
    assert_eq!(server.counts().stopped, 1);
}

#[test]
fn deleting_a_conversation_retries_a_failed_stop() {
    let server = at_first(1, Step::StopGeneration, || response("500 Oh", "", ""));
    let mut tokens = client(&server).stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    let kept = tokens.keep();
    assert_eq!(server.counts().running, 1);
    kept.delete().unwrap();
    assert_nothing_left(&server);
}
