//! Limits and stops, wherever a call waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use h2o_chat::{Client, ClientBuilder, Error, ErrorKind, Limit, Request, Step, Stop};

mod stand_in;

use stand_in::{Act, Plan, Reaction, StandIn, frame};

/// A limit short enough for a test, and long enough to tell from another.
const SHORT: Duration = Duration::from_millis(300);

/// Within this time of a stop a call has to end.
const PROMPT: Duration = Duration::from_millis(250);

/// When a limit of this length has ended a call, tidying up included, on a busy machine too.
const IN_TIME: Duration = Duration::from_secs(1);

fn builder(server: &StandIn) -> ClientBuilder {
    Client::builder(&server.url())
}

/// A server whose replies stop in the middle of a line.
fn cut_in_mid_line() -> StandIn {
    let plan = |prompt: &str| match prompt {
        "cut" => {
            let half = b"data:{\"token\":{\"id\":1,\"te".to_vec();
            Plan::bytes(vec![frame::token(0, "a"), half]).then([Act::Hang])
        }
        other => Plan::for_prompt(other),
    };
    StandIn::builder().plan(plan).start()
}

/// The error and how long it took from the cause of it.
fn timed(call: impl FnOnce() -> Error) -> (Error, Duration) {
    let start = Instant::now();
    let error = call();
    (error, start.elapsed())
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

/// The healthy reply before and after the error in between used one connection pool that still works.
fn assert_goes_on(client: &Client) {
    assert_eq!(client.ask("hello").unwrap(), " Hi there, how can I help?");
}

/// The error of a call that is stopped after `wait`, and has to end soon after.
fn stopped(stop: &Stop, wait: impl FnOnce(), call: impl FnOnce() -> Error + Send) -> Error {
    let (error, took) = std::thread::scope(|scope| {
        let call = scope.spawn(|| (call(), Instant::now()));
        wait();
        let stopped = Instant::now();
        stop.stop();
        let (error, ended) = call.join().unwrap();
        (error, ended - stopped)
    });
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(error.kind(), ErrorKind::Stopped);
    error
}

#[test]
fn a_stop_acts_while_the_head_is_awaited() {
    let server = StandIn::start();
    let client = builder(&server).build().unwrap();
    assert_goes_on(&client);
    let stop = Stop::default();
    let request = Request::new("/silent").stop(&stop);
    let wait = || server.wait_for("the generation", |counts| counts.running == 1);
    let error = stopped(&stop, wait, || client.ask(request).unwrap_err());
    assert_eq!(error.step(), Step::Message);
    assert_nothing_left(&server);
    assert_goes_on(&client);
}

#[test]
fn a_clients_stop_ends_whatever_it_waits_for() {
    type Call = fn(&Client) -> Result<(), Error>;
    let is_list = |request: &stand_in::Request| request.method == "GET";
    let calls: [(Step, Call); 4] = [
        (Step::Models, |client| client.models().map(drop)),
        (Step::Conversations, |client| {
            client.conversations().map(drop)
        }),
        (Step::History, |client| {
            client.resume("a-conversation")?.messages().map(drop)
        }),
        (Step::Message, |client| client.ask("/silent").map(drop)),
    ];
    for (step, call) in calls {
        let (asked, silence) = mpsc::channel();
        let server = StandIn::builder().intercept(move |request| {
            if is_list(request) || request.path.starts_with("/conversation/") {
                // Of what comes later nobody wants to know.
                let _ = asked.send(());
            }
            is_list(request).then_some(Reaction::Silence)
        });
        let server = server.start();
        let stop = Stop::default();
        let client = builder(&server).stop(&stop).build().unwrap();
        let wait = || silence.recv().unwrap();
        let error = stopped(&stop, wait, || call(&client).unwrap_err());
        assert_eq!(error.step(), step, "{error}");
        assert_nothing_left(&server);
        // What comes later is not begun.
        let requests = server.counts().requests;
        let error = call(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
        assert_eq!(server.counts().requests, requests);
    }
}

#[test]
fn a_flag_that_something_else_sets_is_a_stop() {
    let server = StandIn::start();
    let client = builder(&server).build().unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    let request = Request::new("/slow").stop(&Stop::from(Arc::clone(&flag)));
    let mut tokens = client.generate(request).unwrap();
    tokens.next().unwrap().unwrap();
    flag.store(true, Ordering::SeqCst);
    let error = tokens.find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::Stopped);
    assert_nothing_left(&server);
}

#[test]
fn a_stop_acts_in_mid_line() {
    let server = cut_in_mid_line();
    let client = builder(&server).build().unwrap();
    let stop = Stop::default();
    let mut tokens = client.generate(Request::new("cut").stop(&stop)).unwrap();
    assert_eq!(tokens.next().unwrap().unwrap(), "a");
    // So that the stop finds the call at some place in its waiting; it has to hold at any.
    let wait = || std::thread::sleep(SHORT);
    let error = stopped(&stop, wait, || tokens.next().unwrap().unwrap_err());
    assert_eq!(error.step(), Step::Reply);
    assert_nothing_left(&server);
    assert_goes_on(&client);
}

#[test]
fn a_stop_is_seen_before_a_token_that_is_here_already() {
    let server = StandIn::start();
    let client = builder(&server).build().unwrap();
    let stop = Stop::default();
    let mut tokens = client
        .generate(Request::new("/count 1000").stop(&stop))
        .unwrap();
    tokens.next().unwrap().unwrap();
    stop.stop();
    assert_eq!(
        tokens.next().unwrap().unwrap_err().kind(),
        ErrorKind::Stopped
    );
}

#[test]
fn nothing_is_sent_once_stopped() {
    let server = StandIn::start();
    let client = builder(&server).build().unwrap();
    let stop = Stop::default();
    stop.stop();
    assert_eq!(
        client
            .ask(Request::new("hello").stop(&stop))
            .unwrap_err()
            .kind(),
        ErrorKind::Stopped
    );
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn silence_ends_the_call_in_the_head_and_in_mid_line() {
    let server = cut_in_mid_line();
    let client = builder(&server).silence_timeout(SHORT).build().unwrap();
    assert_goes_on(&client);
    for (prompt, step, received) in [("/silent", Step::Message, ""), ("cut", Step::Reply, "a")] {
        let (error, took) = timed(|| client.ask(prompt).unwrap_err());
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Timeout(Limit::Silence), step)
        );
        assert_eq!(error.received(), received);
        assert!(error.is_retryable());
        assert!((SHORT..IN_TIME).contains(&took), "{prompt}: {took:?}");
        assert_nothing_left(&server);
        assert_goes_on(&client);
    }
}

