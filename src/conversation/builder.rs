//! The configuration of a conversation.

use std::fmt;
use std::sync::Arc;

use super::Conversation;
use crate::error::{Error, Result};
use crate::request::validate_model;
use crate::shared::Shared;

/// Configures a conversation, before it is created on the server.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut chat = client
///     .conversation_builder()
///     .model("my/model")
///     .system("Answer in one sentence.")
///     .open()?;
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until open() is called"]
pub struct ConversationBuilder {
    shared: Arc<Shared>,
    model: Option<String>,
    system: Option<String>,
    collection: Option<String>,
}

impl ConversationBuilder {
    pub(crate) fn new(shared: Arc<Shared>) -> ConversationBuilder {
        ConversationBuilder { shared, model: None, system: None, collection: None }
    }

    /// The model to converse with. Defaults to the client's.
    pub fn model(mut self, model: impl Into<String>) -> ConversationBuilder {
        self.model = Some(model.into());
        self
    }

    /// The system prompt. Servers from chat-ui 0.8 store it with the conversation; h2oGPTe gets it
    /// with every message; on a classic server it precedes the first message. Defaults to none.
    pub fn system(mut self, text: impl Into<String>) -> ConversationBuilder {
        self.system = Some(text.into());
        self
    }

    /// The id of a collection of documents to chat with. Only h2oGPTe has collections. Defaults to
    /// none.
    pub fn collection(mut self, id: impl Into<String>) -> ConversationBuilder {
        self.collection = Some(id.into());
        self
    }

    /// Creates the conversation on the server. It is deleted when it is dropped.
    ///
    /// # Errors
    /// If the model, the system prompt or the collection is invalid, or the server cannot be
    /// reached or refuses. [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a
    /// collection on another server than h2oGPTe.
    pub fn open(self) -> Result<Conversation> {
        validate_model(self.model.as_deref())?;
        if self.system.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return Err(Error::invalid_input("the system prompt is empty"));
        }
        Conversation::open(
            &self.shared,
            self.model.as_deref(),
            self.system.as_deref(),
            self.collection.as_deref(),
        )
    }
}

impl fmt::Debug for ConversationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = self.system.as_ref().map(|text| format!("{} bytes", text.len()));
        f.debug_struct("ConversationBuilder")
            .field("model", &self.model)
            .field("system", &system)
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}
