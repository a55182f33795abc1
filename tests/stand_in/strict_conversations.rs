//! What a conversation remembers, and what the model is given of it.

use std::time::{Duration, Instant};

use crate::raw_client::{
    COOKIE, Client, HELLO, NODE, begun, chunked, chunks, empty_success, event, hook, last_event,
    message, post, prompt, sized, stream_head,
};
use crate::stand_in::{Act, Plan, StandIn, frame};

const MODEL: &str = "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1";
const FIRST: &str = r#"{"id": "885da31e-3bb1-4149-9f3c-c0f97ac0dff6", "response_id": "065784ec-b344-415a-9236-78215262a07d", "is_retry": false, "use_cache": false, "web_search_id": ""}"#;
const SECOND: &str = r#"{"id": "c7e3f0cf-a0e5-40e1-b718-02094be51a6a", "response_id": "e0130cbc-ccec-47cb-80dd-36c4bbe19d00", "is_retry": false, "use_cache": false, "web_search_id": ""}"#;
const RETRY: &str = r#"{"id": "c7e3f0cf-a0e5-40e1-b718-02094be51a6a", "response_id": "3ca2b280-9da4-46b5-9ca8-ac596c4131f1", "is_retry": true, "use_cache": false, "web_search_id": ""}"#;
const NOT_FOUND: &str = r#"{"message":"Conversation not found"}"#;

fn turn(id: &str, inputs: &str, options: &str) -> String {
    let options = HELLO.replace("{}", options);
    message(id, &options.replace("hello", inputs))
}

/// The whole friendly reply, as it was recorded.
fn greeting() -> String {
    let texts = [" Hi", " there", ",", " how", " can", " I", " help", "?"];
    let events = texts.iter().enumerate().map(|(id, text)| event(id, text));
    let last = last_event(" Hi there, how can I help?");
    let events: Vec<String> = events.chain([last]).collect();
    format!("{}{}0\r\n\r\n", stream_head(), chunks(&events))
}

/// What the model is given after one turn, which was answered with `answer`.
fn second(question: &str, answer: &str, next: &str) -> String {
    format!(
        "<|prompt|>{question}<|endoftext|><|answer|>{answer}<|endoftext|><|prompt|>{next}<|endoftext|><|answer|>"
    )
}

fn stop(server: &StandIn, id: &str) {
    let stop = format!("POST /conversation/{id}/stop-generating\nAccept: */*");
    assert_eq!(Client::of(server).ask(&stop), empty_success());
}

#[test]
fn the_model_is_given_what_was_said_before() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let first = "first question";
    assert_eq!(client.ask(&turn(&id, first, FIRST)), greeting());
    let asked = client.ask(&turn(&id, r"  second question\n", SECOND));
    assert_eq!(asked, greeting());
    assert_eq!(client.ask(&turn(&id, "second question", RETRY)), greeting());
    let unknown = RETRY.replace("c7e3", "0000");
    client.ask(&turn(&id, "third", &unknown));
    client.ask(&turn(&id, "again", &FIRST.replace("false", "true")));

    let twice = second(first, " Hi there, how can I help?", "second question");
    let third = twice.clone()
        + " Hi there, how can I help?<|endoftext|><|prompt|>third<|endoftext|><|answer|>";
    assert_eq!(
        server.model_prompts(),
        [
            &format!("<|prompt|>{first}<|endoftext|><|answer|>"),
            &twice,
            &twice,
            &third,
            "<|prompt|>again<|endoftext|><|answer|>"
        ]
    );
}