#[test]
fn a_slow_reply_is_not_a_silent_one() {
    let slow = || Plan::tokens(["a", "b", "c", "d", "e"]).paced(SHORT / 3);
    let server = StandIn::builder().plan(move |_| slow()).start();
    let client = builder(&server)
        .silence_timeout(SHORT)
        .stall_timeout(SHORT)
        .build()
        .unwrap();
    assert_eq!(client.ask("hello").unwrap(), "abcde");
}

#[test]
fn a_stall_ends_the_call_although_bytes_arrive() {
    let server = StandIn::start();
    let client = builder(&server)
        .silence_timeout(SHORT * 10)
        .stall_timeout(SHORT)
        .build()
        .unwrap();
    let error = client.ask("/stall").unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (ErrorKind::Timeout(Limit::Stall), Step::Reply)
    );
    assert_eq!(error.received(), " Hi there, how can");
    assert_nothing_left(&server);
    assert_goes_on(&client);
}

#[test]
fn tokens_without_text_are_a_stall() {
    let empty = || Plan::acts((0..).map(|id| Act::Send(frame::token(id, "")))).paced(SHORT / 10);
    let server = StandIn::builder().plan(move |_| empty()).start();
    let client = builder(&server).stall_timeout(SHORT).build().unwrap();
    assert_eq!(
        client.ask("hello").unwrap_err().kind(),
        ErrorKind::Timeout(Limit::Stall)
    );
}

