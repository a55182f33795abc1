//! What a classic server refuses, and what it tells.

use serde_json::json;

use super::client::{Client, json_post, prompt, unpacked};
use super::{CREATE, Chat, INTERNAL, NOT_FOUND};
use crate::stand_in::{Plan, StandIn};

const GOOD: &str = "ethicsModalAccepted=true&shareConversationsWithModelAuthors=true&\
    ethicsModalAcceptedAt=&activeModel=h2oai%2Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1&\
    searchEnabled=true";
const OWN: &str = "\nReferer: http://{host}/";
const HTTPS: &str = "\nReferer: https://{host}/";

const REDIRECT: &str = r#"200 sized cookie application/json {"type":"redirect","status":303,"location":"http://{host}/"}"#;
const NO_REFERER: &str = "403 chunked text/plain Non-JSON form requests need to have a referer";
const OTHER_REFERER: &str = "403 chunked text/plain Invalid referer for POST request";
const MODAL: &str =
    r#"405 chunked application/json {"error":"You need to accept the welcome modal first"}"#;
const MODAL_AS_TEXT: &str = "405 chunked text/plain You need to accept the welcome modal first";

fn settings(headers: &str, form: &str) -> String {
    format!("POST /settings\nContent-Type: application/x-www-form-urlencoded{headers}\n\n{form}")
}

fn message(body: &str) -> String {
    json_post("/conversation/{id}", body)
}

fn delete(id: &str) -> String {
    format!("DELETE /conversation/{id}\nAccept: */*")
}

fn stop(id: &str) -> String {
    format!("POST /conversation/{id}/stop-generating\nAccept: */*")
}

#[test]
fn settings_are_answered_as_recorded() {
    const REFUSED: &str = r#"500 sized cookie application/json {"type":"error","error":{"message":"Internal Error"}}"#;
    const SEE_OTHER: &str = "303 chunked cookie location=http://{host}/ ";
    let other_model = GOOD.replace("h2oai", "nope");
    let shares_nothing = GOOD.replace("Authors=true", "Authors=");
    Chat::classic().compare(&[
        (settings("", GOOD), NO_REFERER),
        (settings(HTTPS, GOOD), OTHER_REFERER),
        (settings("\nReferer: http://{host}0/", GOOD), OTHER_REFERER),
        (settings(OWN, GOOD), REDIRECT),
        (settings(&format!("{OWN}\nAccept: */*"), GOOD), REDIRECT),
        (
            settings(&format!("{OWN}\nAccept: text/html"), GOOD),
            SEE_OTHER,
        ),
        (settings(OWN, &other_model), REFUSED),
        (settings(OWN, &shares_nothing), REFUSED),
    ]);
}

#[test]
fn without_its_origin_a_server_wants_an_https_referer() {
    let server = StandIn::builder().https_referer().start();
    let mut client = Client::connect(&server);
    assert_eq!(client.ask(&settings(OWN, GOOD)).summary(), OTHER_REFERER);
    let redirect = REDIRECT.replace("http://{host}", &format!("https://{}", client.host));
    assert_eq!(client.ask(&settings(HTTPS, GOOD)).summary(), redirect);
}

#[test]
fn without_the_modal_accepted_nothing_is_done() {
    let mut chat = Chat::classic();
    chat.server.forget_sessions();
    let requests = [
        (prompt("{id}", "hello"), MODAL),
        (json_post("/conversation", CREATE), MODAL),
        (delete("{id}"), MODAL_AS_TEXT),
        (stop("{id}"), MODAL_AS_TEXT),
    ];
    chat.compare(&requests);
    chat.compare(&[(settings(OWN, &GOOD.replace("Accepted=true", "")), REDIRECT)]);
    chat.compare(&requests);
    assert_eq!(chat.server.counts().conversations, 1);
    chat.compare(&[
        (settings(OWN, GOOD), REDIRECT),
        (delete("{id}"), "200 chunked cookie "),
    ]);
}

#[test]
fn a_conversation_belongs_to_its_session_until_it_is_deleted() {
    let mut chat = Chat::classic();
    let as_stranger = |request: &str| request.replacen('\n', "\nCookie: hf-chat=stranger\n", 1);
    chat.compare(&[
        (as_stranger(&settings(OWN, GOOD)), REDIRECT),
        (as_stranger(&delete("{id}")), NOT_FOUND),
        (stop("{id}"), "200 chunked cookie "),
        (delete("{id}"), "200 chunked cookie "),
        (delete("{id}"), NOT_FOUND),
        (stop("{id}"), NOT_FOUND),
        (prompt("{id}", "hello"), NOT_FOUND),
    ]);
}

