//! A reply that is being generated, as the thread that sends it sees it.

use std::io;
use std::mem;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::exchange::Job;
use super::history::Message;
use super::state::{Running, State};

/// One running generation, until it is dropped.
pub(super) struct Generation<'a> {
    state: &'a State,
    id: usize,
}

impl<'a> Generation<'a> {
    pub fn start(state: &'a State, job: &Job, connection: usize) -> Self {
        let id = state.change(|inner| {
            let id = inner.generations_ever;
            inner.generations_ever += 1;
            if !inner.closed {
                let mut running = Running::new(&job.conversation, connection);
                running.stopped = job.stopped;
                inner.generations.insert(id, running);
            }
            id
        });
        Self { state, id }
    }

    pub fn is_running(&self) -> bool {
        self.state.lock().is_running(self.id)
    }

    /// Writes the first bytes of the reply and counts them as one: whoever sees the count can rely
    /// on the bytes.
    pub fn begin(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.state.change(|inner| {
            inner.counts.streaming += 1;
            write()
        })
    }

    /// Lets time pass, without end if none is given, until the generation is to end.
    pub fn pause(&self, time: Option<Duration>) {
        let end = time.map(|time| Instant::now() + time);
        let mut inner = self.state.lock();
        while inner.is_running(self.id) {
            let changed = &self.state.changed;
            inner = match end {
                None => changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let waited = changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Leaves it to itself: it runs until it is stopped, and nobody sends its reply.
    pub fn go_on(self) {
        self.state.change(|inner| {
            if let Some(running) = inner.generations.get_mut(&self.id) {
                running.alone = true;
            }
        });
        if self.is_running() {
            mem::forget(self);
        }
    }

    /// Ends it, with what is to be remembered of its conversation from now on.
    pub fn finish(&self, messages: Option<Vec<Message>>) {
        self.state.change(|inner| {
            let Some(running) = inner.generations.remove(&self.id) else {
                return;
            };
            inner.counts.stopped += usize::from(running.stopped);
            let conversation = inner.conversations.get_mut(&running.conversation);
            if let (Some(messages), Some(conversation)) = (messages, conversation) {
                conversation.messages = messages;
            }
        });
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.finish(None);
    }
}
