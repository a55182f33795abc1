//! The decoder of a reply, in any of the formats in which servers send it.

use std::io::{self, Read};

use super::sse::Events;
use super::update::Update;
use super::{chat_ui, tgi};
use crate::error::Result;
use crate::reply::Event;

/// The longest event of a reply that has no text yet, in bytes.
const MAX_EVENT: usize = 1 << 20;

/// How many bytes JSON may take for a byte of text, as in `\u0007`. The last event repeats the
/// whole text.
const MAX_ESCAPE: usize = 6;

/// By how much the last event may be longer because it repeats the text, in bytes.
const MAX_REPEATED: usize = 16 << 20;

pub(crate) struct Decoder {
    format: Format,
    max_event: usize,
}

enum Format {
    /// An event stream of text-generation-inference.
    Tgi(Events),
    /// JSON lines of chat-ui.
    ChatUi(chat_ui::Messages),
}

impl Decoder {
    pub(crate) fn tgi() -> Decoder {
        Decoder::new(Format::Tgi(Events::default()))
    }

    pub(crate) fn chat_ui() -> Decoder {
        Decoder::new(Format::ChatUi(chat_ui::Messages::default()))
    }

    fn new(format: Format) -> Decoder {
        Decoder {
            format,
            max_event: MAX_EVENT,
        }
    }

    /// The next update, if all of it is here.
    pub(crate) fn next(&mut self) -> Result<Option<Update>> {
        let update = self.next_of_format()?;
        let event = update.as_ref().and_then(|update| update.event.as_ref());
        if let Some(text) = event.and_then(Event::text) {
            let longer = self.max_event + text.len() * MAX_ESCAPE;
            self.max_event = longer.min(MAX_EVENT + MAX_REPEATED);
        }
        Ok(update)
    }

    fn next_of_format(&mut self) -> Result<Option<Update>> {
        match &mut self.format {
            Format::Tgi(events) => {
                while let Some(event) = events.next(self.max_event)? {
                    if let Some(update) = tgi::update(event)? {
                        return Ok(Some(update));
                    }
                }
                Ok(None)
            }
            Format::ChatUi(messages) => messages.next(self.max_event),
        }
    }

    /// Reads more bytes, once. Returns 0 at the end of the stream.
    pub(crate) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        match &mut self.format {
            Format::Tgi(events) => events.fill(reader),
            Format::ChatUi(messages) => messages.fill(reader),
        }
    }
}
