//! A server that reacts otherwise at first, to the requests that are meant.
#![allow(dead_code, reason = "each test uses its own part")]

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stand_in::{self, Reaction, StandIn};

/// Which requests are meant.
pub type Kind = fn(&stand_in::Request) -> bool;

/// Reacts like this to the first so many requests of this kind.
pub fn at_first(
    times: usize,
    is_meant: Kind,
    reaction: impl Fn() -> Reaction + Send + Sync + 'static,
) -> StandIn {
    let seen = AtomicUsize::new(0);
    let react = move |request: &stand_in::Request| {
        let react = is_meant(request) && seen.fetch_add(1, Ordering::Relaxed) < times;
        react.then(&reaction)
    };
    StandIn::builder().intercept(react).start()
}

pub fn busy(status: &str, headers: &str) -> Reaction {
    Reaction::Answer(format!("HTTP/1.1 {status}\r\n{headers}content-length: 4\r\n\r\nbusy").into())
}

pub fn is_settings(request: &stand_in::Request) -> bool {
    request.path == "/settings"
}

pub fn is_opening(request: &stand_in::Request) -> bool {
    request.path == "/conversation"
}

pub fn is_message(request: &stand_in::Request) -> bool {
    request.body.starts_with(b"{\"inputs\"")
}

pub fn is_stop(request: &stand_in::Request) -> bool {
    request.path.ends_with("/stop-generating")
}

pub fn is_delete(request: &stand_in::Request) -> bool {
    request.method == "DELETE"
}

pub const KINDS: [Kind; 3] = [is_settings, is_opening, is_message];
