//! What a user configures, and asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::conversation::Conversation;
use crate::error::{Error, Result, Step};
use crate::http::{BaseUrl, Config, Origin, Proxy, Retries, Session, Watch, judge_cookie_name};
use crate::protocol::{Classic, Message};
use crate::request::Request;
use crate::server::{Model, ServerInfo};
use crate::stop::Stop;
use crate::tokens::Tokens;

/// Where H2O.ai served its public chat. It stopped speaking this protocol in October 2023.
pub const PUBLIC_URL: &str = "https://gpt-gm.h2o.ai";

/// The model that H2O.ai's public chat answered with by default.
pub const DEFAULT_MODEL: &str = "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1";

/// A client of one server.
///
/// It does no I/O until it is asked something, starts no thread, and keeps its connections to use them again.
/// Clones are the same client; it can be used by many threads at once. `Debug` shows no secret.
///
/// ```no_run
/// use h2o_chat::Client;
///
/// let client = Client::new("http://127.0.0.1:3000")?;
/// println!("{}", client.ask("Why is the sky blue?")?);
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    server: Arc<Classic>,
    limits: Limits,
}

/// What a client waits for, and how long. None is for ever.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connect: Option<Duration>,
    silence: Option<Duration>,
    stall: Option<Duration>,
    deadline: Option<Duration>,
    cleanup: Duration,
}

impl Client {
    /// A client of the server at this URL, everything else by default.
    ///
    /// # Errors
    /// If the URL, or the proxy that the environment names, cannot be used.
    pub fn new(url: &str) -> Result<Client> {
        Client::builder(url).build()
    }

