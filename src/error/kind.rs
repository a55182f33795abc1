//! The words in which an error is told: what went wrong, which limit was reached, and at which step.

use std::fmt;

/// What went wrong.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::ErrorKind;
///
/// if let Err(error) = client.ask("Why is the sky blue?") {
///     match error.kind() {
///         ErrorKind::Truncated | ErrorKind::Generation => println!("{} […]", error.received()),
///         ErrorKind::Timeout(limit) => println!("the {limit} limit was reached"),
///         _ => println!("{error}"),
///     }
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the caller gave cannot be used: a URL, a header, a prompt. Nothing was sent.
    Input,
    /// No connection could be made: the name is unknown, nobody listens, the host is unreachable, or the server closed it
    /// before it was secure.
    Connect,
    /// The connection could not be secured, a certificate that is not trusted for example.
    Tls,
    /// The proxy refused, or does not speak the protocol that its URL names.
    Proxy,
    /// A limit was reached; it is named.
    Timeout(Limit),
    /// The server wants its users to log in: see [`Error::hint`](crate::Error::hint).
    Login,
    /// The server does not have the model that was named; the message lists those that it has.
    UnknownModel,
    /// The server answered with a status that is not a success: see [`Error::status`](crate::Error::status) and
    /// [`Error::server_message`](crate::Error::server_message).
    Status,
    /// The server reported a failure inside its reply, behind a status of 200.
    Generation,
    /// The answer ended before it was complete, or its generation was stopped by somebody else. An end without the
    /// protocol's own mark of completion is this error, never a reply.
    Truncated,
    /// The answer is not what the protocol says: another service, a login page, a broken relay.
    Protocol,
    /// Something in the answer exceeds what this crate is willing to hold in memory: a line of a reply of more than
    /// 1 MiB, or of 17 MiB if it is one that repeats the text; 8 MiB of text that is not iterated over but gathered; a
    /// head of more than 16 KiB; a list of more than 4 MiB, or of 16 MiB on several pages; another answer of more than
    /// 1 MiB; one of more than 50,000 objects and lists.
    TooLarge,
    /// A [`Stop`](crate::Stop) ended the call.
    Stopped,
    /// The writer given to [`Tokens::write_to`](crate::Tokens::write_to) failed; its error is the
    /// [`source`](std::error::Error::source).
    Output,
}

/// The limit behind an [`ErrorKind::Timeout`]. Each is set on the [`ClientBuilder`](crate::ClientBuilder).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Making the connection, TLS and proxy included.
    Connect,
    /// No byte from the server.
    Silence,
    /// Bytes, but no text.
    Stall,
    /// The whole call.
    Deadline,
    /// Stopping and deleting.
    Cleanup,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Connect => "connect",
            Limit::Silence => "silence",
            Limit::Stall => "stall",
            Limit::Deadline => "deadline",
            Limit::Cleanup => "cleanup",
        })
    }
}

/// Where in the life of a conversation an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Before anything was sent.
    Prepare,
    /// Posting the settings.
    Settings,
    /// Listing the models.
    Models,
    /// Listing the conversations.
    Conversations,
    /// Opening the conversation.
    Conversation,
    /// Reading what has been said in a conversation.
    History,
    /// Sending the prompt and waiting for the reply to begin.
    Message,
    /// Reading the reply.
    Reply,
    /// Stopping the generation.
    Stop,
    /// Deleting the conversation.
    Delete,
}

impl Step {
    pub(super) fn is_before_the_message(self) -> bool {
        !matches!(
            self,
            Step::Message | Step::Reply | Step::Stop | Step::Delete
        )
    }

    /// The words that go before a message.
    pub(super) fn doing(self) -> Option<&'static str> {
        match self {
            Step::Prepare => None,
            Step::Settings => Some("posting the settings"),
            Step::Models => Some("listing the models"),
            Step::Conversations => Some("listing the conversations"),
            Step::Conversation => Some("opening a conversation"),
            Step::History => Some("reading the conversation"),
            Step::Message => Some("sending the prompt"),
            Step::Reply => Some("reading the reply"),
            Step::Stop => Some("stopping the generation"),
            Step::Delete => Some("deleting the conversation"),
        }
    }
}
