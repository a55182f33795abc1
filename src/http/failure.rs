//! Errors of requests without a response, with an unreadable response, or with an error status.

use std::io;

use ureq::http::StatusCode;

use super::timer::Interrupt;
use super::transport::{ConnectError, ConnectPhase};
use crate::error::{Error, ErrorKind, Step, Timeout, hint};
use crate::text::one_line;

impl Interrupt {
    /// The error of an interrupt while no request was under way.
    pub(crate) fn at(self, step: Step) -> Error {
        let kind = match self {
            Interrupt::Cancelled => ErrorKind::Cancelled,
            Interrupt::Expired(timeout, _) => ErrorKind::Timeout(timeout),
        };
        Error::new(kind, step, self.to_string())
    }

    /// The error of an interrupt while the request of this step was under way.
    fn during(self, step: Step) -> Error {
        match self {
            // Nothing was sent.
            Interrupt::Expired(Timeout::Connect, _) => self.at(step),
            _ => self.at(step).with_response_lost(),
        }
    }
}

/// The error of a request without a response.
pub(super) fn no_response(step: Step, error: ureq::Error) -> Error {
    let error = match error {
        ureq::Error::Other(inner) => match inner.downcast::<Interrupt>() {
            Ok(interrupt) => return interrupt.during(step),
            Err(inner) => match inner.downcast::<ConnectError>() {
                Ok(connect_error) => return not_connected(step, *connect_error),
                Err(inner) => ureq::Error::Other(inner),
            },
        },
        other => other,
    };
    let (kind, message) = match &error {
        ureq::Error::Io(cause) if is_closed(cause) => {
            (ErrorKind::Truncated, "the server closed the connection".to_owned())
        }
        // After the handshake, servers refuse a client without a certificate like this.
        ureq::Error::Io(cause) if cause.to_string().contains("fatal alert") => {
            let message = format!("no secure connection: {cause}");
            return Error::new(ErrorKind::Tls, step, one_line(&message))
                .with_hint(hint::CLIENT_CERTIFICATE)
                .with_source(into_source(error))
                .with_response_lost();
        }
        ureq::Error::Io(cause) => (ErrorKind::Truncated, format!("the connection broke: {cause}")),
        error if is_large_head(error) => {
            (ErrorKind::TooLarge, "the headers of the response are too large".to_owned())
        }
        _ => (ErrorKind::Protocol, format!("the response is not HTTP: {error}")),
    };
    Error::new(kind, step, one_line(&message)).with_source(into_source(error))
}

fn not_connected(step: Step, error: ConnectError) -> Error {
    let ConnectError { cause, proxy, phase } = error;
    let has_proxy = proxy.is_some();
    let proxy = proxy.map_or_else(String::new, |proxy| format!(" to the proxy {proxy}"));
    let usual = match phase {
        ConnectPhase::Tls => ErrorKind::Tls,
        ConnectPhase::Lookup | ConnectPhase::Tcp => ErrorKind::Connect,
    };
    let (kind, why) = match &cause {
        ureq::Error::ConnectProxyFailed(why) => (ErrorKind::Proxy, proxy_response(why)),
        ureq::Error::HostNotFound => (usual, "the host is unknown".to_owned()),
        // A server that is starting or stopping does this too, so it may be retried.
        ureq::Error::Io(cause) if phase == ConnectPhase::Tls && is_closed(cause) => {
            (ErrorKind::Connect, "the server closed it".to_owned())
        }
        ureq::Error::Io(cause) => (usual, cause.to_string()),
        cause => (usual, cause.to_string()),
    };
    let proxy_hint = match &cause {
        ureq::Error::ConnectProxyFailed(why) => proxy_hint(why),
        _ => None,
    };
    let message = match phase {
        ConnectPhase::Tls => format!("no secure connection: {why}"),
        _ => format!("no connection{proxy}: {why}"),
    };
    // The names in a certificate are text of the server.
    let error = Error::new(kind, step, one_line(&message)).with_source(into_source(cause));
    match (kind, phase) {
        (ErrorKind::Proxy, _) => match proxy_hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        },
        (ErrorKind::Connect, ConnectPhase::Lookup) => error.with_hint(hint::UNKNOWN_HOST),
        (ErrorKind::Connect, ConnectPhase::Tls) => error.with_hint(hint::CLOSED_DURING_TLS),
        (ErrorKind::Connect, ConnectPhase::Tcp) if has_proxy => {
            error.with_hint(hint::PROXY_UNREACHABLE)
        }
        _ => error,
    }
}

