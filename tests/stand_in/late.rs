//! Reading a socket so late that it can still be closed on a client whose bytes nobody has read.

use std::io::{self, BufRead, Read};
use std::net::TcpStream;

/// Leaves in the socket what it hands out, until more is wanted. To close it before is a reset on most systems,
/// and the only one that can be had without asking them for it.
pub(super) struct Late<'a> {
    socket: &'a TcpStream,
    /// What was seen last, and is in the socket still.
    seen: Vec<u8>,
    consumed: usize,
}

impl<'a> Late<'a> {
    pub fn new(socket: &'a TcpStream) -> Self {
        Self {
            socket,
            seen: Vec::new(),
            consumed: 0,
        }
    }

    /// Takes what was seen, so that to close the socket is no reset.
    pub fn take(&mut self) -> io::Result<()> {
        self.socket.read_exact(&mut self.seen)?;
        self.seen.clear();
        self.consumed = 0;
        Ok(())
    }
}

impl BufRead for Late<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        const PIECE: usize = 8 * 1024;
        if self.consumed == self.seen.len() {
            self.take()?;
            let mut piece = vec![0; PIECE];
            let seen = self.socket.peek(&mut piece)?;
            piece.truncate(seen);
            self.seen = piece;
        }
        Ok(&self.seen[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount;
    }
}

impl Read for Late<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(out)?;
        self.consume(amount);
        Ok(amount)
    }
}