    /// To configure a client of the server at this URL: `http://` or `https://`, a host, perhaps a port, and the
    /// path that the server's pages are below, if there is one. A user and password in it are sent as Basic
    /// authentication, as they are; for those with characters that a URL cannot hold there is
    /// [`header`](ClientBuilder::header).
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            model: None,
            session: None,
            cookie_name: "hf-chat".to_owned(),
            proxy: Proxy::default(),
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
        }
    }

    /// Asks, and returns the whole reply. The conversation is deleted.
    ///
    /// # Errors
    /// Whatever can go wrong with a reply; the text so far is in [`Error::received`].
    pub fn ask(&self, request: impl Into<Request>) -> Result<String> {
        self.generate(request)?.text()
    }

    /// Asks, and returns the reply as an iterator over its tokens.
    ///
    /// Returns when the server begins to reply. A server does that with the first token, so this is where a
    /// busy one is waited for.
    ///
    /// # Errors
    /// If the request is unfit to be sent, the server cannot be reached, refuses, or does not begin to reply
    /// within the limits. If a conversation was opened, it has been deleted, or is named in
    /// [`Error::undeleted`].
    pub fn generate(&self, request: impl Into<Request>) -> Result<Tokens<'static>> {
        let request = request.into();
        let message = Message::new(&request)?;
        request.model.as_deref().map_or(Ok(()), judge_model)?;
        let limits = self.limits;
        let watch = self.watch(request.stop.clone(), request.deadline);
        let model = self.server.set_up(&watch, request.model.as_deref())?;
        // Once asked for, a conversation whose id is not known could not be deleted.
        watch.check().map_err(|cut| cut.at(Step::Conversation))?;
        let place = self
            .server
            .open(&watch.with_grace(limits.cleanup), &model)?;
        let mut conversation = Conversation::new(Arc::clone(&self.server), place, limits.cleanup);
        match conversation.send(&watch, &message) {
            Ok(stream) => Ok(Tokens::new(stream, conversation, watch)),
            Err(error) => Err(conversation.fail(error)),
        }
    }

    /// The models that the server offers, its own default first.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses, or answers something else.
    pub fn models(&self) -> Result<Vec<Model>> {
        self.server.models(&self.watch(None, None))
    }

    /// Takes one look at the server: whether it is one to talk to, and what it offers. Posts the settings, and
    /// asks for the list of its models; opens no conversation.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// match client.check() {
    ///     Ok(info) => println!("{info}"),
    ///     Err(error) => println!("{error}. {}", error.hint().unwrap_or_default()),
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the server, or on the way to it; [`Error::hint`] says what can be done about it.
    pub fn check(&self) -> Result<ServerInfo> {
        self.server.check(&self.watch(None, None))
    }

    /// The bounds of a call that begins now.
    fn watch(&self, stop: Option<Stop>, deadline: Option<Duration>) -> Watch {
        let limits = &self.limits;
        let deadline = deadline.or(limits.deadline);
        Watch::new(stop, limits.silence, limits.stall, deadline)
    }

    /// The session that this client's conversations belong to.
    #[must_use]
    pub fn session(&self) -> Session {
        self.server.session()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", self.server.base())
            .field("model", &self.server.default_model())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Configures a [`Client`]. Nothing is judged before [`build`](ClientBuilder::build).
#[derive(Clone)]
#[must_use = "a builder does nothing until build() is called"]
pub struct ClientBuilder {
    url: String,
    model: Option<String>,
    session: Option<Session>,
    cookie_name: String,
    proxy: Proxy,
    headers: Vec<(String, String)>,
    user_agent: String,
    share_with_model_authors: bool,
    limits: Limits,
    retries: Retries,
}

impl ClientBuilder {
    /// The model to ask, by the server's name for it; no other will be asked. Defaults to [`DEFAULT_MODEL`] or,
    /// on a server that does not have it, to the first of that server's own.
    pub fn model(mut self, model: impl Into<String>) -> ClientBuilder {
        self.model = Some(model.into());
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

    /// A header for every request, `Authorization` for example; one of the same name replaces it. A `Cookie`
    /// is sent together with the session's. Defaults to none.
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

    /// How long the server may be silent, without a single byte. It begins its reply only with the first
    /// token and then says something every 15 seconds. Defaults to 60 seconds.
    pub fn silence_timeout(mut self, limit: impl Into<Option<Duration>>) -> ClientBuilder {
        self.limits.silence = limit.into();
        self
    }

    /// How long a token may be waited for while bytes arrive that are none. Time between two calls of
    /// [`Iterator::next`] does not count. Defaults to 5 minutes.
    pub fn stall_timeout(mut self, limit: impl Into<Option<Duration>>) -> ClientBuilder {
        self.limits.stall = limit.into();
        self
    }

    /// How long a whole call may take, from its beginning to the last token. Tidying up comes after it.
    /// Defaults to none: a long reply in good health is never cut.
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
    /// `Retry-After`, else 0.5 seconds, doubled each time, less up to half of it at random.
    ///
    /// With one or more, a request that does no harm when it is done twice is also repeated, once, if its
    /// connection ends without an answer: posting the settings, listing, stopping, deleting. Opening a
    /// conversation and sending a prompt are not. Defaults to 2.
    pub fn retries(mut self, times: u32) -> ClientBuilder {
        self.retries.times = times;
        self
    }

    /// How long may be waited before a retry; if the server asks for more, its answer is the error, with
    /// [`Error::retry_after`]. Defaults to 10 seconds.
    pub fn longest_retry_wait(mut self, wait: Duration) -> ClientBuilder {
        self.retries.longest_wait = wait;
        self
    }

    /// The client. Does no I/O.
    ///
    /// # Errors
    /// With [`ErrorKind::Input`](crate::ErrorKind::Input) if anything that was given cannot be used.
    pub fn build(self) -> Result<Client> {
        let base = BaseUrl::parse(&self.url)?;
        self.model.as_deref().map_or(Ok(()), judge_model)?;
        judge_cookie_name(&self.cookie_name)?;
        self.limits.judge()?;
        if HeaderValue::from_str(&self.user_agent).is_err() {
            return Err(Error::input(
                "the user agent has characters that a header cannot hold",
            ));
        }
        let session = self.session.clone().unwrap_or_else(Session::invent);
        session.judge()?;
        self.judge_size(&session)?;
        let origin = Origin::new(Config {
            proxy: self.proxy.judged(&base)?,
            base,
            user_agent: self.user_agent,
            headers: judged_headers(&self.headers)?,
            cookie_name: self.cookie_name,
            session,
            connect_limit: self.limits.connect,
            retries: self.retries,
        });
        let share = self.share_with_model_authors;
        Ok(Client {
            server: Arc::new(Classic::new(origin, share, self.model, DEFAULT_MODEL)),
            limits: self.limits,
        })
    }
}

impl ClientBuilder {
    /// What goes into the head of each request has to fit there.
    fn judge_size(&self, session: &Session) -> Result<()> {
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
    fn judge(&self) -> Result<()> {
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
            Some((name, _)) => Err(Error::input(format!("a {name} of zero leaves no time"))),
            None => Ok(()),
        }
    }
}

fn judge_model(model: &str) -> Result<()> {
    if model.trim().is_empty() || model.chars().any(char::is_control) {
        return Err(Error::input(format!("{model:?} is no name of a model")));
    }
    Ok(())
}

fn judged_headers(headers: &[(String, String)]) -> Result<HeaderMap> {
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
