//! The text that was handed out, compared with the whole text that the last event repeats.

/// The length and hash of the text that was handed out, which show whether another text begins
/// with it. The text itself could fill the memory.
///
/// White space at the beginning and end does not count: servers trim it when they repeat the text.
pub(super) struct HandedOut {
    is_empty: bool,
    /// Without the white space at the beginning.
    length: usize,
    /// FNV-1a.
    hash: u64,
}

impl HandedOut {
    pub(super) fn new() -> HandedOut {
        HandedOut { is_empty: true, length: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }

    #[inline]
    pub(super) fn add(&mut self, text: &str) {
        let text = if self.length == 0 { text.trim_start() } else { text };
        self.is_empty = false;
        self.length += text.len();
        for &byte in text.as_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The rest of a whole text, if it begins with what was handed out and goes on.
    pub(super) fn rest<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let rest = if self.is_empty {
            whole
        } else {
            let (begin, rest) = whole.trim_start().split_at_checked(self.length)?;
            let mut same = HandedOut::new();
            same.add(begin);
            (same.hash == self.hash).then_some(rest)?
        };
        (!rest.trim().is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_continues_the_text_handed_out() {
        let cases: [(&[&str], &str, Option<&str>); 16] = [
            (&[], "all", Some("all")),
            (&[], " all ", Some(" all ")),
            (&[], " \n", None),
            (&[], "", None),
            (&["one "], "one two", Some("two")),
            (&["one", " two"], "one two\n three\n", Some("\n three\n")),
            (&["one", " two \n"], "one two", None),
            (&["one"], "one \n\u{3000}", None),
            (&["one", "one"], "one", None),
            (&["uno"], "one two", None),
            (&["é"], "éa", Some("a")),
            (&["e"], "éa", None),
            // The beginning is trimmed on one side only.
            (&["\n", " one"], "one two", Some(" two")),
            (&["one"], "\n one two", Some(" two")),
            (&[" "], " one", Some("one")),
            (&[" one"], "one", None),
        ];
        for (tokens, whole, rest) in cases {
            let mut handed_out = HandedOut::new();
            for token in tokens {
                handed_out.add(token);
            }
            assert_eq!(handed_out.rest(whole), rest, "{tokens:?} {whole:?}");
        }
    }
}
