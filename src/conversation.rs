//! The guard: a conversation on the server, deleted when it is no longer needed.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};

use crate::error::{Error, Result};
use crate::http::Watch;
use crate::protocol::{Classic, Message, Place, Stream};

/// A conversation that was [kept](crate::Tokens::keep): it stays on the server when this is dropped.
#[must_use = "a kept conversation stays on the server; its id is lost with this"]
pub struct Conversation {
    server: Arc<Classic>,
    place: Place,
    cleanup_budget: Duration,
    /// Dropping it deletes it from the server.
    armed: bool,
    /// A generation may be running on the server, which a deletion would not stop.
    running: bool,
}

impl Conversation {
    pub(crate) fn new(
        server: Arc<Classic>,
        place: Place,
        cleanup_budget: Duration,
    ) -> Conversation {
        Conversation {
            server,
            place,
            cleanup_budget,
            armed: true,
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
    /// [cleanup budget](crate::ClientBuilder::cleanup_budget), or refuses; the id is in [`Error::undeleted`].
    pub fn delete(mut self) -> Result<()> {
        self.armed = true;
        self.close_()
    }

    /// Sends a message; returns when the reply begins.
    pub(crate) fn send(&mut self, watch: &Watch, message: &Message) -> Result<Stream> {
        self.running = true;
        self.server.ask(watch, &self.place, message)
    }

    /// The server has said how the generation ended.
    pub(crate) fn generation_ended(&mut self) {
        self.running = false;
    }

    /// Stops a generation that may be running, at best.
    pub(crate) fn stop(&mut self) {
        if !mem::take(&mut self.running) {
            return;
        }
        let watch = Watch::cleanup(self.cleanup_budget / 2);
        if let Err(error) = self.server.stop(&watch, &self.place) {
            debug!("conversation {}: {error}", self.id());
        }
    }

    /// Dropping it does nothing from now on.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
    }

    /// Ends a conversation in which something went wrong, and adds to the error what that leaves behind.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        if error.is_the_servers_end() {
            self.generation_ended();
        }
        match self.close_() {
            Ok(()) => error,
            Err(second) => {
                debug!("{second}");
                error.with_undeleted(self.id())
            }
        }
    }

    /// Stops and deletes, once; what `delete`, `Drop` and the end of a reply share.
    pub(crate) fn close_(&mut self) -> Result<()> {
        if !mem::take(&mut self.armed) {
            return Ok(());
        }
        let watch = Watch::cleanup(self.cleanup_budget);
        self.stop();
        self.server
            .delete(&watch, &self.place)
            .map_err(|error| error.with_undeleted(self.id()))
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
