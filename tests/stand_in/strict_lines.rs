//! How the newest servers say a reply, and what ends it.

use std::time::Duration;

use crate::raw_chat::{Chat, VARY, answered, error, head, reply, status, token};
use crate::raw_client::{COOKIE, chunked, chunks};
use crate::stand_in::{Act, Dialect, Last, Plan, frame};

#[test]
fn a_reply_is_as_recorded() {
    let mut chat = Chat::begin(Dialect::Newest, |_| {
        Plan::tokens([
            "Grüße",
            " 👩\u{200d}💻",
            " 日本",
            "",
            "語",
            " \"q\"",
            "\n",
            " nul:\0.",
            " averyveryverylongtoken_over_sixteen",
            " ",
        ])
    });
    let tokens = [
        token("Grüße", 11),
        token(" 👩\u{200d}💻", 10),
        token(" 日本", 13),
        token("語", 15),
        token(r#" \"q\""#, 12),
        token(r"\n", 15),
        token(r" nul:\u0000.", 9),
        token(" averyveryverylongtoken_over_sixteen", 0),
        token(" ", 15),
    ];
    let text = r#"Grüße 👩‍💻 日本語 \"q\"\n nul:\u0000. averyveryverylongtoken_over_sixteen"#;
    let end = answered(text, false);
    let lines = [&tokens[..], &end[..]].concat();
    let first = chat.ask("hello");
    assert_eq!(first, reply(&lines));
    for recorded in [
        "\r\n66\r\n{",
        "\r\n65\r\n{",
        "\r\n72\r\n{",
        "\r\n7a\r\n{",
        "\r\n6b\r\n{",
        "\r\n79\r\n{",
        "\r\n5f\r\n{",
        "\r\n41\r\n{",
    ] {
        assert!(first.contains(recorded), "{recorded}");
    }

    // The second has no title, and may come in the other kind of form.
    let parent = chat.messages().pop().unwrap();
    let data =
        format!("data=%7B%22id%22%3A%20%22{parent}%22%2C%20%22inputs%22%3A%20%22second%22%7D");
    let request = format!(
        "POST /conversation/{}\nOrigin: http://{{host}}\nContent-Type: application/x-www-form-urlencoded\n\n{data}",
        chat.id
    );
    let second = chat.client.ask(&request);
    let title = chunks(&["{\"type\":\"title\",\"title\":\"Fake title\"}\n".to_string()]);
    assert_eq!(second, first.replace(&title, ""));
    assert_eq!(chat.server.counts().running, 0);
}

#[test]
fn what_goes_wrong_is_a_line() {
    let tokens = || {
        [
            token(" Hi", 13),
            token(" there", 10),
            token(",", 15),
            token(" how", 12),
            token(" can", 12),
        ]
    };
    let nothing = error(r#""No output was generated. Something went wrong.""#);
    let memory = error(r#""Request failed during generation: Server error: CUDA out of memory""#);
    for (prompt, lines) in [
        ("/empty", vec![nothing]),
        (
            "/429",
            vec![error(r#""429 Model is overloaded","statusCode":429"#)],
        ),
        ("/502", vec![error(r#""502 Bad Gateway","statusCode":502"#)]),
        ("/dead", vec![error(r#""Connection error.""#)]),
        ("/error-event-first", vec![memory.clone()]),
        (
            "/error-event",
            [tokens(), tokens()]
                .concat()
                .into_iter()
                .chain([memory])
                .collect(),
        ),
        (
            "/no-final",
            tokens().into_iter().chain([status("finished")]).collect(),
        ),
    ] {
        let unpaced = |prompt: &str| match Plan::for_prompt(prompt) {
            Plan::Acts(acts) => Plan::acts(acts.filter(|act| !matches!(act, Act::Wait(_)))),
            plan => plan,
        };
        let mut chat = Chat::begin(Dialect::Newest, unpaced);
        assert_eq!(chat.ask(prompt), reply(&lines), "{prompt}");
        assert_eq!(chat.messages().len(), 3, "{prompt}");
    }
    let mut chat = Chat::begin(Dialect::Newest, Plan::for_prompt);
    let limited = chat.ask("/rate-limit");
    assert!(
        limited.starts_with("HTTP/1.1 429 Too Many Requests\r\nVary"),
        "{limited}"
    );
    assert_eq!(chat.messages().len(), 1);
}

#[test]
fn what_is_not_text_leaves_no_trace() {
    let plan = |_: &str| {
        let last = Last {
            id: 2,
            text: " c".to_string(),
            finish_reason: "length",
            ..Last::eos("a b c".to_string(), 3)
        };
        Plan::acts([
            Act::Special {
                id: 0,
                text: "<s>".to_string(),
            },
            Act::Together(vec![Act::token(0, "a"), Act::Comment, Act::token(1, " b")]),
            Act::Last(last),
        ])
    };
    let mut chat = Chat::begin(Dialect::Newest, plan);
    let together = token("a", 15) + &status("keepAlive") + &token(" b", 14);
    let lines = [&[together, token(" c", 14)], &answered("a b c", false)[..]].concat();
    assert_eq!(chat.ask("hello"), reply(&lines));
}

#[test]
fn bytes_are_left_as_they_are() {
    let mut chat = Chat::begin(Dialect::Newest, |_| Plan::bytes(vec![frame::comment()]));
    let answer = chat.ask("hello");
    assert!(answer.contains("\r\n3\r\n:\n\n\r\n"), "{answer}");
}

#[test]
fn a_silence_is_filled() {
    let mut chat = Chat::begin(Dialect::Newest, |_| Plan::acts([Act::Hang]));
    chat.send("hello");
    assert_eq!(chat.client.head(), head());
    for _ in 0..3 {
        chat.client.chunk();
    }
    for _ in 0..3 {
        assert_eq!(chat.client.chunk(), chunks(&[status("keepAlive")]));
    }
}

#[test]
fn a_stopped_reply_is_an_interrupted_one() {
    let mut chat = Chat::begin(Dialect::Newest, |_| {
        Plan::acts([Act::token(0, "a "), Act::Hang])
    });
    let done = chunked("200 OK", &format!("{VARY}{COOKIE}"), "");
    for _ in 0..2 {
        chat.send("hello");
        chat.server
            .wait_for("the reply", |counts| counts.running == 1);
        chat.client.head();
        while !chat.client.chunk().contains("\"a ") {}
        assert_eq!(chat.stop(), done);
        let rest = chat.client.chunks();
        assert!(
            rest.ends_with(&(chunks(&answered("a ", true)) + "0\r\n\r\n")),
            "{rest}"
        );
    }
    assert_eq!(chat.server.counts().stopped, 2);
    assert_eq!(chat.server.counts().connections, 3);
}

#[test]
fn a_stop_of_nothing_cuts_what_comes_next() {
    let mut chat = Chat::begin(Dialect::Newest, |_| Plan::tokens(["a"]));
    chat.stop();
    assert_eq!(chat.ask("cut"), reply(&answered("", true)));
    assert!(
        chat.ask("whole")
            .contains(r#""token":"a"#.trim_end_matches('"'))
    );
    let counts = chat.server.counts();
    assert_eq!((counts.running, counts.stopped), (0, 1));
}

#[test]
fn a_hung_reply_ends_with_the_server() {
    let mut chat = Chat::begin(Dialect::Newest, |_| {
        Plan::acts([Act::Wait(Duration::from_secs(60))])
    });
    chat.send("hello");
    chat.server
        .wait_for("the reply", |counts| counts.streaming == 1);
    drop(chat.server);
    assert!(chat.client.rest().starts_with(&head()));
}
