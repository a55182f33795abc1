//! Features of h2oGPTe only: a key, stops by the id of a question, deletion jobs.

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, ClientBuilder, Error, ErrorKind, Message, Protocol, Request, Step};
use serde_json::{Value, json};

use crate::stand_in::{Act, Plan, StandIn};
use crate::support::{
    ALL, CLASSIC, ENDLESS, GREETING, H2OGPTE, JSON, assert_failed, assert_nothing_left, builder,
    client, count, each, messages, paths, requests_of, response, step_of, stranger, take_one,
};

const COLLECTION: &str = "0eb9e941-da78-49af-8725-361ea02798c5";

/// A server with this response to every request of a step.
fn refusing(step: Step, status: &'static str, body: &'static str) -> StandIn {
    let headers = "content-type: application/json\r\n";
    let refuse = move |request: &crate::stand_in::Request| {
        (step_of(request) == Some(step)).then(|| response(status, headers, body))
    };
    H2OGPTE.builder().intercept(refuse).start()
}

/// Leaves a reply after its first token.
fn leave_early(client: &Client) -> Result<(), Error> {
    let mut tokens = client.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    tokens.cancel()
}

#[test]
fn requests_have_the_key_and_only_the_given_parameters() {
    let server = H2OGPTE.start();
    let client = client(&server);
    client.ask("hello").unwrap();
    let requests = server.requests();
    let [create, message, delete] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(create.body.is_empty());
    let expected = json!({ "message": "hello", "stream": true, "include_chat_history": "auto" });
    assert_eq!(message.json(), expected);
    assert_eq!(message.header("content-type"), Some("application/json"));
    assert_eq!(message.header("accept"), Some("*/*"));
    // From the cleanup timeout of three seconds.
    assert!(["2", "3"].contains(&delete.path.split_once("?timeout=").unwrap().1));
    assert_eq!(create.header("accept"), Some("application/json"));
    for request in &requests {
        assert_eq!(request.header("authorization"), Some("Bearer sk-test"));
        for absent in ["cookie", "referer", "origin"] {
            assert_eq!(request.header(absent), None, "{request:?}");
        }
    }

    let request = Request::messages([Message::system("Be brief."), Message::user("hello")])
        .model("other/model")
        .temperature(0.5)
        .max_new_tokens(7)
        .top_p(0.25)
        .top_k(3)
        .seed(4)
        .repetition_penalty(1.5)
        .param("use_agent", true);
    client.ask(request).unwrap();
    let expected = json!({
        "message": "hello",
        "stream": true,
        "include_chat_history": "auto",
        "system_prompt": "Be brief.",
        "llm": "other/model",
        "llm_args": {
            "temperature": 0.5, "max_new_tokens": 7, "top_p": 0.25, "top_k": 3, "seed": 4,
            "repetition_penalty": 1.5, "use_agent": true,
        },
    });
    assert_eq!(messages(&server)[1], expected);
}

#[test]
fn each_message_has_the_system_prompt() {
    let server = H2OGPTE.start();
    let opening = client(&server).conversation_builder().system("Be brief.");
    let mut chat = opening.open().unwrap();
    chat.ask("first").unwrap();
    chat.ask([Message::system("Be long."), Message::user("second")]).unwrap();
    chat.ask("third").unwrap();
    let sent: Vec<(Value, Value)> = messages(&server)
        .iter()
        .map(|sent| (sent["message"].clone(), sent["system_prompt"].clone()))
        .collect();
    let expected = [("first", "Be brief."), ("second", "Be long."), ("third", "Be brief.")];
    assert_eq!(sent, expected.map(|(text, system)| (json!(text), json!(system))));
    // A kept reply keeps its system prompt.
    let request = [Message::system("Be kind."), Message::user("hello")];
    let mut kept = client(&server).stream(request).unwrap().keep();
    kept.ask("fourth").unwrap();
    assert_eq!(messages(&server)[4]["system_prompt"], "Be kind.");
}

