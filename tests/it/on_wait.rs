//! The callback of a request is called while the call waits, and may end it.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, Error, ErrorKind, Request, Step, Wait};

use crate::stand_in::{Act, Plan, Reaction, StandIn};
use crate::support::{
    CLASSIC, ENDLESS, EVERY, GREETING, always, assert_nothing_left, builder, busy, client, count,
    each, step_of,
};

/// No two calls of the callback come sooner.
const INTERVAL: Duration = Duration::from_millis(100);

const MESSAGE: &str = "the callback panics";

/// Passes steps from a callback to the test.
fn steps() -> (impl Fn(Step) + Send + Sync + 'static, Receiver<Step>) {
    let (sender, receiver) = mpsc::channel();
    (move |step| sender.send(step).unwrap(), receiver)
}

/// A classic server whose reply waits until something is sent, or until the sender is dropped.
fn gated() -> (StandIn, Sender<()>) {
    let (open, gate) = mpsc::channel();
    let gate = Arc::new(Mutex::new(gate));
    let plan = move |prompt: &str| match prompt {
        "gated" => {
            let gate = Arc::clone(&gate);
            let wait = move || {
                let _ = gate.lock().unwrap().recv();
                Act::token(0, "open")
            };
            Plan::acts(std::iter::once_with(wait)).then([Act::Hang])
        }
        other => Plan::for_prompt(other),
    };
    (StandIn::builder().plan(plan).start(), open)
}

/// Returns the message of the panic that the call ends with.
fn panic_of(call: impl FnOnce() -> Option<Error>) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("the panic is resumed");
    (*panic.downcast_ref::<&str>().expect("the panic of the callback")).to_owned()
}

/// A request whose callback does this while the server generates. A stop that overtakes its message,
/// as it may on a busy machine, would stop nothing.
fn once_generating(
    server: &Arc<StandIn>,
    prompt: &str,
    act: impl Fn(&Wait) + Send + Sync + 'static,
) -> (Request, Receiver<Step>) {
    let (tell, told) = steps();
    let server = Arc::clone(server);
    let request = Request::new(prompt).on_wait(move |wait| {
        if !server.generating().is_empty() {
            tell(wait.step());
            act(wait);
        }
    });
    (request, told)
}

fn panicking(prompt: &str) -> (Request, Receiver<Step>) {
    let (tell, told) = steps();
    let request = Request::new(prompt).on_wait(move |wait| {
        tell(wait.step());
        panic_any(MESSAGE);
    });
    (request, told)
}

#[test]
fn the_callback_is_called_by_time_and_not_silenced_by_keep_alives() {
    // The comments come much more often than the callback, so no wait for bytes takes long.
    let comments = || {
        let pause = || Act::Wait(Duration::from_millis(5));
        std::iter::repeat_with(move || [pause(), Act::Comment]).flatten()
    };
    let plan = move |_: &str| Plan::acts([Act::token(0, "a")].into_iter().chain(comments()));
    let server = StandIn::builder().plan(plan).start();
    let waits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&waits);
    // Without the callback's cancel, the call would never end.
    let request = Request::new("hello").total_timeout(INTERVAL * 200).on_wait(move |wait| {
        let mut seen = seen.lock().unwrap();
        seen.push((thread::current().id(), wait.step(), wait.elapsed()));
        if seen.len() == 5 {
            wait.cancel();
        }
    });
    let error = client(&server).ask(request).unwrap_err();
    assert_eq!((error.kind(), error.received()), (ErrorKind::Cancelled, "a"));
    assert_nothing_left(&server);
    let waits = waits.lock().unwrap();
    assert_eq!(waits.len(), 5, "not called again after it has cancelled");
    assert!(waits.iter().all(|(thread, ..)| *thread == thread::current().id()));
    let reading: Vec<_> = waits.iter().filter(|(_, step, _)| *step == Step::ReadReply).collect();
    assert!(!reading.is_empty(), "{waits:?}");
    for pair in reading.windows(2) {
        assert!(pair[1].2 >= pair[0].2 + INTERVAL, "{waits:?}");
    }
}