#[test]
fn only_a_whole_reply_and_a_stopped_one_are_remembered() {
    let plan = |prompt: &str| match prompt {
        "padded" => Plan::bytes(vec![frame::last(
            1,
            "</s>",
            "<|startoftext|> a b \n</s>",
            None,
        )]),
        "special" => Plan::bytes(vec![
            frame::special(0, "<s>"),
            frame::cut(1, "a", "a", None),
        ]),
        "nonsense" => Plan::bytes(vec![frame::last(0, "", "a", None), b"data: x\n\n".to_vec()]),
        "unended" => Plan::bytes(vec![
            frame::last(0, "", "a", None)[..].trim_ascii().to_vec(),
        ]),
        "next" => Plan::tokens(["a"]),
        prompt => Plan::for_prompt(prompt),
    };
    let emoji = " héllo 你好 😀\u{fffd}👨\u{200d}👩\u{200d}👧 \\ \"q\" \n\t\u{2028}";
    for (question, answer) in [
        ("padded", Some(" a b")),
        ("special", Some("a")),
        ("unended", Some("a")),
        ("/count 3", Some("0 1 2")),
        ("/length", Some(" Hi there, how can I")),
        ("/emoji", Some(emoji.trim_end())),
        ("/comments", Some(" Hi there, how can I help?")),
        ("/empty", Some("")),
        ("nonsense", None),
        ("/no-final", None),
        ("/dropped", None),
        ("/error-event", None),
        ("/error-event-first", None),
        ("/422", None),
        ("/503", None),
        ("/rate-limit", None),
        ("/dead", None),
    ] {
        let server = StandIn::builder().plan(plan).start();
        let (mut client, id) = begun(&server);
        client.send(&prompt(&id, question));
        client.head();
        server.wait_for("its end", |counts| counts.running == 0);
        Client::of(&server).ask(&prompt(&id, "next"));
        let expected = answer.map_or_else(
            || "<|prompt|>next<|endoftext|><|answer|>".to_string(),
            |answer| second(question, answer, "next"),
        );
        assert_eq!(server.model_prompts().last(), Some(&expected), "{question}");
    }
}

#[test]
fn what_never_comes_to_the_model_is_not_given_to_it() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    for question in ["", "/rate-limit", "/dead"] {
        client.ask(&prompt(&id, question));
    }
    assert_eq!(server.model_prompts(), [""; 0]);
    client.ask(&prompt(&id, "/422"));
    assert_eq!(server.model_prompts().len(), 1);
}

#[test]
fn a_stop_takes_its_time_and_leaves_what_was_generated() {
    let delay = Duration::from_millis(300);
    let server = StandIn::builder().stop_delay(delay).start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "/slow"));
    client.head();
    let stopped = Instant::now();
    stop(&server, &id);
    assert_eq!(server.counts().running, 1);
    let rest = client.rest();
    assert!(stopped.elapsed() >= delay);
    let counts = server.counts();
    assert_eq!((counts.running, counts.stopped), (0, 1));

    let texts = rest.split("\"text\":\"").skip(1);
    let texts = texts.map(|event| event.split('"').next().unwrap());
    let expected = second("/slow", &texts.collect::<String>(), "next");
    Client::of(&server).ask(&prompt(&id, "next"));
    assert_eq!(server.model_prompts()[1], expected);
}

#[test]
fn a_second_stop_is_ignored_where_told() {
    for (server, stopped) in [
        (StandIn::builder(), [1, 2, 3]),
        (StandIn::builder().ignores_second_stop(), [1, 1, 2]),
    ] {
        let server = server.start();
        let (_, id) = begun(&server);
        // One of another conversation is not the second.
        let (_, other) = begun(&server);
        for (id, stopped) in [&id, &id, &other].into_iter().zip(stopped) {
            let mut client = Client::of(&server);
            client.send(&prompt(id, "/hang"));
            client.head();
            stop(&server, id);
            assert_eq!(server.counts().stopped, stopped);
        }
        assert_eq!(server.counts().running, 3 - stopped[2]);
    }
}

#[test]
fn a_stop_is_for_what_runs_at_its_time() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    stop(&server, &id);
    assert_eq!(client.ask(&prompt(&id, "hello")), greeting());
    assert_eq!(server.counts().stopped, 0);
}

