//! What the current servers refuse, and what they tell.

use serde_json::{Value, json};

use super::client::{Client, form, json_post, unpacked};
use super::{CREATE, Chat, INTERNAL, NOT_FOUND};
use crate::stand_in::Dialect::{Form, Json, Newest, V07};
use crate::stand_in::{Dialect, Plan, StandIn};

const ROOT: &str = "524f4094-aadb-4907-af57-fcd28d2322bc";
const DATE: &str = "2026-11-23T18:21:38.319Z";
const DONE: &str = "200 chunked cookie ";
const INVALID: &str = r#"400 sized cookie application/json {"message":"Invalid request"}"#;
const NO_REFERER: &str = "403 chunked text/plain Non-JSON form requests need to have a referer";
const NO_ORIGIN: &str = "403 chunked text/plain Non-JSON form requests need to have an origin";
const OTHER: &str = "403 chunked text/plain Invalid referer for POST request";

/// What the newest servers add to every answer.
fn without_vary(summary: &str) -> String {
    summary.replacen(" Vary=Accept-Encoding", "", 1)
}

fn start(dialect: Dialect) -> Chat {
    Chat::start(StandIn::builder().dialect(dialect))
}

/// Compares answers of which the `Vary` of the newest servers is not part.
fn compare(chat: &mut Chat, rows: &[(String, &str)]) {
    for (request, recorded) in rows {
        let answer = chat.client.ask(&request.replace("{id}", &chat.id));
        assert_eq!(without_vary(&answer.summary()), *recorded, "{request}");
    }
}

#[test]
fn the_classic_first_step_is_refused_in_the_way_that_tells_the_servers_apart() {
    let settings = |headers: &str| {
        format!(
            "POST /settings\nContent-Type: application/x-www-form-urlencoded\nAccept: */*{headers}\
             \n\nethicsModalAccepted=true&activeModel=other%2Fmodel"
        )
    };
    let (none, own, https) = (
        "",
        "\nReferer: http://{host}/",
        "\nReferer: https://{host}/",
    );
    let with_origin = format!("{own}\nOrigin: https://{{host}}");
    #[rustfmt::skip]
    let rows = [
        (V07,    false, none, NO_REFERER), (V07,    false, https, OTHER),     (V07,    false, own, INTERNAL),
        (Json,   false, none, NO_REFERER), (Json,   false, https, OTHER),     (Json,   false, own, INTERNAL),
        (Json,   true,  own,  OTHER),      (Json,   true,  https, INTERNAL),
        (Form,   false, none, NO_ORIGIN),  (Form,   false, https, NO_ORIGIN), (Form,   false, own, NO_ORIGIN),
        (Newest, false, none, NO_ORIGIN),  (Newest, false, own,   NO_ORIGIN), (Newest, false, &with_origin, INTERNAL),
    ];
    for (dialect, https_referer, headers, recorded) in rows {
        let builder = StandIn::builder().dialect(dialect);
        let builder = if https_referer {
            builder.https_referer()
        } else {
            builder
        };
        let server = builder.start();
        let answer = Client::connect(&server).ask(&settings(headers));
        assert_eq!(
            without_vary(&answer.summary()),
            recorded,
            "{dialect:?} {headers}"
        );
    }
}

#[test]
fn each_tells_of_a_new_conversation_in_its_own_way() {
    for dialect in [Json, Form, Newest] {
        let mut chat = start(dialect);
        let created = chat.client.ask(&json_post("/conversation", CREATE));
        let id = chat.server.conversations()[1].clone();
        let told = chat.client.ask(&format!("GET /api/conversation/{id}"));
        let root = told.json()["messages"][0]["id"].clone();

        let message = json!({
            "content": "", "from": "system", "id": root, "createdAt": DATE, "updatedAt": DATE,
        });
        let mut expected = json!({
            "id": id,
            "title": "New Chat",
            "updatedAt": DATE,
            "modelId": "other/model",
            "messages": [message],
        });
        if dialect == Form {
            expected["assistantId"] = Value::Null;
            expected["modelTools"] = false.into();
        }
        assert_eq!(told.json(), expected, "{dialect:?}");
        let methods = "access-control-allow-methods: GET, POST, PUT, PATCH, DELETE, OPTIONS";
        assert_eq!(told.head.contains(methods), dialect == Newest);

        let mut created = created.json();
        let embedded = created.as_object_mut().unwrap().remove("conversation");
        assert_eq!(created, json!({"conversationId": id}));
        assert_eq!(embedded.is_some(), dialect == Newest);
        if let Some(embedded) = embedded {
            let embedded: Value = serde_json::from_str(embedded.as_str().unwrap()).unwrap();
            let told = &embedded["json"];
            assert_eq!(
                (&told["rootMessageId"], &told["messages"][0]["id"]),
                (&root, &root)
            );
            assert_eq!(
                (&told["id"], &told["title"]),
                (&json!(id), &json!("New Chat"))
            );
            assert_eq!(embedded["meta"]["values"]["updatedAt"], json!(["Date"]));
        }
    }
}

