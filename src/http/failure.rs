//! What went wrong on the way to a server or back, told as an error of this crate.

use std::io;

use ureq::http::StatusCode;

use super::transport::{Missed, Unconnected};
use super::values::read_json;
use super::watch::Cut;
use crate::error::{Error, ErrorKind, Limit, Step, hint};

/// How much of the server's words is kept, in characters.
const LONGEST_WORDS: usize = 500;

impl Cut {
    pub(crate) fn at(self, step: Step) -> Error {
        let kind = match self {
            Cut::Stopped => ErrorKind::Stopped,
            Cut::Reached(limit, _) => ErrorKind::Timeout(limit),
        };
        Error::new(kind, step, self.to_string())
    }

    /// The error of a call that was under way when it was cut.
    fn during(self, step: Step) -> Error {
        match self {
            // Nothing was sent.
            Cut::Reached(Limit::Connect, _) => self.at(step),
            _ => self.at(step).with_response_lost(),
        }
    }
}

/// An exchange that brought no answer.
pub(super) fn unanswered(step: Step, error: ureq::Error) -> Error {
    let error = match error {
        ureq::Error::Other(inner) => match inner.downcast::<Cut>() {
            Ok(cut) => return cut.during(step),
            Err(inner) => match inner.downcast::<Unconnected>() {
                Ok(unconnected) => return of_connecting(step, *unconnected),
                Err(inner) => ureq::Error::Other(inner),
            },
        },
        other => other,
    };
    let (kind, message) = match &error {
        ureq::Error::Io(cause) if is_end(cause) => (
            ErrorKind::Truncated,
            "the server closed the connection".to_owned(),
        ),
        ureq::Error::Io(cause) => (
            ErrorKind::Truncated,
            format!("the connection broke: {cause}"),
        ),
        error if is_large_head(error) => (
            ErrorKind::TooLarge,
            "the head of the answer is too large".to_owned(),
        ),
        _ => (
            ErrorKind::Protocol,
            format!("the answer is no HTTP: {error}"),
        ),
    };
    Error::new(kind, step, one_line(&message)).with_source(cause_of(error))
}

/// No connection, so nothing was sent.
fn of_connecting(step: Step, unconnected: Unconnected) -> Error {
    let Unconnected {
        cause,
        proxy,
        missed,
    } = unconnected;
    let proxied = proxy.is_some();
    let proxy = proxy.map_or_else(String::new, |proxy| format!(" to the proxy {proxy}"));
    let usual = match missed {
        Missed::Security => ErrorKind::Tls,
        Missed::Lookup | Missed::Connection => ErrorKind::Connect,
    };
    let (kind, why) = match &cause {
        ureq::Error::ConnectProxyFailed(why) => (ErrorKind::Proxy, proxys_words(why)),
        ureq::Error::HostNotFound => (usual, "the host is unknown".to_owned()),
        // Nothing has been sent: the server may only be about to start, or to end.
        ureq::Error::Io(cause) if missed == Missed::Security && is_end(cause) => {
            (ErrorKind::Connect, "the server closed it".to_owned())
        }
        ureq::Error::Io(cause) => (usual, cause.to_string()),
        cause => (usual, cause.to_string()),
    };
    let message = match missed {
        Missed::Security => format!("no secure connection: {why}"),
        _ => format!("no connection{proxy}: {why}"),
    };
    // A certificate's names are the server's words, too.
    let error = Error::new(kind, step, one_line(&message)).with_source(cause_of(cause));
    match (kind, missed) {
        (ErrorKind::Connect, Missed::Lookup) => error.with_hint(hint::NO_HOST),
        (ErrorKind::Connect, Missed::Security) => error.with_hint(hint::CLOSED),
        (ErrorKind::Connect, Missed::Connection) if proxied => error.with_hint(hint::DEAD_PROXY),
        _ => error,
    }
}

/// ureq tells a refusal as `proxy server responded 407/407`.
fn proxys_words(why: &str) -> String {
    let status = why.strip_prefix("proxy server responded ");
    let status = status.and_then(|status| status.split('/').next()?.parse::<StatusCode>().ok());
    match status {
        Some(status) => format!("it answered {}", told(status)),
        None => why.to_owned(),
    }
}

/// A status with its name.
fn told(status: StatusCode) -> String {
    let name = status.canonical_reason().unwrap_or("no known status");
    format!("{} ({name})", status.as_u16())
}

fn is_end(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

fn is_large_head(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::LargeResponseHeader(..) => true,
        // More headers than ureq takes; it does not let the errors of its parser be named.
        ureq::Error::Protocol(cause) => format!("{cause:?}") == "HttpParseTooManyHeaders",
        _ => false,
    }
}

/// `ureq::Error` keeps its cause to itself.
fn cause_of(error: ureq::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        ureq::Error::Io(cause) => cause.into(),
        other => other.into(),
    }
}

