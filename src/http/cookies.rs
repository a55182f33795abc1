//! The cookies of one server: the session, and what stands between it and the client may set besides, a load
//! balancer for example. Few and bounded; they go nowhere else.

use ureq::http::HeaderMap;
use ureq::http::header::SET_COOKIE;

use super::session::Session;

/// How many cookies are kept besides the session, how long one may be, and all of them, in bytes: they have to fit
/// into the head of a request, together with what the user puts there.
const MOST: usize = 16;
const LONGEST: usize = 1024;
const ROOM: usize = 4 * 1024;

pub(super) struct Jar {
    session_name: String,
    session: Session,
    others: Vec<(String, String)>,
}

impl Jar {
    pub(super) fn new(session_name: String, session: Session) -> Jar {
        Jar {
            session_name,
            session,
            others: Vec::new(),
        }
    }

    /// The session of the client now.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The header for a request under this session, with the cookies that the user set himself.
    pub(super) fn header(&self, session: &Session, users: Option<&str>) -> String {
        let mut header = format!("{}={}", self.session_name, session.as_str());
        let users = users.unwrap_or_default();
        let set_by_user = |name: &str| named(users).any(|(theirs, _)| theirs == name);
        let others = self.others.iter().filter(|(name, _)| !set_by_user(name));
        for (name, value) in others {
            for part in ["; ", name, "=", value] {
                header.push_str(part);
            }
        }
        if !users.is_empty() {
            header.push_str("; ");
            header.push_str(users);
        }
        header
    }

    /// Takes what an answer sets; returns the session after it. That becomes the client's too, unless the
    /// client's has changed meanwhile.
    pub(super) fn take(&mut self, headers: &HeaderMap, used: &Session) -> Session {
        let mut session = used.clone();
        for cookie in headers.get_all(SET_COOKIE) {
            let Some(cookie) = cookie.to_str().ok().and_then(Cookie::parse) else {
                continue;
            };
            if cookie.name == self.session_name {
                let new = Session::from(cookie.value);
                if new.judge().is_ok() && cookie.length() <= LONGEST {
                    session = new;
                }
            } else {
                self.keep(&cookie);
            }
        }
        if self.session == *used {
            self.session.clone_from(&session);
        }
        session
    }

    fn keep(&mut self, cookie: &Cookie) {
        self.others.retain(|(name, _)| name != cookie.name);
        let lengths = self
            .others
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let room = ROOM - lengths.sum::<usize>();
        let fits = cookie.length() <= LONGEST.min(room) && self.others.len() < MOST;
        if fits && !cookie.has_expired {
            let (name, value) = (cookie.name.to_owned(), cookie.value.to_owned());
            self.others.push((name, value));
        }
    }
}

/// What a `Set-Cookie` says, as far as it matters here.
struct Cookie<'a> {
    name: &'a str,
    value: &'a str,
    has_expired: bool,
}

impl<'a> Cookie<'a> {
    fn length(&self) -> usize {
        self.name.len() + self.value.len()
    }

    fn parse(header: &'a str) -> Option<Cookie<'a>> {
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if name.is_empty() || !name.bytes().chain(value.bytes()).all(printable) {
            return None;
        }
        let max_age = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
            .and_then(|(_, seconds)| seconds.trim().parse::<i64>().ok());
        let has_expired = value.is_empty() || max_age.is_some_and(|seconds| seconds <= 0);
        Some(Cookie {
            name,
            value,
            has_expired,
        })
    }
}

/// The values of one cookie in a `Cookie` header, and the header without them.
pub(crate) fn taken_out<'a>(header: &'a str, name: &str) -> (Vec<&'a str>, String) {
    let parts = header.split(';').map(str::trim);
    let value = |part: &'a str| part.split_once('=').filter(|(theirs, _)| *theirs == name);
    let values = parts.clone().filter_map(value).map(|(_, value)| value);
    let others: Vec<_> = parts.filter(|part| value(part).is_none()).collect();
    (values.collect(), others.join("; "))
}

/// The cookies of a `Cookie` header.
fn named(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header
        .split(';')
        .filter_map(|cookie| cookie.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar_after(set: &[&str]) -> Jar {
        let mut jar = Jar::new("hf-chat".to_owned(), Session::from("s"));
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, cookie.parse().unwrap());
        }
        let used = jar.session().clone();
        jar.take(&headers, &used);
        jar
    }

    #[test]
    fn other_cookies_are_kept_replaced_and_given_up() {
        let cases: [(&[&str], &str); 7] = [
            (&["lb=1; Path=/; HttpOnly", "a=b"], "hf-chat=s; lb=1; a=b"),
            (&["lb=1", "lb=2"], "hf-chat=s; lb=2"),
            (&["lb=1", "lb=; Max-Age=0"], "hf-chat=s"),
            (
                &["lb=1", "lb=; expires=Thu, 01 Jan 1970 00:00:00 GMT"],
                "hf-chat=s",
            ),
            (&["lb=1; max-age=9"], "hf-chat=s; lb=1"),
            (&["lb=1; Max-Age=-1"], "hf-chat=s"),
            (&["=x", "novalue", "hf-chat=t; Secure"], "hf-chat=t"),
        ];
        for (set, sent) in cases {
            let jar = jar_after(set);
            assert_eq!(jar.header(jar.session(), None), sent, "{set:?}");
        }
    }

    #[test]
    fn what_the_user_set_himself_goes_before_what_the_server_set() {
        let jar = jar_after(&["lb=1", "login=theirs"]);
        let header = jar.header(jar.session(), Some("login=mine"));
        assert_eq!(header, "hf-chat=s; lb=1; login=mine");
    }

    #[test]
    fn a_server_cannot_make_the_cookies_grow_without_end() {
        let many: Vec<String> = (0..1000).map(|n| format!("c{n}={n}")).collect();
        let long = format!("long={}", "x".repeat(LONGEST));
        let set: Vec<&str> = many
            .iter()
            .map(String::as_str)
            .chain([long.as_str()])
            .collect();
        let jar = jar_after(&set);
        assert_eq!(jar.others.len(), MOST);
        assert!(jar.header(jar.session(), None).len() < 400);

        let long = |name: &str| format!("{name}={}", "x".repeat(1000));
        let many: Vec<String> = (0..16).map(|n| long(&format!("c{n}"))).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let jar = jar_after(&many);
        assert_eq!(jar.others.len(), 4);
        assert!(jar.header(jar.session(), None).len() < ROOM + 100);
    }

    #[test]
    fn a_late_answer_does_not_bring_an_old_session_back() {
        let mut jar = jar_after(&["hf-chat=new"]);
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "hf-chat=s".parse().unwrap());
        assert_eq!(jar.take(&headers, &Session::from("s")).as_str(), "s");
        assert_eq!(jar.session().as_str(), "new");
    }

    #[test]
    fn a_session_of_any_length_is_not_taken() {
        for (length, taken) in [(1000, true), (1100, false)] {
            let session = "x".repeat(length);
            let jar = jar_after(&[&format!("hf-chat={session}")]);
            assert_eq!(jar.session().as_str() == session, taken, "{length}");
        }
    }
}
