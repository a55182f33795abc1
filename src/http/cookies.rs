//! The cookies of one server: the session, those that the user gave, and a few that a gateway may
//! set, a load balancer for example. They are sent to this server only.

use ureq::http::HeaderMap;
use ureq::http::header::SET_COOKIE;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::session::Session;

/// Limits of the cookies that a server sets, in number and bytes: one `Cookie` header of at most 4
/// KiB has to hold them, an invented session of up to `MAX_COOKIE`, and small cookies of the user.
const MAX_COOKIES: usize = 16;
const MAX_COOKIE: usize = 1024;
const MAX_TOTAL: usize = 2 * 1024;

/// Beginnings of the names of gateways' cookies, which are never the session.
const GATEWAY_COOKIES: [&str; 4] = ["__", "_cf", "AWSALB", "JSESSIONID"];

/// The cookie that carries a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionCookie {
    pub(crate) name: String,
    pub(crate) session: Session,
}

impl SessionCookie {
    /// Fails if the server has another name for the cookie than the client, and so did not
    /// recognise a session that the user has given.
    pub(crate) fn check_name(&self, clients: &SessionCookie, step: Step) -> Result<()> {
        if self.name == clients.name || clients.session.is_invented() {
            return Ok(());
        }
        let message =
            format!("the server's session cookie is named {:?}, not {:?}", self.name, clients.name);
        Err(Error::new(ErrorKind::InvalidInput, step, message).with_hint(hint::COOKIE_NAME))
    }
}

pub(super) struct CookieJar {
    session: SessionCookie,
    /// Cookies of the user, as in a `Cookie` header.
    users: String,
    /// Cookies that the server has set, as names and values.
    others: Vec<(String, String)>,
    /// The first successful POST, which names the session cookie, has been seen.
    is_named: bool,
}

impl CookieJar {
    pub(super) fn new(session: SessionCookie, users: String) -> CookieJar {
        CookieJar { session, users, others: Vec::new(), is_named: false }
    }

    /// The client's present session.
    pub(super) fn session(&self) -> &SessionCookie {
        &self.session
    }

    /// The `Cookie` header of a request in this session.
    pub(super) fn header(&self, session: &SessionCookie) -> String {
        let mut header = format!("{}={}", session.name, session.session.as_str());
        let others = self.others.iter().filter(|(name, _)| !self.is_users(name));
        for (name, value) in others {
            for part in ["; ", name, "=", value] {
                header.push_str(part);
            }
        }
        if !self.users.is_empty() {
            header.push_str("; ");
            header.push_str(&self.users);
        }
        header
    }

    fn is_users(&self, name: &str) -> bool {
        let mut cookies = self.users.split(';').map(str::trim);
        cookies.any(|cookie| cookie.split_once('=').is_some_and(|(theirs, _)| theirs == name))
    }

    /// Stores the cookies of a response, and returns the session after it.
    ///
    /// A new session becomes the client's, unless the client's has changed meanwhile or was given
    /// by the user: a server that refuses a session sets the cookie of a new one.
    pub(super) fn store(
        &mut self,
        headers: &HeaderMap,
        used: &SessionCookie,
        is_successful_post: bool,
    ) -> SessionCookie {
        let is_invented = used.session.is_invented();
        let cookies = headers.get_all(SET_COOKIE).iter();
        let cookies = cookies.filter_map(|cookie| Cookie::parse(cookie.to_str().ok()?));
        let (mut sessions, mut others) = (Vec::new(), Vec::new());
        for cookie in cookies {
            // Another thread may have found out the name since the request was sent.
            if cookie.name == used.name || cookie.name == self.session.name {
                sessions.push(cookie);
            } else {
                others.push(cookie);
            }
        }
        let mut session = used.clone();
        let valid = sessions.iter().rfind(|cookie| cookie.is_session());
        if let Some(cookie) = valid.filter(|_| is_invented) {
            let name = cookie.name.to_owned();
            session = SessionCookie { name, session: Session::replaced_by(cookie.value) };
        }
        if is_successful_post && !self.is_named {
            // In a given session each response is checked: the wrong name is an error every time.
            self.is_named = is_invented || !sessions.is_empty();
            if let Some(cookie) = self.other_session(&others).filter(|_| sessions.is_empty()) {
                session = SessionCookie {
                    name: cookie.name.to_owned(),
                    session: Session::replaced_by(cookie.value),
                };
            }
        }
        if self.session == *used && is_invented {
            self.session.clone_from(&session);
        }
        for cookie in others.iter().filter(|cookie| cookie.name != session.name) {
            self.keep(cookie);
        }
        // It may have been kept before it was known to be the session.
        self.others.retain(|(name, _)| *name != session.name);
        session
    }

