//! What the newest servers tell and refuse.

use crate::raw_chat::{Chat, VARY, conversation, create, data, form};
use crate::raw_client::{COOKIE, Client, NODE, chunked, post, settings};
use crate::stand_in::{Act, Dialect, Plan, StandIn};

const CORS: &str = "access-control-allow-headers: Content-Type, Authorization\r\n\
    access-control-allow-methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n\
    access-control-allow-origin: *\r\n";
const ROOT: &str = "524f4094-aadb-4907-af57-fcd28d2322bc";
const NO_ORIGIN: &str = "Non-JSON form requests need to have an origin";

#[test]
fn a_conversation_is_created_as_recorded() {
    const CREATED: &str = r#"{"conversationId":"6b048432f4f0ce1ed2caa6bb","conversation":"{\"json\":{\"messages\":[{\"id\":\"524f4094-aadb-4907-af57-fcd28d2322bc\",\"from\":\"system\",\"content\":\"\",\"createdAt\":\"2026-11-23T18:21:38.319Z\",\"updatedAt\":\"2026-11-23T18:21:38.319Z\",\"children\":[],\"ancestors\":[]}],\"title\":\"New Chat\",\"model\":\"fake/alpha\",\"preprompt\":\"\",\"rootMessageId\":\"524f4094-aadb-4907-af57-fcd28d2322bc\",\"id\":\"6b048432f4f0ce1ed2caa6bb\",\"updatedAt\":\"2026-11-23T18:21:38.319Z\",\"modelId\":\"fake/alpha\",\"shared\":false,\"deployedSpaces\":null},\"meta\":{\"values\":{\"messages.0.createdAt\":[\"Date\"],\"messages.0.updatedAt\":[\"Date\"],\"updatedAt\":[\"Date\"],\"deployedSpaces\":[\"undefined\"]},\"v\":1}}"}"#;
    const TOLD: &str = r#"{"id":"6b048432f4f0ce1ed2caa6bb","title":"New Chat","updatedAt":"2026-11-23T18:21:38.319Z","modelId":"fake/alpha","messages":[{"content":"","from":"system","id":"524f4094-aadb-4907-af57-fcd28d2322bc","createdAt":"2026-11-23T18:21:38.319Z","updatedAt":"2026-11-23T18:21:38.319Z"}]}"#;
    const LIST: &str = r#"[{"_id":"6b048432f4f0ce1ed2caa6bb","id":"6b048432f4f0ce1ed2caa6bb","title":"New Chat","updatedAt":"2026-11-23T18:21:38.319Z","model":"fake/alpha","modelId":"fake/alpha"}]"#;
    const MODELS: &str = r#"[{"id":"fake/alpha","name":"fake/alpha","websiteUrl":"https://huggingface.co","modelUrl":"https://huggingface.co","displayName":"fake/alpha","description":"Fake fake/alpha","promptExamples":[],"preprompt":"","multimodal":false,"supportsTools":false,"supportsReasoning":false,"supportsArtifacts":false,"unlisted":false,"hasInferenceAPI":false}]"#;
    let server = StandIn::builder().dialect(Dialect::Newest);
    let server = server.models(&["fake/alpha"]).start();
    let mut client = Client::of(&server);
    let created = client.ask(&create("fake/alpha", ""));
    let id = &server.conversations()[0];
    let root = created.split(r#"rootMessageId\":\""#).nth(1).unwrap();
    let root = root.split('\\').next().unwrap();
    let own = |text: &str| {
        text.replace("6b048432f4f0ce1ed2caa6bb", id)
            .replace(ROOT, root)
    };
    let json = "content-type: application/json\r\n";
    let headers = format!("{VARY}{json}{COOKIE}");
    assert_eq!(created, chunked("200 OK", &headers, &own(CREATED)));
    let headers = format!("{VARY}{CORS}{json}");
    for (request, body) in [
        (conversation(id), TOLD),
        ("GET /api/conversations".to_string(), LIST),
        ("GET /api/models".to_string(), MODELS),
    ] {
        let expected = chunked("200 OK", &headers, &own(body));
        assert_eq!(client.ask(&request), expected, "{request}");
    }
    assert_eq!(server.counts().pages, 0);
}

#[test]
fn what_does_not_speak_is_answered_as_recorded() {
    let mut chat = Chat::begin(Dialect::Newest, Plan::for_prompt);
    let id = chat.id.clone();
    let json = "content-type: application/json\r\n";
    let sized = |status: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{VARY}content-length: {length}\r\n{json}{COOKIE}{NODE}\r\n{body}"
        )
    };
    let done = chunked("200 OK", &format!("{VARY}{COOKIE}"), "");
    let refused = chunked(
        "403 Forbidden",
        &format!("{VARY}content-type: text/plain\r\n"),
        NO_ORIGIN,
    );
    let body = format!(r#"{{"error":"{NO_ORIGIN}"}}"#);
    let refused_in_json = chunked("403 Forbidden", &format!("{VARY}{json}"), &body);
    let internal = sized("500 Internal Server Error", crate::INTERNAL);
    let message = form(&id, &data(ROOT, "hello"));
    let own = "\nReferer: http://{host}/";
    let accepting = format!("{own}\nAccept: application/json");
    let from_here = format!("{own}\nOrigin: https://{{host}}\nAccept: */*");
    for (request, expected) in [
        (settings(own, "activeModel=other/model"), &refused),
        (
            settings(&accepting, "activeModel=other/model"),
            &refused_in_json,
        ),
        (settings(&from_here, "activeModel=other/model"), &internal),
        (post("/settings", r#"{"activeModel": "fake/alpha"}"#), &done),
        (
            create("nope", ""),
            &sized("400 Bad Request", r#"{"message":"Invalid request"}"#),
        ),
        (message.replace("Origin", "X-Origin"), &refused),
        (message, &internal),
        (form(&id, &data("1", "hello")), &internal),
        (form(&id, r#"{"inputs": "hello"}"#), &internal),
        (form(&id, &data(ROOT, "")), &internal),
        (form(&id, "{"), &internal),
        (
            form(&id, "{}").replace("name=\"data\"", "name=\"x\""),
            &sized("400 Bad Request", r#"{"message":"Invalid request"}"#),
        ),
        (
            post(&format!("/conversation/{id}"), &data(ROOT, "hello")),
            &internal,
        ),
        (
            form(&id, &format!(r#"{{"id": "{ROOT}", "is_retry": true}}"#)),
            &sized("404 Not Found", r#"{"message":"Message not found"}"#),
        ),
    ] {
        assert_eq!(&chat.client.ask(&request), expected, "{request}");
    }
    assert_eq!(chat.server.model_prompts(), [""; 0]);

    let delete = format!("DELETE /conversation/{id}\nAccept: */*");
    assert_eq!(chat.client.ask(&delete), chunked("200 OK", VARY, ""));
    let missing = sized("404 Not Found", r#"{"message":"Conversation not found"}"#);
    assert_eq!(chat.client.ask(&delete), missing.replace(COOKIE, ""));
    let long = post("/conversation", &" ".repeat(512 * 1024 + 1));
    assert_eq!(chat.client.ask(&long), internal);
}

#[test]
fn a_conversation_is_a_tree() {
    let server = StandIn::builder()
        .dialect(Dialect::Newest)
        .plan(|_| Plan::tokens(["yes "]));
    let server = server.start();
    let mut client = Client::of(&server);
    client.ask(&create("other/model", r#", "preprompt": "Be brief""#));
    let id = server.conversations()[0].clone();
    let mut chat = Chat { server, client, id };
    let root = chat.messages().pop().unwrap();
    chat.ask("one");
    let [.., question, answer] = &chat.messages()[..] else {
        panic!("there are three")
    };
    let retry =
        |message: &str, more: &str| format!(r#"{{"id": "{message}", "is_retry": true{more}}}"#);
    for (request, count) in [
        (retry(answer, ""), 4),
        (retry(question, r#", "inputs": "other""#), 6),
        (data(answer, "two"), 8),
        (retry(question, ""), 8),
        (retry(&root, r#", "inputs": "other""#), 8),
    ] {
        chat.client.ask(&form(&chat.id, &request));
        assert_eq!(chat.messages().len(), count, "{request}");
    }
    let one = "<|system|>Be brief<|endoftext|><|prompt|>one<|endoftext|><|answer|>";
    assert_eq!(
        chat.server.model_prompts(),
        [
            one,
            one,
            &one.replace("one", "other"),
            &format!("{one}yes<|endoftext|><|prompt|>two<|endoftext|><|answer|>"),
        ]
    );
}

#[test]
fn the_answer_is_there_before_it_is_complete() {
    let mut chat = Chat::begin(Dialect::Newest, |_| Plan::acts([Act::Hang]));
    chat.send("hello");
    chat.client.head();
    let mut other = Chat {
        client: Client::of(&chat.server),
        ..chat
    };
    assert_eq!(other.messages().len(), 3);
}

#[test]
fn a_root_that_is_hidden_is_told_by_the_api() {
    let server = StandIn::builder().dialect(Dialect::Newest).hides_root();
    let server = server.start();
    let mut client = Client::of(&server);
    let created = client.ask(&create("other/model", ""));
    let id = server.conversations()[0].clone();
    let headers = format!("{VARY}content-type: application/json\r\n{COOKIE}");
    let body = format!(r#"{{"conversationId":"{id}"}}"#);
    assert_eq!(created, chunked("200 OK", &headers, &body));
    let told = client.ask(&conversation(&id));
    assert!(told.contains("access-control-allow-methods"), "{told}");
    assert!(told.contains(r#""from":"system""#), "{told}");
}

#[test]
fn a_page_tells_what_the_api_does_not() {
    let server = StandIn::builder()
        .dialect(Dialect::Newest)
        .api_disabled()
        .start();
    let mut client = Client::of(&server);
    let created = client.ask(&create("other/model", ""));
    let id = &server.conversations()[0];
    let refused = client.ask(&conversation(id));
    assert!(
        refused.starts_with("HTTP/1.1 403 Forbidden\r\n"),
        "{refused}"
    );
    assert!(refused.contains("API is disabled"), "{refused}");
    let page = client.ask(&format!("GET /conversation/{id}/__data.json"));
    let root = created.split(r#"rootMessageId\":\""#).nth(1).unwrap();
    let root = root.split('\\').next().unwrap();
    assert!(page.contains("\"rootMessageId\":"), "{page}");
    assert!(page.contains(root), "{page}");
}

#[test]
fn where_one_has_to_log_in_nothing_is_begun() {
    let server = StandIn::builder()
        .dialect(Dialect::Newest)
        .requires_login()
        .start();
    let mut client = Client::of(&server);
    let login = format!(
        "HTTP/1.1 302 Found\r\n{VARY}content-length: 0\r\nlocation: {}/login\r\n{NODE}\r\n",
        server.url()
    );
    assert_eq!(client.ask(&create("other/model", "")), login);
    for request in [
        post("/settings", r#"{"activeModel": "other/model"}"#),
        "GET /api/conversations".to_string(),
        format!("DELETE /conversation/{}", "0".repeat(24)),
    ] {
        let refused = client.ask(&request);
        assert!(
            refused.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
            "{refused}"
        );
    }
    assert!(client.ask(&settings("", "a=b")).contains(NO_ORIGIN));
    assert!(client.ask("GET /login").starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(server.counts().created, 0);
}
