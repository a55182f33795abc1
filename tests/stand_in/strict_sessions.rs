//! Who is let in, and what a session sees of itself.

use crate::raw_client::{
    COOKIE, Client, HELLO, NODE, begun, chunked, empty_success, hook, message, post, settings,
    stream_head,
};
use crate::stand_in::StandIn;

const MODEL: &str = "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1";
const FORM: &str = "ethicsModalAccepted=true&shareConversationsWithModelAuthors=true&ethicsModalAcceptedAt=&activeModel=h2oai%2Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1&searchEnabled=true";
const OWN: &str = "\nReferer: http://{host}/";
const LIST: &str = "GET /__data.json\nAccept: */*";
const LISTING: &str = r#"{"type":"data","nodes":[{"type":"data","data":[{"conversations":1,"settings":6,"models":11,"oldModels":25,"user":-1,"requiresLogin":9,"messagesBeforeLogin":26},[2],{"id":3,"title":4,"model":5},"6b0485fc877c3227c1a46522","Untitled 1","h2oai\u002Fh2ogpt-gm-oasst1-en-2048-falcon-40b-v1",{"shareConversationsWithModelAuthors":7,"ethicsModalAcceptedAt":8,"activeModel":5,"searchEnabled":9,"customPrompts":10},true,["Date","2026-11-23T18:29:16.416Z"],false,{},[12,23],{"id":5,"name":5,"websiteUrl":13,"modelUrl":-1,"datasetName":14,"datasetUrl":-1,"displayName":5,"description":15,"promptExamples":-1,"parameters":16,"preprompt":-1},"https:\u002F\u002Fh2o.ai","OpenAssistant\u002Foasst1","fake",{"temperature":17,"truncate":18,"max_new_tokens":19,"stop":20,"repetition_penalty":22},0.4,2048,1024,[21],"\u003C|endoftext|\u003E",1.2,{"id":24,"name":24,"websiteUrl":-1,"modelUrl":-1,"datasetName":-1,"datasetUrl":-1,"displayName":24,"description":-1,"promptExamples":-1,"parameters":-1,"preprompt":-1},"OpenAssistant\u002Fsecond-model",[],0],"uses":{"dependencies":["conversation:list"],"url":1}},null]}
"#;

#[test]
fn the_listing_is_as_recorded() {
    let models = [MODEL, "OpenAssistant/second-model"];
    let server = StandIn::builder().models(&models).start();
    let mut client = Client::of(&server);
    client.ask(&settings(OWN, FORM));
    let model = format!(r#"{{"model": "{MODEL}"}}"#);
    client.ask(&post("/conversation", &model));
    let id = &server.conversations()[0];
    let body = LISTING.replace("6b0485fc877c3227c1a46522", id);
    let expected = format!(
        "HTTP/1.1 200 OK\r\ncache-control: private, no-store\r\ncontent-length: 1096\r\n\
         content-type: application/json\r\n{COOKIE}{NODE}\r\n{body}"
    );
    assert_eq!(client.ask(LIST), expected);
    assert_eq!(server.counts().pages, 0);
}

#[test]
fn a_session_lists_its_own_and_the_newest_first() {
    let server = StandIn::builder().base_path("/chat").start();
    let mut client = Client::of(&server);
    let list = |session| format!("GET /chat/__data.json?x=1\nCookie: hf-chat={session}");
    let new = client.ask(&list("new"));
    let nothing = r#"[],{"shareConversationsWithModelAuthors":3,"ethicsModalAcceptedAt":4,"activeModel":5,"searchEnabled":6,"customPrompts":7},true,null,"#;
    assert!(new.contains(nothing), "{new}");

    let form = "ethicsModalAccepted=true&activeModel=other%2Fmodel";
    client.ask(&settings(OWN, form).replace("/settings", "/chat/settings"));
    let create = post("/chat/conversation", r#"{"model": "other/model"}"#);
    client.ask(&create);
    client.ask(&create);
    let [first, second] = &server.conversations()[..] else {
        panic!("there are two")
    };
    let own = client.ask(&list("me"));
    let both = format!(
        r#"[2,6],{{"id":3,"title":4,"model":5}},"{second}","Untitled 2","other\u002Fmodel",{{"id":7,"title":8,"model":5}},"{first}","Untitled 1","#
    );
    assert!(own.contains(&both), "{own}");
    assert_eq!(client.ask(&list("new")), new);
    client.ask("GET /chat/");
    assert_eq!(server.counts().pages, 1);
}

#[test]
fn without_its_origin_a_server_wants_an_https_referer() {
    let server = StandIn::builder().https_referer().start();
    let mut client = Client::of(&server);
    let location = format!("https://127.0.0.1:{}/", server.port());
    let refused = hook(
        "403 Forbidden",
        "text/plain",
        "Invalid referer for POST request",
    );
    assert_eq!(client.ask(&settings(OWN, FORM)), refused);
    let https = "\nReferer: https://{host}/";
    let redirect = format!(r#"{{"type":"redirect","status":303,"location":"{location}"}}"#);
    let answer = client.ask(&settings(https, FORM));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(&redirect), "{answer}");
    let headers = format!("location: {location}\r\n{COOKIE}");
    assert_eq!(
        client.ask(&settings(&format!("{https}\nAccept: text/html"), FORM)),
        chunked("303 See Other", &headers, "")
    );
}

#[test]
fn a_login_wall_is_before_everything_but_the_login() {
    let server = StandIn::builder()
        .base_path("/chat")
        .requires_login()
        .start();
    let mut client = Client::of(&server);
    let wall = format!(
        "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: {}/login\r\n{NODE}\r\n",
        server.url()
    );
    for request in [
        settings(OWN, FORM),
        settings("", FORM),
        post("/conversation", r#"{"model": "other/model"}"#),
        LIST.to_string(),
        "GET /nowhere".to_string(),
        "POST /login".to_string(),
        "DELETE /conversation/0123".to_string(),
    ] {
        let request = request.replacen(" /", " /chat/", 1);
        assert_eq!(client.ask(&request), wall, "{request}");
    }
    let login = client.ask("GET /chat/login");
    assert!(login.starts_with("HTTP/1.1 200 OK\r\n"), "{login}");
    assert_eq!(server.counts().created, 0);
}

#[test]
fn a_forgotten_session_has_its_conversations_again_after_its_settings() {
    let server = StandIn::start();
    let (mut client, id) = begun(&server);
    let text = "You need to accept the welcome modal first";
    let json = format!(r#"{{"error":"{text}"}}"#);
    let hello = message(&id, HELLO);
    let stop = format!("POST /conversation/{id}/stop-generating\nAccept: */*");
    let delete = format!("DELETE /conversation/{id}\nAccept: */*");
    server.forget_sessions();
    let refused = |media, text| hook("405 Method Not Allowed", media, text);
    for _ in 0..2 {
        assert_eq!(client.ask(&hello), refused("application/json", &json));
        assert_eq!(client.ask(&stop), refused("text/plain", text));
        assert_eq!(client.ask(&delete), refused("text/plain", text));
        // They are known again only with the acceptance among them.
        client.ask(&settings(OWN, "activeModel=other%2Fmodel"));
    }
    let listing = client.ask(LIST);
    assert!(
        listing.contains(&id) && listing.contains("false,null,{}"),
        "{listing}"
    );

    client.ask(&settings(OWN, FORM));
    assert!(client.ask(&hello).starts_with(&stream_head()));
    assert_eq!(client.ask(&stop), empty_success());
    assert_eq!(client.ask(&delete), empty_success());
    assert_eq!(server.counts().conversations, 0);
}
