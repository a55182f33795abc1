//! Every timeout ends only its own wait, and the error names it. Cleanup keeps its timeout on every
//! server.

use std::io::{self, Write};
use std::iter;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use h2o_chat::{
    CancelHandle, Client, ClientBuilder, Error, ErrorKind, Event, Proxy, Request, Step, Timeout,
};

use crate::stand_in::{Act, Dialect, Plan, StandIn, frame};
use crate::support::{
    CLASSIC, EVERY, FORM, GREETING, H2OGPTE, JSON, Kind, NEWEST, assert_failed,
    assert_nothing_left, builder, client, count, each, keep_port, timed,
};

/// A timeout that the earlier steps do not reach, on a busy machine either.
const SHORT: Duration = Duration::from_secs(1);

/// A busy machine may exceed a timeout by this much. Everything else that ends a call takes longer.
const SLACK: Duration = Duration::from_secs(4);

/// The interval between the bytes of a dribbling server.
const DRIBBLE: Duration = Duration::from_millis(50);

/// A client without retries.
fn at(url: &str) -> ClientBuilder {
    Client::builder(url).retries(0)
}

/// Two tokens at once, or none; then half a line, or endless comments.
fn plan(prompt: &str) -> Plan {
    let two = || [frame::token(0, "a"), frame::token(1, "b")].concat();
    let comments = || iter::repeat_with(|| Act::Send(frame::comment()));
    match prompt {
        "tokens" => {
            let half = b"data:{\"token\":{\"id\":2,\"te".to_vec();
            Plan::bytes(vec![[two(), half].concat()]).then([Act::Hang])
        }
        "tokens, comments" => Plan::bytes(vec![two()]).then(comments()).paced(DRIBBLE),
        "comments" => Plan::acts(comments()).paced(DRIBBLE),
        other => Plan::for_prompt(other),
    }
}

#[test]
fn a_timeout_error_names_its_duration_and_the_received_text() {
    const SENDING: &str = "sending the prompt";
    const READING: &str = "reading the reply";
    const NOTHING: &str = "no byte from the server within 1s, the idle timeout";
    const NO_TEXT: &str = "no token from the server within 1s, the token timeout";
    const TOO_LATE: &str = "not finished within 1s, the total timeout";
    #[rustfmt::skip]
    const CASES: [(&str, Timeout, &str, [&str; 2]); 6] = [
        ("/silent",          Timeout::Idle,  "",   [SENDING, NOTHING]),
        ("tokens",           Timeout::Idle,  "ab", [READING, NOTHING]),
        ("comments",         Timeout::Token,    "",   [READING, NO_TEXT]),
        ("tokens, comments", Timeout::Token,    "ab", [READING, NO_TEXT]),
        ("/silent",          Timeout::Total, "",   [SENDING, TOO_LATE]),
        ("tokens, comments", Timeout::Total, "ab", [READING, TOO_LATE]),
    ];
    let server = StandIn::builder().plan(plan).start();
    let walk = |(prompt, limit, received, [doing, what]): (&str, _, _, [&str; 2])| {
        let client = match limit {
            Timeout::Idle => builder(&server).idle_timeout(SHORT),
            Timeout::Token => builder(&server).token_timeout(SHORT),
            _ => builder(&server).total_timeout(SHORT),
        };
        let client = client.build().unwrap();
        let (error, took) = timed(|| client.ask(prompt).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Timeout(limit), "{prompt}: {error}");
        let after = match (doing, received) {
            (SENDING, _) => "",
            (_, "") => ", after no token",
            _ => ", after 2 tokens",
        };
        assert_eq!(error.to_string(), format!("{doing}: {what}{after}"));
        assert_eq!(error.received(), received, "{prompt}");
        assert_eq!(error.undeleted(), None, "{prompt}");
        assert!((SHORT..SHORT + SLACK).contains(&took), "{prompt}: {took:?}");
        // The pooled connections still work.
        client.list_models().unwrap();
    };
    thread::scope(|scope| {
        for case in CASES {
            scope.spawn(move || walk(case));
        }
    });
    assert_nothing_left(&server);
}

