//! The way to a server and back: a transport that waits in slices of at most 100 ms and looks at the bounds of
//! the call between them. All waiting of this crate is here.

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

use super::proxy::name_of;
use super::watch::{Cut, SLICE, connecting, heard, nearest, time_left};

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
        let limit = details.config.timeouts().connect;
        connecting(limit, || self.connect_within_bounds(details))
    }
}

impl<T: Connector, S: Connector<Patient<T::Out>>> Watched<T, S> {
    fn connect_within_bounds(
        &self,
        details: &ConnectionDetails,
    ) -> Result<Option<S::Out>, ureq::Error> {
        // The system makes the connection in one go, kept within the nearest bound.
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
        tcp.map_err(|error| at_the_proxy(&details, named(error, nearest)))
            .map_err(Unconnected::around)
            .and_then(|tcp| {
                let secure = self.secure.connect(&details, tcp.map(Patient));
                let secure = secure.map_err(|error| named(error, nearest));
                secure.map_err(Unconnected::for_want_of(Missed::Security))
            })
    }
}

/// Why there is no connection: with this, nothing was sent.
#[derive(Debug)]
pub(super) struct Unconnected {
    pub(super) cause: ureq::Error,
    /// The proxy to which, or through which, there is none.
    pub(super) proxy: Option<String>,
    pub(super) missed: Missed,
}

/// What did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    Lookup,
    Connection,
    Security,
}

impl Unconnected {
    fn around(error: ureq::Error) -> ureq::Error {
        match error {
            // A cut, or what an inner connection to a proxy has been told already.
            ureq::Error::Other(inner) => ureq::Error::Other(inner),
            cause => ureq::Error::Other(Box::new(Unconnected {
                cause,
                proxy: None,
                missed: Missed::Connection,
            })),
        }
    }

    fn for_want_of(missed: Missed) -> impl Fn(ureq::Error) -> ureq::Error {
        move |error| Unconnected::changed(error, |unconnected| unconnected.missed = missed)
    }

    fn at(proxy: &ureq::Proxy, error: ureq::Error) -> ureq::Error {
        Unconnected::changed(error, |unconnected| {
            unconnected.proxy = Some(name_of(proxy));
        })
    }

    /// With what more is known of it; a cut is left as it is.
    fn changed(error: ureq::Error, change: impl FnOnce(&mut Unconnected)) -> ureq::Error {
        let ureq::Error::Other(mut inner) = Unconnected::around(error) else {
            unreachable!("around makes no other")
        };
        if let Some(unconnected) = inner.downcast_mut() {
            change(unconnected);
        }
        ureq::Error::Other(inner)
    }
}

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Unconnected {}

/// If there is a proxy, says of an error that it came up on the way to it or through it. What goes wrong after it has
/// been reached, and before there is a tunnel, is its doing.
fn at_the_proxy(details: &ConnectionDetails, error: ureq::Error) -> ureq::Error {
    let Some(proxy) = details.config.proxy() else {
        return error;
    };
    let error = match error {
        ureq::Error::Io(cause) if !is_of_the_system(&cause) => {
            ureq::Error::ConnectProxyFailed(cause.to_string())
        }
        ureq::Error::Protocol(cause) => ureq::Error::ConnectProxyFailed(cause.to_string()),
        other => other,
    };
    Unconnected::at(proxy, error)
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
        let nearest = nearest()?;
        let timeout = at_most(timeout, nearest.map(|(left, _)| left));
        self.0
            .transmit_output(amount, timeout)
            .map_err(|error| named(error, nearest))?;
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

/// Names the bound that a timeout of ureq's stands for: the one that was nearest before, unless the call has been
/// stopped meanwhile. The system may be early by less than a millisecond, so that none need be reached.
fn named(error: ureq::Error, nearest: Option<(Duration, Cut)>) -> ureq::Error {
    match (error, nearest) {
        (ureq::Error::Timeout(_), Some((_, nearest))) => {
            time_left().err().unwrap_or(nearest).into()
        }
        (error, _) => error,
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
        let found = self.0.resolve(uri, config, NextTimeout::default());
        found.map_err(Unconnected::for_want_of(Missed::Lookup))
    }
}

impl From<Cut> for ureq::Error {
    fn from(cut: Cut) -> ureq::Error {
        ureq::Error::Other(Box::new(cut))
    }
}
