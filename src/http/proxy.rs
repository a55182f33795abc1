//! Which proxy the connections go through, judged before any is made.

use std::env;
use std::fmt;

use ureq::ProxyProtocol;

use super::host::Host;
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
/// let client = Client::builder("http://127.0.0.1:3000")
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
    /// The proxy that the environment names, if it does: the first of `ALL_PROXY`, `HTTPS_PROXY` and `HTTP_PROXY` that is
    /// set and not empty, in capitals or small letters, as [`url`](Proxy::url) takes it. What cannot be used is an error, and
    /// no reason to go without. This is the default.
    ///
    /// Never used for a server on this machine (`localhost`, a loopback or an unspecified address), nor for the hosts in
    /// `NO_PROXY`: names or addresses with commas between them, a name standing for what is below it too, `*` for all.
    /// Networks such as `10.0.0.0/8` are not understood there, and a port is passed over.
    #[must_use]
    pub fn env() -> Proxy {
        Proxy(Choice::Env)
    }

    /// No proxy, whatever the environment says.
    #[must_use]
    pub fn none() -> Proxy {
        Proxy(Choice::None)
    }

    /// This proxy: `http://host:port`, `socks5://host:port`, `socks5h://host:port` or a bare `host:port`,
    /// which is `http`; with `user:password@` before the host if it asks for them, percent-encoded where a URL needs that.
    /// With `socks5` names are looked up here, with the others by the proxy.
    pub fn url(url: impl Into<String>) -> Proxy {
        Proxy(Choice::Url(url.into()))
    }

    /// The proxy as ureq knows it, for a server of this address.
    pub(crate) fn judged(&self, server: &BaseUrl) -> Result<Option<ureq::Proxy>> {
        match &self.0 {
            Choice::None => Ok(None),
            Choice::Env => of_environment(server.host()),
            Choice::Url(url) => proxy_of(url, "").map(Some),
        }
    }
}

/// Where the environment names a proxy, and the servers that are spoken to without.
const VARIABLES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy that the environment has for this host.
fn of_environment(host: &Host) -> Result<Option<ureq::Proxy>> {
    let exceptions = variable(&EXCEPTIONS);
    let is_exception = exceptions.is_some_and(|(_, hosts)| host.is_one_of(&hosts));
    if host.is_on_this_machine() || is_exception {
        return Ok(None);
    }
    variable(&VARIABLES)
        .map(|(name, url)| proxy_of(&url, &format!(" in {name}")))
        .transpose()
}

/// The first of these variables that is not empty.
fn variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    let set = |name: &'static str| Some((name, env::var_os(name)?.to_string_lossy().into_owned()));
    names
        .iter()
        .filter_map(|name| set(name))
        .find(|(_, value)| !value.trim().is_empty())
}

/// The proxy of this URL, which was found there.
fn proxy_of(url: &str, place: &str) -> Result<ureq::Proxy> {
    let shown = format!("{:?}{place}", without_user(url));
    let unfit = |why| Error::input(format!("{shown} is no proxy's URL{why}"));
    if has_more_than_a_host(url.trim()) {
        return Err(unfit(": it has more than a host and a port"));
    }
    let proxy = ureq::Proxy::new(url.trim());
    let proxy = proxy.map_err(|error| unfit("").with_source(error))?;
    judge(proxy, &shown)
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
