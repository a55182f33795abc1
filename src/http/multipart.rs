//! A form with files, whose content is encoded while it is sent.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

/// A form of the type `multipart/form-data`.
pub(crate) struct Multipart {
    boundary: String,
    parts: Vec<Part>,
    /// The boundary after the last part.
    end: [Part; 1],
}

enum Part {
    Text(String),
    /// Sent in base64.
    Base64(Arc<Vec<u8>>),
}

impl Multipart {
    pub(crate) fn new() -> Multipart {
        let boundary = Uuid::new_v4().simple().to_string();
        let end = [Part::Text(format!("--{boundary}--\r\n"))];
        Multipart { boundary, parts: Vec::new(), end }
    }

    /// Adds a field of text.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Multipart {
        let head =
            format!("--{}\r\nContent-Disposition: form-data; name=\"{name}\"", self.boundary);
        self.parts.push(Part::Text(format!("{head}\r\n\r\n{value}\r\n")));
        self
    }

    /// Adds a file. The server decodes the base64 itself.
    pub(crate) fn base64_file(
        mut self,
        name: &str,
        file_name: &str,
        media_type: &str,
        content: &Arc<Vec<u8>>,
    ) -> Multipart {
        let (boundary, file_name) = (&self.boundary, file_name.replace('"', "%22"));
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; \
             filename=\"{file_name}\"\r\nContent-Type: {media_type}\r\n\r\n"
        );
        let content = Part::Base64(Arc::clone(content));
        self.parts.extend([Part::Text(head), content, Part::Text("\r\n".to_owned())]);
        self
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The number of bytes to be sent.
    pub(crate) fn len(&self) -> usize {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Base64(content) => base64_length(content),
        };
        self.parts.iter().chain(&self.end).map(length).sum()
    }

    /// Reads the body from its beginning.
    pub(super) fn reader(&self) -> impl Read {
        let parts = self.parts.iter().chain(&self.end);
        let pieces = parts.flat_map(Part::pieces);
        Pieces { pieces, piece: Cursor::default() }
    }
}

impl Part {
    /// What is sent of it, piece by piece.
    fn pieces(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        /// A multiple of three bytes, so that only the last piece is padded.
        const LENGTH: usize = 3 * 4096;
        let (text, content) = match self {
            Part::Text(text) => (Some(Cow::from(text.as_bytes())), &[][..]),
            Part::Base64(content) => (None, content.as_slice()),
        };
        let encode = |piece| Cow::from(BASE64_STANDARD.encode(piece).into_bytes());
        text.into_iter().chain(content.chunks(LENGTH).map(encode))
    }
}

/// The number of bytes of this content in base64.
pub(crate) fn base64_length(content: &[u8]) -> usize {
    content.len().div_ceil(3) * 4
}

/// Reads one piece after the other.
struct Pieces<'a, I> {
    pieces: I,
    piece: Cursor<Cow<'a, [u8]>>,
}

impl<'a, I: Iterator<Item = Cow<'a, [u8]>>> Read for Pieces<'a, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.next() {
                Some(piece) => self.piece = Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_take_no_stack() {
        let content = Arc::new(b"x".to_vec());
        let add = |form: Multipart, _| form.base64_file("files", "base64;a", "image/png", &content);
        let form = (0..100_000).fold(Multipart::new(), add);
        let read = io::copy(&mut form.reader(), &mut io::sink()).unwrap();
        assert_eq!(read, form.len() as u64);
    }

    #[test]
    fn every_length_is_encoded_and_counted() {
        for length in [1, 2, 3, 4, 12_287, 12_288, 12_289, 100_000] {
            let content: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let form = Multipart::new().field("data", "{}").base64_file(
                "files",
                "base64;a\"b.png",
                "image/png",
                &Arc::new(content.clone()),
            );
            let mut body = String::new();
            form.reader().read_to_string(&mut body).unwrap();
            assert_eq!(body.len(), form.len());
            assert!(body.contains(&format!("\r\n\r\n{}\r\n--", BASE64_STANDARD.encode(content))));
            assert!(body.contains("name=\"files\"; filename=\"base64;a%22b.png\"\r\n"));
        }
    }
}
