//! Halves of surrogate pairs in text. Servers that cut text into UTF-16 units send them.
//!
//! Text that may hold halves is in WTF-8: UTF-8 with three bytes for each half.

/// Text in which each half that lacks the other one is U+FFFD. `None` if it is not WTF-8.
pub(super) fn into_string(text: Vec<u8>) -> Option<String> {
    String::from_utf8(text).map_or_else(|error| replace_halves(error.as_bytes()), Some)
}

fn replace_halves(mut wtf8: &[u8]) -> Option<String> {
    let mut text = Vec::with_capacity(wtf8.len());
    while let Some(&byte) = wtf8.first() {
        let Some(half) = half(wtf8) else {
            text.push(byte);
            wtf8 = &wtf8[1..];
            continue;
        };
        let next = wtf8.get(3..).and_then(self::half);
        let decoded = char::decode_utf16([half].into_iter().chain(next)).next();
        let (char, length) = match decoded {
            Some(Ok(char)) => (char, 6),
            _ => (char::REPLACEMENT_CHARACTER, 3),
        };
        text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        wtf8 = &wtf8[length..];
    }
    String::from_utf8(text).ok()
}

/// The half that text begins with, as its UTF-16 unit.
fn half(wtf8: &[u8]) -> Option<u16> {
    match *wtf8 {
        [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ..] => {
            Some(0xD000 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F))
        }
        _ => None,
    }
}

/// Joins two halves that come in two tokens.
#[derive(Default)]
pub(super) struct Halves {
    /// The first half, at the end of the last token.
    held: Option<[u8; 3]>,
}

impl Halves {
    /// The text of the next token, but for a first half at its end, which is held until the next
    /// one. `None` if it is not WTF-8.
    #[inline]
    pub(super) fn join(&mut self, text: Vec<u8>) -> Option<String> {
        if self.held.is_some() && !text.is_empty() {
            return self.join_halves(&text);
        }
        String::from_utf8(text).map_or_else(|error| self.join_halves(error.as_bytes()), Some)
    }

    fn join_halves(&mut self, text: &[u8]) -> Option<String> {
        let first = self.held.take();
        let mut text = [first.as_ref().map_or(&[][..], |half| half), text].concat();
        let is_first = |end: &[u8; 3]| matches!(half(end), Some(0xD800..=0xDBFF));
        self.held = text.last_chunk().copied().filter(is_first);
        text.truncate(text.len() - self.held.map_or(0, |half| half.len()));
        into_string(text)
    }

    /// The replacement of a half whose other half will not come.
    pub(super) fn give_up(&mut self) -> Option<&'static str> {
        self.held.take().map(|_| "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"\xED\xA0\xBD";
    const SECOND: &[u8] = b"\xED\xB1\x8B";

    #[test]
    fn surrogate_halves_are_joined_or_replaced() {
        type Case<'a> = (&'a [&'a [&'a [u8]]], &'a [&'a str], bool);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            (&[&[b"a"], &[b"b"]], &["a", "b"], false),
            (&[&[b"a ", FIRST], &[SECOND, b" b"]], &["a ", "👋 b"], false),
            (&[&[FIRST], &[], &[SECOND]], &["", "", "👋"], false),
            (
                &[&[FIRST], &[SECOND, FIRST], &[SECOND]],
                &["", "👋", "👋"],
                false,
            ),
            (
                &[&[FIRST], &[FIRST], &[SECOND]],
                &["", "\u{fffd}", "👋"],
                false,
            ),
            (&[&[FIRST], &[b"a"]], &["", "\u{fffd}a"], false),
            (&[&[SECOND], &[b"a"]], &["\u{fffd}", "a"], false),
            (&[&[FIRST, b"a", SECOND]], &["\u{fffd}a\u{fffd}"], false),
            (&[&[b"a", FIRST]], &["a"], true),
        ];
        for (tokens, texts, is_held) in cases {
            let mut halves = Halves::default();
            let joined: Vec<_> =
                tokens.iter().map(|token| halves.join(token.concat()).unwrap()).collect();
            assert_eq!(joined, *texts);
            assert_eq!(halves.give_up().is_some(), *is_held, "{texts:?}");
        }
    }

    #[test]
    fn invalid_bytes_are_refused() {
        for bytes in [b"\xff".as_slice(), b"\xED\xA0", b"\xED\xA0\xBD\xff", b"\xF0\x9F"] {
            assert_eq!(into_string(bytes.to_vec()), None);
            assert_eq!(Halves::default().join(bytes.to_vec()), None);
        }
    }
}
