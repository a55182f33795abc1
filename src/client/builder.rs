//! The configuration of a client.

use std::fmt;
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use super::validate::{
    session_and_cookies, validate_headers, validate_key, validate_size, validate_timeouts,
    validate_user_agent,
};
use super::{Client, DEFAULT_MODEL};
use crate::api::{AUTO, Api, ApiConfig};
use crate::cancel::CancelHandle;
use crate::error::{Error, Result};
#[cfg(feature = "rustls")]
use crate::http::RootCertificates;
use crate::http::{BaseUrl, HttpClient, HttpConfig, Proxy, RetryPolicy, Timeouts};
use crate::request::validate_model;
use crate::server::Protocol;
use crate::session::Session;
use crate::shared::Shared;

/// Configures a [`Client`]. [`build`](ClientBuilder::build) validates everything.
///
/// ```
/// use std::time::Duration;
///
/// let client = h2o_chat::Client::builder("http://127.0.0.1:3000")
///     .model("my/model")
///     .header("Authorization", "Bearer my-token")
///     .total_timeout(Duration::from_secs(600))
///     .build()?;
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until build() is called"]
pub struct ClientBuilder {
    url: String,
    protocol: Option<Protocol>,
    model: Option<String>,
    session: Option<Session>,
    cookie_name: Option<String>,
    api_key: Option<String>,
    proxy: Proxy,
    #[cfg(feature = "rustls")]
    root_certificates: Option<Vec<u8>>,
    headers: Vec<(String, String)>,
    user_agent: String,
    share_with_model_authors: bool,
    timeouts: Timeouts,
    retries: RetryPolicy,
    cancel: Option<CancelHandle>,
}

