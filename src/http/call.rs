//! A request as the protocol has it, and the answer to it.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use ureq::http::{Method, StatusCode};
use ureq::{Body, BodyReader};

use super::failure::{refused, unreadable, words};
use super::redirect::{LOG_IN, Redirect};
use super::retry::retry_after;
use super::session::Session;
use super::watch::Watch;
use crate::error::{Error, ErrorKind, Result, Step};

/// The largest body that is read whole, in bytes: an id, a page that says what went wrong.
const LARGEST_BODY: usize = 1024 * 1024;

/// The same of a list: of the conversations of years, of all that was said in one. Small values take sixteen times their
/// size in memory.
const LARGEST_LIST: usize = 4 * 1024 * 1024;

/// A request, as the protocol has it.
pub(crate) struct Call<'a> {
    pub(super) step: Step,
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// None for the session of the client, whichever that is now.
    pub(super) session: Option<&'a Session>,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Option<&'a [u8]>,
    repeatable: bool,
    /// Says as a browser would where it comes from.
    pub(super) has_origin: bool,
    pub(super) largest: usize,
    pub(super) https_referer: Option<bool>,
}

impl<'a> Call<'a> {
    /// A POST, of nothing at first.
    pub(crate) fn post(step: Step, path: &'a str) -> Call<'a> {
        Call {
            step,
            method: Method::POST,
            path,
            session: None,
            content_type: None,
            body: Some(b""),
            repeatable: false,
            has_origin: false,
            largest: LARGEST_BODY,
            https_referer: None,
        }
    }

    pub(crate) fn get(step: Step, path: &'a str) -> Call<'a> {
        Call {
            method: Method::GET,
            body: None,
            largest: LARGEST_LIST,
            repeatable: true,
            ..Call::post(step, path)
        }
    }

    pub(crate) fn delete(step: Step, path: &'a str) -> Call<'a> {
        Call {
            method: Method::DELETE,
            body: None,
            repeatable: true,
            ..Call::post(step, path)
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path
    }

    /// Says whether it comes from an https page, whatever is known of the server.
    pub(crate) fn with_https_referer(mut self, https: bool) -> Call<'a> {
        self.https_referer = Some(https);
        self
    }

    pub(crate) fn session(mut self, session: &'a Session) -> Call<'a> {
        self.session = Some(session);
        self
    }

    /// Says that to do it twice does no harm.
    pub(crate) fn repeatable(mut self) -> Call<'a> {
        self.repeatable = true;
        self
    }

    /// Says where it comes from in an `Origin` too, without which a current server takes no form. A classic one must
    /// not be told.
    pub(crate) fn with_origin(mut self) -> Call<'a> {
        self.has_origin = true;
        self
    }

    /// The session that it is made under, given the client's.
    pub(crate) fn session_or(&self, clients: Session) -> Session {
        self.session.cloned().unwrap_or(clients)
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: &'a [u8]) -> Call<'a> {
        self.content_type = Some(content_type);
        self.body = Some(body);
        self
    }
}

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    pub(super) step: Step,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) redirect: Option<Redirect>,
    pub(super) largest: usize,
    /// The session after the answer.
    pub(crate) session: Session,
    /// What the request gave as the page that it comes from.
    pub(crate) referer: String,
}

impl Answer {
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
        self.header_text(&CONTENT_TYPE)
    }

    /// Where it points to, in the server's words.
    pub(crate) fn location(&self) -> Option<&str> {
        self.header_text(&LOCATION)
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// The answer itself if it is a success, else the error that it is.
    pub(crate) fn accepted(self, watch: &Watch) -> Result<Answer> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(self.refusal(watch))
    }

    /// The error that an answer stands for, in the server's words.
    pub(crate) fn refusal(self, watch: &Watch) -> Error {
        self.refusal_and_body(watch).0
    }

    /// The same, with the body that it was told from.
    pub(crate) fn refusal_and_body(self, watch: &Watch) -> (Error, Vec<u8>) {
        let (step, status) = (self.step, self.status);
        let retry_after = self.retry_after();
        let (kind, remark) = match &self.redirect {
            _ if status == StatusCode::UNAUTHORIZED => (ErrorKind::Login, LOG_IN.to_owned()),
            Some(redirect) => (redirect.kind(), redirect.remark()),
            None => (ErrorKind::Status, String::new()),
        };
        let (body, _) = read_bounded(watch, self.body, LARGEST_BODY);
        let error = refused(step, status, kind, &remark, words(&body));
        (error.with_retry_after(retry_after), body)
    }

    /// How long the server asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.header_text(&RETRY_AFTER)?)
    }

    /// The whole body.
    pub(crate) fn bytes(self, watch: &Watch) -> Result<Vec<u8>> {
        let (step, largest) = (self.step, self.largest);
        match read_bounded(watch, self.body, largest) {
            (body, Ok(())) if body.len() <= largest => Ok(body),
            (_, Ok(())) => Err(Error::new(
                ErrorKind::TooLarge,
                step,
                format!("the answer is larger than {largest} bytes"),
            )),
            (_, Err(error)) => Err(unreadable(step, error)),
        }
    }

    /// Reads a body that has nothing to say, so that the connection can be used again.
    pub(crate) fn skip(self, watch: &Watch) {
        // Without success the connection is closed, and that is all.
        let _ = read_bounded(watch, self.body, LARGEST_BODY);
    }

    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }

    fn header_text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Reads to the end, but not much more than so many bytes.
fn read_bounded(watch: &Watch, body: Body, most: usize) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let mut bounded = body.into_reader().take(most as u64 + 1);
    let read = watch.run(Instant::now(), || bounded.read_to_end(&mut bytes));
    (bytes, read.map(drop))
}
