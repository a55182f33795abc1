//! What the fuzzers need of this module.

use std::io::{self, Read};

use serde_json::{Map, Value};

use super::object::{Raw, read_fields, read_object};
use super::surrogates::into_string;
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

/// Decodes a reply of which each read hands out that many bytes, at least one.
pub fn decode(format: Format, bytes: &[u8], length: impl FnMut() -> usize) -> Decoded {
    let mut updates = Vec::new();
    let ended = decode_into(&mut updates, format, Pieces { bytes, length });
    let error = ended
        .err()
        .map(|error| format!("{error} {:?}", error.kind()));
    Decoded { updates, error }
}

fn decode_into(updates: &mut Vec<Update>, format: Format, mut reader: impl Read) -> Result<()> {
    let mut decoder = match format {
        Format::EventStream => Decoder::tgi(),
        Format::JsonLines => Decoder::chat_ui(),
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

/// Whether this is an object of JSON, whose fields are skipped.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    read_fields(json, |_, _| {}).is_some()
}

/// Reads every field of an object, and every field of the objects in it, as a reply's are read.
#[must_use]
pub fn read_whole_object(json: &[u8]) -> Option<Value> {
    let mut object = Map::new();
    read_object(json, |json, key| {
        let key = into_string(key.to_vec())?;
        if json.is_at_object() {
            let mut inner = Map::new();
            json.object(|json, key| {
                inner.insert(into_string(key.to_vec())?, value(json.value()?)?);
                Some(())
            })?;
            object.insert(key, Value::Object(inner));
        } else {
            object.insert(key, value(json.value()?)?);
        }
        Some(())
    })?;
    Some(Value::Object(object))
}

fn value(raw: Raw) -> Option<Value> {
    match raw.text() {
        Some(text) => Some(Value::String(text)),
        None if raw.is_null() => Some(Value::Null),
        None => raw.read(),
    }
}
