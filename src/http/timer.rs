//! The timeouts of a call, its cancel handles, and the callback for its waits.
//!
//! ureq runs its transport on the thread that makes the call and passes nothing through to it. So
//! [`Timer::run`] keeps them in thread-locals, where the transport finds them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::sync::Arc;
#[cfg(not(fuzzing))]
use std::thread::sleep;
use std::time::{Duration, Instant};

#[cfg(fuzzing)]
use super::fuzzing::{now, sleep};
use crate::cancel::{CancelHandle, CancelHandles};
use crate::error::{Step, Timeout};
use crate::wait::{INTERVAL, OnWait, Waiting};

/// The longest wait without looking at deadlines and cancel handles.
const SLICE: Duration = INTERVAL;

/// The clock, which a fuzzer turns by hand.
#[cfg(not(fuzzing))]
fn now() -> Instant {
    Instant::now()
}

/// The timeouts of a client. `None` means that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) token: Option<Duration>,
    pub(crate) total: Option<Duration>,
    pub(crate) cleanup: Duration,
}

/// The deadlines and hooks of one call, from its beginning to the end of its reply.
#[derive(Clone)]
pub(crate) struct Timer {
    hooks: Hooks,
    idle: Option<Duration>,
    token: Option<Duration>,
    end: Option<Deadline>,
    grace: Option<Duration>,
}

/// The cancel handles of a call, and the callback for its waits.
#[derive(Clone)]
struct Hooks {
    cancel: CancelHandles,
    waiting: Option<Arc<Waiting>>,
}

impl Hooks {
    const NONE: Hooks = Hooks { cancel: CancelHandles::NONE, waiting: None };
}

/// The instant at which a timeout expires.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    timeout: Timeout,
    length: Duration,
}

/// Why a wait ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    Expired(Timeout, Duration),
}

impl Timer {
    /// The timer of a call that begins now.
    pub(crate) fn new(cancel: CancelHandles, timeouts: &Timeouts) -> Timer {
        Timer {
            hooks: Hooks { cancel, waiting: None },
            idle: timeouts.idle,
            token: timeouts.token,
            end: Deadline::after(timeouts.total, Timeout::Total, now()),
            grace: None,
        }
    }

    /// The timer of cleanup work, which nothing else may interrupt.
    pub(crate) fn cleanup(timeout: Duration) -> Timer {
        Timer {
            hooks: Hooks::NONE,
            idle: None,
            token: None,
            end: Deadline::after(Some(timeout), Timeout::Cleanup, now()),
            grace: None,
        }
    }

    /// The timer of cleanup work that a cancel handle may interrupt.
    pub(crate) fn cancellable_cleanup(cancel: CancelHandles, timeout: Duration) -> Timer {
        Timer { hooks: Hooks { cancel, waiting: None }, ..Timer::cleanup(timeout) }
    }

    /// Sets what is called while the call waits. A handle of its own cancels the call.
    pub(crate) fn with_on_wait(mut self, on_wait: Option<OnWait>) -> Timer {
        if let Some(on_wait) = on_wait {
            let cancel = CancelHandle::default();
            self.hooks.cancel.set_callback(cancel.clone());
            self.hooks.waiting = Some(Arc::new(Waiting::new(on_wait, cancel)));
        }
        self
    }

    /// Sets the step that the callback is told.
    pub(crate) fn set_step(&self, step: Step) {
        if let Some(waiting) = &self.hooks.waiting {
            waiting.set_step(step);
        }
    }

    /// Begins a new wait for the callback: the caller has got a token.
    pub(crate) fn end_wait(&self) {
        if let Some(waiting) = &self.hooks.waiting {
            waiting.end_wait();
        }
    }

    /// Resumes a panic of the callback, after the cleanup. A panic cancels the call.
    pub(crate) fn resume_panic(&self) {
        if let Some(waiting) = &self.hooks.waiting {
            waiting.resume_panic();
        }
    }

    /// Extends an expired timeout by `grace`, for a request whose lost response would leak a
    /// conversation.
    pub(crate) fn with_grace(&self, grace: Duration) -> Timer {
        Timer { grace: Some(grace), ..self.clone() }
    }

