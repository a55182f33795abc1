//! A form with files, whose content is encoded while it is sent.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

/// A form of the type `multipart/form-data`.
pub(crate) struct Multipart {
    boundary: String,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    /// Sent in base64.
    Base64(Arc<Vec<u8>>),
}

impl Multipart {
    pub(crate) fn new() -> Multipart {
        Multipart { boundary: Uuid::new_v4().simple().to_string(), parts: Vec::new() }
    }

    /// Adds a field of text.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Multipart {
        let head =
            format!("--{}\r\nContent-Disposition: form-data; name=\"{name}\"", self.boundary);
        self.parts.push(Part::Text(format!("{head}\r\n\r\n{value}\r\n")));
        self
    }

    /// Adds a file, whose content is base64 to the server too.
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

    fn end(&self) -> String {
        format!("--{}--\r\n", self.boundary)
    }

    /// The number of bytes to be sent.
    pub(crate) fn len(&self) -> usize {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Base64(content) => content.len().div_ceil(3) * 4,
        };
        self.parts.iter().map(length).sum::<usize>() + self.end().len()
    }

    /// Reads the body from its beginning.
    pub(super) fn reader(&self) -> Box<dyn Read + '_> {
        let begin: Box<dyn Read> = Box::new(io::empty());
        let all = self.parts.iter().fold(begin, |before, part| match part {
            Part::Text(text) => Box::new(before.chain(text.as_bytes())),
            Part::Base64(content) => Box::new(before.chain(Base64Reader::new(content))),
        });
        Box::new(all.chain(Cursor::new(self.end())))
    }
}

/// Encodes bytes piece by piece.
struct Base64Reader<'a> {
    rest: &'a [u8],
    encoded: Cursor<String>,
}

impl Base64Reader<'_> {
    fn new(content: &[u8]) -> Base64Reader<'_> {
        Base64Reader { rest: content, encoded: Cursor::default() }
    }
}

impl Read for Base64Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        /// A multiple of three bytes, so that only the last piece is padded.
        const PIECE: usize = 3 * 4096;
        match self.encoded.read(buffer)? {
            0 => {}
            read => return Ok(read),
        }
        let (piece, rest) = self.rest.split_at(self.rest.len().min(PIECE));
        self.rest = rest;
        self.encoded = Cursor::new(BASE64_STANDARD.encode(piece));
        self.encoded.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
