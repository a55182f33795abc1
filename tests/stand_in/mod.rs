//! A chat server for tests and examples. It speaks HTTP over TCP, refuses and frames like a real
//! server, and generates replies by a test's plan.
//!
//! ```text
//! mod.rs           StandIn and its Builder: what a test starts, asks and waits for
//! plan.rs          Plan: the reply to a prompt; named.rs: the plans that a prompt can choose
//!
//! connection.rs    one connection: request in, response or Reaction out
//!     request.rs   reads a request;  response.rs  writes a response
//!     peek.rs      makes a reset possible
//!     stream.rs    sends a reply, act by act
//!     encoder.rs   the encoding of a reply: tgi.rs (with frame.rs), jsonl.rs
//! chat_ui.rs       one request to chat-ui, and the rules of all its generations
//!     dialect.rs   the differences of the generations
//!     classic.rs   the routes up to v0.6;  current.rs  the routes from v0.7 on
//!     settings.rs  the settings of a session
//!     pages.rs     the data of pages, packed by devalue.rs;  api.rs  the JSON API
//! h2ogpte.rs       one request to h2oGPTe
//! state.rs         the server's state, and waits for it
//!     history.rs   the messages of a conversation
//! ```
#![allow(dead_code, unused_imports, reason = "each test uses its own part of the server")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

mod api;
mod chat_ui;
mod classic;
mod connection;
mod current;
mod devalue;
mod dialect;
mod encoder;
pub mod frame;
mod h2ogpte;
mod history;
mod jsonl;
mod named;
mod pages;
mod peek;
mod plan;
mod request;
mod response;
mod settings;
mod state;
mod stream;
mod tgi;

pub use dialect::Dialect;
pub use named::NAMED;
pub use plan::{Act, Failure, Last, Plan};
pub use request::Request;
pub use response::Response;
pub use state::{Counts, File};

use connection::Connection;
use state::{Shared, State};

/// A running server. Dropped, it closes every connection at once.
pub struct StandIn {
    dialect: Dialect,
    address: SocketAddr,
    base_path: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// The server's reaction to a request, instead of a response.
#[derive(Clone)]
pub enum Reaction {
    /// Sends these bytes, and serves the next request.
    Response(Vec<u8>),
    /// Sends these bytes, and closes the connection.
    ResponseAndClose(Vec<u8>),
    /// Sends nothing until the client closes the connection.
    NoResponse,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Sends the start, and then `more` until the client closes the connection.
    Endless {
        start: Vec<u8>,
        more: Vec<u8>,
        /// The time between two pieces.
        pace: Duration,
    },
    /// Responds one byte at a time; in the middle of a reply, from here on.
    Bytewise,
    /// Responds, closes the connection, and accepts no other from now on.
    Farewell,
    /// Handles the request, but sends this instead of the response.
    Lost(Box<Reaction>),
}

/// A server before it is started.
pub struct Builder {
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
    hides_version: bool,
    idle: Duration,
    stop_delay: Duration,
    ignores_second_stop: bool,
    lacks_stop: bool,
    lacks_delete: bool,
    models: Vec<String>,
    /// The media types that the models take. `None`: no files.
    media_types: Option<Vec<String>>,
    port: u16,
}

/// Defines setters of [`Builder`], each with the expression that it stores.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty)?) = $value:expr;)*) => {
        impl Builder {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self $(, $argument: $type)?) -> Self {
                    self.config.$name = $value;
                    self
                }
            )*
        }
    };
}

