//! One step of a reply, whatever protocol it came in.

use serde_core::de::IgnoredAny;
use serde_json::Value;

use super::object::{Raw, first_field, read_object};
use super::surrogates::Halves;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::json::read_json;
use crate::reply::{Details, End, Event, Token};
use crate::text::{ErrorReport, excerpt, one_line};

/// The longest event that is searched for an error, in bytes. As JSON it takes sixteen times that.
const MAX_ERROR: usize = 1 << 20;

/// The longest object that is handed out as it is, in bytes.
const MAX_OTHER: usize = 1 << 20;

/// The key of an object's type.
const TYPE: &str = r#""type""#;

/// One step of a reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Update {
    pub(crate) event: Option<Event>,
    /// The server says that the reply has ended.
    pub(crate) end: Option<Box<End>>,
    /// It ended because the generation was stopped.
    pub(crate) is_interrupted: bool,
}

/// The state that is needed to read an event.
#[derive(Default)]
pub(super) struct Context {
    pub(super) halves: Halves,
    /// The id and the probability of each token are read too, and the events that are not text.
    pub(super) reads_metadata: bool,
    /// An update has been read.
    pub(super) has_begun: bool,
    /// The text of the first line, which is the whole reply if no other line comes.
    pub(super) only_text: Option<String>,
}

impl Context {
    /// The update of an object that has no part of the reply's text, if that is wanted.
    #[cold]
    pub(super) fn other(&self, object: &[u8], is_whole: bool) -> Option<Update> {
        let event = Some(self.reads_metadata.then(|| other(object, is_whole))??);
        Some(Update { event, ..Update::default() })
    }
}

impl Update {
    /// The end of a reply whose whole text this is.
    pub(super) fn last(text: String, details: Option<Details>) -> Update {
        Update { end: Some(Box::new(End { text, details })), ..Update::default() }
    }

    pub(crate) fn is_last(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.event.is_none() && !self.is_last()
    }
}

/// A token without id and probability.
pub(super) fn text_token(text: String) -> Event {
    Event::Token(Token { text, ..Token::default() })
}

/// The error that an event reports, if it does, in any of the shapes that servers and gateways use.
pub(super) fn reported(event: &[u8]) -> Option<Error> {
    if event.len() > MAX_ERROR || !event.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let json = read_json(event).ok().filter(Value::is_object)?;
    let has_error = ["error", "errors"].iter().any(|it| is_set(&json[it]));
    let names_error = ["type", "object"].iter().any(|it| json[it] == "error");
    let has_words = || json["type"].is_null() && ErrorReport::new(&json).words.is_some();
    (has_error || names_error || has_words()).then(|| failure_of_json(&json))
}

/// The error of an event that is known to report one.
pub(super) fn failure(event: &[u8]) -> Error {
    match read_json(&event[..event.len().min(MAX_ERROR)]) {
        Ok(json) => failure_of_json(&json),
        Err(_) => failure_in_words(&excerpt(event)),
    }
}

fn failure_of_json(json: &Value) -> Error {
    let report = ErrorReport::new(json);
    let error = match (report.words, &json["error"]) {
        (Some(words), _) => failure_in_words(&words),
        (None, error @ (Value::Object(_) | Value::Number(_))) => {
            failure_in_words(&error.to_string())
        }
        (None, _) => failure_in_words("an error without words"),
    };
    let error = error.with_overload(report.is_overloaded);
    match report.status {
        Some(status) => error.with_status(status),
        None => error,
    }
}

fn failure_in_words(words: &str) -> Error {
    let words = one_line(words);
    Error::new(ErrorKind::Generation, Step::ReadReply, format!("the server reported: {words}"))
        .with_server_message(words)
}

/// Returns whether a field says more than that there is no error.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// An object that has no part of the reply's text, as an event. `None` if it is no object. One that
/// is not whole is too long; its first field is its type.
fn other(object: &[u8], is_whole: bool) -> Option<Event> {
    let object = object.trim_ascii();
    let kind = first_field(object, TYPE).or_else(|| {
        let mut kind = Raw::default();
        read_object(object, |json| {
            if json.has_key(TYPE) {
                kind = json.value()?;
                Some(())
            } else {
                json.other()
            }
        })?;
        Some(kind)
    })?;
    let is_short = is_whole && object.len() <= MAX_OTHER;
    let json = is_short.then(|| String::from_utf8_lossy(object).into_owned());
    Some(Event::Other { kind: kind.text().unwrap_or_default(), json })
}

/// Tells an event that may be skipped from one whose text is lost.
pub(super) fn unreadable(event: &[u8]) -> Result<Option<Update>> {
    if let Some(error) = reported(event) {
        return Err(error);
    }
    let is_json = serde_json::from_slice::<IgnoredAny>(event).is_ok();
    if is_json && !event.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    Err(unexpected(event))
}

/// The error for an event that does not belong to the protocol.
pub(super) fn unexpected(event: &[u8]) -> Error {
    let message = format!("unexpected event in the reply: {}", excerpt(event));
    Error::new(ErrorKind::Protocol, Step::ReadReply, message)
}
