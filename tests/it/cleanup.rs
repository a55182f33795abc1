//! Every end of a reply stops its generation and deletes its conversation.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use h2o_chat::{CancelHandle, ErrorKind, Request, Step, Timeout, Tokens};

use crate::stand_in::{self, Reaction, StandIn};
use crate::support::{
    ALL, ENDLESS, GREETING, always, assert_failed, assert_nothing_left,
    assert_stopped_then_deleted, builder, client, count, each, response, step_of, timed,
};

#[test]
fn an_early_end_stops_then_deletes() {
    let ends: [fn(Tokens<'static>); 4] = [
        drop,
        |tokens| tokens.cancel().unwrap(),
        |mut tokens| {
            let _ = tokens.by_ref().nth(2);
        },
        |tokens| {
            let panicking = move || {
                let _tokens = tokens;
                panic!("on purpose");
            };
            catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
        },
    ];
    each(ALL, |kind| {
        for end in ends {
            let server = kind.start();
            let mut tokens = client(&server).stream(ENDLESS).unwrap();
            tokens.next().unwrap().unwrap();
            end(tokens);
            if kind.stops {
                assert_stopped_then_deleted(&server);
                assert_nothing_left(&server);
                assert_eq!(server.counts().stopped, 1, "{kind:?}");
            } else {
                server.wait_for("the deletion", |counts| counts.conversations == 0);
                assert_eq!(count(&server, Step::StopGeneration), 0, "{kind:?}");
            }
        }
    });
}

#[test]
fn a_panic_with_the_server_gone_does_not_abort() {
    let server = StandIn::start();
    let client = client(&server);
    let tokens = client.stream(ENDLESS).unwrap();
    drop(server);
    let panicking = move || {
        let _tokens = tokens;
        panic!("on purpose");
    };
    catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
}

#[test]
fn a_reply_in_a_thread_local_is_deleted_when_the_thread_ends() {
    use std::cell::RefCell;
    thread_local!(static HELD: RefCell<Option<Tokens<'static>>> = const { RefCell::new(None) });
    let server = StandIn::start();
    let client = client(&server);
    let thread = thread::spawn(move || {
        let tokens = client.stream(ENDLESS).unwrap();
        HELD.with(|held| *held.borrow_mut() = Some(tokens));
    });
    thread.join().unwrap();
    assert_stopped_then_deleted(&server);
}

#[test]
fn deleting_by_id_stops_the_generation_of_a_killed_process() {
    let server = StandIn::start();
    let killed = client(&server);
    let tokens = killed.stream(ENDLESS).unwrap();
    let id = tokens.conversation_id().to_owned();
    // Like a signal, this runs no destructor.
    mem::forget(tokens);

    let later = builder(&server).session(killed.session());
    later.build().unwrap().delete_conversation(&id).unwrap();
    assert_stopped_then_deleted(&server);
}

#[test]
fn deleting_a_deleted_conversation_succeeds() {
    let server = StandIn::start();
    let mut tokens = client(&server).stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    server.forget(tokens.conversation_id());
    tokens.cancel().unwrap();

    let mut tokens = client(&server).stream("hello").unwrap();
    server.forget(tokens.conversation_id());
    assert!(tokens.all(|token| token.is_ok()));
}

#[test]
fn a_failed_deletion_is_the_last_item() {
    let server = always(Step::DeleteConversation, || response("500 Oh", "", ""));
    let client = client(&server);
    let mut tokens = client.stream("/count 3").unwrap();
    let items: Vec<_> = tokens.by_ref().collect();
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 3);
    let error = items.into_iter().next_back().unwrap().unwrap_err();
    assert_failed(&error, ErrorKind::Status, Step::DeleteConversation);
    assert_eq!(error.undeleted(), Some(server.conversations()[0].as_str()));
    // The reply itself is complete.
    assert!(tokens.end().is_some());
    assert!(tokens.next().is_none());
    drop(tokens);
    assert_eq!(count(&server, Step::DeleteConversation), 1);
}

#[test]
fn a_conversation_is_deleted_in_the_session_that_created_it() {
    let other_session = |request: &stand_in::Request| {
        let is_other = request.path == "/settings" && request.form()[3].1 == "other/model";
        is_other.then(|| response("303 See Other", "set-cookie: hf-chat=other\r\n", ""))
    };
    let server = StandIn::builder().intercept(other_session).start();
    let client = client(&server);
    let tokens = client.stream(ENDLESS).unwrap();
    let session = client.session();
    client.ask(Request::new("hello").model("other/model")).unwrap_err();
    assert_eq!(client.session().as_str(), "other");
    drop(tokens);
    assert_nothing_left(&server);
    let delete = server.requests().pop().unwrap();
    assert_eq!(delete.header("cookie"), Some(format!("hf-chat={}", session.as_str()).as_str()));
    // The responses to the deletion have the old session, which the client must not adopt.
    assert_eq!(client.session().as_str(), "other");
}

#[test]
fn a_conversation_created_during_a_cancel_is_deleted() {
    const TOTAL_TIMEOUT: Duration = Duration::from_secs(1);
    for by_stop in [true, false] {
        let (asked, opening) = mpsc::channel();
        let (proceed, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let slow = move |request: &stand_in::Request| {
            if step_of(request) == Some(Step::CreateConversation) {
                asked.send(()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
            None
        };
        let server = StandIn::builder().intercept(slow).start();
        let (client, handle) = (client(&server), CancelHandle::default());
        let (request, expected) = if by_stop {
            (Request::new("hello").cancel_handle(&handle), ErrorKind::Cancelled)
        } else {
            let limited = Request::new("hello").total_timeout(TOTAL_TIMEOUT);
            (limited, ErrorKind::Timeout(Timeout::Total))
        };
        let error = thread::scope(|scope| {
            let call = scope.spawn(|| client.ask(request).unwrap_err());
            opening.recv().unwrap();
            if by_stop {
                handle.cancel();
            } else {
                // No event marks the deadline.
                thread::sleep(TOTAL_TIMEOUT);
            }
            proceed.send(()).unwrap();
            call.join().unwrap()
        });
        assert_eq!((error.kind(), error.undeleted()), (expected, None));
        let counts = server.counts();
        assert_eq!((counts.created, counts.conversations), (1, 0));
    }
}

#[test]
fn the_cleanup_timeout_limits_the_wait_for_a_new_conversation() {
    const TOTAL_TIMEOUT: Duration = Duration::from_secs(1);
    const CLEANUP_TIMEOUT: Duration = Duration::from_millis(300);
    let server = always(Step::CreateConversation, || Reaction::NoResponse);
    let limited = builder(&server).total_timeout(TOTAL_TIMEOUT).cleanup_timeout(CLEANUP_TIMEOUT);
    let client = limited.build().unwrap();
    let (error, took) = timed(|| client.ask("hello").unwrap_err());
    assert_failed(&error, ErrorKind::Timeout(Timeout::Total), Step::CreateConversation);
    assert!(took >= TOTAL_TIMEOUT + CLEANUP_TIMEOUT, "{took:?}");
}

#[test]
fn a_cancelled_call_still_deletes_its_conversation() {
    let server = StandIn::start();
    let handle = CancelHandle::default();
    let mut tokens = client(&server).stream(Request::new(ENDLESS).cancel_handle(&handle)).unwrap();
    tokens.next().unwrap().unwrap();
    handle.cancel();
    let error = tokens.next().unwrap().unwrap_err();
    let seen = (error.kind(), error.undeleted());
    assert_eq!(seen, (ErrorKind::Cancelled, None));
    assert_stopped_then_deleted(&server);
    assert!(tokens.next().is_none());
}

#[test]
fn a_failed_write_ends_the_reply() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                Some(left) => self.0 = left,
                None => return Err(io::ErrorKind::StorageFull.into()),
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = StandIn::start();
    let mut tokens = client(&server).stream(ENDLESS).unwrap();
    let error = tokens.write_to(Full(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_stopped_then_deleted(&server);
    assert!(tokens.next().is_none());
}

#[test]
fn write_to_writes_the_whole_reply() {
    let server = StandIn::start();
    let mut text = Vec::new();
    let mut tokens = client(&server).stream("hello").unwrap();
    tokens.write_to(&mut text).unwrap();
    assert_eq!(text, GREETING.as_bytes());
    assert!(tokens.end().is_some());
}
