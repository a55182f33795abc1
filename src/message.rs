//! A message of a conversation, and several of them as one text.

use std::fmt;

/// Who says a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Instructions that stand above the conversation.
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

    /// As servers name it in a history.
    pub(crate) fn by_name(name: &str) -> Option<Role> {
        let all = [Role::System, Role::User, Role::Assistant];
        all.into_iter()
            .find(|role| role.name().eq_ignore_ascii_case(name))
    }
}

/// One message of a conversation.
///
/// `Debug` shows the length of the content, not the content.
///
/// ```
/// use h2o_chat::{Message, Request};
///
/// let request = Request::messages([
///     Message::user("Name a prime."),
///     Message::assistant("7"),
///     Message::user("And the next one?"),
/// ]);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    role: Role,
    content: String,
}

impl Message {
    /// A message of the given role.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message {
            role,
            content: content.into(),
        }
    }

    /// A system message.
    pub fn system(content: impl Into<String>) -> Message {
        Message::new(Role::System, content)
    }

    /// A user's message.
    pub fn user(content: impl Into<String>) -> Message {
        Message::new(Role::User, content)
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::new(Role::Assistant, content)
    }

    /// Who says it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What is said.
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

/// One message is its content; several are a dialogue that the model is to go on with.
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
