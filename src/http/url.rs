//! The URL of a server, validated before anything is sent.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::host::Host;
use crate::error::{Error, Result};

/// The URL below which all paths of a server are, without a slash at its end.
#[derive(Clone)]
pub(crate) struct BaseUrl {
    /// Without user and password.
    url: String,
    /// The user and password, as an `Authorization` header.
    authorization: Option<String>,
    /// The length of scheme, host and port in `url`.
    origin_length: usize,
    host: Host,
}

impl BaseUrl {
    pub(crate) fn parse(url: &str) -> Result<BaseUrl> {
        let url = url.trim();
        let shown = without_user(url);
        let invalid = |why: &str| Error::invalid_input(format!("invalid URL {shown:?}: {why}"));

        let uri: Uri =
            url.parse().map_err(|error| invalid("it cannot be parsed").with_source(error))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(invalid("it must begin with http:// or https:// and a host"));
        };
        match scheme {
            "http" => {}
            "https" if cfg!(feature = "rustls") => {}
            "https" => return Err(invalid("https needs this crate's feature `rustls`")),
            _ => return Err(invalid("it must begin with http:// or https://")),
        }
        if authority.host().is_empty() {
            return Err(invalid("it has no host"));
        }
        if has_bad_port(authority.as_str()) {
            return Err(invalid("the port must be a number from 1 to 65535"));
        }
        if url.contains(['?', '#']) {
            return Err(invalid("it must not have a query or a fragment"));
        }
        if uri.path().contains('@') {
            return Err(invalid(
                "there is an @ after the host; a user or password with / ? or # belongs into an \
                 Authorization header",
            ));
        }
        let path = uri.path().trim_end_matches('/');
        let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
        let base = format!("{scheme}://{host_and_port}{path}");
        // `http::Uri` accepts brackets before the `@`, and of those only one may be left.
        if base.parse::<Uri>().is_err() {
            return Err(invalid("its host is invalid"));
        }
        Ok(BaseUrl {
            url: base,
            authorization: authority.as_str().rsplit_once('@').map(|(user, _)| basic(user)),
            origin_length: scheme.len() + "://".len() + host_and_port.len(),
            host: Host::new(authority.host()),
        })
    }

    /// The URL of a path, for a request.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The user and password of the URL, as an `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Returns whether a location in a response to `path` is the server's first page, whatever its
    /// host: proxies rewrite that.
    pub(crate) fn is_first_page(&self, path: &str, location: &str) -> bool {
        let end = location.find(['?', '#']).unwrap_or(location.len());
        let target = self.resolve(path, &location[..end]);
        path_segments(&target).eq(path_segments(&self.url))
    }

    /// The `Referer` of requests, without which chat-ui refuses forms.
    pub(crate) fn referer(&self) -> String {
        format!("{}/", self.url)
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        &self.url[..self.origin_length]
    }

    /// The base URL that a redirect of `path` suggests. If that is this one, the whole target.
    pub(crate) fn redirected(&self, path: &str, location: &str) -> String {
        let end = location.find(['?', '#']).unwrap_or(location.len());
        let target = self.resolve(path, &location[..end]);
        let base = target.trim_end_matches('/');
        match base.strip_suffix(path).unwrap_or(base) {
            base if base == self.url => target,
            base => base.to_owned(),
        }
    }

    /// Resolves the location of a response to `path`, without user and password.
    fn resolve(&self, path: &str, location: &str) -> String {
        let (scheme, _) = self.url.split_once("://").unwrap_or_default();
        let whole = match location.split_once("://") {
            Some((other, _)) if is_scheme(other) => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => return self.origin().to_owned() + location,
            _ => {
                let from = self.url.clone() + path;
                let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
                return format!("{folder}/{location}");
            }
        };
        match whole.parse::<Uri>() {
            Ok(uri) => shown(&uri).unwrap_or_else(|| without_user(&whole)),
            Err(_) => without_user(&whole),
        }
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }
}

/// `Display` and `Debug` hide user and password.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Percent-decoded Basic authentication.
fn basic(user_and_password: &str) -> String {
    let decode = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let (user, password) = user_and_password.split_once(':').unwrap_or((user_and_password, ""));
    let decoded = [decode(user), decode(password)].join(&b':');
    format!("Basic {}", BASE64_STANDARD.encode(decoded))
}

