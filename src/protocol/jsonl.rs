//! What a current server says in a reply, line by line of JSON.

mod line;

use std::io;

use self::line::{frame, text_token};
use super::Frame;
use crate::error::Result;
use crate::reply::Event;
use crate::stream::Lines;

/// A reply as it is decoded.
#[derive(Default)]
pub(super) struct Decoder {
    lines: Lines,
    told: Told,
    /// What follows what was handed out last.
    pending: Option<Frame>,
}

impl Decoder {
    /// The next frame, if all of it is here.
    pub(super) fn next(&mut self, longest: usize) -> Result<Option<Frame>> {
        if self.pending.is_some() {
            return Ok(self.pending.take());
        }
        while let Some(line) = self.lines.next(longest)? {
            if let Some(frame) = frame(self.lines.bytes(line))? {
                return Ok(Some(self.with_untold(frame)));
            }
        }
        Ok(None)
    }

    pub(super) fn fill(&mut self, reader: &mut impl io::Read) -> io::Result<usize> {
        self.lines.fill(reader)
    }

    /// The last text of a reply may be in no token, where the model's server sends it together with its reason to end.
    fn with_untold(&mut self, frame: Frame) -> Frame {
        if let Some(text) = frame.event.as_ref().and_then(Event::text) {
            self.told.add(text);
        }
        let untold = frame.whole().and_then(|whole| self.told.rest(whole));
        let Some(untold) = untold.map(str::to_owned) else {
            return frame;
        };
        self.pending = Some(frame);
        Frame {
            event: Some(text_token(untold)),
            ..Frame::default()
        }
    }
}

/// The text that was told in tokens: as much of it as it takes to tell whether another goes on from it.
struct Told {
    length: usize,
    /// FNV-1a: the text itself could fill the memory.
    hash: u64,
}

impl Told {
    fn add(&mut self, text: &str) {
        self.length += text.len();
        for &byte in text.as_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// What a whole text has beyond it, if it begins with it.
    fn rest<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let (begin, rest) = whole.split_at_checked(self.length)?;
        let mut same = Told::default();
        same.add(begin);
        (same.hash == self.hash && !rest.is_empty()).then_some(rest)
    }
}

impl Default for Told {
    fn default() -> Told {
        Told {
            length: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_in_no_token_is_one_before_the_end() {
        let stream = |tokens: &[&str]| -> String {
            let line = |token| format!("{{\"type\":\"stream\",\"token\":\"{token}\"}}\n");
            tokens.iter().map(line).collect()
        };
        let cases: [(&[&str], &str, &str); 6] = [
            (&["one "], "one two", "one two"),
            (&[], "all", "all"),
            (&["one", " two \\n"], "one two", "one two \n"),
            (&["one", "one"], "one", "oneone"),
            (&["uno"], "one two", "uno"),
            (&["é"], "éa", "éa"),
        ];
        for (tokens, whole, handed_out) in cases {
            for interrupted in [false, true] {
                let last = format!(
                    "{{\"type\":\"finalAnswer\",\"text\":\"{whole}\",\"interrupted\":{interrupted}}}\n"
                );
                let bytes = stream(tokens) + &last;
                let mut decoder = Decoder::default();
                decoder.fill(&mut bytes.as_bytes()).unwrap();
                let mut text = String::new();
                let last = loop {
                    let frame = decoder.next(1 << 20).unwrap().unwrap();
                    text += frame
                        .event
                        .as_ref()
                        .and_then(Event::text)
                        .unwrap_or_default();
                    if frame.is_last() {
                        break frame;
                    }
                };
                assert_eq!(text, handed_out, "{tokens:?} {whole}");
                assert_eq!(last.stopped.is_some(), interrupted);
                assert_eq!(last.whole(), Some(whole));
            }
        }
    }
}
