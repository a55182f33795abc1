//! How a classic server says a reply: it relays the events of the model's server, and reads its own copy of
//! them to know what to remember.

use std::mem;

use serde_json::Value;

use super::frame;
use super::plan::{Act, Wanted};
use super::voice::{Ending, How, Then, Voice};

/// How the line of an event begins.
const EVENT: &[u8] = b"data:";

/// What has been relayed so far.
pub(super) struct Transcript {
    /// None if no details are wanted.
    details: Option<Wanted>,
    /// The line that has not come to its end.
    line: Vec<u8>,
    tokens: String,
    /// The whole text, if the latest event is a last one.
    whole: Option<String>,
}

impl Transcript {
    pub fn new(details: Option<Wanted>) -> Self {
        Self {
            details,
            line: Vec::new(),
            tokens: String::new(),
            whole: None,
        }
    }

    /// Notes an event, which may have no token or not be a last one.
    fn note(&mut self, token: &str, whole: Option<&str>) {
        self.tokens += token;
        self.whole = whole.map(str::to_string);
    }

    /// Notes whatever there is in bytes that need not be events.
    fn read(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            // A line that is no event may be endless.
            if self.line.len() < EVENT.len() || self.line.starts_with(EVENT) {
                self.line.extend(piece);
            }
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        if let Some(event) = line.strip_prefix(EVENT) {
            let event: Value = serde_json::from_slice(event).unwrap_or_default();
            let token = event["token"]["text"].as_str().unwrap_or_default();
            self.note(token, event["generated_text"].as_str());
        }
    }
}

impl Voice for Transcript {
    fn begin(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn say(&mut self, act: &Act) -> Vec<Vec<u8>> {
        let bytes = match act {
            Act::Token { id, text } => {
                self.note(text, None);
                frame::token(*id, text)
            }
            Act::Special { id, text } => {
                self.note(text, None);
                frame::special(*id, text)
            }
            Act::Last(last) => {
                self.note(&last.text, Some(&last.generated_text));
                last.frame(self.details.as_ref())
            }
            Act::Failure(failure) => {
                self.note("", None);
                frame::error(&failure.message, failure.kind)
            }
            Act::Comment => frame::comment(),
            Act::Send(bytes) => {
                self.read(bytes);
                bytes.clone()
            }
            _ => Vec::new(),
        };
        vec![bytes]
    }

    fn heartbeat(&self) -> Option<Vec<u8>> {
        None
    }

    /// Of a reply that came to its end none is remembered that lacks its last event.
    fn end(&mut self, how: How) -> Ending {
        self.end_line();
        let (then, text) = match how {
            How::Over => (Then::LastChunk, self.whole.take()),
            How::Stopped => (Then::Close, Some(mem::take(&mut self.tokens))),
        };
        Ending {
            chunks: Vec::new(),
            then,
            text,
        }
    }
}
