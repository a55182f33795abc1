//! An HTTP response whose body has not been read yet.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::StatusCode;
use ureq::http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use ureq::{Body, BodyReader};

use super::cookies::SessionCookie;
use super::failure::{status_error, unreadable};
use super::redirect::{LOGIN_REQUIRED, Redirect};
use super::retry_after;
use super::timer::Timer;
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::text::error_message;

/// The longest body that is read as a whole, in bytes: an id, an error page.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// The longest list, in bytes: years of conversations, or the messages of one. Small values take
/// sixteen times their size in memory.
pub(super) const MAX_LIST: usize = 4 * 1024 * 1024;

/// The beginning of chat-ui's message when a guest has sent too many messages.
const GUEST_LIMIT: &str = "Exceeded number of messages before login";

/// The remark about a 401 if the request had an API key.
const WRONG_KEY: &str = "the API key is missing or wrong";

/// A response of any status.
pub(crate) struct Response {
    pub(super) step: Step,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) redirect: Option<Redirect>,
    pub(super) max_body: usize,
    /// The request had an `Authorization` header.
    pub(super) had_authorization: bool,
    /// The request had an API key.
    pub(super) had_key: bool,
    /// The session after this response.
    pub(crate) session: SessionCookie,
    /// The `Referer` of the request.
    pub(crate) referer: String,
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    pub(crate) fn step(&self) -> Step {
        self.step
    }

    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.header(&CONTENT_TYPE)
    }

    /// The encoding of the body, although none was asked for.
    pub(crate) fn encoding(&self) -> Option<&str> {
        self.header(&CONTENT_ENCODING).filter(|it| !it.eq_ignore_ascii_case("identity"))
    }

    /// Returns whether the body is of this media type, whatever its parameters.
    pub(crate) fn has_type(&self, media_type: &str) -> bool {
        let essence = self.content_type().and_then(|it| it.split(';').next());
        essence.is_some_and(|it| it.trim().eq_ignore_ascii_case(media_type))
    }

    pub(crate) fn is_html(&self) -> bool {
        self.has_type("text/html")
    }

    pub(crate) fn location(&self) -> Option<&str> {
        self.header(&LOCATION)
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// Returns the response if its status is a success, else the error.
    pub(crate) fn error_for_status(self, timer: &Timer) -> Result<Response> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(self.into_error(timer))
    }

    /// Converts the response into an error, with the server's message.
    pub(crate) fn into_error(self, timer: &Timer) -> Error {
        self.into_error_and_body(timer).0
    }

    pub(crate) fn into_error_and_body(self, timer: &Timer) -> (Error, Vec<u8>) {
        let (step, status) = (self.step, self.status);
        let retry_after = self.retry_after();
        let wants_basic = self.header(&WWW_AUTHENTICATE).is_some_and(is_basic);
        let (had_basic, had_key) = (self.had_authorization, self.had_key);
        let (kind, mut remark) = match &self.redirect {
            _ if status == StatusCode::UNAUTHORIZED && had_key => {
                (ErrorKind::LoginRequired, WRONG_KEY.to_owned())
            }
            _ if status == StatusCode::UNAUTHORIZED => {
                (ErrorKind::LoginRequired, LOGIN_REQUIRED.to_owned())
            }
            Some(redirect) => (redirect.kind(), redirect.remark()),
            None => (ErrorKind::Status, String::new()),
        };
        if let Some(wait) = retry_after.filter(|wait| !wait.is_zero()) {
            remark = format!("asking to wait {wait:?}");
        }
        let is_encoded = self.encoding().is_some();
        let (body, read) = read_bounded(timer, self.body, MAX_BODY);
        match read.map_err(|error| unreadable(step, error)) {
            Err(error) if error.kind() == ErrorKind::Cancelled => return (error, body),
            // The part that has arrived is the message.
            _ => {}
        }
        let is_text = !is_encoded || std::str::from_utf8(&body).is_ok();
        let message = if is_text { error_message(&body) } else { String::new() };
        // chat-ui counts the messages of guests.
        let is_guest_limit = message.contains(GUEST_LIMIT);
        let kind = if is_guest_limit { ErrorKind::LoginRequired } else { kind };
        let error = status_error(step, status, kind, &remark, message);
        let error = error.with_retry_after(retry_after);
        let is_first = matches!(step, Step::ListModels | Step::CreateConversation);
        let error = match (status, wants_basic) {
            _ if had_key && is_first && matches!(status.as_u16(), 404 | 405) => {
                error.with_hint(hint::NOT_H2OGPTE)
            }
            _ if had_key && kind == ErrorKind::LoginRequired => error.with_hint(hint::API_KEY),
            (StatusCode::UNAUTHORIZED, true) if had_basic => error.with_hint(hint::WRONG_PASSWORD),
            (StatusCode::UNAUTHORIZED, true) => error.with_hint(hint::PASSWORD_REQUIRED),
            _ => error,
        };
        (error, body)
    }

    /// Returns whether the server refused the request because it is too busy.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    /// How long the server asks to wait.
    fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.header(&RETRY_AFTER)?)
    }

    /// Reads the whole body.
    pub(crate) fn into_bytes(self, timer: &Timer) -> Result<Vec<u8>> {
        let (step, max) = (self.step, self.max_body);
        match read_bounded(timer, self.body, max) {
            (body, Ok(())) if body.len() <= max => Ok(body),
            (_, Ok(())) => Err(Error::new(
                ErrorKind::TooLarge,
                step,
                format!("the response is larger than {max} bytes"),
            )),
            (_, Err(error)) => Err(unreadable(step, error)),
        }
    }

    /// Reads a body that does not matter, so that the connection can be reused.
    pub(crate) fn discard(self, timer: &Timer) {
        // If that fails, the connection is closed.
        let _ = read_bounded(timer, self.body, MAX_BODY);
    }

    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Returns whether a `WWW-Authenticate` header asks for a user and password.
fn is_basic(challenge: &str) -> bool {
    let scheme = challenge.split_whitespace().next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("basic")
}

/// Reads to the end, or one byte more than `max`.
fn read_bounded(timer: &Timer, body: Body, max: usize) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let mut bounded = body.into_reader().take(max as u64 + 1);
    let read = timer.run(Instant::now(), || bounded.read_to_end(&mut bytes));
    (bytes, read.map(drop))
}
