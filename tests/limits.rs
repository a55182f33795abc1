//! Every limit ends what it is there for, says so, and ends nothing else; tidying up keeps its budget whatever the
//! server does meanwhile.

use std::io::{self, Write};
use std::iter;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, ClientBuilder, Error, ErrorKind, Limit, Proxy, Step};

mod stand_in;

use stand_in::{Act, Plan, StandIn, frame};

/// A limit short enough for a test, and long enough to tell from another.
const SHORT: Duration = Duration::from_millis(300);

/// When a limit of this length has ended a call, tidying up included, on a busy machine too.
const IN_TIME: Duration = Duration::from_secs(1);

/// By this much tidying up may exceed its budget on a busy machine.
const PROMPT: Duration = Duration::from_millis(250);

/// How often somebody who dribbles sends a byte.
const DRIBBLE: Duration = Duration::from_millis(50);

fn builder(url: &str) -> ClientBuilder {
    Client::builder(url).retries(0)
}

fn timed<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed())
}

/// Two tokens at once, or none, and then nothing but comments, or nothing at all.
fn plan(prompt: &str) -> Plan {
    let two = || [frame::token(0, "a"), frame::token(1, "b")].concat();
    let comments = || iter::repeat_with(|| Act::Send(frame::comment()));
    match prompt {
        "tokens" => Plan::bytes(vec![two()]).then([Act::Hang]),
        "tokens, comments" => Plan::bytes(vec![two()]).then(comments()).paced(DRIBBLE),
        "comments" => Plan::acts(comments()).paced(DRIBBLE),
        other => Plan::for_prompt(other),
    }
}

#[test]
fn an_error_names_its_limit_how_long_that_is_and_how_much_had_come() {
    const SENDING: &str = "sending the prompt";
    const READING: &str = "reading the reply";
    const NOTHING: &str = "not a byte from the server within 300ms, the silence limit";
    const NO_TEXT: &str = "no text from the server within 300ms, the stall limit";
    const TOO_LATE: &str = "not finished within 300ms, the deadline limit";
    let server = StandIn::builder().plan(plan).start();
    let silence = |builder: ClientBuilder| builder.silence_timeout(SHORT);
    let stall = |builder: ClientBuilder| builder.stall_timeout(SHORT);
    let deadline = |builder: ClientBuilder| builder.deadline(SHORT);
    let cases: [(fn(_) -> _, _, _, _, _); 6] = [
        (silence, "/silent", Limit::Silence, "", [SENDING, NOTHING]),
        (silence, "tokens", Limit::Silence, "ab", [READING, NOTHING]),
        (stall, "comments", Limit::Stall, "", [READING, NO_TEXT]),
        (
            stall,
            "tokens, comments",
            Limit::Stall,
            "ab",
            [READING, NO_TEXT],
        ),
        (
            deadline,
            "/silent",
            Limit::Deadline,
            "",
            [SENDING, TOO_LATE],
        ),
        (
            deadline,
            "tokens, comments",
            Limit::Deadline,
            "ab",
            [READING, TOO_LATE],
        ),
    ];
    for (limited, prompt, limit, received, [doing, what]) in cases {
        let client = limited(builder(&server.url())).build().unwrap();
        let (error, took) = timed(|| client.ask(prompt).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Timeout(limit), "{prompt}: {error}");
        let after = match (doing, received) {
            (SENDING, _) => "",
            (_, "") => ", after no token",
            _ => ", after 2 tokens",
        };
        assert_eq!(error.to_string(), format!("{doing}: {what}{after}"));
        assert_eq!(error.received(), received, "{prompt}");
        assert!((SHORT..IN_TIME).contains(&took), "{prompt}: {took:?}");
        server.wait_for("nothing to be left", |counts| {
            counts.conversations + counts.running == 0
        });
    }
}

#[test]
fn a_long_reply_in_good_health_is_cut_by_no_limit() {
    // Like the defaults and what servers do, two hundred times as fast: a comment whenever there was silence for so
    // long, tokens further apart than the longest silence, and a reply that takes longer than the longest stall.
    let pause = |_| iter::repeat_n(frame::comment(), 5);
    let events = (0..6).flat_map(move |id| pause(id).chain([frame::token(id, "x")]));
    let events: Vec<_> = events.chain([frame::last(6, "", "xxxxxx", None)]).collect();
    let server = StandIn::builder()
        .plan(move |_| Plan::bytes(events.clone()).paced(Duration::from_millis(75)))
        .start();
    let client = builder(&server.url())
        .connect_timeout(SHORT)
        .silence_timeout(SHORT)
        .stall_timeout(SHORT * 5)
        .build()
        .unwrap();
    let (text, took) = timed(|| client.ask("hello").unwrap());
    assert_eq!(text, "xxxxxx");
    assert!(took > SHORT * 5, "{took:?}");
}

