//! The proxy of a client.

use std::env;
use std::fmt;

use ureq::ProxyProtocol;

use super::url::{BaseUrl, has_bad_port, without_user};
use crate::error::{Error, Result};

/// The proxy of a client.
///
/// Every connection is a tunnel through it, also to `http://` servers. `Debug` hides its user and
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
    /// Uses the proxy of the environment, if there is one. This is the default.
    ///
    /// That is `HTTPS_PROXY` for an `https://` server, `HTTP_PROXY` for an `http://` one, or else
    /// `ALL_PROXY`, each in upper or lower case. It has the form that [`url`](Proxy::url) takes;
    /// anything else is an error. In a CGI program (where `REQUEST_METHOD` is set) `HTTP_PROXY` is
    /// ignored, because clients can set it.
    ///
    /// It is not used for a server on this machine (`localhost`, a loopback or unspecified
    /// address), nor for the hosts in `NO_PROXY`: names or addresses, separated by commas. A name
    /// includes its subdomains, and `*` is every host. Networks such as `10.0.0.0/8` are not
    /// supported, and ports are ignored.
    #[must_use]
    pub fn env() -> Proxy {
        Proxy(Choice::Env)
    }

    /// Uses no proxy, whatever the environment says.
    #[must_use]
    pub fn none() -> Proxy {
        Proxy(Choice::None)
    }

    /// Uses this proxy: `http://host:port`, `socks5://host:port`, `socks5h://host:port`, or
    /// `host:port` for http. A `user:password@` before the host is percent-decoded.
    ///
    /// With `socks5`, names are looked up here, with the others by the proxy.
    pub fn url(url: impl Into<String>) -> Proxy {
        Proxy(Choice::Url(url.into()))
    }

    /// The proxy for this server, as ureq takes it.
    pub(crate) fn resolve(&self, server: &BaseUrl) -> Result<Option<ureq::Proxy>> {
        match &self.0 {
            Choice::None => Ok(None),
            Choice::Env => from_env(server),
            Choice::Url(url) => parse(url, "").map(Some),
        }
    }
}

const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy of the environment for this server.
fn from_env(server: &BaseUrl) -> Result<Option<ureq::Proxy>> {
    let host = server.host();
    let exceptions = variable(&NO_PROXY_VARIABLES);
    let is_exception = exceptions.is_some_and(|(_, hosts)| host.is_one_of(&hosts));
    if host.is_on_this_machine() || is_exception {
        return Ok(None);
    }
    let of_scheme: &[&str] = if server.is_https() {
        &["HTTPS_PROXY", "https_proxy"]
    } else if env::var_os("REQUEST_METHOD").is_some() {
        // In a CGI program, clients can set HTTP_PROXY with a `Proxy` header.
        &["http_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy"]
    };
    variable(of_scheme)
        .or_else(|| variable(&["ALL_PROXY", "all_proxy"]))
        .map(|(name, url)| parse(&url, &format!(" in {name}")))
        .transpose()
}

/// The first of these variables that is not empty.
fn variable<'a>(names: &[&'a str]) -> Option<(&'a str, String)> {
    let get = |name: &'a str| Some((name, env::var_os(name)?.to_string_lossy().into_owned()));
    names.iter().filter_map(|name| get(name)).find(|(_, value)| !value.trim().is_empty())
}

/// Parses a proxy's URL, and refuses what ureq would accept but use otherwise.
fn parse(url: &str, place: &str) -> Result<ureq::Proxy> {
    let shown = format!("{:?}{place}", without_user(url));
    let invalid = |why| Error::invalid_input(format!("invalid proxy URL {shown}{why}"));
    if has_more_than_a_host(url.trim()) {
        return Err(invalid(": it has more than a host and a port"));
    }
    let proxy = ureq::Proxy::new(url.trim());
    let proxy = proxy.map_err(|error| invalid("").with_source(error))?;
    let authority = proxy.uri().authority();
    let authority = authority.map_or("", |authority| authority.as_str());
    if proxy.host().is_empty() || has_bad_port(authority) {
        return Err(invalid(": it has no host, or a port that is not a number from 1 to 65535"));
    }
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => Ok(proxy),
        other => Err(Error::invalid_input(format!(
            "unsupported proxy {shown}: it is {other}, not http, socks5 or socks5h"
        ))),
    }
}

/// The proxy as errors show it, without user and password.
pub(super) fn display_name(proxy: &ureq::Proxy) -> String {
    let shown = without_user(&proxy.uri().to_string());
    shown.trim_end_matches('/').to_owned()
}

/// Returns whether there is a path, a query or a fragment. ureq would ignore it, and it may be the
/// rest of a password.
fn has_more_than_a_host(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.strip_suffix('/').unwrap_or(after_scheme);
    authority.contains(['/', '?', '#'])
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
