//! Whether a request is sent again, and after how long: only where nothing can be lost or doubled.

use std::time::Duration;

use uuid::Uuid;

use super::request::HttpRequest;
use super::response::Response;
use crate::error::{Error, ErrorKind, Step};

/// The wait before the first retry if the server names none. It doubles with each retry.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How often a request is retried, and how long is waited for that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    pub(crate) max_retries: u32,
    pub(crate) max_wait: Duration,
}

/// The attempts to send one request.
pub(super) struct Attempts {
    policy: RetryPolicy,
    is_idempotent: bool,
    is_cleanup: bool,
    was_repeated: bool,
    retries: u32,
}

impl Attempts {
    pub(super) fn new(policy: RetryPolicy, request: &HttpRequest) -> Attempts {
        Attempts {
            policy,
            is_idempotent: request.is_idempotent,
            is_cleanup: matches!(
                request.step,
                Step::StopGeneration | Step::DeleteConversation
            ),
            was_repeated: false,
            retries: 0,
        }
    }

    /// How long to wait before the next attempt, or `None` if this was the last.
    pub(super) fn next_wait(&mut self, outcome: &Result<Response, Error>) -> Option<Duration> {
        match outcome {
            // The server did nothing, and says so.
            Ok(response) if matches!(response.status(), 429 | 503) => {
                let asked = response.retry_after();
                if self.is_cleanup {
                    // As often as the cleanup timeout allows.
                    return Some(asked.unwrap_or(FIRST_WAIT));
                }
                self.retry(asked)
            }
            // Nothing was sent. After an expired connect timeout there is no retry: whoever sets
            // a timeout does not want to wait three times as long.
            Err(error) if error.kind() == ErrorKind::Connect && !self.is_cleanup => {
                self.retry(None)
            }
            // The server may have closed an idle connection just then, or done what was asked.
            Err(error) if error.kind() == ErrorKind::Truncated && self.may_repeat() => {
                self.was_repeated = true;
                Some(Duration::ZERO)
            }
            _ => None,
        }
    }

    fn may_repeat(&self) -> bool {
        self.is_idempotent && !self.was_repeated && self.policy.max_retries > 0
    }

    fn retry(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.retries == self.policy.max_retries {
            return None;
        }
        let max = self.policy.max_wait;
        let own = || jittered(FIRST_WAIT * 2_u32.saturating_pow(self.retries)).min(max);
        let wait = asked.unwrap_or_else(own);
        self.retries += 1;
        (wait <= max).then_some(wait)
    }
}

/// Between half and all of `wait`, so that many clients do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let percent = 50 + u32::from(Uuid::new_v4().as_bytes()[0]) * 50 / 255;
    wait * percent / 100
}