/// Rewords ureq's `proxy server responded 407/407`.
fn proxy_response(why: &str) -> String {
    match proxy_status(why) {
        Some(status) => format!("it answered {}", with_name(status)),
        None => why.to_owned(),
    }
}

fn proxy_status(why: &str) -> Option<StatusCode> {
    let status = why.strip_prefix("proxy server responded ")?;
    status.split('/').next()?.parse().ok()
}

/// The hint for a refusal of the proxy: a status, or ureq's words for a SOCKS reply.
fn proxy_hint(why: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|words| why.contains(words));
    match proxy_status(why).map(|status| status.as_u16()) {
        Some(403) => Some(hint::PROXY_FORBIDS),
        Some(407) => Some(hint::PROXY_PASSWORD),
        Some(500..) => Some(hint::SERVER_BEHIND_PROXY),
        None if says(&["not allowed"]) => Some(hint::PROXY_FORBIDS),
        None if says(&["auth"]) => Some(hint::PROXY_PASSWORD),
        None if says(&["unreachable", "refused", "TTL expired", "server failure"]) => {
            Some(hint::SERVER_BEHIND_PROXY)
        }
        _ => None,
    }
}

fn with_name(status: StatusCode) -> String {
    let name = status.canonical_reason().unwrap_or("unknown status");
    format!("{} ({name})", status.as_u16())
}

fn is_closed(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

fn is_large_head(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::LargeResponseHeader(..) => true,
        // Too many headers. ureq does not export the type of its parser's errors.
        ureq::Error::Protocol(cause) => format!("{cause:?}") == "HttpParseTooManyHeaders",
        _ => false,
    }
}

/// `ureq::Error` does not return the I/O error inside it as its source.
fn into_source(error: ureq::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        ureq::Error::Io(cause) => cause.into(),
        other => other.into(),
    }
}

/// The error of a body that could not be read to its end.
pub(crate) fn unreadable(step: Step, error: io::Error) -> Error {
    no_response(step, ureq::Error::from(error))
}

/// The error of a response with an error status. The remark and the server's message may be empty.
pub(super) fn status_error(
    step: Step,
    status: StatusCode,
    kind: ErrorKind,
    remark: &str,
    server_message: String,
) -> Error {
    let mut message = format!("the server answered {}", with_name(status));
    if !remark.is_empty() {
        message = format!("{message}, {remark}");
    }
    if !server_message.is_empty() {
        message = format!("{message}: {server_message}");
    }
    Error::new(kind, step, message).with_status(status.as_u16()).with_server_message(server_message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_after_the_handshake_may_follow_a_request_that_was_sent() {
        for step in [Step::CreateConversation, Step::SendMessage, Step::ReadReply] {
            let alert = io::Error::other("received fatal alert: InternalError");
            let error = no_response(step, alert.into());
            assert_eq!(error.kind(), ErrorKind::Tls);
            assert_eq!(error.maybe_undeleted(), step == Step::CreateConversation);
            assert_eq!(error.ends_the_generation(), step == Step::CreateConversation);
        }
    }

    #[test]
    fn errors_of_lower_layers_are_one_line_too() {
        let broken = io::Error::other("for a,\n\u{202e}b");
        let error = no_response(Step::PostSettings, broken.into());
        assert!(error.to_string().ends_with(": for a, b"), "{error}");
        let other_name = io::Error::new(io::ErrorKind::InvalidData, "only for a\u{1b}[2J\nb");
        let error = not_connected(
            Step::PostSettings,
            ConnectError { cause: other_name.into(), proxy: None, phase: ConnectPhase::Tls },
        );
        assert!(error.to_string().ends_with(": only for a [2J b"), "{error}");
    }
}
