//! A reply from its first request to the deletion of its conversation.

use h2o_chat::{Client, DEFAULT_MODEL, Event, Message, Request, Step};
use serde_json::json;

use crate::stand_in::{Act, Last, Plan, StandIn, frame};
use crate::support::{
    ALL, CURRENT, ENDLESS, EVERY, GREETING, acts, always, client, count, each, messages,
    other_client, paths, requests_of, response,
};

#[test]
fn replies_take_the_expected_requests_on_one_connection() {
    each(EVERY, |kind| {
        let server = kind.start();
        let client = client(&server);
        for turn in 0..2 {
            let before = server.counts().requests;
            assert_eq!(client.clone().ask("hello").unwrap(), GREETING, "{kind:?}");
            let expected = &kind.cold[if turn == 0 { 0 } else { kind.known }..];
            assert_eq!(paths(&server)[before..], *expected, "{kind:?}");
        }
        let counts = server.counts();
        assert_eq!((counts.connections, counts.pages, counts.conversations), (1, 0, 0), "{kind:?}");
    });
}

#[test]
fn tokens_are_returned_as_they_arrive() {
    each(EVERY, |kind| {
        let plan = |_: &str| Plan::acts([Act::token(0, "now"), Act::token(1, "then"), Act::Hang]);
        let server = kind.builder().plan(plan).start();
        let mut tokens = client(&server).stream("hello").unwrap();
        // Nothing follows, and no timeout is near.
        assert_eq!(tokens.next().unwrap().unwrap(), "now", "{kind:?}");
    });
}

#[test]
fn the_conversation_is_deleted_before_the_iterator_ends() {
    each(EVERY, |kind| {
        let server = kind.start();
        let mut tokens = client(&server).stream("hello").unwrap();
        assert!(tokens.all(|token| token.is_ok()), "{kind:?}");
        assert_eq!(server.counts().conversations, 0, "{kind:?}");
        let requests = server.counts().requests;
        drop(tokens);
        assert_eq!(server.counts().requests, requests, "{kind:?}");
    });
}

#[test]
fn classic_requests_match_the_protocol_exactly() {
    let server = StandIn::start();
    let client = client(&server);
    client.ask("hello").unwrap();
    let requests = server.requests();
    let [settings, conversation, message, delete] = requests.as_slice() else {
        panic!("{requests:?}")
    };

    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(
        settings.form(),
        [
            field("ethicsModalAccepted", "true"),
            field("shareConversationsWithModelAuthors", "true"),
            field("ethicsModalAcceptedAt", ""),
            field("activeModel", DEFAULT_MODEL),
            field("searchEnabled", "true"),
        ]
    );
    assert_eq!(conversation.json(), json!({ "model": DEFAULT_MODEL }));

    let body = message.json();
    let options = &body["options"];
    for id in [&options["id"], &options["response_id"]] {
        assert_eq!(uuid::Uuid::parse_str(id.as_str().unwrap()).unwrap().get_version_num(), 4);
    }
    assert_ne!(options["id"], options["response_id"]);
    let expected = json!({
        "inputs": "hello",
        "parameters": {
            "temperature": 0.4, "truncate": 2048, "max_new_tokens": 1024, "do_sample": true,
            "repetition_penalty": 1.2, "return_full_text": false,
        },
        "stream": true,
        "options": {
            "id": options["id"], "response_id": options["response_id"],
            "is_retry": false, "use_cache": false, "web_search_id": "",
        },
    });
    assert_eq!(body, expected);
    assert!(delete.body.is_empty());

    // The cookie is sent over plain http although the server marks it as secure.
    let cookie = format!("hf-chat={}", client.session().as_str());
    let referer = format!("{}/", server.url());
    for request in &requests {
        assert_eq!(request.header("cookie"), Some(cookie.as_str()));
        assert_eq!(request.header("referer"), Some(referer.as_str()));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(
            request.header("user-agent"),
            Some(concat!("h2o-chat/", env!("CARGO_PKG_VERSION")))
        );
    }
}

#[test]
fn the_session_that_the_server_sets_is_adopted() {
    let server = always(Step::PostSettings, || {
        let cookie = "hf-chat=chosen-by-the-server; Path=/; HttpOnly; Secure";
        let headers = format!("set-cookie: lb=node-3; Path=/\r\nset-cookie: {cookie}\r\n");
        response("200 OK", &headers, "{\"type\":\"redirect\"}\n")
    });
    let client = client(&server);
    // The server refuses an unknown session, but its cookie is adopted.
    client.ask("hello").unwrap_err();
    assert_eq!(client.session().as_str(), "chosen-by-the-server");
    assert_eq!(
        server.requests()[1].header("cookie"),
        Some("hf-chat=chosen-by-the-server; lb=node-3")
    );
}

