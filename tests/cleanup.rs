//! Nothing stays behind: a conversation is deleted, and a generation stopped, on every path.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, ErrorKind, Limit, Request, Step, Stop};

mod stand_in;

use stand_in::{Reaction, StandIn};

/// A reply that goes on until it is stopped.
const ENDLESS: &str = "/slow";

fn client(server: &StandIn) -> Client {
    Client::new(&server.url()).unwrap()
}

/// The last two requests have to be these two, on one connection that is not the reply's.
fn assert_stopped_then_deleted(server: &StandIn) {
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    let requests = server.requests();
    let [.., message, stop, delete] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(stop.path, format!("{}/stop-generating", message.path));
    assert!(stop.body.is_empty());
    assert_eq!(
        (delete.method.as_str(), &delete.path),
        ("DELETE", &message.path)
    );
    assert_ne!(stop.connection, message.connection);
    assert_eq!(stop.connection, delete.connection);
    let counts = server.counts();
    assert_eq!((counts.conversations, counts.stopped), (0, 1));
}

/// A server that never answers this request.
fn deaf_to(method: &'static str, ending: &'static str) -> StandIn {
    let silent = move |request: &stand_in::Request| {
        let is_it = request.method == method && request.path.ends_with(ending);
        is_it.then_some(Reaction::Silence)
    };
    StandIn::builder().intercept(silent).start()
}

#[test]
fn early_drop_stops_then_deletes() {
    let server = StandIn::start();
    let mut tokens = client(&server).generate(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    drop(tokens);
    assert_stopped_then_deleted(&server);
}

#[test]
fn break_stops_then_deletes() {
    let server = StandIn::start();
    for token in client(&server).generate(ENDLESS).unwrap() {
        if token.unwrap().contains('3') {
            break;
        }
    }
    assert_stopped_then_deleted(&server);
}

#[test]
fn a_panic_stops_then_deletes() {
    let server = StandIn::start();
    let client = client(&server);
    let panicking = || {
        let mut tokens = client.generate(ENDLESS).unwrap();
        tokens.next().unwrap().unwrap();
        panic!("on purpose");
    };
    catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
    assert_stopped_then_deleted(&server);
}

#[test]
fn a_panic_with_the_server_gone_does_not_abort() {
    let server = StandIn::start();
    let client = client(&server);
    let tokens = client.generate(ENDLESS).unwrap();
    drop(server);
    let panicking = move || {
        let _tokens = tokens;
        panic!("on purpose");
    };
    catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
}

#[test]
fn delete_ends_a_reply_and_has_no_error_to_show() {
    let server = StandIn::start();
    client(&server).generate(ENDLESS).unwrap().delete().unwrap();
    assert_stopped_then_deleted(&server);
}

#[test]
fn a_thread_local_that_holds_a_reply_tidies_up_when_its_thread_ends() {
    use std::cell::RefCell;
    thread_local!(static HELD: RefCell<Option<h2o_chat::Tokens<'static>>> = const { RefCell::new(None) });
    let server = StandIn::start();
    let client = client(&server);
    let thread = thread::spawn(move || {
        let tokens = client.generate(ENDLESS).unwrap();
        HELD.with(|held| *held.borrow_mut() = Some(tokens));
    });
    thread.join().unwrap();
    assert_stopped_then_deleted(&server);
}

#[test]
fn a_complete_reply_is_not_stopped() {
    let server = StandIn::start();
    let mut tokens = client(&server).generate("hello").unwrap();
    assert!(tokens.all(|token| token.is_ok()));
    // It is gone before the iterator says that it is at its end.
    assert_eq!(server.counts().conversations, 0);
    drop(tokens);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| !request.path.ends_with("stop-generating"))
    );
    assert_eq!(server.counts().requests, 4);
}

#[test]
fn keep_leaves_the_conversation_and_stops_the_generation() {
    let server = StandIn::start();
    let client = client(&server);
    let kept = client.generate(ENDLESS).unwrap().keep();
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    let id = kept.id().to_owned();
    drop(kept);
    assert_eq!(server.conversations(), [id]);

    client.generate(ENDLESS).unwrap().keep().delete().unwrap();
    assert_eq!(server.conversations().len(), 1);
}

#[test]
fn deleting_by_id_stops_what_a_killed_process_left_running() {
    let server = StandIn::start();
    let killed = client(&server);
    let tokens = killed.generate(ENDLESS).unwrap();
    let id = tokens.conversation_id().to_owned();
    // As little of it runs as after a signal.
    mem::forget(tokens);

    let later = Client::builder(&server.url()).session(killed.session());
    later.build().unwrap().delete(&id).unwrap();
    assert_stopped_then_deleted(&server);
}

