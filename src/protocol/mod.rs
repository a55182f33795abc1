//! What is said to a server and what it answers. What differs between kinds of servers stays below this
//! module; nothing above it knows which kind it talks to.

mod classic;
mod packed;
mod success;
mod tgi;

use std::time::{Duration, Instant};

use ureq::BodyReader;

use crate::error::{Result, Step};
use crate::http::{Session, Watch, unreadable};
use crate::reply::End;
use crate::stream::Events;

pub(crate) use classic::{Classic, Message};

/// Where a conversation is: its id, the session that it belongs to, and the model that it is with.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) session: Session,
    pub(crate) model: String,
}

/// What a server says in one event of a reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    /// Text, never empty.
    pub(crate) token: Option<String>,
    /// The proof that the reply is complete.
    pub(crate) end: Option<End>,
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
                    let text = frame.token.as_ref().map_or(0, String::len);
                    self.longest_event += text * LONGEST_ESCAPE;
                    return Ok(Some(frame));
                }
            }
            let read = watch.run(since, || self.events.fill(&mut self.body));
            if read.map_err(|error| unreadable(Step::Reply, error))? == 0 {
                return Ok(None);
            }
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

/// Whether this can be an id: it is going to be part of a path.
fn is_id(id: &str) -> bool {
    let of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(of_an_id)
}
