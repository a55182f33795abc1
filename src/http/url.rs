//! The address of a server, judged before anything is sent to it.

use std::fmt;

use ureq::http::Uri;

use super::host::Host;
use crate::error::{Error, Result};

/// The address that all paths of a server are below, without a slash at its end.
#[derive(Clone)]
pub(crate) struct BaseUrl {
    /// With the user and password, if any: for the requests, and nothing else.
    whole: String,
    /// Without them.
    shown: String,
    /// Of `shown`, what is before the path.
    origin_length: usize,
    host: Host,
}

impl BaseUrl {
    pub(crate) fn parse(url: &str) -> Result<BaseUrl> {
        let url = url.trim();
        let shown = without_user(url);
        let unfit = |why: &str| Error::input(format!("the URL {shown:?} {why}"));

        let uri: Uri = url
            .parse()
            .map_err(|error| unfit("cannot be read").with_source(error))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(unfit("has to begin with http:// or https:// and a host"));
        };
        match scheme {
            "http" => {}
            "https" if cfg!(feature = "rustls") => {}
            "https" => return Err(unfit("needs the feature `rustls` of this crate")),
            _ => return Err(unfit("has to begin with http:// or https://")),
        }
        if authority.host().is_empty() {
            return Err(unfit("names no host"));
        }
        if has_bad_port(authority.as_str()) {
            return Err(unfit("has a port that is not a number from 1 to 65535"));
        }
        if url.contains(['?', '#']) {
            return Err(unfit("has a query or a fragment, which have no place here"));
        }
        if uri.path().contains('@') {
            return Err(unfit(
                "has an @ after its host; a user or password with / ? or # has its place in an Authorization header",
            ));
        }
        let path = uri.path().trim_end_matches('/');
        let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
        Ok(BaseUrl {
            whole: format!("{scheme}://{authority}{path}"),
            shown: format!("{scheme}://{host_and_port}{path}"),
            origin_length: scheme.len() + "://".len() + host_and_port.len(),
            host: Host::new(authority.host()),
        })
    }

    /// The address of a path, for a request.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.whole)
    }

    /// What a request gives as the page that it comes from; a server takes no form without.
    pub(crate) fn referer(&self) -> String {
        format!("{}/", self.shown)
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        &self.shown[..self.origin_length]
    }

    /// The base URL that a redirect of this path asks for; if that is this one, the whole address.
    pub(crate) fn redirected(&self, path: &str, location: &str) -> String {
        let end = location.find(['?', '#']).unwrap_or(location.len());
        let target = self.resolve(path, &location[..end]);
        let base = target.trim_end_matches('/');
        match base.strip_suffix(path).unwrap_or(base) {
            base if base == self.shown => target,
            base => base.to_owned(),
        }
    }

    /// The address that a location means in an answer to this path, without user and password.
    fn resolve(&self, path: &str, location: &str) -> String {
        let (scheme, _) = self.shown.split_once("://").unwrap_or_default();
        let whole = match location.split_once("://") {
            Some((other, _)) if is_scheme(other) => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => return self.origin().to_owned() + location,
            _ => {
                let from = self.shown.clone() + path;
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
        self.shown.starts_with("https://")
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }
}

/// `Display` and `Debug` leave the user and password out.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A good URL as it may be shown.
fn shown(uri: &Uri) -> Option<String> {
    let host_and_port = uri.authority()?.as_str().rsplit('@').next()?;
    Some(format!(
        "{}://{host_and_port}{}",
        uri.scheme_str()?,
        uri.path()
    ))
}

/// The URL as it may be shown; it need not be a good one. In a bad one a password can be anywhere before an `@`.
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

/// `http::Uri` takes any digits for a port, and a port out of range for none.
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
            "http:/user:secret@host",
            "http:///user:secret@host",
            "https//user:secret@host",
            "user:secret@host",
            "user:secret://x@host",
        ];
        for url in bad {
            let error = BaseUrl::parse(url).expect_err(url);
            assert_eq!(error.kind(), crate::ErrorKind::Input);
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("ret@"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_redirect_is_named_as_the_base_url_that_it_asks_for() {
        let cases = [
            ("http://h:1", "https://h/settings", "https://h"),
            (
                "http://h:1",
                "https://h:2/chat/settings?x=1#y",
                "https://h:2/chat",
            ),
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
            assert_eq!(
                base.redirected("/settings", location),
                right,
                "{base} {location}"
            );
        }
    }
}
