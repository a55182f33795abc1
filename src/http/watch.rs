//! What bounds a call: its limits, and the flags that stop it.
//!
//! What holds for the call under way is kept in a thread-local while [`Watch::run`] lasts, because ureq runs
//! its transport on the thread that makes the call and has no other way to tell it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Limit;
use crate::stop::Stops;

/// The longest wait between two looks at the bounds.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// What bounds one call of a user, from its beginning to the end of its reply.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    stops: Stops,
    silence: Option<Duration>,
    stall: Option<Duration>,
    end: Option<Bound>,
    grace: Option<Duration>,
}

/// A moment at which a limit is reached.
#[derive(Clone, Copy, Debug)]
struct Bound {
    at: Instant,
    limit: Limit,
    length: Duration,
}

/// Why a wait was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Stopped,
    Reached(Limit, Duration),
}

impl Watch {
    pub(crate) fn new(
        stops: Stops,
        silence: Option<Duration>,
        stall: Option<Duration>,
        deadline: Option<Duration>,
    ) -> Watch {
        Watch {
            stops,
            silence,
            stall,
            end: Bound::after(deadline, Limit::Deadline, Instant::now()),
            grace: None,
        }
    }

    /// Bounds the work of tidying up, which no flag and no other limit may cut short.
    pub(crate) fn cleanup(budget: Duration) -> Watch {
        let end = Bound::after(Some(budget), Limit::Cleanup, Instant::now());
        Watch {
            stops: Stops::NONE,
            silence: None,
            stall: None,
            end,
            grace: None,
        }
    }

    /// The same, but for a call that is given so much longer when it should be cut, because to be left
    /// without its answer is worse.
    pub(crate) fn with_grace(&self, grace: Duration) -> Watch {
        Watch {
            grace: Some(grace),
            ..self.clone()
        }
    }

    /// The same, but for what is not worth that.
    pub(crate) fn without_grace(&self) -> Watch {
        Watch {
            grace: None,
            ..self.clone()
        }
    }

    /// The same, but for a wait of so much at the most, after which the cleanup limit is reached.
    pub(crate) fn within(&self, length: Duration) -> Watch {
        let sooner = Bound::after(Some(length), Limit::Cleanup, Instant::now());
        let end = [self.end, sooner]
            .into_iter()
            .flatten()
            .min_by_key(|bound| bound.at);
        Watch {
            end,
            ..self.clone()
        }
    }

    /// Runs `call` with its waits bounded by this watch. The stall is counted from `since`, the silence
    /// from now and again from each byte.
    pub(crate) fn run<R>(&self, since: Instant, call: impl FnOnce() -> R) -> R {
        let _scope = Scope::enter(self.bounds(since), self.stops.clone());
        call()
    }

    /// Whether the call may go on, for where there is nothing to wait for.
    pub(crate) fn check(&self) -> Result<(), Cut> {
        if self.stops.is_stopped() {
            return Err(Cut::Stopped);
        }
        match self.end {
            Some(end) if end.at <= Instant::now() => Err(Cut::Reached(end.limit, end.length)),
            _ => Ok(()),
        }
    }

    /// Whether a pause of this length would leave time for something after it. Tidying up never has.
    pub(super) fn has_time_for(&self, pause: Duration) -> bool {
        let Some(end) = self.end else { return true };
        let left = end.at.saturating_duration_since(Instant::now());
        pause.is_zero() || (end.limit != Limit::Cleanup && pause < left)
    }

