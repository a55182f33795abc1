//! JSON from a server, read into `serde_json` values as long as these fit into memory.

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
    serde_json::from_slice(json).map_err(JsonError::Malformed)
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
    fn a_document_of_too_many_containers_is_refused() {
        let list = |length: usize| format!("[{}0]", "{},".repeat(length));
        assert!(read_json(list(MAX_CONTAINERS - 1).as_bytes()).is_ok());
        let more = read_json(list(MAX_CONTAINERS).as_bytes());
        assert!(matches!(more, Err(JsonError::TooManyContainers)));
        assert!(matches!(read_json(b"{"), Err(JsonError::Malformed(_))));
    }
}
