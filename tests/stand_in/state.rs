//! What the server remembers, behind one lock, with one condition for every wait.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::history::Message;
use super::request::Request;

/// What has happened so far, and what there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted ever.
    pub connections: usize,
    /// Connections open now.
    pub open: usize,
    pub requests: usize,
    /// GET requests other than for a page's data: what a browser would fetch and a client need not.
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
pub(super) struct Inner {
    pub counts: Counts,
    requests: Vec<Request>,
    /// Session → what it has posted.
    settings: HashMap<String, Settings>,
    pub conversations: BTreeMap<String, Conversation>,
    /// What the model was given.
    prompts: Vec<String>,
    pub generations: HashMap<usize, Running>,
    pub generations_ever: usize,
    /// Conversation → when it was last asked to stop.
    stops: HashMap<String, Instant>,
    /// Conversation → when it was asked to stop although nothing ran.
    idle_stops: HashMap<String, Instant>,
    sockets: HashMap<usize, TcpStream>,
    door: Door,
    pub closed: bool,
}

/// Whether connections are accepted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Door {
    #[default]
    Open,
    Closing,
    Closed,
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
    pub messages: Vec<Message>,
}

pub(super) struct Running {
    pub conversation: String,
    connection: usize,
    /// Whether it is to end now.
    pub stopped: bool,
    /// Nobody sends its reply.
    pub alone: bool,
}

impl Running {
    pub fn new(conversation: &str, connection: usize) -> Self {
        Self {
            conversation: conversation.to_string(),
            connection,
            stopped: false,
            alone: false,
        }
    }
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

    pub fn is_running(&self, generation: usize) -> bool {
        let running = self.generations.get(&generation);
        running.is_some_and(|running| !running.stopped)
    }

    fn conversations_of(&self, session: &str) -> impl Iterator<Item = (&String, &Conversation)> {
        let all = self.conversations.iter();
        all.filter(move |(_, conversation)| conversation.session == session)
    }
}

#[derive(Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
    pub changed: Condvar,
}

impl State {
    /// A test that failed while it held the lock must still be able to drop the server.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// The connection's number, or none if no more are accepted.
    pub fn connect(&self, socket: TcpStream) -> Option<usize> {
        self.change(|inner| {
            if inner.closed || inner.door != Door::Open {
                return None;
            }
            let connection = inner.counts.connections;
            inner.counts.connections += 1;
            inner.sockets.insert(connection, socket);
            Some(connection)
        })
    }

    /// Returns when nobody listens at the address any more.
    pub fn refuse(&self, address: SocketAddr) {
        self.change(|inner| {
            if inner.door == Door::Open {
                inner.door = Door::Closing;
            }
        });
        // The accepting thread looks up only when somebody comes.
        let _ = TcpStream::connect(address);
        drop(self.wait_while(Duration::MAX, |inner| inner.door != Door::Closed));
    }

