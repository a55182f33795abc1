//! A chat server for tests and examples. It speaks HTTP over TCP, refuses what a real server
//! refuses, frames its answers as a real one does, and generates what the test has told it to.
//!
//! ```text
//! mod.rs           StandIn and its Builder: what a test starts, asks and waits for
//! plan.rs          Plan: what becomes of a prompt; named.rs: the plans that a prompt can choose
//!
//! connection.rs    one connection: request in, answer or Reaction out
//!     request.rs   reads a request;  answer.rs  writes an answer;  peek.rs  makes a reset possible
//!     stream.rs    sends a reply, act by act
//!     encoder.rs   what a protocol defines of a reply: tgi.rs (with frame.rs), jsonl.rs
//! chat_ui.rs       one request to chat-ui, and the rules of all its generations
//!     dialect.rs   in what the generations differ
//!     classic.rs   the routes up to v0.6;  current.rs  the routes from v0.7 on
//!     pages.rs     the data of pages, packed by devalue.rs;  api.rs  the JSON API
//! state.rs         what the server remembers, and how to wait for it
//!     history.rs   the messages of a conversation
//! ```
#![allow(
    dead_code,
    unused_imports,
    reason = "each test uses its own part of the server"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

mod answer;
mod api;
mod chat_ui;
mod classic;
mod connection;
mod current;
mod devalue;
mod dialect;
mod encoder;
pub mod frame;
mod history;
mod jsonl;
mod named;
mod pages;
mod peek;
mod plan;
mod request;
mod state;
mod stream;
mod tgi;

pub use answer::Answer;
pub use dialect::Dialect;
pub use named::NAMED;
pub use plan::{Act, Failure, Last, Plan};
pub use request::Request;
pub use state::Counts;

use connection::Connection;
use state::{Shared, State};

/// A running server. Dropped, it closes every connection at once.
pub struct StandIn {
    address: SocketAddr,
    base_path: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What the server does with a request instead of answering it.
pub enum Reaction {
    /// Sends these bytes, and serves the next request.
    Answer(Vec<u8>),
    /// Sends these bytes, and closes the connection.
    AnswerAndClose(Vec<u8>),
    /// Sends nothing until the client closes the connection.
    Silence,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Sends the start, and then more and more until the client closes the connection.
    Endless {
        start: Vec<u8>,
        more: Vec<u8>,
        /// The time between one more and the next.
        pace: Duration,
    },
    /// Answers one byte at a time; in the middle of a reply, from here on.
    Bytewise,
    /// Answers, closes the connection, and accepts no other from now on.
    Farewell,
    /// Does what was asked, but this takes the place of the answer.
    Lost(Box<Reaction>),
}

/// A server before it is started.
pub struct Builder {
    port: u16,
    config: Config,
}

type Intercept = dyn Fn(&Request) -> Option<Reaction> + Send + Sync;

#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Config {
    dialect: Dialect,
    plan: Box<dyn Fn(&str) -> Plan + Send + Sync>,
    intercept: Box<Intercept>,
    base_path: String,
    cookie_name: String,
    https_referer: bool,
    requires_login: bool,
    welcome_modal: bool,
    api_disabled: bool,
    hides_root: bool,
    idle: Duration,
    stop_delay: Duration,
    ignores_second_stop: bool,
    models: Vec<String>,
}