#[test]
fn the_settings_are_posted_once_for_each_model() {
    let server = StandIn::start();
    let client = client(&server);
    for model in [DEFAULT_MODEL, "other/model", DEFAULT_MODEL, "other/model"] {
        client.clone().ask(Request::new("/count 1").model(model)).unwrap();
    }
    let settings = requests_of(&server, Step::PostSettings).into_iter();
    let models: Vec<String> = settings.map(|request| request.form().remove(3).1).collect();
    assert_eq!(models, [DEFAULT_MODEL, "other/model"]);
}

#[test]
fn every_request_has_the_builders_headers() {
    let server = StandIn::builder().cookie_name("my-chat").base_path("/chat").start();
    let client = Client::builder(&format!("{}/", server.url()))
        .model("other/model")
        .session("my-session")
        .cookie_name("my-chat")
        .header("Authorization", "Bearer secret")
        .header("cookie", "login=me")
        .user_agent("me/1")
        .share_with_model_authors(false)
        .build()
        .unwrap();
    client.ask("/count 1").unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 7);
    for request in &requests {
        assert!(request.path.starts_with("/chat/"));
        assert_eq!(request.header("cookie"), Some("my-chat=my-session; login=me"));
        assert_eq!(request.header("authorization"), Some("Bearer secret"));
        assert_eq!(request.header("user-agent"), Some("me/1"));
    }
    // Two requests detect the protocol in a given session. A third reads its settings.
    let form = requests[3].form();
    assert!(!form.iter().any(|(name, _)| name == "shareConversationsWithModelAuthors"));
    assert_eq!(requests[4].json(), json!({ "model": "other/model" }));
}

#[test]
fn the_content_of_a_single_message_is_the_prompt() {
    let server = StandIn::start();
    client(&server).ask([Message::user(" bare: content\n")]).unwrap();
    assert_eq!(messages(&server)[0]["inputs"], " bare: content\n");
}

#[test]
fn the_last_parameter_of_a_name_wins() {
    let server = StandIn::start();
    let request = Request::new("/count 1")
        .temperature(0.9)
        .param("temperature", 1.5)
        .param("top_k", 3)
        .top_k(40)
        .top_p(0.5)
        .max_new_tokens(7)
        .truncate(100)
        .repetition_penalty(1.0)
        .do_sample(false)
        .seed(u64::MAX)
        .stop_sequences(["\n\n", "User:"])
        .param("typical_p", json!(0.25))
        .param("watermark", json!(null));
    client(&server).ask(request).unwrap();
    assert_eq!(
        server.requests()[2].json()["parameters"],
        json!({
            "temperature": 1.5, "top_k": 40, "top_p": 0.5, "max_new_tokens": 7, "truncate": 100,
            "repetition_penalty": 1.0, "do_sample": false, "seed": u64::MAX,
            "stop": ["\n\n", "User:"],
            "typical_p": 0.25, "watermark": null, "return_full_text": false,
        })
    );
}

#[test]
fn the_end_has_the_whole_text_and_requested_details() {
    let server = StandIn::start();
    let mut tokens =
        client(&server).stream(Request::new("/count 3").details(true).seed(7)).unwrap();
    assert!(tokens.end().is_none());
    let text: String = tokens.by_ref().map(Result::unwrap).collect();
    let end = tokens.end().unwrap();
    assert_eq!(end.text, text);
    let details = end.details.as_ref().unwrap();
    assert_eq!(details.finish_reason.as_deref(), Some("eos_token"));
    assert_eq!((details.generated_tokens, details.seed), (Some(4), Some(7)));
    assert!(details.input_length.is_some());

    let reply = client(&server).stream("/count 3").unwrap().reply().unwrap();
    assert_eq!(reply.text, text);
    assert_eq!(reply.end.details, None);
}