impl ClientBuilder {
    pub(super) fn new(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            protocol: None,
            model: None,
            session: None,
            cookie_name: None,
            api_key: None,
            proxy: Proxy::default(),
            #[cfg(feature = "rustls")]
            root_certificates: None,
            headers: Vec::new(),
            user_agent: concat!("h2o-chat/", env!("CARGO_PKG_VERSION")).to_owned(),
            share_with_model_authors: true,
            timeouts: Timeouts {
                connect: Some(Duration::from_secs(10)),
                idle: Some(Duration::from_secs(60)),
                token: Some(Duration::from_secs(5 * 60)),
                total: None,
                cleanup: Duration::from_secs(3),
            },
            retries: RetryPolicy { max_retries: 2, max_wait: Duration::from_secs(10) },
            cancel: None,
        }
    }

    /// The id of the model to ask. If it is set, the client never falls back to another model.
    /// Defaults to [`DEFAULT_MODEL`] on a classic server that has it, else to the server's first
    /// model. h2oGPTe chooses one for each message.
    pub fn model(mut self, model: impl Into<String>) -> ClientBuilder {
        self.model = Some(model.into());
        self
    }

    /// The protocol of the server. Defaults to detecting it, once per client. That takes no extra
    /// request on a classic server, one on a newer one, and up to two in a session that you give.
    /// With an [API key](ClientBuilder::api_key) it is [`Protocol::H2ogpte`].
    pub fn protocol(mut self, protocol: Protocol) -> ClientBuilder {
        self.protocol = Some(protocol);
        self
    }

    /// The session, to use an account that you are logged in to or to find conversations again.
    /// Defaults to a new one.
    ///
    /// In a session that you set, the client changes no setting of the account except
    /// [what is necessary](crate#terms-and-sharing).
    #[doc(alias = "cookie")]
    #[doc(alias = "login")]
    pub fn session(mut self, session: impl Into<Session>) -> ClientBuilder {
        self.session = Some(session.into());
        self
    }

    /// The name of the session's cookie, for a server that is configured to use another name.
    /// Defaults to `hf-chat`. Only needed with [`session`](ClientBuilder::session): otherwise the
    /// client finds out the name itself.
    #[doc(alias = "cookie")]
    pub fn cookie_name(mut self, name: impl Into<String>) -> ClientBuilder {
        self.cookie_name = Some(name.into());
        self
    }

    /// The API key of an h2oGPTe server. It takes the place of a session, and selects
    /// [`Protocol::H2ogpte`]: nothing is detected. Defaults to none.
    ///
    /// The key is a secret: no log, error or `Debug` shows it. It identifies the owner of a
    /// conversation.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = h2o_chat::Client::builder("https://h2ogpte.genai.h2o.ai")
    ///     .api_key(std::env::var("H2OGPTE_API_KEY")?)
    ///     .build()?;
    /// println!("{}", client.ask("Why is the sky blue?")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "login")]
    pub fn api_key(mut self, key: impl Into<String>) -> ClientBuilder {
        self.api_key = Some(key.into());
        self
    }

    /// The proxy. Defaults to [`Proxy::env`].
    pub fn proxy(mut self, proxy: Proxy) -> ClientBuilder {
        self.proxy = proxy;
        self
    }

    /// The root certificates to verify the server with, in PEM format, instead of the system's.
    /// Defaults to the system's. Needs the feature `rustls`.
    ///
    /// Give the certificate of the authority that signed the server's. A self-signed server
    /// certificate works too, unless it is marked as that of an authority (`CA:TRUE`).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = h2o_chat::Client::builder("https://chat.example.org")
    ///     .root_certificates(std::fs::read("my-ca.pem")?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "rustls")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> ClientBuilder {
        self.root_certificates = Some(pem.into());
        self
    }

    /// A header for every request, `Authorization` for example. A second header of the same name
    /// replaces the first. A `Cookie` header is sent together with the session's cookie; if it
    /// contains that cookie, it sets the [session](ClientBuilder::session). An `Origin` header is
    /// sent with messages only, for a server that is configured for another address than the URL.
    /// Defaults to none.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> ClientBuilder {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The `User-Agent` header. Defaults to `h2o-chat/` and the version of this crate.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> ClientBuilder {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets whether the server may share conversations with the authors of the model. Defaults to
    /// true, as on the service's own page.
    ///
    /// In a session that you set, true leaves the account's choice as it is.
    pub fn share_with_model_authors(mut self, share: bool) -> ClientBuilder {
        self.share_with_model_authors = share;
        self
    }

    /// The maximum time to connect, including the proxy and TLS. Name lookup is not included: only
    /// the system can limit it. If a host has several addresses, a dead first one takes two thirds
    /// of this for every new connection. Defaults to 10 s; `None` removes the timeout.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> ClientBuilder {
        self.timeouts.connect = timeout.into();
        self
    }

    /// The maximum time without a byte from the server. Defaults to 60 s; `None` removes the
    /// timeout.
    ///
    /// A classic server sends nothing before the first token: raise this if a busy one takes longer
    /// than a minute to begin. After that, it sends something at least every 15 s. chat-ui from
    /// 0.9.3 sends something every 0.1 s. chat-ui 0.8 to 0.9.2 sends only text, so nothing arrives
    /// while the model pauses.
    #[doc(alias = "timeout")]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> ClientBuilder {
        self.timeouts.idle = timeout.into();
        self
    }

    /// The maximum time without a token, even while keep-alives arrive, and the maximum time for
    /// the whole of any other response. Reasoning counts as a token, a tool call does not. The time
    /// that your program takes between two tokens does not count. Defaults to 5 min; `None` removes
    /// the timeout.
    pub fn token_timeout(mut self, timeout: impl Into<Option<Duration>>) -> ClientBuilder {
        self.timeouts.token = timeout.into();
        self
    }

    /// The maximum duration of a call, from its beginning to the last token. Cleanup comes after
    /// it, and name lookup is not interrupted. Defaults to none, because a long reply is not an
    /// error.
    #[doc(alias = "timeout")]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> ClientBuilder {
        self.timeouts.total = timeout.into();
        self
    }

    /// The maximum time to stop a generation and delete its conversation, name lookup not
    /// included. Stopping gets at most half of it. Defaults to 3 s.
    pub fn cleanup_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.timeouts.cleanup = timeout;
        self
    }

    /// How often a request is retried before a reply has begun. Defaults to 2.
    ///
    /// A request is retried when no connection could be made, and when the server answers 429 or
    /// 503. The client waits as long as the server asks in `Retry-After`, otherwise 0.5 s, doubled
    /// with each retry and shortened at random by up to half. An expired timeout is not retried.
    ///
    /// If a connection ends without a response, settings and lists are sent once more unless this
    /// is 0, because sending them twice does no harm. Creating a conversation and sending a prompt
    /// are never repeated then. Each retry is logged.
    ///
    /// Stops and deletions do not depend on this number: they are sent once more after a lost
    /// response, and repeated after a 429 or 503, within the
    /// [cleanup timeout](ClientBuilder::cleanup_timeout).
    #[doc(alias = "retry")]
    pub fn retries(mut self, retries: u32) -> ClientBuilder {
        self.retries.max_retries = retries;
        self
    }

    /// The maximum wait before a retry. If the server asks for more, the call fails with its
    /// response, and [`Error::retry_after`](crate::Error::retry_after) has the wait. Defaults to
    /// 10 s.
    pub fn max_retry_wait(mut self, wait: Duration) -> ClientBuilder {
        self.retries.max_wait = wait;
        self
    }

    /// A handle that cancels every present and future call of the client, including those that take
    /// no request. It does not cancel cleanup. Defaults to none.
    #[doc(alias = "stop")]
    #[doc(alias = "abort")]
    pub fn cancel_handle(mut self, handle: &CancelHandle) -> ClientBuilder {
        self.cancel = Some(handle.clone());
        self
    }

    /// Creates the client. Does no I/O.
    ///
    /// ```
    /// use h2o_chat::{Client, ErrorKind};
    ///
    /// let builder = Client::builder("http://127.0.0.1:3000").header("Host", "another");
    /// assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidInput);
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if anything is invalid.
    pub fn build(self) -> Result<Client> {
        let base = BaseUrl::parse(&self.url)?;
        validate_model(self.model.as_deref())?;
        validate_timeouts(&self.timeouts)?;
        validate_user_agent(&self.user_agent)?;
        let mut headers = validate_headers(&self.headers)?;
        self.validate_key_or_session(&base, &headers)?;
        let protocol = self.api_key.as_ref().map(|_| Protocol::H2ogpte);
        let protocol = protocol.or(self.protocol);
        let usual_model = match protocol {
            Some(Protocol::H2ogpte) => AUTO,
            _ => DEFAULT_MODEL,
        };
        let (session, cookies) = session_and_cookies(self.session, self.cookie_name, &mut headers)?;
        let header_sizes = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let header_size = validate_size(header_sizes.chain([
            self.url.len(),
            self.user_agent.len(),
            session.name.len(),
            session.session.as_str().len(),
            self.api_key.as_ref().map_or(0, String::len),
        ]))?;
        let http = HttpClient::new(HttpConfig {
            proxy: self.proxy.resolve(&base)?,
            base,
            user_agent: self.user_agent,
            headers,
            header_size,
            key: self.api_key,
            session,
            cookies,
            connect_timeout: self.timeouts.connect,
            retries: self.retries,
            #[cfg(feature = "rustls")]
            root_certificates: self
                .root_certificates
                .map(|pem| RootCertificates::from_pem(&pem))
                .transpose()?,
        });
        let api = Api::new(ApiConfig {
            http,
            share_with_model_authors: self.share_with_model_authors,
            protocol,
            model: self.model,
            usual_model,
        });
        Ok(Client::sharing(Shared::new(api, self.timeouts, self.cancel)))
    }

    /// Refuses an API key together with settings that contradict it.
    fn validate_key_or_session(&self, base: &BaseUrl, headers: &HeaderMap) -> Result<()> {
        let Some(key) = &self.api_key else {
            return match self.protocol {
                Some(Protocol::H2ogpte) => Err(Error::invalid_input("h2oGPTe requires an API key")),
                _ => Ok(()),
            };
        };
        validate_key(key)?;
        let other_protocol = self.protocol.filter(|it| *it != Protocol::H2ogpte);
        let conflicts = [
            ("a session", self.session.is_some()),
            ("a cookie name", self.cookie_name.is_some()),
            ("another protocol", other_protocol.is_some()),
            ("an Authorization header", headers.contains_key(AUTHORIZATION)),
            ("a Cookie header", headers.contains_key(COOKIE)),
            ("a user in the URL", base.authorization().is_some()),
        ];
        match conflicts.iter().find(|(_, is_given)| *is_given) {
            Some((what, _)) => {
                Err(Error::invalid_input(format!("an API key and {what} cannot be used together")))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("ClientBuilder")
            .field("model", &self.model)
            .field("protocol", &self.protocol)
            .field("proxy", &self.proxy)
            .field("headers", &names)
            .field("timeouts", &self.timeouts)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
