//! One server: the agent that keeps its connections, the headers that every request to it carries, and the
//! exchange of a request for an answer.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::header::{
    CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, REFERER, RETRY_AFTER,
};
use ureq::http::{Method, Request, StatusCode};
use ureq::{Agent, Body, BodyReader};

use super::failure::{one_line, refused, unanswered, unreadable, words};
use super::session::Session;
use super::transport::{SameThread, connector};
use super::url::{BaseUrl, without_user};
use super::watch::Watch;
use crate::error::{Error, ErrorKind, Result, Step};

/// The server closes a connection that was idle for 5 s.
const MAX_IDLE_AGE: Duration = Duration::from_secs(4);

/// ureq's 128 KiB are too much for a thousand streams; its limit for a head must be half at most.
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;
const LARGEST_HEAD: usize = 16 * 1024;

/// ureq adds the connect limit to the clock, which panics if that cannot hold it. No system tries for a day.
const LONGEST_CONNECT: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest body that is read whole, in bytes: a page that says what went wrong, an id.
const LARGEST_BODY: usize = 64 * 1024;

pub(crate) struct Origin {
    agent: Agent,
    base: BaseUrl,
    headers: HeaderMap,
    cookie_name: String,
    session: Mutex<Session>,
}

/// What an [`Origin`] is made of; all of it judged.
pub(crate) struct Config {
    pub(crate) base: BaseUrl,
    pub(crate) proxy: Option<ureq::Proxy>,
    pub(crate) user_agent: String,
    pub(crate) headers: HeaderMap,
    pub(crate) cookie_name: String,
    pub(crate) session: Session,
    pub(crate) connect_limit: Option<Duration>,
}

/// A request, as the protocol has it.
pub(crate) struct Call<'a> {
    step: Step,
    method: Method,
    path: &'a str,
    /// None for the session of the client, whichever that is now.
    session: Option<&'a Session>,
    content_type: Option<&'static str>,
    body: Option<&'a [u8]>,
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
        }
    }

    pub(crate) fn delete(step: Step, path: &'a str) -> Call<'a> {
        Call {
            method: Method::DELETE,
            body: None,
            ..Call::post(step, path)
        }
    }

    pub(crate) fn session(mut self, session: &'a Session) -> Call<'a> {
        self.session = Some(session);
        self
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: &'a [u8]) -> Call<'a> {
        self.content_type = Some(content_type);
        self.body = Some(body);
        self
    }
}

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    step: Step,
    path: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    /// The session after the answer.
    pub(crate) session: Session,
}

impl Origin {
    pub(crate) fn new(config: Config) -> Origin {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept("application/json")
            .accept_encoding("")
            .user_agent(config.user_agent)
            .proxy(config.proxy)
            .timeout_connect(config.connect_limit.map(|limit| limit.min(LONGEST_CONNECT)))
            .max_idle_age(MAX_IDLE_AGE)
            .max_idle_connections(8)
            .max_idle_connections_per_host(8)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_response_header_size(LARGEST_HEAD);
        #[cfg(feature = "rustls")]
        let agent = agent.tls_config(
            ureq::tls::TlsConfig::builder()
                .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                .build(),
        );
        Origin {
            agent: Agent::with_parts(agent.build(), connector(), SameThread::default()),
            base: config.base,
            headers: config.headers,
            cookie_name: config.cookie_name,
            session: Mutex::new(config.session),
        }
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The session of the client now.
    pub(crate) fn session(&self) -> Session {
        self.lock_session().clone()
    }

    /// Sends a request and waits for the head of its answer, of whatever status.
    pub(crate) fn exchange(&self, watch: &Watch, call: &Call) -> Result<Answer> {
        let used = call.session.cloned().unwrap_or_else(|| self.session());
        let request = self.request(call, &used)?;
        let response = watch.run(Instant::now(), || match call.body {
            Some(body) => self.agent.run(request.map(|()| body)),
            None => self.agent.run(request),
        });
        let (head, body) = response
            .map_err(|error| unanswered(call.step, error))?
            .into_parts();
        let session = match Session::set_by(&head.headers, &self.cookie_name) {
            Some(new) => self.adopt(&used, new),
            None => used,
        };
        Ok(Answer {
            step: call.step,
            path: call.path.to_owned(),
            status: head.status,
            headers: head.headers,
            body,
            session,
        })
    }

    fn request(&self, call: &Call, session: &Session) -> Result<Request<()>> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(self.base.join(call.path))
            .body(())
            .map_err(|error| {
                Error::new(ErrorKind::Input, call.step, "the address cannot be used")
                    .with_source(error)
            })?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(REFERER, header(&self.base.referer()));
        headers.insert(COOKIE, self.cookie(session));
        if let Some(content_type) = call.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Ok(request)
    }

    /// The session's cookie, before those that the user set.
    fn cookie(&self, session: &Session) -> HeaderValue {
        let ours = format!("{}={}", self.cookie_name, session.as_str());
        let theirs = self
            .headers
            .get(COOKIE)
            .and_then(|value| value.to_str().ok());
        header(&theirs.map_or(ours.clone(), |theirs| format!("{ours}; {theirs}")))
    }

    /// What the server sets is the client's session from now on, unless that has changed meanwhile.
    fn adopt(&self, used: &Session, new: Session) -> Session {
        let mut current = self.lock_session();
        if *current == *used {
            current.clone_from(&new);
        }
        new
    }

    fn lock_session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
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
        let right_url = self.right_url();
        let retry_after = self.header_text(RETRY_AFTER.as_str());
        let retry_after = retry_after.and_then(|seconds| seconds.trim().parse().ok());
        let (step, status) = (self.step, self.status);
        let words = self.words(watch);
        refused(step, status, right_url.unwrap_or(words))
            .with_retry_after(retry_after.map(Duration::from_secs))
    }

    /// What the server says in its answer, as far as it can be read.
    pub(crate) fn words(self, watch: &Watch) -> String {
        let (body, _) = read_bounded(watch, self.body);
        words(&body)
    }

    /// The whole body.
    pub(crate) fn bytes(self, watch: &Watch) -> Result<Vec<u8>> {
        let step = self.step;
        match read_bounded(watch, self.body) {
            (body, Ok(())) if body.len() <= LARGEST_BODY => Ok(body),
            (_, Ok(())) => Err(Error::new(
                ErrorKind::TooLarge,
                step,
                format!("the answer is larger than {LARGEST_BODY} bytes"),
            )),
            (_, Err(error)) => Err(unreadable(step, error)),
        }
    }

    /// Reads a body that has nothing to say, so that the connection can be used again.
    pub(crate) fn skip(self, watch: &Watch) {
        // Without success the connection is closed, and that is all.
        let _ = read_bounded(watch, self.body);
    }

    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }

    fn header_text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where a redirect points to, as the base URL that it asks for.
    fn right_url(&self) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let location = without_user(self.header_text(LOCATION.as_str())?);
        let base = location.strip_suffix(&self.path).unwrap_or(&location);
        Some(one_line(&format!(
            "redirects are not followed; the server points to {base}"
        )))
    }
}

/// Reads to the end, but not much more than the largest body.
fn read_bounded(watch: &Watch, body: Body) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let mut bounded = body.into_reader().take(LARGEST_BODY as u64 + 1);
    let read = watch.run(Instant::now(), || bounded.read_to_end(&mut bytes));
    (bytes, read.map(drop))
}

/// Of text that was judged when the client was built.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
