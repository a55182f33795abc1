//! Decides whether and when a request is sent again: only if nothing can be lost or done twice.

use std::time::Duration;

use uuid::Uuid;

use super::request::HttpRequest;
use crate::error::{Error, ErrorKind, Step};
use crate::json::read_json;

/// The wait before the first retry if the server names none. It doubles with each retry.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How often a request is retried, and the longest wait before a retry.
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
            is_cleanup: matches!(request.step, Step::StopGeneration | Step::DeleteConversation),
            was_repeated: false,
            retries: 0,
        }
    }

    /// How long to wait before the next attempt after this error, or `None` if it was the last.
    pub(super) fn next_wait(&mut self, error: &Error, body: &[u8]) -> Option<Duration> {
        match (error.kind(), error.status()) {
            (ErrorKind::Status, Some(429 | 503)) if self.is_cleanup => {
                // Repeated as often as the cleanup timeout allows, but never without a wait.
                let asked = error.retry_after().filter(|wait| !wait.is_zero());
                Some(asked.unwrap_or(FIRST_WAIT))
            }
            (ErrorKind::Status, Some(429 | 503)) if !is_own_limit(error, body) => {
                self.retry(error.retry_after())
            }
            // Nothing was sent. An expired connect timeout is not retried: its user does not want
            // to wait three times as long.
            (ErrorKind::Connect, _) if !self.is_cleanup => self.retry(None),
            // The server may have closed an idle connection at that moment, or it may have handled
            // the request.
            (ErrorKind::Truncated, _) if self.may_repeat() => {
                self.was_repeated = true;
                Some(Duration::ZERO)
            }
            _ => None,
        }
    }

    fn may_repeat(&self) -> bool {
        let is_allowed = self.is_cleanup || self.policy.max_retries > 0;
        self.is_idempotent && !self.was_repeated && is_allowed
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

/// Returns whether this is chat-ui's own rate limit, and not that of a model's server or a gateway.
/// It counts refused messages too, so a retry would only prolong it. The messages of h2oGPTe have a
/// code.
fn is_own_limit(error: &Error, body: &[u8]) -> bool {
    let has_message = || {
        read_json(body).is_ok_and(|json| {
            json["message"].is_string() && json["code"].is_null() && json["error"].is_null()
        })
    };
    error.status() == Some(429) && error.retry_after().is_none() && has_message()
}

/// Between half and all of `wait`, so that many clients do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let percent = 50 + u32::from(Uuid::new_v4().as_bytes()[0]) * 50 / 255;
    wait * percent / 100
}