#[test]
fn a_long_healthy_reply_hits_no_timeout() {
    // Like the defaults and real servers, a hundred times as fast. The tokens are further apart
    // than the idle timeout, with comments in between. The reply takes longer than the token
    // timeout.
    const IDLE: Duration = Duration::from_millis(600);
    let pause = |_| iter::repeat_n(frame::comment(), 5);
    let events = (0..3).flat_map(move |id| pause(id).chain([frame::token(id, "x")]));
    let events: Vec<_> = events.chain([frame::last(3, "", "xxx", None)]).collect();
    let server =
        StandIn::builder().plan(move |_| Plan::bytes(events.clone()).paced(IDLE / 4)).start();
    let client = builder(&server)
        .connect_timeout(SHORT)
        .idle_timeout(IDLE)
        .token_timeout(IDLE * 3)
        .build()
        .unwrap();
    let (text, took) = timed(|| client.ask("hello").unwrap());
    assert_eq!(text, "xxx");
    assert!(took > IDLE * 3, "{took:?}");
}

/// Checks the timeout of a reply that does not begin, or does not continue.
fn assert_cut(kind: Kind, prompt: &str, limit: Timeout, step: Step) {
    let server = kind.start();
    let limited = builder(&server).idle_timeout(SHORT).token_timeout(SHORT * 2);
    let error = limited.build().unwrap().ask(prompt).unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(limit), step);
    let is_idle = limit == Timeout::Idle;
    assert_eq!(error.is_retryable(), is_idle, "{kind:?} {prompt}");
    let stops = count(&server, Step::StopGeneration);
    assert_eq!(stops, usize::from(kind.stops), "{kind:?} {prompt}");
    assert_eq!(server.counts().conversations, 0, "{kind:?} {prompt}");
    if kind.stops {
        assert_nothing_left(&server);
        assert_eq!(server.counts().stopped, 1, "{kind:?} {prompt}");
    }
}

#[test]
fn a_model_without_output_hits_the_idle_or_token_timeout() {
    each([CLASSIC, JSON, FORM, NEWEST], |kind| {
        let walk = |prompt, before| match kind.dialect {
            Dialect::Classic => assert_cut(kind, prompt, Timeout::Idle, before),
            Dialect::Json => assert_cut(kind, prompt, Timeout::Idle, Step::ReadReply),
            // Keep-alive lines.
            _ => assert_cut(kind, prompt, Timeout::Token, Step::ReadReply),
        };
        thread::scope(|scope| {
            scope.spawn(|| walk("/silent", Step::SendMessage));
            walk("/hang", Step::ReadReply);
        });
    });
}

#[test]
fn the_total_timeout_ends_a_reply_in_the_middle() {
    each(EVERY, |kind| {
        let server = kind.start();
        let request = Request::new("/slow").total_timeout(SHORT);
        let error = client(&server).ask(request).unwrap_err();
        assert_failed(&error, ErrorKind::Timeout(Timeout::Total), Step::ReadReply);
        assert_eq!(server.counts().conversations, 0, "{kind:?}");
        let stops = count(&server, Step::StopGeneration);
        assert_eq!(stops, usize::from(kind.stops), "{kind:?}");
    });
}

#[test]
fn tokens_without_text_hit_the_token_timeout() {
    let empty = || Plan::acts((0..).map(|id| Act::Send(frame::token(id, "")))).paced(DRIBBLE);
    let server = StandIn::builder().plan(move |_| empty()).start();
    let client = builder(&server).token_timeout(SHORT).build().unwrap();
    let error = client.ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(Timeout::Token), Step::ReadReply);
}