#[test]
fn a_conversation_that_is_gone_already_is_as_good_as_deleted() {
    let server = StandIn::start();
    let mut tokens = client(&server).generate(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    server.forget(tokens.conversation_id());
    tokens.delete().unwrap();

    let mut tokens = client(&server).generate("hello").unwrap();
    server.forget(tokens.conversation_id());
    assert!(tokens.all(|token| token.is_ok()));
}

#[test]
fn a_deletion_that_fails_at_the_end_is_the_last_item() {
    let server = deaf_to("DELETE", "");
    let client = Client::builder(&server.url())
        .cleanup_budget(Duration::from_millis(200))
        .build()
        .unwrap();
    let mut tokens = client.generate("/count 3").unwrap();
    let items: Vec<_> = tokens.by_ref().collect();
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 3);
    let error = items.into_iter().next_back().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Timeout(Limit::Cleanup), Step::Delete)
    );
    assert_eq!(error.undeleted(), Some(server.conversations()[0].as_str()));
    // The reply itself is complete.
    assert!(tokens.end().is_some());
    assert!(tokens.next().is_none());
    drop(tokens);
    let deletes = server
        .requests()
        .into_iter()
        .filter(|request| request.method == "DELETE");
    assert_eq!(deletes.count(), 1);
}

#[test]
fn a_refused_deletion_cannot_be_made_good_by_asking_again() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let refuse = |request: &stand_in::Request| {
        (request.method == "DELETE").then(|| Reaction::Answer(answer.into()))
    };
    let server = StandIn::builder().intercept(refuse).start();
    let error = client(&server)
        .generate("hello")
        .unwrap()
        .last()
        .unwrap()
        .unwrap_err();
    assert_eq!((error.step(), error.status()), (Step::Delete, Some(503)));
    assert!(!error.is_retryable());
}

#[test]
fn a_deletion_has_succeeded_whatever_becomes_of_its_body() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok";
    let cut = |request: &stand_in::Request| {
        (request.method == "DELETE").then(|| Reaction::AnswerAndClose(answer.into()))
    };
    let server = StandIn::builder().intercept(cut).start();
    client(&server).generate(ENDLESS).unwrap().delete().unwrap();
}

#[test]
fn a_conversation_is_deleted_under_the_session_that_made_it() {
    let answer = "HTTP/1.1 303 See Other\r\ncontent-length: 0\r\nset-cookie: hf-chat=other\r\n\r\n";
    let other_session = |request: &stand_in::Request| {
        let is_other = request.path == "/settings" && request.form()[3].1 == "other/model";
        is_other.then(|| Reaction::Answer(answer.into()))
    };
    let server = StandIn::builder().intercept(other_session).start();
    let client = client(&server);
    let tokens = client.generate(ENDLESS).unwrap();
    let session = client.session();
    client
        .ask(Request::new("hello").model("other/model"))
        .unwrap_err();
    assert_eq!(client.session().as_str(), "other");
    drop(tokens);
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
    let delete = server.requests().pop().unwrap();
    assert_eq!(
        delete.header("cookie"),
        Some(format!("hf-chat={}", session.as_str()).as_str())
    );
    // The answers to that one name its session, which is not the client's any more.
    assert_eq!(client.session().as_str(), "other");
}

