//! Limits and stops where the server begins its reply at once, whatever the model does.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, Error, ErrorKind, Limit, Request, Step, Stop};

use crate::stand_in::{self, Act, Counts, Dialect, Plan, Reaction, StandIn};
use crate::table::{
    CLASSIC, CURRENT, FORM, JSON, Kind, NEWEST, STOP, assert_nothing_left, client, count, each,
};

/// With a silence of one second and a stall of two.
fn impatient(server: &StandIn) -> Client {
    Client::builder(&server.url())
        .silence_timeout(Duration::from_secs(1))
        .stall_timeout(Duration::from_secs(2))
        .retries(0)
        .build()
        .unwrap()
}

/// What becomes of a reply that does not come, or does not go on.
fn assert_cut(kind: Kind, prompt: &str, limit: Limit, step: Step) {
    let server = kind.start();
    let error = impatient(&server).ask(prompt).unwrap_err();
    let seen = (error.kind(), error.step());
    assert_eq!(seen, (ErrorKind::Timeout(limit), step), "{kind:?} {error}");
    assert_eq!(count(&server, STOP), 1, "{kind:?} {prompt}");
    assert_eq!(server.counts().conversations, 0, "{kind:?} {prompt}");
    if kind.stops {
        assert_nothing_left(&server);
        assert_eq!(server.counts().stopped, 1, "{kind:?} {prompt}");
    }
}

#[test]
fn a_model_that_says_nothing_is_silent_or_stalls_as_its_server_has_it() {
    for prompt in ["/silent", "/hang"] {
        let before = if prompt == "/silent" {
            Step::Message
        } else {
            Step::Reply
        };
        each([CLASSIC, JSON, FORM, NEWEST], |kind| {
            match kind.dialect {
                Dialect::Classic => assert_cut(kind, prompt, Limit::Silence, before),
                Dialect::Json => assert_cut(kind, prompt, Limit::Silence, Step::Reply),
                // Lines that say nothing but that the server is there.
                _ => assert_cut(kind, prompt, Limit::Stall, Step::Reply),
            }
        });
    }
}

#[test]
fn a_deadline_ends_a_reply_in_the_middle() {
    each(CURRENT, |kind| {
        let server = kind.start();
        let request = Request::new("/slow").deadline(Duration::from_millis(500));
        let error = client(&server).ask(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Limit::Deadline), "{error}");
        assert_eq!(server.counts().conversations, 0, "{kind:?}");
        assert_eq!(count(&server, STOP), 1, "{kind:?}");
    });
}

/// What a stop does that comes when the message has been sent or, in the reply, when that has begun.
fn stopped(server: &StandIn, prompt: &str, in_reply: bool) -> Error {
    let stop = Stop::default();
    let request = Request::new(prompt).stop(&stop);
    let (begin, opening) = mpsc::channel();
    let (error, elapsed) = thread::scope(|scope| {
        let call = scope.spawn(|| {
            let tokens = client(server).generate(request)?;
            begin.send(()).unwrap();
            tokens.text()
        });
        if in_reply {
            opening.recv().unwrap();
        } else {
            let sent = |counts: &Counts| counts.requests == NEWEST.cold.len() - 1;
            server.wait_for("the message", sent);
        }
        let start = Instant::now();
        stop.stop();
        (call.join().unwrap().unwrap_err(), start.elapsed())
    });
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
    assert_eq!(error.undeleted(), None);
    assert_eq!(server.counts().conversations, 0);
    assert_eq!(count(server, STOP), 1);
    error
}

#[test]
fn a_stop_ends_the_wait_for_the_head_and_for_the_text() {
    let deaf = |request: &stand_in::Request| {
        let is_message = request.header("origin").is_some();
        is_message.then_some(Reaction::Silence)
    };
    let server = NEWEST.builder().intercept(deaf).start();
    let error = stopped(&server, "hello", false);
    assert_eq!(error.step(), Step::Message);

    for prompt in ["/silent", "/slow"] {
        let server = NEWEST.start();
        let error = stopped(&server, prompt, true);
        assert_eq!(error.step(), Step::Reply, "{prompt}");
        assert_eq!(server.counts().stopped, 1, "{prompt}");
    }
}

#[test]
fn what_is_no_line_of_a_reply_is_an_error_and_stops_the_generation() {
    for line in ["nonsense", "{}", "[]", "{\"type\":7}", "{\"token\":\"x\"}"] {
        let plan = move |_: &str| {
            let lines = [
                Act::token(0, "a"),
                Act::Send(format!("{line}\n").into_bytes()),
            ];
            Plan::acts(lines).then([Act::Hang])
        };
        let server = NEWEST.builder().plan(plan).start();
        let error = client(&server).ask("hello").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{line} {error}");
        assert_eq!(error.received(), "a", "{line} {error}");
        assert_nothing_left(&server);
        assert_eq!(server.counts().stopped, 1, "{line}");
    }
    let endless = |_: &str| {
        let pieces = (0..2048).map(|_| Act::Send(vec![b'x'; 1024]));
        Plan::acts(pieces).then([Act::Hang])
    };
    let server = NEWEST.builder().plan(endless).start();
    let error = client(&server).ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_nothing_left(&server);
}

#[test]
fn a_reply_may_be_longer_than_the_longest_line_of_a_short_one() {
    // The last line repeats the whole text, and each of these characters takes six bytes there.
    let tokens = || (0..20).map(|_| "\u{1}".repeat(100_000));
    each(CURRENT, |kind| {
        let server = kind.builder().plan(move |_| Plan::tokens(tokens())).start();
        let reply = client(&server).generate("hello").unwrap().reply().unwrap();
        assert_eq!(reply.text.len(), 2_000_000, "{kind:?}");
        assert_eq!(reply.text, reply.end.text, "{kind:?}");
    });
}