    /// Waits for something that makes no sound; the limits and the stop hold as always.
    pub(crate) fn pause(&self, length: Duration) -> Result<(), Cut> {
        let start = Instant::now();
        loop {
            self.check()?;
            let left = length.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    fn bounds(&self, since: Instant) -> Bounds {
        Bounds {
            silence: Bound::after(self.silence, Limit::Silence, Instant::now()),
            stall: Bound::after(self.stall, Limit::Stall, since),
            end: self.end,
            connect: None,
            grace: self.grace,
            overtime: None,
        }
    }
}

impl Bound {
    /// None also for a time so far away that the clock cannot tell it.
    fn after(length: Option<Duration>, limit: Limit, start: Instant) -> Option<Bound> {
        let length = length?;
        let at = start.checked_add(length)?;
        Some(Bound { at, limit, length })
    }

    fn cut(&self) -> Cut {
        Cut::Reached(self.limit, self.length)
    }
}

/// The bounds of the call under way on this thread.
#[derive(Clone, Copy)]
struct Bounds {
    silence: Option<Bound>,
    stall: Option<Bound>,
    end: Option<Bound>,
    /// Only while a connection is being made.
    connect: Option<Bound>,
    grace: Option<Duration>,
    /// When the grace ends, and why it began.
    overtime: Option<(Instant, Cut)>,
}

impl Bounds {
    const NONE: Bounds = Bounds {
        silence: None,
        stall: None,
        end: None,
        connect: None,
        grace: None,
        overtime: None,
    };

    /// The time left to the nearest bound and what that is, if there is one, or the one that is reached.
    fn nearest(&self, now: Instant) -> Result<Option<(Duration, Cut)>, Cut> {
        if is_stopped() {
            return Err(Cut::Stopped);
        }
        let mut nearest: Option<&Bound> = None;
        let set = [&self.end, &self.stall, &self.silence, &self.connect];
        for bound in set.into_iter().flatten() {
            if bound.at <= now {
                return Err(bound.cut());
            }
            if nearest.is_none_or(|nearest| bound.at < nearest.at) {
                nearest = Some(bound);
            }
        }
        Ok(nearest.map(|bound| (bound.at - now, bound.cut())))
    }
}

thread_local! {
    // Two cells, because the first needs no destructor: tidying up in the destructor of another
    // thread-local still finds its budget.
    static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::NONE) };
    static STOPS: RefCell<Stops> = const { RefCell::new(Stops::NONE) };
}

/// Puts the bounds of the surrounding call back when dropped.
struct Scope {
    bounds: Bounds,
    stops: Stops,
}

impl Scope {
    fn enter(bounds: Bounds, stops: Stops) -> Scope {
        Scope {
            bounds: BOUNDS.replace(bounds),
            stops: STOPS
                .try_with(|cell| cell.replace(stops))
                .unwrap_or_default(),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        BOUNDS.set(self.bounds);
        // Fails only while the thread ends, when there is no call left to put it back for.
        let _ = STOPS.try_with(|cell| cell.replace(mem::take(&mut self.stops)));
    }
}

/// The time left to the call under way on this thread, if it is bounded, or why it has to end.
pub(super) fn time_left() -> Result<Option<Duration>, Cut> {
    Ok(nearest()?.map(|(left, _)| left))
}

/// The same, with what the call would have to end for.
pub(super) fn nearest() -> Result<Option<(Duration, Cut)>, Cut> {
    let bounds = BOUNDS.get();
    let now = Instant::now();
    if let Some((end, cut)) = bounds.overtime {
        return if now < end {
            Ok(Some((end - now, cut)))
        } else {
            Err(cut)
        };
    }
    let nearest = bounds.nearest(now);
    let end = bounds.grace.and_then(|grace| now.checked_add(grace));
    if let (Err(cut), Some(end)) = (nearest, end) {
        let overtime = Some((end, cut));
        BOUNDS.set(Bounds { overtime, ..bounds });
        return Ok(Some((end - now, cut)));
    }
    nearest
}

/// Makes a connection within this limit as well. There is no grace: nothing has been sent whose answer could be
/// missed. The connection to a proxy is a part of the one through it.
pub(super) fn connecting<R>(limit: Option<Duration>, call: impl FnOnce() -> R) -> R {
    let before = BOUNDS.get();
    let limit = || Bound::after(limit, Limit::Connect, Instant::now());
    BOUNDS.set(Bounds {
        connect: before.connect.or_else(limit),
        grace: None,
        ..before
    });
    let made = call();
    // What was heard meanwhile has been heard.
    let silence = BOUNDS.get().silence;
    BOUNDS.set(Bounds { silence, ..before });
    made
}

fn is_stopped() -> bool {
    let stopped = |cell: &RefCell<Stops>| cell.borrow().is_stopped();
    STOPS.try_with(stopped).unwrap_or(false)
}

/// Something travelled: the silence begins anew.
pub(super) fn heard() {
    let mut bounds = BOUNDS.get();
    if let Some(silence) = bounds.silence {
        bounds.silence = Bound::after(Some(silence.length), Limit::Silence, Instant::now());
        BOUNDS.set(bounds);
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Stopped => f.write_str("stopped by the caller"),
            Cut::Reached(limit, length) => {
                let what = match limit {
                    Limit::Connect => "no connection",
                    Limit::Silence => "not a byte from the server",
                    Limit::Stall => "no text from the server",
                    Limit::Deadline => "not finished",
                    Limit::Cleanup => "not tidied up",
                };
                write!(f, "{what} within {length:?}, the {limit} limit")
            }
        }
    }
}

impl std::error::Error for Cut {}
