//! One client's connection: its requests in turn, and the reply that is written into it.

use std::io::{self, BufRead, BufReader, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::answer::{BAD_REQUEST, LAST_CHUNK, chunk};
use super::exchange::{self, Job};
use super::generation::Generation;
use super::plan::Act;
use super::request::{self, Request};
use super::state::State;
use super::transcript::Transcript;
use super::{Config, Reaction};

/// Whether the connection can serve another request.
type Kept = io::Result<bool>;

/// Serves a connection which the state knows as `id`.
pub(super) fn serve(config: &Config, state: &Arc<State>, socket: &TcpStream, id: usize) {
    let connection = Connection {
        config,
        state,
        socket,
        id,
    };
    // An error is the client's going away.
    let _ = connection.serve();
}

struct Connection<'a> {
    config: &'a Config,
    state: &'a Arc<State>,
    socket: &'a TcpStream,
    id: usize,
}

impl Connection<'_> {
    fn serve(&self) -> io::Result<()> {
        self.socket.set_nodelay(true)?;
        let mut reader = BufReader::new(self.socket);
        loop {
            let request = match request::read_request(&mut reader, self.id) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return self.write(BAD_REQUEST);
                }
                request => request?,
            };
            self.socket.set_read_timeout(None)?;
            let is_page = exchange::is_page(self.config, &request);
            self.state.arrived(&request, is_page);
            if !self.react(&request, &mut reader)? || request.wants_close() {
                return Ok(());
            }
            // Only a connection that has served counts as idle.
            self.socket.set_read_timeout(Some(self.config.idle))?;
        }
    }

    fn react(&self, request: &Request, reader: &mut impl BufRead) -> Kept {
        match (self.config.intercept)(request) {
            None => self.reply(request),
            Some(Reaction::Answer(bytes)) => self.write(&bytes).map(|()| true),
            Some(Reaction::AnswerAndClose(bytes)) => self.write(&bytes).map(|()| false),
            Some(Reaction::Silence) => io::copy(reader, &mut io::sink()).map(|_| false),
            Some(Reaction::Close) => Ok(false),
        }
    }

    fn reply(&self, request: &Request) -> Kept {
        let close = request.wants_close();
        match exchange::reply(self.config, self.state, request) {
            (answer, None) => self.write(&answer.render(close)).map(|()| true),
            (answer, Some(job)) => {
                let stream = Stream {
                    connection: self,
                    generation: Generation::start(self.state, &job.conversation, self.id),
                    transcript: Transcript::default(),
                    head: answer.head(close),
                    gone: false,
                };
                Ok(stream.run(job))
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        socket.write_all(bytes)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // Closed before it is counted as such, although the state has a clone.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.state.disconnect(self.id);
    }
}

/// A reply on its way, which goes on whether or not the client is still there.
struct Stream<'a> {
    connection: &'a Connection<'a>,
    generation: Generation<'a>,
    transcript: Transcript,
    /// Empty once it has been sent.
    head: Vec<u8>,
    gone: bool,
}

impl Stream<'_> {
    /// Whether the connection can serve another request.
    fn run(mut self, job: Job) -> bool {
        let details = job.details.as_ref();
        for act in job.acts {
            match act {
                Act::Send(bytes) => self.relay(&bytes),
                Act::Last(last) => self.relay(&last.frame(details)),
                Act::Wait(time) => self.generation.pause(Some(time)),
                Act::Hang => self.generation.pause(None),
                Act::Drop => return false,
            }
            if !self.generation.is_running() {
                let messages = job.turn.answered(self.transcript.so_far());
                self.generation.finish(Some(messages));
                return false;
            }
        }
        // Before the last chunk: who has seen the end finds nothing running, and the reply in the
        // history.
        let whole = self.transcript.whole();
        let messages = whole.map(|text| job.turn.answered(&text));
        let finished = self.generation.finish(messages);
        if finished {
            self.send(LAST_CHUNK);
        }
        finished && !self.gone
    }

    fn relay(&mut self, bytes: &[u8]) {
        self.transcript.read(bytes);
        self.send(&chunk(bytes));
    }

    fn send(&mut self, bytes: &[u8]) {
        // Every socket takes that much at once, so that the state is not locked for long.
        const START: usize = 4096;
        if self.gone || bytes.is_empty() {
            return;
        }
        let written = if self.head.is_empty() {
            self.connection.write(bytes)
        } else {
            let bytes = [&mem::take(&mut self.head), bytes].concat();
            let (start, rest) = bytes.split_at(bytes.len().min(START));
            let begun = self.generation.begin(|| self.connection.write(start));
            begun.and_then(|()| self.connection.write(rest))
        };
        self.gone = written.is_err();
    }
}
