//! What is said to a server and what it answers. What differs between the protocols is one module each, and
//! stays below this one; nothing above it knows which it talks to.

mod classic;
mod current;
mod fault;
mod jsonl;
mod listed;
mod object;
mod packed;
mod page;
mod server;
mod set_up;
mod stream;
mod success;
mod tgi;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::Result;
use crate::http::Session;
use crate::message::Message;
use crate::reply::{End, Event};
use crate::request::Request;

pub(crate) use server::{Config, Server};
pub(crate) use stream::Stream;

/// Where a conversation is: its id, the session that it belongs to, and the model that it is with, if that is known.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) session: Session,
    pub(crate) model: Option<String>,
}

/// A conversation that has been opened.
pub(crate) struct Opened {
    pub(crate) place: Place,
    /// What has to go before the first message, because the server has no place for a system prompt.
    pub(crate) preamble: Option<String>,
    /// What the first message answers to, if the server has said so.
    pub(crate) parent: Option<String>,
}

/// A message on its way to a server.
pub(crate) struct Turn {
    pub(crate) id: String,
    text: String,
    /// The text taken apart: the system message that it begins with, and the rest.
    apart: Option<(String, String)>,
    parameters: Map<String, Value>,
    /// Of the parameters some are not the default ones.
    has_parameters: bool,
    /// It has been sent before, and is to be answered once more.
    is_retry: bool,
    /// Since then it has become another.
    is_changed: bool,
}

/// A message in the history that a server keeps.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) message: Message,
}

/// What a server says in one event of a reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) event: Option<Event>,
    /// The proof that the reply is complete. Boxed: every token moves as a frame, and only the last has it.
    pub(crate) end: Option<Box<End>>,
    /// The generation has been stopped and has ended, with this text: more will not come, and it is not complete.
    pub(crate) stopped: Option<Box<str>>,
}

impl Frame {
    /// Whether the generation has ended with it.
    pub(crate) fn is_last(&self) -> bool {
        self.stopped.is_some() || self.end.is_some()
    }

    /// The whole text, which the last frame repeats.
    fn whole(&self) -> Option<&str> {
        let end = self.end.as_ref().map(|end| end.text.as_str());
        end.or(self.stopped.as_deref())
    }
}

impl Turn {
    /// Judges the request on the way.
    pub(crate) fn new(request: &Request, id: &str, is_retry: bool) -> Result<Turn> {
        Ok(Turn {
            id: id.to_owned(),
            text: request.prompt()?,
            apart: request.system_apart(),
            parameters: request.parameters().clone(),
            has_parameters: request.has_parameters(),
            is_retry,
            is_changed: false,
        })
    }

    pub(crate) fn new_id() -> String {
        Uuid::new_v4().to_string()
    }

    pub(crate) fn changed(self, is_changed: bool) -> Turn {
        Turn { is_changed, ..self }
    }

    pub(crate) fn after(self, preamble: &str) -> Turn {
        let text = format!("{preamble}\n\n{}", self.text);
        Turn { text, ..self }
    }

    /// The system message that it begins with.
    pub(crate) fn system(&self) -> Option<&str> {
        self.apart.as_ref().map(|(system, _)| system.as_str())
    }

    /// The same for a server that has been told the system message already.
    pub(crate) fn without_system(self) -> Turn {
        match self.apart {
            Some((_, text)) => Turn {
                text,
                apart: None,
                ..self
            },
            None => self,
        }
    }
}

/// Whether this can be an id: it is going to be part of a path.
pub(crate) fn is_id(id: &str) -> bool {
    let of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(of_an_id)
}
