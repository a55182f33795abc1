//! Whether a call is worth another try, and after how long: only where nothing can be lost or done twice.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::call::{Answer, Call};
use super::date;
use crate::error::{Error, ErrorKind};

/// How long to wait before the first retry if the server does not say; twice that before the next.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How often, and how patiently, a call is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    pub(crate) times: u32,
    pub(crate) longest_wait: Duration,
}

/// The tries of one call.
pub(super) struct Tries {
    retries: Retries,
    /// A call that does no harm when it is done twice.
    repeatable: bool,
    repeated: bool,
    made: u32,
}

impl Tries {
    pub(super) fn new(retries: Retries, call: &Call) -> Tries {
        Tries {
            retries,
            repeatable: call.is_repeatable(),
            repeated: false,
            made: 0,
        }
    }

    /// How long to wait before the next try; none if this was the last.
    ///
    /// Nothing was sent when there was no connection, and nothing was done when the server says that it is too
    /// busy. A connection that ends without an answer, as an idle one does that the server is just closing,
    /// leaves that open: only what does no harm twice is sent again.
    pub(super) fn wait(&mut self, outcome: &Result<Answer, Error>) -> Option<Duration> {
        if self.retries.times == 0 {
            return None;
        }
        let asked = match outcome {
            Ok(answer) if matches!(answer.status(), 429 | 503) => answer.retry_after(),
            // Not when the connect limit was reached: whoever set it does not mean three times as long.
            Err(error) if error.kind() == ErrorKind::Connect => None,
            Err(error) if error.kind() == ErrorKind::Truncated && self.repeatable => {
                let again = !self.repeated;
                self.repeated = true;
                return again.then_some(Duration::ZERO);
            }
            _ => return None,
        };
        if self.made == self.retries.times {
            return None;
        }
        let longest = self.retries.longest_wait;
        let own = || jittered(FIRST_WAIT * 2_u32.saturating_pow(self.made)).min(longest);
        let wait = asked.unwrap_or_else(own);
        self.made += 1;
        (wait <= longest).then_some(wait)
    }
}

/// Between half and all of it, so that many clients do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let percent = 50 + u32::from(Uuid::new_v4().as_bytes()[0]) * 50 / 255;
    wait * percent / 100
}

/// What a `Retry-After` asks for: seconds, or a date.
pub(super) fn retry_after(header: &str) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = date::parse(header)?;
    // A time that has passed asks for no wait.
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}
