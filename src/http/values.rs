//! JSON that a server sends, read into values if these are not too many to hold.

use serde_json::Value;

/// How many objects and lists there may be: each takes some 700 bytes, however little is in it.
const MOST: usize = 50_000;

/// Why there is no value.
pub(crate) enum Unread {
    TooMany,
    Malformed(serde_json::Error),
}

pub(crate) fn read_json(json: &[u8]) -> Result<Value, Unread> {
    if containers(json) > MOST {
        return Err(Unread::TooMany);
    }
    serde_json::from_slice(json).map_err(Unread::Malformed)
}

/// How many objects and lists begin in it.
fn containers(json: &[u8]) -> usize {
    let (mut count, mut in_text) = (0, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_text => drop(bytes.next()),
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_a_text_are_no_objects_and_lists() {
        for (json, count) in [
            ("", 0),
            ("7", 0),
            ("{}", 1),
            (r#"[{"a":[]},{"[{":"{\"["}]"#, 4),
            (r#"["\\",[]]"#, 2),
            (r#"["\\\"[",{}]"#, 2),
        ] {
            assert_eq!(containers(json.as_bytes()), count, "{json}");
        }
    }

    #[test]
    fn there_may_be_many_but_not_too_many() {
        let list = |length: usize| format!("[{}0]", "{},".repeat(length));
        assert!(read_json(list(MOST - 1).as_bytes()).is_ok());
        let more = read_json(list(MOST).as_bytes());
        assert!(matches!(more, Err(Unread::TooMany)));
        assert!(matches!(read_json(b"{"), Err(Unread::Malformed(_))));
    }
}
