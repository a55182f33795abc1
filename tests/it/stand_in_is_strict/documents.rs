//! The JSON documents of the servers, with the recorded fields. Their order is not compared.

use serde_json::{Value, json};

use super::client::{form_message, json_post, unpacked};
use super::{CREATE, Chat};
use crate::stand_in::Dialect::{Classic, Form, Json, Newest};
use crate::stand_in::Plan;

const DATE: &str = "2026-11-23T18:21:38.319Z";

/// Returns some fields of an object, as an array.
fn fields(object: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| object[name].clone()).collect()
}

#[test]
fn pages_have_the_recorded_data() {
    let models = ["other/model", "second/model"];
    let mut chat = Chat::with(Classic, |builder| builder.models(&models));
    chat.reply("hello");
    let home = chat.client.ask("GET /__data.json\nAccept: */*");
    let start = "200 sized cookie application/json cache-control=private, no-store {";
    assert!(home.summary().starts_with(start), "{}", home.summary());
    assert_eq!(home.json()["nodes"][1], Value::Null);
    let data = unpacked(&home.json()["nodes"][0]);
    let own = json!([{"id": chat.id, "title": "Untitled 1", "model": "other/model"}]);
    assert_eq!(data["conversations"], own);
    let settings = json!({
        "shareConversationsWithModelAuthors": false,
        "ethicsModalAcceptedAt": "Date",
        "activeModel": "other/model",
        "searchEnabled": false,
        "customPrompts": {},
    });
    assert_eq!(data["settings"], settings);
    let second = fields(&data["models"][1], &["id", "name", "displayName", "preprompt"]);
    assert_eq!(second, json!([models[1], models[1], models[1], "undefined"]));

    let page = format!("GET /conversation/{}/__data.json", chat.id);
    let data = unpacked(&chat.client.ask(&page).json()["nodes"][1]);
    let [question, response] =
        [0, 1].map(|place| fields(&data["messages"][place], &["from", "content", "createdAt"]));
    assert_eq!(question, json!(["user", "hello", "Date"]));
    assert_eq!(response, json!(["assistant", " Hi there, how can I help?", "Date"]));
    assert_eq!(fields(&data, &["title", "searches"]), json!(["Untitled 1", {}]));
}

#[test]
fn a_failed_page_is_a_200_with_an_error_inside() {
    let mut chat = Chat::start(Classic);
    let no_access = "You don't have access to this conversation. If someone gave you this link, \
        ask them to use the 'share' feature instead.";
    let unknown = format!("{}/__data.json", "0".repeat(24));
    let foreign = format!("{}/__data.json\nCookie: hf-chat=stranger", chat.id);
    for (page, status, message) in [
        (&*unknown, 404, "Conversation not found."),
        ("0/__data.json", 500, "Internal Error"),
        (&foreign, 403, no_access),
    ] {
        let response = chat.client.ask(&format!("GET /conversation/{page}"));
        assert_eq!(response.status(), "200");
        let error = json!({"type": "error", "error": {"message": message}, "status": status});
        assert_eq!(response.json()["nodes"][1], error);
    }
}

#[test]
fn creation_responses_differ_by_version() {
    for dialect in [Json, Form, Newest] {
        let mut chat = Chat::start(dialect);
        let mut created = chat.client.ask(&json_post("/conversation", CREATE)).json();
        let id = chat.server.conversations()[1].clone();
        let conversation = chat.client.ask(&format!("GET /api/conversation/{id}"));
        let methods = "access-control-allow-methods: GET, POST, PUT, PATCH, DELETE, OPTIONS";
        assert_eq!(conversation.head.contains(methods), dialect == Newest);

        let mut conversation = conversation.json();
        let root = conversation["messages"][0]["id"].clone();
        let object = conversation.as_object_mut().unwrap();
        let only_in_form = ["assistantId", "modelTools"].map(|name| object.remove(name));
        let expected = [Value::Null, json!(false)].map(|value| (dialect == Form).then_some(value));
        assert_eq!(only_in_form, expected, "{dialect:?}");
        let message = json!({
            "content": "", "from": "system", "id": root, "createdAt": DATE, "updatedAt": DATE,
        });
        let expected = json!({
            "id": id, "title": "New Chat", "updatedAt": DATE, "modelId": "other/model",
            "messages": [message],
        });
        assert_eq!(conversation, expected, "{dialect:?}");

        let embedded = created.as_object_mut().unwrap().remove("conversation");
        assert_eq!(created, json!({"conversationId": id}));
        assert_eq!(embedded.is_some(), dialect == Newest);
        if let Some(embedded) = embedded {
            let embedded: Value = serde_json::from_str(embedded.as_str().unwrap()).unwrap();
            let conversation = fields(&embedded["json"], &["rootMessageId", "id", "title"]);
            assert_eq!(conversation, json!([root, id, "New Chat"]));
            assert_eq!(embedded["meta"]["values"]["updatedAt"], json!(["Date"]));
        }
    }
}

#[test]
fn lists_have_the_recorded_fields() {
    let mut chat = Chat::start(Newest);
    let (id, model) = (&*chat.id, "other/model");
    let listed = json!([{
        "_id": id, "id": id, "title": "New Chat", "updatedAt": DATE,
        "model": model, "modelId": model,
    }]);
    assert_eq!(chat.client.ask("GET /api/conversations").json(), listed);
    let second_page = chat.client.ask("GET /api/conversations?p=1");
    assert_eq!(second_page.json(), json!([]));
    let models = chat.client.ask("GET /api/models").json();
    let second = fields(&models[1], &["id", "name", "displayName", "description"]);
    assert_eq!(second, json!([model, model, model, "Fake other/model"]));
}

#[test]
fn the_messages_of_a_current_server_are_a_tree() {
    let mut chat = Chat::with(Newest, |builder| builder.plan(|_| Plan::tokens(["yes "])));
    let create = r#"{"model": "other/model", "preprompt": "Be brief"}"#;
    let created = chat.client.ask(&json_post("/conversation", create)).json();
    chat.id = created["conversationId"].as_str().unwrap().to_string();
    chat.reply("one");
    let [root, question, response] = &chat.messages()[..] else { panic!("there are three") };
    let retry =
        |message: &str, more: &str| format!(r#"{{"id": "{message}", "is_retry": true{more}}}"#);
    for (request, count) in [
        (retry(response, ""), 4),
        (retry(question, r#", "inputs": "other""#), 6),
        (format!(r#"{{"id": "{response}", "inputs": "two"}}"#), 8),
        (retry(question, ""), 8),
        (retry(root, r#", "inputs": "other""#), 8),
    ] {
        chat.client.ask(&form_message(&chat.id, &request));
        assert_eq!(chat.messages().len(), count, "{request}");
    }
    let one = "<|system|>Be brief<|endoftext|><|prompt|>one<|endoftext|><|answer|>";
    let other = one.replace("one", "other");
    let two = format!("{one}yes<|endoftext|><|prompt|>two<|endoftext|><|answer|>");
    assert_eq!(chat.server.model_prompts(), [one, one, &other, &two]);
}
