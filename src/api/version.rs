//! The versions of chat-ui, from 0.8 on, as far as a client has to tell them apart.

use super::message::OutgoingMessage;
use crate::error::{Error, Result};

/// The versions of chat-ui that a client has to tell apart, each named by the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A message is JSON.
    V0_8,
    /// A message is a form with one field. Every stop is ignored.
    V0_9_2,
    /// A stop works as long as the reply is being read.
    V0_9_5,
    /// A stop works. One that comes too late stops the next reply.
    V0_9_6,
}

impl Version {
    pub(super) fn takes_forms(self) -> bool {
        self != Version::V0_8
    }

    /// Refuses what the server would ignore of a message.
    pub(super) fn check(self, message: &OutgoingMessage) -> Result<()> {
        if !message.attachments.is_empty() && !self.takes_forms() {
            return Err(no_attachments());
        }
        if !message.tools.is_empty() && self != Version::V0_9_6 {
            return Err(no_tools());
        }
        Ok(())
    }

    /// The version with the other format of a message, to try after a refusal.
    pub(super) fn alternative(self) -> Version {
        if self.takes_forms() { Version::V0_8 } else { Version::V0_9_6 }
    }
}

pub(super) fn no_attachments() -> Error {
    Error::unsupported("only chat-ui from 0.9.2 on takes attachments")
}

pub(super) fn no_tools() -> Error {
    Error::unsupported("only chat-ui from 0.9.6 on has tools")
}

/// When a server obeys a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopSupport {
    Always,
    /// Only while the stream of the reply is open.
    WhileOpen,
    /// Only while the reply is being read.
    WhileReading,
    Never,
}
