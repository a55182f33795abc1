//! Redirects. None is followed: the error names the URL to use instead.

use super::url::BaseUrl;
use crate::error::{Error, ErrorKind, Step};
use crate::text::one_line;

pub(super) const LOGIN_REQUIRED: &str = "its users have to log in";

/// Parts of the paths of logins and identity providers: among them Keycloak (`/realms/`), SAML,
/// Authelia (`?rd=`) and Pomerium.
const LOGIN_PATHS: [&str; 9] =
    ["login", "signin", "sign-in", "oauth", "authorize", "/realms/", "saml", "?rd=", "/.pomerium/"];

/// A redirect that answered a request.
pub(crate) struct Redirect {
    /// The base URL that it suggests.
    url: String,
    is_login: bool,
}

impl Redirect {
    pub(crate) fn new(base: &BaseUrl, path: &str, location: &str) -> Redirect {
        Redirect { url: one_line(&base.redirected(path, location)), is_login: is_login(location) }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        if self.is_login { ErrorKind::LoginRequired } else { ErrorKind::Status }
    }

    pub(super) fn remark(&self) -> String {
        if self.is_login {
            LOGIN_REQUIRED.to_owned()
        } else {
            format!("a redirect to {}, which is not followed", self.url)
        }
    }

    /// The error for a redirect inside the body of a successful response.
    pub(crate) fn into_error(self, step: Step, status: u16) -> Error {
        let message = if self.is_login {
            format!("the server answered a redirect, {LOGIN_REQUIRED}")
        } else {
            format!("the server answered {}", self.remark())
        };
        Error::new(self.kind(), step, message).with_status(status)
    }
}

/// Whether it leads to a login.
fn is_login(location: &str) -> bool {
    let location = location.to_lowercase();
    LOGIN_PATHS.iter().any(|path| location.contains(path))
}
