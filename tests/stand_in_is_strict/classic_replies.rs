//! How a classic server frames a reply, what ends it, and what is stored of it.

use std::iter;

use super::Chat;
use super::client::{Client, json_post, prompt};
use crate::stand_in::{Act, Plan, StandIn};

const NODE: &str = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n";
const DATE: &str = "Mon, 23 Nov 2026 18:23:31 GMT";
const COOKIE: &str = "set-cookie: hf-chat=me; Path=/; \
    Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None\r\n";
const TEXTS: [&str; 8] = [" Hi", " there", ",", " how", " can", " I", " help", "?"];
const GREETING: &str = " Hi there, how can I help?";
const STOPPED: &str = "200 chunked cookie ";

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

fn reply_head() -> String {
    format!(
        "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncache-control: no-cache\r\n\
         content-type: text/event-stream\r\ndate: {DATE}\r\n{COOKIE}\
         transfer-encoding: chunked\r\n\
         vary: origin, access-control-request-method, access-control-request-headers\r\n\
         x-accel-buffering: no\r\nx-compute-characters: 42\r\nx-compute-type: gpu+optimized\r\n\
         {NODE}\r\n"
    )
}

#[test]
fn a_whole_conversation_is_the_recorded_bytes_on_one_connection() {
    let server = StandIn::start();
    let mut client = Client::connect(&server);
    let settings = client.ask(
        "POST /settings\nReferer: http://{host}/\nContent-Type: application/x-www-form-urlencoded\
         \n\nethicsModalAccepted=true&activeModel=other%2Fmodel",
    );
    let body = format!(
        r#"{{"type":"redirect","status":303,"location":"http://{}/"}}"#,
        client.host
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\
         {COOKIE}Date: {DATE}\r\n{NODE}\r\n",
        body.len()
    );
    assert_eq!((settings.head, settings.body), (head, vec![body]));

    let chunked = |more: &str| {
        format!(
            "HTTP/1.1 200 OK\r\n{more}{COOKIE}Date: {DATE}\r\n{NODE}Transfer-Encoding: chunked\r\n\r\n"
        )
    };
    let created = client.ask(&json_post("/conversation", super::CREATE));
    let id = server.conversations()[0].clone();
    let body = format!(r#"{{"conversationId":"{id}"}}"#);
    let head = chunked("content-type: application/json\r\n");
    assert_eq!((created.head, created.body), (head, vec![body]));

    let reply = client.ask(&prompt(&id, "hello"));
    let chunks = [events(8), vec![last_event(GREETING)]].concat();
    assert_eq!((reply.head, reply.body), (reply_head(), chunks));

    let deleted = client.ask(&format!("DELETE /conversation/{id}\nAccept: */*"));
    assert_eq!((deleted.head, deleted.body), (chunked(""), Vec::new()));
    assert_eq!(server.counts().connections, 1);
}

#[test]
fn a_reply_is_one_chunk_to_an_event_and_a_clean_end() {
    let error = "data:{\"error\":\"Request failed during generation: Server error: \
        CUDA out of memory\",\"error_type\":\"generation\"}\n\n";
    let mut commented = [events(8), vec![last_event(GREETING)]].concat();
    commented[3] += ":\n\n";
    let cut = event(5, " I").replacen("null", "\" Hi there, how can I\"", 1);
    let mut chat = Chat::classic();
    for (inputs, recorded) in [
        ("/comments", commented),
        ("/length", [events(5), vec![cut]].concat()),
        ("/no-final", events(5)),
        ("/empty", vec![last_event("")]),
        (
            "/error-event",
            [events(5), vec![error.to_string()]].concat(),
        ),
        ("/error-event-first", vec![error.to_string()]),
    ] {
        let reply = chat.client.ask(&prompt(&chat.id, inputs));
        assert_eq!(
            (reply.head, reply.body),
            (reply_head(), recorded),
            "{inputs}"
        );
    }
}

#[test]
fn an_event_is_cut_inside_a_character() {
    let mut chat = Chat::classic();
    let reply = chat.client.ask(&prompt(&chat.id, "/emoji")).body;
    assert_eq!(reply[..3], ["dat", "a:{\"tok", "en\":{\"i"]);
    assert!(reply.iter().any(|chunk| chunk == "ext\":\"ï"));
}

#[test]
fn a_dropped_reply_has_no_last_chunk() {
    let mut chat = Chat::classic();
    chat.client.send(&prompt(&chat.id, "/dropped"));
    assert_eq!(chat.client.head(), reply_head());
    for event in events(5) {
        assert_eq!(chat.client.chunk(), Some(event));
    }
    assert_eq!(chat.client.rest(), "");
}

#[test]
fn the_head_comes_only_with_the_first_event() {
    let mut chat = Chat::classic();
    chat.client.send(&prompt(&chat.id, "/silent"));
    chat.server
        .wait_for("the generation", |counts| counts.running == 1);
    assert_eq!(chat.stop(), STOPPED);
    assert_eq!(chat.client.rest(), "");
}

#[test]
fn a_stop_ends_a_generation_without_the_last_chunk() {
    let mut chat = Chat::classic();
    chat.client.send(&prompt(&chat.id, "/slow"));
    chat.client.head();
    assert_eq!(chat.client.chunk(), Some(event(0, " s0")));
    assert_eq!(chat.stop(), STOPPED);
    let rest = chat.client.rest();
    assert!(rest.is_empty() || rest.ends_with("}\n\n\r\n"), "{rest}");
    let counts = chat.server.counts();
    assert_eq!((counts.running, counts.stopped), (0, 1));
}

#[test]
fn neither_closing_the_connection_nor_a_delete_stops_a_generation() {
    let endless = |_: &str| {
        // More than the sockets hold, so that a client that does not read blocks the server.
        Plan::acts(iter::repeat_with(|| Act::Send(vec![b' '; 1 << 24])))
    };
    let mut chat = Chat::start(StandIn::builder().plan(endless));
    chat.client
        .send(&prompt(&chat.id, "from a client that goes away"));
    chat.server
        .wait_for("the first reply", |counts| counts.streaming == 1);
    let mut unread = Client::connect(&chat.server);
    unread.send(&prompt(&chat.id, "from a client that does not read"));
    chat.server
        .wait_for("the second reply", |counts| counts.streaming == 2);
    chat.client = Client::connect(&chat.server);
    assert_eq!(chat.server.counts().running, 2);
    assert_eq!(chat.stop(), STOPPED);
    chat.server
        .wait_for("both to end", |counts| counts.stopped == 2);

    chat.client
        .send(&prompt(&chat.id, "in a deleted conversation"));
    chat.server
        .wait_for("the third reply", |counts| counts.streaming == 3);
    let delete = format!("DELETE /conversation/{}", chat.id);
    let deleted = Client::connect(&chat.server).ask(&delete);
    assert_eq!(deleted.summary(), "200 chunked cookie ");
    let counts = chat.server.counts();
    assert_eq!((counts.conversations, counts.running), (0, 1));
}

#[test]
fn a_stop_is_only_for_what_runs_and_a_second_one_is_ignored_where_told() {
    for (builder, stopped) in [
        (StandIn::builder(), [1, 2]),
        (StandIn::builder().ignores_second_stop(), [0, 1]),
    ] {
        let mut chat = Chat::start(builder);
        assert_eq!(chat.stop(), STOPPED);
        let whole = chat.client.ask(&prompt(&chat.id, "hello"));
        assert_eq!(whole.body.len(), 9);
        // In the first conversation this is the second stop, in the next one the first.
        for stopped in stopped {
            let mut client = Client::connect(&chat.server);
            client.send(&prompt(&chat.id, "/hang"));
            client.head();
            assert_eq!(chat.stop(), STOPPED);
            assert_eq!(chat.server.counts().stopped, stopped);
            let created = chat
                .client
                .ask(&json_post("/conversation", super::CREATE))
                .json();
            chat.id = created["conversationId"].as_str().unwrap().to_string();
        }
    }
}

/// What the model is given after one turn.
fn second(question: &str, answer: &str, next: &str) -> String {
    format!(
        "<|prompt|>{question}<|endoftext|><|answer|>{answer}<|endoftext|>\
         <|prompt|>{next}<|endoftext|><|answer|>"
    )
}

#[test]
fn the_model_is_given_what_was_said_before_and_a_retry_replaces_its_question() {
    const FIRST: &str = "885da31e-3bb1-4149-9f3c-c0f97ac0dff6";
    const SECOND: &str = "c7e3f0cf-a0e5-40e1-b718-02094be51a6a";
    let mut chat = Chat::classic();
    for (inputs, id, is_retry) in [
        ("first", FIRST, false),
        (r"  second\n", SECOND, false),
        ("second", SECOND, true),
        ("again", FIRST, true),
    ] {
        let body = format!(
            r#"{{"inputs": "{inputs}", "options": {{"id": "{id}", "is_retry": {is_retry}}}}}"#
        );
        chat.client
            .ask(&json_post(&format!("/conversation/{}", chat.id), &body));
    }
    let twice = second("first", GREETING, "second");
    assert_eq!(
        chat.server.model_prompts(),
        [
            "<|prompt|>first<|endoftext|><|answer|>",
            &twice,
            &twice,
            "<|prompt|>again<|endoftext|><|answer|>"
        ]
    );
}

#[test]
fn only_a_whole_reply_and_a_stopped_one_are_stored() {
    for (question, answer) in [
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
        let mut chat = Chat::classic();
        chat.client.send(&prompt(&chat.id, question));
        chat.client.head();
        if question == "/hang" {
            for _ in 0..5 {
                chat.client.chunk();
            }
            chat.stop();
        }
        chat.server
            .wait_for("its end", |counts| counts.running == 0);
        Client::connect(&chat.server).ask(&prompt(&chat.id, "next"));
        let expected = answer.map_or_else(
            || "<|prompt|>next<|endoftext|><|answer|>".to_string(),
            |answer| second(question, answer, "next"),
        );
        assert_eq!(
            chat.server.model_prompts().last(),
            Some(&expected),
            "{question}"
        );
    }
}
