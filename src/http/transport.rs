//! The connection to a server. It waits in slices of at most 100 ms. Between them it calls the
//! callback of the call, and looks at its deadlines and cancel handles. Nothing else in this crate
//! waits for the network.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
#[cfg(not(fuzzing))]
use ureq::unversioned::transport::TcpConnector;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, SocksConnector,
    Transport,
};

#[cfg(fuzzing)]
use super::fuzzing::InMemoryConnector as TcpConnector;
use super::proxy::display_name;
use super::timer::{Interrupt, connecting, nearest, restart_idle, tick, time_left};

/// Makes plain and, with the feature `rustls`, TLS connections that can be interrupted.
///
/// The interruptible transport is between TCP and TLS, so that handshakes can be interrupted too.
pub(super) fn connector() -> impl Connector {
    let tcp = ().chain(SocksConnector::default()).chain(ConnectProxyConnector::default());
    #[cfg(feature = "rustls")]
    let tls = ureq::unversioned::transport::RustlsConnector::default();
    #[cfg(not(feature = "rustls"))]
    let tls = NoTls;
    InterruptibleConnector { tcp: tcp.chain(TcpConnector::default()), tls }
}

#[derive(Debug)]
struct InterruptibleConnector<T, S> {
    tcp: T,
    tls: S,
}

impl<T: Connector, S: Connector<InterruptibleTransport<T::Out>>> Connector
    for InterruptibleConnector<T, S>
{
    type Out = S::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<S::Out>, ureq::Error> {
        let timeout = details.config.timeouts().connect;
        connecting(timeout, || self.connect_in_time(details))
    }
}

impl<T: Connector, S: Connector<InterruptibleTransport<T::Out>>> InterruptibleConnector<T, S> {
    fn connect_in_time(&self, details: &ConnectionDetails) -> Result<Option<S::Out>, ureq::Error> {
        // The system connects in one go, so its timeout is the nearest deadline.
        let nearest = nearest()?;
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: at_most(details.timeout, nearest.map(|(left, _)| left)),
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let tcp = self.tcp.connect(&details, None);
        tcp.map_err(|error| with_proxy(&details, with_reason(error, nearest)))
            .map_err(ConnectError::wrap)
            .and_then(|tcp| {
                let tls = self.tls.connect(&details, tcp.map(InterruptibleTransport));
                tls.map_err(|error| with_reason(error, nearest))
                    .map_err(ConnectError::during(ConnectPhase::Tls))
            })
    }
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) cause: ureq::Error,
    /// The proxy that was connected to, or through.
    pub(super) proxy: Option<String>,
    pub(super) phase: ConnectPhase,
}

/// The phase of connecting that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectPhase {
    Lookup,
    Tcp,
    Tls,
}

impl ConnectError {
    fn wrap(error: ureq::Error) -> ureq::Error {
        match error {
            // An interrupt, or an error of the inner connection to a proxy, which is wrapped
            // already.
            ureq::Error::Other(inner) => ureq::Error::Other(inner),
            cause => ureq::Error::Other(Box::new(ConnectError {
                cause,
                proxy: None,
                phase: ConnectPhase::Tcp,
            })),
        }
    }

    fn during(phase: ConnectPhase) -> impl Fn(ureq::Error) -> ureq::Error {
        move |error| ConnectError::modify(error, |connect_error| connect_error.phase = phase)
    }

    /// Wraps the error and changes it. An interrupt is left as it is.
    fn modify(error: ureq::Error, change: impl FnOnce(&mut ConnectError)) -> ureq::Error {
        let ureq::Error::Other(mut inner) = ConnectError::wrap(error) else {
            unreachable!("wrap returns no other variant")
        };
        if let Some(connect_error) = inner.downcast_mut() {
            change(connect_error);
        }
        ureq::Error::Other(inner)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for ConnectError {}

/// Adds the proxy, if there is one, to an error. An error between reaching the proxy and opening
/// the tunnel is the proxy's.
fn with_proxy(details: &ConnectionDetails, error: ureq::Error) -> ureq::Error {
    let Some(proxy) = details.config.proxy() else {
        return error;
    };
    let error = match error {
        ureq::Error::Io(cause) if !is_system_error(&cause) => {
            ureq::Error::ConnectProxyFailed(cause.to_string())
        }
        ureq::Error::Protocol(cause) => ureq::Error::ConnectProxyFailed(cause.to_string()),
        other => other,
    };
    ConnectError::modify(error, |connect_error| {
        connect_error.proxy = Some(display_name(proxy));
    })
}

/// Returns whether the system says that it could not connect.
fn is_system_error(cause: &io::Error) -> bool {
    let is_broken = matches!(
        cause.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    );
    cause.raw_os_error().is_some() && !is_broken
}

/// Takes the place of TLS without the feature `rustls`.
#[cfg(not(feature = "rustls"))]
#[derive(Debug)]
struct NoTls;

#[cfg(not(feature = "rustls"))]
impl<T: Transport> Connector<T> for NoTls {
    type Out = T;

    fn connect(&self, _: &ConnectionDetails, tcp: Option<T>) -> Result<Option<T>, ureq::Error> {
        Ok(tcp)
    }
}

/// A transport that waits in slices.
#[derive(Debug)]
struct InterruptibleTransport<T>(T);

impl<T: Transport> Transport for InterruptibleTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    /// Sends in one go: ureq cannot resume a request that was sent in part.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let nearest = nearest()?;
        let timeout = at_most(timeout, nearest.map(|(left, _)| left));
        self.0.transmit_output(amount, timeout).map_err(|error| with_reason(error, nearest))?;
        restart_idle();
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let start = Instant::now();
        loop {
            let slice = tick();
            let slice = time_left()?.map_or(slice, |left| left.min(slice));
            let own = timeout.after.saturating_sub(start.elapsed());
            if own.is_zero() {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            match self.0.await_input(at_most(timeout, Some(slice.min(own)))) {
                Err(ureq::Error::Timeout(_)) => {}
                Ok(more) => {
                    restart_idle();
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

/// Replaces a timeout of ureq by the deadline behind it: the nearest one before the wait, unless
/// the call was cancelled meanwhile. The system may wake up to a millisecond early, so the
/// deadline need not have passed.
fn with_reason(error: ureq::Error, nearest: Option<(Duration, Interrupt)>) -> ureq::Error {
    match (error, nearest) {
        (ureq::Error::Timeout(_), Some((_, nearest))) => {
            time_left().err().unwrap_or(nearest).into()
        }
        (error, _) => error,
    }
}

/// Looks names up on the calling thread. ureq's own resolver starts a thread when it is given a
/// timeout, and behind a proxy it is given the connect timeout.
#[derive(Debug, Default)]
pub(super) struct SameThreadResolver(DefaultResolver);

impl Resolver for SameThreadResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        time_left()?;
        let found = self.0.resolve(uri, config, NextTimeout::default());
        // The lookup may have taken all the time.
        time_left()?;
        found.map_err(ConnectError::during(ConnectPhase::Lookup))
    }
}

impl From<Interrupt> for ureq::Error {
    fn from(interrupt: Interrupt) -> ureq::Error {
        ureq::Error::Other(Box::new(interrupt))
    }
}
