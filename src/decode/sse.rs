//! Lines into the events of an event stream, by the rules of the WHATWG HTML Standard, section
//! "Interpreting an event stream"; the comments give its steps. Of an event its data is kept, and
//! what its name says about an error.

use super::lines::{Lines, too_long};
use crate::error::Result;

pub(crate) struct Events {
    pub(super) lines: Lines,
    /// The data buffer: each line of data with an LF after it.
    data: Vec<u8>,
    /// The event type buffer.
    name: Name,
    /// The event in the buffers has been handed out.
    dispatched: bool,
}

/// The name of an event, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Name {
    /// None, or `message`, which means the same.
    #[default]
    Message,
    Error,
    Other,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events {
            lines: Lines::new(is_never_data),
            data: Vec::new(),
            name: Name::Message,
            dispatched: false,
        }
    }

    /// The name and the data of the next event, if all of it is here already. One with a line of
    /// data, or data, of more than `longest` bytes is an error.
    ///
    /// An event that the end of the stream cuts off is not one: its blank line never comes.
    pub(super) fn next(&mut self, longest: usize) -> Result<Option<(Name, &[u8])>> {
        if self.dispatched {
            self.data.clear();
            self.name = Name::Message;
            self.dispatched = false;
        }
        while let Some(line) = self.lines.next(longest)? {
            // An empty line dispatches the event; with an empty data buffer there is none.
            if line.is_empty() {
                if let Some(length) = self.data.len().checked_sub(1) {
                    self.dispatched = true;
                    // The last LF of the data buffer is removed.
                    return Ok(Some((self.name, &self.data[..length])));
                }
                self.name = Name::Message;
                continue;
            }
            let Some(value) = value_of(self.lines.bytes(line.clone()), b"data") else {
                let is_whole = line.len() <= longest;
                let name = value_of(self.lines.bytes(line), b"event");
                if let Some(name) = name.filter(|_| is_whole) {
                    self.name = match name {
                        b"" | b"message" => Name::Message,
                        b"error" => Name::Error,
                        _ => Name::Other,
                    };
                }
                continue;
            };
            if self.data.len() + value.len() > longest {
                return Err(too_long(longest));
            }
            // An event of one line, as they nearly all are, need not go through the data buffer.
            let value = line.end - value.len()..line.end;
            if self.data.is_empty() && self.lines.skip_empty() {
                self.dispatched = true;
                return Ok(Some((self.name, self.lines.bytes(value))));
            }
            self.data.extend_from_slice(self.lines.bytes(value));
            self.data.push(b'\n');
        }
        Ok(None)
    }
}

