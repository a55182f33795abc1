//! Regenerated replies.

use std::sync::atomic::{AtomicUsize, Ordering};

use h2o_chat::{CancelHandle, ErrorKind, Message, Request, Step};

use crate::stand_in::{Plan, Reaction, StandIn};
use crate::support::{
    ALL, ENDLESS, GREETING, assert_nothing_left, client, each, messages, response, step_of,
    take_one,
};

#[test]
fn a_regenerated_reply_replaces_the_last_reply() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        chat.ask("second").unwrap();
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let prompts = server.model_prompts();
        assert_eq!(prompts[1], prompts[2], "{kind:?}");
        assert_eq!(prompts[1], prompts[3], "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 4, "{kind:?}");
        // The parent of the next message is the last reply.
        chat.ask("third").unwrap();
        let third = server.model_prompts().pop().unwrap();
        assert_eq!(third.matches(GREETING).count(), 2, "{kind:?} {third}");
        assert_eq!(chat.messages().unwrap().len(), 6, "{kind:?}");
    });
}

#[test]
fn another_client_can_regenerate_the_last_reply() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        let mut chat = client.conversation().unwrap();
        let mut tokens = chat.stream("hello").unwrap();
        tokens.next().unwrap().unwrap();
        drop(tokens);
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let id = chat.keep();
        let mut chat = client.resume(&id).unwrap();
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 2, "{kind:?}");
        chat.delete().unwrap();
        assert_nothing_left(&server);
    });
}

#[test]
fn another_prompt_replaces_the_last_message() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        chat.ask("second").unwrap();
        let empty = chat.regenerate_with(|_| Request::new(" ")).map(drop);
        assert_eq!(empty.unwrap_err().kind(), ErrorKind::InvalidInput, "{kind:?}");
        for other in ["other", "another"] {
            let text = chat.regenerate_with(|_| Request::new(other)).unwrap().text();
            assert_eq!(text.unwrap(), GREETING, "{kind:?}");
            // The model sees it in the place of the replaced one.
            let prompts = server.model_prompts();
            let expected = prompts[1].replace("second", other);
            assert_eq!(prompts.last(), Some(&expected), "{kind:?}");
        }
        chat.regenerate().unwrap().text().unwrap();
        chat.ask("third").unwrap();
        let third = server.model_prompts().pop().unwrap();
        assert_eq!(third.matches(GREETING).count(), 2, "{kind:?} {third}");
        assert!(third.contains("another") && !third.contains("second"), "{kind:?} {third}");
        let said = chat.messages().unwrap();
        assert_eq!(said.contains(&Message::user("second")), !kind.is_classic(), "{kind:?}");
        assert_eq!(said[said.len() - 2], Message::user("third"), "{kind:?}");
    });
}

#[test]
fn another_prompt_for_a_refused_message_replaces_no_other() {
    each(ALL, |kind| {
        let refusals = AtomicUsize::new(1);
        let plan = move |prompt: &str| match prompt {
            "second" if take_one(&refusals) => Plan::Refusal { status: 429, message: "Slow down" },
            prompt => Plan::for_prompt(prompt),
        };
        let server = kind.builder().plan(plan).start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        assert_eq!(chat.ask("second").unwrap_err().status(), Some(429));
        chat.regenerate_with(|_| Request::new("other")).unwrap().text().unwrap();
        let said = chat.messages().unwrap();
        assert_eq!(said[0], Message::user("first"), "{kind:?}");
        assert_eq!(said[2], Message::user("other"), "{kind:?}");
        assert_eq!(said.len(), 4, "{kind:?}");
    });
}

#[test]
fn another_prompt_whose_response_was_lost_is_not_sent_twice() {
    each(ALL, |kind| {
        let sent = AtomicUsize::new(0);
        let server = kind.builder().intercept(move |request| {
            let is_second = step_of(request) == Some(Step::SendMessage)
                && sent.fetch_add(1, Ordering::Relaxed) == 1;
            is_second.then(|| Reaction::Lost(Box::new(response("502 Bad Gateway", "", ""))))
        });
        let server = server.start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        let lost = chat.regenerate_with(|_| Request::new("other")).map(drop).unwrap_err();
        assert_eq!(lost.status(), Some(502), "{kind:?} {lost}");
        chat.regenerate().unwrap().text().unwrap();
        let prompt = server.model_prompts().pop().unwrap();
        assert_eq!(prompt, "<|prompt|>other<|endoftext|><|answer|>", "{kind:?}");
    });
}

#[test]
fn regenerating_resends_a_refused_message() {
    each(ALL, |kind| {
        let refusals = AtomicUsize::new(1);
        let plan = move |prompt: &str| match prompt {
            "second" if take_one(&refusals) => Plan::Refusal { status: 429, message: "Slow down" },
            prompt => Plan::for_prompt(prompt),
        };
        let server = kind.builder().plan(plan).start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        assert_eq!(chat.ask("second").unwrap_err().status(), Some(429));
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let history = chat.messages().unwrap();
        assert_eq!(history.len(), 4, "{kind:?}");
        assert_eq!(history[2], Message::user("second"), "{kind:?}");
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 4, "{kind:?}");
    });
}

#[test]
fn regenerating_needs_a_message() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let error = chat.regenerate().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{kind:?}");
    });
}

#[test]
fn a_classic_regeneration_changes_only_the_response_id() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    chat.ask("first").unwrap();
    chat.ask(Request::new("second").temperature(0.9)).unwrap();
    assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING);
    let [_, second, retry] = &messages(&server)[..] else { panic!() };
    assert_eq!(retry["options"]["is_retry"], true);
    assert_eq!(retry["options"]["id"], second["options"]["id"]);
    assert_ne!(retry["options"]["response_id"], second["options"]["response_id"]);
    assert_eq!(retry["parameters"], second["parameters"]);

    // The message again with another temperature, and then with another prompt.
    let change = |request: Request| request.temperature(0.2);
    chat.regenerate_with(change).unwrap().text().unwrap();
    assert_eq!(messages(&server)[3]["parameters"]["temperature"], 0.2);
    let change = |_| Request::new("a better question");
    chat.regenerate_with(change).unwrap().text().unwrap();
    let said = chat.messages().unwrap();
    assert_eq!(said.len(), 4);
    assert_eq!(said[2], Message::user("a better question"));
}

#[test]
fn a_cancel_ends_one_regeneration_only() {
    let server = StandIn::start();
    let mut chat = client(&server).conversation().unwrap();
    let handle = CancelHandle::default();
    let mut tokens = chat.stream(Request::new(ENDLESS).cancel_handle(&handle)).unwrap();
    tokens.next().unwrap().unwrap();
    handle.cancel();
    tokens.next().unwrap().unwrap_err();
    drop(tokens);
    let mut again = chat.regenerate().unwrap();
    assert_eq!(again.next().unwrap().unwrap(), " s0");
    drop(again);

    let error =
        chat.regenerate_with(|request| request.cancel_handle(&handle)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    // A request that fails at once can be regenerated as well.
    assert!(chat.regenerate().is_ok());
}
