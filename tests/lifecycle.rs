//! What a reply is made of on the wire: the requests, their order, and what they carry.

use h2o_chat::{Client, DEFAULT_MODEL, Message, Request};
use serde_json::json;

mod stand_in;

use stand_in::{Act, Last, Plan, Reaction, StandIn, frame};

fn client(server: &StandIn) -> Client {
    Client::new(&server.url()).unwrap()
}

/// The methods and paths, with the conversation's id as `ID`.
fn paths(server: &StandIn) -> Vec<String> {
    let requests = server.requests();
    let created = requests.iter().find_map(|request| {
        let id = request.path.strip_prefix("/conversation/")?;
        Some(id.to_owned())
    });
    let id = created.unwrap_or_default();
    let shown = |request: &stand_in::Request| {
        format!("{} {}", request.method, request.path.replace(&id, "ID"))
    };
    requests.iter().map(shown).collect()
}

const LIFECYCLE: [&str; 4] = [
    "POST /settings",
    "POST /conversation",
    "POST /conversation/ID",
    "DELETE /conversation/ID",
];

#[test]
fn a_reply_is_four_requests_on_one_connection() {
    let server = StandIn::start();
    assert_eq!(
        client(&server).ask("hello").unwrap(),
        " Hi there, how can I help?"
    );
    assert_eq!(paths(&server), LIFECYCLE);
    let counts = server.counts();
    assert_eq!(
        (counts.connections, counts.requests, counts.pages),
        (1, 4, 0)
    );
    assert_eq!((counts.conversations, counts.running), (0, 0));
}

#[test]
fn the_tokens_come_one_by_one_as_they_arrive() {
    let server = StandIn::builder()
        .plan(|_| Plan::bytes(vec![frame::token(0, "now")]).then([Act::Hang]))
        .start();
    let mut tokens = client(&server).generate("hello").unwrap();
    // Nothing follows: this returns because the token is handed out as soon as it is here.
    assert_eq!(tokens.next().unwrap().unwrap(), "now");
}

#[test]
fn the_requests_carry_exactly_what_the_protocol_says() {
    let server = StandIn::start();
    let client = client(&server);
    client.ask("hello").unwrap();
    let requests = server.requests();
    let [settings, conversation, message, delete] = requests.as_slice() else {
        panic!("{requests:?}")
    };

    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        settings.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
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
        assert_eq!(
            uuid::Uuid::parse_str(id.as_str().unwrap())
                .unwrap()
                .get_version_num(),
            4
        );
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

    // Over plain http, although the server marks it as one for secure connections only.
    let cookie = format!("hf-chat={}", client.session().as_str());
    let referer = format!("{}/", server.url());
    for request in &requests {
        assert_eq!(request.header("cookie"), Some(cookie.as_str()));
        assert_eq!(request.header("referer"), Some(referer.as_str()));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("accept-encoding"), None);
        assert_eq!(
            request.header("user-agent"),
            Some(concat!("h2o-chat/", env!("CARGO_PKG_VERSION")))
        );
    }
}

#[test]
fn the_session_that_the_server_sets_is_adopted() {
    let server = StandIn::builder()
        .intercept(|request| {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\ncontent-type: application/json\r\n\
                          set-cookie: lb=node-3; Path=/\r\n\
                          set-cookie: hf-chat=chosen-by-the-server; Path=/; HttpOnly; Secure\r\n\r\n\
                          {\"type\":\"redirect\"}\n";
            (request.path == "/settings").then(|| Reaction::Answer(answer.into()))
        })
        .start();
    let client = client(&server);
    // The server has not accepted this session's settings and refuses, but the cookie is what counts.
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
        client
            .clone()
            .ask(Request::new("/count 1").model(model))
            .unwrap();
    }
    let settings = server
        .requests()
        .into_iter()
        .filter(|request| request.path == "/settings");
    let models = settings.map(|request| request.form().remove(3).1);
    assert_eq!(models.collect::<Vec<_>>(), [DEFAULT_MODEL, "other/model"]);
}

#[test]
fn what_the_builder_is_told_is_sent() {
    let server = StandIn::builder()
        .cookie_name("my-chat")
        .base_path("/chat")
        .start();
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
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert!(request.path.starts_with("/chat/"));
        assert_eq!(
            request.header("cookie"),
            Some("my-chat=my-session; login=me")
        );
        assert_eq!(request.header("authorization"), Some("Bearer secret"));
        assert_eq!(request.header("user-agent"), Some("me/1"));
    }
    let names: Vec<_> = requests[0]
        .form()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(!names.contains(&"shareConversationsWithModelAuthors".to_owned()));
    assert_eq!(requests[1].json(), json!({ "model": "other/model" }));
}

#[test]
fn a_user_in_the_url_is_sent_as_basic_authentication_and_nowhere_else() {
    let server = StandIn::start();
    let url = server.url().replace("http://", "http://user:secret@");
    Client::new(&url).unwrap().ask("/count 1").unwrap();
    for request in server.requests() {
        assert_eq!(
            request.header("authorization"),
            Some("Basic dXNlcjpzZWNyZXQ=")
        );
        assert_eq!(
            request.header("referer"),
            Some(format!("{}/", server.url()).as_str())
        );
    }
}

