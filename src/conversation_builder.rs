//! What a user says of a conversation before it is opened.

use std::fmt;

use crate::builder::judge_model;
use crate::client::Client;
use crate::conversation::Conversation;
use crate::error::{Error, Result};

/// Opens a [`Conversation`]: see [`Client::conversation_builder`].
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// let mut chat = client
///     .conversation_builder()
///     .system("Answer in one sentence.")
///     .open()?;
/// println!("{}", chat.ask("Why is the sky blue?")?);
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until open() is called"]
pub struct ConversationBuilder {
    client: Client,
    model: Option<String>,
    system: Option<String>,
}

impl ConversationBuilder {
    pub(crate) fn new(client: Client) -> ConversationBuilder {
        ConversationBuilder {
            client,
            model: None,
            system: None,
        }
    }

    /// The model to talk with. Defaults to the client's.
    pub fn model(mut self, model: impl Into<String>) -> ConversationBuilder {
        self.model = Some(model.into());
        self
    }

    /// What the model is told before the first message. Classic servers have no place for it but the first message, of
    /// which it becomes the beginning, with an empty line after it. Defaults to nothing.
    pub fn system(mut self, text: impl Into<String>) -> ConversationBuilder {
        self.system = Some(text.into());
        self
    }

    /// Opens the conversation, which is deleted when dropped.
    ///
    /// # Errors
    /// If the model or the system prompt cannot be used, or the server cannot be reached, or refuses.
    pub fn open(self) -> Result<Conversation> {
        judge_model(self.model.as_deref())?;
        if self
            .system
            .as_ref()
            .is_some_and(|text| text.trim().is_empty())
        {
            return Err(Error::input("the system prompt is empty"));
        }
        let watch = self.client.watch(None, None);
        self.client
            .converse(&watch, self.model.as_deref(), self.system.as_deref())
    }
}

/// Shows the length of the system prompt, not the prompt.
impl fmt::Debug for ConversationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = self
            .system
            .as_ref()
            .map(|text| format!("{} bytes", text.len()));
        f.debug_struct("ConversationBuilder")
            .field("client", &self.client)
            .field("model", &self.model)
            .field("system", &system)
            .finish_non_exhaustive()
    }
}
