//! What the server remembers, behind one lock, with one condition for every wait.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::request::Request;

/// What has happened so far, and what there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted ever.
    pub connections: usize,
    /// Connections open now.
    pub open: usize,
    pub requests: usize,
    /// GET requests other than for the listing: what a browser would fetch and a client need not.
    pub pages: usize,
    /// Open now.
    pub conversations: usize,
    pub created: usize,
    /// Generations running now, whether or not somebody reads them.
    pub running: usize,
    /// Generations ended by a stop.
    pub stopped: usize,
    /// Replies whose first byte has been written, ever.
    pub streaming: usize,
}

#[derive(Default)]
struct Inner {
    counts: Counts,
    requests: Vec<Request>,
    /// Session → what it has posted.
    settings: HashMap<String, Settings>,
    conversations: BTreeMap<String, Conversation>,
    /// Those running; one that is missing has been stopped.
    generations: HashMap<usize, Running>,
    generations_ever: usize,
    sockets: HashMap<usize, TcpStream>,
    closed: bool,
}

#[derive(Clone)]
pub(super) struct Settings {
    /// Whether the modal is accepted.
    pub accepted: bool,
    pub shares: bool,
    pub active_model: String,
}

#[derive(Clone)]
pub(super) struct Conversation {
    /// The session that owns it.
    pub session: String,
    pub title: String,
    pub model: String,
}

struct Running {
    conversation: String,
    connection: usize,
}

impl Inner {
    fn counts(&self) -> Counts {
        Counts {
            open: self.sockets.len(),
            conversations: self.conversations.len(),
            running: self.generations.len(),
            ..self.counts.clone()
        }
    }

    fn conversations_of(&self, session: &str) -> impl Iterator<Item = (&String, &Conversation)> {
        let all = self.conversations.iter();
        all.filter(move |(_, conversation)| conversation.session == session)
    }
}

#[derive(Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl State {
    /// A test that failed while it held the lock must still be able to drop the server.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// The connection's number, or none if the server is closed.
    pub fn connect(&self, socket: TcpStream) -> Option<usize> {
        self.change(|inner| {
            if inner.closed {
                return None;
            }
            let connection = inner.counts.connections;
            inner.counts.connections += 1;
            inner.sockets.insert(connection, socket);
            Some(connection)
        })
    }

    pub fn disconnect(&self, connection: usize) {
        self.change(|inner| inner.sockets.remove(&connection));
    }

    pub fn arrived(&self, request: &Request, is_page: bool) {
        self.change(|inner| {
            inner.counts.requests += 1;
            inner.counts.pages += usize::from(is_page);
            inner.requests.push(request.clone());
        });
    }

    /// The modal, once accepted, stays so.
    pub fn save_settings(&self, session: &str, mut settings: Settings) {
        self.change(|inner| {
            let before = inner.settings.get(session);
            settings.accepted |= before.is_some_and(|before| before.accepted);
            inner.settings.insert(session.to_string(), settings);
        });
    }

    pub fn settings(&self, session: &str) -> Option<Settings> {
        self.lock().settings.get(session).cloned()
    }

    pub fn has_accepted(&self, session: &str) -> bool {
        let inner = self.lock();
        let settings = inner.settings.get(session);
        settings.is_some_and(|settings| settings.accepted)
    }

    pub fn forget_sessions(&self) {
        self.change(|inner| {
            for settings in inner.settings.values_mut() {
                settings.accepted = false;
            }
        });
    }

    /// A new conversation's id.
    pub fn create(&self, session: &str, model: &str) -> String {
        const FIRST: u128 = 0x6b04_84a3_877c_3227_c1a4_6464;
        self.change(|inner| {
            let id = format!("{:024x}", FIRST + inner.counts.created as u128);
            inner.counts.created += 1;
            let number = inner.conversations_of(session).count() + 1;
            let conversation = Conversation {
                session: session.to_string(),
                title: format!("Untitled {number}"),
                model: model.to_string(),
            };
            inner.conversations.insert(id.clone(), conversation);
            id
        })
    }

    pub fn owns(&self, session: &str, conversation: &str) -> bool {
        let inner = self.lock();
        let mut own = inner.conversations_of(session);
        own.any(|(id, _)| id == conversation)
    }

    pub fn forget(&self, conversation: &str) {
        self.change(|inner| inner.conversations.remove(conversation));
    }

    pub fn stop(&self, conversation: &str) {
        self.change(|inner| {
            let stopped = inner
                .generations
                .extract_if(|_, running| running.conversation == conversation);
            for (_, running) in stopped {
                inner.counts.stopped += 1;
                // A reply which nobody reads is stuck in its write: only this wakes it.
                if let Some(socket) = inner.sockets.get(&running.connection) {
                    let _ = socket.shutdown(Shutdown::Write);
                }
            }
        });
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    pub fn conversations(&self) -> Vec<String> {
        self.lock().conversations.keys().cloned().collect()
    }

    /// The session's own with their ids, the oldest first.
    pub fn conversations_of(&self, session: &str) -> Vec<(String, Conversation)> {
        let inner = self.lock();
        let own = inner.conversations_of(session);
        own.map(|(id, conversation)| (id.clone(), conversation.clone()))
            .collect()
    }

    /// The counts once they fulfil the condition, or as they are when the time is up.
    pub fn wait_for(
        &self,
        limit: Duration,
        condition: impl Fn(&Counts) -> bool,
    ) -> Result<Counts, Counts> {
        let (inner, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |inner| !condition(&inner.counts()))
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            Err(inner.counts())
        } else {
            Ok(inner.counts())
        }
    }

    /// Ends every connection and every wait.
    pub fn close(&self) {
        self.change(|inner| {
            inner.closed = true;
            inner.generations.clear();
            for (_, socket) in inner.sockets.drain() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
    }

    pub fn generate(&self, conversation: &str, connection: usize) -> Generation<'_> {
        let running = Running {
            conversation: conversation.to_string(),
            connection,
        };
        let id = self.change(|inner| {
            let id = inner.generations_ever;
            inner.generations_ever += 1;
            if !inner.closed {
                inner.generations.insert(id, running);
            }
            id
        });
        Generation { state: self, id }
    }
}

/// One running generation, until it is dropped.
pub(super) struct Generation<'a> {
    state: &'a State,
    id: usize,
}

impl Generation<'_> {
    pub fn is_running(&self) -> bool {
        self.state.lock().generations.contains_key(&self.id)
    }

    /// Writes the first bytes of the reply and counts them as one: whoever sees the count can rely
    /// on the bytes.
    pub fn begin(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.state.change(|inner| {
            inner.counts.streaming += 1;
            write()
        })
    }

    /// Lets time pass, without end if none is given, until the generation no longer runs.
    pub fn pause(&self, time: Option<Duration>) {
        let end = time.map(|time| Instant::now() + time);
        let mut inner = self.state.lock();
        while inner.generations.contains_key(&self.id) {
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

    /// Whether it came to its end unstopped.
    pub fn finish(&self) -> bool {
        self.state
            .change(|inner| inner.generations.remove(&self.id).is_some())
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
