//! Writes a reply as the JSON lines of a current chat-ui, each in a chunk of its own.

use std::mem;

use serde_json::Value;

use super::Dialect;
use super::encoder::{Encoder, Ending};
use super::plan::{Act, Failure};

pub(super) struct JsonLines {
    dialect: Dialect,
    /// `None` if the conversation already has one.
    title: Option<&'static str>,
    tokens: Vec<String>,
    /// The stored text.
    text: String,
    has_final_answer: bool,
    has_failed: bool,
}

impl JsonLines {
    pub fn new(dialect: Dialect, title: Option<&'static str>) -> Self {
        Self {
            dialect,
            title,
            tokens: Vec::new(),
            text: String::new(),
            has_final_answer: false,
            has_failed: false,
        }
    }

    fn token(&mut self, text: &str) -> Vec<Vec<u8>> {
        /// The length in UTF-16 units.
        const PADDED_LENGTH: usize = 16;
        if text.is_empty() {
            return Vec::new();
        }
        self.text += text;
        self.tokens.push(text.to_string());
        let mut token = text.to_string();
        if self.dialect.pads() {
            let padding = PADDED_LENGTH.saturating_sub(text.encode_utf16().count());
            token += &"\0".repeat(padding);
        }
        let token = Value::from(token);
        vec![line(&format!(r#"{{"type":"stream","token":{token}}}"#))]
    }

    /// The whole text, and filler that makes browsers show it.
    fn final_answer(&mut self, interrupted: bool) -> Vec<Vec<u8>> {
        const FILLER: usize = 4096;
        self.has_final_answer = true;
        let text = Value::from(self.text.as_str());
        let interrupted = format!(r#","interrupted":{interrupted}"#);
        let more = if self.dialect.pads() { &interrupted } else { "" };
        let answer = format!(r#"{{"type":"finalAnswer","text":{text}{more}}}"#);
        vec![line(&answer), vec![b' '; FILLER]]
    }

    /// The newest servers ask the model again, and send its tokens twice, before they give up.
    fn failure(&mut self, failure: &Failure) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut code = None;
        if self.dialect == Dialect::Newest {
            code = failure.status;
            for token in mem::take(&mut self.tokens) {
                chunks.extend(self.token(&token));
            }
        }
        self.has_failed = true;
        chunks.push(error(&failure.message, code));
        chunks
    }
}

impl Encoder for JsonLines {
    fn start(&mut self) -> Vec<Vec<u8>> {
        let mut chunks = vec![status("started")];
        chunks.extend(self.keep_alive());
        if let Some(title) = self.title {
            chunks.push(if self.dialect.pads() {
                line(&format!(r#"{{"type":"title","title":"{title}"}}"#))
            } else {
                let status = r#"{"type":"status","status":"title""#;
                line(&format!(r#"{status},"message":"{title}"}}"#))
            });
        }
        chunks
    }

    fn encode_one(&mut self, act: &Act) -> Vec<Vec<u8>> {
        match act {
            Act::Token { text, .. } => self.token(text),
            // The comments of the model's server are not passed on.
            Act::Comment => self.keep_alive().into_iter().collect(),
            Act::Failure(failure) => self.failure(failure),
            Act::Last(last) => {
                let mut chunks = Vec::new();
                if !last.is_special() {
                    chunks = self.token(&last.text);
                }
                self.text = last.generated_text.trim_end().to_string();
                if !(self.text.is_empty() && self.dialect.pads()) {
                    chunks.extend(self.final_answer(false));
                }
                chunks
            }
            Act::Other(object) => vec![line(object)],
            Act::Send(bytes) => vec![bytes.clone()],
            _ => Vec::new(),
        }
    }

    fn keep_alive(&self) -> Option<Vec<u8>> {
        self.dialect.pads().then(|| status("keepAlive"))
    }

    fn end(&mut self, is_stopped: bool) -> Ending {
        let mut chunks = Vec::new();
        if is_stopped && !self.has_final_answer {
            chunks = self.final_answer(true);
        } else if self.dialect.pads() {
            if !self.has_failed && self.text.is_empty() {
                self.has_failed = true;
                let message = "No output was generated. Something went wrong.";
                chunks.push(error(message, None));
            }
        } else if self.has_failed && !self.has_final_answer {
            // Wrong, but this is what they do.
            chunks = self.final_answer(false);
        }
        if self.dialect == Dialect::Newest && !self.has_failed {
            chunks.push(status("finished"));
        }
        Ending { chunks, closes: false, text: Some(self.text.clone()) }
    }
}

fn status(status: &str) -> Vec<u8> {
    line(&format!(r#"{{"type":"status","status":"{status}"}}"#))
}

fn error(message: &str, code: Option<u16>) -> Vec<u8> {
    let message = Value::from(message);
    let code = code.map_or_else(String::new, |code| format!(r#","statusCode":{code}"#));
    line(&format!(r#"{{"type":"status","status":"error","message":{message}{code}}}"#))
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}
