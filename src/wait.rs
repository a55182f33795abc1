//! The callback of a call that waits for the server. It knows nothing of what is waited for.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::CancelHandle;
use crate::error::Step;

/// The shortest time between two calls of the callback.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// A wait for the server, as [`Request::on_wait`](crate::Request::on_wait) sees it.
#[derive(Debug)]
pub struct Wait {
    step: Step,
    elapsed: Duration,
    cancel: CancelHandle,
}

impl Wait {
    /// The step that waits. It is [`Step::SendMessage`] until the server begins to reply, and then
    /// [`Step::ReadReply`].
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// The time without a token: since the call began or, later, since the present wait began.
    /// Reasoning counts as a token.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Cancels the call, as its [`CancelHandle`] would. It fails with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and the callback is not called again.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// The callback of a request.
#[derive(Clone)]
pub(crate) struct OnWait(Arc<dyn Fn(&Wait) + Send + Sync>);

impl OnWait {
    pub(crate) fn new(callback: impl Fn(&Wait) + Send + Sync + 'static) -> OnWait {
        OnWait(Arc::new(callback))
    }
}

/// The callback of one call, and what it has to know.
pub(crate) struct Waiting {
    callback: OnWait,
    cancel: CancelHandle,
    state: Mutex<State>,
}

struct State {
    step: Step,
    /// When the present wait began, if there is one.
    since: Option<Instant>,
    last_call: Instant,
    panic: Option<Box<dyn Any + Send>>,
}

impl Waiting {
    /// For a call that begins now, and that `cancel` ends.
    pub(crate) fn new(callback: OnWait, cancel: CancelHandle) -> Waiting {
        let now = Instant::now();
        let state = State { step: Step::Validate, since: Some(now), last_call: now, panic: None };
        Waiting { callback, cancel, state: Mutex::new(state) }
    }

    pub(crate) fn set_step(&self, step: Step) {
        self.state().step = step;
    }

    /// Ends the present wait. The next wait starts at zero.
    pub(crate) fn end_wait(&self) {
        self.state().since = None;
    }

    /// Calls the callback if it is time. Returns the time until the callback is due again.
    ///
    /// A panic cancels the call, so that it is cleaned up like any other. See
    /// [`resume_panic`](Waiting::resume_panic).
    pub(crate) fn tick(&self) -> Duration {
        let mut state = self.state();
        if self.cancel.is_cancelled() {
            return INTERVAL;
        }
        let now = Instant::now();
        let since = *state.since.get_or_insert(now);
        let left = INTERVAL.saturating_sub(now - state.last_call);
        if !left.is_zero() {
            return left;
        }
        state.last_call = now;
        let cancel = self.cancel.clone();
        let wait = Wait { step: state.step, elapsed: now - since, cancel };
        // The callback may begin another call.
        drop(state);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.callback.0)(&wait))) {
            self.state().panic = Some(panic);
            self.cancel.cancel();
        }
        INTERVAL
    }

    /// Resumes the panic of the callback, if there was one.
    pub(crate) fn resume_panic(&self) {
        let panic = mem::take(&mut self.state().panic);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
