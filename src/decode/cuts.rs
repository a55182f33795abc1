//! Bytes that arrive in pieces, for tests.

use std::io::{self, Read};

use super::random::Random;

/// Hands out one piece a read, or as much of it as is asked for.
pub(super) struct Cuts<'a> {
    bytes: &'a [u8],
    /// How long the next piece is.
    length: Box<dyn FnMut() -> usize>,
}

impl<'a> Cuts<'a> {
    pub(super) fn none(bytes: &'a [u8]) -> Cuts<'a> {
        Cuts::every(bytes, usize::MAX)
    }

    pub(super) fn every(bytes: &'a [u8], length: usize) -> Cuts<'a> {
        Cuts { bytes, length: Box::new(move || length) }
    }

    pub(super) fn random(bytes: &'a [u8], mut random: Random) -> Cuts<'a> {
        Cuts { bytes, length: Box::new(move || 1 + random.below(20)) }
    }
}

impl Read for Cuts<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = (self.length)().min(out.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(length);
        out[..length].copy_from_slice(piece);
        self.bytes = rest;
        Ok(length)
    }
}
