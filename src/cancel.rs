//! The handle that cancels a call from another thread or a signal handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels calls from another thread or a signal handler.
///
/// Create one, give it to a call with [`Request::cancel_handle`] or to all calls of a client with
/// [`ClientBuilder::cancel_handle`], and keep a clone: all clones are the same handle. A call that
/// waits for the server notices within 0.1 s, before the first token as well as after it. The
/// generation is then stopped on the server and, unless the reply is a turn of a conversation, its
/// conversation deleted, within the [cleanup timeout]. The call fails with
/// [`ErrorKind::Cancelled`]. A cancelled handle stays cancelled: use a new one for the next call.
///
/// Name lookup, connecting and sending a request are not interrupted; the call notices after them.
/// While a conversation is being created, its response is awaited first, within the cleanup
/// timeout. Cleanup itself cannot be cancelled.
///
/// To limit the duration of a call, use [`Request::total_timeout`] instead: it needs no thread. Nor
/// does [`Request::on_wait`], whose callback can cancel the call.
///
/// ```no_run
/// use h2o_chat::{CancelHandle, Client, Request};
/// # let client = Client::new("http://127.0.0.1:3000")?;
///
/// let handle = CancelHandle::default();
/// let remote = handle.clone();
/// std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_secs(10));
///     remote.cancel();
/// });
/// for token in client.stream(Request::new("Count to a million.").cancel_handle(&handle))? {
///     print!("{}", token?);
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// An existing flag works too, one that a signal sets for example: see
/// [Ending cleanly on Ctrl-C](crate#ending-cleanly-on-ctrl-c).
///
/// [`Request::cancel_handle`]: crate::Request::cancel_handle
/// [`Request::on_wait`]: crate::Request::on_wait
/// [`Request::total_timeout`]: crate::Request::total_timeout
/// [`ClientBuilder::cancel_handle`]: crate::ClientBuilder::cancel_handle
/// [cleanup timeout]: crate::ClientBuilder::cleanup_timeout
/// [`ErrorKind::Cancelled`]: crate::ErrorKind::Cancelled
#[derive(Clone, Debug, Default)]
#[doc(alias = "abort")]
#[doc(alias = "stop")]
pub struct CancelHandle(Arc<AtomicBool>);

impl CancelHandle {
    /// Cancels all calls that have this handle, present and future.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether [`cancel`](CancelHandle::cancel) was called, or the underlying flag set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Uses an existing flag: setting it to `true` cancels. Setting it back to `false` between
/// two calls makes the handle usable again, in a program that reads its prompts in a loop.
impl From<Arc<AtomicBool>> for CancelHandle {
    fn from(flag: Arc<AtomicBool>) -> CancelHandle {
        CancelHandle(flag)
    }
}

/// The handles that can cancel a call: its client's, its own, and that of its callback.
#[derive(Clone, Debug)]
pub(crate) struct CancelHandles([Option<CancelHandle>; 3]);

impl CancelHandles {
    pub(crate) const NONE: CancelHandles = CancelHandles([const { None }; 3]);

    pub(crate) fn new(client: Option<CancelHandle>, own: Option<CancelHandle>) -> CancelHandles {
        CancelHandles([client, own, None])
    }

    pub(crate) fn set_callback(&mut self, handle: CancelHandle) {
        self.0[2] = Some(handle);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.iter().flatten().any(CancelHandle::is_cancelled)
    }
}
