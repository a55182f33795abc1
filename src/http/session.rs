//! The session: the cookie by which a server knows whose a conversation is.
//!
//! Its id is chosen by the client and sent from the first request on. Marked `Secure` by production servers
//! also over plain http, it is exactly what a cookie jar would lose there.

use std::fmt;

use crate::error::{Error, Result};

/// The session of a client: whoever has it can read and delete the client's conversations.
///
/// A program that may be killed can choose its session itself, keep it, and with it find again later what it
/// left on the server. [`as_str`](Session::as_str) shows it, `Debug` does not.
///
/// ```no_run
/// use std::fs;
///
/// use h2o_chat::{Client, Session};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let session = match fs::read_to_string("session") {
///     Ok(kept) => Session::from(kept.trim()),
///     Err(_) => Session::random(),
/// };
/// fs::write("session", session.as_str())?;
/// let client = Client::builder("http://127.0.0.1:3000")
///     .session(session)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Session(String);

impl Session {
    /// A new one, which nobody can guess. That is what a client has by default.
    #[must_use]
    pub fn random() -> Session {
        Session(uuid::Uuid::new_v4().to_string())
    }

    /// The id of the session.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn judge(&self) -> Result<()> {
        if self.0.is_empty() || !self.0.bytes().all(is_cookie_octet) {
            return Err(Error::input(
                "the session has characters that a cookie cannot hold, or none at all",
            ));
        }
        Ok(())
    }
}

/// What the cookie's name may be made of: a token of HTTP.
pub(crate) fn judge_cookie_name(name: &str) -> Result<()> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Error::input(format!("{name:?} cannot name a cookie")));
    }
    Ok(())
}

fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

impl From<&str> for Session {
    fn from(id: &str) -> Session {
        Session(id.to_owned())
    }
}

impl From<String> for Session {
    fn from(id: String) -> Session {
        Session(id)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}
