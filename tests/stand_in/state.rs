//! The server's state, behind one lock with one condition for every wait.

use std::collections::{BTreeMap, HashMap};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::history::Message;
use super::request::Request;
use super::settings::{ACCEPTED_AT, Settings, has_accepted};

/// Counts of what has happened, and of what there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections ever accepted.
    pub connections: usize,
    /// Connections open now.
    pub open: usize,
    pub requests: usize,
    /// GET requests for a page: what a browser fetches and a client need not.
    pub pages: usize,
    /// Conversations on the server now.
    pub conversations: usize,
    /// Conversations ever created.
    pub created: usize,
    /// Generations running now, with or without a reader.
    pub running: usize,
    /// Generations ended by a stop.
    pub stopped: usize,
    /// Replies ever begun: their first byte has been written.
    pub streaming: usize,
}

#[derive(Default)]
pub(super) struct State {
    /// The counts, without those that are lengths of the collections below.
    pub counts: Counts,
    pub requests: Vec<Request>,
    /// By session.
    pub settings: HashMap<String, Settings>,
    /// By id. Ids grow, so the oldest come first.
    pub conversations: BTreeMap<String, Conversation>,
    /// The prompts that the model was given.
    pub prompts: Vec<String>,
    /// The number of status requests for each deletion job.
    pub polled_jobs: Vec<usize>,
    /// The MCP servers whose tools it was offered with each message.
    pub tools: Vec<Value>,
    /// The files of each message.
    pub files: Vec<Vec<File>>,
    pub generations: HashMap<usize, Generation>,
    generations_ever: usize,
    pub sockets: HashMap<usize, TcpStream>,
    /// True if no more connections are to be accepted.
    is_refusing: bool,
    /// True if the listener is closed.
    pub is_deaf: bool,
    pub is_closed: bool,
}

/// A file of a message, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    pub name: String,
    pub media_type: String,
    pub content: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Conversation {
    /// The session that owns it.
    pub session: String,
    pub title: String,
    pub model: String,
    pub messages: Vec<Message>,
    pub last_stop: Option<Instant>,
    /// The time of a stop that applies to the next reply.
    pub early_stop: Option<Instant>,
}

impl Conversation {
    pub fn new(session: &str, title: String, model: &str, messages: Vec<Message>) -> Self {
        Self {
            session: session.to_string(),
            title,
            model: model.to_string(),
            messages,
            last_stop: None,
            early_stop: None,
        }
    }
}

/// A reply that is being generated.
pub(super) struct Generation {
    pub conversation: String,
    connection: usize,
    /// True if it has to end now.
    is_stopped: bool,
    /// True if no thread sends its reply.
    is_unsent: bool,
    /// True if the client no longer reads its reply.
    pub is_unread: bool,
}

impl State {
    pub fn counts(&self) -> Counts {
        Counts {
            open: self.sockets.len(),
            requests: self.requests.len(),
            conversations: self.conversations.len(),
            running: self.generations.len(),
            ..self.counts.clone()
        }
    }

    /// Returns the connection's number, or none if no more are accepted.
    pub fn connect(&mut self, socket: TcpStream) -> Option<usize> {
        if self.is_refusing {
            return None;
        }
        let connection = self.counts.connections;
        self.counts.connections += 1;
        self.sockets.insert(connection, socket);
        Some(connection)
    }

    /// Replaces a session's settings; the modal stays accepted.
    pub fn save_settings(&mut self, session: &str, mut settings: Settings) {
        if let Some(old) = self.settings.get(session).filter(|old| has_accepted(old)) {
            settings.insert(ACCEPTED_AT.to_string(), old[ACCEPTED_AT].clone());
        }
        self.settings.insert(session.to_string(), settings);
    }

    pub fn has_accepted(&self, session: &str) -> bool {
        self.settings.get(session).is_some_and(has_accepted)
    }

    /// Returns the new conversation's id.
    pub fn create(&mut self, conversation: Conversation) -> String {
        const FIRST: u128 = 0x6b04_84a3_877c_3227_c1a4_6464;
        let id = format!("{:024x}", FIRST + self.counts.created as u128);
        self.insert(id, conversation)
    }

    /// Returns the new conversation's id, a UUID.
    pub fn create_with_uuid(&mut self, conversation: Conversation) -> String {
        const FIRST: u128 = 0x0eb9_e941_da78_49af_8725_361e_a027_98c0;
        let id = Uuid::from_u128(FIRST + self.counts.created as u128);
        self.insert(id.to_string(), conversation)
    }

    fn insert(&mut self, id: String, conversation: Conversation) -> String {
        self.counts.created += 1;
        self.conversations.insert(id.clone(), conversation);
        id
    }