#[test]
fn a_key_excludes_sessions_protocols_and_other_authorization() {
    let builder = || Client::builder("http://127.0.0.1:1").api_key("sk-secret");
    let invalid: [ClientBuilder; 10] = [
        builder().session("mine"),
        builder().cookie_name("mine"),
        builder().protocol(Protocol::ChatUi),
        builder().protocol(Protocol::ChatUiClassic),
        builder().header("Authorization", "Bearer sk-secret"),
        builder().header("Cookie", "a=b"),
        Client::builder("http://me:sk-secret@127.0.0.1:1").api_key("sk-secret"),
        Client::builder("http://127.0.0.1:1").protocol(Protocol::H2ogpte),
        builder().api_key(""),
        builder().api_key("sk-secret\r\nx: y"),
    ];
    for builder in invalid {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    let with_protocol = builder().protocol(Protocol::H2ogpte);
    let shown = format!("{with_protocol:?} {:?}", with_protocol.clone().build().unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_wrong_key_has_a_hint() {
    let server = H2OGPTE.start();
    let wrong = Client::builder(&server.url()).api_key("secret").build().unwrap();
    for error in [
        wrong.ask("hello").unwrap_err(),
        wrong.server_info().unwrap_err(),
        wrong.list_conversations().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::LoginRequired, "{error}");
        let words = "401 (Unauthorized), the API key is missing or wrong: Invalid API key";
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap().contains("API key"));
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn models_and_chats_are_listed_and_auto_is_the_default() {
    let server = H2OGPTE.builder().models(&["first", "second"]).start();
    let user = client(&server);
    let info = user.server_info().unwrap();
    assert_eq!(info.protocol, Protocol::H2ogpte);
    let expected = format!(
        "{} is an h2oGPTe server. It offers 2 models: first, second. This client asks auto.",
        server.url()
    );
    assert_eq!(info.to_string(), expected);
    let chats: Vec<String> = (0..205).map(|_| user.conversation().unwrap().keep()).collect();
    let before = server.counts().requests;
    let listed = user.list_conversations().unwrap();
    assert!(listed.iter().map(|chat| &chat.id).eq(chats.iter().rev()));
    assert_eq!(server.counts().requests - before, 3);
    assert_eq!(stranger(&server).list_conversations().unwrap(), []);
}

#[test]
fn a_history_of_several_pages_is_in_order() {
    const TURNS: usize = 75;
    let server = H2OGPTE.builder().plan(|prompt| Plan::tokens([format!("to {prompt}")])).start();
    let mut chat = client(&server).conversation().unwrap();
    let mut expected = Vec::new();
    for turn in 0..TURNS {
        chat.ask(turn.to_string()).unwrap();
        expected.push(Message::user(turn.to_string()));
        expected.push(Message::assistant(format!("to {turn}")));
    }
    assert_eq!(chat.messages().unwrap(), expected);
    assert_eq!(count(&server, Step::ReadHistory), 2);
}

#[test]
fn an_unknown_model_error_lists_the_models() {
    let server = H2OGPTE.builder().models(&["first", "second"]).start();
    let named = builder(&server).model("third").build().unwrap();
    for error in [named.ask("hello").unwrap_err(), named.server_info().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::UnknownModel);
        let words = "does not have the model \"third\"; it has first, second";
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_nothing_left(&server);
    // A resumed conversation uses the client's model too.
    let named = builder(&server).model("second").build().unwrap();
    let id = named.conversation().unwrap().keep();
    named.resume(&id).unwrap().ask("hello").unwrap();
    assert_eq!(messages(&server)[1]["llm"], "second");
}

#[test]
fn unsupported_features_are_refused_before_anything_is_sent() {
    let server = H2OGPTE.start();
    let user = client(&server);
    let mut resumed = user.resume(COLLECTION).unwrap();
    let error = resumed.regenerate().map(drop).unwrap_err();
    assert_failed(&error, ErrorKind::Unsupported, Step::Validate);
    let invalid = user.conversation_builder().collection("../x").open().unwrap_err();
    assert_eq!(invalid.kind(), ErrorKind::InvalidInput);
    assert_eq!(server.counts().requests, 0);
    let mut chat = user.conversation_builder().collection(COLLECTION).open().unwrap();
    let path = format!("/api/v1/chats?collection_id={COLLECTION}");
    assert_eq!(server.requests()[0].path, path);
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    let error = chat.regenerate_with(|it| it.temperature(1.0)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(chat.ask("hello").unwrap(), GREETING);

    each([CLASSIC, JSON], |kind| {
        let server = kind.start();
        let opening = client(&server).conversation_builder().collection(COLLECTION);
        let error = opening.open().unwrap_err();
        assert_failed(&error, ErrorKind::Unsupported, Step::Validate);
        assert_eq!(server.counts().requests, 0, "{kind:?}");
    });
}

#[test]
fn an_early_end_stops_over_the_open_stream_then_deletes() {
    let server = H2OGPTE.start();
    leave_early(&client(&server)).unwrap();
    assert_nothing_left(&server);
    assert_eq!(server.counts().stopped, 1);
    assert_eq!(
        paths(&server)[2..],
        [
            "GET /api/v1/chats/ID/messages?offset=0&limit=100",
            "POST /api/v1/messages/ID/stop",
            "DELETE /api/v1/chats/ID",
        ]
    );
    let requests = server.requests();
    let [_, message, list, stop, delete] = requests.as_slice() else { panic!("{requests:?}") };
    assert_ne!(list.connection, message.connection);
    assert_eq!([list.connection, list.connection], [stop.connection, delete.connection]);
}

#[test]
fn the_stream_stays_open_until_the_stop_response() {
    const PACE: Duration = Duration::from_millis(1);
    let (count, tokens) = mpsc::channel();
    let count = Mutex::new(count);
    let plan = move |_: &str| {
        let count = count.lock().unwrap().clone();
        let token = move |id| {
            // The count does not matter at the end.
            let _ = count.send(());
            Act::token(id, "a")
        };
        Plan::acts((0..).map(token)).paced(PACE)
    };
    let (begin, stopping) = mpsc::channel();
    let (go_on, checked) = mpsc::channel();
    let (begin, checked) = (Mutex::new(begin), Mutex::new(checked));
    let wait = move |request: &crate::stand_in::Request| {
        if step_of(request) == Some(Step::StopGeneration) {
            begin.lock().unwrap().send(()).unwrap();
            checked.lock().unwrap().recv().unwrap();
        }
        None
    };
    let server = H2OGPTE.builder().plan(plan).intercept(wait).start();
    let user = builder(&server).cleanup_timeout(Duration::from_secs(20)).build().unwrap();
    thread::scope(|scope| {
        let leaving = scope.spawn(|| leave_early(&user));
        stopping.recv().unwrap();
        // The server notices a closed stream when it sends the next tokens.
        let already = tokens.try_iter().count();
        assert_eq!(tokens.iter().take(50).count(), 50, "after {already}");
        let is_read = server.is_read();
        go_on.send(()).unwrap();
        leaving.join().unwrap().unwrap();
        assert!(is_read);
    });
    assert_nothing_left(&server);
}

#[test]
fn a_stopped_turn_leaves_the_next_intact() {
    let server = H2OGPTE.start();
    let mut chat = client(&server).conversation().unwrap();
    chat.ask("hello").unwrap();
    let mut tokens = chat.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    drop(tokens);
    server.wait_for("the stop", |counts| counts.stopped == 1);
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    // The third message of the chat was the question.
    let stop = &requests_of(&server, Step::StopGeneration)[0].path;
    assert!(stop.starts_with("/api/v1/messages/00000003-"), "{stop}");
}

#[test]
fn an_unsupported_stop_is_sent_once() {
    let server = H2OGPTE.builder().lacks_stop().start();
    let client = client(&server);
    for _ in 0..2 {
        leave_early(&client).unwrap();
    }
    assert_eq!(count(&server, Step::StopGeneration), 1);
    assert_eq!(count(&server, Step::ReadHistory), 1);
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_deletion_falls_back_to_a_job() {
    let job = [
        "DELETE /api/v1/chats/ID",
        "POST /api/v1/chats/delete_job",
        "GET /api/v1/jobs/ID",
        "GET /api/v1/jobs/ID",
    ];
    let server = H2OGPTE.builder().lacks_delete().start();
    client(&server).ask("hello").unwrap();
    assert_eq!(paths(&server)[2..], job);
    let id = server.requests()[0].path.clone() + "/";
    let id = server.requests()[1].path.strip_prefix(&id).unwrap().to_owned();
    let id = id.strip_suffix("/completions").unwrap();
    assert_eq!(
        requests_of(&server, Step::DeleteConversation)[1].json(),
        json!({ "session_ids": [id] })
    );
    assert_nothing_left(&server);

    let left = AtomicUsize::new(1);
    let refuse = move |request: &crate::stand_in::Request| {
        let strikes = request.method == "DELETE" && take_one(&left);
        strikes.then(|| response("405 Method Not Allowed", "", ""))
    };
    let server = H2OGPTE.builder().intercept(refuse).start();
    client(&server).ask("hello").unwrap();
    assert_eq!(paths(&server)[2..], job);
    assert_nothing_left(&server);
}

#[test]
fn a_failed_or_slow_job_leaves_a_leftover() {
    let job = |status: &str| {
        let job = json!({ "id": "a", "overall_status": status, "errors": ["no disk"] });
        let headers = "content-type: application/json\r\n";
        response("201 Created", headers, &job.to_string())
    };
    for (status, kind) in [
        ("failed", ErrorKind::Status),
        ("canceled", ErrorKind::Status),
        ("in progress", ErrorKind::Timeout(h2o_chat::Timeout::Cleanup)),
    ] {
        let answer_job = move |request: &crate::stand_in::Request| {
            let is_job = request.path.ends_with("/delete_job") || request.path.contains("/jobs/");
            is_job.then(|| job(status))
        };
        let server = H2OGPTE.builder().lacks_delete().intercept(answer_job).start();
        let short = Duration::from_secs(1);
        let user = builder(&server).cleanup_timeout(short).build().unwrap();
        let chat = user.conversation().unwrap();
        let error = chat.delete().unwrap_err();
        assert_failed(&error, kind, Step::DeleteConversation);
        assert_eq!(error.to_string().contains("no disk"), kind == ErrorKind::Status, "{error}");
        assert_eq!(user.leftovers(), server.conversations());
        assert_eq!(user.leftovers().len(), 1);
    }
}

#[test]
fn a_deleted_conversation_needs_no_job() {
    let server = H2OGPTE.start();
    let user = client(&server);
    let chat = user.conversation().unwrap();
    server.forget(chat.id());
    chat.delete().unwrap();
    user.delete_conversation(COLLECTION).unwrap();
    assert!(!paths(&server).contains(&"POST /api/v1/chats/delete_job".to_owned()));
}

#[test]
fn a_key_without_permission_to_delete_leaves_a_leftover() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let left = AtomicUsize::new(2);
        let refuse = move |request: &crate::stand_in::Request| {
            let step = step_of(request)?;
            let is_cleanup = matches!(step, Step::StopGeneration | Step::DeleteConversation);
            let strikes = is_cleanup && take_one(&left);
            strikes.then(|| response(status, "", r#"{"code":403,"message":"this key may not"}"#))
        };
        let server = H2OGPTE.builder().intercept(refuse).start();
        let user = client(&server);
        let error = leave_early(&user).unwrap_err();
        assert_eq!(error.step(), Step::DeleteConversation);
        assert!(error.to_string().contains("this key may not"), "{error}");
        assert_eq!(user.leftovers(), server.conversations());
        assert_eq!(server.counts().running, 1);
        assert_eq!(user.delete_leftovers().unwrap(), 1, "{status}");
        assert_nothing_left(&server);
    }
}

#[test]
fn errors_have_the_servers_words_and_busy_servers_are_retried() {
    let body = r#"{"code":400,"message":"the message is too long","error_type":"validation"}"#;
    let server = refusing(Step::SendMessage, "400 Bad Request", body);
    let error = client(&server).ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Status, Step::SendMessage);
    assert_eq!(error.server_message(), Some("the message is too long"));
    assert_nothing_left(&server);

    let body = r#"{"code":429,"message":"slow down"}"#;
    let server = refusing(Step::SendMessage, "429 Too Many Requests", body);
    let error = builder(&server).retries(1).build().unwrap().ask("hello").unwrap_err();
    assert_eq!(error.status(), Some(429));
    assert_eq!(count(&server, Step::SendMessage), 2);
}

/// Status, headers, body, the kind of the error, and words in it.
type Row = (&'static str, &'static str, &'static str, ErrorKind, &'static str);

#[test]
fn a_page_or_redirect_instead_of_the_api_is_an_error() {
    let page = "<html><title>H2O AI Cloud</title></html>";
    #[rustfmt::skip]
    let rows: [Row; 3] = [
        ("200 OK", "content-type: text/html\r\n", page, ErrorKind::Protocol, "H2O AI Cloud"),
        ("404 Not Found", "content-type: text/html\r\n", page, ErrorKind::Status, "H2O AI Cloud"),
        (
            "302 Found",
            "location: https://new.example.org/api/v1/chats\r\n",
            "",
            ErrorKind::Status,
            "https://new.example.org",
        ),
    ];
    for (status, headers, body, kind, words) in rows {
        for step in [Step::CreateConversation, Step::SendMessage] {
            let react = move |request: &crate::stand_in::Request| {
                let strikes = step_of(request) == Some(step);
                strikes.then(|| response(status, headers, body))
            };
            let server = H2OGPTE.builder().intercept(react).start();
            let error = client(&server).ask("hello").unwrap_err();
            assert_failed(&error, kind, step);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

#[test]
fn a_single_object_is_a_complete_reply() {
    let whole = r#"{"message_id":"a","body":"Hello world"}"#;
    let plan = |_: &str| Plan::acts([Act::Send(whole.into())]);
    let server = H2OGPTE.builder().plan(plan).start();
    let reply = client(&server).stream("hello").unwrap().reply().unwrap();
    assert_eq!((&*reply.text, &*reply.end.text), ("Hello world", "Hello world"));
}

#[test]
fn the_last_line_is_compared_with_the_tokens() {
    const DELTAS: &str = "{\"body\":\"Hello\",\"finished\":false}\n";
    for (last, text) in
        [("Hello world", "Hello world"), ("Hello", "Hello"), ("Another", "Hello"), ("", "Hello")]
    {
        let last_line = format!("{{\"body\":\"{last}\",\"finished\":true}}\n");
        let lines = [DELTAS.to_owned(), last_line];
        let plan = move |_: &str| Plan::bytes(lines.clone().map(String::into_bytes).to_vec());
        let server = H2OGPTE.builder().plan(plan).start();
        let reply = client(&server).stream("hello").unwrap().reply().unwrap();
        assert_eq!((&*reply.text, &*reply.end.text), (text, last));
    }
}

#[test]
fn server_cookies_are_ignored() {
    let react = |request: &crate::stand_in::Request| {
        let cookie = format!("content-type: application/json\r\nset-cookie: a={COLLECTION}\r\n");
        let created = json!({ "id": COLLECTION }).to_string();
        let is_creation = step_of(request) == Some(Step::CreateConversation);
        is_creation.then(|| response("201 Created", &cookie, &created))
    };
    let server = H2OGPTE.builder().intercept(react).start();
    let client = client(&server);
    client.conversation().unwrap().delete().unwrap();
    assert!(server.requests().iter().all(|it| it.header("cookie").is_none()));
    assert_eq!(client.cookie_name(), "hf-chat");
}

#[test]
fn another_server_with_a_key_and_a_missing_key_have_a_hint() {
    each(ALL, |kind| {
        let server = kind.builder().welcome_modal().start();
        let client = Client::builder(&server.url()).api_key("sk-test").build().unwrap();
        for error in [client.ask("hello").unwrap_err(), client.server_info().unwrap_err()] {
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains("leave the key out"), "{kind:?}: {error}: {hint}");
        }
    });
    let server = H2OGPTE.start();
    let error = Client::new(&server.url()).unwrap().ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoginRequired, "{error}");
    assert!(error.hint().unwrap_or_default().contains("api_key"), "{error}");
}