    /// The accepting is over.
    pub fn refusing(&self) {
        self.change(|inner| inner.door = Door::Closed);
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
    pub fn create(&self, conversation: Conversation) -> String {
        const FIRST: u128 = 0x6b04_84a3_877c_3227_c1a4_6464;
        self.change(|inner| {
            let id = format!("{:024x}", FIRST + inner.counts.created as u128);
            inner.counts.created += 1;
            inner.conversations.insert(id.clone(), conversation);
            id
        })
    }

    /// What is known before the reply has come to its end.
    pub fn remember(&self, conversation: &str, messages: Vec<Message>) {
        self.change(|inner| {
            if let Some(conversation) = inner.conversations.get_mut(conversation) {
                conversation.messages = messages;
            }
        });
    }

    pub fn owns(&self, session: &str, conversation: &str) -> bool {
        let inner = self.lock();
        let mut own = inner.conversations_of(session);
        own.any(|(id, _)| id == conversation)
    }

    pub fn conversation(&self, id: &str) -> Option<Conversation> {
        self.lock().conversations.get(id).cloned()
    }

    pub fn rename(&self, conversation: &str, title: &str) {
        self.change(|inner| {
            if let Some(conversation) = inner.conversations.get_mut(conversation) {
                conversation.title = title.to_string();
            }
        });
    }

    pub fn forget(&self, conversation: &str) {
        self.change(|inner| inner.conversations.remove(conversation));
    }

    pub fn forget_all_of(&self, session: &str) {
        self.change(|inner| {
            let conversations = &mut inner.conversations;
            conversations.retain(|_, conversation| conversation.session != session);
        });
    }

    pub fn give_model(&self, prompt: String) {
        self.change(|inner| inner.prompts.push(prompt));
    }

    pub fn model_prompts(&self) -> Vec<String> {
        self.lock().prompts.clone()
    }

    /// Whether another stop came before this one, not long ago.
    pub fn is_second_stop(&self, conversation: &str) -> bool {
        const REMEMBERED: Duration = Duration::from_secs(30);
        let now = Instant::now();
        let before = self.change(|inner| inner.stops.insert(conversation.to_string(), now));
        before.is_some_and(|before| now - before < REMEMBERED)
    }

    /// Ends what runs in the conversation now, after the delay.
    pub fn stop(self: &Arc<Self>, conversation: &str, delay: Duration) {
        let running = self.running_in(conversation);
        if delay.is_zero() {
            return self.end(&running);
        }
        let state = Arc::clone(self);
        // The answer to the stop does not wait for it.
        thread::spawn(move || {
            drop(state.wait_while(delay, |inner| !inner.closed));
            state.end(&running);
        });
    }

    /// A stop when nothing runs is for what comes next, if that comes soon.
    pub fn stop_or_cut_next(self: &Arc<Self>, conversation: &str, delay: Duration) {
        if self.running_in(conversation).is_empty() {
            let now = Instant::now();
            self.change(|inner| inner.idle_stops.insert(conversation.to_string(), now));
        } else {
            self.stop(conversation, delay);
        }
    }

    /// Whether a stop came before its time.
    pub fn is_cut(&self, conversation: &str) -> bool {
        const REMEMBERED: Duration = Duration::from_secs(5);
        let stop = self.change(|inner| inner.idle_stops.remove(conversation));
        stop.is_some_and(|stop| stop.elapsed() < REMEMBERED)
    }

    fn running_in(&self, conversation: &str) -> Vec<usize> {
        let inner = self.lock();
        let running = inner.generations.iter();
        let running = running.filter(|(_, running)| running.conversation == conversation);
        running.map(|(&id, _)| id).collect()
    }

    fn end(&self, generations: &[usize]) {
        const PATIENCE: Duration = Duration::from_millis(300);
        self.change(|inner| {
            for id in generations {
                if let Some(running) = inner.generations.get_mut(id) {
                    running.stopped = true;
                }
            }
            let alone = inner
                .generations
                .extract_if(|_, running| running.stopped && running.alone);
            inner.counts.stopped += alone.count();
        });
        let inner = self.wait_while(PATIENCE, |inner| {
            let mut ids = generations.iter();
            ids.any(|id| inner.generations.contains_key(id))
        });
        for running in generations
            .iter()
            .filter_map(|id| inner.generations.get(id))
        {
            // A reply which nobody reads is stuck in its write: only this wakes it.
            if let Some(socket) = inner.sockets.get(&running.connection) {
                let _ = socket.shutdown(Shutdown::Write);
            }
        }
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

    /// The conversations of the running generations.
    pub fn generating(&self) -> Vec<String> {
        let inner = self.lock();
        let running = inner.generations.values();
        let ids = running.map(|running| running.conversation.clone());
        ids.collect()
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
        let counts = self.wait_while(limit, |inner| !condition(&inner.counts()));
        let counts = counts.counts();
        if condition(&counts) {
            Ok(counts)
        } else {
            Err(counts)
        }
    }

    fn wait_while(
        &self,
        limit: Duration,
        condition: impl Fn(&mut Inner) -> bool,
    ) -> MutexGuard<'_, Inner> {
        let changed = &self.changed;
        let waited = changed.wait_timeout_while(self.lock(), limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
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
}
