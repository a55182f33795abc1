//! Where a redirect leads. None is followed: the error names the right URL.

use super::failure::one_line;
use super::url::BaseUrl;
use crate::error::ErrorKind;

/// What an error says of a server that wants its users to log in.
pub(super) const LOG_IN: &str = "its users have to log in";

/// A redirect of a path of a server's.
pub(super) struct Redirect {
    /// The base URL that is asked for.
    url: String,
    is_login: bool,
}

impl Redirect {
    pub(super) fn new(base: &BaseUrl, path: &str, location: &str) -> Redirect {
        Redirect {
            url: one_line(&base.redirected(path, location)),
            is_login: is_login(location),
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self.is_login {
            true => ErrorKind::Login,
            false => ErrorKind::Status,
        }
    }

    pub(super) fn remark(&self) -> String {
        match self.is_login {
            true => LOG_IN.to_owned(),
            false => format!("pointing to {}; redirects are not followed", self.url),
        }
    }
}

/// Whether it leads to where users log in.
fn is_login(location: &str) -> bool {
    let location = location.to_lowercase();
    ["login", "signin", "sign-in", "oauth", "authorize"]
        .iter()
        .any(|word| location.contains(word))
}
