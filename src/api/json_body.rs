//! The body of a successful response, if it is the JSON that was asked for.

use std::ops::Deref;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{Redirect, Response, Timer};
use crate::json::{JsonError, read_json};
use crate::text::{error_message, html_title, one_line};

/// The facts about a response before its body is read.
struct Head {
    step: Step,
    status: u16,
    content_type: Option<String>,
    encoding: Option<String>,
}

impl Head {
    fn of(response: &Response) -> Head {
        Head {
            step: response.step(),
            status: response.status(),
            content_type: response.content_type().map(one_line),
            encoding: response.encoding().map(one_line),
        }
    }

    /// Parses a part of the body.
    fn parse(self, part: &[u8], body: &[u8]) -> Result<JsonBody> {
        let value = read_json(part).map_err(|error| match error {
            JsonError::TooManyContainers => {
                let message = "the response has too many objects and lists";
                Error::new(ErrorKind::TooLarge, self.step, message).with_status(self.status)
            }
            JsonError::Malformed(error) => self.wrong_content(body, "JSON").with_source(error),
        })?;
        Ok(JsonBody { step: self.step, status: self.status, value })
    }

    /// The error for a successful response with other content than was asked for, such as a login
    /// page.
    fn wrong_content(&self, body: &[u8], wanted: &str) -> Error {
        if let Some(encoding) = &self.encoding {
            return encoded(self.step, encoding).with_status(self.status);
        }
        let found = match self.content_type.as_deref() {
            Some(html) if html.starts_with("text/html") => "a page",
            Some(content_type) => content_type,
            None => "something",
        };
        let server_message = if self.step.is_private() {
            html_title(&String::from_utf8_lossy(body)).map_or_else(String::new, one_line)
        } else {
            error_message(body)
        };
        let mut message = format!("the response is {found}, not {wanted}");
        if !server_message.is_empty() {
            message = format!("{message}: {server_message}");
        }
        Error::new(ErrorKind::Protocol, self.step, message)
            .with_status(self.status)
            .with_server_message(server_message)
    }
}

/// The error for a body that cannot be read because of its encoding.
pub(super) fn encoded(step: Step, encoding: &str) -> Error {
    let message = format!("the response is encoded with {encoding}, which was not asked for");
    Error::new(ErrorKind::Protocol, step, message)
}

/// The JSON of a response.
pub(super) struct JsonBody {
    step: Step,
    status: u16,
    value: Value,
}

impl JsonBody {
    pub(super) fn read(response: Response, timer: &Timer) -> Result<JsonBody> {
        JsonBody::read_part(response, timer, |body| body)
    }

    /// Reads the body, or returns `None` if there is none.
    pub(super) fn read_unless_empty(response: Response, timer: &Timer) -> Result<Option<JsonBody>> {
        let head = Head::of(&response);
        let body = response.into_bytes(timer)?;
        if body.is_empty() {
            return Ok(None);
        }
        head.parse(&body, &body).map(Some)
    }

    /// Reads only the first line: pages send what takes longer in further lines.
    pub(super) fn read_first_line(response: Response, timer: &Timer) -> Result<JsonBody> {
        JsonBody::read_part(response, timer, |body| {
            let end = body.iter().position(|&byte| byte == b'\n');
            &body[..end.unwrap_or(body.len())]
        })
    }

    fn read_part(
        response: Response,
        timer: &Timer,
        part: impl Fn(&[u8]) -> &[u8],
    ) -> Result<JsonBody> {
        let head = Head::of(&response);
        let body = response.into_bytes(timer)?;
        head.parse(part(&body), &body)
    }

    /// The error for JSON that is not what the protocol has here.
    pub(super) fn unexpected(&self) -> Error {
        let message = if self.step.is_private() {
            "unexpected JSON instead of the list".to_owned()
        } else {
            format!("unexpected response {}", one_line(&self.value.to_string()))
        };
        Error::new(ErrorKind::Protocol, self.step, message).with_status(self.status)
    }

    pub(super) fn as_list(&self) -> Result<&[Value]> {
        let list = self.value.as_array().ok_or_else(|| self.unexpected())?;
        Ok(list)
    }

    /// The error for a redirect in place of the content.
    pub(super) fn redirected(&self, redirect: Redirect) -> Error {
        redirect.into_error(self.step, self.status)
    }

    /// The error for a refusal inside a page with a status of 200.
    pub(super) fn refused(&self, node: &Value) -> Error {
        let server_message = error_message(node.to_string().as_bytes());
        let message = format!("the server answered: {server_message}");
        let error = Error::new(ErrorKind::Status, self.step, message);
        let error = error.with_server_message(server_message);
        match node["status"].as_u64().map(u16::try_from) {
            Some(Ok(status)) => error.with_status(status),
            _ => error,
        }
    }
}

impl Deref for JsonBody {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// The error for a successful response that is not a stream.
pub(super) fn not_a_stream(response: Response, timer: &Timer) -> Error {
    let head = Head::of(&response);
    match response.into_bytes(timer) {
        Ok(body) => head.wrong_content(&body, "an event stream"),
        Err(error) => error,
    }
}
