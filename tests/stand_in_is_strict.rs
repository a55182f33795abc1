//! The stand-in server refuses what the real one refuses, and frames its answers as the real one
//! does: recorded bytes, compared over plain sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[path = "stand_in/strict_conversations.rs"]
mod conversations;
#[path = "stand_in/strict_current.rs"]
mod current;
#[path = "stand_in/strict_lines.rs"]
mod lines;
#[path = "stand_in/strict_older.rs"]
mod older;
#[path = "stand_in/raw_chat.rs"]
mod raw_chat;
#[path = "stand_in/raw_client.rs"]
mod raw_client;
#[path = "stand_in/strict_replies.rs"]
mod replies;
#[path = "stand_in/strict_sessions.rs"]
mod sessions;
mod stand_in;

use raw_client::{
    COOKIE, Client, HELLO, NODE, begun, chunked, empty_success, hook, message, post, prompt,
    relayed, settings, sized,
};
use stand_in::{Act, Plan, Reaction, StandIn, frame};

const INTERNAL: &str = r#"{"message":"Internal Error"}"#;
const NOT_FOUND: &str = r#"{"message":"Conversation not found"}"#;

#[test]
fn settings_are_answered_as_recorded() {
    const GOOD: &str = "ethicsModalAccepted=true&shareConversationsWithModelAuthors=true&ethicsModalAcceptedAt=&activeModel=h2oai%2Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1&searchEnabled=true";
    const OWN: &str = "\nReferer: http://{host}/";
    let server = StandIn::start();
    let mut client = Client::of(&server);
    let json = "application/json";
    let location = format!("{}/", server.url());
    let redirect = format!(r#"{{"type":"redirect","status":303,"location":"{location}"}}"#);
    let refused = r#"{"type":"error","error":{"message":"Internal Error"}}"#;
    let (none, other) = (
        "Non-JSON form requests need to have a referer",
        "Invalid referer for POST request",
    );
    let location = format!("location: {location}\r\n{COOKIE}");
    let see_other = chunked("303 See Other", &location, "");
    for (headers, form, expected) in [
        ("", GOOD, hook("403 Forbidden", "text/plain", none)),
        (
            "\nReferer: https://{host}/",
            GOOD,
            hook("403 Forbidden", "text/plain", other),
        ),
        (
            "\nReferer: http://{host}0/",
            GOOD,
            hook("403 Forbidden", "text/plain", other),
        ),
        (OWN, GOOD, sized("200 OK", json, &redirect)),
        (
            "\nReferer: http://{host}/\nAccept: */*",
            GOOD,
            sized("200 OK", json, &redirect),
        ),
        (
            "\nReferer: http://{host}/\nAccept: text/html",
            GOOD,
            see_other,
        ),
        (
            OWN,
            &GOOD.replace("h2oai", "nope"),
            sized("500 Internal Server Error", json, refused),
        ),
        (
            OWN,
            &GOOD.replace("Authors=true", "Authors="),
            sized("500 Internal Server Error", json, refused),
        ),
    ] {
        assert_eq!(
            client.ask(&settings(headers, form)),
            expected,
            "{headers} {form}"
        );
    }
}

#[test]
fn the_modal_comes_before_everything() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let text = "You need to accept the welcome modal first";
    let json = format!(r#"{{"error":"{text}"}}"#);
    let in_json = hook("405 Method Not Allowed", "application/json", &json);
    let in_text = hook("405 Method Not Allowed", "text/plain", text);
    let stranger = |text: String| text.replacen('\n', "\nCookie: hf-chat=stranger\n", 1);
    assert_eq!(client.ask(&stranger(message(&id, HELLO))), in_json);
    assert_eq!(
        client.ask(&stranger(format!("DELETE /conversation/{id}\nAccept: */*"))),
        in_text
    );
    server.forget_sessions();
    assert_eq!(client.ask(&message(&id, HELLO)), in_json);
    assert_eq!(
        client.ask(&format!("POST /conversation/{id}/stop-generating")),
        in_text
    );
    let referer = "\nReferer: http://{host}/";
    client.ask(&settings(referer, "activeModel=other%2Fmodel"));
    assert_eq!(client.ask(&message(&id, HELLO)), in_json);
    assert_eq!(server.counts().conversations, 1);
}

#[test]
fn a_conversation_belongs_to_its_session_until_it_is_deleted() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let missing = sized("404 Not Found", "application/json", NOT_FOUND);
    let created = client.ask(&post("/conversation", r#"{"model": "other/model"}"#));
    let other = server.conversations().pop().unwrap();
    let headers = format!("content-type: application/json\r\n{COOKIE}");
    let body = format!(r#"{{"conversationId":"{other}"}}"#);
    assert_eq!(created, chunked("200 OK", &headers, &body));

    let stranger = "\nCookie: hf-chat=stranger\nReferer: http://{host}/";
    client.ask(&settings(
        stranger,
        "ethicsModalAccepted=true&activeModel=other%2Fmodel",
    ));
    let theft = format!("DELETE /conversation/{id}\nAccept: */*\nCookie: hf-chat=stranger");
    assert_eq!(
        client.ask(&theft),
        missing.replace("chat=me", "chat=stranger")
    );

    let delete = format!("DELETE /conversation/{id}\nAccept: */*");
    assert_eq!(client.ask(&delete), empty_success());
    assert_eq!(client.ask(&delete), missing);
    assert_eq!(client.ask(&message(&id, HELLO)), missing);
    let stop = |id| format!("POST /conversation/{id}/stop-generating\nAccept: */*");
    assert_eq!(client.ask(&stop(&id)), missing);
    assert_eq!(client.ask(&stop(&other)), empty_success());
    server.forget(&other);
    assert_eq!(client.ask(&stop(&other)), missing);
}

#[test]
fn what_cannot_be_read_is_an_internal_error() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let refusal = sized("500 Internal Server Error", "application/json", INTERNAL);
    let with = |options| message(&id, &HELLO.replace("{}", options));
    for request in [
        post("/conversation", r#"{"model": "nope/nope"}"#),
        post("/conversation", "{"),
        message("0123", HELLO),
        format!("DELETE /conversation/{}\nAccept: */*", "g".repeat(24)),
        message(&id, "{"),
        message(&id, r#"{"inputs": "hello"}"#),
        prompt(&id, ""),
        prompt(&id, r" \n"),
        with(r#"{"id": "1"}"#),
        with(r#"{"response_id": "7b0eae12d78140c98074640ac98f461b"}"#),
        with(r#"{"is_retry": "no"}"#),
        with(r#"{"web_search_id": null}"#),
        with("{}").replace("\nContent-Type: application/json", ""),
    ] {
        assert_eq!(client.ask(&request), refusal, "{request}");
    }
    assert_eq!(server.counts().streaming, 0);
}

#[test]
fn parameters_are_checked_by_the_models_server() {
    let server = StandIn::builder().plan(|_| Plan::tokens(["a"])).start();
    let (mut client, id) = begun(&server);
    let mut ask = |parameters: &str| {
        let parameters = format!(r#""parameters": {{{parameters}}}, "options""#);
        client.ask(&message(&id, &HELLO.replace("\"options\"", &parameters)))
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
        let body = format!(
            r#"{{"error":"Input validation error: {complaint}","error_type":"validation"}}"#
        );
        assert_eq!(
            ask(parameters),
            relayed("422 Unprocessable Entity", "", "application/json", &body)
        );
    }
    let answer =
        ask(r#""temperature": 0.1, "top_p": null, "stop": ["x"], "seed": 7, "details": true"#);
    assert!(answer.contains(r#""details":{"finish_reason":"eos_token","generated_tokens":2,"input_length":1,"seed":7}}"#), "{answer}");
}

#[test]
fn upstream_errors_are_relayed_and_own_ones_are_not_mistaken_for_them() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let json = "application/json";
    let overloaded = r#"{"error":"Model is overloaded","error_type":"overloaded"}"#;
    let loading = r#"{"error":"Model h2oai/h2ogpt is currently loading","estimated_time":20.0}"#;
    let page = "<html><body>bad gateway</body></html>";
    let limit = r#"{"message":"You are sending too many messages. Try again later."}"#;
    for (plan, expected) in [
        (
            "/429",
            relayed(
                "429 Too Many Requests",
                "retry-after: 7\r\n",
                json,
                overloaded,
            ),
        ),
        ("/502", relayed("502 Bad Gateway", "", "text/html", page)),
        (
            "/503",
            relayed("503 Service Unavailable", "", json, loading),
        ),
        ("/rate-limit", sized("429 Too Many Requests", json, limit)),
        ("/dead", sized("500 Internal Server Error", json, INTERNAL)),
    ] {
        assert_eq!(client.ask(&prompt(&id, plan)), expected, "{plan}");
    }
}

#[test]
fn html_is_for_those_who_ask_for_it() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let unread = message(&id, "{");
    for (request, status) in [
        (unread.replace("*/*", "text/html"), "405 Method Not Allowed"),
        (
            unread.replace("Accept: */*\n", ""),
            "500 Internal Server Error",
        ),
        ("GET /".to_string(), "200 OK"),
        ("GET /nowhere\nAccept: */*".to_string(), "404 Not Found"),
    ] {
        let answer = client.ask(&request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
        assert!(answer.contains("content-type: text/html"), "{answer}");
    }
    assert_eq!(server.counts().pages, 2);
}

#[test]
fn what_never_reaches_the_routes_has_no_cookie() {
    let server = StandIn::builder()
        .base_path("/chat")
        .cookie_name("sid")
        .start();
    assert!(server.url().ends_with("/chat"));
    let mut client = Client::of(&server);
    let headers = "location: /chat/settings\r\nx-sveltekit-normalize: 1\r\n";
    let moved = chunked("308 Permanent Redirect", headers, "");
    assert_eq!(client.ask("POST /chat/settings/"), moved);
    let long = post("/chat/conversation", &" ".repeat(512 * 1024 + 1));
    let too_long = format!(
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 20\r\n{NODE}\r\nInvalid request body"
    );
    assert_eq!(client.ask(&long), too_long);
    assert!(
        client
            .ask("POST /settings")
            .starts_with("HTTP/1.1 404 Not Found\r\n")
    );
    let page = client.ask("GET /chat\nCookie: sid=mine");
    assert!(page.contains("set-cookie: sid=mine; Path=/; "), "{page}");
    client.raw("GET / HTTP/1.0\r\nHost: old\r\n\r\n");
    assert_eq!(
        client.rest(),
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn connections_end_when_idle_and_when_asked_to() {
    let server = StandIn::builder().idle(Duration::from_millis(50)).start();
    let mut client = Client::of(&server);
    client.ask("GET /");
    assert_eq!(client.rest(), "");
    let mut client = Client::of(&server);
    client.send("GET /\nConnection: close");
    assert!(
        client
            .rest()
            .contains("GMT\r\nConnection: close\r\n\r\n<!DOCTYPE")
    );
}

#[test]
fn a_request_can_be_intercepted() {
    let seen = AtomicUsize::new(0);
    let server = StandIn::builder()
        .intercept(move |request| {
            assert_eq!(request.header("HOST"), request.header("host"));
            match seen.fetch_add(1, Ordering::Relaxed) {
                0 => Some(Reaction::Answer(
                    b"HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
                )),
                1 => Some(Reaction::AnswerAndClose(frame::comment())),
                2 => Some(Reaction::Close),
                3 => Some(Reaction::Silence),
                _ => None,
            }
        })
        .start();
    let mut client = Client::of(&server);
    assert_eq!(
        client.ask("GET /"),
        "HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n"
    );
    let ends = [":\n\n", ""].map(|expected| {
        client.send("GET /");
        assert_eq!(client.rest(), expected);
        std::mem::replace(&mut client, Client::of(&server))
    });
    client.send("GET /");
    server.wait_for("all of them", |counts| counts.requests == 4);
    assert_eq!(server.requests()[3].connection, ends.len());
    drop(server);
    assert_eq!(client.rest(), "");
}

/// Elsewhere it may be a clean end.
#[cfg(target_os = "linux")]
#[test]
fn a_reset_is_no_end() {
    let server = StandIn::builder()
        .intercept(|_| Some(Reaction::Reset))
        .start();
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .unwrap();
    let error = socket.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn after_a_farewell_nobody_listens() {
    let server = StandIn::builder()
        .intercept(|_| Some(Reaction::Farewell))
        .start();
    let mut client = Client::of(&server);
    assert!(client.ask("GET /").contains("Connection: close"));
    assert_eq!(client.rest(), "");
    let error = TcpStream::connect(("127.0.0.1", server.port())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_was_asked_is_done_although_its_answer_is_lost() {
    let server = StandIn::builder()
        .intercept(|request| {
            let is_message = request.body.starts_with(b"{\"inputs\"");
            is_message.then(|| Reaction::Lost(Box::new(Reaction::Close)))
        })
        .start();
    let (mut client, id) = begun(&server);
    client.send(&prompt(&id, "hello"));
    assert_eq!(client.rest(), "");
    assert!(server.generating().contains(&id));
    Client::of(&server).ask(&post(&format!("/conversation/{id}/stop-generating"), ""));
    assert_eq!(server.generating(), [""; 0]);
}

#[test]
fn a_generation_goes_on_when_its_connection_ends() {
    let plan = |prompt: &str| {
        let reaction = || Act::React(Reaction::AnswerAndClose(b"junk".to_vec()));
        match prompt {
            "early" => Plan::bytes(vec![frame::token(0, "a")]).then([reaction()]),
            _ => Plan::tokens(["a"]).then([reaction()]),
        }
    };
    let server = StandIn::builder().plan(plan).start();
    for (when, goes_on) in [("early", true), ("late", false)] {
        let (mut client, id) = begun(&server);
        client.send(&prompt(&id, when));
        assert!(client.rest().ends_with("\r\njunk"));
        assert_eq!(server.generating().contains(&id), goes_on, "{when}");
    }
}
