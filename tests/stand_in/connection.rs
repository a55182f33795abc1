//! One client's connection: its requests in turn, and the reply that is written into it.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::{BAD_REQUEST, LAST_CHUNK, chunk};
use super::exchange::{self, Job};
use super::generation::Generation;
use super::late::Late;
use super::plan::Act;
use super::request::{self, Request};
use super::state::State;
use super::voice::{self, How, Then, Voice};
use super::{Config, Reaction};

const HEARTBEAT: Duration = Duration::from_millis(100);

/// Whether the connection can serve another request.
type Kept = io::Result<bool>;

/// Serves a connection which the state knows as `id`.
pub(super) fn serve(config: &Config, state: &Arc<State>, socket: &TcpStream, id: usize) {
    let connection = Connection {
        config,
        state,
        socket,
        id,
        reader: RefCell::new(Late::new(socket)),
        bytewise: Cell::new(false),
        reset: Cell::new(false),
    };
    // An error is the client's going away.
    let _ = connection.serve();
}

struct Connection<'a> {
    config: &'a Config,
    state: &'a Arc<State>,
    socket: &'a TcpStream,
    id: usize,
    reader: RefCell<Late<'a>>,
    /// Each byte is written for itself.
    bytewise: Cell<bool>,
    /// It is to end by a reset.
    reset: Cell<bool>,
}

