//! What goes wrong between a client and a server, as the stand-in does it.

use std::time::Duration;

use crate::stand_in::Reaction;

use super::{answer, busy};

/// Something that goes wrong with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens any more.
    Refused,
    /// The connection is accepted, and nothing is said.
    Silent,
    /// The model says nothing more, whatever its server may say.
    Mute,
    /// A byte now and then, of an answer that never ends.
    Trickling,
    /// The connection is closed without an answer.
    Closed,
    /// The connection is reset without an answer.
    Reset,
    HalfAHead,
    HalfAChunk,
    /// The answer comes to a clean end before it is complete.
    Ended,
    /// Another protocol.
    Garbage,
    EndlessHead,
    EndlessLine,
    /// A 500 with a page.
    Page,
    /// A 429 or 503, which may say how many seconds to wait.
    Busy(u16, Option<u64>),
    /// A 302 to somewhere else.
    Moved,
    /// The server closes a connection that is kept for the next request.
    Idle,
    /// The usual answer, one byte at a time.
    Bytewise,
}

/// Of an answer that can be anything.
const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
/// The beginning of a line that cannot be passed over in any protocol.
const DATA: &str = "5\r\ndata:\r\n";
const LAST_CHUNK: &str = "0\r\n\r\n";
const HALF_A_CHUNK: &str = "40\r\ndata:{\"tok";
const GARBAGE: &str = "SSH-2.0-OpenSSH_9.2\r\n";
const PAGE: &str = "<!doctype html><title>Internal Error</title><h1>500</h1>";

impl Fault {
    /// What comes in the place of an answer. None if no answer can do it.
    pub fn instead(self) -> Option<Reaction> {
        let closing = |text: &str| Reaction::AnswerAndClose(text.into());
        Some(match self {
            Fault::Refused | Fault::Mute | Fault::Idle => return None,
            Fault::Silent => Reaction::Silence,
            Fault::Trickling => trickle("HTTP/1.1 200 OK\r\nx: ", "y"),
            Fault::Closed => Reaction::Close,
            Fault::Reset => Reaction::Reset,
            Fault::HalfAHead => closing("HTTP/1.1 200 OK\r\ncontent-ty"),
            Fault::HalfAChunk => closing(&[HEAD, HALF_A_CHUNK].concat()),
            Fault::Ended => Reaction::Answer([HEAD, LAST_CHUNK].concat().into()),
            Fault::Garbage => closing(GARBAGE),
            Fault::EndlessHead => flood("HTTP/1.1 200 OK\r\nx: ", &"y".repeat(1024)),
            Fault::EndlessLine => flood(&[HEAD, DATA].concat(), &long_chunk()),
            Fault::Page => answer("500 Error", "content-type: text/html\r\n", PAGE),
            Fault::Busy(status, seconds) => {
                let header = seconds.map(|seconds| format!("retry-after: {seconds}\r\n"));
                busy(status, &header.unwrap_or_default())
            }
            Fault::Moved => answer("302 Found", "location: https://chat.example.org/else\r\n", ""),
            Fault::Bytewise => Reaction::Bytewise,
        })
    }

    /// What comes in the middle of a reply, or after its last event. None if there is no such
    /// thing.
    pub fn within(self, is_complete: bool) -> Option<Reaction> {
        let closing = |text: &str| Reaction::AnswerAndClose(text.into());
        Some(match self {
            Fault::Trickling => trickle("", "1\r\n:\r\n"),
            Fault::HalfAChunk => closing(HALF_A_CHUNK),
            // Of what may follow the last chunk.
            Fault::EndlessHead => flood("0\r\nx: ", &"y".repeat(1024)),
            Fault::EndlessLine => flood(DATA, &long_chunk()),
            // Not in the place of the last chunk: together with that ureq forgets the event before
            // it.
            Fault::Garbage if is_complete => closing(&[LAST_CHUNK, GARBAGE].concat()),
            Fault::Silent | Fault::Closed | Fault::Reset | Fault::Garbage | Fault::Bytewise => {
                return self.instead();
            }
            _ => return None,
        })
    }

    /// The head of the answer is that of a success; what is wrong comes after it.
    pub fn has_good_head(self) -> bool {
        matches!(self, Fault::HalfAChunk | Fault::Ended | Fault::EndlessLine)
    }

    /// Only a limit ends it.
    pub fn is_endless(self) -> bool {
        matches!(self, Fault::Silent | Fault::Trickling)
    }

    /// The server says that it did not do what was asked.
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
