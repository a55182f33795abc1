//! Every limit ends what it is there for, says so, and ends nothing else. Cleanup keeps its budget
//! whatever the server does.

use std::io::{self, Write};
use std::iter;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use h2o_chat::{
    CancelHandle, Client, ClientBuilder, Error, ErrorKind, Proxy, Request, Step, Timeout,
};

use crate::stand_in::{Act, Dialect, Plan, StandIn, frame};
use crate::support::{
    CLASSIC, EVERY, FORM, GREETING, JSON, Kind, NEWEST, assert_failed, assert_nothing_left,
    builder, client, count, each, keep_port, timed,
};

/// A limit that the steps before the one that runs into it do not reach on a busy machine either.
const SHORT: Duration = Duration::from_secs(1);

/// By this much a busy machine may exceed a limit; whatever else could end a call takes longer.
const SLACK: Duration = Duration::from_secs(4);

/// How often somebody who dribbles sends a byte.
const DRIBBLE: Duration = Duration::from_millis(50);

/// A client that tries everything once.
fn at(url: &str) -> ClientBuilder {
    Client::builder(url).retries(0)
}

/// Two tokens at once, or none; then half a line, or comments without end.
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
fn an_error_names_its_limit_how_long_that_is_and_how_much_had_come() {
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
        // The connections that are kept still work.
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
fn a_long_reply_in_good_health_is_cut_by_no_limit() {
    // Like the defaults and real servers, a hundred times as fast: comments in between, tokens
    // further apart than the longest silence, and a reply that takes longer than the longest stall.
    const SILENCE: Duration = Duration::from_millis(600);
    let pause = |_| iter::repeat_n(frame::comment(), 5);
    let events = (0..3).flat_map(move |id| pause(id).chain([frame::token(id, "x")]));
    let events: Vec<_> = events.chain([frame::last(3, "", "xxx", None)]).collect();
    let server =
        StandIn::builder().plan(move |_| Plan::bytes(events.clone()).paced(SILENCE / 4)).start();
    let client = builder(&server)
        .connect_timeout(SHORT)
        .idle_timeout(SILENCE)
        .token_timeout(SILENCE * 3)
        .build()
        .unwrap();
    let (text, took) = timed(|| client.ask("hello").unwrap());
    assert_eq!(text, "xxx");
    assert!(took > SILENCE * 3, "{took:?}");
}

/// The outcome of a reply that does not begin, or does not continue.
fn assert_cut(kind: Kind, prompt: &str, limit: Timeout, step: Step) {
    let server = kind.start();
    let limited = builder(&server).idle_timeout(SHORT).token_timeout(SHORT * 2);
    let error = limited.build().unwrap().ask(prompt).unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(limit), step);
    let is_silence = limit == Timeout::Idle;
    assert_eq!(error.is_retryable(), is_silence, "{kind:?} {prompt}");
    let stops = count(&server, Step::StopGeneration);
    assert_eq!(stops, usize::from(kind.stops), "{kind:?} {prompt}");
    assert_eq!(server.counts().conversations, 0, "{kind:?} {prompt}");
    if kind.stops {
        assert_nothing_left(&server);
        assert_eq!(server.counts().stopped, 1, "{kind:?} {prompt}");
    }
}

#[test]
fn a_model_that_says_nothing_is_silent_or_stalls_as_its_server_has_it() {
    each([CLASSIC, JSON, FORM, NEWEST], |kind| {
        let walk = |prompt, before| match kind.dialect {
            Dialect::Classic => assert_cut(kind, prompt, Timeout::Idle, before),
            Dialect::Json => assert_cut(kind, prompt, Timeout::Idle, Step::ReadReply),
            // Lines that only say that the server is there.
            _ => assert_cut(kind, prompt, Timeout::Token, Step::ReadReply),
        };
        thread::scope(|scope| {
            scope.spawn(|| walk("/silent", Step::SendMessage));
            walk("/hang", Step::ReadReply);
        });
    });
}

#[test]
fn a_deadline_ends_a_reply_in_the_middle() {
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
fn tokens_without_text_are_a_stall() {
    let empty = || Plan::acts((0..).map(|id| Act::Send(frame::token(id, "")))).paced(DRIBBLE);
    let server = StandIn::builder().plan(move |_| empty()).start();
    let client = builder(&server).token_timeout(SHORT).build().unwrap();
    let error = client.ask("hello").unwrap_err();
    assert_failed(&error, ErrorKind::Timeout(Timeout::Token), Step::ReadReply);
}

#[test]
fn time_that_the_caller_takes_is_neither_silence_nor_stall() {
    let server = StandIn::start();
    let client = builder(&server).idle_timeout(SHORT).token_timeout(SHORT).build().unwrap();
    let mut tokens = client.stream("hello").unwrap();
    tokens.next().unwrap().unwrap();
    // Not a wait for something to happen: the caller is busy for longer than the limits.
    thread::sleep(SHORT);
    assert!(tokens.all(|token| token.is_ok()));
}

#[test]
fn a_deadline_that_has_passed_is_seen_before_a_token_that_is_here_already() {
    let server = StandIn::start();
    let client = builder(&server).total_timeout(SHORT).build().unwrap();
    let mut tokens = client.stream("/count 1000").unwrap();
    thread::sleep(SHORT);
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Timeout::Total));
}

