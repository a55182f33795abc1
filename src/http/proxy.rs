//! Which proxy the connections go through, judged before any is made.

use std::fmt;

use ureq::ProxyProtocol;

use super::url::{BaseUrl, has_bad_port, without_user};
use crate::error::{Error, Result};

/// The proxy of a client.
///
/// Every connection goes through it as a tunnel, with `http://` targets too. `Debug` shows no user and no
/// password.
///
/// ```
/// use h2o_chat::{Client, Proxy};
///
/// let client = Client::builder("https://chat.example.org")
///     .proxy(Proxy::url("http://user:password@127.0.0.1:3128"))
///     .build()?;
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone)]
pub struct Proxy(Choice);

#[derive(Clone)]
enum Choice {
    Env,
    None,
    Url(String),
}

impl Proxy {
    /// The proxy that the environment names, if it does: the first usable of `ALL_PROXY`, `HTTPS_PROXY` and
    /// `HTTP_PROXY`, in capitals or small letters, but for hosts in `NO_PROXY`. Never used for a server on
    /// the loopback interface. This is the default.
    ///
    /// ```
    /// # use h2o_chat::Client;
    /// let client = Client::builder("https://chat.example.org")
    ///     .proxy(h2o_chat::Proxy::env())
    ///     .build()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn env() -> Proxy {
        Proxy(Choice::Env)
    }

    /// No proxy, whatever the environment says.
    ///
    /// ```
    /// # use h2o_chat::Client;
    /// let client = Client::builder("https://chat.example.org")
    ///     .proxy(h2o_chat::Proxy::none())
    ///     .build()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    #[must_use]
    pub fn none() -> Proxy {
        Proxy(Choice::None)
    }

    /// This proxy: `http://host:port`, `socks5://host:port`, `socks5h://host:port` or a bare `host:port`,
    /// which is `http`; with `user:password@` before the host if it asks for them. With `socks5` names are
    /// looked up here, with the others by the proxy.
    ///
    /// ```
    /// # use h2o_chat::Client;
    /// let client = Client::builder("https://chat.example.org")
    ///     .proxy(h2o_chat::Proxy::url("socks5h://127.0.0.1:1080"))
    ///     .build()?;
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    pub fn url(url: impl Into<String>) -> Proxy {
        Proxy(Choice::Url(url.into()))
    }

    /// The proxy as ureq knows it, for a server of this address.
    pub(crate) fn judged(&self, server: &BaseUrl) -> Result<Option<ureq::Proxy>> {
        match &self.0 {
            Choice::None => Ok(None),
            Choice::Env if server.is_loopback() => Ok(None),
            Choice::Env => ureq::Proxy::try_from_env()
                .map(|proxy| judge(proxy, "of the environment"))
                .transpose(),
            Choice::Url(url) => {
                let shown = format!("{:?}", without_user(url));
                let unfit = |why| Error::input(format!("{shown} is no proxy's URL{why}"));
                if has_more_than_a_host(url.trim()) {
                    return Err(unfit(": it has more than a host and a port"));
                }
                let proxy = ureq::Proxy::new(url.trim());
                let proxy = proxy.map_err(|error| unfit("").with_source(error))?;
                judge(proxy, &shown).map(Some)
            }
        }
    }
}

/// The proxy as it may be shown.
pub(super) fn name_of(proxy: &ureq::Proxy) -> String {
    let shown = without_user(&proxy.uri().to_string());
    shown.trim_end_matches('/').to_owned()
}

/// A path, a query or a fragment, which ureq would pass over, and a part of a password may have become.
fn has_more_than_a_host(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.strip_suffix('/').unwrap_or(after_scheme);
    authority.contains(['/', '?', '#'])
}

/// Refuses what ureq would take and then do something else with.
fn judge(proxy: ureq::Proxy, shown: &str) -> Result<ureq::Proxy> {
    let authority = proxy
        .uri()
        .authority()
        .map_or("", |authority| authority.as_str());
    if proxy.host().is_empty() || has_bad_port(authority) {
        return Err(Error::input(format!(
            "the proxy {shown} has no host, or a port that is not a number from 1 to 65535"
        )));
    }
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => Ok(proxy),
        other => Err(Error::input(format!(
            "the proxy {shown} speaks {other}; http, socks5 and socks5h are supported"
        ))),
    }
}

impl Default for Proxy {
    fn default() -> Proxy {
        Proxy::env()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::Env => f.write_str("Proxy::env()"),
            Choice::None => f.write_str("Proxy::none()"),
            Choice::Url(url) => write!(f, "Proxy::url({:?})", without_user(url)),
        }
    }
}
