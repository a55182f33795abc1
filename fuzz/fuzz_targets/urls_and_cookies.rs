//! Lines: a server's URL, the location of a redirect, the user's cookies, and then a `Set-Cookie`
//! header each.

#![no_main]

use std::collections::HashSet;

use h2o_chat::Client;
use h2o_chat::fuzzing::http::{Jar, Url};
use http::{HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "s3cr3t";

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|&byte| byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (url, location, users) = (text(), text(), text());
    check_url(&url, &location);
    let set_cookies: Vec<_> = lines.filter_map(|it| HeaderValue::from_bytes(it).ok()).collect();
    check_cookies(&users, &set_cookies);
});

fn check_url(text: &str, location: &str) {
    let _ = Client::new(text).and_then(|client| client.resume(location));
    if let Ok(url) = Url::parse(text) {
        let shown = url.shown();
        assert!(shown.starts_with("http://"));
        assert!(!shown.contains('@'));
        // A part of it is a path that requests go to, and all of it is sent in headers.
        let joined: Uri = url.join("/settings").parse().unwrap();
        assert!(joined.path().ends_with("/settings") && joined.query().is_none());
        for header in url.headers() {
            assert!(HeaderValue::from_str(&header).is_ok(), "{header:?}");
        }
        let again = Url::parse(&shown).unwrap();
        assert_eq!((again.shown(), again.headers().len()), (shown.clone(), 2));
        let _ = url.redirected("/settings", location);
        for back in [format!("{shown}/"), shown.clone(), "./".to_owned()] {
            assert!(url.redirected("/settings", &back).0, "{back:?}");
        }
        for scheme in ["http:", "https:", ""] {
            let secret = format!("{scheme}//u:{SECRET}@{location}");
            hides_secret(&url.redirected("/settings", &secret).1, location);
        }
    }
    // A password is shown neither of a good URL nor of a bad one.
    let secret = with_secret(text);
    match Url::parse(&secret) {
        Ok(url) => hides_secret(&url.shown(), text),
        Err(error) => hides_secret(&error.to_string(), text),
    }
}

/// The URL with a password: before the last `@`, or where one belongs.
fn with_secret(url: &str) -> String {
    match (url.rsplit_once('@'), url.split_once("://")) {
        (Some((before, after)), _) => format!("{before}{SECRET}@{after}"),
        (None, Some((scheme, rest))) => format!("{scheme}://u:{SECRET}@{rest}"),
        (None, None) => format!("http://u:{SECRET}@{url}"),
    }
}

fn hides_secret(shown: &str, url: &str) {
    assert!(url.contains(SECRET) || !shown.contains(SECRET), "{shown}");
}

fn check_cookies(users: &str, set_cookies: &[HeaderValue]) {
    let url = "http://127.0.0.1";
    let is_valid = Client::builder(url).header("Cookie", users).build().is_ok();
    let users = if is_valid && !users.contains("hf-chat") { users.trim() } else { "" };
    for session in [None, Some("given")] {
        let mut jar = Jar::new(session, users);
        let before = jar.header();
        for (at, set_cookie) in set_cookies.iter().enumerate() {
            jar.store(std::slice::from_ref(set_cookie), at % 2 == 1);
            let header = jar.header();
            assert!(HeaderValue::from_str(&header).is_ok(), "{header:?}");
            assert!(header.len() <= before.len() + 2 * 1024 + 4 * 1024 + 16 * 3, "{header:?}");
            let (name, value) = jar.session();
            if session.is_some() {
                assert_eq!((&*name, &*value), ("hf-chat", "given"));
            }
            assert!(header.starts_with(&format!("{name}={value}")));
            let servers = header.strip_suffix(users).unwrap();
            let names = servers.split("; ").filter_map(|it| it.split_once('='));
            let names: Vec<_> = names.map(|(name, _)| name).collect();
            let different: HashSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len(), "{header:?}");
        }
    }
}
