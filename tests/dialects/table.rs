//! The servers that are spoken to, and in what they differ for a client.
#![allow(dead_code, reason = "each test uses its own part")]

use std::thread;

use h2o_chat::{Client, Protocol};
use serde_json::Value;

use crate::stand_in::{Builder, Dialect, Request, StandIn};

/// What is replied to a prompt that asks for nothing special.
pub const GREETING: &str = " Hi there, how can I help?";

/// One of the servers.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub dialect: Dialect,
    /// What the first message answers to has to be asked for.
    pub hides_root: bool,
    pub protocol: Protocol,
    /// What the first reply of a client costs, with the conversation's id as `ID`.
    pub cold: &'static [&'static str],
    /// How many of these the next one does without.
    pub known: usize,
    /// How many requests the first and every later turn of an open conversation cost.
    pub turns: (usize, usize),
    /// Whether a stop ends a generation.
    pub stops: bool,
    pub title: Option<&'static str>,
}

pub const CLASSIC: Kind = Kind {
    dialect: Dialect::Classic,
    hides_root: false,
    protocol: Protocol::Classic,
    cold: &[
        "POST /settings",
        "POST /conversation",
        "POST /conversation/ID",
        "DELETE /conversation/ID",
    ],
    known: 1,
    turns: (1, 1),
    stops: true,
    title: None,
};

pub const JSON: Kind = Kind {
    dialect: Dialect::Json,
    hides_root: false,
    protocol: Protocol::Current,
    cold: &[
        "POST /settings",
        "GET /api/models",
        "POST /conversation",
        "GET /api/conversation/ID",
        "POST /conversation/ID",
        "DELETE /conversation/ID",
    ],
    known: 2,
    turns: (2, 2),
    stops: true,
    title: Some("💬 Fake title"),
};

pub const FORM: Kind = Kind {
    dialect: Dialect::Form,
    stops: false,
    ..JSON
};

pub const NEWEST: Kind = Kind {
    dialect: Dialect::Newest,
    cold: &[
        "POST /settings",
        "GET /api/models",
        "POST /conversation",
        "POST /conversation/ID",
        "DELETE /conversation/ID",
    ],
    turns: (1, 2),
    stops: true,
    title: Some("Fake title"),
    ..JSON
};

/// The first of the newest.
pub const NEWER: Kind = Kind {
    hides_root: true,
    cold: JSON.cold,
    turns: JSON.turns,
    ..NEWEST
};

pub const ALL: [Kind; 5] = [CLASSIC, JSON, FORM, NEWER, NEWEST];
pub const CURRENT: [Kind; 4] = [JSON, FORM, NEWER, NEWEST];

/// Does this with each of them, at the same time: much of it is waiting.
pub fn each<const N: usize>(kinds: [Kind; N], test: impl Fn(Kind) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || test(kind));
        }
    });
}

impl Kind {
    pub fn name(self) -> &'static str {
        if self.hides_root {
            "newest with a hidden root"
        } else {
            self.dialect.name()
        }
    }

    pub fn builder(self) -> Builder {
        let builder = StandIn::builder().dialect(self.dialect);
        if self.hides_root {
            builder.hides_root()
        } else {
            builder
        }
    }

    pub fn start(self) -> StandIn {
        self.builder().start()
    }

    pub fn is_classic(self) -> bool {
        self.protocol == Protocol::Classic
    }
}

pub fn client(server: &StandIn) -> Client {
    Client::builder(&server.url()).retries(0).build().unwrap()
}

/// As another process has it that knows the session.
pub fn other_client(server: &StandIn, client: &Client) -> Client {
    let builder = Client::builder(&server.url()).session(client.session());
    builder.retries(0).build().unwrap()
}

/// The methods and paths, with the ids of conversations as `ID`.
pub fn paths(server: &StandIn) -> Vec<String> {
    let without_id = |path: &str| {
        let is_id = |part: &str| part.len() == 24 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = path.split('/');
        let parts = parts.map(|part| if is_id(part) { "ID" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let requests = server.requests().into_iter();
    requests
        .map(|request| format!("{} {}", request.method, without_id(&request.path)))
        .collect()
}

pub fn count(server: &StandIn, path: &str) -> usize {
    paths(server).iter().filter(|known| *known == path).count()
}

pub const STOP: &str = "POST /conversation/ID/stop-generating";
pub const MESSAGE: &str = "POST /conversation/ID";
pub const SETTINGS: &str = "POST /settings";

/// What was sent as messages.
pub fn messages(server: &StandIn) -> Vec<Value> {
    let is_message = |request: &Request| {
        let id = request.path.strip_prefix("/conversation/");
        request.method == "POST" && id.is_some_and(|id| !id.contains('/'))
    };
    let requests = server.requests().into_iter().filter(is_message);
    let bodies = requests.map(|request| match request.any_form() {
        Some(form) => serde_json::from_str(&form[0].1).unwrap(),
        None => request.json(),
    });
    bodies.collect()
}

pub fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}
