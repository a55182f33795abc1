//! One server: the agent that keeps its connections, the headers that every request to it carries, and the
//! exchange of a request for an answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::info;
use ureq::Agent;
use ureq::http::Request;
use ureq::http::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, ORIGIN, REFERER};

use super::call::{Answer, Call};
use super::cookies::Jar;
use super::failure::unanswered;
use super::redirect::Redirect;
use super::retry::{Retries, Tries};
use super::session::Session;
use super::transport::{SameThread, connector};
use super::url::BaseUrl;
use super::watch::Watch;
use crate::error::{Error, ErrorKind, Result};

/// The server closes a connection that was idle for 5 s.
const MAX_IDLE_AGE: Duration = Duration::from_secs(4);

/// ureq's 128 KiB are too much for a thousand streams; its limit for a head must be half at most.
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;
const LARGEST_HEAD: usize = 16 * 1024;

/// ureq adds the connect limit to the clock, which panics if that cannot hold it. No system tries for a day.
const LONGEST_CONNECT: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Origin {
    agent: Agent,
    base: BaseUrl,
    headers: HeaderMap,
    cookies: Mutex<Jar>,
    retries: Retries,
    /// The server takes itself for an https one although it is spoken to over http.
    https_referer: AtomicBool,
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
    pub(crate) retries: Retries,
    /// None for those that the system trusts.
    #[cfg(feature = "rustls")]
    pub(crate) authorities: Option<super::tls::Authorities>,
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
        let agent = agent.tls_config(super::tls::config(config.authorities));
        Origin {
            agent: Agent::with_parts(agent.build(), connector(), SameThread::default()),
            base: config.base,
            headers: config.headers,
            cookies: Mutex::new(Jar::new(config.cookie_name, config.session)),
            retries: config.retries,
            https_referer: AtomicBool::new(false),
        }
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The session of the client now.
    pub(crate) fn session(&self) -> Session {
        self.cookies().session().clone()
    }

    /// What requests give as the page that they come from.
    pub(crate) fn referer(&self) -> String {
        self.referer_from(self.https_referer.load(Ordering::Relaxed))
    }

    fn referer_from(&self, https: bool) -> String {
        let referer = self.base.referer();
        match referer.strip_prefix("http://") {
            Some(rest) if https => format!("https://{rest}"),
            _ => referer,
        }
    }

    /// Whether from now on requests come from an https page, to a server that is spoken to over http.
    pub(crate) fn remember_https(&self, https: bool) {
        self.https_referer.store(https, Ordering::Relaxed);
    }

    /// Sends a request and waits for the head of its answer, of whatever status; again where that can help and
    /// do no harm.
    pub(crate) fn exchange(&self, watch: &Watch, call: &Call) -> Result<Answer> {
        let mut tries = Tries::new(self.retries, call);
        loop {
            // Once it is to end, no attempt is begun: only one that is under way may be given a grace.
            watch.check().map_err(|cut| cut.at(call.step))?;
            let outcome = self.attempt(watch, call);
            let Some(wait) = tries
                .wait(&outcome)
                .filter(|wait| watch.has_time_for(*wait))
            else {
                return outcome;
            };
            let why = match outcome {
                Ok(answer) => answer.refusal(watch),
                Err(error) => error,
            };
            match wait {
                Duration::ZERO => info!("{why}; trying again at once"),
                wait => info!("{why}; trying again after {wait:?}"),
            }
            watch.pause(wait).map_err(|cut| cut.at(call.step))?;
        }
    }

    fn attempt(&self, watch: &Watch, call: &Call) -> Result<Answer> {
        let used = call.session_or(self.session());
        let referer = call
            .https_referer
            .map_or_else(|| self.referer(), |https| self.referer_from(https));
        let request = self.request(call, &used, &referer)?;
        let response = watch.run(Instant::now(), || match call.body {
            Some(body) => self.agent.run(request.map(|()| body)),
            None => self.agent.run(request),
        });
        let (head, body) = response
            .map_err(|error| unanswered(call.step, error))?
            .into_parts();
        let location = head
            .headers
            .get(LOCATION)
            .filter(|_| head.status.is_redirection());
        let location = location.and_then(|location| location.to_str().ok());
        Ok(Answer {
            step: call.step,
            redirect: location.map(|location| Redirect::new(&self.base, call.path, location)),
            status: head.status,
            session: self.cookies().take(&head.headers, &used),
            headers: head.headers,
            body,
            largest: call.largest,
            referer,
        })
    }

    fn request(&self, call: &Call, session: &Session, referer: &str) -> Result<Request<()>> {
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
        headers.insert(REFERER, header(referer));
        if call.has_origin {
            headers.insert(ORIGIN, header(self.base.origin()));
        }
        let users = self
            .headers
            .get(COOKIE)
            .and_then(|value| value.to_str().ok());
        headers.insert(COOKIE, header(&self.cookies().header(session, users)));
        if let Some(content_type) = call.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Ok(request)
    }

    fn cookies(&self) -> MutexGuard<'_, Jar> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of text that was judged when the client was built.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
