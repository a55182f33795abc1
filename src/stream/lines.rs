//! Bytes into lines, of bounded length. A line is handed out when its end has come, and never before.

use std::io::{self, Read};

use crate::error::{Error, ErrorKind, Result, Step};

/// How many bytes are asked for at a time.
const PIECE: usize = 16 * 1024;

/// Lines that end in LF, CRLF or CR.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no end of it was found.
    searched: usize,
    /// The last line ended in CR: an LF here still belongs to that end.
    after_cr: bool,
}

impl Lines {
    /// The next line, without its end, if it is here already. One of more than `longest` bytes is an error.
    pub(super) fn next(&mut self, longest: usize) -> Result<Option<&[u8]>> {
        if self.after_cr && self.start < self.buffer.len() {
            self.start += usize::from(self.buffer[self.start] == b'\n');
            self.searched = self.start;
            self.after_cr = false;
        }
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'));
        let end = end.map(|at| self.searched + at);
        let start = self.start;
        if end.unwrap_or(self.buffer.len()) - start > longest {
            return Err(too_long(longest));
        }
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        self.after_cr = self.buffer[end] == b'\r';
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some(&self.buffer[start..end]))
    }

    /// Reads more, once; 0 is the end.
    pub(super) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + PIECE, 0);
        let read = reader.read(&mut self.buffer[length..]);
        let more = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(length + more);
        read
    }
}

pub(super) fn too_long(longest: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        Step::Reply,
        format!("a line or an event is longer than {longest} bytes"),
    )
}
