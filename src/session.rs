//! The session: the cookie value that identifies the owner of a conversation.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The session of a client. Everyone who knows it can read and delete the client's conversations.
///
/// A client invents its session unless [`ClientBuilder::session`] sets one. What a client may do
/// depends on where the session comes from:
///
/// * [`Session::random`] invents a new one. No account belongs to it, so the client posts the
///   settings that it needs.
/// * `Session::from` takes an existing one, of a logged-in user for example. The client changes no
///   setting of the user's account except [what is necessary](crate#terms-and-sharing).
///
/// A program that may be killed can choose and store its session, to find the conversations again
/// that it left on the server. [`as_str`](Session::as_str) returns the value; `Debug` hides it.
///
/// ```no_run
/// use std::fs;
///
/// use h2o_chat::{Client, Session};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let session = match fs::read_to_string("session") {
///     Ok(stored) => Session::from(stored.trim()),
///     Err(_) => Session::random(),
/// };
/// fs::write("session", session.as_str())?;
/// let client = Client::builder("http://127.0.0.1:3000")
///     .session(session)
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// [`ClientBuilder::session`]: crate::ClientBuilder::session
#[derive(Clone)]
pub struct Session {
    id: String,
    /// Invented by this crate, so no account belongs to it.
    is_invented: bool,
}

impl Session {
    /// Invents a session that nobody can guess, as a client does by default.
    #[must_use]
    pub fn random() -> Session {
        Session { id: uuid::Uuid::new_v4().to_string(), is_invented: true }
    }

    /// The value of the session's cookie.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// Returns whether this crate invented it, and not the user or a login.
    pub(crate) fn is_invented(&self) -> bool {
        self.is_invented
    }

    /// The value that a server sets instead of an invented one.
    pub(crate) fn replaced_by(id: &str) -> Session {
        Session { id: id.to_owned(), is_invented: true }
    }
}

impl From<&str> for Session {
    fn from(id: &str) -> Session {
        Session::from(id.to_owned())
    }
}

impl From<String> for Session {
    fn from(id: String) -> Session {
        Session { id, is_invented: false }
    }
}

/// Two sessions are equal if their values are.
impl PartialEq for Session {
    fn eq(&self, other: &Session) -> bool {
        self.id == other.id
    }
}

impl Eq for Session {}

impl Hash for Session {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}
