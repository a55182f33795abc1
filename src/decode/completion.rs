//! One line of a reply: h2oGPTe's `ChatCompletionDelta`, or its `ChatCompletion` if it is the only
//! one.

use super::object::{Raw, read_object};
use super::update::{Context, Update, reported, text_token, unexpected, unreadable};
use crate::error::Result;
use crate::reply::End;

/// The fields that matter.
#[derive(Default)]
struct ChatCompletionDelta<'a> {
    body: Raw<'a>,
    finished: Raw<'a>,
    message_id: Raw<'a>,
    error: Raw<'a>,
}

/// Reads a line: see [`Decoder`](super::Decoder).
pub(super) fn read(line: &[u8], context: &mut Context) -> Result<Option<Update>> {
    let Some(delta) = ChatCompletionDelta::read(line) else {
        return unreadable(line);
    };
    let is_of_reply = !delta.body.is_null() || delta.finished.is_true();
    if !is_of_reply || !delta.error.is_null() {
        match reported(line) {
            Some(error) => return Err(error),
            None if is_of_reply => {}
            None => return Ok(None),
        }
    }
    let update = delta.update(context);
    update.map(Some).ok_or_else(|| unexpected(line))
}

impl<'a> ChatCompletionDelta<'a> {
    fn read(line: &'a [u8]) -> Option<ChatCompletionDelta<'a>> {
        let mut delta = ChatCompletionDelta::default();
        read_object(line, |json| {
            if json.has_key(r#""body":"#) {
                delta.body = json.value()?;
            } else if json.has_key(r#""finished":"#) {
                delta.finished = json.value()?;
            } else if json.has_key(r#""message_id":"#) {
                delta.message_id = json.value()?;
            } else if json.has_key(r#""error":"#) {
                delta.error = json.value()?;
            } else {
                json.other()?;
            }
            Some(())
        })?;
        Some(delta)
    }

    /// The last line repeats the whole text. A server that does not stream says nothing else.
    fn is_last(&self) -> bool {
        let is_whole_reply = self.finished.is_null() && !self.message_id.is_null();
        self.finished.is_true() || is_whole_reply
    }

    /// The update, unless its text is none.
    fn update(&self, context: &mut Context) -> Option<Update> {
        let mut update = Update::default();
        if self.is_last() {
            let text = match self.body {
                body if body.is_null() => String::new(),
                body => body.text()?,
            };
            let details = None;
            update.end = Some(Box::new(End { text, details }));
        } else {
            let text = context.halves.join(self.body.bytes()?.into_owned())?;
            update.event = Some(text_token(text));
        }
        Some(update)
    }
}