impl Connection<'_> {
    fn serve(&self) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        loop {
            let limit = self.config.dialect.body_limit();
            let request = request::read_request(&mut *self.reader.borrow_mut(), self.id, limit);
            let request = match request {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return self.write(BAD_REQUEST);
                }
                request => request?,
            };
            self.socket.set_read_timeout(None)?;
            let is_page = exchange::is_page(self.config, &request);
            self.state.arrived(&request, is_page);
            if !self.react(&request)? || request.wants_close() {
                return Ok(());
            }
            // Only a connection that has served counts as idle.
            self.socket.set_read_timeout(Some(self.config.idle))?;
        }
    }

    fn react(&self, request: &Request) -> Kept {
        let close = request.wants_close();
        self.bytewise.set(false);
        match (self.config.intercept)(request) {
            None => self.reply(request, close),
            Some(Reaction::Bytewise) => {
                self.bytewise.set(true);
                self.reply(request, close)
            }
            Some(Reaction::Farewell) => {
                self.state.refuse(self.socket.local_addr()?);
                self.reply(request, true).map(|_| false)
            }
            Some(Reaction::Lost(instead)) => {
                if let (_, Some(job)) = exchange::reply(self.config, self.state, request) {
                    Generation::start(self.state, &job, self.id).go_on();
                }
                self.perform(*instead)
            }
            Some(reaction) => self.perform(reaction),
        }
    }

    /// What takes no look at the request.
    fn perform(&self, reaction: Reaction) -> Kept {
        match reaction {
            Reaction::Answer(bytes) => self.write(&bytes).map(|()| true),
            Reaction::AnswerAndClose(bytes) => self.write(&bytes).map(|()| false),
            Reaction::Silence => {
                io::copy(&mut *self.reader.borrow_mut(), &mut io::sink()).map(|_| false)
            }
            Reaction::Close => Ok(false),
            Reaction::Reset => {
                self.reset.set(true);
                Ok(false)
            }
            Reaction::Endless { start, more, pace } => {
                self.write(&start)?;
                loop {
                    self.write(&more)?;
                    thread::sleep(pace);
                }
            }
            Reaction::Bytewise => {
                self.bytewise.set(true);
                Ok(true)
            }
            Reaction::Farewell | Reaction::Lost(_) => unreachable!("there is no answer to replace"),
        }
    }

    fn reply(&self, request: &Request, close: bool) -> Kept {
        match exchange::reply(self.config, self.state, request) {
            (answer, None) => self.write(&answer.render(close)).map(|()| true),
            (answer, Some(job)) => {
                let stream = Stream {
                    connection: self,
                    generation: Generation::start(self.state, &job, self.id),
                    beat: job.voice.heartbeat().map(|_| Instant::now() + HEARTBEAT),
                    head: answer.head(close),
                    gone: false,
                };
                Ok(stream.run(job))
            }
        }
    }

    /// It is the client who ends it.
    fn wait_for_end(&self) -> bool {
        let mut socket = self.socket;
        let _ = io::copy(&mut socket, &mut io::sink());
        false
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        if self.bytewise.get() {
            bytes.chunks(1).try_for_each(|byte| socket.write_all(byte))
        } else {
            socket.write_all(bytes)
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // Closed before it is counted as such, although the state has a clone. A shutdown would be no reset.
        if !self.reset.get() {
            let _ = self.reader.borrow_mut().take();
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        self.state.disconnect(self.id);
    }
}

/// A reply on its way, which goes on whether or not the client is still there.
struct Stream<'a, 'c> {
    connection: &'a Connection<'c>,
    generation: Generation<'a>,
    /// When to send what is sent at a regular pace.
    beat: Option<Instant>,
    /// Empty once it has been sent.
    head: Vec<u8>,
    gone: bool,
}

impl Stream<'_, '_> {
    /// Whether the connection can serve another request.
    fn run(mut self, mut job: Job) -> bool {
        self.send_chunks(job.voice.begin());
        let mut whole = false;
        for act in job.acts.by_ref() {
            if !self.generation.is_running() {
                break;
            }
            whole |= matches!(act, Act::Last(_));
            match act {
                Act::React(reaction) => {
                    if !self.connection.perform(reaction).is_ok_and(|kept| kept) {
                        self.cut_off(whole, job);
                        return false;
                    }
                }
                Act::Wait(time) => self.wait(job.voice.as_ref(), Some(time)),
                Act::Hang => self.wait(job.voice.as_ref(), None),
                Act::Drop => return false,
                act => self.say(job.voice.as_mut(), &act),
            }
        }
        let how = if self.generation.is_running() {
            How::Over
        } else {
            How::Stopped
        };
        let ending = job.voice.end(how);
        self.send_chunks(ending.chunks);
        // Before the last chunk: who has seen the end finds nothing running, and the reply in the
        // history.
        let messages = ending.text.map(|text| job.turn.answered(&text));
        self.generation.finish(messages);
        match ending.then {
            Then::LastChunk => self.send(LAST_CHUNK),
            Then::Close => return false,
            Then::Silence => return self.connection.wait_for_end(),
        }
        !self.gone
    }

    /// The client is gone. Of a model that has not finished, nobody tells it.
    fn cut_off(self, whole: bool, mut job: Job) {
        if whole {
            let text = job.voice.end(How::Over).text;
            self.generation
                .finish(text.map(|text| job.turn.answered(&text)));
        } else {
            self.generation.go_on();
        }
    }

    fn say(&mut self, voice: &mut dyn Voice, act: &Act) {
        const PACE: Duration = Duration::from_millis(1);
        let chunks = voice::chunks(voice, act);
        // One read of what is cut should not take it all.
        let paced = matches!(act, Act::Cut(_));
        for bytes in chunks {
            self.send(&chunk(&bytes));
            if paced {
                self.generation.pause(Some(PACE));
            }
        }
    }

    fn wait(&mut self, voice: &dyn Voice, time: Option<Duration>) {
        let end = time.map(|time| Instant::now() + time);
        while self.generation.is_running() {
            let next = [end, self.beat].into_iter().flatten().min();
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            self.generation.pause(left);
            let now = Instant::now();
            if self.beat.is_some_and(|beat| beat <= now) {
                self.send_chunks(voice.heartbeat().into_iter().collect());
                self.beat = Some(now + HEARTBEAT);
            }
            if end.is_some_and(|end| end <= now) {
                return;
            }
        }
    }

    fn send_chunks(&mut self, chunks: Vec<Vec<u8>>) {
        for bytes in chunks {
            self.send(&chunk(&bytes));
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // Every socket takes that much at once, so that the state is not locked for long.
        const START: usize = 4096;
        let start = if self.connection.bytewise.get() {
            1
        } else {
            START
        };
        if self.gone || bytes.is_empty() {
            return;
        }
        let written = if self.head.is_empty() {
            self.connection.write(bytes)
        } else {
            let bytes = [&mem::take(&mut self.head), bytes].concat();
            let (start, rest) = bytes.split_at(bytes.len().min(start));
            let begun = self.generation.begin(|| self.connection.write(start));
            begun.and_then(|()| self.connection.write(rest))
        };
        self.gone = written.is_err();
    }
}
