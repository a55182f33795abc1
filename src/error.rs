//! The error type of this crate.

pub(crate) mod hint;
mod kind;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::session::Session;

pub use self::kind::{ErrorKind, Step, Timeout};

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. It is one pointer wide.
///
/// [`kind`](Error::kind) says what went wrong, and [`step`](Error::step) says where. `Display` is
/// one line for people, with the server's own message if there is one. `Debug` shows the
/// fields that are set and the [`hint`](Error::hint), but no text of the conversation.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::ErrorKind;
///
/// match client.ask("Why is the sky blue?") {
///     Ok(text) => println!("{text}"),
///     Err(error) if error.kind() == ErrorKind::Truncated => {
///         println!("{} [truncated]", error.received());
///     }
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    step: Step,
    message: String,
    status: Option<u16>,
    is_overloaded: bool,
    server_message: Option<String>,
    retry_after: Option<Duration>,
    received: String,
    undeleted: Option<(String, Session)>,
    maybe_undeleted: bool,
    hint: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, step: Step, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            step,
            message: message.into(),
            status: None,
            is_overloaded: false,
            server_message: None,
            retry_after: None,
            received: String::new(),
            undeleted: None,
            maybe_undeleted: false,
            hint: None,
            source: None,
        }))
    }

    pub(crate) fn invalid_input(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, Step::Validate, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, Step::Validate, message)
    }

    pub(crate) fn zero_timeout(name: &str) -> Error {
        Error::invalid_input(format!("{name} must be greater than zero"))
    }

    /// Moves the error to another step.
    pub(crate) fn at(mut self, step: Step) -> Error {
        self.0.step = step;
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Error {
        self.0.status = Some(status);
        self
    }

    /// Marks an error in which the server says that it is overloaded, with or without a status.
    pub(crate) fn with_overload(mut self, is_overloaded: bool) -> Error {
        self.0.is_overloaded = is_overloaded;
        self
    }

    pub(crate) fn with_server_message(mut self, message: String) -> Error {
        self.0.server_message = (!message.is_empty()).then_some(message);
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Error {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn with_received(mut self, text: String) -> Error {
        self.0.received = text;
        self
    }

    pub(crate) fn with_undeleted(mut self, id: &str, session: &Session) -> Error {
        self.0.undeleted = Some((id.to_owned(), session.clone()));
        self
    }

    /// Marks an error of creating a conversation, unless it proves that none was created.
    pub(crate) fn with_maybe_undeleted(mut self) -> Error {
        self.0.maybe_undeleted |= match self.0.kind {
            // A 503 is a refusal, even from a gateway.
            ErrorKind::Status => self.0.status.is_some_and(|it| it > 500 && it != 503),
            ErrorKind::Truncated | ErrorKind::Protocol | ErrorKind::TooLarge => true,
            _ => false,
        };
        self
    }

    /// Marks an error of a request that was already sent. If the request was to create a
    /// conversation, there may be one.
    pub(crate) fn with_response_lost(mut self) -> Error {
        self.0.maybe_undeleted = self.0.step == Step::CreateConversation;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the number of tokens that had arrived to the message.
    pub(crate) fn after_tokens(mut self, tokens: u64) -> Error {
        if tokens == 0 && self.0.kind == ErrorKind::Timeout(Timeout::Idle) {
            self.0.hint = Some(hint::SLOW_START);
        }
        let tokens = match tokens {
            0 => "no token".to_owned(),
            1 => "1 token".to_owned(),
            more => format!("{more} tokens"),
        };
        self.0.message = format!("{}, after {tokens}", self.0.message);
        self
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.0.step
    }

    /// The HTTP status of the response that caused the error. It may be a success, if the content
    /// is wrong.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The server's own words, on one line of at most 500 characters.
    #[must_use]
    pub fn server_message(&self) -> Option<&str> {
        self.0.server_message.as_deref()
    }

    /// How long the server asks to wait before another attempt, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns whether the same call may succeed later: the server could not be reached, was
    /// overloaded (429, 502, 503, 504, or an error that says so), or sent nothing. Always false for
    /// a failed deletion, because the reply has already been returned.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// // The client has retried already, within seconds.
    /// let text = match client.ask("Why is the sky blue?") {
    ///     Err(error) if error.is_retryable() => {
    ///         let wait = error.retry_after().unwrap_or(Duration::from_secs(30));
    ///         thread::sleep(wait.min(Duration::from_secs(300)));
    ///         client.ask("Why is the sky blue?")?
    ///     }
    ///     other => other?,
    /// };
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let is_temporary = match self.0.kind {
            ErrorKind::Connect | ErrorKind::Timeout(Timeout::Connect | Timeout::Idle) => true,
            // A guest's limit on messages has a 429 too.
            ErrorKind::LoginRequired => false,
            _ => self.is_busy(),
        };
        is_temporary && self.0.step != Step::DeleteConversation
    }

    /// Returns whether the server is overloaded or, as a gateway reports, unavailable.
    fn is_busy(&self) -> bool {
        self.0.is_overloaded || matches!(self.0.status, Some(429 | 502 | 503 | 504))
    }

    /// The text that [`Client::ask`], [`Conversation::ask`], [`Tokens::text`] or [`Tokens::reply`]
    /// had collected, without reasoning. Empty for errors of the iterator and of `write_to`, which
    /// pass on each token as it arrives.
    ///
    /// [`Client::ask`]: crate::Client::ask
    /// [`Conversation::ask`]: crate::Conversation::ask
    /// [`Tokens::text`]: crate::Tokens::text
    /// [`Tokens::reply`]: crate::Tokens::reply
    #[must_use]
    pub fn received(&self) -> &str {
        &self.0.received
    }

    /// The id of a conversation that is still on the server because deleting it failed too. The
    /// client remembers it among its [leftovers](crate::Client::leftovers).
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.ask("Why is the sky blue?") {
    ///     if let Some(id) = error.undeleted() {
    ///         client.delete_conversation(id)?;
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn undeleted(&self) -> Option<&str> {
        self.0.undeleted.as_ref().map(|(id, _)| id.as_str())
    }

    /// The session of the [undeleted](Error::undeleted) conversation, which another process needs
    /// to delete it. It is a credential: no error shows it.
    #[must_use]
    pub fn undeleted_session(&self) -> Option<&Session> {
        self.0.undeleted.as_ref().map(|(_, session)| session)
    }

    /// Returns whether there may be a conversation on the server whose id is unknown, because the
    /// response to its creation was lost. It belongs to the client's
    /// [session](crate::Client::session).
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.ask("Why is the sky blue?") {
    ///     if error.maybe_undeleted() {
    ///         println!("it may be one of {:?}", client.list_conversations()?);
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn maybe_undeleted(&self) -> bool {
        self.0.maybe_undeleted
    }

    /// Returns true if no generation can be running: the server refused, or nothing was sent. A 502
    /// or higher may come from a gateway, so it proves nothing.
    pub(crate) fn ends_the_generation(&self) -> bool {
        let refused = self.0.status.is_some_and(|status| status <= 500);
        // A failure of TLS is none of these: an alert may come after the request was sent.
        let unsent = self.0.step.is_before_the_message()
            || matches!(
                self.0.kind,
                ErrorKind::InvalidInput
                    | ErrorKind::Unsupported
                    | ErrorKind::Connect
                    | ErrorKind::Proxy
                    | ErrorKind::Timeout(Timeout::Connect)
            );
        refused || unsent || self.0.kind == ErrorKind::Generation
    }

    /// Returns whether the client gave up: a timeout expired or the call was cancelled.
    pub(crate) fn is_interrupt(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Cancelled | ErrorKind::Timeout(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.0.step.description() {
            write!(f, "{step}: ")?;
        }
        f.write_str(&self.0.message)?;
        match self.undeleted() {
            // The server may have deleted it, and only the response was lost.
            Some(id) if self.0.step == Step::DeleteConversation && self.0.status.is_none() => {
                write!(f, " (conversation {id} may still be there)")?;
            }
            Some(id) => write!(f, " (conversation {id} could not be deleted)")?,
            None => {}
        }
        if self.maybe_undeleted() {
            f.write_str(" (a conversation may be left in the session)")?;
        }
        Ok(())
    }
}

/// Shows what is set, and the hint. A `main` that returns an error prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("step", &self.0.step);
        out.field("message", &self.0.message);
        if let Some(status) = self.0.status {
            out.field("status", &status);
        }
        if let Some(wait) = self.0.retry_after {
            out.field("retry_after", &wait);
        }
        if !self.0.received.is_empty() {
            out.field("received", &format_args!("{} bytes", self.0.received.len()));
        }
        if let Some(id) = self.undeleted() {
            out.field("undeleted", &id);
        }
        if self.maybe_undeleted() {
            out.field("maybe_undeleted", &true);
        }
        if let Some(hint) = self.hint() {
            out.field("hint", &hint);
        }
        out.finish()
    }
}

/// Creates an error of this kind, for tests of your own code, with a step at which such an error
/// occurs. It has no status, no text and no conversation.
///
/// ```
/// use h2o_chat::{Error, ErrorKind};
///
/// let error = Error::from(ErrorKind::Truncated);
/// assert_eq!(error.to_string(), "reading the reply: the reply ended early");
/// ```
impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error::new(kind, kind.usual_step(), kind.description())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
