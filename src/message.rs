//! A message of a conversation, and several of them as one text.

use std::fmt;

/// The author of a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person, or program, that asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::System => "System",
            Role::User => "User",
            Role::Assistant => "Assistant",
        }
    }

    /// The role of this name in a history.
    pub(crate) fn by_name(name: &str) -> Option<Role> {
        let all = [Role::System, Role::User, Role::Assistant];
        all.into_iter().find(|role| role.name().eq_ignore_ascii_case(name))
    }
}

/// A message of a conversation.
///
/// `Debug` shows the length of the content, not the content.
///
/// ```
/// use h2o_chat::{Message, Role};
///
/// let message = Message::user("Name a prime.");
/// assert_eq!(message.role(), Role::User);
/// assert_eq!(message.content(), "Name a prime.");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    role: Role,
    content: String,
}

impl Message {
    /// Creates a message.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message { role, content: content.into() }
    }

    /// Creates a system message.
    pub fn system(content: impl Into<String>) -> Message {
        Message::new(Role::System, content)
    }

    /// Creates a message of the user.
    pub fn user(content: impl Into<String>) -> Message {
        Message::new(Role::User, content)
    }

    /// Creates a message of the model.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::new(Role::Assistant, content)
    }

    /// The author.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The text.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    pub(crate) fn is_users(&self) -> bool {
        self.role == Role::User
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("role", &self.role)
            .field("content", &format_args!("{} bytes", self.content.len()))
            .finish()
    }
}

/// Joins messages into one prompt. A single one is its content; several are a dialogue for the
/// model to continue.
pub(crate) fn joined(messages: &[Message]) -> String {
    match messages {
        [] => String::new(),
        [only] => only.content.clone(),
        several => {
            let mut text = String::new();
            for message in several {
                text.push_str(message.role.name());
                text.push_str(": ");
                text.push_str(&message.content);
                text.push('\n');
            }
            text + "Assistant:"
        }
    }
}