/// The value of a line with this field; a comment and every other field are passed over.
fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = match line.strip_prefix(field)? {
        // A line without a colon is a field with an empty value.
        b"" => return Some(b""),
        rest => rest.strip_prefix(b":")?,
    };
    // One space after the colon is removed.
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// Returns whether a line that begins like this is a comment or another field.
fn is_never_data(line: &[u8]) -> bool {
    let field = b"data:";
    !field.starts_with(&line[..line.len().min(field.len())])
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;
    use crate::error::ErrorKind;

    const LONGEST: usize = 1 << 20;

    /// Hands out one piece a read, or as much of it as is asked for.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            while let Some(piece) = self.0.first_mut() {
                let length = piece.read(out)?;
                if length > 0 {
                    return Ok(length);
                }
                self.0.remove(0);
            }
            Ok(0)
        }
    }

    fn events(pieces: Vec<&[u8]>) -> Result<Vec<String>> {
        let (mut events, mut reader) = (Events::new(), Pieces(pieces));
        let mut found = Vec::new();
        loop {
            while let Some((_, event)) = events.next(LONGEST)? {
                found.push(String::from_utf8(event.to_vec()).unwrap());
            }
            if events.lines.fill(&mut reader).unwrap() == 0 {
                return Ok(found);
            }
        }
    }

    /// Three events in each of the ways to write them. The second has two lines of data.
    fn every_way() -> Vec<Vec<u8>> {
        let mut ways = Vec::new();
        for end in ["\n", "\r\n", "\r"] {
            for space in ["", " "] {
                for bom in ["", "\u{feff}"] {
                    for comment in ["", ":\n", ": still here\n"] {
                        let comment = comment.replace('\n', end);
                        ways.push(format!(
                            "{bom}{comment}{end}data:{space}one{end}{end}{comment}event: x{end}\
                             data:{space}hé{end}{comment}data:{space}😀 {end}id: 1{end}{end}\
                             {comment}retry: 1{end}datum: x{end}{end}data:{space}three{end}{end}"
                        ));
                    }
                }
            }
        }
        ways.into_iter().map(String::into_bytes).collect()
    }

    const MEANT: [&str; 3] = ["one", "hé\n😀 ", "three"];

    #[test]
    fn cuts_do_not_change_the_events() {
        for bytes in every_way() {
            for interrupt in 0..=bytes.len() {
                let (before, after) = bytes.split_at(interrupt);
                assert_eq!(events(vec![before, after]).unwrap(), MEANT, "{before:?} | {after:?}");
            }
            assert_eq!(events(bytes.chunks(1).collect()).unwrap(), MEANT);
        }
    }

    #[test]
    fn an_event_is_returned_at_its_blank_line() {
        for end in ["\n", "\r\n", "\r"] {
            let mut events = Events::new();
            let bytes = format!("data: now{end}{end}");
            events.lines.fill(&mut bytes.as_bytes()).unwrap();
            assert_eq!(
                events.next(LONGEST).unwrap(),
                Some((Name::Message, b"now".as_slice())),
                "{end:?}"
            );
        }
    }

    #[test]
    fn an_event_without_a_blank_line_is_ignored() {
        for bytes in ["data: interrupt", "data: interrupt\n", "data: interrupt\r\n", "data", ""] {
            assert!(events(vec![bytes.as_bytes()]).unwrap().is_empty(), "{bytes:?}");
        }
    }

    #[test]
    fn a_field_without_a_colon_has_an_empty_value() {
        assert_eq!(events(vec![b"data\n\n"]).unwrap(), [""]);
        assert_eq!(events(vec![b"data\ndata\n\n"]).unwrap(), ["\n"]);
    }

    #[test]
    fn the_maximum_line_is_inclusive() {
        let line = format!("data:{}", "x".repeat(LONGEST - "data:".len()));
        let event = format!("{line}\n\n");
        assert_eq!(events(vec![event.as_bytes()]).unwrap().len(), 1);
        for event in [format!("{line}x\n\n"), format!("{line}x")] {
            let error = events(vec![event.as_bytes()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
    }

    #[test]
    fn comments_and_other_fields_have_no_maximum() {
        let long = "x".repeat(3 * LONGEST);
        let bytes = format!(":{long}\ndata: one\nid:{long}\n\n{long}\ndatum:{long}\ndata: two\n\n");
        assert_eq!(events(vec![bytes.as_bytes()]).unwrap(), ["one", "two"]);
        let chunks = bytes.as_bytes().chunks(1000).collect();
        assert_eq!(events(chunks).unwrap(), ["one", "two"]);
    }

    #[test]
    fn unfinished_events_are_bounded() {
        let lines = format!("data:{}\n", "x".repeat(1000)).repeat(LONGEST / 1000 + 1);
        let error = events(vec![lines.as_bytes()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

/// Properties of any bytes.
#[cfg(test)]
mod properties {
    use super::*;
    use crate::decode::cuts::Cuts;
    use crate::decode::random::Random;
    use crate::error::ErrorKind;

    const BOM: &[u8] = b"\xEF\xBB\xBF";

    const CASES: u64 = 5000;

    /// The bytes that the rules look for, similar ones, and halves of them.
    #[rustfmt::skip]
    const PIECES: &[&[u8]] = &[
        b"data", b"data:", b"data: ", b"data:  ", b"data:x", b"data: y", b"dat", b"datax:", b" data:", b"event: x", b"event:error\n",
        b"id", b"retry:1", b":", b"::", b" ", b"\n", b"\n", b"\n", b"\n\n", b"\n\n", b"\r", b"\r", b"\r\n", b"\r\n",
        b"\r\r", b"\r\n\r\n", b"\n\r", b"data:z\n\n", b"\ndata:z\r\n\r\n", BOM, b"\xEF\xBB", b"\xBF",
        "é".as_bytes(), "😀".as_bytes(), b"\xF0\x9F", b"\x98\x80", b"\0", b"\xFF", b"x", b"{\"token\":", b"xxxxxxxxxxxx",
    ];

    /// Events, and what ended them.
    type Decoded = (Vec<(Name, Vec<u8>)>, Option<ErrorKind>);

    fn decoded(mut reader: Cuts, longest: usize) -> Decoded {
        let (mut events, mut found) = (Events::new(), Vec::new());
        loop {
            loop {
                match events.next(longest) {
                    Ok(Some((name, event))) => found.push((name, event.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error.kind())),
                }
            }
            if events.lines.fill(&mut reader).unwrap() == 0 {
                return (found, None);
            }
        }
    }

    /// Decodes bytes that are here all at once, by the letter of the rules.
    fn by_the_rules(bytes: &[u8], longest: usize) -> Decoded {
        let too_long = |found| (found, Some(ErrorKind::TooLarge));
        let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
        // Of a line that is too long only the beginning is looked at.
        let is_too_long = |line: &[u8]| {
            let beginning = &line[..line.len().min(longest + 1)];
            let may_be_data = beginning.starts_with(b"data:") || b"data:".starts_with(beginning);
            line.len() > longest && may_be_data
        };
        let (mut found, mut data, mut name) = (Vec::new(), Vec::new(), Name::Message);
        let mut lines = lines_of(bytes);
        let unfinished = lines.pop().unwrap_or_default();
        for line in &lines {
            if is_too_long(line) {
                return too_long(found);
            }
            let colon = line.iter().position(|&byte| byte == b':');
            let (field, value) = match colon {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (line.as_slice(), b"".as_slice()),
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if line.is_empty() {
                if data.pop().is_some() {
                    found.push((name, data));
                }
                (data, name) = (Vec::new(), Name::Message);
            } else if line.len() > longest {
                // Skipped.
            } else if field == b"data" {
                if data.len() + value.len() > longest {
                    return too_long(found);
                }
                data.extend_from_slice(value);
                data.push(b'\n');
            } else if field == b"event" {
                name = match value {
                    b"error" => Name::Error,
                    b"" | b"message" => Name::Message,
                    _ => Name::Other,
                };
            }
        }
        if is_too_long(&unfinished) {
            return too_long(found);
        }
        (found, None)
    }

    /// The last one has no end yet.
    fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = vec![Vec::new()];
        for (at, &byte) in bytes.iter().enumerate() {
            let is_second_half = byte == b'\n' && at > 0 && bytes[at - 1] == b'\r';
            match byte {
                b'\n' if is_second_half => {}
                b'\n' | b'\r' => lines.push(Vec::new()),
                byte => lines.last_mut().unwrap().push(byte),
            }
        }
        lines
    }

    #[test]
    fn random_bytes_never_panic_and_cuts_change_nothing() {
        for seed in 0..CASES {
            let mut random = Random::new(seed);
            let pieces = (0..random.below(40)).map(|_| random.choose(PIECES));
            let bytes = pieces.collect::<Vec<_>>().concat();
            let longest = random.choose(&[1, 4, 8, 16, 64, 1 << 20]);
            let meant = by_the_rules(&bytes, longest);
            let context = |cuts: &str| {
                let bytes = bytes.escape_ascii();
                format!("seed {seed}, {cuts}, at most {longest} of \"{bytes}\"")
            };
            let ways = [
                ("uncut", Cuts::none(&bytes)),
                ("bytewise", Cuts::every(&bytes, 1)),
                ("at random", Cuts::random(&bytes, random)),
            ];
            for (cuts, reader) in ways {
                let (events, end) = decoded(reader, longest);
                assert!(
                    events.iter().all(|(_, event)| event.len() <= longest),
                    "{}",
                    context(cuts)
                );
                assert_eq!((events, end), meant, "{}", context(cuts));
            }
        }
    }
}