#[test]
fn events_other_than_tokens_do_not_restart_the_token_timeout() {
    let tools = |_: &str| {
        let tool = || Act::Other(r#"{"type":"tool","subtype":"progress"}"#.to_owned());
        Plan::acts(iter::repeat_with(tool)).paced(DRIBBLE)
    };
    each([CLASSIC, FORM, NEWEST, H2OGPTE], |kind| {
        let server = kind.builder().plan(tools).start();
        let client = builder(&server).token_timeout(SHORT).build().unwrap();
        let error = client.ask("hello").unwrap_err();
        assert_failed(&error, ErrorKind::Timeout(Timeout::Token), Step::ReadReply);
        let mut tokens = client.stream("hello").unwrap();
        let events = iter::from_fn(|| tokens.next_event()).collect::<Vec<_>>();
        let (last, before) = events.split_last().unwrap();
        let error = last.as_ref().unwrap_err();
        assert_failed(error, ErrorKind::Timeout(Timeout::Token), Step::ReadReply);
        let is_tool = |event: &Event| matches!(event, Event::Other { kind, .. } if kind == "tool");
        let others = before.iter().filter(|event| event.as_ref().is_ok_and(is_tool));
        assert!(others.count() > 1, "{kind:?}: {before:?}");
    });
}

#[test]
fn reasoning_restarts_the_token_timeout() {
    let pieces = ["<think>", "a", "b", "c", "d", "e", "f", "</think>x"];
    let thoughts = move |_: &str| Plan::tokens(pieces).paced(SHORT / 4);
    each([CLASSIC, NEWEST, H2OGPTE], |kind| {
        let server = kind.builder().plan(thoughts).start();
        let client = builder(&server).token_timeout(SHORT).build().unwrap();
        assert_eq!(client.ask("hello").unwrap(), "x", "{kind:?}");
    });
}

#[test]
fn the_callers_own_time_hits_no_idle_or_token_timeout() {
    let server = StandIn::start();
    let client = builder(&server).idle_timeout(SHORT).token_timeout(SHORT).build().unwrap();
    let mut tokens = client.stream("hello").unwrap();
    tokens.next().unwrap().unwrap();
    // The caller is busy for longer than the timeouts.
    thread::sleep(SHORT);
    assert!(tokens.all(|token| token.is_ok()));
}

#[test]
fn an_expired_total_timeout_comes_before_a_buffered_token() {
    let server = StandIn::start();
    let client = builder(&server).total_timeout(SHORT).build().unwrap();
    let mut tokens = client.stream("/count 1000").unwrap();
    thread::sleep(SHORT);
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Timeout::Total));
}

#[test]
fn a_complete_reply_is_never_too_late() {
    let server = StandIn::start();
    let client = builder(&server).total_timeout(SHORT).build().unwrap();
    let mut tokens = client.stream("/count 3").unwrap();
    for n in 0..3 {
        assert_eq!(tokens.next().unwrap().unwrap(), format!("{n} "));
    }
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    // The caller is busy until the total timeout has expired.
    thread::sleep(SHORT);
    assert!(tokens.next().is_none());
    assert!(tokens.end().is_some());
    assert_nothing_left(&server);

    // So with text that comes only together with the end.
    let with_rest = || vec![frame::token(0, "a"), frame::last(1, "</s>", "a b", None)];
    let another = StandIn::builder().plan(move |_| Plan::bytes(with_rest())).start();
    let late = builder(&another).total_timeout(SHORT).build().unwrap();
    let mut tokens = late.stream("hello").unwrap();
    assert_eq!(tokens.next().unwrap().unwrap(), "a");
    another.wait_for("the end of the generation", |counts| counts.running == 0);
    thread::sleep(SHORT);
    assert_eq!(tokens.next().unwrap().unwrap(), " b");
    assert!(tokens.next().is_none());

    let handle = CancelHandle::default();
    let mut tokens = client.stream(Request::new("/count 1").cancel_handle(&handle)).unwrap();
    tokens.next().unwrap().unwrap();
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    handle.cancel();
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn timeouts_beyond_the_clock_never_expire() {
    let server = StandIn::start();
    let client = builder(&server)
        .connect_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .token_timeout(None)
        .total_timeout(Duration::MAX)
        .cleanup_timeout(Duration::MAX)
        .build()
        .unwrap();
    assert_eq!(client.ask("hello").unwrap(), GREETING);
}

#[test]
fn a_call_can_disable_the_total_timeout() {
    let plan = |_: &str| Plan::tokens(["."; 25]).paced(DRIBBLE);
    let server = StandIn::builder().plan(plan).start();
    let client = builder(&server).total_timeout(SHORT).build().unwrap();
    let (cut, whole) = thread::scope(|scope| {
        let cut = scope.spawn(|| client.ask("hello"));
        let whole = client.ask(Request::new("hello").total_timeout(None));
        (cut.join().unwrap(), whole)
    });
    let error = cut.unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(Timeout::Total), Step::ReadReply);
    assert_eq!(whole.unwrap(), ".".repeat(25));
}

