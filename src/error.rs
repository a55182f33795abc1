//! What can go wrong, in one type: at which step, of which kind, and in whose words.
//!
//! Everything below and above may use this module; it uses none of them.

pub(crate) mod hint;
mod kind;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

pub use self::kind::{ErrorKind, Limit, Step};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate: one pointer wide.
///
/// [`kind`](Error::kind) says what went wrong, [`step`](Error::step) where. `Display` is one line for
/// a person, in the server's own words where it gave any; control characters are taken out of those.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::ErrorKind;
///
/// match client.ask("Why is the sky blue?") {
///     Ok(text) => println!("{text}"),
///     Err(error) if error.kind() == ErrorKind::Truncated => {
///         println!("{} [cut short]", error.received());
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
    server_message: Option<String>,
    retry_after: Option<Duration>,
    received: String,
    undeleted: Option<String>,
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
            server_message: None,
            retry_after: None,
            received: String::new(),
            undeleted: None,
            maybe_undeleted: false,
            hint: None,
            source: None,
        }))
    }

    pub(crate) fn input(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Input, Step::Prepare, message)
    }

    /// Of a limit that was set to zero.
    pub(crate) fn no_time(limit: &str) -> Error {
        Error::input(format!("a {limit} of zero leaves no time"))
    }

    /// The same, for the step that it came up for.
    pub(crate) fn at(mut self, step: Step) -> Error {
        self.0.step = step;
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Error {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_server_message(mut self, words: String) -> Error {
        self.0.server_message = (!words.is_empty()).then_some(words);
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

    pub(crate) fn with_undeleted(mut self, conversation: &str) -> Error {
        self.0.undeleted = Some(conversation.to_owned());
        self
    }

    /// Marks an error of creating a conversation, unless it shows that the server created none.
    pub(crate) fn with_maybe_undeleted(mut self) -> Error {
        self.0.maybe_undeleted |= match self.0.kind {
            // 503 is a refusal, whoever sends it.
            ErrorKind::Status => self.0.status.is_some_and(|it| it > 500 && it != 503),
            ErrorKind::Truncated | ErrorKind::Protocol | ErrorKind::TooLarge => true,
            _ => false,
        };
        self
    }

    /// Marks an error of a request that was under way: if it was to create a conversation, there may be one.
    pub(crate) fn with_response_lost(mut self) -> Error {
        self.0.maybe_undeleted = self.0.step == Step::Conversation;
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Says in the message how much of the reply had come.
    pub(crate) fn after(mut self, tokens: u64) -> Error {
        let tokens = match tokens {
            0 => "no token".to_owned(),
            1 => "1 token".to_owned(),
            more => format!("{more} tokens"),
        };
        self.0.message = format!("{}, after {tokens}", self.0.message);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where it went wrong.
    #[must_use]
    pub fn step(&self) -> Step {
        self.0.step
    }

    /// The status of the answer that is the matter, which may be a success with a wrong content.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The server's own words, on one line of at most 500 characters.
    #[must_use]
    pub fn server_message(&self) -> Option<&str> {
        self.0.server_message.as_deref()
    }

    /// How long the server asks to wait before another try, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later: the server could not be reached, was overloaded (429, 502,
    /// 503, 504), or was silent. Never for a failed deletion: the reply has been handed out.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// // The client has tried again already, within seconds.
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
        let passing = match self.0.kind {
            ErrorKind::Connect | ErrorKind::Timeout(Limit::Connect | Limit::Silence) => true,
            _ => self.is_busy(),
        };
        passing && self.0.step != Step::Delete
    }

    /// Whether the server, or what stands before it, says that it is overloaded or not there.
    fn is_busy(&self) -> bool {
        matches!(self.0.status, Some(429 | 502 | 503 | 504))
    }

    /// The text that [`Client::ask`](crate::Client::ask), [`Conversation::ask`](crate::Conversation::ask),
    /// [`Tokens::text`](crate::Tokens::text) or [`Tokens::reply`](crate::Tokens::reply) had gathered. Empty for an error out of the iterator
    /// and of `write_to`, which have handed each token out before.
    #[must_use]
    pub fn received(&self) -> &str {
        &self.0.received
    }

    /// The id of a conversation that is still on the server, because deleting it failed as well. It is among the
    /// client's [leftovers](crate::Client::leftovers) too.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.ask("Why is the sky blue?") {
    ///     if let Some(id) = error.undeleted() {
    ///         client.delete(id)?;
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn undeleted(&self) -> Option<&str> {
        self.0.undeleted.as_deref()
    }

    /// Whether a conversation may be on the server whose id is not known, because the answer to its creation was
    /// lost. It belongs to the client's [session](crate::Client::session).
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.ask("Why is the sky blue?") {
    ///     if error.maybe_undeleted() {
    ///         println!("look among {:?}", client.conversations()?);
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn maybe_undeleted(&self) -> bool {
        self.0.maybe_undeleted
    }

    /// Whether nothing is being generated after it: the server itself said so, or nothing had reached it. A gateway
    /// before it (502 and above) does not know.
    pub(crate) fn ends_the_generation(&self) -> bool {
        let refused = self.0.status.is_some_and(|status| status <= 500);
        let unsent = self.0.step.is_before_the_message()
            || matches!(
                self.0.kind,
                ErrorKind::Input
                    | ErrorKind::Connect
                    | ErrorKind::Tls
                    | ErrorKind::Proxy
                    | ErrorKind::Timeout(Limit::Connect)
            );
        refused || unsent || self.0.kind == ErrorKind::Generation
    }

    /// Whether it was this side that gave up.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Stopped | ErrorKind::Timeout(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = self.0.step.doing() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(id) = &self.0.undeleted {
            write!(f, " (conversation {id} could not be deleted)")?;
        }
        if self.maybe_undeleted() {
            f.write_str(" (a conversation may be left in the session)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("step", &self.0.step)
            .field("message", &self.0.message)
            .field("status", &self.0.status)
            .field("retry_after", &self.0.retry_after)
            .field("received", &format_args!("{} bytes", self.0.received.len()))
            .field("undeleted", &self.0.undeleted)
            .field("maybe_undeleted", &self.maybe_undeleted())
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
