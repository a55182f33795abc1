//! The flag with which a caller ends a call from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a call from another thread. To give a call a time there is [`Request::deadline`](crate::Request::deadline), which
/// needs neither a thread nor a stop.
///
/// Made before the call and given to it with [`Request::stop`](crate::Request::stop), or to all calls of a client with
/// [`ClientBuilder::stop`](crate::ClientBuilder::stop); clones are the same flag. A call that waits for the
/// server's bytes notices within 0.1 seconds, while the reply's first token is awaited as well as in the middle of it.
/// The generation is stopped on the server and the conversation deleted, within the cleanup budget, and then the call
/// fails with [`ErrorKind::Stopped`](crate::ErrorKind::Stopped). Once stopped, a flag stays so: the next call wants another.
///
/// Not noticed before they are over, or a limit is reached: the lookup of a name, the making of a connection, and the
/// sending of a request. While a conversation is being opened the answer is waited for first, within the cleanup budget.
/// Tidying up is never stopped.
///
/// ```no_run
/// use h2o_chat::{Client, Request, Stop};
/// # let client = Client::new("http://127.0.0.1:3000")?;
///
/// let stop = Stop::default();
/// let from_elsewhere = stop.clone();
/// std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_secs(10));
///     from_elsewhere.stop();
/// });
/// for token in client.generate(Request::new("Count to a million.").stop(&stop))? {
///     print!("{}", token?);
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// A flag that is there already can be the stop's, one that a signal sets for example: see
/// [Ending cleanly on Ctrl-C](crate#ending-cleanly-on-ctrl-c).
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the calls that were given this flag, now and later.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether [`stop`](Stop::stop) was called, or the flag set that this was made of.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What ends a call: the stop of its client, and its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stops([Option<Stop>; 2]);

impl Stops {
    pub(crate) const NONE: Stops = Stops([const { None }; 2]);

    pub(crate) fn new(of_client: Option<Stop>, of_call: Option<Stop>) -> Stops {
        Stops([of_client, of_call])
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.iter().flatten().any(Stop::is_stopped)
    }
}

/// A stop that is made by whoever sets this flag.
impl From<Arc<AtomicBool>> for Stop {
    fn from(flag: Arc<AtomicBool>) -> Stop {
        Stop(flag)
    }
}
