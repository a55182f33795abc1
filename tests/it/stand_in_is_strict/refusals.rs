//! The refusals of each server, in its words.

use super::client::{Client, form_message, json_post};
use super::{CREATE, Chat, DONE};
use crate::stand_in::Dialect::{Classic, Form, Json, Newest, V07};
use crate::stand_in::{Plan, StandIn};

const GOOD: &str = "ethicsModalAccepted=true&shareConversationsWithModelAuthors=true&\
    ethicsModalAcceptedAt=&activeModel=h2oai%2Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1&\
    searchEnabled=true";
const OWN: &str = "\nReferer: http://{host}/";
const HTTPS: &str = "\nReferer: https://{host}/";
const HELLO: &str = r#"{"inputs": "hello", "options": {}}"#;
const DELETE: &str = "DELETE /conversation/{id}\nAccept: */*";
const STOP: &str = "POST /conversation/{id}/stop-generating\nAccept: */*";
const ROOT: &str = "524f4094-aadb-4907-af57-fcd28d2322bc";

#[rustfmt::skip]
const REDIRECT: &str = r#"200 sized cookie application/json {"type":"redirect","status":303,"location":"http://{host}/"}"#;
const NO_REFERER: &str = "403 chunked text/plain Non-JSON form requests need to have a referer";
const NO_ORIGIN: &str = "403 chunked text/plain Non-JSON form requests need to have an origin";
const OTHER: &str = "403 chunked text/plain Invalid referer for POST request";
const MODAL: &str =
    r#"405 chunked application/json {"error":"You need to accept the welcome modal first"}"#;
const MODAL_AS_TEXT: &str = "405 chunked text/plain You need to accept the welcome modal first";
const INTERNAL: &str = r#"500 sized cookie application/json {"message":"Internal Error"}"#;
const INVALID: &str = r#"400 sized cookie application/json {"message":"Invalid request"}"#;
const NOT_FOUND: &str = r#"404 sized cookie application/json {"message":"Conversation not found"}"#;

fn settings(headers: &str, form: &str) -> String {
    format!("POST /settings\nContent-Type: application/x-www-form-urlencoded{headers}\n\n{form}")
}

fn message(body: &str) -> String {
    json_post("/conversation/{id}", body)
}

#[test]
fn settings_responses_match_the_recordings() {
    #[rustfmt::skip]
    const REFUSED: &str = r#"500 sized cookie application/json {"type":"error","error":{"message":"Internal Error"}}"#;
    const SEE_OTHER: &str = "303 chunked cookie location=http://{host}/ ";
    let from_a_page = format!("{OWN}\nAccept: text/html");
    Chat::start(Classic).compare(&[
        (settings("", GOOD), NO_REFERER),
        (settings(HTTPS, GOOD), OTHER),
        (settings("\nReferer: http://{host}0/", GOOD), OTHER),
        (settings(OWN, GOOD), REDIRECT),
        (settings(&format!("{OWN}\nAccept: */*"), GOOD), REDIRECT),
        (settings(&from_a_page, GOOD), SEE_OTHER),
        (settings(OWN, &GOOD.replace("h2oai", "nope")), REFUSED),
        (settings(OWN, &GOOD.replace("rs=true", "rs=")), REFUSED),
    ]);
}

#[test]
fn posting_settings_shows_the_version() {
    let own = format!("{OWN}\nAccept: */*");
    let with_origin = format!("{own}\nOrigin: https://{{host}}");
    let https_redirect = &*REDIRECT.replace("http:", "https:");
    #[rustfmt::skip]
    let rows = [
        (Classic, true,  [("",    NO_REFERER), (&*own, OTHER),     (HTTPS,        https_redirect)]),
        (V07,     false, [("",    NO_REFERER), (HTTPS, OTHER),     (&own,         INTERNAL)]),
        (Json,    false, [("",    NO_REFERER), (HTTPS, OTHER),     (&own,         INTERNAL)]),
        (Json,    true,  [("",    NO_REFERER), (&own,  OTHER),     (&with_origin, OTHER)]),
        (Form,    false, [("",    NO_ORIGIN),  (HTTPS, NO_ORIGIN), (&own,         NO_ORIGIN)]),
        (Newest,  false, [(HTTPS, NO_ORIGIN),  (&own,  NO_ORIGIN), (&with_origin, INTERNAL)]),
    ];
    for (dialect, https_referer, rows) in rows {
        let server = StandIn::builder().dialect(dialect);
        let server = if https_referer { server.https_referer().start() } else { server.start() };
        let mut client = Client::connect(&server);
        for (headers, recorded) in rows {
            let response = client.ask(&settings(headers, GOOD)).summary();
            let recorded = recorded.replace("{host}", &client.host);
            assert_eq!(response, recorded, "{dialect:?} {headers}");
        }
    }
}