    /// The session under another name than expected: the only unknown cookie, with a UUID.
    fn other_session<'a>(&self, others: &'a [Cookie]) -> Option<&'a Cookie<'a>> {
        let is_gateways = |name: &str| GATEWAY_COOKIES.iter().any(|it| name.starts_with(it));
        let mut candidates = others.iter().filter(|cookie| {
            let is_known = self.is_users(cookie.name) || is_gateways(cookie.name);
            !is_known && cookie.value.len() == 36 && Uuid::parse_str(cookie.value).is_ok()
        });
        candidates.next().filter(|_| candidates.next().is_none())
    }

    fn keep(&mut self, cookie: &Cookie) {
        self.others.retain(|(name, _)| name != cookie.name);
        let lengths = self.others.iter().map(|(name, value)| name.len() + value.len());
        let room = MAX_TOTAL - lengths.sum::<usize>();
        let fits = cookie.length() <= MAX_COOKIE.min(room) && self.others.len() < MAX_COOKIES;
        if fits && !cookie.has_expired {
            let (name, value) = (cookie.name.to_owned(), cookie.value.to_owned());
            self.others.push((name, value));
        }
    }
}

/// A `Set-Cookie` header, as far as it matters here.
struct Cookie<'a> {
    name: &'a str,
    value: &'a str,
    has_expired: bool,
}

impl<'a> Cookie<'a> {
    fn length(&self) -> usize {
        self.name.len() + self.value.len()
    }

    fn is_session(&self) -> bool {
        self.length() <= MAX_COOKIE && is_cookie_value(self.value)
    }

    fn parse(header: &'a str) -> Option<Cookie<'a>> {
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let is_printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if name.is_empty() || !name.bytes().chain(value.bytes()).all(is_printable) {
            return None;
        }
        let max_age = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
            .and_then(|(_, seconds)| seconds.trim().parse::<i64>().ok());
        Some(Cookie {
            name,
            value,
            has_expired: value.is_empty() || max_age.is_some_and(|seconds| seconds <= 0),
        })
    }
}

/// Splits a `Cookie` header into the values of one cookie and the other cookies.
pub(crate) fn split_off<'a>(header: &'a str, name: &str) -> (Vec<&'a str>, String) {
    let parts = header.split(';').map(str::trim);
    let value = |part: &'a str| part.split_once('=').filter(|(theirs, _)| *theirs == name);
    let values = parts.clone().filter_map(value).map(|(_, value)| value);
    let others: Vec<_> = parts.filter(|part| value(part).is_none()).collect();
    (values.collect(), others.join("; "))
}

/// Validates the value of a cookie.
pub(crate) fn validate_session(session: &Session) -> Result<()> {
    if !is_cookie_value(session.as_str()) {
        return Err(Error::invalid_input(
            "invalid session: it must not be empty, nor contain spaces, quotes, commas, \
             semicolons, backslashes or control characters",
        ));
    }
    Ok(())
}

fn is_cookie_value(value: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    !value.is_empty() && value.bytes().all(is_allowed)
}

