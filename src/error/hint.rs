//! What can be done about an error, in plain sentences.

use super::{Error, ErrorKind, Step};

const NOBODY: &str =
    "Nobody answers there: is the server running, and are its host and port right?";

pub(crate) const DEAD_PROXY: &str = "Nobody answers at the proxy: is it running, and are its host and port right? It is the one that \
                        was named or, if none was, the environment's.";

const NOT_SECURE: &str = "The system does not trust this server's certificate, or the server does not speak https. A \
                          certificate of one's own can be given to `ClientBuilder::authorities`, or be named in \
                          SSL_CERT_FILE.";

pub(crate) const CLOSED: &str = "The server closes connections that are to be secure: does it speak https there, and is it running?";

pub(crate) const NO_HOST: &str =
    "There is no host of this name: is it spelled right, and is there a network?";

const PROXY: &str = "The proxy is the matter, not the server behind it.";

const LOG_IN: &str = "Log in with a browser, and give its cookie to the client as the session (`ClientBuilder::session`) or a Cookie header \
     (`ClientBuilder::header`).";

const OTHER_MODEL: &str = "Name one of these as the model to ask.";

pub(crate) const MODEL_IN_DOUBT: &str = "A classic chat-ui server says this of a model that it does not have, and its models are \
                              not to be seen: name one of them as the model to ask.";

pub(crate) const OTHER_VERSION: &str =
    "Servers of chat-ui up to 0.6, and from 0.8 on, are spoken to.";

const MOVED: &str = "The server is to be found under another URL: give that to the client.";

const LATER: &str = "The server is busy, or not ready: try again later.";

const OTHER_ADDRESS: &str =
    "The server knows itself under another address: use the one that its users see in a browser.";

const REFUSED_BEFORE: &str = "Something before the server refuses, a firewall for example.";

const NO_SUCH_PATH: &str =
    "There is no chat at this path: a base path may be missing in the URL, or be too much.";

const NO_CHAT: &str = "This does not look like a chat-ui server.";

impl Error {
    /// What can be done about it, in a plain sentence, where there is something to say.
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
            _ if self.is_busy() => Some(LATER),
            ErrorKind::Connect => Some(NOBODY),
            ErrorKind::Tls => Some(NOT_SECURE),
            ErrorKind::Proxy => Some(PROXY),
            ErrorKind::Login => Some(LOG_IN),
            ErrorKind::UnknownModel => Some(OTHER_MODEL),
            ErrorKind::Status => self.hint_at_status(),
            ErrorKind::Protocol if self.0.step == Step::Settings => Some(NO_CHAT),
            _ => None,
        })
    }

    fn hint_at_status(&self) -> Option<&'static str> {
        match self.0.status? {
            300..=399 => Some(MOVED),
            status if self.0.step == Step::Settings => self.hint_at_first_refusal(status),
            _ => None,
        }
    }

    /// The settings are what a server is asked first, and show whether it is one to talk to.
    fn hint_at_first_refusal(&self, status: u16) -> Option<&'static str> {
        match status {
            403 if self.says("Invalid referer") => Some(OTHER_ADDRESS),
            403 => Some(REFUSED_BEFORE),
            404 => Some(NO_SUCH_PATH),
            // What a chat-ui server says to a path that it does not know.
            405 if self.says("welcome modal") => Some(NO_SUCH_PATH),
            400..=499 | 501 => Some(NO_CHAT),
            _ => None,
        }
    }

    fn says(&self, words: &str) -> bool {
        self.server_message()
            .is_some_and(|said| said.contains(words))
    }

    /// With one that is better than what its kind has.
    pub(crate) fn with_hint(mut self, hint: &'static str) -> Error {
        self.0.hint = Some(hint);
        self
    }
}