#[test]
fn nothing_works_before_the_modal_is_accepted() {
    let mut chat = Chat::start(Classic);
    chat.server.forget_sessions();
    for _ in 0..2 {
        chat.compare(&[
            (message(HELLO), MODAL),
            (json_post("/conversation", CREATE), MODAL),
            (DELETE.to_string(), MODAL_AS_TEXT),
            (STOP.to_string(), MODAL_AS_TEXT),
            (settings(OWN, &GOOD.replace("Accepted=true", "")), REDIRECT),
        ]);
    }
    assert_eq!(chat.server.counts().conversations, 1);
    chat.compare(&[(&*settings(OWN, GOOD), REDIRECT), (DELETE, DONE)]);

    let accepted = r#"{"ethicsModalAccepted": true, "activeModel": "other/model"}"#;
    for (dialect, has_modal) in [(V07, true), (Json, true), (Form, true), (Newest, false)] {
        let server = StandIn::builder().dialect(dialect).welcome_modal().start();
        let mut client = Client::connect(&server);
        let create = json_post("/conversation", CREATE);
        if has_modal {
            assert_eq!(client.ask(&create).summary(), MODAL, "{dialect:?}");
            let settings = client.ask(&json_post("/settings", accepted));
            assert_eq!(settings.summary(), DONE);
        }
        assert_eq!(client.ask(&create).status(), "200", "{dialect:?}");
    }
}

#[test]
fn a_conversation_belongs_to_its_session() {
    let as_stranger = |request: &str| request.replacen('\n', "\nCookie: hf-chat=stranger\n", 1);
    Chat::start(Classic).compare(&[
        (&*as_stranger(&settings(OWN, GOOD)), REDIRECT),
        (&as_stranger(DELETE), NOT_FOUND),
        (STOP, DONE),
        (DELETE, DONE),
        (DELETE, NOT_FOUND),
        (STOP, NOT_FOUND),
        (&message(HELLO), NOT_FOUND),
    ]);
    let without_cookie = |recorded: &str| recorded.replace(" cookie", "");
    Chat::start(Newest)
        .compare(&[(DELETE, &*without_cookie(DONE)), (DELETE, &without_cookie(NOT_FOUND))]);
}

