//! What is said to a server and what it answers. What differs between kinds of servers stays below this
//! module; nothing above it knows which kind it talks to.

mod classic;
mod packed;
mod success;
mod tgi;

use std::time::{Duration, Instant};

use ureq::BodyReader;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Session, Watch, unreadable};
use crate::reply::{End, Event};
use crate::request::{Message, Request};
use crate::stream::Events;

pub(crate) use classic::Classic;

/// Where a conversation is: its id, the session that it belongs to, and the model that it is with, if that is known.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) session: Session,
    pub(crate) model: Option<String>,
}

/// A conversation that has been opened.
pub(crate) struct Opened {
    pub(crate) place: Place,
    /// What has to go before the first message, because the server has no place for a system prompt.
    pub(crate) preamble: Option<String>,
}

/// A message on its way to a server.
pub(crate) struct Turn {
    pub(crate) id: String,
    text: String,
    parameters: Map<String, Value>,
    /// It has been sent before, and is to be answered once more.
    is_retry: bool,
}

/// A message in the history that a server keeps.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) message: Message,
}

/// What a server says in one event of a reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) event: Option<Event>,
    /// The proof that the reply is complete.
    pub(crate) end: Option<End>,
}

impl Turn {
    /// Judges the request on the way.
    pub(crate) fn new(request: &Request, id: &str, is_retry: bool) -> Result<Turn> {
        Ok(Turn {
            id: id.to_owned(),
            text: request.prompt()?,
            parameters: request.parameters().clone(),
            is_retry,
        })
    }

    pub(crate) fn new_id() -> String {
        Uuid::new_v4().to_string()
    }

    pub(crate) fn after(self, preamble: &str) -> Turn {
        let text = format!("{preamble}\n\n{}", self.text);
        Turn { text, ..self }
    }
}

/// The longest event of a reply that has no text yet, in bytes.
const LONGEST_EVENT: usize = 1 << 20;

/// How many bytes JSON may write for a byte of text, as in `\u0007`. The last event repeats the whole text.
const LONGEST_ESCAPE: usize = 6;

/// A reply on its way.
pub(crate) struct Stream {
    events: Events,
    longest_event: usize,
    body: BodyReader<'static>,
}

impl Stream {
    fn new(body: BodyReader<'static>) -> Stream {
        Stream {
            events: Events::default(),
            longest_event: LONGEST_EVENT,
            body,
        }
    }

    /// The next frame, or none at the end of the bytes, which proves nothing. The stall is counted from
    /// `since`.
    pub(crate) fn next(&mut self, watch: &Watch, since: Instant) -> Result<Option<Frame>> {
        loop {
            watch.check().map_err(|cut| cut.at(Step::Reply))?;
            while let Some(event) = self.events.next(self.longest_event)? {
                if let Some(frame) = tgi::frame(event)? {
                    let text = frame.event.as_ref().and_then(Event::text);
                    self.longest_event += text.map_or(0, str::len) * LONGEST_ESCAPE;
                    return Ok(Some(frame));
                }
            }
            let read = watch.run(since, || self.events.fill(&mut self.body));
            if read.map_err(|error| unreadable(Step::Reply, error))? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads on, without a look at what comes, until nothing more does.
    pub(crate) fn wait_for_end(&mut self, watch: &Watch) -> Result<()> {
        let read = watch.run(Instant::now(), || {
            std::io::copy(&mut self.body, &mut std::io::sink())
        });
        match read.map_err(|error| unreadable(Step::Message, error)) {
            // However the connection ended, the generation did with it.
            Err(error) if !is_cut(&error) => Ok(()),
            read => read.map(drop),
        }
    }

    /// Reads what follows the last event, so that the connection can be used again.
    pub(crate) fn drain(mut self, limit: Duration) {
        let watch = Watch::cleanup(limit);
        // Without success the connection is closed, and that is all.
        let _ = watch.run(Instant::now(), || {
            std::io::copy(&mut self.body, &mut std::io::sink())
        });
    }
}

/// Whether it was this side that gave up.
fn is_cut(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Stopped | ErrorKind::Timeout(_))
}

/// Whether this can be an id: it is going to be part of a path.
pub(crate) fn is_id(id: &str) -> bool {
    let of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(of_an_id)
}
