//! Sends one reply. The model continues even if the client is gone.

use std::mem;
use std::time::{Duration, Instant};

use super::chat_ui::Job;
use super::connection::Connection;
use super::plan::Act;
use super::response::{LAST_CHUNK, chunk};
use super::state::Shared;

const KEEP_ALIVE_PACE: Duration = Duration::from_millis(100);

/// A running generation. It ends when this is dropped.
pub(super) struct Running<'a> {
    shared: &'a Shared,
    id: usize,
}

impl<'a> Running<'a> {
    pub fn start(shared: &'a Shared, job: &Job, connection: usize) -> Self {
        let id = shared.change(|state| {
            let id = state.start_generation(&job.conversation, connection);
            if job.is_stopped {
                state.stop(&[id]);
            }
            id
        });
        Self { shared, id }
    }

    fn is_running(&self) -> bool {
        self.shared.lock().is_running(self.id)
    }

    /// Waits for this time, or without a limit, but not longer than the generation runs.
    fn pause(&self, time: Option<Duration>) {
        drop((self.shared).wait_while(time, |state| state.is_running(self.id)));
    }

    /// Detaches it: it runs until it is stopped, and no thread sends its reply.
    pub fn leave(self) {
        self.shared.change(|state| state.leave_generation(self.id));
        if self.is_running() {
            mem::forget(self);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        (self.shared).change(|state| state.finish_generation(self.id, None));
    }
}

pub(super) struct Stream<'a, 'c> {
    connection: &'a Connection<'c>,
    running: Running<'a>,
    /// The time of the next keep-alive.
    next_keep_alive: Option<Instant>,
    /// The head is sent with the first chunk, and is empty then.
    head: Vec<u8>,
    is_client_gone: bool,
}

impl<'a, 'c> Stream<'a, 'c> {
    pub fn new(connection: &'a Connection<'c>, job: &Job, head: Vec<u8>) -> Self {
        let keep_alive = job.encoder.keep_alive();
        Self {
            connection,
            running: Running::start(connection.shared, job, connection.id),
            next_keep_alive: keep_alive.map(|_| Instant::now() + KEEP_ALIVE_PACE),
            head,
            is_client_gone: false,
        }
    }

    /// Returns whether the connection can serve another request.
    pub fn run(mut self, mut job: Job) -> bool {
        self.send_chunks(job.encoder.start());
        let mut is_whole = false;
        while let Some(act) = job.acts.next() {
            if !self.running.is_running() {
                break;
            }
            is_whole |= matches!(act, Act::Last(_));
            match act {
                Act::React(reaction) => {
                    if !self.connection.perform(reaction).is_ok_and(|kept| kept) {
                        self.cut_off(is_whole, job);
                        return false;
                    }
                }
                Act::Wait(time) => self.wait(&job, Some(time)),
                Act::Hang => self.wait(&job, None),
                Act::Drop => return false,
                act => self.perform(&mut job, &act),
            }
        }
        let ending = job.encoder.end(!self.running.is_running());
        self.send_chunks(ending.chunks);
        // Before the last chunk: a client that has the end finds no running generation, and the
        // reply in the history.
        self.finish(&job, ending.text);
        if ending.closes {
            return false;
        }
        self.send(LAST_CHUNK);
        !self.is_client_gone
    }

    fn finish(&self, job: &Job, text: Option<String>) {
        let messages = text.map(|text| job.turn.answered(&text));
        let id = self.running.id;
        (self.running.shared).change(|state| state.finish_generation(id, messages));
    }

    /// Handles a lost connection. An unfinished model does not notice it.
    fn cut_off(self, is_whole: bool, mut job: Job) {
        if is_whole {
            let text = job.encoder.end(false).text;
            self.finish(&job, text);
        } else {
            self.running.leave();
        }
    }

    fn perform(&mut self, job: &mut Job, act: &Act) {
        const PACE: Duration = Duration::from_millis(1);
        for bytes in job.encoder.encode(act) {
            self.send(&chunk(&bytes));
            // The client has to read the pieces one by one.
            if matches!(act, Act::Cut(_)) {
                self.running.pause(Some(PACE));
            }
        }
    }

    fn wait(&mut self, job: &Job, time: Option<Duration>) {
        let end = time.map(|time| Instant::now() + time);
        while self.running.is_running() {
            let next = [end, self.next_keep_alive].into_iter().flatten().min();
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            self.running.pause(left);
            let now = Instant::now();
            if self.next_keep_alive.is_some_and(|next| next <= now) {
                self.send_chunks(job.encoder.keep_alive().into_iter().collect());
                self.next_keep_alive = Some(now + KEEP_ALIVE_PACE);
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
        if self.is_client_gone || bytes.is_empty() {
            return;
        }
        let written = if self.head.is_empty() {
            self.connection.write(bytes)
        } else {
            // Every socket accepts that much at once, so the lock is short.
            const START: usize = 4096;
            let start = if self.connection.bytewise.get() { 1 } else { START };
            let bytes = [&mem::take(&mut self.head), bytes].concat();
            let (start, rest) = bytes.split_at(bytes.len().min(start));
            // Once the reply is counted, its first bytes have been sent.
            let begun = self.connection.shared.change(|state| {
                state.counts.streaming += 1;
                self.connection.write(start)
            });
            begun.and_then(|()| self.connection.write(rest))
        };
        if written.is_err() {
            self.is_client_gone = true;
            let (shared, id) = (self.running.shared, self.running.id);
            shared.change(|state| {
                let generation = state.generations.get_mut(&id);
                generation.map(|generation| generation.is_unread = true)
            });
        }
    }
}
