//! The HTTP client of one server: its connections, the headers of every request, and retries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::info;
use ureq::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION,
    ORIGIN, REFERER,
};
use ureq::http::{Method, Request, StatusCode};
use ureq::{Agent, SendBody};

use super::cookies::{CookieJar, SessionCookie};
use super::failure::no_response;
use super::redirect::Redirect;
use super::request::{Body, HttpRequest};
use super::response::Response;
use super::retry::{Attempts, RetryPolicy};
use super::timer::{Interrupt, Timer};
use super::transport::{SameThreadResolver, connector};
use super::url::BaseUrl;
use crate::error::{Error, ErrorKind, Result, Timeout};

/// Servers close a connection that was idle for 5 s.
const MAX_IDLE_AGE: Duration = Duration::from_secs(4);

/// Every stream holds these buffers: ureq's default of 128 KiB each is too much for a thousand. The
/// head of a response has to fit into the input buffer, and each line of a request's head into the
/// output buffer.
const INPUT_BUFFER: usize = 24 * 1024;
const OUTPUT_BUFFER: usize = 4 * 1024;
const MAX_RESPONSE_HEAD: usize = 16 * 1024;

/// The output buffer if the user's headers exceed `LARGE_HEADERS`.
const LARGE_OUTPUT_BUFFER: usize = 16 * 1024;

/// In bytes. Below it, the longest line is the `Cookie` header, most of which a server has set.
const LARGE_HEADERS: usize = 512;

/// ureq adds the connect timeout to the clock, which panics if the sum is too large. No system
/// tries to connect for a day.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct HttpClient {
    agent: Agent,
    base: BaseUrl,
    headers: HeaderMap,
    /// An API key takes the place of the session: there is neither `Cookie` nor `Referer`.
    has_key: bool,
    /// The `Origin` header of forms.
    origin: HeaderValue,
    cookies: Mutex<CookieJar>,
    retries: RetryPolicy,
    /// The server considers itself an https server although the URL says http.
    expects_https: AtomicBool,
}

/// The validated configuration of an [`HttpClient`].
pub(crate) struct HttpConfig {
    pub(crate) base: BaseUrl,
    pub(crate) proxy: Option<ureq::Proxy>,
    pub(crate) user_agent: String,
    pub(crate) headers: HeaderMap,
    /// The size of the URL, session, user agent and headers together, in bytes.
    pub(crate) header_size: usize,
    /// For an API that knows its users by a key, and not by a session.
    pub(crate) key: Option<String>,
    pub(crate) session: SessionCookie,
    /// Other cookies of the user, as in a `Cookie` header.
    pub(crate) cookies: String,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) retries: RetryPolicy,
    /// `None` for those that the system trusts.
    #[cfg(feature = "rustls")]
    pub(crate) root_certificates: Option<super::tls::RootCertificates>,
}