#[test]
fn a_conversation_that_is_being_opened_when_the_call_is_cut_is_deleted() {
    for by_stop in [true, false] {
        let (asked, opening) = mpsc::channel();
        let (proceed, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let slow = move |request: &stand_in::Request| {
            if request.path == "/conversation" {
                asked.send(()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
            None
        };
        let server = StandIn::builder().intercept(slow).start();
        let (client, stop) = (client(&server), Stop::default());
        let request = Request::new("hello").stop(&stop);
        let request = if by_stop {
            request
        } else {
            request.deadline(Duration::from_millis(100))
        };
        let error = thread::scope(|scope| {
            let call = scope.spawn(|| client.ask(request).unwrap_err());
            opening.recv().unwrap();
            if by_stop {
                stop.stop();
            } else {
                // Past the deadline.
                thread::sleep(Duration::from_millis(150));
            }
            proceed.send(()).unwrap();
            call.join().unwrap()
        });
        let expected = if by_stop {
            ErrorKind::Stopped
        } else {
            ErrorKind::Timeout(Limit::Deadline)
        };
        assert_eq!((error.kind(), error.undeleted()), (expected, None));
        let counts = server.counts();
        assert_eq!((counts.created, counts.conversations), (1, 0));
    }
}

#[test]
fn a_server_that_never_opens_the_conversation_is_waited_for_no_longer_than_the_cleanup() {
    let server = deaf_to("POST", "/conversation");
    let client = Client::builder(&server.url())
        .deadline(Duration::from_millis(200))
        .cleanup_budget(Duration::from_millis(200))
        .build()
        .unwrap();
    let start = Instant::now();
    let error = client.ask("hello").unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Timeout(Limit::Deadline), Step::Conversation)
    );
    assert!((Duration::from_millis(400)..Duration::from_secs(1)).contains(&start.elapsed()));
}

#[test]
fn a_generation_is_stopped_when_the_connection_or_a_gateway_fails() {
    const GATEWAY: &str = "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n";
    let reactions: [fn() -> Reaction; 2] =
        [|| Reaction::Answer(GATEWAY.into()), || Reaction::Close];
    let is_message = |request: &stand_in::Request| request.body.starts_with(b"{\"inputs\"");
    for reaction in reactions {
        let intercept = move |request: &stand_in::Request| is_message(request).then(reaction);
        let server = StandIn::builder().intercept(intercept).start();
        client(&server).ask("hello").unwrap_err();
        assert!(server.requests()[3].path.ends_with("/stop-generating"));
        assert_eq!(server.counts().conversations, 0);
    }
    let server = StandIn::start();
    client(&server).ask("/dropped").unwrap_err();
    assert!(server.requests()[3].path.ends_with("/stop-generating"));
}

#[test]
fn a_deletion_that_fails_does_not_lose_the_text() {
    let server = deaf_to("DELETE", "");
    let client = Client::builder(&server.url())
        .cleanup_budget(Duration::from_millis(200))
        .build()
        .unwrap();
    assert_eq!(client.ask("hello").unwrap(), " Hi there, how can I help?");
}

#[test]
fn an_error_names_the_conversation_that_could_not_be_deleted() {
    let server = deaf_to("DELETE", "");
    let client = Client::builder(&server.url())
        .cleanup_budget(Duration::from_millis(200))
        .build()
        .unwrap();
    for prompt in ["/422", "/no-final"] {
        let error = client.ask(prompt).unwrap_err();
        let left = server.conversations();
        let id = error.undeleted().unwrap().to_owned();
        assert!(left.contains(&id), "{error}");
        assert!(error.to_string().contains(&id), "{error}");
    }
    let error = client.generate(ENDLESS).unwrap().delete().unwrap_err();
    assert_eq!(error.step(), Step::Delete);
    assert!(
        server
            .conversations()
            .contains(&error.undeleted().unwrap().to_owned())
    );
}

#[test]
fn a_stop_that_is_not_answered_leaves_time_for_the_deletion() {
    let server = deaf_to("POST", "/stop-generating");
    let client = Client::builder(&server.url())
        .cleanup_budget(Duration::from_secs(1))
        .build()
        .unwrap();
    client.generate(ENDLESS).unwrap().delete().unwrap();
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_stop_of_the_caller_does_not_keep_the_conversation_from_being_deleted() {
    let server = StandIn::start();
    let stop = Stop::default();
    let mut tokens = client(&server)
        .generate(Request::new(ENDLESS).stop(&stop))
        .unwrap();
    tokens.next().unwrap().unwrap();
    stop.stop();
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.undeleted()),
        (ErrorKind::Stopped, None)
    );
    assert_stopped_then_deleted(&server);
    assert!(tokens.next().is_none());
}

#[test]
fn a_writer_that_fails_ends_the_reply() {
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
    let mut tokens = client(&server).generate(ENDLESS).unwrap();
    let error = tokens.write_to(Full(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Output);
    let source = std::error::Error::source(&error)
        .unwrap()
        .downcast_ref::<io::Error>()
        .unwrap();
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_stopped_then_deleted(&server);
    assert!(tokens.next().is_none());
}

#[test]
fn write_to_writes_the_whole_reply() {
    let server = StandIn::start();
    let mut text = Vec::new();
    let mut tokens = client(&server).generate("hello").unwrap();
    tokens.write_to(&mut text).unwrap();
    assert_eq!(text, b" Hi there, how can I help?");
    assert!(tokens.end().is_some());
}
