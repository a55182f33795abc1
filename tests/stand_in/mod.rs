//! A chat server for tests and examples: it refuses what the real one refuses, frames its answers
//! as the real one does, and generates whatever it has been told to.
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

mod accept;
mod answer;
mod api;
mod classic;
mod connection;
mod current;
mod dialect;
mod exchange;
pub mod frame;
mod generation;
mod history;
mod late;
mod lines;
mod listing;
mod named;
mod packed;
mod parameters;
mod plan;
mod request;
mod state;
mod transcript;
mod voice;

pub use answer::Answer;
pub use dialect::Dialect;
pub use named::NAMED;
pub use plan::{Act, Failure, Last, Plan};
pub use request::Request;
pub use state::Counts;

use state::State;

/// A running server. Dropped, it closes every connection at once.
pub struct StandIn {
    address: SocketAddr,
    base_path: String,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

/// What a server does with a request instead of the usual.
pub enum Reaction {
    /// These bytes, and the next request.
    Answer(Vec<u8>),
    /// These bytes, and the end of the connection.
    AnswerAndClose(Vec<u8>),
    /// Nothing, until the client goes away.
    Silence,
    /// The end of the connection, without a byte.
    Close,
    /// The same by a reset.
    Reset,
    /// The start, and then more and more, until the client goes away.
    Endless {
        start: Vec<u8>,
        more: Vec<u8>,
        /// Between one more and the next.
        pace: Duration,
    },
    /// The usual, but one byte at a time; in the middle of a reply, from here on.
    Bytewise,
    /// The usual, and the end of the connection. No other is accepted from now on.
    Farewell,
    /// The usual is done, but this takes the place of its answer.
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
    /// The server's generation. Defaults to [`Dialect::Classic`].
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

    /// Looks at every request first. Defaults to the usual for all.
    #[must_use]
    pub fn intercept(
        mut self,
        intercept: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
    ) -> Self {
        self.config.intercept = Box::new(intercept);
        self
    }

    /// Such as `/chat`. Defaults to none.
    #[must_use]
    pub fn base_path(mut self, base_path: &str) -> Self {
        self.config.base_path = base_path.to_string();
        self
    }

    /// The session's cookie. Defaults to `hf-chat`.
    #[must_use]
    pub fn cookie_name(mut self, cookie_name: &str) -> Self {
        self.config.cookie_name = cookie_name.to_string();
        self
    }

    /// The server was started without its `ORIGIN` and believes to be spoken to over https.
    #[must_use]
    pub fn https_referer(mut self) -> Self {
        self.config.https_referer = true;
        self
    }

    /// Whatever is asked for, the answer is the way to the login.
    #[must_use]
    pub fn requires_login(mut self) -> Self {
        self.config.requires_login = true;
        self
    }

    /// A current server shows the modal that a classic one always shows; the newest have none.
    #[must_use]
    pub fn welcome_modal(mut self) -> Self {
        self.config.welcome_modal = true;
        self
    }

    /// What the API tells is told on pages only.
    #[must_use]
    pub fn api_disabled(mut self) -> Self {
        self.config.api_disabled = true;
        self
    }

    /// The root of a conversation has to be asked for, as of the first of the newest servers.
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

    /// How long a generation goes on after it was stopped; on a real server up to 0.8 s. Defaults to
    /// no time: it has ended when the stop is answered.
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

    /// Defaults to any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Defaults to the service's own model and `other/model`.
    #[must_use]
    pub fn models(mut self, models: &[&str]) -> Self {
        self.config.models = models.iter().map(ToString::to_string).collect();
        self
    }

    /// # Panics
    /// If there is no such port.
    pub fn start(self) -> StandIn {
        self.try_start().expect("the port is free")
    }

    pub fn try_start(self) -> io::Result<StandIn> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let address = listener.local_addr()?;
        let base_path = self.config.base_path.clone();
        let state = Arc::new(State::default());
        let accepting = thread::spawn({
            let state = Arc::clone(&state);
            move || {
                accept(&listener, &Arc::new(self.config), &state);
                drop(listener);
                state.refusing();
            }
        });
        Ok(StandIn {
            address,
            base_path,
            state,
            accepting: Some(accepting),
        })
    }
}

fn accept(listener: &TcpListener, config: &Arc<Config>, state: &Arc<State>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        // The state keeps a clone to close it with.
        let Some(id) = socket.try_clone().ok().and_then(|own| state.connect(own)) else {
            return;
        };
        let (config, state) = (Arc::clone(config), Arc::clone(state));
        thread::spawn(move || connection::serve(&config, &state, &socket, id));
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
        self.state.counts()
    }

    /// In the order of their arrival, of all connections.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests()
    }

    /// What the model was given, in the order in which it was asked.
    pub fn model_prompts(&self) -> Vec<String> {
        self.state.model_prompts()
    }

    /// The ids of those open now.
    pub fn conversations(&self) -> Vec<String> {
        self.state.conversations()
    }

    /// The conversations in which something is being generated now.
    pub fn generating(&self) -> Vec<String> {
        self.state.generating()
    }

    /// No connection is accepted from now on.
    pub fn refuse(&self) {
        self.state.refuse(self.address);
    }

    /// The conversation is gone, as if another client had deleted it.
    pub fn forget(&self, id: &str) {
        self.state.forget(id);
    }

    /// Every session has to accept the modal again; its conversations stay.
    pub fn forget_sessions(&self) {
        self.state.forget_sessions();
    }

    /// # Panics
    /// With `what` and the counts if it does not come true within 10 s.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        let waited = self.state.wait_for(Duration::from_secs(10), condition);
        if let Err(counts) = waited {
            panic!("waited in vain for {what}: {counts:?}");
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.state.close();
        // The accepting thread looks up only when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
