//! Several turns in one conversation, of which the server keeps the history.

use h2o_chat::{Message, Step};

use crate::table::{
    ALL, CLASSIC, GREETING, STOP, assert_nothing_left, client, count, each, other_client,
};

#[test]
fn the_model_is_given_the_history_and_each_turn_costs_this_much() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let mut before = server.counts().requests;
        for (turn, cost) in [("first", kind.turns.0), ("second", kind.turns.1)] {
            assert_eq!(chat.ask(turn).unwrap(), GREETING, "{kind:?}");
            before += cost;
            assert_eq!(server.counts().requests, before, "{kind:?} {turn}");
        }
        // A message that answered to another than the last one would not have this before it.
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
        assert_eq!(count(&server, STOP), 0, "{kind:?}");
        drop(chat);
        assert_nothing_left(&server);
    });
}

#[test]
fn an_error_in_a_turn_does_not_spoil_the_next_and_stops_nothing() {
    let prompts = [
        "/error-event-first",
        "/error-event",
        "/no-final",
        "/422",
        "/429",
        "/dead",
        "/rate-limit",
    ];
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        for prompt in prompts {
            let error = chat.ask(prompt).unwrap_err();
            assert_eq!(error.undeleted(), None, "{kind:?} {prompt}");
            let next = chat.ask("hello").unwrap();
            assert_eq!(next, GREETING, "{kind:?} after {prompt}");
        }
        assert_eq!(count(&server, STOP), 0, "{kind:?}");
        assert_eq!(server.counts().created, 1, "{kind:?}");
    });
}

#[test]
fn a_kept_conversation_is_taken_up_in_its_session_and_in_no_other() {
    each(ALL, |kind| {
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

        let mut stolen = client(&server).resume(&id).unwrap();
        let error = stolen.ask("hello").unwrap_err();
        assert!(
            matches!(error.status(), Some(404 | 405)),
            "{kind:?} {error}"
        );
        let second = other_client(&server, &first);
        second.resume(&id).unwrap().delete().unwrap();
        assert_nothing_left(&server);
    });
}

#[test]
fn a_conversation_that_is_gone_is_never_silently_a_new_one() {
    each(ALL, |kind| {
        for api_disabled in [false, true] {
            let builder = kind.builder();
            let server = if api_disabled {
                builder.api_disabled().start()
            } else {
                builder.start()
            };
            let mut chat = client(&server).conversation().unwrap();
            chat.ask("hello").unwrap();
            server.forget(chat.id());
            let step = if kind.dialect == CLASSIC.dialect {
                Step::Message
            } else {
                Step::History
            };
            for _ in 0..2 {
                let error = chat.ask("hello").unwrap_err();
                assert_eq!(error.status(), Some(404), "{kind:?} {error}");
                assert_eq!(error.step(), step, "{kind:?} {error}");
            }
            let error = chat.messages().unwrap_err();
            assert_eq!(error.status(), Some(404), "{kind:?} {error}");
            assert_eq!(server.counts().created, 1, "{kind:?}");
        }
    });
}
