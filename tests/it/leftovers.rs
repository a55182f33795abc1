//! The client remembers conversations that it could not delete, and reports a creation without a
//! response.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, ErrorKind, Step};

use crate::stand_in::{self, Reaction, StandIn};
use crate::support::{
    always, assert_failed, assert_nothing_left, builder, client, response, step_of,
};

fn unavailable() -> Reaction {
    response("503 Busy", "retry-after: 60\r\n", "")
}

/// A server that reacts like this to deletions and stops while the flag is set.
fn troubled(reaction: fn() -> Reaction) -> (StandIn, Client, Arc<AtomicBool>) {
    let trouble = Arc::new(AtomicBool::new(true));
    let is_troubled = Arc::clone(&trouble);
    let intercept = move |request: &stand_in::Request| {
        let is_cleanup =
            matches!(step_of(request), Some(Step::DeleteConversation | Step::StopGeneration));
        (is_cleanup && is_troubled.load(Ordering::Relaxed)).then(reaction)
    };
    let server = StandIn::builder().intercept(intercept).start();
    let limited = builder(&server).cleanup_timeout(Duration::from_millis(500));
    let client = limited.build().unwrap();
    (server, client, trouble)
}

#[test]
fn leftovers_are_named_and_deleted_later() {
    let reactions: [fn() -> Reaction; 3] =
        [unavailable, || Reaction::NoResponse, || Reaction::Close];
    let walk = |reaction| {
        let (server, client, trouble) = troubled(reaction);
        assert_eq!(client.leftovers(), [""; 0]);
        // A dropped reply, a complete one, and one with an error.
        drop(client.stream("/slow").unwrap());
        client.ask("hello").unwrap();
        let error = client.ask("/error-event").unwrap_err();
        let left = client.clone().leftovers();
        assert_eq!(left, server.conversations());
        assert_eq!(error.undeleted(), Some(left[2].as_str()));
        assert!(error.to_string().contains(&left[2]), "{error}");

        let error = client.delete_leftovers().unwrap_err();
        assert_eq!(error.step(), Step::DeleteConversation);
        let mut still_left = client.leftovers();
        still_left.sort();
        assert_eq!(still_left, left);

        trouble.store(false, Ordering::Relaxed);
        assert_eq!(client.delete_leftovers().unwrap(), 3);
        assert_eq!(client.leftovers(), [""; 0]);
        // The first stop had failed as well.
        assert_nothing_left(&server);
        assert_eq!(client.delete_leftovers().unwrap(), 0);
    };
    thread::scope(|scope| {
        for reaction in reactions {
            scope.spawn(move || walk(reaction));
        }
    });
}

#[test]
fn one_failed_deletion_leaves_the_other_leftovers_deleted() {
    let allowed = Arc::new(Mutex::new(Vec::new()));
    let allows = Arc::clone(&allowed);
    let intercept = move |request: &stand_in::Request| {
        let refuse = request.method == "DELETE" && !allows.lock().unwrap().contains(&request.path);
        refuse.then(unavailable)
    };
    let server = StandIn::builder().intercept(intercept).start();
    let client = client(&server);
    for _ in 0..3 {
        client.ask("hello").unwrap();
    }
    let left = client.leftovers();
    // The second can be deleted now, and another client has deleted the third.
    let paths = left[1..].iter().map(|id| format!("/conversation/{id}"));
    allowed.lock().unwrap().extend(paths);
    server.forget(&left[2]);
    let error = client.delete_leftovers().unwrap_err();
    assert_eq!(error.undeleted(), Some(left[0].as_str()));
    assert_eq!(client.leftovers(), left[..1]);
    assert_eq!(server.conversations(), left[..1]);
}

#[test]
fn a_lost_creation_response_sets_maybe_undeleted() {
    const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"co";
    let cases: [(fn() -> Reaction, bool); 5] = [
        (|| Reaction::Close, true),
        (|| Reaction::NoResponse, true),
        (|| Reaction::ResponseAndClose(CUT.into()), true),
        (|| response("504 Gateway Timeout", "", ""), true),
        (|| response("500 Oh", "", ""), false),
    ];
    let walk = |(reaction, may_be_left): (fn() -> Reaction, bool)| {
        let server = always(Step::CreateConversation, reaction);
        let limited = builder(&server).idle_timeout(Duration::from_secs(1));
        let limited = limited.cleanup_timeout(Duration::from_millis(100));
        let error = limited.build().unwrap().ask("hello").unwrap_err();
        assert_eq!(error.step(), Step::CreateConversation);
        assert_eq!(error.maybe_undeleted(), may_be_left, "{error}");
        let is_said = error.to_string().contains("may be left in the session");
        assert_eq!(is_said, may_be_left, "{error}");
        assert_eq!(error.undeleted(), None);
    };
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || walk(case));
        }
    });

    let error = Client::new("http://127.0.0.1:1").unwrap();
    let error = error.ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Connect, Step::PostSettings);
    assert!(!error.maybe_undeleted(), "{error}");
}