#[test]
fn of_two_replies_at_once_the_later_one_is_remembered() {
    let plan = |prompt: &str| match prompt {
        "long" => Plan::acts([Act::Hang]),
        prompt => Plan::for_prompt(prompt),
    };
    let server = StandIn::builder().plan(plan).start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "long"));
    server.wait_for("the first", |counts| counts.running == 1);
    let mut other = Client::of(&server);
    assert_eq!(other.ask(&prompt(&id, "hello")), greeting());
    stop(&server, &id);
    server.wait_for("the end of the first", |counts| counts.running == 0);
    other.ask(&prompt(&id, "next"));
    let alone = "<|prompt|>hello<|endoftext|><|answer|>";
    let next = second("long", "", "next");
    assert_eq!(server.model_prompts()[1..], [alone, &next]);
}

#[test]
fn the_messages_are_listed_as_recorded() {
    const LISTING: &str = r#"{"type":"data","nodes":[{"type":"data","data":[{"conversations":1,"settings":6,"models":11,"oldModels":25,"user":-1,"requiresLogin":9,"messagesBeforeLogin":26},[2],{"id":3,"title":4,"model":5},"6b0484a3877c3227c1a46464","Untitled 1","h2oai\u002Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1",{"shareConversationsWithModelAuthors":7,"ethicsModalAcceptedAt":8,"activeModel":5,"searchEnabled":9,"customPrompts":10},true,["Date","2026-11-23T18:29:16.416Z"],false,{},[12,23],{"id":5,"name":5,"websiteUrl":13,"modelUrl":-1,"datasetName":14,"datasetUrl":-1,"displayName":5,"description":15,"promptExamples":-1,"parameters":16,"preprompt":-1},"https:\u002F\u002Fh2o.ai","OpenAssistant\u002Foasst1","fake",{"temperature":17,"truncate":18,"max_new_tokens":19,"stop":20,"repetition_penalty":22},0.4,2048,1024,[21],"\u003C|endoftext|\u003E",1.2,{"id":24,"name":24,"websiteUrl":-1,"modelUrl":-1,"datasetName":-1,"datasetUrl":-1,"displayName":24,"description":-1,"promptExamples":-1,"parameters":-1,"preprompt":-1},"OpenAssistant\u002Fsecond-model",[],0],"uses":{"dependencies":["conversation:list"],"url":1}},{"type":"data","data":[{"messages":1,"title":15,"model":16,"searches":17},[2,8],{"content":3,"from":4,"id":5,"createdAt":6,"updatedAt":7},"hello","user","7b0eae12-d781-40c9-8074-640ac98f461b",["Date","2026-11-23T18:23:31.959Z"],["Date","2026-11-23T18:23:31.959Z"],{"from":9,"content":10,"webSearchId":11,"id":12,"createdAt":13,"updatedAt":14},"assistant"," Hi there, how can I help?","","38730fb0-8de4-48f0-ab90-d488bebbe50e",["Date","2026-11-23T18:23:31.959Z"],["Date","2026-11-23T18:23:31.959Z"],"Untitled 1","h2oai\u002Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1",{}],"uses":{"dependencies":["http://127.0.0.1:3105/conversation/conversation"],"params":["id"]}}]}
"#;
    let models = [MODEL, "OpenAssistant/second-model"];
    let server = StandIn::builder().models(&models).start();
    let mut client = Client::of(&server);
    let form = format!(
        "ethicsModalAccepted=true&shareConversationsWithModelAuthors=true&activeModel={MODEL}"
    );
    client.ask(&crate::settings("\nReferer: http://{host}/", &form));
    client.ask(&post(
        "/conversation",
        &format!(r#"{{"model": "{MODEL}"}}"#),
    ));
    let id = &server.conversations()[0];
    let options = FIRST
        .replace(
            "885da31e-3bb1-4149-9f3c-c0f97ac0dff6",
            "7b0eae12-d781-40c9-8074-640ac98f461b",
        )
        .replace(
            "065784ec-b344-415a-9236-78215262a07d",
            "38730fb0-8de4-48f0-ab90-d488bebbe50e",
        );
    client.ask(&turn(id, "hello", &options));
    let body = LISTING
        .replace("6b0484a3877c3227c1a46464", id)
        .replace("127.0.0.1:3105", &format!("127.0.0.1:{}", server.port()));
    let expected = format!(
        "HTTP/1.1 200 OK\r\ncache-control: private, no-store\r\ncontent-length: {}\r\n\
         content-type: application/json\r\n{COOKIE}{NODE}\r\n{body}",
        body.len()
    );
    let list = format!("GET /conversation/{id}/__data.json\nAccept: */*");
    assert_eq!(client.ask(&list), expected);
    assert_eq!(server.counts().pages, 0);
}

#[test]
fn a_conversation_that_cannot_be_shown_is_a_success_with_an_error_inside() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    for (request, status, message) in [
        (
            "/conversation/000000000000000000000000/__data.json".to_string(),
            404,
            "Conversation not found.",
        ),
        (
            "/conversation/0/__data.json".to_string(),
            500,
            "Internal Error",
        ),
        (
            format!("/conversation/{id}/__data.json\nCookie: hf-chat=stranger"),
            403,
            "You don't have access to this conversation. If someone gave you this link, ask them to use the 'share' feature instead.",
        ),
    ] {
        let answer = client.ask(&format!("GET {request}"));
        let node = format!(
            r#"}},{{"type":"error","error":{{"message":"{message}"}},"status":{status}}}]}}"#
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&(node + "\n")), "{answer}");
    }
}

