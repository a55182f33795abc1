//! Lines into the events of an event stream, by the rules of the WHATWG HTML Standard, section "Interpreting
//! an event stream"; the comments give its steps. Of an event only the data is kept.

use std::io::{self, Read};

use super::lines::{LONGEST, Lines, too_long};
use crate::error::Result;

const BOM: &[u8] = b"\xEF\xBB\xBF";

#[derive(Default)]
pub(crate) struct Events {
    lines: Lines,
    /// The data buffer: each line of data with an LF after it.
    data: Vec<u8>,
    /// The event in the data buffer has been handed out.
    dispatched: bool,
    begun: bool,
}

impl Events {
    /// The data of the next event, if all of it is here already.
    ///
    /// An event that the end of the stream cuts off is not one: its blank line never comes.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.dispatched {
            self.data.clear();
            self.dispatched = false;
        }
        while let Some(mut line) = self.lines.next()? {
            // One leading BOM is ignored.
            if !self.begun {
                self.begun = true;
                line = line.strip_prefix(BOM).unwrap_or(line);
            }
            // An empty line dispatches the event; with an empty data buffer there is none.
            if line.is_empty() {
                if let Some(length) = self.data.len().checked_sub(1) {
                    self.dispatched = true;
                    // The last LF of the data buffer is removed.
                    return Ok(Some(&self.data[..length]));
                }
                continue;
            }
            if let Some(value) = data_of(line) {
                if self.data.len() + value.len() > LONGEST {
                    return Err(too_long());
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
        }
        Ok(None)
    }

    /// Reads more, once; 0 is the end.
    pub(crate) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        self.lines.fill(reader)
    }
}

/// The value of a line of data; a comment and every other field are passed over.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = match line.strip_prefix(b"data")? {
        // A line without a colon is a field with an empty value.
        b"" => return Some(b""),
        rest => rest.strip_prefix(b":")?,
    };
    // One space after the colon is removed.
    Some(value.strip_prefix(b" ").unwrap_or(value))
}