    /// Removes the grace, for a request that is not worth it.
    pub(crate) fn without_grace(&self) -> Timer {
        Timer { grace: None, ..self.clone() }
    }

    /// Shortens the timer to `timeout`, which then expires as the cleanup timeout.
    pub(crate) fn within(&self, timeout: Duration) -> Timer {
        let sooner = Deadline::after(Some(timeout), Timeout::Cleanup, now());
        let deadlines = [self.end, sooner].into_iter().flatten();
        Timer { end: deadlines.min_by_key(|deadline| deadline.at), ..self.clone() }
    }

    /// Runs `call` under this timer. The token timeout counts from `since`, the idle timeout from
    /// now and again from each byte.
    pub(crate) fn run<R>(&self, since: Instant, call: impl FnOnce() -> R) -> R {
        let _scope = Scope::enter(self.deadlines(since), self.hooks.clone());
        call()
    }

    /// Checks whether the call may continue, without waiting.
    pub(crate) fn check(&self) -> Result<(), Interrupt> {
        if self.hooks.cancel.is_cancelled() {
            return Err(Interrupt::Cancelled);
        }
        match self.end {
            Some(end) if end.at <= now() => Err(end.interrupt()),
            _ => Ok(()),
        }
    }

    /// The time that is left, or `None` if nothing limits it.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let end = self.end?;
        Some(end.at.saturating_duration_since(now()))
    }

    /// Returns whether a pause of this length would leave any time.
    pub(super) fn has_time_for(&self, pause: Duration) -> bool {
        pause.is_zero() || self.time_left().is_none_or(|left| pause < left)
    }

    /// Sleeps for `length`, unless the call is cancelled or its time ends before.
    pub(crate) fn pause(&self, length: Duration) -> Result<(), Interrupt> {
        let start = now();
        loop {
            let slice = self.hooks.waiting.as_ref().map_or(SLICE, |waiting| waiting.tick());
            self.check()?;
            let left = length.saturating_sub(now() - start);
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(slice));
        }
    }

    fn deadlines(&self, since: Instant) -> Deadlines {
        Deadlines {
            idle: Deadline::after(self.idle, Timeout::Idle, now()),
            token: Deadline::after(self.token, Timeout::Token, since),
            end: self.end,
            connect: None,
            grace: self.grace,
            extended: None,
        }
    }
}

impl Deadline {
    /// Returns `None` as well if the clock cannot represent the instant.
    fn after(length: Option<Duration>, timeout: Timeout, start: Instant) -> Option<Deadline> {
        let length = length?;
        let at = start.checked_add(length)?;
        Some(Deadline { at, timeout, length })
    }

    fn interrupt(&self) -> Interrupt {
        Interrupt::Expired(self.timeout, self.length)
    }
}

/// The deadlines of the call under way on this thread.
#[derive(Clone, Copy)]
struct Deadlines {
    idle: Option<Deadline>,
    token: Option<Deadline>,
    end: Option<Deadline>,
    /// Set only while a connection is being made.
    connect: Option<Deadline>,
    grace: Option<Duration>,
    /// When the grace ends, and why it began.
    extended: Option<(Instant, Interrupt)>,
}

impl Deadlines {
    const NONE: Deadlines = Deadlines {
        idle: None,
        token: None,
        end: None,
        connect: None,
        grace: None,
        extended: None,
    };

    /// The time left to the nearest deadline and what happens then, or what has happened already.
    fn nearest(&self, now: Instant) -> Result<Option<(Duration, Interrupt)>, Interrupt> {
        if is_cancelled() {
            return Err(Interrupt::Cancelled);
        }
        let mut nearest: Option<&Deadline> = None;
        let set = [&self.end, &self.token, &self.idle, &self.connect];
        for deadline in set.into_iter().flatten() {
            if deadline.at <= now {
                return Err(deadline.interrupt());
            }
            if nearest.is_none_or(|nearest| deadline.at < nearest.at) {
                nearest = Some(deadline);
            }
        }
        Ok(nearest.map(|deadline| (deadline.at - now, deadline.interrupt())))
    }
}