/// A body that could not be read to its end.
pub(crate) fn unreadable(step: Step, error: io::Error) -> Error {
    unanswered(step, ureq::Error::from(error))
}

/// An answer whose status is not a success, with a remark of ours and the server's own words, either perhaps
/// empty.
pub(super) fn refused(
    step: Step,
    status: StatusCode,
    kind: ErrorKind,
    remark: &str,
    words: String,
) -> Error {
    let mut message = format!("the server answered {}", told(status));
    if !remark.is_empty() {
        message = format!("{message}, {remark}");
    }
    if !words.is_empty() {
        message = format!("{message}: {words}");
    }
    Error::new(kind, step, message)
        .with_status(status.as_u16())
        .with_server_message(words)
}

/// What the server says in the body of a refusal, in whichever of its forms.
pub(crate) fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let said = match read_json(body) {
        Ok(json) => [&json["error"], &json["error"]["message"], &json["message"]]
            .into_iter()
            .find_map(|words| words.as_str().map(str::to_owned)),
        Err(_) if text.trim_start().starts_with('<') => Some(text_of_page(&text)),
        Err(_) => None,
    };
    one_line(&said.unwrap_or_else(|| text.into_owned()))
}

/// The title of an HTML page; of one without, its text.
fn text_of_page(page: &str) -> String {
    if let Some(title) = title_of(page) {
        return title.to_owned();
    }
    let pieces = page.split('<');
    let text = pieces.map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    text.collect::<Vec<_>>().join(" ")
}

/// The beginning of foreign bytes, made fit for an error message.
pub(crate) fn glimpse(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(4 * LONGEST_WORDS)];
    one_line(&String::from_utf8_lossy(beginning))
}

/// The title of an HTML page.
pub(crate) fn title_of(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag + lower[tag..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(&page[start..end])
}

/// Foreign words made fit for an error message: one line, nothing a terminal would obey or a reader be fooled by,
/// not too long.
pub(crate) fn one_line(text: &str) -> String {
    let is_unfit = |c: char| c.is_control() || is_unseen(c);
    let fit = |c| if is_unfit(c) { ' ' } else { c };
    let text: String = text.chars().map(fit).collect();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Whether a character is not seen itself, but turns the direction of others, ends their line, or hides among them.
/// The joiners (U+200C, U+200D) are needed in scripts and emoji.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
    ) || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_found_in_each_of_its_forms() {
        let forms = [
            (r#"{"error":"a b"}"#, "a b"),
            (r#"{"message":"a b"}"#, "a b"),
            (r#"{"type":"error","error":{"message":"a b"}}"#, "a b"),
            (r#"{"error":"a b","error_type":"overloaded"}"#, "a b"),
            ("a\r\n b\u{1b}[31m", "a b [31m"),
            ("<html><body>bad gateway</body></html>", "bad gateway"),
            ("<html><title>a b</title><style>x</style></html>", "a b"),
            ("<HTML><TITLE lang=en>a b</TITLE></HTML>", "a b"),
            (r#"{"detail":1}"#, r#"{"detail":1}"#),
            ("", ""),
        ];
        for (body, said) in forms {
            assert_eq!(words(body.as_bytes()), said);
        }
    }

    #[test]
    fn what_a_reader_would_not_see_is_taken_out_of_foreign_words() {
        let lines = "a\u{b}b\u{c}c\u{85}d\u{2028}e\u{2029}f";
        let turned = "a\u{202e}b\u{2066}c\u{2069}d\u{61c}e\u{200f}f";
        let hidden = "a\u{200b}b\u{feff}c\u{2060}d\u{e0041}e\u{fff9}f";
        for words in [lines, turned, hidden] {
            assert_eq!(one_line(words), "a b c d e f", "{words:?}");
        }
        let seen = "שלום نص 👨\u{200d}👩\u{200d}👧 क्\u{200d}ष";
        assert_eq!(one_line(seen), seen);
    }

    #[test]
    fn what_the_layers_below_say_is_on_one_line_too() {
        let broken = io::Error::other("for a,\n\u{202e}b");
        let error = unanswered(Step::Settings, broken.into());
        assert!(error.to_string().ends_with(": for a, b"), "{error}");
        let other_name = io::Error::new(io::ErrorKind::InvalidData, "only for a\u{1b}[2J\nb");
        let error = of_connecting(
            Step::Settings,
            Unconnected {
                cause: other_name.into(),
                proxy: None,
                missed: Missed::Security,
            },
        );
        assert!(error.to_string().ends_with(": only for a [2J b"), "{error}");
    }

    #[test]
    fn endless_words_are_cut() {
        assert_eq!(
            words("é".repeat(9000).as_bytes()).chars().count(),
            LONGEST_WORDS + 1
        );
    }
}