impl Builder {
    /// The generation of chat-ui. Defaults to [`Dialect::Classic`].
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.config.dialect = dialect;
        self
    }

    /// What becomes of a prompt. Defaults to [`Plan::for_prompt`].
    #[must_use]
    pub fn plan(mut self, plan: impl Fn(&str) -> Plan + Send + Sync + 'static) -> Self {
        self.config.plan = Box::new(plan);
        self
    }

    /// Sees every request first. Defaults to no reaction.
    #[must_use]
    pub fn intercept(
        mut self,
        intercept: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
    ) -> Self {
        self.config.intercept = Box::new(intercept);
        self
    }

    /// A path such as `/chat`. Defaults to none.
    #[must_use]
    pub fn base_path(mut self, base_path: &str) -> Self {
        self.config.base_path = base_path.to_string();
        self
    }

    /// The name of the session's cookie. Defaults to `hf-chat`.
    #[must_use]
    pub fn cookie_name(mut self, cookie_name: &str) -> Self {
        self.config.cookie_name = cookie_name.to_string();
        self
    }

    /// The server has no `ORIGIN`, and so believes that it is reached over https.
    #[must_use]
    pub fn https_referer(mut self) -> Self {
        self.config.https_referer = true;
        self
    }

    /// Whoever is not logged in is sent to the login. Nobody can log in.
    #[must_use]
    pub fn requires_login(mut self) -> Self {
        self.config.requires_login = true;
        self
    }

    /// A current server has the modal that a classic one always has; the newest have none.
    #[must_use]
    pub fn welcome_modal(mut self) -> Self {
        self.config.welcome_modal = true;
        self
    }

    /// The API of a current server is switched off; pages still have its data.
    #[must_use]
    pub fn api_disabled(mut self) -> Self {
        self.config.api_disabled = true;
        self
    }

    /// A conversation's root is not in the answer to its creation, as in v0.9.6.
    #[must_use]
    pub fn hides_root(mut self) -> Self {
        self.config.hides_root = true;
        self
    }

    /// How long a connection is kept without a request. Defaults to 5 s.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.config.idle = idle;
        self
    }

    /// How long a generation goes on after a stop; on a real server up to 0.8 s. Defaults to zero:
    /// it has ended when the stop is answered.
    #[must_use]
    pub fn stop_delay(mut self, stop_delay: Duration) -> Self {
        self.config.stop_delay = stop_delay;
        self
    }

    /// A stop does nothing within 30 s of another one in the same conversation.
    #[must_use]
    pub fn ignores_second_stop(mut self) -> Self {
        self.config.ignores_second_stop = true;
        self
    }

    /// The port on this machine. Defaults to any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Defaults to the public service's model and `other/model`.
    #[must_use]
    pub fn models(mut self, models: &[&str]) -> Self {
        self.config.models = models.iter().map(ToString::to_string).collect();
        self
    }

    /// # Panics
    /// If the port is not free.
    pub fn start(self) -> StandIn {
        self.try_start().expect("the port is free")
    }

    pub fn try_start(self) -> io::Result<StandIn> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let address = listener.local_addr()?;
        let base_path = self.config.base_path.clone();
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                accept(&listener, &Arc::new(self.config), &shared);
                drop(listener);
                shared.change(|state| state.is_deaf = true);
            }
        });
        Ok(StandIn {
            address,
            base_path,
            shared,
            accepting: Some(accepting),
        })
    }
}

fn accept(listener: &TcpListener, config: &Arc<Config>, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        // The state keeps a clone to close it with.
        let own = socket.try_clone().ok();
        let id = own.and_then(|own| shared.change(|state| state.connect(own)));
        let Some(id) = id else { return };
        let (config, shared) = (Arc::clone(config), Arc::clone(shared));
        thread::spawn(move || {
            // An error means that the client is gone.
            let _ = Connection::new(&config, &shared, &socket, id).serve();
        });
    }
}

impl StandIn {
    pub fn start() -> Self {
        Self::builder().start()
    }

    pub fn builder() -> Builder {
        const MODELS: [&str; 2] = [
            "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1",
            "other/model",
        ];
        Builder {
            port: 0,
            config: Config {
                dialect: Dialect::Classic,
                plan: Box::new(Plan::for_prompt),
                intercept: Box::new(|_| None),
                base_path: String::new(),
                cookie_name: "hf-chat".to_string(),
                https_referer: false,
                requires_login: false,
                welcome_modal: false,
                api_disabled: false,
                hides_root: false,
                idle: Duration::from_secs(5),
                stop_delay: Duration::ZERO,
                ignores_second_stop: false,
                models: MODELS.map(str::to_string).to_vec(),
            },
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.base_path)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn counts(&self) -> Counts {
        self.shared.lock().counts()
    }

    /// The requests of all connections, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// What the model was given, in the order in which it was asked.
    pub fn model_prompts(&self) -> Vec<String> {
        self.shared.lock().prompts.clone()
    }

    /// The ids of the conversations on the server now.
    pub fn conversations(&self) -> Vec<String> {
        self.shared.lock().conversations.keys().cloned().collect()
    }

    /// The ids of the conversations in which something is being generated now.
    pub fn generating(&self) -> Vec<String> {
        let state = self.shared.lock();
        let running = state.generations.values();
        running
            .map(|running| running.conversation.clone())
            .collect()
    }

    /// Accepts no connection from now on.
    pub fn refuse(&self) {
        self.shared.refuse(self.address);
    }

    /// Deletes a conversation, as another client would.
    pub fn forget(&self, id: &str) {
        self.shared.change(|state| state.conversations.remove(id));
    }

    /// Makes every session accept the modal again. Its conversations stay.
    pub fn forget_sessions(&self) {
        self.shared.change(|state| {
            for settings in state.settings.values_mut() {
                settings.accepted = false;
            }
        });
    }

    /// # Panics
    /// With `what` and the counts, if the condition does not hold within 10 s.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        const LIMIT: Duration = Duration::from_secs(10);
        let waits = |state: &State| !condition(&state.counts());
        let counts = self.shared.wait_while(Some(LIMIT), waits).counts();
        assert!(condition(&counts), "waited in vain for {what}: {counts:?}");
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.close();
        // The accepting thread looks up only when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
