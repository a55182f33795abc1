//! One step of a reply, whatever protocol it came in.

use crate::error::{Error, ErrorKind, Step};
use crate::reply::{End, Event};
use crate::text::{excerpt, one_line};

/// One step of a reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Update {
    pub(crate) event: Option<Event>,
    /// The server says that the reply is complete.
    pub(crate) end: Option<Box<End>>,
    /// The server says that the generation was stopped; this is the text until then.
    pub(crate) interrupted: Option<Box<str>>,
}

impl Update {
    pub(crate) fn is_last(&self) -> bool {
        self.interrupted.is_some() || self.end.is_some()
    }

    /// The text of the whole reply, which only the last update has.
    pub(super) fn whole_text(&self) -> Option<&str> {
        let end = self.end.as_ref().map(|end| end.text.as_str());
        end.or(self.interrupted.as_deref())
    }
}

/// The error for one that the server reports inside its reply.
pub(super) fn reported(message: &str) -> Error {
    let message = one_line(message);
    Error::new(
        ErrorKind::Generation,
        Step::ReadReply,
        format!("the server reported: {message}"),
    )
    .with_server_message(message)
}

/// The error for an event that does not belong to the protocol.
pub(super) fn unexpected(event: &[u8]) -> Error {
    let message = format!("unexpected event in the reply: {}", excerpt(event));
    Error::new(ErrorKind::Protocol, Step::ReadReply, message)
}