impl HttpClient {
    pub(crate) fn new(mut config: HttpConfig) -> HttpClient {
        let own_origin = || header_value(config.base.origin());
        let origin = config.headers.remove(ORIGIN).unwrap_or_else(own_origin);
        let bearer = config.key.as_ref().map(|key| format!("Bearer {key}"));
        if let Some(authorization) = bearer.as_deref().or(config.base.authorization()) {
            let mut authorization = header_value(authorization);
            authorization.set_sensitive(true);
            config.headers.entry(AUTHORIZATION).or_insert(authorization);
        }
        let connect_timeout = config.connect_timeout.map(|it| it.min(MAX_CONNECT_TIMEOUT));
        let is_large = config.header_size > LARGE_HEADERS;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept("application/json")
            .accept_encoding("identity")
            .user_agent(config.user_agent)
            .proxy(config.proxy)
            .timeout_connect(connect_timeout)
            .max_idle_age(MAX_IDLE_AGE)
            .max_idle_connections(8)
            .max_idle_connections_per_host(8)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(if is_large { LARGE_OUTPUT_BUFFER } else { OUTPUT_BUFFER })
            .max_response_header_size(MAX_RESPONSE_HEAD);
        #[cfg(feature = "rustls")]
        let agent = agent.tls_config(super::tls::config(config.root_certificates));
        HttpClient {
            agent: Agent::with_parts(agent.build(), connector(), SameThreadResolver::default()),
            origin,
            base: config.base,
            headers: config.headers,
            has_key: config.key.is_some(),
            cookies: Mutex::new(CookieJar::new(config.session, config.cookies)),
            retries: config.retries,
            expects_https: AtomicBool::new(false),
        }
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The client's present session.
    pub(crate) fn session(&self) -> SessionCookie {
        self.cookies().session().clone()
    }

    /// Returns whether the server considers itself an https server although the URL says http.
    pub(crate) fn expects_https(&self) -> bool {
        self.expects_https.load(Ordering::Relaxed)
    }

    pub(crate) fn set_expects_https(&self, expects_https: bool) {
        self.expects_https.store(expects_https, Ordering::Relaxed);
    }

    fn referer(&self, https: bool) -> String {
        let referer = self.base.referer();
        match referer.strip_prefix("http://") {
            Some(rest) if https => format!("https://{rest}"),
            _ => referer,
        }
    }

    /// Sends a request and waits for the head of its response, of whatever status. Retries where
    /// that can help and does no harm.
    pub(crate) fn send(&self, timer: &Timer, request: &HttpRequest) -> Result<Response> {
        let mut attempts = Attempts::new(self.retries, request);
        // No attempt begins after the deadline. The grace is only for a request that has been sent.
        let interrupted = |interrupt: Interrupt| interrupt.at(request.step);
        timer.check().map_err(interrupted)?;
        timer.set_step(request.step);
        loop {
            let (error, body) = match self.send_once(timer, request) {
                Ok(response) if response.is_busy() => response.into_error_and_body(timer),
                Ok(response) => return Ok(response),
                Err(error) => (error, Vec::new()),
            };
            let wait = attempts.next_wait(&error, &body);
            let Some(wait) = wait.filter(|wait| timer.has_time_for(*wait)) else {
                return Err(error);
            };
            match wait {
                Duration::ZERO => info!("{error}; retrying at once"),
                wait => info!("{error}; retrying after {wait:?}"),
            }
            match timer.pause(wait).and_then(|()| timer.check()) {
                Ok(()) => {}
                // The pause took longer than expected. The server's error says more than a timeout.
                Err(Interrupt::Expired(Timeout::Cleanup, _)) => return Err(error),
                Err(interrupt) => return Err(interrupted(interrupt)),
            }
        }
    }

    fn send_once(&self, timer: &Timer, request: &HttpRequest) -> Result<Response> {
        let used = request.session.cloned().unwrap_or_else(|| self.session());
        let https_referer = request.https_referer;
        let referer = self.referer(https_referer.unwrap_or_else(|| self.expects_https()));
        let prepared = self.prepare(request, &used, &referer)?;
        let response = timer.run(Instant::now(), || match request.body {
            Body::None => self.agent.run(prepared),
            Body::Bytes(body) => self.agent.run(prepared.map(|()| body)),
            Body::Form(form) => {
                let mut reader = form.reader();
                self.agent.run(prepared.map(|()| SendBody::from_reader(&mut reader)))
            }
        });
        let (head, body) = response.map_err(|error| no_response(request.step, error))?.into_parts();
        // A form that was accepted is answered with 303.
        let is_accepted = head.status.is_success() || head.status == StatusCode::SEE_OTHER;
        let is_successful_post = is_accepted && request.method == Method::POST;
        let session = if self.has_key {
            used
        } else {
            let mut cookies = self.cookies();
            cookies.store(&head.headers, &used, is_successful_post)
        };
        let location = head.headers.get(LOCATION);
        let location = location.filter(|_| head.status.is_redirection());
        let location = location.and_then(|location| location.to_str().ok());
        Ok(Response {
            step: request.step,
            redirect: location.map(|it| Redirect::new(&self.base, request.path, it)),
            status: head.status,
            session,
            headers: head.headers,
            body,
            max_body: request.max_body,
            had_authorization: self.headers.contains_key(AUTHORIZATION),
            had_key: self.has_key,
            referer,
        })
    }

    /// Adds the client's headers.
    fn prepare(
        &self,
        request: &HttpRequest,
        session: &SessionCookie,
        referer: &str,
    ) -> Result<Request<()>> {
        let mut prepared = Request::builder()
            .method(request.method.clone())
            .uri(self.base.join(request.path))
            .body(())
            .map_err(|error| {
                let message = "invalid URL of a request";
                Error::new(ErrorKind::InvalidInput, request.step, message).with_source(error)
            })?;
        let headers = prepared.headers_mut();
        headers.clone_from(&self.headers);
        if request.has_origin {
            headers.insert(ORIGIN, self.origin.clone());
        }
        if !self.has_key {
            headers.insert(REFERER, header_value(referer));
            headers.insert(COOKIE, header_value(&self.cookies().header(session)));
        }
        if request.accepts_anything {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        if let Some(content_type) = request.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Body::Form(form) = request.body {
            headers.insert(CONTENT_TYPE, header_value(&form.content_type()));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(form.len()));
        }
        Ok(prepared)
    }

    fn cookies(&self) -> MutexGuard<'_, CookieJar> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a header value of text that was validated when the client was built.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