setters! {
    /// The generation of chat-ui. Defaults to [`Dialect::Classic`].
    dialect(dialect: Dialect) = dialect;
    /// Sets the plan of each prompt. Defaults to [`Plan::for_prompt`].
    plan(plan: impl Fn(&str) -> Plan + Send + Sync + 'static) = Box::new(plan);
    /// Reacts to requests before the server handles them. Defaults to no reaction.
    intercept(see: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static) = Box::new(see);
    /// A path such as `/chat`. Defaults to none.
    base_path(path: &str) = path.to_string();
    /// The name of the session's cookie. Defaults to `hf-chat`.
    cookie_name(name: &str) = name.to_string();
    /// Runs without `ORIGIN`, so that the server expects https.
    https_referer() = true;
    /// Redirects every user to the login. Nobody can log in.
    requires_login() = true;
    /// Gives a current server the modal that a classic one always has. The newest have none.
    welcome_modal() = true;
    /// Switches off the API of a current server. Pages still have its data.
    api_disabled() = true;
    /// Leaves a conversation's root out of the response to its creation, as in v0.9.6.
    hides_root() = true;
    /// Leaves out the headers that show the version, as a proxy before the server may.
    hides_version() = true;
    /// The time until an idle connection is closed. Defaults to 5 s.
    idle(time: Duration) = time;
    /// The time that a generation runs on after a stop; on a real server up to 0.8 s. Defaults to
    /// zero: it ends before the response to the stop.
    stop_delay(time: Duration) = time;
    /// Ignores a stop within 30 s of another one in the same conversation.
    ignores_second_stop() = true;
    /// Makes h2oGPTe too old to stop a generation.
    lacks_stop() = true;
    /// Makes h2oGPTe delete only by a job.
    lacks_delete() = true;
    /// The names of the models. Defaults to the public service's own and `other/model`.
    models(names: &[&str]) = names.iter().map(ToString::to_string).collect();
    /// The media types of the files that the models take; none named for a list without them.
    /// Defaults to models that take no files.
    media_types(types: &[&str]) = Some(types.iter().map(ToString::to_string).collect());
    /// The port on this machine. Defaults to any that is free.
    port(port: u16) = port;
}

impl Builder {
    /// # Panics
    /// If the port is not free.
    pub fn start(self) -> StandIn {
        self.try_start().expect("the port is free")
    }

    pub fn try_start(self) -> io::Result<StandIn> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.config.port))?;
        let address = listener.local_addr()?;
        let (dialect, base_path) = (self.config.dialect, self.config.base_path.clone());
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                accept(&listener, &Arc::new(self.config), &shared);
                drop(listener);
                shared.change(|state| state.is_deaf = true);
            }
        });
        Ok(StandIn { dialect, address, base_path, shared, accepting: Some(accepting) })
    }
}

fn accept(listener: &TcpListener, config: &Arc<Config>, shared: &Arc<Shared>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        // The state keeps a clone to close it.
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
        const MODELS: [&str; 2] = ["h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1", "other/model"];
        Builder {
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
                hides_version: false,
                idle: Duration::from_secs(5),
                stop_delay: Duration::ZERO,
                ignores_second_stop: false,
                lacks_stop: false,
                lacks_delete: false,
                models: MODELS.map(str::to_string).to_vec(),
                media_types: None,
                port: 0,
            },
        }
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
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

    /// The prompts that the model was given, in order.
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
        running.map(|running| running.conversation.clone()).collect()
    }

    /// For each message, the names of the MCP servers whose tools the model was offered, or `all`.
    pub fn offered_tools(&self) -> Vec<Value> {
        self.shared.lock().tools.clone()
    }

    /// The files of each message that a current server has stored.
    pub fn files(&self) -> Vec<Vec<File>> {
        self.shared.lock().files.clone()
    }

    /// Sets a session's settings, as its user would in a browser.
    pub fn set_settings(&self, session: &str, settings: Value) {
        let settings = settings::object(settings);
        (self.shared).change(|state| state.settings.insert(session.to_string(), settings));
    }

    /// The settings of a session as JSON, or `null` if it has none.
    pub fn settings(&self, session: &str) -> String {
        let settings = self.shared.lock().settings.get(session).cloned();
        Value::from(settings).to_string()
    }

    /// Returns whether all running replies can still be sent to their readers.
    pub fn is_read(&self) -> bool {
        self.shared.lock().generations.values().all(|it| !it.is_unread)
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
                settings.insert(settings::ACCEPTED_AT.to_string(), Value::Null);
            }
        });
    }

    /// # Panics
    /// With `what` and the counts, if the condition does not hold within 10 s.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        const LIMIT: Duration = Duration::from_secs(10);
        let waits = |state: &State| !condition(&state.counts());
        let counts = self.shared.wait_while(Some(LIMIT), waits).counts();
        assert!(condition(&counts), "timed out waiting for {what}: {counts:?}");
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.close();
        // The accepting thread checks the flag after each connection only.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
