//! The supported servers, and their differences for a client.

use std::fmt;
use std::thread;

use h2o_chat::Protocol;

use crate::stand_in::{Builder, Dialect, StandIn};

/// One of the servers.
#[derive(Clone, Copy)]
pub struct Kind {
    pub dialect: Dialect,
    /// A client has to ask for the parent of the first message.
    pub hides_root: bool,
    pub protocol: Protocol,
    /// The requests of a client's first reply, with the conversation's id as `ID`.
    pub cold: &'static [&'static str],
    /// The number of these that the next reply does not need.
    pub known: usize,
    /// The number of requests of the first and of every later turn of an open conversation.
    pub turns: (usize, usize),
    /// True if a stop ends a generation.
    pub stops: bool,
    pub title: Option<&'static str>,
}

pub const CLASSIC: Kind = Kind {
    dialect: Dialect::Classic,
    hides_root: false,
    protocol: Protocol::ChatUiClassic,
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
    protocol: Protocol::ChatUi,
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

pub const FORM: Kind = Kind { dialect: Dialect::Form, stops: false, ..JSON };

/// chat-ui 0.8.4 to 0.9.1, which ignores every stop.
pub const V0_8_4: Kind = Kind { dialect: Dialect::V084, stops: false, ..JSON };

/// chat-ui 0.9.5, which obeys a stop while its reply is being read.
pub const V0_9_5: Kind = Kind { dialect: Dialect::V095, ..JSON };

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
pub const NEWER: Kind = Kind { hides_root: true, cold: JSON.cold, turns: JSON.turns, ..NEWEST };

pub const H2OGPTE: Kind = Kind {
    dialect: Dialect::H2ogpte,
    protocol: Protocol::H2ogpte,
    cold: &["POST /api/v1/chats", "POST /api/v1/chats/ID/completions", "DELETE /api/v1/chats/ID"],
    known: 0,
    ..CLASSIC
};

/// All generations of chat-ui, and h2oGPTe.
pub const EVERY: [Kind; ALL.len() + 1] = {
    let mut every = [H2OGPTE; ALL.len() + 1];
    let mut at = 0;
    while at < ALL.len() {
        every[at] = ALL[at];
        at += 1;
    }
    every
};

/// All generations of chat-ui.
pub const ALL: [Kind; 7] = [CLASSIC, JSON, V0_8_4, FORM, V0_9_5, NEWER, NEWEST];
pub const CURRENT: [Kind; 6] = [JSON, V0_8_4, FORM, V0_9_5, NEWER, NEWEST];

/// Runs a test on each of these servers in parallel: it mainly waits.
pub fn each<T: Send, const N: usize>(kinds: [T; N], test: impl Fn(T) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || test(kind));
        }
    });
}

impl Kind {
    pub fn name(self) -> &'static str {
        if self.hides_root { "newest with a hidden root" } else { self.dialect.name() }
    }

    pub fn builder(self) -> Builder {
        let builder = StandIn::builder().dialect(self.dialect);
        if self.hides_root { builder.hides_root() } else { builder }
    }

    pub fn start(self) -> StandIn {
        self.builder().start()
    }

    /// Returns whether a reply begins before its first token arrives.
    pub fn begins_at_once(self) -> bool {
        self.protocol == Protocol::ChatUi
    }

    pub fn is_classic(self) -> bool {
        self.protocol == Protocol::ChatUiClassic
    }
}

/// Shows the name in the messages of tests.
impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}
