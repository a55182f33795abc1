//! The framing, the end and the stored text of each server's replies.

use std::iter;

use super::client::{Client, json_post};
use super::{CREATE, Chat};
use crate::stand_in::Dialect::{self, Classic, Form, Json, Newest};
use crate::stand_in::{Act, Plan, StandIn};

const NODE: &str = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n";
const DATE: &str = "Mon, 23 Nov 2026 18:23:31 GMT";
const COOKIE: &str = "set-cookie: hf-chat=me; Path=/; \
    Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None\r\n";
const TEXTS: [&str; 8] = [" Hi", " there", ",", " how", " can", " I", " help", "?"];
const GREETING: &str = " Hi there, how can I help?";
const MEMORY: &str = "Request failed during generation: Server error: CUDA out of memory";
const KEEP_ALIVE: &str = "{\"type\":\"status\",\"status\":\"keepAlive\"}\n";
const FINISHED: &str = "{\"type\":\"status\",\"status\":\"finished\"}\n";

fn chat(dialect: Dialect, plan: fn(&str) -> Plan) -> Chat {
    Chat::with(dialect, |builder| builder.plan(plan))
}

fn without_waits(prompt: &str) -> Plan {
    match Plan::for_prompt(prompt) {
        Plan::Acts(acts) => Plan::acts(acts.filter(|act| !matches!(act, Act::Wait(_)))),
        plan => plan,
    }
}

/// An event of a classic reply.
fn event(id: usize, text: &str) -> String {
    format!(
        "data:{{\"token\":{{\"id\":{id},\"text\":\"{text}\",\"logprob\":-0.1,\"special\":false}},\
         \"generated_text\":null,\"details\":null}}\n\n"
    )
}

fn events(count: usize) -> Vec<String> {
    let texts = TEXTS.iter().take(count).enumerate();
    texts.map(|(id, text)| event(id, text)).collect()
}

fn last_event(whole: &str) -> String {
    let event = event(0, "<|endoftext|>").replace("false", "true");
    event.replacen("null", &format!("\"{whole}\""), 1)
}

/// A line of a current reply, with the NULs that pad its token.
fn line(text: &str, nuls: usize) -> String {
    let nuls = r"\u0000".repeat(nuls);
    format!("{{\"type\":\"stream\",\"token\":\"{text}{nuls}\"}}\n")
}

/// The line with the whole text, and the filler after it.
fn final_answer(text: &str, more: &str) -> Vec<String> {
    let answer = format!("{{\"type\":\"finalAnswer\",\"text\":\"{text}\"{more}}}\n");
    vec![answer, " ".repeat(4096)]
}

fn error(message: &str) -> Vec<String> {
    vec![format!("{{\"type\":\"status\",\"status\":\"error\",\"message\":{message}}}\n")]
}

/// The chunks before the model's first.
fn beginning(dialect: Dialect) -> Vec<String> {
    let started = "{\"type\":\"status\",\"status\":\"started\"}\n";
    let lines = match dialect {
        Json => vec![
            started,
            "{\"type\":\"status\",\"status\":\"title\",\"message\":\"💬 Fake title\"}\n",
        ],
        Form => vec![started, KEEP_ALIVE, "{\"type\":\"title\",\"title\":\"💬 Fake title\"}\n"],
        _ => vec![started, KEEP_ALIVE, "{\"type\":\"title\",\"title\":\"Fake title\"}\n"],
    };
    lines.into_iter().map(str::to_string).collect()
}

