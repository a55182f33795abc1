//! Reasoning is apart from the answer, and what is neither is an event of its own.

use std::io::{self, Write};

use h2o_chat::{ErrorKind, Event, Reply, Request, Tokens};

use crate::stand_in::{Act, Last, Plan, StandIn};
use crate::support::{EVERY, Kind, acts, assert_nothing_left, client, each};

/// Replies with their reasoning and their text. The prompt chooses one.
const REPLIES: [(&str, &str, &str); 8] = [
    ("<think>\nLet me think.\n</think>\n\nIt is 42.", "Let me think.", "It is 42."),
    ("\n<think>\n\n</think>\n\nIt is 42.", "", "It is 42."),
    ("<think>One.</think>\n<think>Two.</think>It is 42.", "One.\n\nTwo.", "It is 42."),
    ("<think>It never </thi ends.", "It never </thi ends.", ""),
    ("It is <think>no</think> 42.", "", "It is <think>no</think> 42."),
    ("It is</think> 42.", "", "It is</think> 42."),
    ("<thin air> is 42.", "", "<thin air> is 42."),
    ("<thi", "", "<thi"),
];

/// A reply in tokens of this many bytes. Zero means that all text is in the last event.
fn plan(prompt: &str) -> Plan {
    let (index, length) = prompt.split_once(' ').unwrap();
    let (reply, ..) = REPLIES[index.parse::<usize>().unwrap()];
    match length.parse().unwrap() {
        0 => Plan::acts([Act::Last(Last::eos(reply.to_owned(), 0))]),
        length => {
            let pieces = reply.as_bytes().chunks(length);
            let pieces = pieces.map(|piece| String::from_utf8(piece.to_vec()).unwrap());
            Plan::tokens(pieces.collect::<Vec<_>>())
        }
    }
}

fn start(kind: Kind) -> StandIn {
    kind.builder().plan(plan).start()
}

/// The reasoning and the text of the events that are left.
fn by_events(mut tokens: Tokens) -> (String, String) {
    let (mut reasoning, mut text) = (String::new(), String::new());
    while let Some(event) = tokens.next_event() {
        match event.unwrap() {
            Event::Reasoning(piece) => reasoning.push_str(&piece),
            Event::Token(token) if !token.special => text.push_str(&token.text),
            _ => {}
        }
    }
    (reasoning.trim().to_owned(), text)
}

#[test]
fn every_form_of_a_reply_has_the_answer_alone() {
    each(EVERY, |kind| {
        let server = start(kind);
        let client = client(&server);
        let mut chat = client.conversation().unwrap();
        for (index, (raw, reasoning, text)) in REPLIES.into_iter().enumerate() {
            for length in [0, 1, 5, 100] {
                let prompt = format!("{index} {length}");
                let context = format!("{kind:?}: {raw:?} in pieces of {length}");
                let reply = chat.stream(prompt.as_str()).unwrap().reply().unwrap();
                let Reply { text: answer, reasoning: thought, end, .. } = reply;
                assert_eq!((&*thought, &*answer), (reasoning, text), "{context}");
                assert_eq!(end.text, raw, "{context}");

                let events = by_events(chat.stream(prompt.as_str()).unwrap());
                assert_eq!(events, (reasoning.to_owned(), text.to_owned()), "{context}");
                if length == 5 {
                    let request = Request::new(prompt).keep_thinking(true);
                    let kept = chat.stream(request).unwrap().reply().unwrap();
                    assert_eq!((&*kept.text, &*kept.reasoning), (raw, ""), "{context}");
                }
            }
        }
        chat.delete().unwrap();

        let (_, _, text) = REPLIES[0];
        assert_eq!(client.ask("0 3").unwrap(), text, "{kind:?}");
        let tokens = client.stream("0 1").unwrap().map(Result::unwrap);
        assert_eq!(tokens.collect::<Vec<_>>().concat(), text, "{kind:?}");
        let mut written = Vec::new();
        client.stream("0 2").unwrap().write_to(&mut written).unwrap();
        assert_eq!(written, text.as_bytes(), "{kind:?}");
        assert_nothing_left(&server);
    });
}