#[test]
fn a_cancel_in_the_callback_ends_the_call_in_every_wait_of_a_reply() {
    each(EVERY, |kind| {
        for prompt in ["/silent", "/hang", ENDLESS] {
            let server = Arc::new(kind.start());
            let client = client(&server);
            let (request, told) = once_generating(&server, prompt, Wait::cancel);
            let error = client.ask(request).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{kind:?} {prompt}: {error}");
            assert_eq!(error.undeleted(), None, "{kind:?} {prompt}");
            let told: Vec<Step> = told.iter().collect();
            assert_eq!(told.len(), 1, "{kind:?} {prompt}");
            if kind.stops {
                assert_nothing_left(&server);
            }
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
    });
}

#[test]
fn the_callback_is_told_the_step_that_waits() {
    for step in [Step::PostSettings, Step::CreateConversation, Step::SendMessage] {
        let server = always(step, || Reaction::NoResponse);
        let client = builder(&server).cleanup_timeout(Duration::from_millis(300)).build().unwrap();
        let (tell, told) = steps();
        // An earlier step may wait too, on a busy machine.
        let request = Request::new("hello").on_wait(move |wait| {
            tell(wait.step());
            if wait.step() == step {
                wait.cancel();
            }
        });
        let error = client.ask(request).unwrap_err();
        assert_eq!((error.kind(), error.step()), (ErrorKind::Cancelled, step));
        assert_eq!(error.maybe_undeleted(), step == Step::CreateConversation);
        assert_eq!(told.iter().last(), Some(step));
    }
}

#[test]
fn elapsed_counts_from_the_beginning_of_the_call() {
    let (server, open) = gated();
    let elapsed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&elapsed);
    let request = Request::new("gated").on_wait(move |wait| {
        let mut seen = seen.lock().unwrap();
        seen.push(wait.elapsed());
        match seen.len() {
            4 => open.send(()).unwrap(),
            8 => wait.cancel(),
            _ => {}
        }
    });
    let error = client(&server).ask(request).unwrap_err();
    assert_eq!(error.received(), "open");
    let elapsed = elapsed.lock().unwrap();
    assert!(elapsed[0] >= INTERVAL && elapsed[3] >= INTERVAL * 4, "{elapsed:?}");
    // It begins anew after the token, so it is sometimes shorter than before.
    assert!(elapsed.windows(2).any(|pair| pair[1] < pair[0]), "{elapsed:?}");
}

#[test]
fn the_pause_before_a_retry_is_a_wait() {
    let server = always(Step::SendMessage, || busy(503, "retry-after: 9\r\n"));
    let client = Client::new(&server.url()).unwrap();
    let (tell, told) = steps();
    let told_before = AtomicUsize::new(0);
    let request = Request::new("hello").on_wait(move |wait| {
        tell(wait.step());
        if wait.step() == Step::SendMessage && told_before.fetch_add(1, Ordering::Relaxed) > 1 {
            wait.cancel();
        }
    });
    let error = client.ask(request).unwrap_err();
    assert_eq!((error.kind(), error.step()), (ErrorKind::Cancelled, Step::SendMessage));
    assert_eq!(count(&server, Step::SendMessage), 1);
    assert!(told.iter().filter(|step| *step == Step::SendMessage).count() > 1);
    assert_nothing_left(&server);
}

#[test]
fn the_wait_for_a_stopped_generation_is_a_wait() {
    let server = CLASSIC.builder().stop_delay(INTERVAL * 5).start();
    let client = client(&server);
    let mut chat = client.conversation().unwrap();
    let mut tokens = chat.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    drop(tokens);
    let sent = count(&server, Step::SendMessage);
    let (tell, told) = steps();
    let request = Request::new("hello").on_wait(move |wait| {
        tell(wait.step());
        wait.cancel();
    });
    let error = chat.ask(request).unwrap_err();
    assert_eq!((error.kind(), error.step()), (ErrorKind::Cancelled, Step::SendMessage));
    assert_eq!(told.iter().collect::<Vec<_>>(), [Step::SendMessage]);
    assert_eq!(count(&server, Step::SendMessage), sent);
}

