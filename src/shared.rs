//! The state that a client and its conversations share: the server's API, the timeouts, and the
//! conversations that could not be deleted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::warn;

use crate::api::{Api, RemoteConversation, ReplyStream};
use crate::cancel::{CancelHandle, CancelHandles};
use crate::error::{Error, Result};
use crate::http::{Timeouts, Timer};
use crate::request::Request;

/// How many leftovers are remembered.
const MAX_LEFTOVERS: usize = 1000;

/// How many cleanup timeouts deleting all leftovers may take if there is no total timeout.
const LEFTOVERS_TIMEOUTS: u32 = 10;

pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) timeouts: Timeouts,
    cancel: Option<CancelHandle>,
    /// The oldest first.
    leftovers: Mutex<VecDeque<Leftover>>,
}

/// A conversation that could not be deleted.
#[derive(Clone)]
struct Leftover {
    conversation: RemoteConversation,
    /// A generation may be running in it.
    is_running: bool,
}

impl Shared {
    pub(crate) fn new(api: Api, timeouts: Timeouts, cancel: Option<CancelHandle>) -> Shared {
        Shared { api, timeouts, cancel, leftovers: Mutex::default() }
    }

    /// The timer of a call that begins now, with its own cancel handle and total timeout if it has
    /// them.
    pub(crate) fn timer(&self, cancel: Option<CancelHandle>, total: Option<Duration>) -> Timer {
        let timeouts = Timeouts { total: total.or(self.timeouts.total), ..self.timeouts };
        Timer::new(CancelHandles::new(self.cancel.clone(), cancel), &timeouts)
    }

    /// The timer of a request that is sent now. Takes from it what does not apply to another call.
    pub(crate) fn timer_of(&self, request: &mut Request) -> Timer {
        let timer = self.timer(request.cancel.take(), request.total_timeout);
        timer.with_on_wait(request.on_wait.take())
    }

    /// The timer of cleanup that begins now.
    pub(crate) fn cleanup_timer(&self) -> Timer {
        Timer::cleanup(self.timeouts.cleanup)
    }

    /// Stops the generation in a conversation, within half of the cleanup timeout.
    pub(crate) fn stop(
        &self,
        timer: &Timer,
        conversation: &RemoteConversation,
        stream: Option<&mut ReplyStream>,
    ) -> Result<()> {
        let timer = timer.within(self.timeouts.cleanup / 2);
        self.api.stop(&timer, conversation, stream)
    }

    /// Stops what may be running in a conversation, and deletes it. If that fails, it becomes a
    /// leftover.
    ///
    /// An open stream is closed before the stop, so that the server notices. Some servers obey a
    /// stop only while it is open: there it is closed afterwards.
    pub(crate) fn delete(
        &self,
        timer: &Timer,
        conversation: &RemoteConversation,
        is_running: bool,
        stream: Option<ReplyStream>,
    ) -> Result<()> {
        let mut stream = stream.filter(|_| is_running && self.api.stops_only_while_open());
        let stop = || self.stop(timer, conversation, stream.as_mut()).err();
        let not_stopped = is_running.then(stop).flatten();
        drop(stream);
        match self.api.delete(timer, conversation) {
            Ok(was_there) => {
                self.forget(&conversation.id);
                if let Some(error) = not_stopped.filter(|_| was_there) {
                    let id = &conversation.id;
                    warn!("conversation {id} is deleted, but its generation may go on: {error}");
                }
                Ok(())
            }
            Err(error) => {
                self.remember(Leftover {
                    conversation: conversation.without_texts(),
                    is_running: not_stopped.is_some(),
                });
                Err(error.with_undeleted(&conversation.id, &conversation.session.session))
            }
        }
    }

    pub(crate) fn leftover_ids(&self) -> Vec<String> {
        let leftovers = self.leftovers();
        let ids = leftovers.iter().map(|leftover| leftover.conversation.id.clone());
        ids.collect()
    }

    /// Tries again to delete the leftovers. Returns how many are gone, or the first error. Ends
    /// early when the server does not respond.
    pub(crate) fn delete_leftovers(&self) -> Result<usize> {
        let cancel = CancelHandles::new(self.cancel.clone(), None);
        let total = self.timeouts.total;
        let total = total.unwrap_or(self.timeouts.cleanup.saturating_mul(LEFTOVERS_TIMEOUTS));
        let timer = Timer::cancellable_cleanup(cancel, total);
        let leftovers = self.leftovers().clone();
        let mut deleted = 0;
        let mut first_error: Option<Error> = None;
        for leftover in &leftovers {
            let timer = timer.within(self.timeouts.cleanup);
            match self.delete(&timer, &leftover.conversation, leftover.is_running, None) {
                Ok(()) => deleted += 1,
                Err(error) => {
                    let is_response = error.status().is_some();
                    first_error.get_or_insert(error);
                    if !is_response {
                        break;
                    }
                }
            }
        }
        first_error.map_or(Ok(deleted), Err)
    }

    fn remember(&self, leftover: Leftover) {
        let mut leftovers = self.leftovers();
        let id = &leftover.conversation.id;
        if let Some(known) = leftovers.iter_mut().find(|it| it.conversation.id == *id) {
            // It stays in its place, the oldest first.
            *known = leftover;
            return;
        }
        leftovers.push_back(leftover);
        if leftovers.len() > MAX_LEFTOVERS {
            let id = leftovers.pop_front().map(|oldest| oldest.conversation.id);
            let id = id.unwrap_or_default();
            warn!("too many conversations could not be deleted; forgetting the oldest, {id}");
        }
    }

    fn forget(&self, id: &str) {
        let mut leftovers = self.leftovers();
        let known = leftovers.iter().position(|it| it.conversation.id == id);
        known.and_then(|index| leftovers.remove(index));
    }

    fn leftovers(&self) -> MutexGuard<'_, VecDeque<Leftover>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
