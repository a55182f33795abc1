//! A request is retried only where nothing can be lost or doubled.

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, ClientBuilder, ErrorKind, Step};

use crate::stand_in::{Reaction, StandIn};
use crate::support::{
    ENDLESS, always, assert_failed, assert_nothing_left, at_first, busy, count, requests_of,
    response, step_of,
};

/// A client with the default number of retries.
fn builder(server: &StandIn) -> ClientBuilder {
    Client::builder(&server.url())
}

/// The steps before the first token that can be retried.
const STEPS: [Step; 3] = [Step::PostSettings, Step::CreateConversation, Step::SendMessage];

#[test]
fn a_busy_server_is_retried_at_every_step_before_the_reply() {
    for step in STEPS {
        for status in [429, 503] {
            let server = at_first(2, step, move || busy(status, "retry-after: 0\r\n"));
            assert_eq!(builder(&server).build().unwrap().ask("/count 1").unwrap(), "0 ");
            let counts = server.counts();
            assert_eq!((counts.requests, counts.created, counts.conversations), (6, 1, 0));
            assert_eq!(counts.connections, 1);
        }
    }
}

#[test]
fn the_number_of_retries_is_configurable() {
    for times in [0, 1, 3] {
        let refused = || busy(503, "retry-after: 0\r\n");
        let server = always(Step::CreateConversation, refused);
        let error = builder(&server).retries(times).build().unwrap().ask("hello").unwrap_err();
        assert_failed(&error, ErrorKind::Status, Step::CreateConversation);
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
        assert_eq!(server.counts().requests, 2 + times as usize);
    }
}

#[test]
fn idempotent_requests_are_retried_once_after_a_closed_connection() {
    let all = [
        (Step::PostSettings, "/count 1"),
        (Step::DeleteConversation, "/count 1"),
        (Step::StopGeneration, ENDLESS),
    ];
    for (step, prompt) in all {
        let server = at_first(1, step, || Reaction::Close);
        // Cleanup does not depend on the number of retries.
        let retries = u32::from(step == Step::PostSettings);
        let client = builder(&server).retries(retries).build().unwrap();
        let mut tokens = client.stream(prompt).unwrap();
        tokens.next().unwrap().unwrap();
        tokens.cancel().unwrap();
        assert_nothing_left(&server);
        assert_eq!(server.counts().created, 1);
    }
    let server = always(Step::PostSettings, || Reaction::Close);
    let error = builder(&server).build().unwrap().ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Truncated, Step::PostSettings);
    assert_eq!(server.counts().requests, 2);
}

#[test]
fn creations_and_messages_are_never_repeated() {
    for step in [Step::CreateConversation, Step::SendMessage] {
        // The settings were sent over this pooled connection. The server reads the request and
        // closes.
        let server = at_first(1, step, || Reaction::Close);
        let error = builder(&server).retries(5).build().unwrap().ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert_eq!(count(&server, step), 1);
        assert_eq!(server.counts().conversations, 0);
    }
}

#[test]
fn nothing_is_retried_after_a_token() {
    let server = StandIn::start();
    for prompt in ["/dropped", "/error-event", "/no-final"] {
        builder(&server).retries(5).build().unwrap().ask(prompt).unwrap_err();
    }
    assert_eq!(count(&server, Step::SendMessage), 3);
}

#[test]
fn lost_terms_are_accepted_again_once() {
    let server = StandIn::start();
    let client = builder(&server).build().unwrap();
    client.ask("/count 1").unwrap();
    server.forget_sessions();
    client.ask("/count 1").unwrap();
    assert_eq!(count(&server, Step::PostSettings), 2);

    // In an open conversation too.
    let mut tokens = client.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    server.forget_sessions();
    tokens.cancel().unwrap();
    assert_nothing_left(&server);
    assert_eq!(count(&server, Step::PostSettings), 3);
}

#[test]
fn terms_that_cannot_be_accepted_again_leave_a_leftover() {
    let posted = AtomicUsize::new(0);
    let server = StandIn::builder()
        .intercept(move |request| {
            let is_settings = step_of(request) == Some(Step::PostSettings);
            let again = is_settings && posted.fetch_add(1, Ordering::Relaxed) > 0;
            again.then(|| busy(502, ""))
        })
        .start();
    let client = builder(&server).build().unwrap();
    let mut tokens = client.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    server.forget_sessions();
    let error = tokens.cancel().unwrap_err();
    assert_eq!((error.step(), error.status()), (Step::DeleteConversation, Some(502)));
    assert_eq!(error.undeleted(), Some(server.conversations()[0].as_str()));
}

#[test]
fn a_session_in_the_cookie_header_is_used() {
    let server = StandIn::start();
    for (cookies, sent) in
        [("hf-chat=mine", "hf-chat=mine"), ("a=1; hf-chat=mine;b=2", "hf-chat=mine; a=1; b=2")]
    {
        let client = builder(&server).header("Cookie", cookies).build().unwrap();
        assert_eq!(client.session().as_str(), "mine");
        client.ask("/count 1").unwrap();
        let last = server.requests().pop().unwrap();
        assert_eq!(last.header("cookie"), Some(sent));
    }
}

#[test]
fn an_old_idle_connection_is_not_reused() {
    let server = StandIn::builder().idle(Duration::from_secs(60)).start();
    let client = builder(&server).build().unwrap();
    client.ask("/count 1").unwrap();
    client.ask("/count 1").unwrap();
    assert_eq!(server.counts().connections, 1);
    // Real servers close a connection after 5 idle seconds. A prompt sent just then would be lost.
    thread::sleep(Duration::from_millis(4100));
    client.ask("/count 1").unwrap();
    assert_eq!(server.counts().connections, 2);
}

#[test]
fn other_cookies_are_sent_back_to_this_server_only() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/conversation", other.local_addr().unwrap());
    let redirect = Mutex::new(Some(location));
    let server = StandIn::builder()
        .intercept(move |request| match request.path.as_str() {
            "/settings" => {
                let cookie = "set-cookie: lb=node-3; Path=/\r\n";
                Some(response("200 OK", cookie, "{\"type\":\"redirect\"}\n"))
            }
            _ => redirect.lock().unwrap().take().map(|location| {
                let location = format!("location: {location}\r\n");
                response("307 Temporary Redirect", &location, "")
            }),
        })
        .start();
    let client = builder(&server).header("Cookie", "mine=1").build().unwrap();
    client.ask("hello").unwrap_err();
    client.ask("hello").unwrap_err();
    let session = client.session();
    let expected = format!("hf-chat={}; lb=node-3; mine=1", session.as_str());
    let others = requests_of(&server, Step::CreateConversation);
    assert!(others.len() >= 2);
    for request in others {
        assert_eq!(request.header("cookie"), Some(expected.as_str()));
    }
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "a redirect was followed to another server");
}