#[test]
fn a_classic_conversation_matches_the_recording() {
    let server = StandIn::start();
    let mut client = Client::connect(&server);
    let settings = client.ask(
        "POST /settings\nReferer: http://{host}/\nContent-Type: application/x-www-form-urlencoded\
         \n\nethicsModalAccepted=true&activeModel=other%2Fmodel",
    );
    let location = format!("http://{}/", client.host);
    let body = format!(r#"{{"type":"redirect","status":303,"location":"{location}"}}"#);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\
         {COOKIE}Date: {DATE}\r\n{NODE}\r\n",
        body.len()
    );
    assert_eq!((settings.head, settings.body), (head, vec![body]));

    let chunked = |headers: &str| {
        let headers = format!("{headers}{COOKIE}Date: {DATE}\r\n{NODE}");
        format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n")
    };
    let created = client.ask(&json_post("/conversation", CREATE));
    let id = &server.conversations()[0];
    let body = format!(r#"{{"conversationId":"{id}"}}"#);
    let head = chunked("content-type: application/json\r\n");
    assert_eq!((created.head, created.body), (head, vec![body]));

    let hello = r#"{"inputs": "hello", "options": {}}"#;
    let reply = client.ask(&json_post(&format!("/conversation/{id}"), hello));
    let head = format!(
        "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncache-control: no-cache\r\n\
         content-type: text/event-stream\r\ndate: {DATE}\r\n{COOKIE}\
         transfer-encoding: chunked\r\n\
         vary: origin, access-control-request-method, access-control-request-headers\r\n\
         x-accel-buffering: no\r\nx-compute-characters: 42\r\nx-compute-type: gpu+optimized\r\n\
         {NODE}\r\n"
    );
    let events = [events(8), vec![last_event(GREETING)]].concat();
    assert_eq!((reply.head, reply.body), (head, events));

    let deleted = client.ask(&format!("DELETE /conversation/{id}\nAccept: */*"));
    assert_eq!((deleted.head, deleted.body), (chunked(""), Vec::new()));
    assert_eq!(server.counts().connections, 1);
}

#[test]
fn a_current_reply_matches_the_recording() {
    let plan = |_: &str| {
        Plan::tokens(["Grüße", " 👩\u{200d}💻", "", " \"q\"", "\n", " longer_than_sixteen", " "])
    };
    let whole = "Grüße 👩\u{200d}💻 \\\"q\\\"\\n longer_than_sixteen";
    #[rustfmt::skip]
    let tokens = [
        ("Grüße", 11), (" 👩\u{200d}💻", 10), (r#" \"q\""#, 12), (r"\n", 15),
        (" longer_than_sixteen", 0), (" ", 15),
    ];
    let (form, newest) = ("content-type: text/event-stream", "content-type: application/jsonl");
    let newest = &*format!("Vary: Accept-Encoding\r\n{newest}");
    for (dialect, headers, interrupted, end) in [
        (Json, form, "", vec![]),
        (Form, form, ",\"interrupted\":false", vec![]),
        (Newest, newest, ",\"interrupted\":false", vec![FINISHED.to_string()]),
    ] {
        let mut chat = chat(dialect, plan);
        chat.send("hello");
        let reply = chat.client.response();
        let lines = tokens.map(|(text, nuls)| line(text, if dialect == Json { 0 } else { nuls }));
        let lines = [&lines[..], &final_answer(whole, interrupted), &end].concat();
        let mut beginning = beginning(dialect);
        assert_eq!(reply.body, [&beginning[..], &lines].concat(), "{dialect:?}");
        let headers = format!("{headers}\r\n{COOKIE}Date: {DATE}\r\n{NODE}");
        let head = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(reply.head, head, "{dialect:?}");
        // Only the first reply has a title.
        beginning.pop();
        assert_eq!(chat.reply("again"), [beginning, lines].concat(), "{dialect:?}");
    }
}

#[test]
fn error_replies_differ_by_version() {
    let event_error = format!("data:{{\"error\":\"{MEMORY}\",\"error_type\":\"generation\"}}\n\n");
    let event_error = vec![event_error];
    let mut commented = [events(8), vec![last_event(GREETING)]].concat();
    commented[3] += ":\n\n";
    let cut_off = event(5, " I").replacen("null", "\" Hi there, how can I\"", 1);
    let cut_off = [events(5), vec![cut_off]].concat();
    let plain: Vec<_> = TEXTS[..5].iter().map(|text| line(text, 0)).collect();
    let padded: Vec<_> = TEXTS[..5].iter().map(|text| line(text, 16 - text.len())).collect();
    let nothing = error(r#""No output was generated. Something went wrong.""#);
    let memory = error(&format!("\"{MEMORY}\""));
    let loading = error(r#""503 Model h2oai/h2ogpt is currently loading""#);
    let overloaded = error(r#""429 Model is overloaded","statusCode":429"#);
    let gateway = error(r#""502 Bad Gateway","statusCode":502"#);
    let wrong = final_answer(" Hi there, how can", "");
    let empty = final_answer("", "");
    let finished = vec![FINISHED.to_string()];
    #[rustfmt::skip]
    let rows = [
        (Classic, "/comments",          commented),
        (Classic, "/length",            cut_off),
        (Classic, "/no-final",          events(5)),
        (Classic, "/empty",             vec![last_event("")]),
        (Classic, "/error-event-first", event_error.clone()),
        (Classic, "/error-event",       [events(5), event_error].concat()),
        (Json,    "/503",               [&loading[..], &empty].concat()),
        (Json,    "/error-event",       [&plain[..], &memory, &wrong].concat()),
        (Json,    "/no-final",          plain),
        (Json,    "/empty",             empty),
        (Form,    "/503",               loading),
        (Form,    "/error-event",       [&padded[..], &memory].concat()),
        (Form,    "/no-final",          padded.clone()),
        (Form,    "/empty",             nothing.clone()),
        (Newest,  "/429",               overloaded),
        (Newest,  "/502",               gateway),
        (Newest,  "/dead",              error(r#""Connection error.""#)),
        (Newest,  "/error-event-first", memory.clone()),
        // The server asks the model again, and sends its tokens twice.
        (Newest,  "/error-event",       [&padded[..], &padded, &memory].concat()),
        (Newest,  "/no-final",          [&padded[..], &finished].concat()),
        (Newest,  "/empty",             nothing),
    ];
    for (dialect, inputs, recorded) in rows {
        let mut chat = chat(dialect, without_waits);
        let expected = match dialect {
            Classic => recorded,
            _ => [beginning(dialect), recorded].concat(),
        };
        assert_eq!(chat.reply(inputs), expected, "{dialect:?} {inputs}");
    }
}

#[test]
fn a_dropped_classic_reply_has_no_last_chunk() {
    let mut chat = Chat::start(Classic);
    chat.send("/dropped");
    chat.client.head();
    let events: Vec<_> = (0..5).filter_map(|_| chat.client.chunk()).collect();
    assert_eq!((events.len(), &*chat.client.rest()), (5, ""));
}

#[test]
fn keep_alives_differ_by_version() {
    let mut chat = Chat::start(Classic);
    chat.send("/silent");
    chat.wait(|counts| counts.running == 1);
    chat.stop();
    assert_eq!(chat.client.rest(), "");

    let mut chat = Chat::start(Newest);
    chat.send("/silent");
    chat.client.head();
    let lines = beginning(Newest);
    for line in lines.iter().map(String::as_str).chain([KEEP_ALIVE; 3]) {
        assert_eq!(chat.client.chunk().as_deref(), Some(line));
    }
    // The response is in the history before it is complete.
    assert_eq!(chat.messages().len(), 3);
}

#[test]
fn stopped_replies_differ_by_version() {
    let plan = |_: &str| Plan::acts([Act::token(0, "a "), Act::Hang]);
    let interrupted = final_answer("a ", ",\"interrupted\":true");
    let finished = vec![FINISHED.to_string()];
    for (dialect, end) in [
        (Classic, Some(vec![])),
        (Json, Some(final_answer("a ", ""))),
        (Form, None),
        (Newest, Some([interrupted, finished].concat())),
    ] {
        let mut chat = chat(dialect, plan);
        chat.send("hello");
        chat.client.head();
        while !chat.client.chunk().unwrap().contains("\"a ") {}
        chat.stop();
        let counts = chat.server.counts();
        let Some(end) = end else {
            assert_eq!((counts.running, counts.stopped), (1, 0), "{dialect:?}");
            continue;
        };
        assert_eq!((counts.running, counts.stopped), (0, 1), "{dialect:?}");
        if dialect == Classic {
            assert_eq!(chat.client.rest(), "", "there is no last chunk");
        } else {
            let rest = chat.client.chunks();
            assert!(rest.ends_with(&end), "{dialect:?} {rest:?}");
        }
    }
}

#[test]
fn an_early_stop_cuts_the_next_reply_of_the_newest_only() {
    for dialect in [Classic, Json, Form, Newest] {
        let mut chat = chat(dialect, |_| Plan::tokens(["yes"]));
        chat.stop();
        for is_cut in [dialect == Newest, false] {
            let reply = chat.reply("hello").concat();
            assert_eq!(reply.contains("yes"), !is_cut, "{dialect:?} {reply}");
        }
    }
}

#[test]
fn only_a_stop_ends_a_generation() {
    // More than the sockets hold, so that a client that does not read blocks the server.
    let endless = |_: &str| Plan::acts(iter::repeat_with(|| Act::Send(vec![b' '; 1 << 24])));
    let mut chat = chat(Classic, endless);
    chat.send("from a client that goes away");
    chat.wait(|counts| counts.streaming == 1);
    chat.client = Client::connect(&chat.server);
    chat.send("from a client that does not read");
    chat.wait(|counts| counts.streaming == 2);
    assert_eq!(chat.server.counts().running, 2);
    chat.stop();
    chat.wait(|counts| counts.stopped == 2);

    chat.client = Client::connect(&chat.server);
    chat.send("in a conversation that is deleted");
    chat.wait(|counts| counts.streaming == 3);
    let delete = format!("DELETE /conversation/{}", chat.id);
    assert_eq!(Client::connect(&chat.server).ask(&delete).status(), "200");
    let counts = chat.server.counts();
    assert_eq!((counts.conversations, counts.running), (0, 1));
}

#[test]
fn a_classic_server_stores_complete_and_stopped_replies() {
    for (question, response) in [
        ("/count 3", Some("0 1 2")),
        ("/length", Some(" Hi there, how can I")),
        ("/empty", Some("")),
        ("/hang", Some(" Hi there, how can")),
        ("/no-final", None),
        ("/dropped", None),
        ("/error-event", None),
        ("/422", None),
        ("/rate-limit", None),
        ("/dead", None),
    ] {
        let mut chat = chat(Classic, without_waits);
        chat.send(question);
        chat.client.head();
        if question == "/hang" {
            (0..5).for_each(|_| drop(chat.client.chunk()));
            chat.stop();
        }
        chat.wait(|counts| counts.running == 0);
        chat.client = Client::connect(&chat.server);
        chat.reply("next");
        let turn =
            |answer| format!("<|prompt|>{question}<|endoftext|><|answer|>{answer}<|endoftext|>");
        let before = response.map(turn).unwrap_or_default();
        let expected = format!("{before}<|prompt|>next<|endoftext|><|answer|>");
        assert_eq!(chat.server.model_prompts().pop(), Some(expected));
    }
}