thread_local! {
    // Two cells, because the first needs no destructor: cleanup in the destructor of another
    // thread-local still finds its deadline.
    static DEADLINES: Cell<Deadlines> = const { Cell::new(Deadlines::NONE) };
    static HOOKS: RefCell<Hooks> = const { RefCell::new(Hooks::NONE) };
}

/// Restores the deadlines and hooks of the surrounding call when dropped.
struct Scope {
    deadlines: Deadlines,
    hooks: Hooks,
}

impl Scope {
    fn enter(deadlines: Deadlines, hooks: Hooks) -> Scope {
        Scope {
            deadlines: DEADLINES.replace(deadlines),
            hooks: HOOKS.try_with(|cell| cell.replace(hooks)).unwrap_or(Hooks::NONE),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        DEADLINES.set(self.deadlines);
        // This fails only while the thread ends, when no call is left that would need them.
        let _ = HOOKS.try_with(|cell| cell.replace(mem::replace(&mut self.hooks, Hooks::NONE)));
    }
}

/// The time left to the call under way on this thread, if it is limited, or why it has to end.
pub(super) fn time_left() -> Result<Option<Duration>, Interrupt> {
    Ok(nearest()?.map(|(left, _)| left))
}

/// Like [`time_left`], with the reason for which the call would have to end.
pub(super) fn nearest() -> Result<Option<(Duration, Interrupt)>, Interrupt> {
    let deadlines = DEADLINES.get();
    let now = now();
    if let Some((end, reason)) = deadlines.extended {
        return if now < end { Ok(Some((end - now, reason))) } else { Err(reason) };
    }
    let nearest = deadlines.nearest(now);
    let end = deadlines.grace.and_then(|grace| now.checked_add(grace));
    if let (Err(reason), Some(end)) = (nearest, end) {
        let extended = Some((end, reason));
        DEADLINES.set(Deadlines { extended, ..deadlines });
        return Ok(Some((end - now, reason)));
    }
    nearest
}

/// Runs `connect` under the connect timeout too. There is no grace: nothing has been sent, so no
/// response can be lost. Connecting to a proxy is part of connecting through it.
pub(super) fn connecting<R>(timeout: Option<Duration>, connect: impl FnOnce() -> R) -> R {
    let before = DEADLINES.get();
    let deadline = || Deadline::after(timeout, Timeout::Connect, now());
    DEADLINES.set(Deadlines { connect: before.connect.or_else(deadline), grace: None, ..before });
    let connected = connect();
    // Bytes that arrived meanwhile have restarted the idle timeout.
    let idle = DEADLINES.get().idle;
    DEADLINES.set(Deadlines { idle, ..before });
    connected
}

fn is_cancelled() -> bool {
    HOOKS.try_with(|cell| cell.borrow().cancel.is_cancelled()).unwrap_or(false)
}

/// Calls the callback of the call under way if it is time. Returns the time until it is due again,
/// at most a slice.
pub(super) fn tick() -> Duration {
    // The callback may begin another call, so nothing is borrowed meanwhile.
    let waiting = HOOKS.try_with(|cell| cell.borrow().waiting.clone()).ok().flatten();
    waiting.map_or(SLICE, |waiting| waiting.tick())
}

/// Restarts the idle timeout: bytes have been sent or received.
pub(super) fn restart_idle() {
    let mut deadlines = DEADLINES.get();
    if let Some(idle) = deadlines.idle {
        deadlines.idle = Deadline::after(Some(idle.length), Timeout::Idle, now());
        DEADLINES.set(deadlines);
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interrupt::Cancelled => f.write_str("cancelled by the caller"),
            Interrupt::Expired(timeout, length) => {
                let what = match timeout {
                    Timeout::Connect => "no connection",
                    Timeout::Idle => "no byte from the server",
                    Timeout::Token => "no token from the server",
                    Timeout::Total => "not finished",
                    Timeout::Cleanup => "not cleaned up",
                };
                write!(f, "{what} within {length:?}, the {timeout} timeout")
            }
        }
    }
}

impl std::error::Error for Interrupt {}