/// Fills the listener's queue with connections, so that the next one is not accepted.
fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let mut failures = 0;
    // One failure may be due to a busy machine.
    while failures < 2 {
        match TcpStream::connect_timeout(&address, DRIBBLE) {
            Ok(socket) => waiting.push(socket),
            Err(_) => failures += 1,
        }
    }
    waiting
}

/// Accepts every connection, sends `begin` at once, and then single bytes.
fn dribble(listener: TcpListener, begin: &'static [u8]) {
    accept(listener, move |mut socket| {
        socket.write_all(begin)?;
        loop {
            thread::sleep(DRIBBLE);
            socket.write_all(b"x")?;
        }
    });
}

fn accept(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 'static,
) {
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(socket));
        }
    });
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn the_shorter_of_connect_and_total_timeout_applies() {
    /// Connecting is the first step, so this can be short.
    const CONNECTING: Duration = Duration::from_millis(300);
    let (full, full_address) = listener();
    let _waiting = fill(&full);
    let (mute, mute_address) = listener();
    let (proxy, proxy_address) = listener();
    dribble(proxy, b"HTTP/1.1 200 ");
    let (tls, tls_address) = listener();
    // The head of a record whose body is endless.
    dribble(tls, &[22, 3, 3, 64, 0]);
    let direct = |scheme: &str, address: &str| at(&format!("{scheme}://{address}"));
    let mut cases = vec![
        ("a full queue", direct("http", &full_address)),
        ("a proxy that dribbles", at("http://127.0.0.1:9").proxy(Proxy::url(proxy_address))),
    ];
    if cfg!(feature = "rustls") {
        cases.extend([
            ("no TLS handshake", direct("https", &mute_address)),
            ("TLS that dribbles", direct("https", &tls_address)),
        ]);
    }
    let walk = |(case, builder): (&str, ClientBuilder)| {
        let patient = builder.clone().connect_timeout(CONNECTING * 30);
        let patient = patient.total_timeout(CONNECTING);
        for (client, limit, what) in [
            (
                builder.connect_timeout(CONNECTING),
                Timeout::Connect,
                "no connection within 300ms, the connect timeout",
            ),
            (patient, Timeout::Total, "not finished within 300ms, the total timeout"),
        ] {
            let client = client.build().unwrap();
            let (error, took) = timed(|| client.ask("hello").unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Timeout(limit), "{case}: {error}");
            assert_eq!(error.to_string(), format!("posting the settings: {what}"));
            assert_eq!(error.is_retryable(), limit == Timeout::Connect, "{case}");
            // The system gives up a connection slightly early.
            let expected = CONNECTING.mul_f32(0.9)..CONNECTING + SLACK;
            assert!(expected.contains(&took), "{case}: {took:?}");
        }
    };
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || walk(case));
        }
    });
    drop(mute);
}

#[test]
fn a_dribbling_response_hits_the_token_timeout() {
    let beginnings: [&[u8]; 3] = [
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n",
    ];
    let walk = |begin| {
        let (server, address) = listener();
        dribble(server, begin);
        let limited = at(&format!("http://{address}")).idle_timeout(SHORT);
        let client = limited.token_timeout(SHORT * 2).build().unwrap();
        let (error, took) = timed(|| client.ask("hello").unwrap_err());
        assert_failed(&error, ErrorKind::Timeout(Timeout::Token), Step::PostSettings);
        assert!(took >= SHORT * 2, "{took:?}");
    };
    thread::scope(|scope| {
        for begin in beginnings {
            scope.spawn(move || walk(begin));
        }
    });
}

/// The behaviour of a server after its first connection.
#[derive(Clone, Copy, Debug)]
enum Turn {
    NoResponse,
    Refusing,
    Closing,
    HeadDribbles,
    HeadIsEndless,
    BodyDribbles,
    QueueIsFull,
}

/// The listener and its waiting connections, or a socket that keeps the port of a closed listener.
type Queue = (Option<TcpListener>, Vec<TcpStream>);

