//! Validation of a client's configuration, before anything is sent.

use std::time::Duration;

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::http::{SessionCookie, Timeouts, split_off, validate_cookie_name, validate_session};
use crate::session::Session;

/// The longest URL, session, user agent and headers together, in bytes. They have to fit into the
/// buffer that a request is sent from, with the cookies that a server may set.
const MAX_HEADERS: usize = 8 * 1024;

/// The session, and the other cookies of the user's `Cookie` header, which is removed from
/// `headers`.
pub(super) fn session_and_cookies(
    session: Option<Session>,
    cookie_name: Option<String>,
    headers: &mut HeaderMap,
) -> Result<(SessionCookie, String)> {
    let cookie_name = cookie_name.unwrap_or_else(|| "hf-chat".to_owned());
    validate_cookie_name(&cookie_name)?;
    let cookies = headers.remove(header::COOKIE);
    let cookies = cookies.as_ref().and_then(|value| value.to_str().ok());
    let (sessions, others) = split_off(cookies.unwrap_or_default(), &cookie_name);
    let session = match (session, sessions.as_slice()) {
        (Some(given), []) => given,
        (None, []) => Session::random(),
        (None, [cookie]) => Session::from(*cookie),
        _ => {
            return Err(Error::invalid_input(format!(
                "the session is given twice: the Cookie header has {cookie_name} too"
            )));
        }
    };
    validate_session(&session)?;
    let name = cookie_name;
    Ok((SessionCookie { name, session }, others))
}

/// Validates an API key. No error shows it.
pub(super) fn validate_key(key: &str) -> Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic();
    if key.is_empty() || !key.bytes().all(is_allowed) {
        return Err(Error::invalid_input("an API key consists of visible ASCII characters"));
    }
    Ok(())
}

/// Validates that what goes into every request is not too long. Returns its size.
pub(super) fn validate_size(sizes: impl IntoIterator<Item = usize>) -> Result<usize> {
    let size: usize = sizes.into_iter().sum();
    if size > MAX_HEADERS {
        return Err(Error::invalid_input(format!(
            "the URL, session and headers have {size} bytes, more than {MAX_HEADERS}"
        )));
    }
    Ok(size)
}

pub(super) fn validate_timeouts(timeouts: &Timeouts) -> Result<()> {
    let all = [
        ("connect timeout", timeouts.connect),
        ("idle timeout", timeouts.idle),
        ("token timeout", timeouts.token),
        ("total timeout", timeouts.total),
        ("cleanup timeout", Some(timeouts.cleanup)),
    ];
    match all.iter().find(|(_, timeout)| *timeout == Some(Duration::ZERO)) {
        Some((name, _)) => Err(Error::zero_timeout(name)),
        None => Ok(()),
    }
}

pub(super) fn validate_user_agent(user_agent: &str) -> Result<()> {
    match HeaderValue::from_str(user_agent) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid_input("invalid user agent").with_source(error)),
    }
}

pub(super) fn validate_headers(headers: &[(String, String)]) -> Result<HeaderMap> {
    const SET_BY_CLIENT: [HeaderName; 9] = [
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::REFERER,
        header::TRANSFER_ENCODING,
        header::USER_AGENT,
    ];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|error| {
            Error::invalid_input(format!("invalid header name {name:?}")).with_source(error)
        })?;
        if SET_BY_CLIENT.contains(&key) {
            return Err(Error::invalid_input(format!("the header {name} is set by this crate")));
        }
        // The value is not shown: it may be a secret.
        let invalid = |error| {
            let message = format!("invalid value of the header {name}");
            Error::invalid_input(message).with_source(error)
        };
        let mut value = HeaderValue::from_str(value).map_err(invalid)?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}
