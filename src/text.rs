//! Text from elsewhere, made fit for an error message: on one line, bounded, without control
//! characters.

use serde_json::Value;

use crate::json::read_json;

/// The longest text of a server that an error repeats, in characters.
const MAX_CHARS: usize = 500;

/// The message in the body of an error response, whichever shape it has.
pub(crate) fn error_message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let message = match read_json(body) {
        Ok(json) => ErrorReport::new(&json).words,
        Err(_) if text.trim_start().starts_with('<') => Some(html_text(&text)),
        Err(_) => None,
    };
    one_line(&message.unwrap_or_else(|| text.into_owned()))
}

/// The content of an error in JSON, in any of the shapes that servers, gateways and shims use.
#[derive(Default)]
pub(crate) struct ErrorReport {
    pub(crate) words: Option<String>,
    /// The HTTP status that it names.
    pub(crate) status: Option<u16>,
    pub(crate) is_overloaded: bool,
}

impl ErrorReport {
    pub(crate) fn new(error: &Value) -> ErrorReport {
        let mut report = ErrorReport::default();
        report.add(error);
        let words = report.words.as_deref().unwrap_or_default();
        report.is_overloaded |= is_overloaded(words);
        report
    }

    /// What is found first counts, and the innermost object knows best.
    fn add(&mut self, error: &Value) {
        match error {
            Value::String(words) if self.words.is_none() && !words.trim().is_empty() => {
                self.words = Some(words.clone());
            }
            Value::Array(errors) => errors.iter().for_each(|error| self.add(error)),
            Value::Object(_) => {
                for name in ["error", "errors", "message", "detail", "msg"] {
                    self.add(&error[name]);
                }
                for name in ["statusCode", "status_code", "status", "code"] {
                    self.status = self.status.or_else(|| error_status(&error[name]));
                }
                for name in ["type", "error_type", "code"] {
                    self.is_overloaded |= error[name].as_str().is_some_and(is_overloaded);
                }
            }
            _ => {}
        }
    }
}

fn is_overloaded(words: &str) -> bool {
    words.to_ascii_lowercase().contains("overloaded")
}

fn error_status(code: &Value) -> Option<u16> {
    let status = match code {
        Value::String(code) => code.trim().parse().ok(),
        code => code.as_u64().and_then(|code| u16::try_from(code).ok()),
    };
    status.filter(|status| matches!(status, 400..=599))
}

/// The title of an HTML page or, if it has none, its text.
fn html_text(page: &str) -> String {
    if let Some(title) = html_title(page) {
        return title.to_owned();
    }
    let pieces = page.split('<');
    let text = pieces.map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    text.collect::<Vec<_>>().join(" ")
}

/// The title of an HTML page.
pub(crate) fn html_title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag + lower[tag..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(&page[start..end])
}

/// The beginning of bytes that could not be understood.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(4 * MAX_CHARS)];
    one_line(&String::from_utf8_lossy(beginning))
}

/// Text on one line of at most 500 characters. White space, control characters and invisible
/// characters become single spaces.
pub(crate) fn one_line(text: &str) -> String {
    let is_unfit = |c: char| c.is_control() || is_invisible(c);
    let fit = |c| if is_unfit(c) { ' ' } else { c };
    let text: String = text.chars().map(fit).collect();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Characters that end a line, reverse its direction, or hide. The joiners U+200C and U+200D are
/// not among them: scripts and emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_in_every_shape_of_an_error_body() {
        let bodies = [
            (r#"{"error":"a b"}"#, "a b"),
            (r#"{"message":"a b"}"#, "a b"),
            (r#"{"type":"error","error":{"message":"a b"}}"#, "a b"),
            (r#"{"error":"a b","error_type":"overloaded"}"#, "a b"),
            (r#"{"error":["a b","c"]}"#, "a b"),
            (r#"{"errors":[{"code":7},{"message":"a b"}]}"#, "a b"),
            (r#"{"detail":[{"loc":["x"],"msg":"a b","type":"y"}]}"#, "a b"),
            (r#"{"error":" ","message":{"error":{"detail":"a b"}}}"#, "a b"),
            (r#"{"error":true,"message":"a b"}"#, "a b"),
            (r#"{"error":"a \ud83d"}"#, "a \u{fffd}"),
            ("a\r\n b\u{1b}[31m", "a b [31m"),
            ("<html><body>bad gateway</body></html>", "bad gateway"),
            ("<html><title>a b</title><style>x</style></html>", "a b"),
            ("<HTML><TITLE lang=en>a b</TITLE></HTML>", "a b"),
            (r#"{"detail":1}"#, r#"{"detail":1}"#),
            ("", ""),
        ];
        for (body, message) in bodies {
            assert_eq!(error_message(body.as_bytes()), message);
        }
    }

    #[test]
    fn invisible_characters_become_spaces() {
        let lines = "a\u{b}b\u{c}c\u{85}d\u{2028}e\u{2029}f";
        let reversed = "a\u{202e}b\u{2066}c\u{2069}d\u{61c}e\u{200f}f";
        let hidden = "a\u{200b}b\u{feff}c\u{2060}d\u{e0041}e\u{fff9}f";
        for text in [lines, reversed, hidden] {
            assert_eq!(one_line(text), "a b c d e f", "{text:?}");
        }
        let visible = "שלום نص 👨\u{200d}👩\u{200d}👧 क्\u{200d}ष";
        assert_eq!(one_line(visible), visible);
    }

    #[test]
    fn a_long_message_is_shortened() {
        let message = error_message("é".repeat(9000).as_bytes());
        assert_eq!(message.chars().count(), MAX_CHARS + 1);
    }
}