    /// Returns the session's own conversations with their ids, the newest first.
    pub fn conversations_of(&self, session: &str) -> Vec<(&String, &Conversation)> {
        let newest_first = self.conversations.iter().rev();
        newest_first.filter(|(_, conversation)| conversation.session == session).collect()
    }

    pub fn start_generation(&mut self, conversation: &str, connection: usize) -> usize {
        self.generations_ever += 1;
        let generation = Generation {
            conversation: conversation.to_string(),
            connection,
            is_stopped: false,
            is_unsent: false,
            is_unread: false,
        };
        if !self.is_closed {
            self.generations.insert(self.generations_ever, generation);
        }
        self.generations_ever
    }

    pub fn is_running(&self, generation: usize) -> bool {
        let generation = self.generations.get(&generation);
        generation.is_some_and(|generation| !generation.is_stopped)
    }

    pub fn running_in(&self, conversation: &str) -> Vec<usize> {
        let running = self.generations.iter();
        let running = running.filter(|(_, running)| running.conversation == conversation);
        running.map(|(&id, _)| id).collect()
    }

    /// Detaches a generation: it runs until it is stopped.
    pub fn leave_generation(&mut self, generation: usize) {
        if let Some(generation) = self.generations.get_mut(&generation) {
            generation.is_unsent = true;
            generation.is_unread = true;
        }
    }

    /// Returns those of these generations whose replies have a reader.
    pub fn read(&self, generations: Vec<usize>) -> Vec<usize> {
        let mut read = generations;
        read.retain(|id| self.generations.get(id).is_some_and(|it| !it.is_unread));
        read
    }

    /// Ends a generation. `messages` replace those of its conversation.
    pub fn finish_generation(&mut self, generation: usize, messages: Option<Vec<Message>>) {
        let Some(generation) = self.generations.remove(&generation) else {
            return;
        };
        self.counts.stopped += usize::from(generation.is_stopped);
        let conversation = self.conversations.get_mut(&generation.conversation);
        if let (Some(messages), Some(conversation)) = (messages, conversation) {
            conversation.messages = messages;
        }
    }

    /// Makes these generations end. Those that no thread sends end here.
    pub fn stop(&mut self, generations: &[usize]) {
        for id in generations {
            let Some(generation) = self.generations.get_mut(id) else {
                continue;
            };
            generation.is_stopped = true;
            if generation.is_unsent {
                self.finish_generation(*id, None);
            }
        }
    }
}

/// The state, and the means to wait for its changes.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// Ignores poisoning: a test that failed with the lock must still be able to drop the server.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits while the condition holds, or until the time is over. `None` means no limit.
    pub fn wait_while(
        &self,
        limit: Option<Duration>,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let limit = limit.unwrap_or(Duration::MAX);
        let condition = |state: &mut State| condition(state);
        let waited = (self.changed).wait_timeout_while(self.lock(), limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the listener is closed.
    pub fn refuse(&self, address: SocketAddr) {
        self.change(|state| state.is_refusing = true);
        // The accepting thread checks the flag after each connection only.
        let _ = TcpStream::connect(address);
        drop(self.wait_while(None, |state| !state.is_deaf));
    }

    /// Ends these generations after the delay, without waiting for it. If `only_read`, those
    /// without a reader continue.
    pub fn stop_after(self: &Arc<Self>, delay: Duration, generations: Vec<usize>, only_read: bool) {
        if delay.is_zero() {
            return self.stop(&generations);
        }
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let state = shared.wait_while(Some(delay), |state| !state.is_closed);
            let generations = if only_read { state.read(generations) } else { generations };
            drop(state);
            shared.stop(&generations);
        });
    }

    /// Waits until they have ended, unless their replies are stuck.
    fn stop(&self, generations: &[usize]) {
        const PATIENCE: Duration = Duration::from_millis(300);
        self.change(|state| state.stop(generations));
        let state = self.wait_while(Some(PATIENCE), |state| {
            let mut ids = generations.iter();
            ids.any(|id| state.generations.contains_key(id))
        });
        let stuck = generations.iter().filter_map(|id| state.generations.get(id));
        for generation in stuck {
            // The client does not read: only this wakes the thread that writes.
            if let Some(socket) = state.sockets.get(&generation.connection) {
                let _ = socket.shutdown(Shutdown::Write);
            }
        }
    }

    /// Ends every connection and every wait.
    pub fn close(&self) {
        self.change(|state| {
            state.is_refusing = true;
            state.is_closed = true;
            state.generations.clear();
            for (_, socket) in state.sockets.drain() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
    }
}
