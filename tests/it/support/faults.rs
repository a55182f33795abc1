//! Faults between a client and a server, as reactions of the stand-in.

use std::time::Duration;

use crate::stand_in::Reaction;

use super::{busy, response};

/// A fault of one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The listener is closed.
    Refused,
    /// The connection is accepted, and nothing is sent.
    NoResponse,
    /// The model sends nothing more. Its server may send keep-alives.
    Mute,
    /// Single bytes of an endless response.
    Trickling,
    /// The connection is closed without a response.
    Closed,
    /// The connection is reset without a response.
    Reset,
    HalfAHead,
    HalfAChunk,
    /// The response ends cleanly before it is complete.
    Ended,
    /// Another protocol.
    Garbage,
    EndlessHead,
    EndlessLine,
    /// A 500 with a page.
    Page,
    /// A 429 or 503, which may have a `Retry-After` in seconds.
    Busy(u16, Option<u64>),
    /// A 302 to another server.
    Moved,
    /// The server closes an idle connection.
    Idle,
    /// The normal response, one byte at a time.
    Bytewise,
}

/// The head of a response of any kind.
const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
/// The beginning of a line that cannot be skipped in any protocol.
const DATA: &str = "5\r\ndata:\r\n";
const LAST_CHUNK: &str = "0\r\n\r\n";
const HALF_A_CHUNK: &str = "40\r\ndata:{\"tok";
const GARBAGE: &str = "SSH-2.0-OpenSSH_9.2\r\n";
const PAGE: &str = "<!doctype html><title>Internal Error</title><h1>500</h1>";

impl Fault {
    /// The reaction in place of a response. `None` if no response can do it.
    pub fn instead(self) -> Option<Reaction> {
        let closing = |text: &str| Reaction::ResponseAndClose(text.into());
        Some(match self {
            Fault::Refused | Fault::Mute | Fault::Idle => return None,
            Fault::NoResponse => Reaction::NoResponse,
            Fault::Trickling => trickle("HTTP/1.1 200 OK\r\nx: ", "y"),
            Fault::Closed => Reaction::Close,
            Fault::Reset => Reaction::Reset,
            Fault::HalfAHead => closing("HTTP/1.1 200 OK\r\ncontent-ty"),
            Fault::HalfAChunk => closing(&[HEAD, HALF_A_CHUNK].concat()),
            Fault::Ended => Reaction::Response([HEAD, LAST_CHUNK].concat().into()),
            Fault::Garbage => closing(GARBAGE),
            Fault::EndlessHead => flood("HTTP/1.1 200 OK\r\nx: ", &"y".repeat(1024)),
            Fault::EndlessLine => flood(&[HEAD, DATA].concat(), &long_chunk()),
            Fault::Page => response("500 Error", "content-type: text/html\r\n", PAGE),
            Fault::Busy(status, seconds) => {
                let header = seconds.map(|seconds| format!("retry-after: {seconds}\r\n"));
                busy(status, &header.unwrap_or_default())
            }
            Fault::Moved => {
                response("302 Found", "location: https://chat.example.org/else\r\n", "")
            }
            Fault::Bytewise => Reaction::Bytewise,
        })
    }

    /// The reaction in the middle of a reply, or after its last event. `None` if there is no such
    /// thing.
    pub fn within(self, is_complete: bool) -> Option<Reaction> {
        let closing = |text: &str| Reaction::ResponseAndClose(text.into());
        Some(match self {
            Fault::Trickling => trickle("", "1\r\n:\r\n"),
            Fault::HalfAChunk => closing(HALF_A_CHUNK),
            // A part of the trailers.
            Fault::EndlessHead => flood("0\r\nx: ", &"y".repeat(1024)),
            Fault::EndlessLine => flood(DATA, &long_chunk()),
            // In place of the last chunk, ureq would drop the event before it as well.
            Fault::Garbage if is_complete => closing(&[LAST_CHUNK, GARBAGE].concat()),
            Fault::NoResponse | Fault::Closed | Fault::Reset | Fault::Garbage | Fault::Bytewise => {
                return self.instead();
            }
            _ => return None,
        })
    }

    /// Returns whether the fault comes after the head of a success.
    pub fn has_good_head(self) -> bool {
        matches!(self, Fault::HalfAChunk | Fault::Ended | Fault::EndlessLine)
    }

    /// Returns whether only a timeout ends the call.
    pub fn is_endless(self) -> bool {
        matches!(self, Fault::NoResponse | Fault::Trickling)
    }

    /// Returns whether the server reports that it did not act.
    pub fn is_refusal(self) -> bool {
        matches!(self, Fault::Page | Fault::Busy(..) | Fault::Moved)
    }
}

fn trickle(start: &str, more: &str) -> Reaction {
    endless(start, more, Duration::from_millis(20))
}

fn flood(start: &str, more: &str) -> Reaction {
    endless(start, more, Duration::ZERO)
}

fn endless(start: &str, more: &str, pace: Duration) -> Reaction {
    let (start, more) = (start.into(), more.into());
    Reaction::Endless { start, more, pace }
}

fn long_chunk() -> String {
    format!("4000\r\n{}\r\n", "x".repeat(0x4000))
}
