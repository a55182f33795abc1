//! The decoder of a reply, in any of the formats in which servers send it.

use std::io::{self, Read};
use std::mem;

use super::handed_out::HandedOut;
use super::lines::Lines;
use super::sse::{Events, Name};
use super::update::{Context, Update, failure, text_token, unexpected};
use super::{completion, message_update, tgi};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::reply::Event;
use crate::text::excerpt;

/// The longest event of a reply that has no text yet, in bytes.
const MAX_EVENT: usize = 1 << 20;

/// How many bytes JSON may take for a byte of text, as in `\u0007`. The last event repeats the
/// whole text.
const MAX_ESCAPE: usize = 6;

/// By how much the last event may be longer because it repeats the text, in bytes.
const MAX_REPEATED: usize = 16 << 20;

pub(crate) struct Decoder {
    framing: Framing,
    /// Reads an event. Returns `None` for one that is not of the protocol but may be skipped, and
    /// an empty update for one that carries nothing of interest.
    read: fn(&[u8], &mut Context) -> Result<Option<Update>>,
    context: Context,
    max_event: usize,
    handed_out: HandedOut,
    /// The update after the one returned last.
    pending: Option<Update>,
    /// An event of the protocol has come.
    has_begun: bool,
    /// The first event that was skipped.
    first_skipped: Option<String>,
}

/// The framing of events.
enum Framing {
    EventStream(Events),
    Lines(Lines),
}

impl Framing {
    fn next(&mut self, max_event: usize) -> Result<Option<(Name, &[u8])>> {
        match self {
            Framing::EventStream(events) => events.next(max_event),
            Framing::Lines(lines) => {
                let line = lines.next(max_event)?;
                Ok(line.map(|line| (Name::Message, lines.bytes(line))))
            }
        }
    }

    fn lines(&mut self) -> &mut Lines {
        match self {
            Framing::EventStream(events) => &mut events.lines,
            Framing::Lines(lines) => lines,
        }
    }
}

impl Decoder {
    /// An event stream of text-generation-inference.
    pub(crate) fn tgi() -> Decoder {
        Decoder::new(Framing::EventStream(Events::new()), tgi::read)
    }

    /// JSON lines of chat-ui.
    pub(crate) fn chat_ui() -> Decoder {
        let lines = Lines::new(message_update::is_skipped);
        Decoder::new(Framing::Lines(lines), message_update::read)
    }

    /// JSON lines of h2oGPTe.
    pub(crate) fn h2ogpte() -> Decoder {
        let lines = Lines::new(|_| false);
        Decoder::new(Framing::Lines(lines), completion::read)
    }

    fn new(framing: Framing, read: fn(&[u8], &mut Context) -> Result<Option<Update>>) -> Decoder {
        Decoder {
            framing,
            read,
            context: Context::default(),
            max_event: MAX_EVENT,
            handed_out: HandedOut::new(),
            pending: None,
            has_begun: false,
            first_skipped: None,
        }
    }

    /// Returns whether an event of the protocol has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Returns whether an update is the last one, or the last one is here and comes next.
    pub(crate) fn is_ending(&self, update: &Update) -> bool {
        update.is_last() || self.pending.is_some()
    }

    /// Reads the id and the probability of each token too, and the events that are not text, from
    /// now on.
    pub(crate) fn read_metadata(&mut self) {
        self.context.reads_metadata = true;
    }

    /// The next update, if all of it is here.
    pub(crate) fn next(&mut self) -> Result<Option<Update>> {
        if self.pending.is_some() {
            return Ok(self.pending.take());
        }
        while let Some((name, event)) = self.framing.next(self.max_event)? {
            if event.len() > self.max_event {
                match self.context.other(event, false) {
                    Some(update) => return Ok(Some(update)),
                    None => continue,
                }
            }
            let read = (self.read)(event, &mut self.context);
            if name == Name::Error {
                return Err(failure(event));
            }
            match read {
                Ok(Some(mut update)) => {
                    self.has_begun = true;
                    if !update.is_empty() {
                        self.hand_out(&mut update);
                        return Ok(Some(update));
                    }
                }
                Err(error) if error.kind() != ErrorKind::Protocol => return Err(error),
                _ if is_keep_alive(name, event) => {}
                Ok(None) => {
                    self.first_skipped.get_or_insert_with(|| excerpt(event));
                    if let Some(update) = self.context.other(event, true) {
                        return Ok(Some(update));
                    }
                }
                Err(error) => {
                    // The end of the stream may have cut off an object.
                    if !event.starts_with(b"{") {
                        self.first_skipped.get_or_insert_with(|| excerpt(event));
                    }
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// The last update, if the stream has ended without the end of its line: it counts if it is
    /// whole. Called when the stream has ended as it should, and no further update is here.
    pub(crate) fn finish(&mut self) -> Result<Option<Update>> {
        self.framing.lines().end();
        match self.next() {
            Ok(Some(update)) if self.is_ending(&update) => Ok(Some(update)),
            // The whole reply may have come before it.
            Ok(Some(Update { event: Some(Event::Other { .. }), .. })) => self.finish(),
            Err(error) if error.kind() == ErrorKind::Generation => Err(error),
            Ok(None) => Ok(self.context.only_text.take().map(|text| {
                let mut update = Update::last(text, None);
                self.hand_out(&mut update);
                update
            })),
            _ => Ok(None),
        }
    }

    /// The error of a stream that has ended without a last update.
    pub(crate) fn unfinished(&self) -> Error {
        match &self.first_skipped {
            Some(event) if !self.has_begun => unexpected(event.as_bytes()),
            _ => {
                let message = "the reply ended without its last event";
                Error::new(ErrorKind::Truncated, Step::ReadReply, message)
            }
        }
    }

    /// Adds the text of an update. If text comes only in the last update, replaces that one by a
    /// token; it comes next.
    fn hand_out(&mut self, update: &mut Update) {
        if let Some(text) = update.event.as_ref().and_then(Event::text) {
            let longer = self.max_event + text.len() * MAX_ESCAPE;
            self.max_event = longer.min(MAX_EVENT + MAX_REPEATED);
            self.handed_out.add(text);
        }
        let Some(end) = &update.end else {
            return;
        };
        // The whole text may have both halves of what was cut into two.
        let half = self.context.halves.give_up();
        let Some(rest) = self.handed_out.rest(&end.text).or(half) else {
            return;
        };
        let rest = Some(text_token(rest.to_owned()));
        let mut last = mem::take(update);
        if last.event.is_some() {
            update.event = mem::replace(&mut last.event, rest);
        } else {
            update.event = rest;
        }
        self.pending = Some(last);
    }

    /// Reads more bytes, once. Returns 0 at the end of the stream.
    pub(crate) fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        self.framing.lines().fill(reader)
    }
}

/// Returns whether an event only keeps the connection alive.
fn is_keep_alive(name: Name, event: &[u8]) -> bool {
    let event = event.trim_ascii();
    let says_nothing = matches!(event, b"" | b"null" | b"{}" | b"[DONE]");
    name == Name::Other || says_nothing || event.starts_with(b":")
}
