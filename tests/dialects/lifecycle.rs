//! A reply from its first request to the deletion of its conversation.

use std::panic::{AssertUnwindSafe, catch_unwind};

use h2o_chat::{Event, Message, Request, Tokens};

use crate::stand_in::{Act, Plan, StandIn};
use crate::table::{
    ALL, CURRENT, GREETING, Kind, STOP, assert_nothing_left, client, each, messages, other_client,
    paths,
};

#[test]
fn a_reply_costs_these_requests_and_the_next_one_fewer_all_on_one_connection() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        for turn in 0..2 {
            let before = server.counts().requests;
            assert_eq!(client.clone().ask("hello").unwrap(), GREETING, "{kind:?}");
            let expected = &kind.cold[if turn == 0 { 0 } else { kind.known }..];
            assert_eq!(paths(&server)[before..], *expected, "{kind:?}");
        }
        let counts = server.counts();
        assert_eq!(
            (counts.connections, counts.pages, counts.conversations),
            (1, 0, 0),
            "{kind:?}"
        );
    });
}

/// The last two requests have to be a stop and a deletion.
fn assert_stopped_then_deleted(kind: Kind, server: &StandIn) {
    server.wait_for("the deletion", |counts| counts.conversations == 0);
    let paths = paths(server);
    let last = [STOP, "DELETE /conversation/ID"];
    assert_eq!(paths[paths.len() - 2..], last, "{kind:?}");
    if kind.stops {
        assert_nothing_left(server);
        assert_eq!(server.counts().stopped, 1, "{kind:?}");
    }
}

#[test]
fn an_early_end_stops_then_deletes() {
    let ends: [fn(Tokens<'static>); 4] = [
        drop,
        |tokens| tokens.delete().unwrap(),
        |mut tokens| {
            let _ = tokens.by_ref().nth(2);
        },
        |tokens| {
            let panicking = move || {
                let _tokens = tokens;
                panic!("on purpose");
            };
            catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
        },
    ];
    each(ALL, |kind| {
        for end in ends {
            let server = kind.start();
            let mut tokens = client(&server).generate("/slow").unwrap();
            tokens.next().unwrap().unwrap();
            end(tokens);
            assert_stopped_then_deleted(kind, &server);
        }
    });
}

#[test]
fn a_reply_that_is_kept_is_stopped_and_taken_up_by_another_client_of_the_session() {
    each(ALL, |kind| {
        let server = kind.start();
        let first = client(&server);
        let mut tokens = first.generate("/slow").unwrap();
        tokens.next().unwrap().unwrap();
        let id = tokens.keep().keep();
        assert_eq!(paths(&server).last().unwrap(), STOP, "{kind:?}");

        let second = other_client(&server, &first);
        let mut chat = second.resume(&id).unwrap();
        assert_eq!(chat.messages().unwrap()[0], Message::user("/slow"));
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        drop(chat);
        assert_eq!(server.conversations(), std::slice::from_ref(&id));
        let third = other_client(&server, &first);
        third.delete(&id).unwrap();
        third.delete(&id).unwrap();
        assert_eq!(server.conversations(), [""; 0], "{kind:?}");
    });
}

#[test]
fn parameters_go_to_classic_servers_only() {
    each(ALL, |kind| {
        let server = kind.start();
        let request = Request::new("/count 1").temperature(0.9).details(true);
        let mut tokens = client(&server).generate(request).unwrap();
        assert!(tokens.all(|token| token.is_ok()), "{kind:?}");
        let has_details = tokens.end().unwrap().details.is_some();
        assert_eq!(has_details, kind.is_classic(), "{kind:?}");
        let sent = &messages(&server)[0];
        let temperature = sent["parameters"]["temperature"].as_f64();
        let expected = kind.is_classic().then_some(0.9);
        assert_eq!(temperature, expected, "{kind:?}: {sent}");
    });
}

#[test]
fn the_whole_text_is_at_the_end_and_its_tokens_have_no_padding() {
    each(ALL, |kind| {
        let server = kind.start();
        let reply = client(&server).generate("/emoji").unwrap().reply().unwrap();
        let whole = reply.end.text.trim_end();
        assert_eq!(reply.text.trim_end(), whole, "{kind:?}");
        assert!(!reply.text.contains('\0'), "{kind:?}");
        let tokens: Vec<String> = client(&server)
            .generate("hello")
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(tokens[..2], [" Hi", " there"], "{kind:?}");
    });
}

#[test]
fn the_title_is_an_event_of_the_first_turn() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        for expected in [kind.title, None] {
            let mut tokens = chat.send("hello").unwrap();
            let mut titles = Vec::new();
            while let Some(event) = tokens.next_event() {
                if let Event::Title(title) = event.unwrap() {
                    titles.push(title);
                }
            }
            assert_eq!(titles.first().map(String::as_str), expected, "{kind:?}");
            assert!(titles.len() < 2, "{kind:?}");
        }
    });
}

#[test]
fn thoughts_are_text_or_events_as_the_server_has_them() {
    each(ALL, |kind| {
        let server = kind.start();
        let text = client(&server).ask("/reasoning").unwrap();
        assert_eq!(text, "<think>Let me think.</think>The answer is 42.");
    });
    let lines = [
        r#"{"type":"reasoning","subtype":"status","status":"Thinking"}"#,
        r#"{"type":"reasoning","subtype":"stream","token":"Hm."}"#,
        r#"{"type":"tool","subtype":"call","uuid":"1","call":{"name":"x"},"message":{"no":"text"}}"#,
        r#"{"type":"from-the-future","token":[1],"status":7,"text":{}}"#,
    ];
    let said = move |_: &str| {
        let lines = lines.map(|line| Act::Send(format!("{line}\n").into_bytes()));
        let Plan::Acts(reply) = Plan::tokens(["42"]) else {
            unreachable!("tokens are acts")
        };
        Plan::acts(lines).then(reply)
    };
    each(CURRENT, |kind| {
        let server = kind.builder().plan(said).start();
        assert_eq!(client(&server).ask("hello").unwrap(), "42", "{kind:?}");
        let mut tokens = client(&server).generate("hello").unwrap();
        let mut thoughts = Vec::new();
        while let Some(event) = tokens.next_event() {
            if let Event::Reasoning(thought) = event.unwrap() {
                thoughts.push(thought);
            }
        }
        assert_eq!(thoughts, ["Thinking", "Hm."], "{kind:?}");
    });
}

#[test]
fn many_threads_can_use_one_client() {
    each(ALL, |kind| {
        let server = kind.start();
        let client = client(&server);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let text = client.ask("/count 50").unwrap();
                    assert_eq!(text.split_whitespace().count(), 50, "{kind:?}");
                });
            }
        });
        let counts = server.counts();
        let seen = (counts.created, counts.conversations, counts.running);
        assert_eq!(seen, (8, 0, 0), "{kind:?}");
    });
}
