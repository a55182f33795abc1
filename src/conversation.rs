//! The guard: a conversation on the server, deleted when it is no longer needed.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, warn};

use crate::error::{Error, Result};
use crate::http::Watch;
use crate::protocol::{Frame, Message, Place, Stream};
use crate::shared::Shared;

/// How long a complete reply may take to end, so that its connection can be used again.
const DRAIN: Duration = Duration::from_millis(250);

/// A conversation that was [kept](crate::Tokens::keep): it stays on the server when this is dropped.
#[must_use = "a kept conversation stays on the server; its id is lost with this"]
pub struct Conversation {
    shared: Arc<Shared>,
    place: Place,
    /// Dropping it deletes it from the server.
    armed: bool,
    /// The reply that is being read.
    stream: Option<Stream>,
    /// A generation may be running on the server, which a deletion would not stop.
    running: bool,
}

impl Conversation {
    /// One that is deleted when dropped.
    pub(crate) fn new(shared: Arc<Shared>, place: Place) -> Conversation {
        Conversation {
            shared,
            place,
            armed: true,
            stream: None,
            running: false,
        }
    }

    /// The id that the server gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.place.id
    }

    /// Deletes it from the server. One that is gone already is no error.
    ///
    /// # Errors
    /// If the server cannot be reached within the client's
    /// [cleanup budget](crate::ClientBuilder::cleanup_budget), or refuses; the id is in
    /// [`Error::undeleted`](crate::Error::undeleted).
    pub fn delete(mut self) -> Result<()> {
        self.armed = true;
        self.close_()
    }

    /// Sends a message; returns when the reply begins.
    pub(crate) fn begin(&mut self, watch: &Watch, message: &Message) -> Result<()> {
        self.running = true;
        self.stream = Some(self.shared.server.ask(watch, &self.place, message)?);
        Ok(())
    }

    /// The next frame of the reply, or none at the end of its bytes, which proves nothing. The stall is counted
    /// from `since`.
    pub(crate) fn frame(&mut self, watch: &Watch, since: Instant) -> Result<Option<Frame>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let frame = stream.next(watch, since)?;
        // A clean end as well: the server has nothing more to generate then.
        if frame.as_ref().is_none_or(|frame| frame.end.is_some()) {
            self.running = false;
        }
        Ok(frame)
    }

    /// Ends a conversation in which something went wrong, and adds to the error what that leaves behind.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        if error.is_the_servers_end() {
            self.running = false;
        }
        match self.close_() {
            Ok(()) => error,
            Err(second) => {
                debug!("{second}");
                error.with_undeleted(self.id())
            }
        }
    }

    /// Ends the reading of a complete reply.
    pub(crate) fn finish(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.drain(DRAIN);
        }
    }

    /// Ends the reply where it is.
    pub(crate) fn interrupt(&mut self) {
        self.stream = None;
        if mem::take(&mut self.running) {
            self.shared.stop(&self.place);
        }
    }

    /// Dropping it does nothing from now on.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Stops and deletes, once; what `delete`, `Drop` and the end of a reply share.
    pub(crate) fn close_(&mut self) -> Result<()> {
        // Closed first, so that the server sees it gone before it is told to stop.
        self.stream = None;
        if !mem::take(&mut self.armed) {
            return Ok(());
        }
        let running = mem::take(&mut self.running);
        self.shared.remove(&self.place, running)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Err(error) = self.close_() {
            warn!("{error}");
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("id", &self.place.id)
            .finish_non_exhaustive()
    }
}