#[test]
fn the_callback_may_make_calls_of_its_own() {
    for is_same in [true, false] {
        let (server, open) = gated();
        let client = client(&server);
        let other = if is_same { client.clone() } else { builder(&server).build().unwrap() };
        let (tell, told) = steps();
        let done = Mutex::new(false);
        let request = Request::new("gated").on_wait(move |wait| {
            tell(wait.step());
            let mut done = done.lock().unwrap();
            if *done {
                return wait.cancel();
            }
            *done = true;
            assert_eq!(other.ask("hello").unwrap(), GREETING);
            // A call with a callback and a timeout of its own.
            let inner = Request::new("/hang").total_timeout(INTERVAL * 20);
            let inner = inner.on_wait(|wait| {
                if wait.step() == Step::ReadReply {
                    wait.cancel();
                }
            });
            assert_eq!(other.ask(inner).unwrap_err().kind(), ErrorKind::Cancelled);
            let inner = Request::new("/hang").total_timeout(INTERVAL * 3);
            assert!(matches!(other.ask(inner).unwrap_err().kind(), ErrorKind::Timeout(_)));
            open.send(()).unwrap();
        });
        // The outer call still has its own handles and timeouts.
        let error = client.ask(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(told.iter().count() >= 2);
        assert_nothing_left(&server);
        assert!(client.leftovers().is_empty());
    }
}

#[test]
fn a_panic_is_resumed_after_the_conversation_is_deleted() {
    each(EVERY, |kind| {
        for prompt in ["/silent", "/hang", ENDLESS] {
            let server = Arc::new(kind.start());
            let client = client(&server);
            let (request, told) = once_generating(&server, prompt, |_| panic_any(MESSAGE));
            assert_eq!(panic_of(|| client.ask(request).err()), MESSAGE, "{kind:?} {prompt}");
            // Deleted before the panic goes on.
            assert_eq!(server.counts().conversations, 0, "{kind:?} {prompt}");
            assert_eq!(told.iter().count(), 1, "{kind:?} {prompt}");
            if kind.stops {
                assert_nothing_left(&server);
            }
            assert!(client.leftovers().is_empty());
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
    });
}

#[test]
fn a_panic_while_the_conversation_is_created_leaves_nothing() {
    each(EVERY, |kind| {
        let (tell, told) = steps();
        let request = Request::new("hello").on_wait(move |wait| {
            if wait.step() == Step::CreateConversation {
                tell(wait.step());
                panic_any(MESSAGE);
            }
        });
        // The conversation is created after the callback has panicked.
        let told = Mutex::new(told);
        let server = kind.builder().intercept(move |request| {
            if step_of(request) == Some(Step::CreateConversation) {
                let _ = told.lock().unwrap().recv();
            }
            None
        });
        let server = server.start();
        let client = client(&server);
        assert_eq!(panic_of(|| client.ask(request).err()), MESSAGE, "{kind:?}");
        assert_eq!(count(&server, Step::CreateConversation), 1, "{kind:?}");
        assert_eq!(count(&server, Step::SendMessage), 0, "{kind:?}");
        assert_nothing_left(&server);
        assert!(client.leftovers().is_empty(), "{kind:?}");
    });
}

#[test]
fn a_panic_in_the_pause_before_a_retry_leaves_nothing() {
    let server = always(Step::SendMessage, || busy(503, "retry-after: 9\r\n"));
    let client = Client::new(&server.url()).unwrap();
    let (request, told) = panicking("hello");
    assert_eq!(panic_of(|| client.ask(request).err()), MESSAGE);
    assert_eq!(told.iter().count(), 1);
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_conversation_stays_usable_after_a_panic_in_a_turn() {
    let server = StandIn::start();
    let client = client(&server);
    let mut chat = client.conversation().unwrap();
    for prompt in ["/silent", "/hang"] {
        let (request, told) = panicking(prompt);
        assert_eq!(panic_of(|| chat.ask(request).err()), MESSAGE, "{prompt}");
        assert_eq!(told.iter().count(), 1, "{prompt}");
        assert_eq!(chat.ask("hello").unwrap(), GREETING);
    }
    drop(chat);
    assert_nothing_left(&server);
}

#[test]
fn the_callback_is_not_called_during_cleanup() {
    let (tell, told) = steps();
    // The deletion takes longer than the time between two calls.
    let server = StandIn::builder().intercept(|request| {
        if step_of(request) == Some(Step::DeleteConversation) {
            thread::sleep(INTERVAL * 4);
        }
        None
    });
    let server = server.start();
    let request = Request::new("/hang").on_wait(move |wait| tell(wait.step()));
    let mut tokens = client(&server).stream(request).unwrap();
    tokens.next().unwrap().unwrap();
    told.try_iter().for_each(drop);
    drop(tokens);
    assert_nothing_left(&server);
    assert_eq!(told.iter().count(), 0);
}

#[test]
fn the_callback_applies_to_one_call() {
    let server = StandIn::start();
    let client = client(&server);
    let mut chat = client.conversation().unwrap();
    let captured = Arc::new(());
    let held = Arc::downgrade(&captured);
    let request = Request::new("hello").on_wait(move |_| drop(Arc::clone(&captured)));
    let copy = request.clone();
    chat.ask(request).unwrap();
    assert!(held.upgrade().is_some(), "a clone of the request shares it");
    drop(copy);
    assert!(held.upgrade().is_none(), "the conversation keeps nothing of it");
    assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING);
}
