//! Reads a socket, but leaves the bytes in it until the next read. Closing a socket that has unread
//! bytes is a reset on most systems, and std has no other way to send one.

use std::io::{self, BufRead, Read};
use std::net::TcpStream;

pub(super) struct PeekReader<'a> {
    socket: &'a TcpStream,
    /// The last bytes that were returned. They are still in the socket.
    seen: Vec<u8>,
    consumed: usize,
}

impl<'a> PeekReader<'a> {
    pub fn new(socket: &'a TcpStream) -> Self {
        Self { socket, seen: Vec::new(), consumed: 0 }
    }

    /// Takes these bytes out of the socket, so that closing it is no reset.
    pub fn take_seen(&mut self) -> io::Result<()> {
        self.socket.read_exact(&mut self.seen)?;
        self.seen.clear();
        self.consumed = 0;
        Ok(())
    }
}

impl BufRead for PeekReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        const PIECE: usize = 8 * 1024;
        if self.consumed == self.seen.len() {
            self.take_seen()?;
            let mut piece = vec![0; PIECE];
            let length = self.socket.peek(&mut piece)?;
            piece.truncate(length);
            self.seen = piece;
        }
        Ok(&self.seen[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount;
    }
}

impl Read for PeekReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(out)?;
        self.consume(amount);
        Ok(amount)
    }
}
