//! A conversation that could not be deleted is not forgotten; one whose creation was not answered is spoken of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use h2o_chat::{Client, ErrorKind, Step};

mod stand_in;

use stand_in::{Reaction, StandIn};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// A server that reacts like this to deletions and stops, until it is told not to.
fn troubled(reaction: fn() -> Reaction) -> (StandIn, Client, Arc<AtomicBool>) {
    let trouble = Arc::new(AtomicBool::new(true));
    let is_troubled = Arc::clone(&trouble);
    let intercept = move |request: &stand_in::Request| {
        let is_cleanup = request.method == "DELETE" || request.path.ends_with("/stop-generating");
        (is_cleanup && is_troubled.load(Ordering::Relaxed)).then(reaction)
    };
    let server = StandIn::builder().intercept(intercept).start();
    let client = Client::builder(&server.url())
        .cleanup_budget(Duration::from_millis(200))
        .build()
        .unwrap();
    (server, client, trouble)
}

#[test]
fn what_could_not_be_deleted_is_named_and_swept_later() {
    let reactions: [fn() -> Reaction; 3] = [
        || Reaction::Answer(UNAVAILABLE.into()),
        || Reaction::Silence,
        || Reaction::Close,
    ];
    for reaction in reactions {
        let (server, client, trouble) = troubled(reaction);
        assert_eq!(client.leftovers(), [""; 0]);
        // Dropped early, asked whole, and ended by an error.
        drop(client.generate("/slow").unwrap());
        client.ask("hello").unwrap();
        let error = client.ask("/error-event").unwrap_err();
        let left = client.clone().leftovers();
        assert_eq!(left, server.conversations());
        assert_eq!(error.undeleted(), Some(left[2].as_str()));

        let error = client.sweep().unwrap_err();
        assert_eq!(error.step(), Step::Delete);
        let mut still_left = client.leftovers();
        still_left.sort();
        assert_eq!(still_left, left);

        trouble.store(false, Ordering::Relaxed);
        assert_eq!(client.sweep().unwrap(), 3);
        assert_eq!(client.leftovers(), [""; 0]);
        // The generation could not be stopped at first either.
        server.wait_for("nothing to be left", |counts| {
            counts.conversations + counts.running == 0
        });
        assert_eq!(client.sweep().unwrap(), 0);
    }
}

#[test]
fn a_refused_deletion_does_not_keep_the_others_from_being_swept() {
    let allowed = Arc::new(Mutex::new(Vec::new()));
    let allows = Arc::clone(&allowed);
    let intercept = move |request: &stand_in::Request| {
        let refuse = request.method == "DELETE" && !allows.lock().unwrap().contains(&request.path);
        refuse.then(|| Reaction::Answer(UNAVAILABLE.into()))
    };
    let server = StandIn::builder().intercept(intercept).start();
    let client = Client::new(&server.url()).unwrap();
    for _ in 0..3 {
        client.ask("hello").unwrap();
    }
    let left = client.leftovers();
    // The second can be deleted now, and the third is gone without us.
    let paths = left[1..].iter().map(|id| format!("/conversation/{id}"));
    allowed.lock().unwrap().extend(paths);
    server.forget(&left[2]);
    let error = client.sweep().unwrap_err();
    assert_eq!(error.undeleted(), Some(left[0].as_str()));
    assert_eq!(client.leftovers(), left[..1]);
    assert_eq!(server.conversations(), left[..1]);
}

#[test]
fn a_creation_whose_answer_is_lost_says_that_a_conversation_may_be_left() {
    const CUT: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"co";
    const GATEWAY: &str = "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n";
    const REFUSED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let cases: [(fn() -> Reaction, bool); 5] = [
        (|| Reaction::Close, true),
        (|| Reaction::Silence, true),
        (|| Reaction::AnswerAndClose(CUT.into()), true),
        (|| Reaction::Answer(GATEWAY.into()), true),
        (|| Reaction::Answer(REFUSED.into()), false),
    ];
    for (reaction, may_be_left) in cases {
        let server = StandIn::builder()
            .intercept(move |request| (request.path == "/conversation").then(reaction))
            .start();
        let client = Client::builder(&server.url())
            .silence_timeout(Duration::from_millis(100))
            .cleanup_budget(Duration::from_millis(100))
            .build()
            .unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_eq!(error.step(), Step::Conversation);
        assert_eq!(error.maybe_undeleted(), may_be_left, "{error}");
        assert_eq!(
            error.to_string().contains("may be left in the session"),
            may_be_left,
            "{error}"
        );
        assert_eq!(error.undeleted(), None);
    }

    let error = Client::new("http://127.0.0.1:1").unwrap();
    let error = error.ask("hello").unwrap_err();
    assert_eq!(
        (error.kind(), error.maybe_undeleted()),
        (ErrorKind::Connect, false)
    );
}
