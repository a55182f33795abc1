//! In what the servers between the classic and the newest ones differ.

use crate::raw_chat::{Chat, conversation, create, data, form, status, token};
use crate::raw_client::{COOKIE, Client, NODE, chunked, chunks, hook, post, settings, sized};
use crate::stand_in::{Act, Dialect, Last, NAMED, Plan, StandIn};

const OWN: &str = "\nReferer: http://{host}/";
const FORM: &str = "ethicsModalAccepted=true&activeModel=other%2Fmodel";
const JSON: &str = "application/json";
const OLD: [Dialect; 3] = [Dialect::V07, Dialect::Json, Dialect::Form];

fn tokens(_: &str) -> Plan {
    Plan::tokens(["tok0", " tok1"])
}

fn message(chat: &mut Chat, inputs: &str) -> String {
    let parent = chat.messages().pop().unwrap();
    crate::raw_client::message(&chat.id, &data(&parent, inputs))
}

fn head(content_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{content_type}{COOKIE}{NODE}Transfer-Encoding: chunked\r\n\r\n")
}

fn old_reply(lines: &[String]) -> String {
    let title = "{\"type\":\"status\",\"status\":\"title\",\"message\":\"💬 Fake title\"}\n";
    chunks(&[status("started"), title.to_string()]) + &chunks(lines)
}

fn final_answer(text: &str, more: &str) -> [String; 2] {
    let answer = format!("{{\"type\":\"finalAnswer\",\"text\":\"{text}\"{more}}}\n");
    [answer, " ".repeat(4096)]
}

fn error(message: &str) -> String {
    format!("{{\"type\":\"status\",\"status\":\"error\",\"message\":\"{message}\"}}\n")
}

#[test]
fn the_classic_first_step_is_refused_as_recorded() {
    let text = "text/plain";
    let no_referer = hook(
        "403 Forbidden",
        text,
        "Non-JSON form requests need to have a referer",
    );
    let other_referer = hook("403 Forbidden", text, "Invalid referer for POST request");
    let no_origin = hook(
        "403 Forbidden",
        text,
        "Non-JSON form requests need to have an origin",
    );
    let internal = sized("500 Internal Server Error", JSON, crate::INTERNAL);
    let accepting = format!("{OWN}\nAccept: */*");
    for dialect in OLD {
        let server = StandIn::builder().dialect(dialect).start();
        let mut client = Client::of(&server);
        let (none, other, own) = match dialect {
            Dialect::Form => (&no_origin, &no_origin, &no_origin),
            _ => (&no_referer, &other_referer, &internal),
        };
        for (headers, expected) in [
            ("", none),
            ("\nReferer: https://{host}/", other),
            (&*accepting, own),
        ] {
            let answer = client.ask(&settings(headers, FORM));
            assert_eq!(&answer, expected, "{dialect:?} {headers}");
        }
        // Without its origin a server believes to be spoken to over https.
        if dialect != Dialect::Form {
            let server = StandIn::builder().dialect(dialect).https_referer().start();
            let mut client = Client::of(&server);
            let https = accepting.replace("http", "https");
            assert_eq!(client.ask(&settings(&accepting, FORM)), other_referer);
            assert_eq!(client.ask(&settings(&https, FORM)), internal);
        }
    }
}

