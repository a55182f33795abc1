//! JSON from a server, read into `serde_json` values of bounded size.

use serde_json::Value;

/// The most objects and lists in one document: each takes some 700 bytes of memory, even an empty
/// one.
const MAX_CONTAINERS: usize = 50_000;

/// Why JSON was not read.
pub(crate) enum JsonError {
    TooManyContainers,
    Malformed(serde_json::Error),
}

pub(crate) fn read_json(json: &[u8]) -> Result<Value, JsonError> {
    if count_containers(json) > MAX_CONTAINERS {
        return Err(JsonError::TooManyContainers);
    }
    let refused = |_| serde_json::from_slice(&without_lone_surrogates(json));
    serde_json::from_slice(json).or_else(refused).map_err(JsonError::Malformed)
}

/// Replaces each escaped half of a surrogate pair that lacks its other half by the escape of
/// U+FFFD: some servers cut text into UTF-16 units, and `serde_json` refuses such a document.
fn without_lone_surrogates(json: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        replaced.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let second = rest.get(6..).and_then(escaped_surrogate);
        let length = match (escaped_surrogate(rest), second) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(_), _) => {
                replaced.extend_from_slice(b"\\ufffd");
                rest = &rest[6..];
                continue;
            }
            // Another escape, of a backslash perhaps.
            (None, _) => rest.len().min(2),
        };
        replaced.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// The surrogate whose escape begins here.
fn escaped_surrogate(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    matches!(unit, 0xD800..=0xDFFF).then_some(unit)
}

/// Counts the objects and lists that begin in a document.
fn count_containers(json: &[u8]) -> usize {
    let (mut count, mut in_string) = (0, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_not_counted() {
        for (json, count) in [
            ("", 0),
            ("7", 0),
            ("{}", 1),
            (r#"[{"a":[]},{"[{":"{\"["}]"#, 4),
            (r#"["\\",[]]"#, 2),
            (r#"["\\\"[",{}]"#, 2),
        ] {
            assert_eq!(count_containers(json.as_bytes()), count, "{json}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_read_as_a_replacement_character() {
        for (json, text) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\uDC4B x""#, "\u{fffd} x"),
            (r#""a\ud83d\ud83d\udc4b\udc4bz""#, "a\u{fffd}👋\u{fffd}z"),
            (r#""\udc4b\ud83d\n\\ud83d""#, "\u{fffd}\u{fffd}\n\\ud83d"),
            (r#""\ud83d\\\ud83d\"""#, "\u{fffd}\\\u{fffd}\""),
            (r#""\ud83d\u0041\uffff""#, "\u{fffd}A\u{ffff}"),
            ("\"é\\udbff😀\\udc00\"", "é\u{fffd}😀\u{fffd}"),
        ] {
            let value = read_json(json.as_bytes()).ok();
            assert_eq!(value, Some(Value::from(text)), "{json}");
        }
        let document = read_json(br#"{"\ud83d":[{"title":"\ud83d Hi"}]}"#).ok().unwrap();
        assert_eq!(document["\u{fffd}"][0]["title"], "\u{fffd} Hi");
        for bad in [r#""\ud83""#, r#""\ud83d"#, r#""\"#, r#""\ud83d\x""#, "\"\\ud83d\u{1}\""] {
            assert!(read_json(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read_json(b"\"\\ud83d\xff\"").is_err());
    }

    #[test]
    fn a_document_of_too_many_containers_is_refused() {
        let list = |length: usize| format!("[{}0]", "{},".repeat(length));
        assert!(read_json(list(MAX_CONTAINERS - 1).as_bytes()).is_ok());
        let more = read_json(list(MAX_CONTAINERS).as_bytes());
        assert!(matches!(more, Err(JsonError::TooManyContainers)));
        assert!(matches!(read_json(b"{"), Err(JsonError::Malformed(_))));
    }
}
