//! What a user asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::{ClientBuilder, judge_model};
use crate::conversation::Conversation;
use crate::conversation_builder::ConversationBuilder;
use crate::error::{Error, Result, Step};
use crate::http::{Session, Watch, one_line};
use crate::protocol::{Place, Turn, is_id};
use crate::request::Request;
use crate::server::{Model, ServerInfo, Summary};
use crate::shared::Shared;
use crate::stop::Stop;
use crate::tokens::Tokens;

/// Where H2O.ai served its public chat. It stopped speaking this protocol in October 2023.
pub const PUBLIC_URL: &str = "https://gpt-gm.h2o.ai";

/// The model that H2O.ai's public chat answered with by default.
pub const DEFAULT_MODEL: &str = "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1";

/// A client of one server.
///
/// It does no I/O until it is asked something, starts no thread, and keeps its connections to use them again.
/// Clones are the same client; it can be used by many threads at once. `Debug` shows no secret.
///
/// Asking a server accepts its [terms of use](crate#terms-and-sharing).
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
    pub(crate) fn sharing(shared: Shared) -> Client {
        Client {
            shared: Arc::new(shared),
        }
    }

    /// A client of the server at this URL, everything else by default.
    ///
    /// # Errors
    /// If the URL, or the proxy that the environment names, cannot be used.
    pub fn new(url: &str) -> Result<Client> {
        Client::builder(url).build()
    }

    /// To configure a client of the server at this URL: `http://` or `https://`, a host, perhaps a port, and the
    /// path that the server's pages are below, if there is one. A user and password in it are sent as Basic
    /// authentication, as they are; for those with characters that a URL cannot hold there is
    /// [`header`](ClientBuilder::header).
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Asks, and returns the whole reply. The conversation is deleted.
    ///
    /// Many models begin with a space: `trim` the reply where that matters. A classic server ends it after 1024 tokens
    /// unless [`Request::max_new_tokens`](crate::Request::max_new_tokens) says otherwise.
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
    /// Whatever can go wrong with a reply; the text so far is in [`Error::received`](crate::Error::received).
    pub fn ask(&self, request: impl Into<Request>) -> Result<String> {
        self.generate(request)?.text()
    }

    /// Asks, and returns the reply as an iterator over its tokens.
    ///
    /// Returns when the server begins to reply. A classic server does that with the first token, so this is where a
    /// busy one is waited for; a current one does it at once.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// for token in client.generate("Why is the sky blue?")? {
    ///     print!("{}", token?);
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the request is unfit to be sent, the server cannot be reached, refuses, or does not begin to reply
    /// within the limits. If a conversation was opened, it has been deleted, or is named in
    /// [`Error::undeleted`](crate::Error::undeleted).
    pub fn generate(&self, request: impl Into<Request>) -> Result<Tokens<'static>> {
        let request = request.into();
        let turn = Turn::new(&request, &Turn::new_id(), false)?;
        self.shared.server.judge(&turn)?;
        judge_model(request.model.as_deref())?;
        let watch = self.watch(request.stop.clone(), request.deadline);
        let model = self
            .shared
            .server
            .set_up(&watch, request.model.as_deref())?;
        // Judged once more, now that it is known who is to be asked.
        self.shared.server.judge(&turn)?;
        let mut conversation = self.open(&watch, &model, turn.system())?;
        match conversation.first_turn(&watch, turn, request) {
            Ok(()) => Ok(Tokens::new(conversation, watch)),
            Err(error) => Err(conversation.close_after(error)),
        }
    }

    /// Opens a conversation, to ask more than once in it. It is deleted when dropped.
    ///
    /// What there is to be sent before a message has been sent then: on a classic server the first token of each turn
    /// costs one round trip. A current one is asked before each turn but the first what the message answers to.
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

    /// To open a conversation with a model or a system prompt of its own.
    pub fn conversation_builder(&self) -> ConversationBuilder {
        ConversationBuilder::new(self.clone())
    }

    /// Takes up a conversation that was kept, by its id, in the client's [session](Client::session). Dropping it leaves
    /// it on the server. Does no I/O: whether there is such a conversation is seen at the first message.
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
    /// If that cannot be an id: it has letters, digits, `_` and `-`, 64 at the most.
    pub fn resume(&self, id: &str) -> Result<Conversation> {
        let place = self.place(id)?;
        Ok(Conversation::resumed(Arc::clone(&self.shared), place))
    }

    /// The conversations of the client's [session](Client::session) that are on the server.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers something else.
    pub fn conversations(&self) -> Result<Vec<Summary>> {
        let watch = self.watch(None, None);
        self.shared.server.conversations(&watch)
    }

    /// Deletes a conversation of the client's [session](Client::session) by its id; what may still be generated in it is
    /// stopped first. One that is gone already is no error.
    ///
    /// # Errors
    /// If that cannot be an id, or the server cannot be reached within the
    /// [cleanup budget](ClientBuilder::cleanup_budget), or refuses.
    pub fn delete(&self, id: &str) -> Result<()> {
        self.shared.remove(&self.place(id)?, true)
    }

    fn place(&self, id: &str) -> Result<Place> {
        if !is_id(id) {
            let id = one_line(id);
            return Err(Error::input(format!("{id:?} is no conversation's id")));
        }
        Ok(Place {
            id: id.to_owned(),
            session: self.session(),
            model: None,
        })
    }

    /// Opens a conversation with this model, or the default one.
    pub(crate) fn converse(
        &self,
        watch: &Watch,
        model: Option<&str>,
        system: Option<&str>,
    ) -> Result<Conversation> {
        let model = self.shared.server.set_up(watch, model)?;
        self.open(watch, &model, system)
    }

    /// The bounds of a call that begins now.
    pub(crate) fn watch(&self, stop: Option<Stop>, deadline: Option<Duration>) -> Watch {
        self.shared.watch(stop, deadline)
    }

    /// One that is deleted when dropped.
    fn open(&self, watch: &Watch, model: &str, system: Option<&str>) -> Result<Conversation> {
        let Shared { server, limits, .. } = &*self.shared;
        // Once asked for, a conversation whose id is not known could not be deleted.
        watch.check().map_err(|cut| cut.at(Step::Conversation))?;
        let opened = server
            .open(&watch.with_grace(limits.cleanup), model, system)
            .map_err(Error::with_maybe_undeleted)?;
        Ok(Conversation::new(Arc::clone(&self.shared), opened))
    }

    /// The models that the server offers, its own default first.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers something else.
    pub fn models(&self) -> Result<Vec<Model>> {
        self.shared.server.models(&self.watch(None, None))
    }

    /// Takes one look at the server: whether it is one to talk to, and what it offers. Posts the settings, and
    /// asks for the list of its models; opens no conversation.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// match client.check() {
    ///     Ok(info) => println!("{info}"),
    ///     Err(error) => println!("{error}\n{}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the server, or on the way to it; [`Error::hint`](crate::Error::hint) says what can be done about it.
    pub fn check(&self) -> Result<ServerInfo> {
        self.shared.server.check(&self.watch(None, None))
    }

    /// The ids of the conversations that could not be deleted, by whichever clone of this client, and are still on
    /// the server as far as it knows. [`sweep`](Client::sweep) tries again.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        self.shared.leftover_ids()
    }

    /// Tries once more to delete the [leftovers](Client::leftovers), each within the
    /// [cleanup budget](ClientBuilder::cleanup_budget); returns how many are gone.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.sweep() {
    ///     eprintln!("still on the server: {:?}: {error}", client.leftovers());
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first thing that went wrong. After a refusal the others are tried all the same; when the server does not
    /// answer, they are not. What is not gone stays among the leftovers.
    pub fn sweep(&self) -> Result<usize> {
        self.shared.sweep()
    }

    /// The session that this client's conversations belong to.
    #[must_use]
    pub fn session(&self) -> Session {
        self.shared.server.session()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", self.shared.server.base())
            .field("model", &self.shared.server.default_model())
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}
