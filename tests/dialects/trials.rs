//! A message that is answered once more.

use std::sync::atomic::{AtomicBool, Ordering};

use h2o_chat::{ErrorKind, Message, Request};

use crate::stand_in::{self, Plan, Reaction};
use crate::table::{ALL, CURRENT, GREETING, assert_nothing_left, client, each, messages};

/// Never answers when asked what has been said in a conversation.
pub fn deaf_to_history(request: &stand_in::Request) -> Option<Reaction> {
    let is_history = request.path.starts_with("/api/conversation/");
    is_history.then_some(Reaction::Silence)
}

#[test]
fn a_retry_takes_the_place_of_the_last_reply() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        chat.ask("second").unwrap();
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let prompts = server.model_prompts();
        assert_eq!(prompts[1], prompts[2], "{kind:?}");
        assert_eq!(prompts[1], prompts[3], "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 4, "{kind:?}");
        // What comes next answers to the last of them.
        chat.ask("third").unwrap();
        let third = server.model_prompts().pop().unwrap();
        assert_eq!(third.matches(GREETING).count(), 2, "{kind:?} {third}");
        assert_eq!(chat.messages().unwrap().len(), 6, "{kind:?}");
    });
}

#[test]
fn the_last_reply_can_be_had_again_in_another_client_and_after_an_early_end() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        let mut chat = client.conversation().unwrap();
        let mut tokens = chat.send("hello").unwrap();
        tokens.next().unwrap().unwrap();
        drop(tokens);
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let id = chat.keep();
        let mut chat = client.resume(&id).unwrap();
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 2, "{kind:?}");
        chat.delete().unwrap();
        assert_nothing_left(&server);
    });
}

#[test]
fn another_prompt_in_the_place_of_the_last_is_for_classic_servers_only() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        let other = chat.retry_with(|_| Request::new("other"));
        let other = other.and_then(h2o_chat::Tokens::text);
        if kind.is_classic() {
            assert_eq!(other.unwrap(), GREETING);
            assert_eq!(chat.messages().unwrap()[0], Message::user("other"));
            return;
        }
        let error = other.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{kind:?} {error}");
        assert_eq!(messages(&server).len(), 1, "{kind:?}");
        // Nothing has become of it: the last message is the one before.
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let empty = chat.retry_with(|_| Request::new(" ")).map(drop);
        assert_eq!(empty.unwrap_err().kind(), ErrorKind::Input, "{kind:?}");
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 2, "{kind:?}");
    });
}

#[test]
fn a_message_that_was_refused_is_sent_anew() {
    each(ALL, |kind| {
        let refused = AtomicBool::new(false);
        let plan = move |prompt: &str| {
            let is_refused = prompt == "second" && !refused.swap(true, Ordering::Relaxed);
            if is_refused {
                let message = "Slow down";
                Plan::Refusal {
                    status: 429,
                    message,
                }
            } else {
                Plan::for_prompt(prompt)
            }
        };
        let server = kind.builder().plan(plan).start();
        let mut chat = client(&server).conversation().unwrap();
        chat.ask("first").unwrap();
        assert_eq!(chat.ask("second").unwrap_err().status(), Some(429));
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let history = chat.messages().unwrap();
        assert_eq!(history.len(), 4, "{kind:?}");
        assert_eq!(history[2], Message::user("second"), "{kind:?}");
        assert_eq!(chat.retry().unwrap().text().unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 4, "{kind:?}");
    });
}

#[test]
fn there_is_nothing_to_retry_before_the_first_message() {
    each(CURRENT, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let error = chat.retry().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{kind:?}");
    });
}