#[test]
fn an_invalid_request_is_an_internal_error() {
    let with_options =
        |options: &str| message(&format!(r#"{{"inputs": "hello", "options": {options}}}"#));
    let mut chat = Chat::classic();
    let requests = [
        json_post("/conversation", r#"{"model": "nope/nope"}"#),
        json_post("/conversation", "{"),
        prompt("0123", "hello"),
        delete(&"g".repeat(24)),
        message("{"),
        message(r#"{"inputs": "hello"}"#),
        prompt("{id}", ""),
        prompt("{id}", r" \n"),
        with_options(r#"{"id": "1"}"#),
        with_options(r#"{"response_id": "7b0eae12d78140c98074640ac98f461b"}"#),
        with_options(r#"{"is_retry": "no"}"#),
        with_options(r#"{"web_search_id": null}"#),
        // The server drops a body without a content type.
        prompt("{id}", "hello").replace("\nContent-Type: application/json", ""),
    ];
    chat.compare(&requests.map(|request| (request, INTERNAL)));
    assert_eq!(chat.server.model_prompts(), [""; 0]);
}

#[test]
fn parameters_are_checked_by_the_models_server() {
    let mut chat = Chat::start(StandIn::builder().plan(|_| Plan::tokens(["a"])));
    let with = |parameters: &str| {
        let parameters = format!(r#""parameters": {{{parameters}}}, "options""#);
        prompt("{id}", "hello").replace("\"options\"", &parameters)
    };
    for (parameters, complaint) in [
        (
            r#""temperature": 0"#,
            "`temperature` must be strictly positive",
        ),
        (
            r#""repetition_penalty": -1"#,
            "`repetition_penalty` must be strictly positive",
        ),
        (
            r#""frequency_penalty": 2.1"#,
            "`frequency_penalty` must be >= -2.0 and <= 2.0",
        ),
        (r#""top_p": 1"#, "`top_p` must be > 0.0 and < 1.0"),
        (r#""typical_p": 0"#, "`typical_p` must be > 0.0 and < 1.0"),
        (r#""top_k": 0"#, "`top_k` must be strictly positive"),
        (
            r#""max_new_tokens": 0"#,
            "`max_new_tokens` must be strictly positive",
        ),
        (
            r#""truncate": 0"#,
            "`truncate` must be strictly positive and less than 2049",
        ),
        (
            r#""stop": ["", "", "", "", ""]"#,
            "`stop` supports up to 4 stop sequences",
        ),
    ] {
        let recorded = format!(
            r#"422 sized cookie application/json {{"error":"Input validation error: {complaint}","error_type":"validation"}}"#
        );
        chat.compare(&[(with(parameters), &recorded)]);
    }
    let valid = r#""temperature": 0.1, "top_p": null, "stop": ["x"], "seed": 7, "details": true"#;
    let answer = chat
        .client
        .ask(&with(valid).replace("{id}", &chat.id))
        .text();
    let details = r#""details":{"finish_reason":"eos_token","generated_tokens":2,"input_length":1,"seed":7}}"#;
    assert!(answer.contains(details), "{answer}");
}

#[test]
fn errors_of_the_models_server_are_relayed_and_own_ones_have_another_shape() {
    #[rustfmt::skip]
    let rows = [
        ("/429", r#"429 sized cookie application/json retry-after=7 {"error":"Model is overloaded","error_type":"overloaded"}"#),
        ("/502", "502 sized cookie text/html <html><body>bad gateway</body></html>"),
        ("/503", r#"503 sized cookie application/json {"error":"Model h2oai/h2ogpt is currently loading","estimated_time":20.0}"#),
        ("/rate-limit", r#"429 sized cookie application/json {"message":"You are sending too many messages. Try again later."}"#),
        ("/dead", INTERNAL),
    ];
    Chat::classic().compare(&rows.map(|(inputs, recorded)| (prompt("{id}", inputs), recorded)));
}

#[test]
fn without_an_accept_header_an_error_is_a_page() {
    let mut chat = Chat::classic();
    let invalid = message("{").replace("{id}", &chat.id);
    for (request, status) in [
        (invalid.replace("*/*", "text/html"), "405"),
        (invalid.replace("Accept: */*\n", ""), "500"),
        ("GET /nowhere\nAccept: */*".to_string(), "404"),
    ] {
        let answer = chat.client.ask(&request).summary();
        let expected = format!("{status} sized cookie text/html; charset=utf-8 <!DOCTYPE html>");
        assert!(answer.starts_with(&expected), "{answer}");
    }
}

#[test]
fn what_reaches_no_route_has_no_cookie() {
    let server = StandIn::builder()
        .base_path("/chat")
        .cookie_name("sid")
        .start();
    let mut client = Client::connect(&server);
    let too_long = json_post("/chat/conversation", &" ".repeat(512 * 1024 + 1));
    for (request, recorded) in [
        (
            "POST /chat/settings/",
            "308 chunked location=/chat/settings x-sveltekit-normalize=1 ",
        ),
        (&too_long, "413 sized Invalid request body"),
        ("POST /settings", "404 sized text/plain Not found"),
    ] {
        assert_eq!(client.ask(request).summary(), recorded);
    }
    let page = client.ask("GET /chat\nCookie: sid=mine").head;
    assert!(page.contains("set-cookie: sid=mine; Path=/; "), "{page}");
    client.send_raw("GET / HTTP/1.0\r\nHost: old\r\n\r\n");
    let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    assert_eq!(client.rest(), refusal);
}

#[test]
fn a_login_wall_is_before_everything_but_the_login() {
    let server = StandIn::builder().requires_login().start();
    let mut client = Client::connect(&server);
    let wall = format!("302 sized location=http://{}/login ", client.host);
    for request in [
        &settings("", GOOD),
        &json_post("/conversation", CREATE),
        "GET /__data.json",
        "POST /login",
        "DELETE /conversation/0123",
    ] {
        assert_eq!(client.ask(request).summary(), wall, "{request}");
    }
    assert!(
        client
            .ask("GET /login")
            .head
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[test]
fn the_pages_have_the_recorded_data() {
    let mut chat = Chat::start(StandIn::builder().models(&["other/model", "second/model"]));
    chat.client.ask(&prompt(&chat.id, "hello"));
    let home = chat.client.ask("GET /__data.json\nAccept: */*");
    assert!(
        home.head
            .contains("\r\ncache-control: private, no-store\r\n"),
        "{}",
        home.head
    );
    let home = home.json();
    assert_eq!(
        (&home["type"], &home["nodes"][1]),
        (&json!("data"), &json!(null))
    );
    let data = unpacked(&home["nodes"][0]);
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
    let second = &data["models"][1];
    assert_eq!(
        (&second["id"], &second["displayName"]),
        (&second["name"], &second["name"])
    );
    assert_eq!(
        (&second["name"], &second["preprompt"]),
        (&json!("second/model"), &json!("undefined"))
    );

    let page = format!("GET /conversation/{}/__data.json", chat.id);
    let data = unpacked(&chat.client.ask(&page).json()["nodes"][1]);
    let message = |place: usize| {
        let message = &data["messages"][place];
        json!([message["from"], message["content"], message["createdAt"]])
    };
    assert_eq!(message(0), json!(["user", "hello", "Date"]));
    assert_eq!(
        message(1),
        json!(["assistant", " Hi there, how can I help?", "Date"])
    );
    assert_eq!(
        (&data["title"], &data["searches"]),
        (&json!("Untitled 1"), &json!({}))
    );
}

#[test]
fn a_page_that_cannot_be_shown_is_a_success_with_an_error_inside() {
    let mut chat = Chat::classic();
    let unknown = "0".repeat(24);
    let own = format!("{}/__data.json\nCookie: hf-chat=stranger", chat.id);
    for (page, status, message) in [
        (
            format!("{unknown}/__data.json"),
            404,
            "Conversation not found.",
        ),
        ("0/__data.json".to_string(), 500, "Internal Error"),
        (
            own,
            403,
            "You don't have access to this conversation. If someone gave you this link, ask them to use the 'share' feature instead.",
        ),
    ] {
        let answer = chat.client.ask(&format!("GET /conversation/{page}"));
        assert!(
            answer.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            answer.head
        );
        let error = json!({"type": "error", "error": {"message": message}, "status": status});
        assert_eq!(answer.json()["nodes"][1], error);
    }
}