#[test]
fn a_conversation_is_told_of_as_recorded() {
    const JSON_TOLD: &str = r#"{"id":"ID","title":"New Chat","updatedAt":"2026-11-23T18:21:38.319Z","modelId":"other/model","messages":[{"content":"","from":"system","id":"ROOT","createdAt":"2026-11-23T18:21:38.319Z","updatedAt":"2026-11-23T18:21:38.319Z"}]}"#;
    const FORM_TOLD: &str = r#"{"id":"ID","title":"New Chat","updatedAt":"2026-11-23T18:21:38.319Z","modelId":"other/model","assistantId":null,"messages":[{"content":"","from":"system","id":"ROOT","createdAt":"2026-11-23T18:21:38.319Z","updatedAt":"2026-11-23T18:21:38.319Z"}],"modelTools":false}"#;
    let json = format!("content-type: {JSON}\r\n");
    for (dialect, told) in [(Dialect::Json, JSON_TOLD), (Dialect::Form, FORM_TOLD)] {
        let mut chat = Chat::begin(dialect, tokens);
        let root = chat.messages().pop().unwrap();
        let told = told.replace("ID", &chat.id).replace("ROOT", &root);
        let told = chunked("200 OK", &json, &told);
        assert_eq!(chat.client.ask(&conversation(&chat.id)), told);

        let created = chat.client.ask(&create("other/model", ""));
        let id = &chat.server.conversations()[1];
        let body = format!(r#"{{"conversationId":"{id}"}}"#);
        let headers = format!("{json}{COOKIE}");
        assert_eq!(created, chunked("200 OK", &headers, &body));

        let refused = sized("400 Bad Request", JSON, r#"{"message":"Invalid request"}"#);
        assert_eq!(chat.client.ask(&create("nope", "")), refused);
        let missing = chat.client.ask(&conversation(&"0".repeat(24)));
        let body = r#"{"message":"Conversation not found"}"#;
        assert_eq!(missing, chunked("404 Not Found", &json, body));
        assert!(chat.client.ask("GET /api/models").contains("other/model"));
    }
}

#[test]
fn a_reply_to_json_is_as_recorded() {
    let mut chat = Chat::begin(Dialect::Json, tokens);
    let lines = [token("tok0", 0), token(" tok1", 0)];
    let lines = [&lines[..], &final_answer("tok0 tok1", "")].concat();
    let hello = message(&mut chat, "hello");
    let expected = head("content-type: text/event-stream\r\n") + &old_reply(&lines) + "0\r\n\r\n";
    assert_eq!(chat.client.ask(&hello), expected);
    let prompt = "<|prompt|>hello<|endoftext|><|answer|>";
    assert_eq!(chat.server.model_prompts(), [prompt]);
    assert_eq!(chat.messages().len(), 3);

    let internal = sized("500 Internal Server Error", JSON, crate::INTERNAL);
    let nothing = message(&mut chat, " ");
    let in_a_form = chat.messages().pop().unwrap();
    let in_a_form = form(&chat.id, &data(&in_a_form, "hello"));
    for request in [
        nothing,
        crate::raw_client::message(&chat.id, r#"{"inputs": "hello"}"#),
        crate::raw_client::message(&chat.id, &data(&"0".repeat(24), "hello")),
        in_a_form.replace("Origin: ", "Referer: "),
    ] {
        assert_eq!(chat.client.ask(&request), internal, "{request}");
    }
}

#[test]
fn a_reply_to_a_form_is_as_recorded() {
    let mut chat = Chat::begin(Dialect::Form, tokens);
    let title = "{\"type\":\"title\",\"title\":\"💬 Fake title\"}\n".to_string();
    let end = final_answer("tok0 tok1", r#","interrupted":false"#);
    let lines = [
        status("started"),
        status("keepAlive"),
        title,
        token("tok0", 12),
        token(" tok1", 11),
    ];
    let lines = chunks(&[&lines[..], &end].concat());
    let expected = head("content-type: text/event-stream\r\n") + &lines + "0\r\n\r\n";
    assert_eq!(chat.ask("hello"), expected);
    let json = message(&mut chat, "hello");
    let internal = sized("500 Internal Server Error", JSON, crate::INTERNAL);
    assert_eq!(chat.client.ask(&json), internal);
}

#[test]
fn what_goes_wrong_is_said_by_each_in_its_way() {
    let unpaced = |prompt: &str| match Plan::for_prompt(prompt) {
        Plan::Acts(acts) => Plan::acts(acts.filter(|act| !matches!(act, Act::Wait(_)))),
        plan => plan,
    };
    let memory = error("Request failed during generation: Server error: CUDA out of memory");
    let loading = error("503 Model h2oai/h2ogpt is currently loading");
    let texts = [" Hi", " there", ",", " how", " can"];
    let plain = texts.map(|text| token(text, 0));
    let padded = texts.map(|text| token(text, 16 - text.len()));
    let wrong = final_answer(" Hi there, how can", "");
    let nothing = error("No output was generated. Something went wrong.");
    for (dialect, prompt, end) in [
        (
            Dialect::Json,
            "/503",
            [vec![loading.clone()], final_answer("", "").to_vec()].concat(),
        ),
        (
            Dialect::Json,
            "/error-event",
            [plain.to_vec(), vec![memory.clone()], wrong.to_vec()].concat(),
        ),
        (Dialect::Json, "/no-final", plain.to_vec()),
        (Dialect::Json, "/empty", final_answer("", "").to_vec()),
        (Dialect::Form, "/503", vec![loading]),
        (
            Dialect::Form,
            "/error-event",
            [&padded[..], &[memory]].concat(),
        ),
        (Dialect::Form, "/no-final", padded.to_vec()),
        (Dialect::Form, "/empty", vec![nothing]),
    ] {
        let mut chat = Chat::begin(dialect, unpaced);
        let answer = if dialect == Dialect::Json {
            let message = message(&mut chat, prompt);
            chat.client.ask(&message)
        } else {
            chat.ask(prompt)
        };
        let end = chunks(&end) + "0\r\n\r\n";
        assert!(
            answer.ends_with(&format!("Fake title\"}}\n\r\n{end}")),
            "{dialect:?} {prompt} {answer}"
        );
    }
}

/// All but those that never come to an end, and those cut inside characters, which are shown in bytes.
#[test]
fn the_named_prompts_say_the_same_everywhere() {
    const OTHERS: [&str; 5] = ["/slow", "/hang", "/stall", "/silent", "/emoji"];
    let quick = |prompt: &str| match Plan::for_prompt(prompt) {
        Plan::Acts(acts) => Plan::acts(acts.filter(|act| !matches!(act, Act::Wait(_) | Act::Drop))),
        plan => plan,
    };
    let texts = |answer: &str, field: &str| {
        let fields = answer.split(field).skip(1);
        let texts = fields.map(|rest| rest.split("\",").next().unwrap_or_default());
        let texts = texts.map(|rest| rest.split("\"}").next().unwrap_or_default());
        texts
            .collect::<String>()
            .replace(r"\u0000", "")
            .replace("<|endoftext|>", "")
    };
    for named in NAMED.iter().filter(|named| !OTHERS.contains(&named.word)) {
        let server = StandIn::builder().plan(quick).start();
        let (mut client, id) = crate::raw_client::begun(&server);
        let unchunked = |answer: String| {
            let lines = answer.split("\r\n").skip_while(|line| !line.is_empty());
            lines.skip(1).skip(1).step_by(2).collect::<String>()
        };
        let classic = unchunked(client.ask(&crate::raw_client::prompt(&id, named.word)));
        let said = texts(&classic, r#""text":""#);
        for dialect in [Dialect::Json, Dialect::Form, Dialect::Newest] {
            let mut chat = Chat::begin(dialect, quick);
            let answer = if dialect == Dialect::Json {
                let message = message(&mut chat, named.word);
                chat.client.ask(&message)
            } else {
                chat.ask(named.word)
            };
            let answer = texts(&unchunked(answer), r#"{"type":"stream","token":""#);
            let twice = dialect == Dialect::Newest && named.word == "/error-event";
            let said = said.repeat(1 + usize::from(twice));
            assert_eq!(answer, said, "{} {dialect:?}", named.word);
        }
    }
}

#[test]
fn only_some_stop() {
    let plan = |_: &str| Plan::acts([Act::token(0, "a"), Act::Hang]);
    let done = chunked("200 OK", COOKIE, "");

    let mut chat = Chat::begin(Dialect::Json, plan);
    let hello = message(&mut chat, "hello");
    chat.client.send(&hello);
    chat.client.head();
    while !chat.client.chunk().contains("\"a\"") {}
    assert_eq!(chat.stop(), done);
    let end = chunks(&final_answer("a", "")) + "0\r\n\r\n";
    assert_eq!(chat.client.chunks(), end);

    let mut chat = Chat::begin(Dialect::Form, plan);
    chat.send("hello");
    chat.client.head();
    assert_eq!(chat.stop(), done);
    let counts = chat.server.counts();
    assert_eq!((counts.running, counts.stopped), (1, 0));
}

#[test]
fn the_modal_is_there_where_it_is_shown() {
    let text = "You need to accept the welcome modal first";
    let refused = hook(
        "405 Method Not Allowed",
        JSON,
        &format!(r#"{{"error":"{text}"}}"#),
    );
    let json = r#"{"ethicsModalAccepted": true, "activeModel": "other/model"}"#;
    for dialect in [Dialect::V07, Dialect::Json, Dialect::Form, Dialect::Newest] {
        let server = StandIn::builder().dialect(dialect).welcome_modal().start();
        let mut client = Client::of(&server);
        let created = client.ask(&create("other/model", ""));
        if dialect == Dialect::Newest {
            assert_eq!(server.counts().created, 1);
            continue;
        }
        assert_eq!(created, refused, "{dialect:?}");
        assert_eq!(
            client.ask(&post("/settings", json)),
            chunked("200 OK", COOKIE, "")
        );
        client.ask(&create("other/model", ""));
        assert_eq!(server.counts().created, 1);
    }
}

#[test]
fn an_unknown_path_is_a_page_to_some() {
    for (dialect, status) in [
        (Dialect::V07, "404 Not Found"),
        (Dialect::Json, "404 Not Found"),
        (Dialect::Form, "200 OK"),
        (Dialect::Newest, "404 Not Found"),
    ] {
        let server = StandIn::builder().dialect(dialect).start();
        for path in ["/nowhere", "/api/nowhere"] {
            let answer = Client::of(&server).ask(&format!("GET {path}"));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{answer}"
            );
            assert!(answer.contains("content-type: text/html"), "{answer}");
        }
    }
}

#[test]
fn the_oldest_never_ends_a_reply() {
    let plan = |_: &str| {
        let last = Last::eos("a ".to_string(), 1);
        Plan::acts([Act::token(0, "a "), Act::Last(last)])
    };
    let server = StandIn::builder().dialect(Dialect::V07).plan(plan).start();
    let mut client = Client::of(&server);
    let internal = sized("500 Internal Server Error", JSON, crate::INTERNAL);
    assert_eq!(client.ask(&create("nope", "")), internal);
    client.ask(&create("other/model", ""));
    let id = server.conversations()[0].clone();
    let missing = client.ask(&format!("{}\nAccept: */*", conversation(&id)));
    assert_eq!(
        missing,
        sized("404 Not Found", JSON, r#"{"message":"Not Found"}"#).replace(COOKIE, "")
    );

    client.send(&crate::raw_client::message(&id, r#"{"inputs": "hello"}"#));
    let [answer, _] = final_answer("a", "");
    let expected = old_reply(&[token("a ", 0), answer]);
    assert_eq!(client.head(), head(""));
    let lines: String = (0..4).map(|_| client.chunk()).collect();
    assert_eq!(lines, expected);
    server.wait_for("the end", |counts| counts.running == 0);
    assert_eq!(server.counts().open, 1);
    drop(server);
    assert_eq!(client.rest(), "");
}