#[test]
fn a_classic_server_answers_500_to_an_invalid_request() {
    let with_options = |options: &str| message(&HELLO.replace("{}", options));
    let mut chat = Chat::start(Classic);
    let requests = [
        json_post("/conversation", r#"{"model": "nope/nope"}"#),
        json_post("/conversation", "{"),
        json_post("/conversation/0123", HELLO),
        DELETE.replace("{id}", &"g".repeat(24)),
        message("{"),
        message(r#"{"inputs": "hello"}"#),
        message(&HELLO.replace("hello", "")),
        message(&HELLO.replace("hello", r" \n")),
        with_options(r#"{"id": "1"}"#),
        with_options(r#"{"response_id": "7b0eae12d78140c98074640ac98f461b"}"#),
        with_options(r#"{"is_retry": "no"}"#),
        with_options(r#"{"web_search_id": null}"#),
        // The server drops a body without a content type.
        message(HELLO).replace("\nContent-Type: application/json", ""),
    ];
    chat.compare(&requests.map(|request| (request, INTERNAL)));
    assert_eq!(chat.server.model_prompts(), [""; 0]);
}

#[test]
fn current_refusals_match_the_recordings() {
    const NO_PATH: &str = r#"404 sized application/json {"message":"Not Found"}"#;
    const NO_MESSAGE: &str = r#"404 sized cookie application/json {"message":"Message not found"}"#;
    let form = |data: &str| form_message("{id}", data);
    let data = |inputs: &str| format!(r#"{{"id": "{ROOT}", "inputs": "{inputs}"}}"#);
    let hello = form(&data("hello"));
    let with_referer = hello.replace("Origin: ", "Referer: ");
    let retry = data("hello").replace('}', r#", "is_retry": true}"#);
    let unknown_model = json_post("/conversation", r#"{"model": "nope"}"#);
    Chat::start(Newest).compare(&[
        (json_post("/settings", r#"{"activeModel": "a/model"}"#), DONE),
        (unknown_model.clone(), INVALID),
        (with_referer.clone(), NO_ORIGIN),
        (hello.replace("http://", "http://other."), OTHER),
        (hello.clone(), INTERNAL),
        (hello.replace(ROOT, "1"), INTERNAL),
        (form(r#"{"inputs": "hello"}"#), INTERNAL),
        (form(&data("")), INTERNAL),
        (form("{"), INTERNAL),
        (hello.replace("\"data\"", "\"x\""), INVALID),
        (message(&data("hello")), INTERNAL),
        (form(&retry), NO_MESSAGE),
        (json_post("/conversation", &" ".repeat(512 * 1024 + 1)), INTERNAL),
    ]);
    Chat::start(Json).compare(&[
        (unknown_model.clone(), INVALID),
        (message(&data(" ")), INTERNAL),
        (message(HELLO), INTERNAL),
        (with_referer, INTERNAL),
    ]);
    let api = "GET /api/conversation/{id}\nAccept: */*".to_string();
    Chat::start(V07).compare(&[(unknown_model, INTERNAL), (api, NO_PATH)]);
}

#[test]
fn the_models_server_validates_parameters() {
    let mut chat = Chat::with(Classic, |builder| builder.plan(|_| Plan::tokens(["a"])));
    let with = |parameters: &str| {
        let parameters = format!(r#""parameters": {{{parameters}}}, "options""#);
        message(&HELLO.replace("\"options\"", &parameters))
    };
    #[rustfmt::skip]
    let rows = [
        (r#""temperature": 0"#,              "`temperature` must be strictly positive"),
        (r#""repetition_penalty": -1"#,      "`repetition_penalty` must be strictly positive"),
        (r#""frequency_penalty": 2.1"#,      "`frequency_penalty` must be >= -2.0 and <= 2.0"),
        (r#""top_p": 1"#,                    "`top_p` must be > 0.0 and < 1.0"),
        (r#""typical_p": 0"#,                "`typical_p` must be > 0.0 and < 1.0"),
        (r#""top_k": 0"#,                    "`top_k` must be strictly positive"),
        (r#""max_new_tokens": 0"#,           "`max_new_tokens` must be strictly positive"),
        (r#""truncate": 0"#,                 "`truncate` must be strictly positive and less than 2049"),
        (r#""stop": ["", "", "", "", ""]"#,  "`stop` supports up to 4 stop sequences"),
    ];
    for (parameters, complaint) in rows {
        let error = format!("Input validation error: {complaint}");
        let body = format!(r#"{{"error":"{error}","error_type":"validation"}}"#);
        let recorded = format!("422 sized cookie application/json {body}");
        chat.compare(&[(with(parameters), &*recorded)]);
    }
    let valid = r#""temperature": 0.1, "top_p": null, "stop": ["x"], "seed": 7, "details": true"#;
    let reply = chat.client.ask(&with(valid).replace("{id}", &chat.id)).text();
    let details = r#""finish_reason":"eos_token","generated_tokens":2,"input_length":1,"seed":7}"#;
    assert!(reply.contains(details), "{reply}");
}

#[test]
fn the_models_servers_errors_are_relayed() {
    #[rustfmt::skip]
    let rows = [
        ("/429", r#"429 sized cookie application/json retry-after=7 {"error":"Model is overloaded","error_type":"overloaded"}"#),
        ("/502", "502 sized cookie text/html <html><body>bad gateway</body></html>"),
        ("/503", r#"503 sized cookie application/json {"error":"Model h2oai/h2ogpt is currently loading","estimated_time":20.0}"#),
        ("/rate-limit", r#"429 sized cookie application/json {"message":"You are sending too many messages. Try again later."}"#),
        ("/dead", INTERNAL),
    ];
    let rows = rows.map(|(inputs, recorded)| (message(&HELLO.replace("hello", inputs)), recorded));
    Chat::start(Classic).compare(&rows);
}

#[test]
fn some_responses_are_pages() {
    let invalid = message("{");
    let unknown = || "GET /api/nowhere".to_string();
    for (dialect, request, status) in [
        (Classic, invalid.replace("*/*", "text/html"), "405"),
        (Classic, invalid.replace("Accept: */*\n", ""), "500"),
        (Classic, unknown() + "\nAccept: */*", "404"),
        (Json, unknown(), "404"),
        (Form, unknown(), "200"),
        (Newest, unknown(), "404"),
    ] {
        let mut chat = Chat::start(dialect);
        let response = chat.client.ask(&request.replace("{id}", &chat.id));
        assert_eq!(response.status(), status, "{dialect:?} {request}");
        assert!(response.text().starts_with("<!DOCTYPE html>"), "{dialect:?} {request}");
    }
}

#[test]
fn responses_without_a_route_have_no_cookie() {
    let server = StandIn::builder().base_path("/chat").cookie_name("sid").start();
    let mut client = Client::connect(&server);
    let too_long = json_post("/chat/conversation", &" ".repeat(512 * 1024 + 1));
    let moved = "308 chunked location=/chat/settings x-sveltekit-normalize=1 ";
    for (request, recorded) in [
        ("POST /chat/settings/", moved),
        (&too_long, "413 sized Invalid request body"),
        ("POST /settings", "404 sized text/plain Not found"),
    ] {
        assert_eq!(client.ask(request).summary(), recorded);
    }
    let page = client.ask("GET /chat\nCookie: sid=mine").head;
    assert!(page.contains("set-cookie: sid=mine; Path=/; "), "{page}");
}

#[test]
fn a_login_wall_guards_everything_but_the_login() {
    let create = json_post("/conversation", CREATE);
    let (delete, list) = ("DELETE /conversation/0123", "GET /api/conversations");
    for (dialect, request, status) in [
        (Classic, &*settings("", GOOD), "302"),
        (Classic, &create, "302"),
        (Classic, "GET /__data.json", "302"),
        (Classic, delete, "302"),
        (Newest, &create, "302"),
        (Newest, list, "401"),
        (Newest, delete, "401"),
    ] {
        let server = StandIn::builder().dialect(dialect).requires_login().start();
        let mut client = Client::connect(&server);
        let wall = client.ask(request);
        assert_eq!(wall.status(), status, "{dialect:?} {request}");
        let location = format!("location: http://{}/login\r\n", client.host);
        assert_eq!(wall.head.contains(&location), status == "302");
        assert_eq!(client.ask("GET /login").status(), "200");
    }
}
