//! How the current servers write a reply, and what ends it.

use super::Chat;
use super::client::Client;
use crate::stand_in::Dialect::{self, Form, Json, Newest};
use crate::stand_in::{Act, Plan, StandIn};

const KEEP_ALIVE: &str = "{\"type\":\"status\",\"status\":\"keepAlive\"}\n";
const TEXTS: [&str; 5] = [" Hi", " there", ",", " how", " can"];

fn start(dialect: Dialect, plan: fn(&str) -> Plan) -> Chat {
    Chat::start(StandIn::builder().dialect(dialect).plan(plan))
}

fn named_without_waits(prompt: &str) -> Plan {
    match Plan::for_prompt(prompt) {
        Plan::Acts(acts) => Plan::acts(acts.filter(|act| !matches!(act, Act::Wait(_)))),
        plan => plan,
    }
}

/// A token with as many NULs as the server pads it with.
fn token(text: &str, nuls: usize) -> String {
    let nuls = r"\u0000".repeat(nuls);
    format!("{{\"type\":\"stream\",\"token\":\"{text}{nuls}\"}}\n")
}

/// The line with the whole text, and the filler after it. Some servers say whether it is whole.
fn final_answer(text: &str, interrupted: Option<bool>) -> Vec<String> {
    let interrupted = interrupted.map(|interrupted| format!(",\"interrupted\":{interrupted}"));
    let interrupted = interrupted.unwrap_or_default();
    let answer = format!("{{\"type\":\"finalAnswer\",\"text\":\"{text}\"{interrupted}}}\n");
    vec![answer, " ".repeat(4096)]
}

fn status(status: &str) -> String {
    format!("{{\"type\":\"status\",\"status\":\"{status}\"}}\n")
}

fn error(rest: &str) -> Vec<String> {
    let error = format!("{{\"type\":\"status\",\"status\":\"error\",\"message\":{rest}}}\n");
    vec![error]
}

/// The chunks before the model's first.
fn beginning(dialect: Dialect) -> Vec<String> {
    let title = match dialect {
        Json => "{\"type\":\"status\",\"status\":\"title\",\"message\":\"💬 Fake title\"}\n",
        Form => "{\"type\":\"title\",\"title\":\"💬 Fake title\"}\n",
        _ => "{\"type\":\"title\",\"title\":\"Fake title\"}\n",
    };
    let keep_alive = (dialect != Json).then(|| KEEP_ALIVE.to_string());
    let start = [status("started")].into_iter().chain(keep_alive);
    start.chain([title.to_string()]).collect()
}

