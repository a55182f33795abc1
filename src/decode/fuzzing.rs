//! Entry points of the fuzz targets for replies and JSON.

use std::io::{self, Read};

use serde_json::Value;

use super::object::{Json, Raw, read_object};
use super::{Decoder, Update};
use crate::error::Result;
use crate::reply::Event;

/// The format of a reply.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// An event stream of text-generation-inference.
    EventStream,
    /// JSON lines of chat-ui.
    JsonLines,
    /// Chunks of h2oGPTe.
    Chunks,
}

/// A decoded reply: its updates up to the last one, and the error that it ended with.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    updates: Vec<Update>,
    error: Option<String>,
}

impl Decoded {
    /// The text that is handed out.
    #[must_use]
    pub fn text(&self) -> String {
        let events = self.updates.iter().filter_map(|it| it.event.as_ref());
        events.filter_map(Event::text).collect()
    }

    /// The text of the last update, if the reply is complete.
    #[must_use]
    pub fn end(&self) -> Option<&str> {
        Some(&self.updates.last()?.end.as_ref()?.text)
    }
}

/// Decodes a reply. Each read returns that many bytes, at least one.
pub fn decode(format: Format, bytes: &[u8], length: impl FnMut() -> usize) -> Decoded {
    let mut updates = Vec::new();
    let ended = decode_into(&mut updates, format, Pieces { bytes, length });
    let error = ended.err().map(|error| format!("{error} {:?}", error.kind()));
    Decoded { updates, error }
}

fn decode_into(updates: &mut Vec<Update>, format: Format, mut reader: impl Read) -> Result<()> {
    let mut decoder = match format {
        Format::EventStream => Decoder::tgi(),
        Format::JsonLines => Decoder::chat_ui(),
        Format::Chunks => Decoder::h2ogpte(),
    };
    decoder.read_metadata();
    loop {
        let mut update = decoder.next()?;
        let is_over = update.is_none() && decoder.fill(&mut reader).is_ok_and(|read| read == 0);
        if is_over {
            update = decoder.finish()?;
        }
        match update {
            Some(update) => updates.push(update),
            None if is_over => return Err(decoder.unfinished()),
            None => continue,
        }
        if updates.last().is_some_and(Update::is_last) {
            return Ok(());
        }
    }
}

struct Pieces<'a, F> {
    bytes: &'a [u8],
    length: F,
}

impl<F: FnMut() -> usize> Read for Pieces<'_, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = (self.length)().max(1).min(out.len());
        self.bytes.read(&mut out[..length])
    }
}

/// Returns whether this is a JSON object, without reading its fields.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    read_object(json, Json::other).is_some()
}

/// The value of a field of an object, as a reply's are read. The name must have no quote and no
/// backslash.
#[must_use]
pub fn field(json: &[u8], name: &str) -> Option<Value> {
    let quoted = format!("\"{name}\"");
    let mut field = None;
    read_object(json, |json| {
        if json.has_key(&quoted) {
            field = Some(value(json.value()?)?);
            Some(())
        } else {
            json.other()
        }
    })?;
    field
}

fn value(raw: Raw) -> Option<Value> {
    match raw.text() {
        Some(text) => Some(Value::String(text)),
        None if raw.is_null() => Some(Value::Null),
        None => raw.read(),
    }
}