#[test]
fn messages_become_one_prompt() {
    let server = StandIn::builder().plan(|_| Plan::tokens(["ok"])).start();
    let client = client(&server);
    client.ask([Message::user(" bare: content\n")]).unwrap();
    client
        .ask(vec![
            Message::system("Be brief"),
            Message::user("Hi"),
            Message::assistant("Hey"),
            Message::user("Bye"),
        ])
        .unwrap();
    let inputs = server
        .requests()
        .into_iter()
        .map(|request| request.json()["inputs"].clone());
    let inputs: Vec<_> = inputs
        .filter_map(|inputs| inputs.as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        inputs,
        [
            " bare: content\n",
            "System: Be brief\nUser: Hi\nAssistant: Hey\nUser: Bye\nAssistant:"
        ]
    );
}

#[test]
fn the_last_parameter_of_a_name_holds() {
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
            "repetition_penalty": 1.0, "do_sample": false, "seed": u64::MAX, "stop": ["\n\n", "User:"],
            "typical_p": 0.25, "watermark": null, "return_full_text": false,
        })
    );
}

#[test]
fn the_end_has_the_whole_text_and_the_details_that_were_asked_for() {
    let server = StandIn::start();
    let mut tokens = client(&server)
        .generate(Request::new("/count 3").details(true).seed(7))
        .unwrap();
    assert!(tokens.end().is_none());
    let text: String = tokens.by_ref().map(Result::unwrap).collect();
    let end = tokens.end().unwrap();
    assert_eq!(end.text, text);
    let details = end.details.as_ref().unwrap();
    assert_eq!(details.finish_reason.as_deref(), Some("eos_token"));
    assert_eq!((details.generated_tokens, details.seed), (Some(4), Some(7)));
    assert!(details.input_length.is_some());

    let reply = client(&server)
        .generate("/count 3")
        .unwrap()
        .reply()
        .unwrap();
    assert_eq!(reply.text, text);
    assert_eq!(reply.end.details, None);
}

#[test]
fn special_tokens_and_empty_texts_are_no_items() {
    let server = StandIn::builder()
        .plan(|_| {
            let frames = [
                frame::special(0, "<s>"),
                frame::token(1, "a"),
                frame::token(2, ""),
                frame::token(3, " "),
            ];
            let last = Last {
                text: "b".into(),
                finish_reason: "length",
                ..Last::eos("a b".into(), 4)
            };
            Plan::bytes(frames.to_vec()).then([Act::Last(last)])
        })
        .start();
    let tokens = client(&server).generate("hello").unwrap();
    // The last event's own token is text when the reply was cut by its length.
    assert_eq!(
        tokens.map(Result::unwrap).collect::<Vec<_>>(),
        ["a", " ", "b"]
    );
}

#[test]
fn a_reply_without_text_is_complete() {
    let server = StandIn::start();
    assert_eq!(client(&server).ask("/empty").unwrap(), "");
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_reply_may_be_longer_than_the_longest_line_of_a_short_one() {
    // The last event repeats the whole text, and each of these characters takes six bytes there.
    let tokens = || (0..20).map(|_| "\u{1}".repeat(100_000));
    let server = StandIn::builder()
        .plan(move |_| Plan::tokens(tokens()))
        .start();
    let reply = client(&server).generate("hello").unwrap().reply().unwrap();
    assert_eq!(reply.text.len(), 2_000_000);
    assert_eq!(reply.text, reply.end.text);
}

#[test]
fn frames_and_characters_cut_anywhere_and_comments_change_nothing() {
    let server = StandIn::start();
    let client = client(&server);
    for prompt in ["/emoji", "/comments"] {
        let reply = client.generate(prompt).unwrap().reply().unwrap();
        assert_eq!(reply.text, reply.end.text, "{prompt}");
        assert!(reply.text.len() > 10);
    }
}

#[test]
fn both_spellings_of_an_event_and_every_line_ending_are_understood() {
    for (colon, end) in [
        ("data:", "\n"),
        ("data: ", "\n"),
        ("data: ", "\r\n"),
        ("data:", "\r"),
    ] {
        let server = StandIn::builder()
            .plan(move |_| {
                let events = [
                    "",
                    r#"{"token":{"id":1,"text":"a","logprob":null}}"#,
                    r#"{"index":2,"token":{"id":2,"text":"b","logprob":0,"special":false},"top_tokens":[]}"#,
                    r#"{"token":{"id":3,"text":"","logprob":0,"special":true},"generated_text":"ab"}"#,
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
fn an_idle_connection_that_the_server_closed_is_not_used_again() {
    let server = StandIn::builder()
        .idle(std::time::Duration::from_secs(1))
        .start();
    let client = client(&server);
    client.ask("/count 1").unwrap();
    server.wait_for("the idle connection to be closed", |counts| {
        counts.open == 0
    });
    client.ask("/count 1").unwrap();
    assert_eq!(server.counts().connections, 2);
}