impl Turn {
    fn take(self, listener: TcpListener) -> Option<Queue> {
        match self {
            Turn::NoResponse => return Some((Some(listener), Vec::new())),
            Turn::Refusing => return Some((None, vec![keep_port(&listener)])),
            Turn::Closing => accept(listener, |_| Ok(())),
            Turn::HeadDribbles => dribble(listener, b"HTTP/1.1 200 OK\r\nx: "),
            Turn::HeadIsEndless => accept(listener, |mut socket| {
                socket.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
                loop {
                    socket.write_all(&[b'x'; 10_000])?;
                }
            }),
            Turn::BodyDribbles => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
                dribble(listener, head);
            }
            Turn::QueueIsFull => {
                let waiting = fill(&listener);
                return Some((Some(listener), waiting));
            }
        }
        None
    }
}

/// A server that relays its first connection to the good one, and then turns. Sends its queue after
/// that.
fn turning(good: &StandIn, turn: Turn) -> (String, Receiver<Option<Queue>>) {
    let (listener, address) = listener();
    let good = good.url().replace("http://", "");
    let (turned, receiver) = mpsc::channel();
    thread::spawn(move || {
        let client = listener.accept()?.0;
        let server = TcpStream::connect(good)?;
        for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            thread::spawn(move || {
                // An error ends the relay as well.
                let _ = io::copy(&mut from, &mut to);
                to.shutdown(Shutdown::Both)
            });
        }
        // A failed test has dropped the receiver.
        let _ = turned.send(turn.take(listener));
        io::Result::Ok(())
    });
    (format!("http://{address}"), receiver)
}

/// Returns the duration of a reply's cleanup, its result if there is one, and whether the
/// conversation is left.
fn cleaned_up(turn: Turn, by_dropping: bool) -> (Duration, Option<Result<(), Error>>, bool) {
    let good = StandIn::start();
    let (url, turned) = turning(&good, turn);
    let client = at(&url).cleanup_timeout(CLEANUP_TIMEOUT).build().unwrap();
    let tokens = client.stream("/slow").unwrap();
    let _queue = turned.recv().unwrap();
    let id = tokens.conversation_id().to_owned();
    let (said, took) = timed(|| {
        if by_dropping {
            drop(tokens);
            return None;
        }
        Some(tokens.cancel())
    });
    let is_left = client.leftovers() == [id];
    (took, said, is_left)
}

const CLEANUP_TIMEOUT: Duration = Duration::from_millis(600);

#[test]
fn cleanup_keeps_its_timeout() {
    const OUT_OF_TIME: Option<ErrorKind> = Some(ErrorKind::Timeout(Timeout::Cleanup));
    let cases = [
        (Turn::NoResponse, OUT_OF_TIME),
        (Turn::Refusing, Some(ErrorKind::Connect)),
        (Turn::Closing, Some(ErrorKind::Truncated)),
        (Turn::HeadDribbles, OUT_OF_TIME),
        (Turn::HeadIsEndless, Some(ErrorKind::TooLarge)),
        // The head of the response confirms the deletion.
        (Turn::BodyDribbles, None),
        (Turn::QueueIsFull, OUT_OF_TIME),
    ];
    let hold = |turn: Turn, expected: Option<ErrorKind>| {
        for by_dropping in [true, false] {
            let (took, said, is_left) = cleaned_up(turn, by_dropping);
            assert!(took < CLEANUP_TIMEOUT + SLACK, "{turn:?}: {took:?}");
            assert_eq!(is_left, expected.is_some(), "{turn:?}");
            let Some(said) = said else { continue };
            let error = said.err();
            assert_eq!(error.as_ref().map(Error::kind), expected, "{turn:?}: {error:?}");
            if let Some(error) = error.filter(|_| expected == OUT_OF_TIME) {
                let words =
                    "deleting the conversation: not cleaned up within 600ms, the cleanup timeout";
                assert!(error.to_string().starts_with(words), "{turn:?}: {error}");
            }
        }
    };
    thread::scope(|scope| {
        for (turn, expected) in cases {
            scope.spawn(move || hold(turn, expected));
        }
    });
}
