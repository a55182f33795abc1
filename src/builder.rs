//! What a user configures.

mod judged;

use std::fmt;
use std::time::Duration;

use ureq::http::header::HeaderValue;

use self::judged::judged_headers;
use crate::client::{Client, DEFAULT_MODEL};
use crate::error::{Error, Result};
#[cfg(feature = "rustls")]
use crate::http::Authorities;
use crate::http::{BaseUrl, Config, Origin, Proxy, Retries, Session, judge_cookie_name};
use crate::protocol;
use crate::protocol::Server;
use crate::server::Protocol;
use crate::shared::{Limits, Shared};
use crate::stop::Stop;

pub(crate) use self::judged::judge_model;

/// Configures a [`Client`]. Nothing is judged before [`build`](ClientBuilder::build).
///
/// ```
/// use std::time::Duration;
///
/// let client = h2o_chat::Client::builder("http://127.0.0.1:3000")
///     .model("my/model")
///     .header("Authorization", "Bearer my-token")
///     .deadline(Duration::from_secs(600))
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
    cookie_name: String,
    proxy: Proxy,
    #[cfg(feature = "rustls")]
    authorities: Option<Vec<u8>>,
    headers: Vec<(String, String)>,
    user_agent: String,
    share_with_model_authors: bool,
    limits: Limits,
    retries: Retries,
    stop: Option<Stop>,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            protocol: None,
            model: None,
            session: None,
            cookie_name: "hf-chat".to_owned(),
            proxy: Proxy::default(),
            #[cfg(feature = "rustls")]
            authorities: None,
            headers: Vec::new(),
            user_agent: concat!("h2o-chat/", env!("CARGO_PKG_VERSION")).to_owned(),
            share_with_model_authors: true,
            limits: Limits {
                connect: Some(Duration::from_secs(10)),
                silence: Some(Duration::from_secs(60)),
                stall: Some(Duration::from_secs(5 * 60)),
                deadline: None,
                cleanup: Duration::from_secs(3),
            },
            retries: Retries {
                times: 2,
                longest_wait: Duration::from_secs(10),
            },
            stop: None,
        }
    }

    /// The model to ask, by the server's name for it; no other will be asked. Defaults to the first of the server's own
    /// or, on a classic server that has it, to [`DEFAULT_MODEL`].
    pub fn model(mut self, model: impl Into<String>) -> ClientBuilder {
        self.model = Some(model.into());
        self
    }

    /// The protocol that the server speaks, if it need not be found out. Defaults to finding it out, which costs
    /// nothing on a classic server and one request on a current one, once for each client.
    pub fn protocol(mut self, protocol: Protocol) -> ClientBuilder {
        self.protocol = Some(protocol);
        self
    }

    /// The session, for a program that wants to find its conversations again. Defaults to a new one.
    pub fn session(mut self, session: impl Into<Session>) -> ClientBuilder {
        self.session = Some(session.into());
        self
    }

    /// The name of the session's cookie, which a server can be configured to change. Defaults to `hf-chat`.
    pub fn cookie_name(mut self, name: impl Into<String>) -> ClientBuilder {
        self.cookie_name = name.into();
        self
    }

    /// The proxy. Defaults to [`Proxy::env`].
    pub fn proxy(mut self, proxy: Proxy) -> ClientBuilder {
        self.proxy = proxy;
        self
    }

    /// The certificates of the authorities that may vouch for the server, as a text of PEM, instead of those that the
    /// system trusts. For a server whose certificate was signed by an authority of one's own: it is the authority's that
    /// is given here. A certificate that signed itself can be given unless it says that it is an authority's
    /// (`CA:TRUE`). Needs the feature `rustls`. Defaults to the system's.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = h2o_chat::Client::builder("https://chat.example.org")
    ///     .authorities(std::fs::read("my-ca.pem")?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "rustls")]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> ClientBuilder {
        self.authorities = Some(pem.into());
        self
    }

    /// A header for every request, `Authorization` for example; one of the same name replaces it. A `Cookie`
    /// is sent together with the session's; if the session's own is in it, that is the [session](ClientBuilder::session).
    /// Defaults to none.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> ClientBuilder {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What the client calls itself. Defaults to `h2o-chat/` and the version of this crate.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> ClientBuilder {
        self.user_agent = user_agent.into();
        self
    }

    /// Whether the server may share conversations with the authors of the model. Defaults to true, as the
    /// service's own page has it.
    pub fn share_with_model_authors(mut self, share: bool) -> ClientBuilder {
        self.share_with_model_authors = share;
        self
    }

    /// How long making a connection may take, proxy and TLS included, but not the lookup of a name, which
    /// only the system limits. Defaults to 10 seconds.
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> ClientBuilder {
        self.limits.connect = limit.into();
        self
    }

    /// How long the server may be silent, without a single byte. Defaults to 60 seconds.
    ///
    /// A classic server says nothing before the first token, and then something every 15 seconds: where a busy one takes
    /// longer than a minute to begin, raise this. A current one says something every 0.1 seconds from the beginning on;
    /// those before chat-ui 0.9.3 only send text, so that a model that pauses is silent there.
    pub fn silence_timeout(mut self, limit: impl Into<Option<Duration>>) -> ClientBuilder {
        self.limits.silence = limit.into();
        self
    }

    /// How long a token may be waited for while bytes arrive that are none, and the whole of any other answer. What a
    /// model thinks counts as a token, time between two calls of [`Iterator::next`] does not count. Defaults to 5 minutes.
    pub fn stall_timeout(mut self, limit: impl Into<Option<Duration>>) -> ClientBuilder {
        self.limits.stall = limit.into();
        self
    }

    /// How long a whole call may take, from its beginning to the last token. Tidying up comes after it, and the
    /// lookup of a name is not interrupted by it. Defaults to none: a long reply in good health is never cut.
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> ClientBuilder {
        self.limits.deadline = limit.into();
        self
    }

    /// How long stopping a generation and deleting its conversation may take together, the lookup of a name
    /// not included; stopping gets half of it at the most. Defaults to 3 seconds.
    pub fn cleanup_budget(mut self, budget: Duration) -> ClientBuilder {
        self.limits.cleanup = budget;
        self
    }

    /// How often a request is tried again, each time logged, before a reply has begun: when no connection could be
    /// made, and when the server answers 429 or 503. It is waited for as long as the server asks in
    /// `Retry-After`, else 0.5 seconds, doubled each time, less up to half of it at random. A limit that was reached,
    /// that of connecting included, is not waited for again.
    ///
    /// With one or more, a request that does no harm when it is done twice is also repeated, once, if its
    /// connection ends without an answer: posting the settings, listing, stopping, deleting. Opening a
    /// conversation and sending a prompt are not. Defaults to 2.
    pub fn retries(mut self, times: u32) -> ClientBuilder {
        self.retries.times = times;
        self
    }

    /// How long may be waited before a retry: no own wait is longer, and if the server asks for more, its answer is
    /// the error, with [`Error::retry_after`]. Defaults to 10 seconds.
    pub fn longest_retry_wait(mut self, wait: Duration) -> ClientBuilder {
        self.retries.longest_wait = wait;
        self
    }

    /// Lets this flag end every call of the client, from any thread: those that are given no request as well, and those
    /// that come later. What tidies up is not stopped. Defaults to none.
    pub fn stop(mut self, stop: &Stop) -> ClientBuilder {
        self.stop = Some(stop.clone());
        self
    }

    /// The client. Does no I/O.
    ///
    /// ```
    /// use h2o_chat::{Client, ErrorKind};
    ///
    /// let builder = Client::builder("http://127.0.0.1:3000").header("Host", "another");
    /// assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Input);
    /// ```
    ///
    /// # Errors
    /// With [`ErrorKind::Input`](crate::ErrorKind::Input) if anything that was given cannot be used.
    pub fn build(self) -> Result<Client> {
        let base = BaseUrl::parse(&self.url)?;
        judge_model(self.model.as_deref())?;
        judge_cookie_name(&self.cookie_name)?;
        self.limits.judge()?;
        if HeaderValue::from_str(&self.user_agent).is_err() {
            return Err(Error::input(
                "the user agent has characters that a header cannot hold",
            ));
        }
        let mut headers = judged_headers(&self.headers)?;
        let session = self.session_of(&mut headers)?;
        self.judge_size(&session)?;
        let origin = Origin::new(Config {
            proxy: self.proxy.judged(&base)?,
            base,
            user_agent: self.user_agent,
            headers,
            cookie_name: self.cookie_name,
            session,
            connect_limit: self.limits.connect,
            retries: self.retries,
            #[cfg(feature = "rustls")]
            authorities: self
                .authorities
                .map(|pem| Authorities::from_pem(&pem))
                .transpose()?,
        });
        let server = Server::new(protocol::Config {
            origin,
            share_with_model_authors: self.share_with_model_authors,
            protocol: self.protocol,
            model: self.model,
            usual_model: DEFAULT_MODEL,
        });
        Ok(Client::sharing(Shared::new(server, self.limits, self.stop)))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("ClientBuilder")
            .field("model", &self.model)
            .field("cookie_name", &self.cookie_name)
            .field("proxy", &self.proxy)
            .field("headers", &names)
            .field("user_agent", &self.user_agent)
            .field("share_with_model_authors", &self.share_with_model_authors)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
