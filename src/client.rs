//! The client: a handle to one server, cheap to clone.

mod builder;
mod validate;

use std::fmt;
use std::sync::Arc;

use crate::api::{RemoteConversation, is_id};
use crate::conversation::Conversation;
use crate::conversation::builder::ConversationBuilder;
use crate::error::{Error, Result};
use crate::request::Request;
use crate::server::{ConversationSummary, Model, ServerInfo};
use crate::session::Session;
use crate::shared::Shared;
use crate::text::one_line;
use crate::tokens::Tokens;

pub use self::builder::ClientBuilder;

/// The URL of H2O.ai's public chat of 2023. It stopped speaking this protocol in October 2023.
pub const PUBLIC_URL: &str = "https://gpt-gm.h2o.ai";

/// The default model of H2O.ai's public chat of 2023.
pub const DEFAULT_MODEL: &str = "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1";

/// A client of one server.
///
/// It does no I/O before its first call, starts no thread, and reuses its connections. Clones share
/// everything, and many threads can use one client at once. `Debug` hides secrets.
///
/// Using it accepts the server's [terms of use](crate#terms-and-sharing).
///
/// ```no_run
/// use h2o_chat::Client;
///
/// let client = Client::new("http://127.0.0.1:3000")?;
/// println!("{}", client.ask("Why is the sky blue?")?);
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    fn sharing(shared: Shared) -> Client {
        Client { shared: Arc::new(shared) }
    }

    /// Creates a client of the server at this URL, with defaults for everything else.
    ///
    /// # Errors
    /// If the URL, or the proxy of the environment, is invalid.
    pub fn new(url: &str) -> Result<Client> {
        Client::builder(url).build()
    }

    /// Configures a client of the server at this URL: `http://` or `https://`, a host, perhaps a
    /// port and the path below which the chat's pages are. A user and password in it are
    /// percent-decoded and sent as Basic authentication.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Asks, and returns the whole reply. The conversation is deleted.
    ///
    /// Many models begin a reply with a space: `trim` it where that matters. A classic server ends
    /// a reply after 1024 tokens unless [`Request::max_new_tokens`] is set.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// match client.ask("Why is the sky blue?") {
    ///     Ok(text) => println!("{text}"),
    ///     Err(error) => println!("{} [{error}]", error.received()),
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`stream`](Client::stream) and of the reply, with the text so far in
    /// [`Error::received`].
    pub fn ask(&self, request: impl Into<Request>) -> Result<String> {
        self.stream(request)?.text()
    }

    /// Asks, and returns the reply as an iterator over its tokens. The conversation is deleted when
    /// the reply ends, fails or is dropped.
    ///
    /// Returns when the server begins to reply. Newer servers begin at once. A classic server
    /// begins with the first token, so with a busy one this call can take long.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// for token in client.stream("Why is the sky blue?")? {
    ///     print!("{}", token?);
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the request is invalid, the server cannot be reached or refuses, or a timeout expires
    /// before the reply begins. A conversation that was created has been deleted, or is named in
    /// [`Error::undeleted`].
    #[doc(alias = "generate")]
    #[doc(alias = "send")]
    pub fn stream(&self, request: impl Into<Request>) -> Result<Tokens<'static>> {
        Conversation::stream_once(&self.shared, request.into())
    }

    /// Creates a conversation, to ask more than once in it. It is deleted when it is dropped.
    ///
    /// On a classic server or h2oGPTe, a turn takes one request. On newer chat-ui servers it takes
    /// two, because the client has to ask for the id of the last message; the newest need only one
    /// for the first turn.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let mut chat = client.conversation()?;
    /// println!("{}", chat.ask("Name a prime.")?);
    /// println!("{}", chat.ask("And the next one?")?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses.
    pub fn conversation(&self) -> Result<Conversation> {
        self.conversation_builder().open()
    }

    /// Configures a conversation with a model or a system prompt of its own.
    pub fn conversation_builder(&self) -> ConversationBuilder {
        ConversationBuilder::new(Arc::clone(&self.shared))
    }

    /// Resumes a conversation of the client's [session](Client::session) by its id. It is not
    /// deleted when it is dropped.
    ///
    /// Does no I/O. If the conversation does not exist, the first message fails (404).
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// let id = client.conversation()?.keep();
    /// let mut chat = client.resume(&id)?;
    /// println!("{}", chat.ask("Where were we?")?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the id is invalid: it consists of at most 64 letters, digits, `_` and `-`.
    pub fn resume(&self, id: &str) -> Result<Conversation> {
        let remote = self.remote(id)?;
        Ok(Conversation::resumed(Arc::clone(&self.shared), remote))
    }

    /// Lists the conversations of the client's [session](Client::session).
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers with something else.
    pub fn list_conversations(&self) -> Result<Vec<ConversationSummary>> {
        self.shared.api.list_conversations(&self.shared.timer(None, None))
    }

    /// Deletes a conversation of the client's [session](Client::session) by its id, after stopping
    /// what may be generated in it. Succeeds if it is already gone.
    ///
    /// # Errors
    /// If the id is invalid, the server refuses, or does not respond within the
    /// [cleanup timeout](ClientBuilder::cleanup_timeout).
    pub fn delete_conversation(&self, id: &str) -> Result<()> {
        let timer = self.shared.cleanup_timer();
        self.shared.delete(&timer, &self.remote(id)?, true, None)
    }

    fn remote(&self, id: &str) -> Result<RemoteConversation> {
        if !is_id(id) {
            let id = one_line(id);
            return Err(Error::invalid_input(format!("invalid conversation id {id:?}")));
        }
        let session = self.shared.api.session();
        Ok(RemoteConversation::new(id, session, None))
    }

    /// Lists the models that the server offers, its default first.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers with something else.
    pub fn list_models(&self) -> Result<Vec<Model>> {
        self.shared.api.list_models(&self.shared.timer(None, None))
    }

    /// Checks whether the client can talk to this server, and lists its models. Creates no
    /// conversation, and posts no settings in a session that you gave.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// match client.server_info() {
    ///     Ok(info) => println!("{info}"),
    ///     Err(error) => println!("{error}\n{}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the server cannot be reached or used. [`Error::hint`] says what you can do.
    pub fn server_info(&self) -> Result<ServerInfo> {
        self.shared.api.server_info(&self.shared.timer(None, None))
    }

    /// The ids of the conversations that this client, or a clone of it, could not delete, the
    /// oldest first. At most 1000 are remembered.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        self.shared.leftover_ids()
    }

    /// Tries again to delete the [leftovers](Client::leftovers), and returns how many are gone.
    ///
    /// Each deletion takes at most the [cleanup timeout](ClientBuilder::cleanup_timeout). All of
    /// them together take at most the [total timeout](ClientBuilder::total_timeout) or, if there is
    /// none, ten cleanup timeouts. The client's [cancel handle](ClientBuilder::cancel_handle) ends
    /// it.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.delete_leftovers() {
    ///     eprintln!("still on the server: {:?}: {error}", client.leftovers());
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error. After a refused deletion the others are still tried; after one without a
    /// response they are not. Whatever could not be deleted stays among the leftovers.
    pub fn delete_leftovers(&self) -> Result<usize> {
        self.shared.delete_leftovers()
    }

    /// The session that this client's conversations belong to. It has no meaning if the client has
    /// an [API key](ClientBuilder::api_key).
    #[must_use]
    pub fn session(&self) -> Session {
        self.shared.api.session().session
    }

    /// The name of the session's cookie: the one set with
    /// [`cookie_name`](ClientBuilder::cookie_name), or the one that the server uses, once that is
    /// known.
    #[must_use]
    pub fn cookie_name(&self) -> String {
        self.shared.api.session().name
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", self.shared.api.base())
            .field("model", &self.shared.api.default_model())
            .field("timeouts", &self.shared.timeouts)
            .finish_non_exhaustive()
    }
}
