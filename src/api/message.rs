//! Conversations on a server, and the messages in them.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::attachment::Attachment;
use crate::error::Result;
use crate::http::SessionCookie;
use crate::message::Message;
use crate::request::Request;

/// A conversation on the server, with everything that is needed to send messages to it and to
/// delete it.
#[derive(Clone)]
pub(crate) struct RemoteConversation {
    pub(crate) id: String,
    /// The session that created it. Another one cannot delete it.
    pub(crate) session: SessionCookie,
    /// `None` if it is not known.
    pub(crate) model: Option<String>,
    /// The id of the root message, if the server has sent it.
    pub(super) root: Option<String>,
    /// The system prompt, where the server does not store it.
    pub(super) system: Option<String>,
    /// The last message that was sent, where a stop has to name it.
    pub(super) last_message: Option<String>,
}

impl RemoteConversation {
    pub(crate) fn new(id: &str, session: SessionCookie, model: Option<&str>) -> RemoteConversation {
        RemoteConversation {
            id: id.to_owned(),
            session,
            model: model.map(str::to_owned),
            root: None,
            system: None,
            last_message: None,
        }
    }

    /// Copies only what is needed to stop and delete it.
    pub(crate) fn without_texts(&self) -> RemoteConversation {
        RemoteConversation::new(&self.id, self.session.clone(), self.model.as_deref())
    }

    pub(super) fn path(&self) -> String {
        format!("/conversation/{}", self.id)
    }
}

/// What the server has stored in the place of a message, as far as is known.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum MessageState {
    /// Nothing.
    New,
    /// The message. Sending it again regenerates its reply.
    Stored,
    /// Another text, which the message replaces.
    Edited(String),
}

/// A message to be sent.
pub(crate) struct OutgoingMessage {
    /// The id under which classic servers store it.
    pub(crate) id: String,
    /// The request's system prompt, where a message can have one.
    pub(crate) system: Option<String>,
    pub(crate) text: String,
    pub(super) attachments: Vec<Attachment>,
    /// The MCP servers whose tools the model may use.
    pub(super) tools: Vec<String>,
    /// The parameters that the caller has set.
    pub(super) parameters: Map<String, Value>,
    /// It begins the conversation.
    pub(crate) is_first: bool,
    pub(crate) state: MessageState,
    /// The request body, where it depends on nothing else. Rendered by [`Api::render`].
    ///
    /// [`Api::render`]: super::Api::render
    pub(super) body: Vec<u8>,
}

impl OutgoingMessage {
    /// A message that is not rendered yet. A leading system message of the request is a part of
    /// the text, unless it is to be apart.
    pub(crate) fn new(
        id: &str,
        request: &Request,
        system_is_apart: bool,
    ) -> Result<OutgoingMessage> {
        let (system, text) = match request.split_system() {
            Some((system, text)) if system_is_apart => (Some(system), text),
            _ => (None, request.prompt()?),
        };
        Ok(OutgoingMessage {
            id: id.to_owned(),
            system,
            text,
            attachments: request.attachments.clone(),
            tools: request.tools.clone(),
            parameters: request.parameters().clone(),
            is_first: true,
            state: MessageState::New,
            body: Vec::new(),
        })
    }

    pub(crate) fn new_id() -> String {
        Uuid::new_v4().to_string()
    }
}

/// A message that the server has stored.
pub(crate) struct StoredMessage {
    pub(crate) id: String,
    pub(crate) message: Message,
}

/// Validates an id. Ids become parts of paths.
pub(crate) fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(is_allowed)
}