/// Connections that wait to be accepted, as many as the listener lets wait: the next one waits in vain.
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
    let (full, full_address) = listener();
    let _waiting = fill(&full);
    let (silent, silent_address) = listener();
    let (proxy, proxy_address) = listener();
    dribble(proxy, b"HTTP/1.1 200 ");
    let (tls, tls_address) = listener();
    // The head of a record, whose body never ends to come.
    dribble(tls, &[22, 3, 3, 64, 0]);
    let direct = |scheme: &str, address: &str| builder(&format!("{scheme}://{address}"));
    let mut cases = vec![
        ("a full queue", direct("http", &full_address)),
        (
            "a proxy that dribbles",
            builder("http://127.0.0.1:9").proxy(Proxy::url(proxy_address)),
        ),
    ];
    if cfg!(feature = "rustls") {
        cases.extend([
            ("silence instead of TLS", direct("https", &silent_address)),
            ("TLS that dribbles", direct("https", &tls_address)),
        ]);
    }
    for (case, builder) in cases {
        let patient = builder.clone().connect_timeout(SHORT * 10);
        let impatient = builder.connect_timeout(SHORT);
        for (client, limit, what) in [
            (
                impatient,
                Limit::Connect,
                "no connection within 300ms, the connect limit",
            ),
            (
                patient.deadline(SHORT),
                Limit::Deadline,
                "not finished within 300ms, the deadline limit",
            ),
        ] {
            let client = client.build().unwrap();
            let (error, took) = timed(|| client.ask("hello").unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Timeout(limit), "{case}: {error}");
            assert_eq!(error.to_string(), format!("posting the settings: {what}"));
            assert_eq!(error.is_retryable(), limit == Limit::Connect, "{case}");
            // The system gives a connection up a moment early.
            let expected = SHORT.mul_f32(0.9)..IN_TIME;
            assert!(expected.contains(&took), "{case}: {took:?}");
        }
    }
    drop(silent);
}

#[test]
fn an_answer_that_dribbles_ends_as_a_stall() {
    let beginnings: [&[u8]; 3] = [
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n",
    ];
    for begin in beginnings {
        let (server, address) = listener();
        dribble(server, begin);
        let client = builder(&format!("http://{address}"))
            .silence_timeout(SHORT)
            .stall_timeout(SHORT * 2)
            .build()
            .unwrap();
        let (error, took) = timed(|| client.ask("hello").unwrap_err());
        assert_eq!(
            (error.kind(), error.step()),
            (ErrorKind::Timeout(Limit::Stall), Step::Settings),
            "{error}"
        );
        assert!((SHORT * 2..IN_TIME).contains(&took), "{took:?}");
    }
}

/// What a server turns into after its first connection.
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

/// Whoever waits for a server that accepts nobody.
type Queue = (TcpListener, Vec<TcpStream>);

impl Turn {
    fn take(self, listener: TcpListener) -> Option<Queue> {
        match self {
            Turn::Silent => return Some((listener, Vec::new())),
            Turn::Refusing => drop(listener),
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
                return Some((listener, waiting));
            }
        }
        None
    }
}

/// A server that is the good one for its first connection and then turns, after which its queue is received.
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
    let client = builder(&url).cleanup_budget(BUDGET).build().unwrap();
    let tokens = client.generate("/slow").unwrap();
    let _queue = turned.recv().unwrap();
    let id = tokens.conversation_id().to_owned();
    let (said, took) = timed(|| {
        if by_dropping {
            drop(tokens);
            return None;
        }
        Some(tokens.delete())
    });
    let is_left = client.leftovers() == [id];
    (took, said, is_left)
}

const BUDGET: Duration = Duration::from_millis(600);

#[test]
fn tidying_up_keeps_its_budget_whatever_the_server_does() {
    const OUT_OF_TIME: Option<ErrorKind> = Some(ErrorKind::Timeout(Limit::Cleanup));
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
            assert!(took < BUDGET + PROMPT, "{turn:?}: {took:?}");
            assert_eq!(is_left, expected.is_some(), "{turn:?}");
            let Some(said) = said else { continue };
            let error = said.err();
            assert_eq!(
                error.as_ref().map(Error::kind),
                expected,
                "{turn:?}: {error:?}"
            );
            if let Some(error) = error.filter(|_| expected == OUT_OF_TIME) {
                let words =
                    "deleting the conversation: not tidied up within 600ms, the cleanup limit";
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
