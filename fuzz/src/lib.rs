//! What the targets share: streams that are cut anywhere, and the rules of the formats once more,
//! written as simply as possible to compare with.

pub mod server;

use h2o_chat::fuzzing::decode::{Decoded, Format, decode};
use serde_json::Value;

/// Decodes a reply uncut, byte by byte, and in pieces of any lengths, and checks that this makes no
/// difference.
pub fn decode_in_every_way(format: Format, seed: u8, bytes: &[u8]) -> Decoded {
    let uncut = decode(format, bytes, || usize::MAX);
    assert_eq!(decode(format, bytes, || 1), uncut, "byte by byte");
    let mut state = u32::from(seed);
    let random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % 24
    };
    assert_eq!(decode(format, bytes, random), uncut, "in pieces");
    // Text that comes only in the last event is handed out too.
    if let Some(end) = uncut.end() {
        assert!(end.trim().is_empty() || !uncut.text().is_empty());
    }
    uncut
}

/// The data of the events of an event stream, by the letter of the WHATWG HTML Standard. The last
/// one counts although its end is missing.
pub fn events(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for line in lines(bytes).into_iter().chain([Vec::new()]) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (field, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if line.is_empty() && data.pop().is_some() {
            events.push(std::mem::take(&mut data));
        } else if field == b"data" {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
    }
    events
}

/// Lines that end in LF, CR or both. The last one need not end.
pub fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && bytes[at - 1] == b'\r' => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            byte => lines.last_mut().unwrap().push(byte),
        }
    }
    lines
}

/// Reads JSON as `serde_json` does, but with U+FFFD for each half of a surrogate pair that lacks
/// the other one.
pub fn read_leniently(json: &[u8]) -> Option<Value> {
    let strict = serde_json::from_slice(json).ok();
    strict.or_else(|| serde_json::from_slice(&without_halves(json)).ok())
}

fn without_halves(json: &[u8]) -> Vec<u8> {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        is_hex.then(|| u16::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
    };
    let (mut read, mut at) = (Vec::new(), 0);
    while at < json.len() {
        let (part, length): (&[u8], usize) = match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (&json[at..at + 12], 12),
            (Some(0xD800..=0xDFFF), _) => (b"\\ufffd", 6),
            _ if json[at] == b'\\' => (&json[at..json.len().min(at + 2)], 2),
            _ => (&json[at..=at], 1),
        };
        read.extend_from_slice(part);
        at += length;
    }
    read
}

/// Whether one of these events is an object in which this field is that text. Where an event is no
/// JSON in full, of which only the fields that matter are read, it is enough that it may be so.
pub fn says(events: &[Vec<u8>], field: &str, text: &str) -> bool {
    events.iter().any(|event| match read_leniently(event) {
        Some(json) => json[field] == text,
        None => may_name(event, field),
    })
}

/// Whether bytes contain this name, or an escape that may stand for a part of it.
pub fn may_name(bytes: &[u8], name: &str) -> bool {
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    contains(name.as_bytes()) || contains(b"\\u")
}
