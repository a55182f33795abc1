//! What a client and all of its conversations share: the server, the limits, and the conversations that could
//! not be deleted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::warn;

use crate::error::{Error, Result};
use crate::http::Watch;
use crate::protocol::{Place, Server};
use crate::stop::{Stop, Stops};

/// What a client waits for, and how long. None is for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Option<Duration>,
    pub(crate) silence: Option<Duration>,
    pub(crate) stall: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) cleanup: Duration,
}

pub(crate) struct Shared {
    pub(crate) server: Server,
    pub(crate) limits: Limits,
    stop: Option<Stop>,
    leftovers: Mutex<Vec<Leftover>>,
}

/// A conversation that could not be deleted.
#[derive(Clone)]
struct Leftover {
    place: Place,
    /// A generation may be running in it, which could not be stopped either.
    running: bool,
}

impl Shared {
    pub(crate) fn new(server: Server, limits: Limits, stop: Option<Stop>) -> Shared {
        Shared {
            server,
            limits,
            stop,
            leftovers: Mutex::default(),
        }
    }

    /// The bounds of a call that begins now.
    pub(crate) fn watch(&self, stop: Option<Stop>, deadline: Option<Duration>) -> Watch {
        let limits = &self.limits;
        let deadline = deadline.or(limits.deadline);
        let stops = Stops::new(self.stop.clone(), stop);
        Watch::new(stops, limits.silence, limits.stall, deadline)
    }

    /// Stops the generation that may be running in a conversation.
    pub(crate) fn stop(&self, place: &Place) -> Result<()> {
        let watch = Watch::cleanup(self.limits.cleanup / 2);
        self.server.stop(&watch, place)
    }

    /// Stops what may be running in a conversation and deletes it, within the cleanup budget. If that fails, it
    /// is remembered.
    pub(crate) fn remove(&self, place: &Place, running: bool) -> Result<()> {
        let watch = Watch::cleanup(self.limits.cleanup);
        let unstopped = running.then(|| self.stop(place).err()).flatten();
        let deleted = self.server.delete(&watch, place);
        let mut leftovers = self.leftovers();
        leftovers.retain(|leftover| leftover.place.id != place.id);
        match deleted {
            Ok(was_there) => {
                if let Some(error) = unstopped.filter(|_| was_there) {
                    let id = &place.id;
                    warn!("conversation {id} is deleted, its generation may go on: {error}");
                }
                Ok(())
            }
            Err(error) => {
                let error = error.with_undeleted(&place.id);
                leftovers.push(Leftover {
                    place: place.clone(),
                    running: unstopped.is_some(),
                });
                Err(error)
            }
        }
    }

    /// The ids of the conversations that could not be deleted.
    pub(crate) fn leftover_ids(&self) -> Vec<String> {
        let leftovers = self.leftovers();
        let ids = leftovers.iter().map(|leftover| leftover.place.id.clone());
        ids.collect()
    }

    /// Tries once more to delete what could not be deleted; says how many are gone, or what went wrong first. Once
    /// there is no answer at all, the rest is not tried.
    pub(crate) fn sweep(&self) -> Result<usize> {
        let leftovers = self.leftovers().clone();
        let mut gone = 0;
        let mut failure: Option<Error> = None;
        for Leftover { place, running } in &leftovers {
            match self.remove(place, *running) {
                Ok(()) => gone += 1,
                Err(error) => {
                    let is_unanswered = error.status().is_none();
                    failure.get_or_insert(error);
                    if is_unanswered {
                        break;
                    }
                }
            }
        }
        failure.map_or(Ok(gone), Err)
    }

    fn leftovers(&self) -> MutexGuard<'_, Vec<Leftover>> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