/// The segments of a URL's path, without those that lead nowhere else.
fn path_segments(url: &str) -> impl Iterator<Item = &str> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let segments = after_scheme.split('/').skip(1);
    segments.filter(|segment| !matches!(*segment, "" | "."))
}

/// A valid URL without user and password.
fn shown(uri: &Uri) -> Option<String> {
    let host_and_port = uri.authority()?.as_str().rsplit('@').next()?;
    Some(format!("{}://{host_and_port}{}", uri.scheme_str()?, uri.path()))
}

/// A URL without user and password, valid or not. In an invalid one, everything before the last
/// `@` may be a password.
pub(super) fn without_user(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), url),
    };
    let shown = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{shown}")
}

fn is_scheme(text: &str) -> bool {
    let of_a_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(of_a_scheme)
}

/// Returns whether the port is out of range: `http::Uri` accepts any digits, and then reports no
/// port.
pub(super) fn has_bad_port(authority: &str) -> bool {
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let after_host = host_and_port.rsplit(']').next().unwrap_or_default();
    match after_host.split_once(':') {
        Some((_, port)) => !port.parse::<u16>().is_ok_and(|port| port > 0),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_url_keeps_its_base_path_and_hides_its_password() {
        let cases = [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/"),
            ("http://127.0.0.1:3000///", "http://127.0.0.1:3000/"),
            (" http://host/chat/ ", "http://host/chat/"),
            ("http://user:secret@host:81/chat", "http://host:81/chat/"),
            ("http://[::1]:3000", "http://[::1]:3000/"),
        ];
        for (url, referer) in cases {
            let base = BaseUrl::parse(url).unwrap();
            assert_eq!(base.referer(), referer);
            assert!(!format!("{base} {base:?}").contains("secret"));
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_its_password() {
        let bad = [
            "",
            "host",
            "host:3000",
            "/chat",
            "ftp://user:secret@host",
            "http://",
            "http://user:secret@",
            "http://user:secret@host:65536",
            "http://user:secret@host:0",
            "http://host:",
            "http://host:x",
            "http://user:secret@host/?a=b",
            "http://user:secret@host/#a",
            "http://user:secret@ho st",
            "http://user:sec/ret@host",
            "http://user:secret/x@host",
            "http://secret:1234/ret@host",
            "http://user:secret#x@host",
            "http://user:secret?x@host",
            "http://user:secret@x@ho st",
            "http://user:[secret@]host",
            "http:/user:secret@host",
            "http:///user:secret@host",
            "https//user:secret@host",
            "user:secret@host",
            "user:secret://x@host",
        ];
        for url in bad {
            let error = BaseUrl::parse(url).expect_err(url);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret") && !shown.contains("ret@"), "{error}");
        }
    }

    #[test]
    fn the_first_page_is_recognised_however_its_path_is_written() {
        for base in ["http://h", "http://h/a", "http://h/a/.", "http://h/./././a//b"] {
            let url = BaseUrl::parse(base).unwrap();
            for back in ["./", ".", base, &format!("{base}/./?x#y")] {
                assert!(url.is_first_page("/settings", back), "{base} {back}");
            }
            for other in ["/b", "a", &format!("{base}/b"), "../"] {
                assert!(!url.is_first_page("/settings", other), "{base} {other}");
            }
        }
    }

    #[test]
    fn a_redirect_is_named_as_the_base_url_that_it_asks_for() {
        let cases = [
            ("http://h:1", "https://h/settings", "https://h"),
            ("http://h:1", "https://h:2/chat/settings?x=1#y", "https://h:2/chat"),
            ("http://h:1", "https://user:secret@h/settings", "https://h"),
            ("http://h:1", "//other/settings", "http://other"),
            ("http://h:1", "/chat/settings", "http://h:1/chat"),
            ("http://h:1", "/chat/settings/", "http://h:1/chat"),
            ("http://h:1/chat", "/settings", "http://h:1"),
            ("http://h:1/chat", "home", "http://h:1/chat/home"),
            ("http://user:secret@h:1", "/ui/settings", "http://h:1/ui"),
            ("http://h:1", "https://h/", "https://h"),
            // Only the slash is new.
            ("http://h:1", "/settings/", "http://h:1/settings/"),
            ("http://h:1", "/settings", "http://h:1/settings"),
            ("http://h:1", "", "http://h:1/"),
        ];
        for (base, location, right) in cases {
            let base = BaseUrl::parse(base).unwrap();
            assert_eq!(base.redirected("/settings", location), right, "{base} {location}");
        }
    }
}
