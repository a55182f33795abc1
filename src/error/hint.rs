//! Hints at what the user can do about an error.

use super::{Error, ErrorKind, Step, Timeout};

const NOBODY_LISTENS: &str =
    "Nobody answers there: check that the server is running, and its host and port.";

pub(crate) const PROXY_UNREACHABLE: &str = "Check that the proxy is running, and its host and \
     port. If the program sets no proxy, it is that of the environment.";

const NOT_TRUSTED: &str = "Check that the server speaks https, and that its certificate is for the \
     URL's host. If a private authority signed it, give the authority's certificate to \
     `ClientBuilder::root_certificates`, or set SSL_CERT_FILE to its path.";

pub(crate) const CLOSED_DURING_TLS: &str =
    "Check that the server is running, and that it speaks https there.";

pub(crate) const UNKNOWN_HOST: &str = "Check the spelling of the host, and the network.";

const PROXY: &str = "The proxy refused, not the server behind it.";

const LOG_IN: &str = "Log in with a browser, and give its cookie to the client: as the session \
                      (`ClientBuilder::session`), or in a Cookie header (`ClientBuilder::header`). \
                      h2oGPTe takes an API key instead (`ClientBuilder::api_key`).";

pub(crate) const NOT_H2OGPTE: &str = "With an API key the client talks to h2oGPTe. If this is \
     another server, leave the key out.";

pub(crate) const PASSWORD_REQUIRED: &str = "The server asks for a user and password: put them into \
     the URL, as user:password@ before the host.";

pub(crate) const WRONG_PASSWORD: &str =
    "The server refuses this user and password. Percent-encode special characters in the URL.";

pub(crate) const API_KEY: &str =
    "Check the API key (`ClientBuilder::api_key`), and that the URL is that of an h2oGPTe server.";

pub(crate) const SLOW_START: &str =
    "A busy server may take longer to begin: allow it with `ClientBuilder::idle_timeout`.";

pub(crate) const SERVER_BEHIND_PROXY: &str =
    "The proxy could not reach the server: check the server's host and port.";

pub(crate) const PROXY_FORBIDS: &str =
    "The proxy does not allow connections to this host and port.";

pub(crate) const PROXY_PASSWORD: &str = "The proxy asks for a user and password: put them into its \
     URL, as user:password@ before the host.";

pub(crate) const CLIENT_CERTIFICATE: &str =
    "The server may require a client certificate, which this crate does not support.";

const USE_HTTPS: &str = "The server speaks https there: use an https:// URL.";

const OTHER_MODEL: &str = "Choose one of these models.";

pub(crate) const MODEL_IN_DOUBT: &str = "The server may not have this model, and its list of \
     models cannot be read: choose a model that it has.";

pub(crate) const OTHER_VERSION: &str =
    "This crate supports chat-ui up to 0.6, and from 0.8 to the newest.";

pub(crate) const ACCEPT_IN_BROWSER: &str =
    "Accept the server's terms once in a browser that is logged in with this session.";

pub(crate) const COOKIE_NAME: &str =
    "Set the name of the session's cookie with `ClientBuilder::cookie_name`.";

const CONVERSATION_GONE: &str =
    "The server no longer has this conversation, or not for this session: begin a new one.";

const MOVED: &str = "Use the URL that the server redirects to.";

const LATER: &str = "The server is busy or not ready: try again later.";

const OTHER_ADDRESS: &str = "The server expects another address: use the URL that its users see in \
     a browser, or set its scheme and host as an Origin header with `ClientBuilder::header`.";

const REFUSED_BEFORE: &str = "Something in front of the server refuses, a firewall for example.";

const NO_SUCH_PATH: &str = "There is no chat at this path: check the base path of the URL.";

const NO_CHAT: &str = "This does not look like a chat-ui server. For h2oGPTe, give an API key \
     (`ClientBuilder::api_key`).";

impl Error {
    /// A hint at what to do about the error, if this crate has one.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// if let Err(error) = client.ask("Why is the sky blue?") {
    ///     eprintln!("{error}");
    ///     if let Some(hint) = error.hint() {
    ///         eprintln!("{hint}");
    ///     }
    /// }
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.or_else(|| match self.0.kind {
            ErrorKind::LoginRequired => Some(LOG_IN),
            _ if self.is_busy() => Some(LATER),
            ErrorKind::Connect => Some(NOBODY_LISTENS),
            ErrorKind::Tls => Some(NOT_TRUSTED),
            ErrorKind::Timeout(Timeout::Idle) if self.0.step == Step::SendMessage => {
                Some(SLOW_START)
            }
            ErrorKind::Proxy => Some(PROXY),
            ErrorKind::UnknownModel => Some(OTHER_MODEL),
            ErrorKind::Status => self.hint_for_status(),
            ErrorKind::Protocol if self.is_first_contact() => Some(NO_CHAT),
            _ => None,
        })
    }

    fn hint_for_status(&self) -> Option<&'static str> {
        match self.0.status? {
            300..=399 => Some(MOVED),
            400 if self.server_message_contains("plain HTTP request was sent to HTTPS port") => {
                Some(USE_HTTPS)
            }
            403 if self.server_message_contains("Invalid referer") => Some(OTHER_ADDRESS),
            404 if self.is_about_a_conversation() => Some(CONVERSATION_GONE),
            status if self.is_first_contact() => self.hint_for_first_refusal(status),
            _ => None,
        }
    }

    fn is_about_a_conversation(&self) -> bool {
        matches!(self.0.step, Step::SendMessage | Step::ReadHistory | Step::RenameConversation)
    }

    /// Returns whether this can be the first request, which shows whether the server is a chat-ui.
    fn is_first_contact(&self) -> bool {
        matches!(self.0.step, Step::PostSettings | Step::ListModels)
    }

    fn hint_for_first_refusal(&self, status: u16) -> Option<&'static str> {
        match status {
            403 => Some(REFUSED_BEFORE),
            404 => Some(NO_SUCH_PATH),
            // chat-ui's response to a path that it does not know.
            405 if self.server_message_contains("welcome modal") => Some(NO_SUCH_PATH),
            400..=499 | 501 => Some(NO_CHAT),
            _ => None,
        }
    }

    fn server_message_contains(&self, words: &str) -> bool {
        self.server_message().is_some_and(|message| message.contains(words))
    }

    /// Sets a more specific hint than that of the kind.
    pub(crate) fn with_hint(mut self, hint: &'static str) -> Error {
        self.0.hint = Some(hint);
        self
    }
}
