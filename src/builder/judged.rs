//! What was configured, judged before anything is sent.

use std::time::Duration;

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::ClientBuilder;
use crate::error::{Error, Result};
use crate::http::{Session, taken_out};
use crate::shared::Limits;

impl ClientBuilder {
    /// The session that was given, taken out of the Cookie header if it is there, or a new one.
    pub(super) fn session_of(&self, headers: &mut HeaderMap) -> Result<Session> {
        let cookies = headers.remove(header::COOKIE);
        let cookies = cookies.as_ref().and_then(|value| value.to_str().ok());
        let (sessions, others) = taken_out(cookies.unwrap_or_default(), &self.cookie_name);
        if let Some(mut others) = HeaderValue::from_str(&others)
            .ok()
            .filter(|v| !v.is_empty())
        {
            others.set_sensitive(true);
            headers.insert(header::COOKIE, others);
        }
        let session = match (&self.session, sessions.as_slice()) {
            (Some(given), []) => given.clone(),
            (None, []) => Session::random(),
            (None, [cookie]) => Session::from(*cookie),
            _ => {
                return Err(Error::input(format!(
                    "the session is given more than once: {} is in the Cookie header too",
                    self.cookie_name
                )));
            }
        };
        session.judge()?;
        Ok(session)
    }

    /// What goes into the head of each request has to fit there.
    pub(super) fn judge_size(&self, session: &Session) -> Result<()> {
        const ROOM: usize = 8 * 1024;
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let others = [&self.url, &self.cookie_name, &self.user_agent].map(String::len);
        let size = headers.chain(others).sum::<usize>() + session.as_str().len();
        if size > ROOM {
            return Err(Error::input(format!(
                "the URL, session and headers have {size} bytes; there is room for {ROOM}"
            )));
        }
        Ok(())
    }
}

impl Limits {
    pub(super) fn judge(&self) -> Result<()> {
        let given = [
            ("connect timeout", self.connect),
            ("silence timeout", self.silence),
            ("stall timeout", self.stall),
            ("deadline", self.deadline),
            ("cleanup budget", Some(self.cleanup)),
        ];
        match given
            .iter()
            .find(|(_, limit)| *limit == Some(Duration::ZERO))
        {
            Some((name, _)) => Err(Error::no_time(name)),
            None => Ok(()),
        }
    }
}

/// A model that was named, if one was.
pub(crate) fn judge_model(model: Option<&str>) -> Result<()> {
    let Some(model) = model else { return Ok(()) };
    if model.trim().is_empty() || model.chars().any(char::is_control) {
        return Err(Error::input(format!("{model:?} is no name of a model")));
    }
    Ok(())
}

pub(super) fn judged_headers(headers: &[(String, String)]) -> Result<HeaderMap> {
    /// What the protocol, the session or HTTP itself decides.
    const OURS: [HeaderName; 9] = [
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
            Error::input(format!("{name:?} cannot name a header")).with_source(error)
        })?;
        if OURS.contains(&key) {
            return Err(Error::input(format!(
                "the header {name} is set by this crate"
            )));
        }
        // The value is not shown: it may be a secret.
        let unfit = || Error::input(format!("the header {name} has a value that it cannot hold"));
        let mut value = HeaderValue::from_str(value).map_err(|error| unfit().with_source(error))?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}
