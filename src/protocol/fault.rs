//! What a reply can say in the place of more text, in whichever form it comes.

use crate::error::{Error, ErrorKind, Step};
use crate::http::{glimpse, one_line};

/// A failure of the generation, in the server's words.
pub(super) fn reported(words: &str) -> Error {
    let words = one_line(words);
    let message = format!("the server reported: {words}");
    Error::new(ErrorKind::Generation, Step::Reply, message).with_server_message(words)
}

/// A part of a reply that is of another protocol, or no JSON at all.
pub(super) fn foreign(what: &str, said: &[u8]) -> Error {
    let said = glimpse(said);
    let message = format!("{what} is not what such a server says: {said}");
    Error::new(ErrorKind::Protocol, Step::Reply, message)
}
