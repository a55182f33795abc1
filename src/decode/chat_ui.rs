//! The JSON lines of which a reply of chat-ui from 0.8 consists.

use std::io;

use super::lines::Lines;
use super::message_update::{text_token, update};
use super::update::Update;
use crate::error::Result;
use crate::reply::Event;

#[derive(Default)]
pub(super) struct Messages {
    lines: Lines,
    handed_out: HandedOut,
    /// The update after the one returned last.
    pending: Option<Update>,
}

impl Messages {
    /// The next update, if all of it is here.
    pub(super) fn next(&mut self, longest: usize) -> Result<Option<Update>> {
        if self.pending.is_some() {
            return Ok(self.pending.take());
        }
        while let Some(line) = self.lines.next(longest)? {
            if let Some(update) = update(self.lines.bytes(line))? {
                return Ok(Some(self.with_missing_text(update)));
            }
        }
        Ok(None)
    }

    pub(super) fn fill(&mut self, reader: &mut impl io::Read) -> io::Result<usize> {
        self.lines.fill(reader)
    }

    /// Inserts a token before the last update if its text goes beyond the tokens: some servers send
    /// the last piece of text together with the end.
    fn with_missing_text(&mut self, update: Update) -> Update {
        if let Some(text) = update.event.as_ref().and_then(Event::text) {
            self.handed_out.add(text);
        }
        let missing = update
            .whole_text()
            .and_then(|whole| self.handed_out.rest(whole));
        let Some(missing) = missing.map(str::to_owned) else {
            return update;
        };
        self.pending = Some(update);
        Update {
            event: Some(text_token(missing)),
            ..Update::default()
        }
    }
}

/// The length and hash of the text that was handed out, which show whether another text begins with
/// it. The text itself could fill the memory.
struct HandedOut {
    length: usize,
    /// FNV-1a.
    hash: u64,
}

impl HandedOut {
    fn add(&mut self, text: &str) {
        self.length += text.len();
        for &byte in text.as_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The rest of a whole text, if it begins with what was handed out.
    fn rest<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let (begin, rest) = whole.split_at_checked(self.length)?;
        let mut same = HandedOut::default();
        same.add(begin);
        (same.hash == self.hash && !rest.is_empty()).then_some(rest)
    }
}

impl Default for HandedOut {
    fn default() -> HandedOut {
        HandedOut {
            length: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_only_in_the_last_line_becomes_a_token() {
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
                let mut decoder = Messages::default();
                decoder.fill(&mut bytes.as_bytes()).unwrap();
                let mut text = String::new();
                let last = loop {
                    let update = decoder.next(1 << 20).unwrap().unwrap();
                    text += update
                        .event
                        .as_ref()
                        .and_then(Event::text)
                        .unwrap_or_default();
                    if update.is_last() {
                        break update;
                    }
                };
                assert_eq!(text, handed_out, "{tokens:?} {whole}");
                assert_eq!(last.interrupted.is_some(), interrupted);
                assert_eq!(last.whole_text(), Some(whole));
            }
        }
    }
}