#[test]
fn time_that_the_caller_takes_is_neither_silence_nor_stall() {
    let server = StandIn::start();
    let client = builder(&server)
        .silence_timeout(SHORT)
        .stall_timeout(SHORT)
        .build()
        .unwrap();
    let mut tokens = client.generate("hello").unwrap();
    tokens.next().unwrap().unwrap();
    // Not a wait for something to happen: the caller is busy for longer than the limits.
    std::thread::sleep(SHORT * 2);
    assert!(tokens.all(|token| token.is_ok()));
}

#[test]
fn a_deadline_ends_the_call_wherever_it_is() {
    let server = cut_in_mid_line();
    let by_client = builder(&server).deadline(SHORT).build().unwrap();
    let by_request = builder(&server)
        .deadline(Duration::from_secs(60))
        .build()
        .unwrap();
    for (prompt, step) in [
        ("/silent", Step::Message),
        ("cut", Step::Reply),
        ("/slow", Step::Reply),
        ("/stall", Step::Reply),
    ] {
        let calls: [&dyn Fn() -> Error; 2] = [&|| by_client.ask(prompt).unwrap_err(), &|| {
            by_request
                .ask(Request::new(prompt).deadline(SHORT))
                .unwrap_err()
        }];
        for call in calls {
            let (error, took) = timed(call);
            assert_eq!(
                (error.kind(), error.step()),
                (ErrorKind::Timeout(Limit::Deadline), step),
                "{prompt}"
            );
            assert!((SHORT..IN_TIME).contains(&took), "{prompt}: {took:?}");
            assert_nothing_left(&server);
        }
    }
    assert_goes_on(&by_request);
}

#[test]
fn a_deadline_that_has_passed_is_seen_before_a_token_that_is_here_already() {
    let server = StandIn::start();
    let client = builder(&server).deadline(SHORT).build().unwrap();
    let mut tokens = client.generate("/count 1000").unwrap();
    std::thread::sleep(SHORT);
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Limit::Deadline));
}

#[test]
fn a_reply_that_is_complete_does_not_become_too_late_by_the_callers_own_time() {
    let server = StandIn::start();
    let client = builder(&server).deadline(SHORT).build().unwrap();
    let mut tokens = client.generate("/count 3").unwrap();
    for n in 0..3 {
        assert_eq!(tokens.next().unwrap().unwrap(), format!("{n} "));
    }
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    // The caller is busy until the deadline has passed.
    std::thread::sleep(SHORT);
    assert!(tokens.next().is_none());
    assert!(tokens.end().is_some());
    assert_nothing_left(&server);

    let stop = Stop::default();
    let mut tokens = client
        .generate(Request::new("/count 1").stop(&stop))
        .unwrap();
    tokens.next().unwrap().unwrap();
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    stop.stop();
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stopped);
}

#[test]
fn limits_beyond_the_clock_are_no_limits() {
    let server = StandIn::start();
    let client = builder(&server)
        .connect_timeout(Duration::MAX)
        .silence_timeout(Duration::MAX)
        .stall_timeout(None)
        .deadline(Duration::MAX)
        .cleanup_budget(Duration::MAX)
        .build()
        .unwrap();
    assert_goes_on(&client);
}

#[test]
fn a_call_can_do_without_the_clients_deadline() {
    // Twenty tokens, one every 50 milliseconds.
    let plan = |_: &str| Plan::tokens(["."; 20]).paced(Duration::from_millis(50));
    let server = StandIn::builder().plan(plan).start();
    let client = builder(&server).deadline(SHORT).build().unwrap();
    let error = client.ask("hello").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Limit::Deadline));
    let reply = client.ask(Request::new("hello").deadline(None)).unwrap();
    assert_eq!(reply, ".".repeat(20));
}

#[test]
fn the_pool_goes_on_after_a_stopped_call() {
    let server = StandIn::start();
    let client = builder(&server).silence_timeout(SHORT).build().unwrap();
    assert_goes_on(&client);
    client.ask("/silent").unwrap_err();
    let connections = server.counts().connections;
    assert_goes_on(&client);
    // The connection on which the stop and the deletion went is used again.
    assert_eq!(server.counts().connections, connections);
}