#[test]
fn lists_have_the_recorded_fields() {
    let mut chat = start(Newest);
    let summary = json!({
        "_id": chat.id,
        "id": chat.id,
        "title": "New Chat",
        "updatedAt": DATE,
        "model": "other/model",
        "modelId": "other/model",
    });
    let conversations = chat.client.ask("GET /api/conversations").json();
    assert_eq!(conversations, json!([summary]));
    assert_eq!(
        chat.client.ask("GET /api/conversations?p=1").json(),
        json!([])
    );
    let models = chat.client.ask("GET /api/models").json();
    let (name, about) = (json!("other/model"), json!("Fake other/model"));
    let second = &models[1];
    assert_eq!(
        (&second["id"], &second["name"], &second["displayName"]),
        (&name, &name, &name)
    );
    assert_eq!(second["description"], about);
}

#[test]
fn an_invalid_request_is_refused_as_recorded() {
    let data = |id: &str, inputs: &str| format!(r#"{{"id": "{id}", "inputs": "{inputs}"}}"#);
    let message = form("{id}", &data(ROOT, "hello"));
    let unknown_retry = form("{id}", &format!(r#"{{"id": "{ROOT}", "is_retry": true}}"#));
    let mut chat = start(Newest);
    compare(
        &mut chat,
        &[
            (
                json_post("/settings", r#"{"activeModel": "a/model"}"#),
                DONE,
            ),
            (json_post("/conversation", r#"{"model": "nope"}"#), INVALID),
            (message.replace("Origin", "X-Origin"), NO_ORIGIN),
            (
                message.replace("Origin: http://", "Origin: http://other."),
                OTHER,
            ),
            (message, INTERNAL),
            (form("{id}", &data("1", "hello")), INTERNAL),
            (form("{id}", r#"{"inputs": "hello"}"#), INTERNAL),
            (form("{id}", &data(ROOT, "")), INTERNAL),
            (form("{id}", "{"), INTERNAL),
            (form("{id}", "{}").replace("\"data\"", "\"x\""), INVALID),
            (
                json_post("/conversation/{id}", &data(ROOT, "hello")),
                INTERNAL,
            ),
            (
                unknown_retry,
                r#"404 sized cookie application/json {"message":"Message not found"}"#,
            ),
            (
                "DELETE /conversation/{id}\nAccept: */*".to_string(),
                "200 chunked ",
            ),
            (
                "DELETE /conversation/{id}\nAccept: */*".to_string(),
                &NOT_FOUND.replace(" cookie", ""),
            ),
            (
                json_post("/conversation", &" ".repeat(512 * 1024 + 1)),
                INTERNAL,
            ),
        ],
    );
    let mut chat = start(Json);
    let in_a_form = chat.messages().pop().unwrap();
    let in_a_form = form("{id}", &data(&in_a_form, "hello")).replace("Origin: ", "Referer: ");
    compare(
        &mut chat,
        &[
            (json_post("/conversation/{id}", &data(ROOT, " ")), INTERNAL),
            (
                json_post("/conversation/{id}", r#"{"inputs": "hello"}"#),
                INTERNAL,
            ),
            (in_a_form, INTERNAL),
        ],
    );
    assert_eq!(chat.server.model_prompts(), [""; 0]);
    let mut chat = start(V07);
    let not_found = r#"404 sized application/json {"message":"Not Found"}"#;
    compare(
        &mut chat,
        &[
            (json_post("/conversation", r#"{"model": "nope"}"#), INTERNAL),
            (
                "GET /api/conversation/{id}\nAccept: */*".to_string(),
                not_found,
            ),
        ],
    );
}

#[test]
fn the_modal_is_there_where_it_is_shown() {
    const MODAL: &str =
        r#"405 chunked application/json {"error":"You need to accept the welcome modal first"}"#;
    let settings = r#"{"ethicsModalAccepted": true, "activeModel": "other/model"}"#;
    let settings = json_post("/settings", settings);
    let create = json_post("/conversation", CREATE);
    for dialect in [V07, Json, Form] {
        let server = StandIn::builder().dialect(dialect).welcome_modal().start();
        let mut client = Client::connect(&server);
        assert_eq!(client.ask(&create).summary(), MODAL, "{dialect:?}");
        assert_eq!(client.ask(&settings).summary(), DONE);
        assert!(client.ask(&create).head.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    Chat::start(StandIn::builder().dialect(Newest).welcome_modal());
}

#[test]
fn an_unknown_path_is_a_page_to_some() {
    for (dialect, status) in [(Json, "404"), (Form, "200"), (Newest, "404")] {
        let page = start(dialect).client.ask("GET /api/nowhere").summary();
        let page = without_vary(&page);
        let expected = format!("{status} sized text/html; charset=utf-8 <!DOCTYPE html>");
        assert!(page.starts_with(&expected), "{dialect:?} {page}");
    }
}

#[test]
fn where_one_has_to_log_in_nothing_is_created() {
    let server = StandIn::builder().dialect(Newest).requires_login().start();
    let mut client = Client::connect(&server);
    let login = format!("302 sized location=http://{}/login ", client.host);
    let created = client.ask(&json_post("/conversation", CREATE)).summary();
    assert_eq!(without_vary(&created), login);
    for request in [
        &json_post("/settings", r#"{"activeModel": "other/model"}"#),
        "GET /api/conversations",
        "DELETE /conversation/000000000000000000000000",
    ] {
        let refused = without_vary(&client.ask(request).summary());
        assert!(refused.starts_with("401 chunked "), "{request} {refused}");
    }
}

#[test]
fn what_a_server_hides_is_told_in_another_place() {
    let mut chat = Chat::start(StandIn::builder().dialect(Newest).hides_root());
    let created = chat.client.ask(&json_post("/conversation", CREATE)).json();
    assert_eq!(created.get("conversation"), None);
    assert_eq!(chat.messages().len(), 1);

    let mut chat = Chat::start(StandIn::builder().dialect(Newest).api_disabled());
    let refused = chat
        .client
        .ask(&format!("GET /api/conversation/{}", chat.id))
        .summary();
    assert!(refused.starts_with("403 "), "{refused}");
    assert!(
        refused.ends_with(r#" {"error":"API is disabled"}"#),
        "{refused}"
    );
    let page = format!("GET /conversation/{}/__data.json", chat.id);
    let data = unpacked(&chat.client.ask(&page).json()["nodes"][1]);
    assert_eq!(data["rootMessageId"], data["messages"][0]["id"]);
    assert_eq!(data["messages"][0]["from"], "system");
}

#[test]
fn a_conversation_is_a_tree() {
    let builder = StandIn::builder().plan(|_| Plan::tokens(["yes "]));
    let mut chat = Chat::start(builder.dialect(Newest));
    let create = r#"{"model": "other/model", "preprompt": "Be brief"}"#;
    let created = chat.client.ask(&json_post("/conversation", create)).json();
    chat.id = created["conversationId"].as_str().unwrap().to_string();
    let root = chat.messages().pop().unwrap();
    chat.client.ask(&chat.message(Newest, "one"));
    let [.., question, answer] = &chat.messages()[..] else {
        panic!("there are three")
    };
    let retry =
        |message: &str, more: &str| format!(r#"{{"id": "{message}", "is_retry": true{more}}}"#);
    for (request, count) in [
        (retry(answer, ""), 4),
        (retry(question, r#", "inputs": "other""#), 6),
        (format!(r#"{{"id": "{answer}", "inputs": "two"}}"#), 8),
        (retry(question, ""), 8),
        (retry(&root, r#", "inputs": "other""#), 8),
    ] {
        chat.client.ask(&form(&chat.id, &request));
        assert_eq!(chat.messages().len(), count, "{request}");
    }
    let one = "<|system|>Be brief<|endoftext|><|prompt|>one<|endoftext|><|answer|>";
    let other = one.replace("one", "other");
    let two = format!("{one}yes<|endoftext|><|prompt|>two<|endoftext|><|answer|>");
    assert_eq!(chat.server.model_prompts(), [one, one, &other, &two]);
}
