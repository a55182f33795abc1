//! The vocabulary of errors: the kind, the timeout that expired, the step that failed.

use std::fmt;

/// The kind of an error.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::ErrorKind;
///
/// if let Err(error) = client.ask("Why is the sky blue?") {
///     match error.kind() {
///         ErrorKind::Truncated | ErrorKind::Generation => println!("{} […]", error.received()),
///         ErrorKind::Timeout(timeout) => println!("the {timeout} timeout expired"),
///         _ => println!("{error}"),
///     }
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is invalid: a URL, a header, a prompt, a cookie name.
    InvalidInput,
    /// The server does not support this. The message says what.
    Unsupported,
    /// No connection could be made: the name is unknown, nobody listens, the host is unreachable,
    /// or the server closed the connection during the TLS handshake.
    Connect,
    /// The TLS connection failed: the certificate is not trusted, for example.
    Tls,
    /// The proxy refused the connection, or does not speak the protocol in its URL.
    Proxy,
    /// The contained timeout expired.
    Timeout(Timeout),
    /// The server requires a login, or refuses the API key: see
    /// [`Error::hint`](crate::Error::hint).
    LoginRequired,
    /// The server does not have the requested model. The message lists the models that it has.
    UnknownModel,
    /// The server answered with an error status: see [`Error::status`](crate::Error::status) and
    /// [`Error::server_message`](crate::Error::server_message).
    Status,
    /// The server reported an error inside its reply, after a status of 200.
    Generation,
    /// The reply or another response ended before it was complete, or somebody else stopped the
    /// generation. A reply is complete only when the server says so. One that reached
    /// [`max_new_tokens`](crate::Request::max_new_tokens) is complete:
    /// [`finish_reason`](crate::Details::finish_reason) tells.
    Truncated,
    /// The response does not follow the protocol: it may come from another service, a login page or
    /// a broken gateway.
    Protocol,
    /// The response exceeds a limit of this crate, which protects your memory: 1 MiB for a line of
    /// a reply (17 MiB for the last, which repeats the text); 8 MiB for a text that is collected;
    /// 16 KiB for the headers; 4 MiB for a list (16 MiB for one of several pages); 1 MiB for any
    /// other response; 50,000 objects and lists in any of these.
    TooLarge,
    /// A [`CancelHandle`](crate::CancelHandle) cancelled the call.
    Cancelled,
    /// The writer given to [`Tokens::write_to`](crate::Tokens::write_to) failed. Its error is the
    /// [`source`](std::error::Error::source).
    Write,
}

impl ErrorKind {
    /// The message of an error of which only the kind is known.
    pub(super) fn description(self) -> String {
        let description = match self {
            ErrorKind::InvalidInput => "an argument is invalid",
            ErrorKind::Unsupported => "the server does not support this",
            ErrorKind::Connect => "no connection",
            ErrorKind::Tls => "the TLS connection failed",
            ErrorKind::Proxy => "the proxy refused the connection",
            ErrorKind::Timeout(timeout) => return format!("the {timeout} timeout expired"),
            ErrorKind::LoginRequired => "the server requires a login",
            ErrorKind::UnknownModel => "the server does not have the model",
            ErrorKind::Status => "the server answered with an error status",
            ErrorKind::Generation => "the server reported an error",
            ErrorKind::Truncated => "the reply ended early",
            ErrorKind::Protocol => "the response does not follow the protocol",
            ErrorKind::TooLarge => "the response is too large",
            ErrorKind::Cancelled => "the call was cancelled",
            ErrorKind::Write => "the writer failed",
        };
        description.to_owned()
    }

    /// The step at which such an error usually occurs.
    pub(super) fn usual_step(self) -> Step {
        match self {
            ErrorKind::InvalidInput | ErrorKind::Unsupported => Step::Validate,
            ErrorKind::Connect
            | ErrorKind::Tls
            | ErrorKind::Proxy
            | ErrorKind::LoginRequired
            | ErrorKind::UnknownModel
            | ErrorKind::Timeout(Timeout::Connect) => Step::PostSettings,
            ErrorKind::Status => Step::SendMessage,
            ErrorKind::Timeout(Timeout::Cleanup) => Step::DeleteConversation,
            _ => Step::ReadReply,
        }
    }
}

/// The timeout behind an [`ErrorKind::Timeout`]. [`ClientBuilder`](crate::ClientBuilder) sets each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// Connecting, including the proxy and TLS.
    Connect,
    /// No byte from the server.
    Idle,
    /// Bytes from the server, but no token.
    Token,
    /// The whole call.
    Total,
    /// Stopping the generation and deleting the conversation.
    Cleanup,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timeout::Connect => "connect",
            Timeout::Idle => "idle",
            Timeout::Token => "token",
            Timeout::Total => "total",
            Timeout::Cleanup => "cleanup",
        })
    }
}

/// The step of a conversation at which an error occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Validating the arguments. Nothing was sent.
    Validate,
    /// Posting the settings.
    PostSettings,
    /// Listing the models. In a session that the caller gave, this is the first contact.
    ListModels,
    /// Listing the conversations.
    ListConversations,
    /// Creating the conversation.
    CreateConversation,
    /// Reading the messages of a conversation.
    ReadHistory,
    /// Sending the prompt and waiting for the reply to begin.
    SendMessage,
    /// Reading the reply.
    ReadReply,
    /// Renaming the conversation.
    RenameConversation,
    /// Stopping the generation.
    StopGeneration,
    /// Deleting the conversation.
    DeleteConversation,
}

impl Step {
    pub(super) fn is_before_the_message(self) -> bool {
        !matches!(
            self,
            Step::SendMessage | Step::ReadReply | Step::StopGeneration | Step::DeleteConversation
        )
    }

    /// Returns whether a response to this step may contain titles or messages, which no error must
    /// show.
    pub(crate) fn is_private(self) -> bool {
        matches!(
            self,
            Step::ListModels | Step::ListConversations | Step::ReadHistory | Step::StopGeneration
        )
    }

    /// The beginning of the error message.
    pub(super) fn description(self) -> Option<&'static str> {
        match self {
            Step::Validate => None,
            Step::PostSettings => Some("posting the settings"),
            Step::ListModels => Some("listing the models"),
            Step::ListConversations => Some("listing the conversations"),
            Step::CreateConversation => Some("creating a conversation"),
            Step::ReadHistory => Some("reading the conversation"),
            Step::SendMessage => Some("sending the prompt"),
            Step::ReadReply => Some("reading the reply"),
            Step::RenameConversation => Some("renaming the conversation"),
            Step::StopGeneration => Some("stopping the generation"),
            Step::DeleteConversation => Some("deleting the conversation"),
        }
    }
}