#[test]
fn parameters_go_to_classic_servers_only() {
    each(ALL, |kind| {
        let server = kind.start();
        let request = Request::new("/count 1").temperature(0.9).details(true);
        let mut tokens = client(&server).stream(request).unwrap();
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
fn special_tokens_and_empty_texts_are_skipped() {
    let server = StandIn::builder()
        .plan(|_| {
            let frames = [
                frame::special(0, "<s>"),
                frame::token(1, "a"),
                frame::token(2, ""),
                frame::token(3, " "),
            ];
            let last =
                Last { text: "b".into(), finish_reason: "length", ..Last::eos("a b".into(), 4) };
            Plan::bytes(frames.to_vec()).then([Act::Last(last)])
        })
        .start();
    let tokens = client(&server).stream("hello").unwrap();
    // The last event's token is text if the reply ended at its maximum length.
    assert_eq!(tokens.map(Result::unwrap).collect::<Vec<_>>(), ["a", " ", "b"]);
}

#[test]
fn the_maximum_line_grows_with_the_reply() {
    // The last event repeats the whole text, with six bytes for each of these characters.
    let tokens = || (0..4).map(|_| "\u{1}".repeat(100_000));
    each(EVERY, |kind| {
        let server = kind.builder().plan(move |_| Plan::tokens(tokens())).start();
        let reply = client(&server).stream("hello").unwrap().reply().unwrap();
        assert_eq!(reply.text.len(), 400_000, "{kind:?}");
        assert_eq!(reply.text, reply.end.text, "{kind:?}");
    });
}

#[test]
fn every_line_ending_is_accepted() {
    for (colon, end) in [("data:", "\n"), ("data: ", "\n"), ("data: ", "\r\n"), ("data:", "\r")] {
        let server = StandIn::builder()
            .plan(move |_| {
                let events = [
                    "",
                    r#"{"token":{"id":1,"text":"a","logprob":null}}"#,
                    r#"{"index":2,"token":{"id":2,"text":"b","logprob":0},"top_tokens":[]}"#,
                    r#"{"token":{"id":3,"text":"","special":true},"generated_text":"ab"}"#,
                    "[DONE]",
                ];
                let bytes = events.map(|event| format!("{colon}{event}{end}{end}"));
                Plan::bytes(bytes.map(String::into_bytes).to_vec())
            })
            .start();
        assert_eq!(client(&server).ask("hello").unwrap(), "ab");
    }
}

#[test]
fn the_whole_text_is_at_the_end_and_its_tokens_have_no_padding() {
    each(EVERY, |kind| {
        let server = kind.start();
        let reply = client(&server).stream("/emoji").unwrap().reply().unwrap();
        let whole = reply.end.text.trim_end();
        assert_eq!(reply.text.trim_end(), whole, "{kind:?}");
        assert!(!reply.text.contains('\0'), "{kind:?}");
        let tokens: Vec<String> =
            client(&server).stream("hello").unwrap().map(Result::unwrap).collect();
        assert_eq!(tokens[..2], [" Hi", " there"], "{kind:?}");
    });
}

#[test]
fn the_title_is_an_event_of_the_first_turn() {
    each(EVERY, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        for expected in [kind.title, None] {
            let mut tokens = chat.stream("hello").unwrap();
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
fn reasoning_is_text_or_events() {
    each(EVERY, |kind| {
        let server = kind.start();
        let text = client(&server).ask("/reasoning").unwrap();
        assert_eq!(text, "<think>Let me think.</think>The answer is 42.");
    });
    let lines = [
        r#"{"type":"reasoning","subtype":"status","status":"Thinking"}"#,
        r#"{"type":"reasoning","subtype":"stream","token":"Hm."}"#,
        r#"{"type":"tool","subtype":"call","uuid":"1","message":{"no":"text"}}"#,
        r#"{"type":"from-the-future","token":[1],"status":7,"text":{}}"#,
    ];
    let said = move |_: &str| {
        let lines = lines.map(|line| Act::Send(format!("{line}\n").into_bytes()));
        Plan::acts(lines).then(acts(Plan::tokens(["42"])))
    };
    each(CURRENT, |kind| {
        let server = kind.builder().plan(said).start();
        assert_eq!(client(&server).ask("hello").unwrap(), "42", "{kind:?}");
        let mut tokens = client(&server).stream("hello").unwrap();
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
fn a_kept_reply_can_be_stopped_and_resumed_by_another_client() {
    each(EVERY, |kind| {
        let server = kind.start();
        let first = client(&server);
        let mut tokens = first.stream(ENDLESS).unwrap();
        tokens.next().unwrap().unwrap();
        let id = tokens.keep().keep();
        let stops = count(&server, Step::StopGeneration);
        assert_eq!(stops, usize::from(kind.stops), "{kind:?}");

        let second = other_client(&server, &first);
        let mut chat = second.resume(&id).unwrap();
        assert_eq!(chat.messages().unwrap()[0], Message::user(ENDLESS));
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        drop(chat);
        assert_eq!(server.conversations(), std::slice::from_ref(&id));
        let third = other_client(&server, &first);
        third.delete_conversation(&id).unwrap();
        third.delete_conversation(&id).unwrap();
        assert_eq!(server.conversations(), [""; 0], "{kind:?}");
    });
}

#[test]
fn many_threads_can_use_one_client() {
    each(EVERY, |kind| {
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