#[test]
fn a_regenerated_reply_thinks_again() {
    each(EVERY, |kind| {
        let server = start(kind);
        let mut chat = client(&server).conversation().unwrap();
        let (raw, _, text) = REPLIES[0];
        chat.ask("0 3").unwrap();
        let again = match chat.regenerate() {
            Ok(tokens) => tokens.text().unwrap(),
            Err(error) if error.kind() == ErrorKind::Unsupported => return,
            Err(error) => panic!("{kind:?}: {error}"),
        };
        assert_eq!(again, text, "{kind:?}");
        let kept = chat.regenerate_with(|request| request.keep_thinking(true)).unwrap();
        assert_eq!(kept.text().unwrap(), raw, "{kind:?}");
    });
}

#[test]
fn text_that_was_held_comes_before_an_error() {
    each(EVERY, |kind| {
        for (begin, received) in [("<thi", "<thi"), ("<think>a", ""), ("<think>a</think>b", "b")] {
            let plan = move |_: &str| Plan::acts([Act::token(0, begin), Act::Drop]);
            let server = kind.builder().plan(plan).start();
            let error = client(&server).ask("hello").unwrap_err();
            assert_eq!(error.received(), received, "{kind:?}: {error}");
            let mut tokens = client(&server).stream("hello").unwrap();
            let items: Vec<_> = tokens.by_ref().collect();
            let texts = items.iter().filter_map(|item| item.as_deref().ok());
            assert_eq!(texts.collect::<String>(), received, "{kind:?}");
            assert!(items.last().unwrap().is_err() && tokens.next().is_none(), "{kind:?}");
            // Leaving between the text and the error cleans up too.
            let mut tokens = client(&server).stream("hello").unwrap();
            drop(tokens.next());
            drop(tokens);
            assert_eq!(server.counts().conversations, 0, "{kind:?}");
        }
    });
}

#[test]
fn nothing_follows_an_error_of_the_writer() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = StandIn::builder().plan(|_| Plan::tokens(["<", "thi", "s>"])).start();
    let mut tokens = client(&server).stream("hello").unwrap();
    // The three tokens arrive before the first is written.
    assert_eq!(tokens.write_to(Full).unwrap_err().kind(), ErrorKind::Write);
    assert!(tokens.next().is_none());
    assert_nothing_left(&server);
}

#[test]
fn what_is_neither_text_nor_reasoning_is_another_event() {
    const LONG: usize = 3 << 20;
    let objects = || {
        [
            r#"{"type":"tool","subtype":"call","uuid":"1","message":{"no":"text"}}"#.to_owned(),
            format!(r#"{{"type":"tool","subtype":"result","output":"{}"}}"#, "x".repeat(LONG)),
            r#"{"type":"routerMetadata","route":"code","model":"small"}"#.to_owned(),
            r#"{"type":"from-the-future","body":null,"status":7,"text":{}}"#.to_owned(),
        ]
    };
    each(EVERY, |kind| {
        // Only on these servers does a long line not end the reply.
        let skips_long = kind.begins_at_once();
        let objects = move || objects().into_iter().filter(move |it| skips_long || it.len() < LONG);
        let plan = move |_: &str| {
            let others = objects().map(Act::Other);
            Plan::acts([Act::token(0, "<thi")]).then(others).then(acts(Plan::tokens(["s>"])))
        };
        let server = kind.builder().plan(plan).start();
        assert_eq!(client(&server).ask("hello").unwrap(), "<this>", "{kind:?}");
        let mut tokens = client(&server).stream("hello").unwrap();
        let (mut others, mut text) = (Vec::new(), String::new());
        while let Some(event) = tokens.next_event() {
            match event.unwrap() {
                Event::Other { kind, json, .. } => others.push((kind, json)),
                Event::Token(token) if !token.special => text.push_str(&token.text),
                _ => {}
            }
        }
        let kinds = others.iter().map(|(kind, _)| kind.as_str());
        let kinds: Vec<&str> = kinds.collect();
        let expected = ["tool", "tool", "routerMetadata", "from-the-future"];
        assert_eq!(kinds, expected[usize::from(!skips_long)..], "{kind:?}");
        let sent = objects().map(|object| Some(object).filter(|object| object.len() < LONG));
        assert!(others.into_iter().map(|(_, json)| json).eq(sent), "{kind:?}");
        assert_eq!(text, "<this>", "{kind:?}");
    });
}
