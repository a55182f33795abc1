//! Whether an answer that the server calls a success is what was asked for.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Answer, Watch, one_line, words};

/// The JSON that was asked for.
pub(super) fn json_of(answer: Answer, watch: &Watch, step: Step) -> Result<Value> {
    let status = answer.status();
    let content_type = answer.content_type().map(one_line);
    let body = answer.bytes(watch)?;
    serde_json::from_slice(&body).map_err(|error| {
        foreign(step, status, content_type.as_deref(), &body, "JSON").with_source(error)
    })
}

/// A success that is no reply.
pub(super) fn no_stream(answer: Answer, watch: &Watch) -> Error {
    let status = answer.status();
    let content_type = answer.content_type().map(one_line);
    match answer.bytes(watch) {
        Ok(body) => foreign(
            Step::Message,
            status,
            content_type.as_deref(),
            &body,
            "an event stream",
        ),
        Err(error) => error,
    }
}

/// A success with a content that is not what was asked for: another service, a login page.
fn foreign(
    step: Step,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    wanted: &str,
) -> Error {
    let is_page = content_type.is_some_and(|kind| kind.starts_with("text/html"));
    let (kind, what) = match content_type {
        _ if is_page && is_login_page(body) => (ErrorKind::Login, "a page to log in"),
        _ if is_page => (ErrorKind::Protocol, "a page"),
        Some(kind) => (ErrorKind::Protocol, kind),
        None => (ErrorKind::Protocol, "something"),
    };
    let said = words(body);
    Error::new(
        kind,
        step,
        format!("the answer is {what}, not {wanted}: {said}"),
    )
    .with_status(status)
    .with_server_message(said)
}

fn is_login_page(page: &[u8]) -> bool {
    let page = String::from_utf8_lossy(page).to_lowercase();
    let signs = ["type=\"password\"", "log in", "login", "sign in"];
    signs.iter().any(|sign| page.contains(sign))
}

/// JSON, but not that of this protocol.
pub(super) fn unexpected(step: Step, answer: &Value) -> Error {
    let answer = one_line(&answer.to_string());
    Error::new(
        ErrorKind::Protocol,
        step,
        format!("unexpected answer {answer}"),
    )
}

/// A refusal that comes inside a page with a status of 200.
pub(super) fn refused_inside(step: Step, node: &Value) -> Error {
    let said = words(node.to_string().as_bytes());
    let status = node["status"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let error = Error::new(
        ErrorKind::Status,
        step,
        format!("the server answered: {said}"),
    )
    .with_server_message(said);
    match status {
        Some(status) => error.with_status(status),
        None => error,
    }
}
