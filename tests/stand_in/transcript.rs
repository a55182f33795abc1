//! The server's own copy of a reply, which it reads to know what to remember.

use std::mem;

use serde_json::Value;

/// How the line of an event begins.
const EVENT: &[u8] = b"data:";

/// What has been read so far.
#[derive(Default)]
pub(super) struct Transcript {
    /// The line that has not come to its end.
    line: Vec<u8>,
    tokens: String,
    /// The whole text, if the latest event is a last one.
    whole: Option<String>,
}

impl Transcript {
    pub fn read(&mut self, bytes: &[u8]) {
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
            self.tokens += event["token"]["text"].as_str().unwrap_or_default();
            self.whole = event["generated_text"].as_str().map(str::to_string);
        }
    }

    /// The text of a reply that came to its end: none that lacks its last event is remembered.
    pub fn whole(&mut self) -> Option<String> {
        self.end_line();
        self.whole.take()
    }

    /// The text of a reply that was stopped.
    pub fn so_far(&self) -> &str {
        &self.tokens
    }
}
