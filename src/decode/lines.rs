//! Bytes into lines, of bounded length. A line is handed out when its end has come, and never
//! before.

use std::io::{self, Read};
use std::mem;
use std::ops::Range;

use crate::error::{Error, ErrorKind, Result, Step};

/// How many bytes are asked for at a time. Every stream holds as many; asking for more at once is
/// hardly faster.
const PIECE: usize = 4 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Lines that end in LF, CRLF or CR. A byte order mark at the very beginning is ignored.
pub(crate) struct Lines {
    /// The bytes between `start` and `end` is still to be handed out.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// No end of a line was found before this.
    searched: usize,
    /// The last line ended in CR: an LF here still belongs to that end.
    after_cr: bool,
    has_begun: bool,
    /// True if a line that is too long does not matter, by its beginning.
    is_skipped: fn(&[u8]) -> bool,
    /// The rest of the present line is dropped.
    is_skipping: bool,
}

impl Lines {
    pub(crate) fn new(is_skipped: fn(&[u8]) -> bool) -> Lines {
        Lines {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            searched: 0,
            after_cr: false,
            has_begun: false,
            is_skipped,
            is_skipping: false,
        }
    }

    /// Where the next line is, without its end, if all of it is here. An unimportant line longer
    /// than `longest` is returned as its first `longest + 1` bytes; any other such line is an
    /// error.
    #[inline]
    pub(crate) fn next(&mut self, longest: usize) -> Result<Option<Range<usize>>> {
        if !self.has_begun && !self.skip_bom() {
            return Ok(None);
        }
        loop {
            self.skip_rest_of_end();
            let unsearched = &self.buffer[self.searched..self.end];
            let end = memchr::memchr2(b'\n', b'\r', unsearched);
            self.searched = end.map_or(self.end, |at| self.searched + at);
            let line = self.start..self.searched;
            if line.len() <= longest && !self.is_skipping {
                return Ok(end.map(|_| {
                    self.skip_end();
                    line
                }));
            }
            // The decision depends on the same bytes, however they arrive.
            let beginning = line.start..line.start + longest + 1;
            let is_new = !mem::replace(&mut self.is_skipping, end.is_none());
            if is_new && !(self.is_skipped)(self.bytes(beginning.clone())) {
                return Err(too_long(longest));
            }
            self.start = self.searched;
            if end.is_some() {
                self.skip_end();
            }
            if is_new {
                return Ok(Some(beginning));
            }
            if self.is_skipping {
                return Ok(None);
            }
        }
    }

    /// Ends the line that the end of the stream cut off, with an empty line after it.
    pub(super) fn end(&mut self) {
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(b"\n\n");
        self.end = self.buffer.len();
    }

    /// Skips the next line if it is an empty one.
    pub(super) fn skip_empty(&mut self) -> bool {
        self.skip_rest_of_end();
        let is_empty = self.start < self.end && is_end(self.buffer[self.start]);
        if is_empty {
            self.skip_end();
        }
        is_empty
    }

    /// A line, or a part of one, that was found since the last `fill`.
    pub(crate) fn bytes(&self, found: Range<usize>) -> &[u8] {
        &self.buffer[found]
    }

    /// Reads more, once; 0 is the end.
    pub(crate) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        // A long line that is read piece by piece is moved once only.
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + PIECE {
            self.buffer.resize(self.end + PIECE, 0);
        }
        let read = reader.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Returns false if it takes more bytes to know whether these begin a mark.
    fn skip_bom(&mut self) -> bool {
        let bytes = &self.buffer[..self.end];
        self.has_begun = bytes.len() >= BOM.len() || !BOM.starts_with(bytes);
        if bytes.starts_with(BOM) {
            self.start = BOM.len();
            self.searched = self.start;
        }
        self.has_begun
    }

    /// Goes on behind the end of a line that was found at `searched`.
    fn skip_end(&mut self) {
        self.after_cr = self.buffer[self.searched] == b'\r';
        self.searched += 1;
        self.start = self.searched;
    }

    fn skip_rest_of_end(&mut self) {
        if self.after_cr && self.start < self.end {
            self.start += usize::from(self.buffer[self.start] == b'\n');
            self.searched = self.start;
            self.after_cr = false;
        }
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

pub(super) fn too_long(longest: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        Step::ReadReply,
        format!("a line or an event is longer than {longest} bytes"),
    )
}

#[cfg(test)]
mod properties {
    use super::*;
    use crate::decode::cuts::Cuts;
    use crate::decode::random::Random;

    /// Lines that begin with a colon may be as long as they like.
    fn is_comment(line: &[u8]) -> bool {
        line.starts_with(b":")
    }

    #[test]
    fn lines_and_their_buffer_are_bounded() {
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            // Ends are rarer or more frequent than a line may be long.
            let (longest, ends) = (1 + random.below(100), 1 + random.below(200));
            let byte = |random: &mut Random| {
                let is_end = random.one_in(ends);
                random.choose(if is_end { b"\n\r" } else { b"x\0::ad \xFF" })
            };
            let bytes: Vec<u8> = (0..random.below(600)).map(|_| byte(&mut random)).collect();
            let context =
                || format!("seed {seed}, at most {longest} of \"{}\"", bytes.escape_ascii());

            let (mut lines, mut reader) = (Lines::new(is_comment), Cuts::random(&bytes, random));
            let mut longest_seen = 0;
            let end = loop {
                match lines.next(longest) {
                    // One byte more shows that it was cut off.
                    Ok(Some(line)) if line.len() == longest + 1 => {
                        assert!(is_comment(lines.bytes(line)), "{}", context());
                    }
                    Ok(Some(line)) => longest_seen = longest_seen.max(line.len()),
                    Ok(None) => {
                        let kept = lines.end - lines.start;
                        assert!(kept <= longest, "{kept} kept: {}", context());
                        assert!(lines.buffer.len() <= longest + PIECE, "{}", context());
                        if lines.fill(&mut reader).unwrap() == 0 {
                            break None;
                        }
                    }
                    Err(error) => break Some(error.kind()),
                }
            };
            assert!(longest_seen <= longest, "{longest_seen}: {}", context());
            let is_too_long = bytes
                .split(|byte| matches!(byte, b'\n' | b'\r'))
                .any(|line| line.len() > longest && !is_comment(line));
            assert_eq!(end, is_too_long.then_some(ErrorKind::TooLarge), "{}", context());
        }
    }
}