#[test]
fn a_reply_is_one_chunk_to_a_line_as_recorded() {
    let plan = |_: &str| {
        Plan::tokens([
            "Grüße",
            " 👩\u{200d}💻",
            "",
            " \"q\"",
            "\n",
            " longer_than_sixteen",
            " ",
        ])
    };
    let whole = "Grüße 👩\u{200d}💻 \\\"q\\\"\\n longer_than_sixteen";
    #[rustfmt::skip]
    let padded = [("Grüße", 11), (" 👩\u{200d}💻", 10), (r#" \"q\""#, 12), (r"\n", 15), (" longer_than_sixteen", 0), (" ", 15)];
    let stream = "content-type: text/event-stream\r\n";
    for (dialect, headers, interrupted, end) in [
        (Json, stream, None, vec![]),
        (Form, stream, Some(false), vec![]),
        (
            Newest,
            "Vary: Accept-Encoding\r\ncontent-type: application/jsonl\r\n",
            Some(false),
            vec![status("finished")],
        ),
    ] {
        let mut chat = start(dialect, plan);
        let reply = chat.client.ask(&chat.message(dialect, "hello"));
        let tokens = padded.map(|(text, nuls)| token(text, if dialect == Json { 0 } else { nuls }));
        let model = [&tokens[..], &final_answer(whole, interrupted), &end].concat();
        assert_eq!(
            reply.body,
            [beginning(dialect), model.clone()].concat(),
            "{dialect:?}"
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\n{headers}set-cookie: hf-chat=me; Path=/; \
             Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None\r\n\
             Date: Mon, 23 Nov 2026 18:23:31 GMT\r\nConnection: keep-alive\r\n\
             Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(reply.head, head, "{dialect:?}");
        // The second reply has no title.
        let second = chat.client.ask(&chat.message(dialect, "again")).body;
        let mut beginning = beginning(dialect);
        beginning.pop();
        assert_eq!(second, [beginning, model].concat(), "{dialect:?}");
    }
}

#[test]
fn a_message_may_be_urlencoded() {
    let mut chat = start(Newest, |_| Plan::tokens(["yes"]));
    let parent = chat.messages().pop().unwrap();
    let reply = chat.client.ask(&format!(
        "POST /conversation/{}\nOrigin: http://{{host}}\n\
         Content-Type: application/x-www-form-urlencoded\n\n\
         data=%7B%22id%22%3A%20%22{parent}%22%2C%20%22inputs%22%3A%20%22a+b%22%7D",
        chat.id
    ));
    assert!(reply.text().contains(r#""text":"yes""#), "{}", reply.text());
    assert_eq!(
        chat.server.model_prompts(),
        ["<|prompt|>a b<|endoftext|><|answer|>"]
    );
}

#[test]
fn each_tells_what_goes_wrong_in_its_own_way() {
    let plain: Vec<_> = TEXTS.iter().map(|text| token(text, 0)).collect();
    let padded: Vec<_> = TEXTS
        .iter()
        .map(|text| token(text, 16 - text.len()))
        .collect();
    let nothing = error(r#""No output was generated. Something went wrong.""#);
    let memory = error(r#""Request failed during generation: Server error: CUDA out of memory""#);
    let loading = error(r#""503 Model h2oai/h2ogpt is currently loading""#);
    let wrong = final_answer(" Hi there, how can", None);
    let empty = final_answer("", None);
    let finished = vec![status("finished")];
    #[rustfmt::skip]
    let rows = [
        (Json,   "/503",               [&loading[..], &empty].concat()),
        (Json,   "/error-event",       [&plain[..], &memory, &wrong].concat()),
        (Json,   "/no-final",          plain),
        (Json,   "/empty",             empty),
        (Form,   "/503",               loading),
        (Form,   "/error-event",       [&padded[..], &memory].concat()),
        (Form,   "/no-final",          padded.clone()),
        (Form,   "/empty",             nothing.clone()),
        (Newest, "/429",               error(r#""429 Model is overloaded","statusCode":429"#)),
        (Newest, "/502",               error(r#""502 Bad Gateway","statusCode":502"#)),
        (Newest, "/dead",              error(r#""Connection error.""#)),
        (Newest, "/error-event-first", memory.clone()),
        // It asks the model again, and sends its tokens twice.
        (Newest, "/error-event",       [&padded[..], &padded, &memory].concat()),
        (Newest, "/no-final",          [&padded[..], &finished].concat()),
        (Newest, "/empty",             nothing),
    ];
    for (dialect, inputs, recorded) in rows {
        let mut chat = start(dialect, named_without_waits);
        let reply = chat.client.ask(&chat.message(dialect, inputs)).body;
        let expected = [beginning(dialect), recorded].concat();
        assert_eq!(reply, expected, "{dialect:?} {inputs}");
        assert_eq!(chat.messages().len(), 3, "{dialect:?} {inputs}");
    }
    let mut chat = start(Newest, Plan::for_prompt);
    let limited = chat
        .client
        .ask(&chat.message(Newest, "/rate-limit"))
        .summary();
    assert!(
        limited.starts_with("429 sized cookie application/json "),
        "{limited}"
    );
    assert_eq!(chat.messages().len(), 1);
}

#[test]
fn a_silence_is_filled_and_the_answer_is_in_the_history_before_its_end() {
    let mut chat = start(Newest, |_| Plan::acts([Act::Hang]));
    chat.client.send(&chat.message(Newest, "hello"));
    chat.client.head();
    for _ in beginning(Newest) {
        chat.client.chunk();
    }
    for _ in 0..3 {
        assert_eq!(chat.client.chunk().as_deref(), Some(KEEP_ALIVE));
    }
    assert_eq!(chat.messages().len(), 3);
}

#[test]
fn only_some_stop() {
    let plan = |_: &str| Plan::acts([Act::token(0, "a "), Act::Hang]);
    for (dialect, end) in [
        (Json, Some(final_answer("a ", None))),
        (Form, None),
        (
            Newest,
            Some([final_answer("a ", Some(true)), vec![status("finished")]].concat()),
        ),
    ] {
        let mut chat = start(dialect, plan);
        chat.client.send(&chat.message(dialect, "hello"));
        chat.client.head();
        while !chat
            .client
            .chunk()
            .is_some_and(|chunk| chunk.contains("\"a "))
        {}
        assert!(chat.stop().starts_with("200 chunked cookie"));
        let counts = chat.server.counts();
        let Some(end) = end else {
            assert_eq!((counts.running, counts.stopped), (1, 0), "{dialect:?}");
            continue;
        };
        assert_eq!((counts.running, counts.stopped), (0, 1), "{dialect:?}");
        let rest = chat.client.chunks();
        assert!(rest.ends_with(&end), "{dialect:?} {rest:?}");
    }
}

#[test]
fn a_stop_of_nothing_cuts_the_next_reply_of_the_newest() {
    for (dialect, is_cut) in [(Json, false), (Form, false), (Newest, true)] {
        let mut chat = start(dialect, |_| Plan::tokens(["a"]));
        chat.stop();
        for is_cut in [is_cut, false] {
            let reply = chat.client.ask(&chat.message(dialect, "hello")).text();
            assert_eq!(reply.contains("\"token\""), !is_cut, "{dialect:?} {reply}");
        }
    }
}

#[test]
fn closing_the_connection_stops_nothing() {
    for dialect in [Json, Form, Newest] {
        let mut chat = start(dialect, |_| Plan::acts([Act::token(0, "a"), Act::Hang]));
        chat.client.send(&chat.message(dialect, "hello"));
        chat.server
            .wait_for("the reply", |counts| counts.streaming == 1);
        chat.client = Client::connect(&chat.server);
        chat.server
            .wait_for("two connections", |counts| counts.open <= 2);
        assert_eq!(chat.server.counts().running, 1, "{dialect:?}");
    }
}
