//! All waiting of this crate: what bounds a call, and the transport that looks at it every 100 ms.
//!
//! ureq runs a transport on the thread that makes the call, so what holds for the call under way is kept
//! in a thread-local while [`Watch::run`] lasts. Nothing here knows what the bytes mean.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, SocksConnector,
    TcpConnector, Transport,
};

use crate::error::Limit;
use crate::stop::Stop;

/// The longest wait between two looks at the watch.
const SLICE: Duration = Duration::from_millis(100);

/// What bounds one call of a user, from its beginning to the end of its reply.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    stop: Option<Stop>,
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
        stop: Option<Stop>,
        silence: Option<Duration>,
        stall: Option<Duration>,
        deadline: Option<Duration>,
    ) -> Watch {
        Watch {
            stop,
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
            stop: None,
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

    /// Runs `call` with its waits bounded by this watch. The stall is counted from `since`, the silence
    /// from now and again from each byte.
    pub(crate) fn run<R>(&self, since: Instant, call: impl FnOnce() -> R) -> R {
        let _scope = Scope::enter(self.bounds(since), self.stop.clone());
        call()
    }

    /// Whether the call may go on, for where there is nothing to wait for.
    pub(crate) fn check(&self) -> Result<(), Cut> {
        self.run(Instant::now(), time_left).map(drop)
    }

    fn bounds(&self, since: Instant) -> Bounds {
        Bounds {
            silence: Bound::after(self.silence, Limit::Silence, Instant::now()),
            stall: Bound::after(self.stall, Limit::Stall, since),
            end: self.end,
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
}

/// The bounds of the call under way on this thread.
#[derive(Clone, Copy)]
struct Bounds {
    silence: Option<Bound>,
    stall: Option<Bound>,
    end: Option<Bound>,
    grace: Option<Duration>,
    /// When the grace ends, and why it began.
    overtime: Option<(Instant, Cut)>,
}

impl Bounds {
    const NONE: Bounds = Bounds {
        silence: None,
        stall: None,
        end: None,
        grace: None,
        overtime: None,
    };

    /// The time left to the nearest bound, if there is one, or the one that is reached.
    fn time_left(&self, now: Instant) -> Result<Option<Duration>, Cut> {
        if is_stopped() {
            return Err(Cut::Stopped);
        }
        let set = [self.end, self.stall, self.silence].into_iter().flatten();
        if let Some(reached) = set.clone().find(|bound| bound.at <= now) {
            return Err(Cut::Reached(reached.limit, reached.length));
        }
        Ok(set.map(|bound| bound.at - now).min())
    }
}

thread_local! {
    // Two cells, because the first needs no destructor: tidying up in the destructor of another
    // thread-local still finds its budget.
    static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::NONE) };
    static STOP: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

/// Puts the bounds of the surrounding call back when dropped.
struct Scope {
    bounds: Bounds,
    stop: Option<Stop>,
}

impl Scope {
    fn enter(bounds: Bounds, stop: Option<Stop>) -> Scope {
        Scope {
            bounds: BOUNDS.replace(bounds),
            stop: STOP.try_with(|cell| cell.replace(stop)).unwrap_or(None),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        BOUNDS.set(self.bounds);
        // Fails only while the thread ends, when there is no call left to put it back for.
        let _ = STOP.try_with(|cell| cell.replace(self.stop.take()));
    }
}

/// The time left to the call under way on this thread, if it is bounded, or why it has to end.
fn time_left() -> Result<Option<Duration>, Cut> {
    let bounds = BOUNDS.get();
    let now = Instant::now();
    if let Some((end, cut)) = bounds.overtime {
        return if now < end {
            Ok(Some(end - now))
        } else {
            Err(cut)
        };
    }
    let left = bounds.time_left(now);
    let end = bounds.grace.and_then(|grace| now.checked_add(grace));
    if let (Err(cut), Some(end)) = (left, end) {
        let overtime = Some((end, cut));
        BOUNDS.set(Bounds { overtime, ..bounds });
        return Ok(Some(end - now));
    }
    left
}

fn is_stopped() -> bool {
    let stopped =
        |cell: &RefCell<Option<Stop>>| cell.borrow().as_ref().is_some_and(Stop::is_stopped);
    STOP.try_with(stopped).unwrap_or(false)
}

/// Something travelled: the silence begins anew.
fn heard() {
    let mut bounds = BOUNDS.get();
    if let Some(silence) = bounds.silence {
        bounds.silence = Bound::after(Some(silence.length), Limit::Silence, Instant::now());
        BOUNDS.set(bounds);
    }
}

/// A connector for plain and, with the feature `rustls`, secure connections whose waits are watched.
///
/// It stands between TCP and TLS, so that handshakes are watched as well.
pub(super) fn connector() -> impl Connector {
    let tcp = ().chain(SocksConnector::default()).chain(ConnectProxyConnector::default());
    #[cfg(feature = "rustls")]
    let secure = ureq::unversioned::transport::RustlsConnector::default();
    #[cfg(not(feature = "rustls"))]
    let secure = Plain;
    Watched {
        tcp: tcp.chain(TcpConnector::default()),
        secure,
    }
}

#[derive(Debug)]
struct Watched<T, S> {
    tcp: T,
    secure: S,
}

impl<T: Connector, S: Connector<Patient<T::Out>>> Connector for Watched<T, S> {
    type Out = S::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<S::Out>, ureq::Error> {
        // Connecting is not cut into slices, only kept within the nearest bound.
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: at_most(details.timeout, time_left()?),
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let tcp = self.tcp.connect(&details, None);
        tcp.map_err(|error| proxys_own(&details, error))
            .and_then(|tcp| self.secure.connect(&details, tcp.map(Patient)))
            .map_err(the_bound_behind)
    }
}

/// What goes wrong after a proxy has been reached, and before there is a tunnel through it, is its doing.
fn proxys_own(details: &ConnectionDetails, error: ureq::Error) -> ureq::Error {
    let proxy = details.config.proxy();
    if proxy.is_none_or(|proxy| proxy.is_no_proxy(details.uri)) {
        return error;
    }
    match error {
        ureq::Error::Io(cause) if !is_of_the_system(&cause) => {
            ureq::Error::ConnectProxyFailed(cause.to_string())
        }
        ureq::Error::Protocol(cause) => ureq::Error::ConnectProxyFailed(cause.to_string()),
        other => other,
    }
}

/// Whether the system says so, of a connection that could not be made.
fn is_of_the_system(cause: &io::Error) -> bool {
    let broken = matches!(
        cause.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    );
    cause.raw_os_error().is_some() && !broken
}

/// In the place of TLS where there is none.
#[cfg(not(feature = "rustls"))]
#[derive(Debug)]
struct Plain;

#[cfg(not(feature = "rustls"))]
impl<T: Transport> Connector<T> for Plain {
    type Out = T;

    fn connect(&self, _: &ConnectionDetails, tcp: Option<T>) -> Result<Option<T>, ureq::Error> {
        Ok(tcp)
    }
}

/// A transport that waits in slices.
#[derive(Debug)]
struct Patient<T>(T);

impl<T: Transport> Transport for Patient<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    /// Sends in one go: what a cut would leave half sent could not be told.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = at_most(timeout, time_left()?);
        self.0
            .transmit_output(amount, timeout)
            .map_err(the_bound_behind)?;
        heard();
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let start = Instant::now();
        loop {
            let slice = time_left()?.map_or(SLICE, |left| left.min(SLICE));
            let own = timeout.after.saturating_sub(start.elapsed());
            if own.is_zero() {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            match self.0.await_input(at_most(timeout, Some(slice.min(own)))) {
                Err(ureq::Error::Timeout(_)) => {}
                Ok(more) => {
                    heard();
                    return Ok(more);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

fn at_most(mut timeout: NextTimeout, left: Option<Duration>) -> NextTimeout {
    if let Some(left) = left {
        timeout.after = timeout.after.min(left.into());
    }
    timeout
}

/// Names the bound that a timeout of ureq's stands for, if it is one of ours.
fn the_bound_behind(error: ureq::Error) -> ureq::Error {
    match error {
        ureq::Error::Timeout(_) => time_left().map_or_else(ureq::Error::from, |_| error),
        other => other,
    }
}

/// Looks names up on the calling thread: given a timeout, ureq's own resolver starts one for it, and behind
/// a proxy it is given the connect limit.
#[derive(Debug, Default)]
pub(super) struct SameThread(DefaultResolver);

impl Resolver for SameThread {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        time_left()?;
        self.0.resolve(uri, config, NextTimeout::default())
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

impl From<Cut> for ureq::Error {
    fn from(cut: Cut) -> ureq::Error {
        ureq::Error::Other(Box::new(cut))
    }
}
