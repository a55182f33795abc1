//! What a user says of a conversation before it is opened.

use std::fmt;
use std::time::Duration;

use crate::builder::judge_model;
use crate::client::Client;
use crate::conversation::Conversation;
use crate::error::{Error, Result};
use crate::stop::Stop;

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
    deadline: Option<Duration>,
    stop: Option<Stop>,
}

impl ConversationBuilder {
    pub(crate) fn new(client: Client) -> ConversationBuilder {
        ConversationBuilder {
            client,
            model: None,
            system: None,
            deadline: None,
            stop: None,
        }
    }

    /// The model to talk with. Defaults to the client's.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let chat = client.conversation_builder().model("my/model").open()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn model(mut self, model: impl Into<String>) -> ConversationBuilder {
        self.model = Some(model.into());
        self
    }

    /// What the model is told before the first message. Classic servers have no place for it but the first message, of
    /// which it becomes the beginning, with an empty line after it. Defaults to nothing.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let chat = client.conversation_builder().system("Answer in French.").open()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn system(mut self, text: impl Into<String>) -> ConversationBuilder {
        self.system = Some(text.into());
        self
    }

    /// How long opening it may take; `None` is as long as it takes. Defaults to the client's deadline.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use std::time::Duration;
    ///
    /// let builder = client.conversation_builder().deadline(Duration::from_secs(5));
    /// let chat = builder.open()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> ConversationBuilder {
        self.deadline = Some(limit.into().unwrap_or(Duration::MAX));
        self
    }

    /// Lets this flag end the opening, from any thread.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let stop = h2o_chat::Stop::default();
    /// let chat = client.conversation_builder().stop(&stop).open()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn stop(mut self, stop: &Stop) -> ConversationBuilder {
        self.stop = Some(stop.clone());
        self
    }

    /// Opens the conversation, which is deleted when dropped.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut chat = client.conversation_builder().open()?;
    /// println!("{}", chat.ask("Name a prime.")?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the model or the system prompt cannot be used, or the server cannot be reached, or refuses.
    pub fn open(self) -> Result<Conversation> {
        judge_model(self.model.as_deref())?;
        if self.deadline == Some(Duration::ZERO) {
            return Err(Error::no_time("deadline"));
        }
        if self
            .system
            .as_ref()
            .is_some_and(|text| text.trim().is_empty())
        {
            return Err(Error::input("the system prompt is empty"));
        }
        let watch = self.client.watch(self.stop, self.deadline);
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
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