#[test]
fn a_reply_that_is_complete_does_not_become_too_late_by_the_callers_own_time() {
    let server = StandIn::start();
    let client = builder(&server).total_timeout(SHORT).build().unwrap();
    let mut tokens = client.stream("/count 3").unwrap();
    for n in 0..3 {
        assert_eq!(tokens.next().unwrap().unwrap(), format!("{n} "));
    }
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    // The caller is busy until the deadline has passed.
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

    let stop = CancelHandle::default();
    let mut tokens = client.stream(Request::new("/count 1").cancel_handle(&stop)).unwrap();
    tokens.next().unwrap().unwrap();
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    stop.cancel();
    let error = tokens.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn limits_beyond_the_clock_are_no_limits() {
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
fn a_call_can_do_without_the_clients_deadline() {
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

/// Connections that wait to be accepted, as many as the listener lets wait: the next one waits in
/// vain.
fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let mut in_vain = 0;
    // Twice, so that a busy machine is not taken for a full queue.
    while in_vain < 2 {
        match TcpStream::connect_timeout(&address, DRIBBLE) {
            Ok(socket) => waiting.push(socket),
            Err(_) => in_vain += 1,
        }
    }
    waiting
}

/// Accepts everybody, sends this at once, and from then on a byte now and then.
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
fn a_connection_is_made_within_the_connect_limit_or_a_nearer_one() {
    /// Nothing comes before.
    const CONNECTING: Duration = Duration::from_millis(300);
    let (full, full_address) = listener();
    let _waiting = fill(&full);
    let (silent, silent_address) = listener();
    let (proxy, proxy_address) = listener();
    dribble(proxy, b"HTTP/1.1 200 ");
    let (tls, tls_address) = listener();
    // The head of a record, whose body never ends to come.
    dribble(tls, &[22, 3, 3, 64, 0]);
    let direct = |scheme: &str, address: &str| at(&format!("{scheme}://{address}"));
    let mut cases = vec![
        ("a full queue", direct("http", &full_address)),
        ("a proxy that dribbles", at("http://127.0.0.1:9").proxy(Proxy::url(proxy_address))),
    ];
    if cfg!(feature = "rustls") {
        cases.extend([
            ("silence instead of TLS", direct("https", &silent_address)),
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
            // The system gives a connection up a moment early.
            let expected = CONNECTING.mul_f32(0.9)..CONNECTING + SLACK;
            assert!(expected.contains(&took), "{case}: {took:?}");
        }
    };
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || walk(case));
        }
    });
    drop(silent);
}

#[test]
fn an_answer_that_dribbles_ends_as_a_stall() {
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
    Silent,
    Refusing,
    Closing,
    HeadDribbles,
    HeadIsEndless,
    BodyDribbles,
    QueueIsFull,
}

/// Whoever waits for a server that accepts nobody, or what keeps the port of one that is gone.
type Queue = (Option<TcpListener>, Vec<TcpStream>);

impl Turn {
    fn take(self, listener: TcpListener) -> Option<Queue> {
        match self {
            Turn::Silent => return Some((Some(listener), Vec::new())),
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

/// A server that is the good one for its first connection and then turns, after which its queue is
/// received.
fn turning(good: &StandIn, turn: Turn) -> (String, Receiver<Option<Queue>>) {
    let (listener, address) = listener();
    let good = good.url().replace("http://", "");
    let (turned, receiver) = mpsc::channel();
    thread::spawn(move || {
        let client = listener.accept()?.0;
        let server = TcpStream::connect(good)?;
        for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            thread::spawn(move || {
                // However it ends, it has ended.
                let _ = io::copy(&mut from, &mut to);
                to.shutdown(Shutdown::Both)
            });
        }
        // Nobody receives it in a test that has failed.
        let _ = turned.send(turn.take(listener));
        io::Result::Ok(())
    });
    (format!("http://{address}"), receiver)
}

/// How long a reply took to tidy up after itself, and what it said about it if it could.
fn tidied_up(turn: Turn, by_dropping: bool) -> (Duration, Option<Result<(), Error>>, bool) {
    let good = StandIn::start();
    let (url, turned) = turning(&good, turn);
    let client = at(&url).cleanup_timeout(BUDGET).build().unwrap();
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

const BUDGET: Duration = Duration::from_millis(600);

#[test]
fn tidying_up_keeps_its_budget_whatever_the_server_does() {
    const OUT_OF_TIME: Option<ErrorKind> = Some(ErrorKind::Timeout(Timeout::Cleanup));
    let cases = [
        (Turn::Silent, OUT_OF_TIME),
        (Turn::Refusing, Some(ErrorKind::Connect)),
        (Turn::Closing, Some(ErrorKind::Truncated)),
        (Turn::HeadDribbles, OUT_OF_TIME),
        (Turn::HeadIsEndless, Some(ErrorKind::TooLarge)),
        // The server has said that the conversation is gone.
        (Turn::BodyDribbles, None),
        (Turn::QueueIsFull, OUT_OF_TIME),
    ];
    let hold = |turn: Turn, expected: Option<ErrorKind>| {
        for by_dropping in [true, false] {
            let (took, said, is_left) = tidied_up(turn, by_dropping);
            assert!(took < BUDGET + SLACK, "{turn:?}: {took:?}");
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
