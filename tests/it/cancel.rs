//! A cancel handle ends every wait of a call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{CancelHandle, Client, Error, ErrorKind, Request, Step};

use crate::stand_in::{Act, Plan, Reaction, StandIn, frame};
use crate::support::{
    ENDLESS, EVERY, GREETING, PROMPT, always, assert_nothing_left, builder, client, each, step_of,
};

/// Returns the error of a call that is cancelled after `wait`. Checks that it ends soon.
fn cancelled(
    handle: &CancelHandle,
    wait: impl FnOnce(),
    call: impl FnOnce() -> Error + Send,
) -> Error {
    let (error, took) = thread::scope(|scope| {
        let call = scope.spawn(|| (call(), Instant::now()));
        wait();
        let stopped = Instant::now();
        handle.cancel();
        let (error, ended) = call.join().unwrap();
        (error, ended - stopped)
    });
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    error
}

#[test]
fn a_cancel_ends_every_wait_of_a_reply() {
    each(EVERY, |kind| {
        for prompt in ["/silent", "/hang", ENDLESS] {
            let server = kind.start();
            let client = client(&server);
            let handle = CancelHandle::default();
            let request = Request::new(prompt).cancel_handle(&handle);
            let (begin, opening) = mpsc::channel();
            let wait = || match prompt {
                "/silent" => server.wait_for("the generation", |counts| counts.running == 1),
                _ => opening.recv().unwrap(),
            };
            let call = || {
                let tokens = client.stream(request)?;
                begin.send(()).unwrap();
                tokens.text()
            };
            let error = cancelled(&handle, wait, || call().unwrap_err());
            // A current server begins its reply before its model does.
            if prompt != "/silent" {
                assert_eq!(error.step(), Step::ReadReply, "{kind:?} {prompt}");
            } else if !kind.begins_at_once() {
                assert_eq!(error.step(), Step::SendMessage, "{kind:?} {prompt}");
            }
            assert_eq!(error.undeleted(), None, "{kind:?} {prompt}");
            if kind.stops {
                assert_nothing_left(&server);
                assert_eq!(server.counts().stopped, 1, "{kind:?} {prompt}");
            }
            // The pooled connections still work.
            assert_eq!(client.ask("hello").unwrap(), GREETING, "{kind:?}");
        }
    });
}

#[test]
fn a_cancel_ends_the_wait_for_the_head() {
    let server = always(Step::SendMessage, || Reaction::NoResponse);
    let (client, handle) = (client(&server), CancelHandle::default());
    let request = Request::new("hello").cancel_handle(&handle);
    let wait = || server.wait_for("the message", |counts| counts.requests == 3);
    let error = cancelled(&handle, wait, || client.ask(request).unwrap_err());
    assert_eq!(error.step(), Step::SendMessage);
    assert_nothing_left(&server);
}

#[test]
fn a_client_wide_cancel_ends_every_call() {
    type Call = fn(&Client) -> Result<(), Error>;
    let is_list = |request: &crate::stand_in::Request| request.method == "GET";
    let calls: [(Step, Call); 4] = [
        (Step::ListModels, |client| client.list_models().map(drop)),
        (Step::ListConversations, |client| client.list_conversations().map(drop)),
        (Step::ReadHistory, |client| client.resume("a-conversation")?.messages().map(drop)),
        (Step::SendMessage, |client| client.ask("/silent").map(drop)),
    ];
    for (step, call) in calls {
        let (asked, requested) = mpsc::channel();
        let server = StandIn::builder().intercept(move |request| {
            if is_list(request) || step_of(request) == Some(Step::SendMessage) {
                // Nobody receives the later requests.
                let _ = asked.send(());
            }
            is_list(request).then_some(Reaction::NoResponse)
        });
        let server = server.start();
        let handle = CancelHandle::default();
        let client = builder(&server).cancel_handle(&handle).build().unwrap();
        let wait = || requested.recv().unwrap();
        let error = cancelled(&handle, wait, || call(&client).unwrap_err());
        assert_eq!(error.step(), step, "{error}");
        assert_nothing_left(&server);
        // Later calls fail at once.
        let requests = server.counts().requests;
        let error = call(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert_eq!(server.counts().requests, requests);
    }
}

#[test]
fn an_external_flag_cancels() {
    let server = StandIn::start();
    let client = client(&server);
    let flag = Arc::new(AtomicBool::new(false));
    let request = Request::new(ENDLESS).cancel_handle(&CancelHandle::from(Arc::clone(&flag)));
    let mut tokens = client.stream(request).unwrap();
    tokens.next().unwrap().unwrap();
    flag.store(true, Ordering::SeqCst);
    let error = tokens.find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_nothing_left(&server);
}

#[test]
fn a_cancel_works_in_the_middle_of_a_line() {
    let half = b"data:{\"token\":{\"id\":1,\"te".to_vec();
    let plan = move |prompt: &str| match prompt {
        "cut" => Plan::bytes(vec![frame::token(0, "a"), half.clone()]).then([Act::Hang]),
        other => Plan::for_prompt(other),
    };
    let server = StandIn::builder().plan(plan).start();
    let client = client(&server);
    let handle = CancelHandle::default();
    let mut tokens = client.stream(Request::new("cut").cancel_handle(&handle)).unwrap();
    assert_eq!(tokens.next().unwrap().unwrap(), "a");
    // Nothing shows when the call waits, but a cancel works at any time.
    let wait = || thread::sleep(Duration::from_millis(100));
    let error = cancelled(&handle, wait, || tokens.next().unwrap().unwrap_err());
    assert_eq!(error.step(), Step::ReadReply);
    assert_nothing_left(&server);
    let connections = server.counts().connections;
    assert_eq!(client.ask("hello").unwrap(), GREETING);
    // The connection of the stop and the deletion is reused.
    assert_eq!(server.counts().connections, connections);
}

#[test]
fn a_cancel_comes_before_a_buffered_token() {
    let server = StandIn::start();
    let client = client(&server);
    let handle = CancelHandle::default();
    let mut tokens = client.stream(Request::new("/count 1000").cancel_handle(&handle)).unwrap();
    tokens.next().unwrap().unwrap();
    handle.cancel();
    assert_eq!(tokens.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn nothing_is_sent_after_a_cancel() {
    let server = StandIn::start();
    let client = client(&server);
    let handle = CancelHandle::default();
    handle.cancel();
    assert_eq!(
        client.ask(Request::new("hello").cancel_handle(&handle)).unwrap_err().kind(),
        ErrorKind::Cancelled
    );
    assert_eq!(server.counts().requests, 0);
}
