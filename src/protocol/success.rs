//! Whether an answer that the server calls a success is what was asked for.

use std::ops::Deref;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Answer, Redirect, Unread, Watch, one_line, read_json, title_of, words};

/// The JSON that a server answered.
pub(super) struct Json {
    step: Step,
    status: u16,
    value: Value,
}

impl Json {
    pub(super) fn of(answer: Answer, watch: &Watch) -> Result<Json> {
        Json::of_part(answer, watch, |body| body)
    }

    /// Of its first line: what a server finds out later it says in others.
    pub(super) fn of_first_line(answer: Answer, watch: &Watch) -> Result<Json> {
        Json::of_part(answer, watch, |body| {
            let end = body.iter().position(|&byte| byte == b'\n');
            &body[..end.unwrap_or(body.len())]
        })
    }

    fn of_part(answer: Answer, watch: &Watch, part: impl Fn(&[u8]) -> &[u8]) -> Result<Json> {
        let (step, status) = (answer.step(), answer.status());
        let content_type = answer.content_type().map(one_line);
        let body = answer.bytes(watch)?;
        let value = read_json(part(&body)).map_err(|unread| match unread {
            Unread::TooMany => too_many(step).with_status(status),
            Unread::Malformed(error) => {
                foreign(step, status, content_type.as_deref(), &body, "JSON").with_source(error)
            }
        })?;
        Ok(Json {
            step,
            status,
            value,
        })
    }

    pub(super) fn step(&self) -> Step {
        self.step
    }

    /// Not what this protocol has in this place.
    pub(super) fn unexpected(&self) -> Error {
        unexpected(self.step, &self.value).with_status(self.status)
    }

    pub(super) fn into_list(self) -> Result<Vec<Value>> {
        match self.value {
            Value::Array(list) => Ok(list),
            other => Err(unexpected(self.step, &other).with_status(self.status)),
        }
    }

    /// A redirect in the place of what was asked for.
    pub(super) fn redirect(&self, redirect: &Redirect) -> Error {
        redirect.inside(self.step, self.status)
    }
}

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

fn too_many(step: Step) -> Error {
    let message = "the answer has too many objects and lists to be held";
    Error::new(ErrorKind::TooLarge, step, message)
}

/// A success that is no reply.
pub(super) fn no_stream(answer: Answer, watch: &Watch) -> Error {
    let (step, status) = (answer.step(), answer.status());
    let content_type = answer.content_type().map(one_line);
    match answer.bytes(watch) {
        Ok(body) => foreign(
            step,
            status,
            content_type.as_deref(),
            &body,
            "an event stream",
        ),
        Err(error) => error,
    }
}

/// A success with other content than was asked for: another service, a login page.
fn foreign(
    step: Step,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    wanted: &str,
) -> Error {
    let is_page = content_type.is_some_and(|kind| kind.starts_with("text/html"));
    let what = match content_type {
        _ if is_page => "a page",
        Some(content_type) => content_type,
        None => "something",
    };
    let said = if is_private(step) {
        title_of(&String::from_utf8_lossy(body)).map_or_else(String::new, one_line)
    } else {
        words(body)
    };
    let mut message = format!("the answer is {what}, not {wanted}");
    if !said.is_empty() {
        message = format!("{message}: {said}");
    }
    Error::new(ErrorKind::Protocol, step, message)
        .with_status(status)
        .with_server_message(said)
}

/// JSON, but not that of this protocol.
pub(super) fn unexpected(step: Step, answer: &Value) -> Error {
    let message = if is_private(step) {
        "the answer is JSON, but not the list that was asked for".to_owned()
    } else {
        format!("unexpected answer {}", one_line(&answer.to_string()))
    };
    Error::new(ErrorKind::Protocol, step, message)
}

/// Whether the answer may hold titles and messages, which no error is to show.
fn is_private(step: Step) -> bool {
    matches!(step, Step::Models | Step::Conversations | Step::History)
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
