//! Where a redirect leads. None is followed: the error names the right URL.

use super::failure::one_line;
use super::url::BaseUrl;
use crate::error::{Error, ErrorKind, Step};

/// What an error says of a server that wants its users to log in.
pub(super) const LOG_IN: &str = "its users have to log in";

/// A redirect of a path of a server's.
pub(crate) struct Redirect {
    /// The base URL that is asked for.
    url: String,
    is_login: bool,
}

impl Redirect {
    pub(crate) fn new(base: &BaseUrl, path: &str, location: &str) -> Redirect {
        Redirect {
            url: one_line(&base.redirected(path, location)),
            is_login: is_login(location),
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        if self.is_login {
            ErrorKind::Login
        } else {
            ErrorKind::Status
        }
    }

    pub(super) fn remark(&self) -> String {
        if self.is_login {
            LOG_IN.to_owned()
        } else {
            format!("pointing to {}; redirects are not followed", self.url)
        }
    }

    /// The error that it is inside an answer that is called a success.
    pub(crate) fn inside(&self, step: Step, status: u16) -> Error {
        let message = format!("the server answered a redirect, {}", self.remark());
        Error::new(self.kind(), step, message).with_status(status)
    }
}

/// Whether it leads to where users log in.
fn is_login(location: &str) -> bool {
    let location = location.to_lowercase();
    ["login", "signin", "sign-in", "oauth", "authorize"]
        .iter()
        .any(|word| location.contains(word))
}
