//! One line of a reply: h2oGPTe's `ChatCompletionDelta`, or its `ChatCompletion` if it is the only
//! one.

use super::object::{Raw, read_object};
use super::update::{Context, Update, reported, text_token, unexpected, unreadable};
use crate::error::Result;

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
            if json.has_key(r#""body""#) {
                delta.body = json.value()?;
            } else if json.has_key(r#""finished""#) {
                delta.finished = json.value()?;
            } else if json.has_key(r#""message_id""#) {
                delta.message_id = json.value()?;
            } else if json.has_key(r#""error""#) {
                delta.error = json.value()?;
            } else {
                json.other()?;
            }
            Some(())
        })?;
        Some(delta)
    }

    /// Returns whether this is the whole reply of a server that does not stream, if no other line
    /// follows.
    fn may_be_whole_reply(&self, context: &Context) -> bool {
        !context.has_begun && self.finished.is_null() && !self.message_id.is_null()
    }

    /// Returns the update, or `None` if its text is not a string.
    fn update(&self, context: &mut Context) -> Option<Update> {
        let mut update = Update::default();
        // It was not the whole reply.
        let before = context.only_text.take();
        if self.may_be_whole_reply(context) {
            context.only_text = Some(self.body.text()?);
        } else if self.finished.is_true() {
            // The last line repeats the whole text.
            let text = if self.body.is_null() { String::new() } else { self.body.text()? };
            update = Update { event: before.map(text_token), ..Update::last(text, None) };
        } else {
            let text = context.halves.join(self.body.bytes()?.into_owned())?;
            let text = match before {
                Some(before) => before + &text,
                None => text,
            };
            update.event = Some(text_token(text));
        }
        context.has_begun = true;
        Some(update)
    }
}
