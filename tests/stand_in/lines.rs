//! How a current server says a reply: JSON lines of its own making, each in a chunk.

use serde_json::Value;

use super::Dialect;
use super::plan::{Act, Failure};
use super::voice::{Ending, How, Then, Voice};

/// What has been said so far.
pub(super) struct Lines {
    dialect: Dialect,
    /// None if the conversation has one.
    title: Option<&'static str>,
    tokens: Vec<String>,
    /// The text that is remembered.
    text: String,
    answered: bool,
    failed: bool,
}

impl Lines {
    pub fn new(dialect: Dialect, title: Option<&'static str>) -> Self {
        Self {
            dialect,
            title,
            tokens: Vec::new(),
            text: String::new(),
            answered: false,
            failed: false,
        }
    }

    fn token(&mut self, text: &str) -> Vec<Vec<u8>> {
        if text.is_empty() {
            return Vec::new();
        }
        self.text += text;
        self.tokens.push(text.to_string());
        let padding = match self.dialect {
            Dialect::Form | Dialect::Newest => 16_usize.saturating_sub(text.encode_utf16().count()),
            _ => 0,
        };
        let token = Value::from(text.to_string() + &"\0".repeat(padding));
        vec![line(&format!(r#"{{"type":"stream","token":{token}}}"#))]
    }

    /// The whole text, and what makes browsers show it.
    fn final_answer(&mut self, interrupted: bool) -> Vec<Vec<u8>> {
        const FILLER: usize = 4096;
        self.answered = true;
        let text = Value::from(self.text.as_str());
        let interrupted = match self.dialect {
            Dialect::Form | Dialect::Newest => format!(r#","interrupted":{interrupted}"#),
            _ => String::new(),
        };
        let answer = line(&format!(
            r#"{{"type":"finalAnswer","text":{text}{interrupted}}}"#
        ));
        match self.dialect {
            Dialect::V07 => vec![answer],
            _ => vec![answer, vec![b' '; FILLER]],
        }
    }

    /// The newest servers ask the model once more, and say its tokens again, before they give up.
    fn failure(&mut self, failure: &Failure) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        if self.dialect == Dialect::Newest {
            for token in std::mem::take(&mut self.tokens) {
                chunks.extend(self.token(&token));
            }
        }
        self.failed = true;
        let code = failure.status.filter(|_| self.dialect == Dialect::Newest);
        chunks.push(error(&failure.message, code));
        chunks
    }
}

impl Voice for Lines {
    fn begin(&mut self) -> Vec<Vec<u8>> {
        let mut chunks = vec![status("started")];
        chunks.extend(self.heartbeat());
        chunks.extend(self.title.map(|title| match self.dialect {
            Dialect::Form | Dialect::Newest => {
                line(&format!(r#"{{"type":"title","title":"{title}"}}"#))
            }
            _ => line(&format!(
                r#"{{"type":"status","status":"title","message":"{title}"}}"#
            )),
        }));
        chunks
    }

    fn say(&mut self, act: &Act) -> Vec<Vec<u8>> {
        match act {
            Act::Token { text, .. } => self.token(text),
            // What the model's server sends to stay connected is not passed on.
            Act::Comment => self.heartbeat().into_iter().collect(),
            Act::Failure(failure) => self.failure(failure),
            Act::Last(last) => {
                let mut chunks = Vec::new();
                if last.finish_reason != "eos_token" {
                    chunks = self.token(&last.text);
                }
                self.text = last.generated_text.trim_end().to_string();
                let is_nothing = self.text.is_empty() && self.dialect.pads();
                if !is_nothing {
                    chunks.extend(self.final_answer(false));
                }
                chunks
            }
            Act::Send(bytes) => vec![bytes.clone()],
            _ => Vec::new(),
        }
    }

    fn heartbeat(&self) -> Option<Vec<u8>> {
        self.dialect.pads().then(|| status("keepAlive"))
    }

    fn end(&mut self, how: How) -> Ending {
        let mut chunks = Vec::new();
        if how == How::Stopped && !self.answered {
            chunks = self.final_answer(true);
        } else if self.dialect.pads() {
            if !self.failed && self.text.is_empty() {
                self.failed = true;
                let message = "No output was generated. Something went wrong.";
                chunks.push(error(message, None));
            }
        } else if self.failed && !self.answered {
            // Wrong, but what these say.
            chunks = self.final_answer(false);
        }
        if self.dialect == Dialect::Newest && !self.failed {
            chunks.push(status("finished"));
        }
        let then = match self.dialect {
            Dialect::V07 => Then::Silence,
            _ => Then::LastChunk,
        };
        let text = Some(self.text.clone());
        Ending { chunks, then, text }
    }
}

fn status(status: &str) -> Vec<u8> {
    line(&format!(r#"{{"type":"status","status":"{status}"}}"#))
}

fn error(message: &str, code: Option<u16>) -> Vec<u8> {
    let message = Value::from(message);
    let code = code.map_or_else(String::new, |code| format!(r#","statusCode":{code}"#));
    line(&format!(
        r#"{{"type":"status","status":"error","message":{message}{code}}}"#
    ))
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}