/// Validates the name of a cookie: a token of HTTP.
pub(crate) fn validate_cookie_name(name: &str) -> Result<()> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Error::invalid_input(format!("invalid cookie name {name:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "355e7139-70b3-4094-9cb5-46d8589a2ecb";
    const OTHER_UUID: &str = "4cc55550-fcf7-4e9e-aa5a-3db62a2bd387";

    fn cookie(name: &str, session: Session) -> SessionCookie {
        let name = name.to_owned();
        SessionCookie { name, session }
    }

    fn invented() -> SessionCookie {
        cookie("hf-chat", Session::replaced_by("s"))
    }

    fn jar(session: SessionCookie, users: &str) -> CookieJar {
        CookieJar::new(session, users.to_owned())
    }

    /// The session after a response that sets these cookies.
    fn store(jar: &mut CookieJar, set: &[&str], is_successful_post: bool) -> SessionCookie {
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, cookie.parse().unwrap());
        }
        let used = jar.session().clone();
        jar.store(&headers, &used, is_successful_post)
    }

    fn sent_after(set: &[&str], users: &str) -> String {
        let mut jar = jar(invented(), users);
        store(&mut jar, set, false);
        jar.header(jar.session())
    }

    #[test]
    fn cookies_are_kept_replaced_and_removed() {
        let cases: [(&[&str], &str); 7] = [
            (&["lb=1; Path=/; HttpOnly", "a=b"], "hf-chat=s; lb=1; a=b"),
            (&["lb=1", "lb=2"], "hf-chat=s; lb=2"),
            (&["lb=1", "lb=; Max-Age=0"], "hf-chat=s"),
            (&["lb=1", "lb=; Path=/"], "hf-chat=s"),
            (&["lb=1; max-age=9"], "hf-chat=s; lb=1"),
            (&["lb=1; Max-Age=-1"], "hf-chat=s"),
            (&["=x", "novalue", "hf-chat=t; Secure"], "hf-chat=t"),
        ];
        for (set, sent) in cases {
            assert_eq!(sent_after(set, ""), sent, "{set:?}");
        }
    }

    #[test]
    fn the_users_cookies_take_precedence() {
        let sent = sent_after(&["lb=1", "login=theirs"], "login=mine");
        assert_eq!(sent, "hf-chat=s; lb=1; login=mine");
    }

    #[test]
    fn cookies_of_a_server_are_bounded() {
        let many: Vec<String> = (0..1000).map(|n| format!("c{n}={n}")).collect();
        let long = format!("long={}", "x".repeat(MAX_COOKIE));
        let many = many.iter().map(String::as_str).chain([long.as_str()]);
        let mut bounded = jar(invented(), "");
        store(&mut bounded, &many.collect::<Vec<_>>(), false);
        assert_eq!(bounded.others.len(), MAX_COOKIES);
        assert!(bounded.header(bounded.session()).len() < 400);

        let many: Vec<String> = (0..16).map(|n| format!("c{n}={}", "x".repeat(1000))).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut bounded = jar(invented(), "");
        store(&mut bounded, &many, false);
        assert_eq!(bounded.others.len(), 2);
        assert!(bounded.header(bounded.session()).len() < MAX_TOTAL + 100);
    }

    #[test]
    fn a_late_response_keeps_the_new_session() {
        let mut jar = jar(invented(), "");
        store(&mut jar, &["hf-chat=new"], false);
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "hf-chat=s".parse().unwrap());
        let session = jar.store(&headers, &invented(), false);
        assert_eq!(session.session.as_str(), "s");
        assert_eq!(jar.session().session.as_str(), "new");
    }

    #[test]
    fn a_session_that_is_too_long_is_ignored() {
        for (length, is_taken) in [(1000, true), (1100, false)] {
            let session = "x".repeat(length);
            let mut jar = jar(invented(), "");
            store(&mut jar, &[&format!("hf-chat={session}")], false);
            let current = jar.session().session.as_str();
            assert_eq!(current == session, is_taken, "{length}");
        }
    }

    #[test]
    fn a_given_session_is_never_replaced() {
        let given = cookie("hf-chat", Session::from("mine"));
        let mut jar = jar(given.clone(), "");
        for is_successful_post in [false, true] {
            let strangers = format!("hf-chat={UUID}");
            let session = store(&mut jar, &[&strangers], is_successful_post);
            assert_eq!((&session, jar.session()), (&given, &given));
        }
    }

    #[test]
    fn the_first_successful_post_names_the_session_cookie() {
        let set = |name: &str| format!("{name}={UUID}; Path=/");
        let uuid = cookie("my-chat", Session::from(UUID));
        let second = format!("second={OTHER_UUID}");
        // The cookies that are set, and whether they name the session's.
        let cases: [(&[&str], bool); 8] = [
            (&[&set("my-chat")], true),
            (&["lb=1", &set("my-chat")], true),
            (&[&format!("__cf_bm={OTHER_UUID}"), &set("my-chat")], true),
            (&[&set("my-chat"), &second], false),
            (&["hf-chat=s", &set("my-chat")], false),
            (&[&set("AWSALB")], false),
            (&["my-chat=7"], false),
            (&[], false),
        ];
        for (set, is_named) in cases {
            let mut other = jar(invented(), "");
            assert_eq!(store(&mut other, set, false), invented(), "{set:?}");
            let session = store(&mut other, set, true);
            assert_eq!(session == uuid, is_named, "{set:?}");
            assert_eq!(*other.session(), session, "{set:?}");
            // Its value is not sent twice, and later responses name no other.
            let header = other.header(&session);
            assert_eq!(header.matches(UUID).count(), usize::from(set.join("").contains(UUID)));
            store(&mut other, &[&second], true);
            assert_eq!(*other.session(), session, "{set:?}");
        }
    }

    #[test]
    fn requests_that_overlap_each_learn_the_name_of_the_session_cookie() {
        let mut jar = jar(invented(), "");
        let mut store = |uuid: &str| {
            let mut headers = HeaderMap::new();
            headers.append(SET_COOKIE, format!("my-chat={uuid}").parse().unwrap());
            // Both were sent before the name was known.
            jar.store(&headers, &invented(), true)
        };
        for uuid in [UUID, OTHER_UUID] {
            assert_eq!(store(uuid), cookie("my-chat", Session::from(uuid)));
        }
        assert_eq!(*jar.session(), cookie("my-chat", Session::from(UUID)));
        let other = cookie("my-chat", Session::from(OTHER_UUID));
        assert_eq!(jar.header(&other), format!("my-chat={OTHER_UUID}"));
    }

    #[test]
    fn a_cookie_that_the_user_gave_is_not_the_session() {
        let mut jar = jar(invented(), "my-chat=7");
        store(&mut jar, &[&format!("my-chat={UUID}")], true);
        assert_eq!(*jar.session(), invented());
    }

    #[test]
    fn a_given_session_reports_another_cookie_name() {
        let given = cookie("hf-chat", Session::from("mine"));
        let mut jar = jar(given.clone(), "");
        let session = store(&mut jar, &[&format!("my-chat={UUID}")], true);
        assert_eq!(session, cookie("my-chat", Session::from(UUID)));
        assert_eq!(*jar.session(), given);
        let error = session.check_name(&given, Step::PostSettings).unwrap_err();
        assert!(error.to_string().contains(r#""my-chat", not "hf-chat""#));
    }
}
