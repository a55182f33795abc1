//! `Tokens::write_to`: the reader sees each token as early as with a flush after each, in few
//! writes.

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, ErrorKind};

use crate::stand_in::{Act, Builder, Last, Plan, Reaction, StandIn, frame};
use crate::support::{GREETING, builder, client};

const TEXT: &str = " word";

/// The length of the text that has been flushed.
#[derive(Clone, Default)]
struct Flushed(Arc<AtomicUsize>);

/// A writer that reports each flush.
struct Screen {
    written: usize,
    writes: usize,
    flushed: Flushed,
    tell: Option<mpsc::Sender<()>>,
}

impl Screen {
    fn new(flushed: &Flushed) -> Screen {
        Screen { written: 0, writes: 0, flushed: flushed.clone(), tell: None }
    }
}

impl Write for Screen {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        assert!(std::str::from_utf8(text).is_ok());
        self.written += text.len();
        self.writes += 1;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed.0.store(self.written, SeqCst);
        // Nobody is waiting after the last step.
        let _ = self.tell.as_ref().map(|tell| tell.send(()));
        Ok(())
    }
}

/// A reader that lets the first write wait.
struct Paused {
    time: Duration,
    text: String,
}

impl Write for Paused {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        thread::sleep(mem::take(&mut self.time));
        self.text += std::str::from_utf8(text).unwrap();
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_time_of_a_slow_writer_counts_for_no_timeout() {
    const TIMEOUT: Duration = Duration::from_millis(700);
    let server = StandIn::start();
    let builder = builder(&server).token_timeout(TIMEOUT).idle_timeout(TIMEOUT);
    let mut paused = Paused { time: TIMEOUT * 2, text: String::new() };
    let mut tokens = builder.build().unwrap().stream("hello").unwrap();
    tokens.write_to(&mut paused).unwrap();
    assert_eq!(paused.text, GREETING);
}

fn token() -> Vec<u8> {
    frame::token(0, TEXT)
}

fn end(tokens: usize) -> Act {
    Act::Last(Last::eos(TEXT.repeat(tokens), tokens))
}

/// Steps that each bring this many tokens, in chunks and writes of different shapes.
fn steps() -> Vec<(usize, Vec<u8>)> {
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let one = (1, chunk(&token()));
    let several_chunks = (5, chunk(&token()).repeat(5));
    let one_chunk = (200, chunk(&token().repeat(200)));
    // A write ends within a token, which the next one completes.
    let (first, second) = (chunk(&token()[..20]), chunk(&token()[20..]));
    let halves = [(1, [chunk(&token()), first].concat()), (1, second)];
    [vec![one; 3], vec![several_chunks; 3], vec![one_chunk; 3], halves.to_vec()].concat()
}

/// Has a server send each step only when the text of the one before has been flushed.
pub fn assert_lockstep(server: Builder, connect: impl FnOnce(&StandIn) -> Client) {
    let flushed = Flushed::default();
    let (tell, told) = mpsc::channel();
    let (told, seen) = (Mutex::new(Some(told)), flushed.clone());
    let plan = move |_: &str| {
        let (told, seen) = (told.lock().unwrap().take().unwrap(), seen.clone());
        let mut expected = 0;
        let step = move |(tokens, bytes): (usize, Vec<u8>)| {
            while seen.0.load(SeqCst) < expected {
                told.recv_timeout(Duration::from_secs(10)).expect("the text is flushed");
            }
            expected += tokens * TEXT.len();
            Act::React(Reaction::Response(bytes))
        };
        let total = steps().iter().map(|(tokens, _)| tokens).sum();
        // The head of the response is sent with the comment.
        let acts = [Act::Comment].into_iter().chain(steps().into_iter().map(step));
        Plan::acts(acts.chain([end(total)]))
    };
    let server = server.plan(plan).start();
    let mut screen = Screen { tell: Some(tell), ..Screen::new(&flushed) };
    connect(&server).stream("hello").unwrap().write_to(&mut screen).unwrap();
    let total: usize = steps().iter().map(|(tokens, _)| tokens * TEXT.len()).sum();
    assert_eq!(flushed.0.load(SeqCst), total);
}

#[test]
fn each_token_is_flushed_before_the_next_is_waited_for() {
    assert_lockstep(StandIn::builder(), client);
}

#[test]
fn tokens_that_are_here_already_are_written_together() {
    const TOKENS: usize = 100_000;
    let plan = |_: &str| Plan::acts([Act::Send(token().repeat(TOKENS)), end(TOKENS)]);
    let server = StandIn::builder().plan(plan).start();
    let mut screen = Screen::new(&Flushed::default());
    let mut tokens = client(&server).stream("hello").unwrap();
    tokens.write_to(&mut screen).unwrap();
    assert_eq!(screen.written, TOKENS * TEXT.len());
    assert_eq!(tokens.token_count(), TOKENS as u64);
    assert!(screen.writes <= TOKENS / 100, "{} writes", screen.writes);
}

#[test]
fn everything_is_written_before_the_cleanup() {
    for end in ["whole", "failed"] {
        let flushed = Flushed::default();
        let (seen, at_deletion) = (flushed.clone(), Arc::new(AtomicUsize::new(0)));
        let found = Arc::clone(&at_deletion);
        let server = StandIn::builder().intercept(move |request| {
            if request.method == "DELETE" {
                found.store(seen.0.load(SeqCst), SeqCst);
            }
            None
        });
        let plan = |end: &str| match end {
            "whole" => Plan::acts([Act::Send(token().repeat(3)), self::end(3)]),
            _ => Plan::bytes(vec![[token().repeat(3), b"data: broken\n\n".to_vec()].concat()]),
        };
        let server = server.plan(plan).start();
        let written = client(&server).stream(end).unwrap().write_to(Screen::new(&flushed));
        assert_eq!(written.is_ok(), end == "whole");
        assert_eq!(at_deletion.load(SeqCst), 3 * TEXT.len(), "{end}");
    }
}

#[test]
fn a_failed_last_write_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let plan = |_: &str| Plan::acts([Act::Together(vec![Act::Send(token()), end(1)])]);
    let server = StandIn::builder().plan(plan).start();
    let mut tokens = client(&server).stream("hello").unwrap();
    let error = tokens.write_to(Full).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    assert!(tokens.end().is_none());
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}