#[test]
fn a_session_deletes_all_its_own_at_once() {
    const DELETE: &str =
        "POST /conversations?/delete\nContent-Type: application/x-www-form-urlencoded";
    let server = StandIn::start();
    let (mut client, _) = begun(&server);
    begun(&server);
    let stranger = "\nCookie: hf-chat=stranger\nReferer: http://{host}/";
    client.ask(&crate::settings(
        stranger,
        "ethicsModalAccepted=true&activeModel=other/model",
    ));
    let create = post("/conversation", r#"{"model": "other/model"}"#);
    client.ask(&create.replacen('\n', "\nCookie: hf-chat=stranger\n", 1));
    assert_eq!(server.counts().conversations, 3);

    let message = "Non-JSON form requests need to have a referer";
    assert_eq!(
        client.ask(DELETE),
        hook("403 Forbidden", "text/plain", message)
    );
    let own = format!("{DELETE}\nReferer: http://{{host}}/");
    let redirect = r#"{"type":"redirect","status":303,"location":"/"}"#;
    let done = sized("200 OK", "application/json", redirect);
    assert_eq!(client.ask(&own), done);
    assert_eq!(client.ask(&own), done);
    assert_eq!(server.counts().conversations, 1);
    let see_other = chunked("303 See Other", &format!("location: /\r\n{COOKIE}"), "");
    assert_eq!(client.ask(&(own + "\nAccept: text/html")), see_other);
}

#[test]
fn a_conversation_gets_another_title() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let mut rename =
        |id: &str, body: &str| client.ask(&message(id, body).replacen("POST", "PATCH", 1));
    assert_eq!(rename(&id, r#"{"title": " A title "}"#), empty_success());
    let json = "application/json";
    let missing = sized("404 Not Found", json, NOT_FOUND);
    assert_eq!(rename(&"0".repeat(24), r#"{"title": "a"}"#), missing);
    let refusal = sized("500 Internal Server Error", json, crate::INTERNAL);
    for body in [
        "{}".to_string(),
        r#"{"title": " "}"#.to_string(),
        format!(r#"{{"title": "{}"}}"#, "a".repeat(101)),
    ] {
        assert_eq!(rename(&id, &body), refusal, "{body}");
    }
    let listing = client.ask("GET /__data.json");
    assert!(listing.contains(r#""A title""#), "{listing}");
}
