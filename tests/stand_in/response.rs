//! Writes HTTP/1.1 responses with the headers, their order and the framing of Node.

use std::fmt::Write;

use serde_json::json;

/// The response to anything but HTTP/1.1.
pub const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A fixed date, so that responses can be compared.
const DATE: &str = "Mon, 23 Nov 2026 18:23:31 GMT";

/// A response before framing: chunked unless it has a header with its length.
pub struct Response {
    status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self::with_reason(status, reason(status))
    }

    pub fn with_reason(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_string(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(status: u16, body: &str) -> Self {
        let response = Self::new(status).header("content-type", "application/json");
        response.sized(body)
    }

    /// The `{"message": …}` with which a route refuses.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"message": message}).to_string())
    }

    pub fn page(status: u16, text: &str) -> Self {
        let body = format!("<!DOCTYPE html>\n<title>{status}</title>\n<h1>{text}</h1>\n");
        let response = Self::new(status).header("content-type", "text/html; charset=utf-8");
        response.sized(body)
    }

    /// Adds a header. Its name must be in lower case.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_string(), value.into()));
        self
    }

    /// The body, chunked unless a header says otherwise.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn sized(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        self.header("content-length", length).body(body)
    }

    /// Relays the headers and the body of a model's server, which has its own date.
    pub fn relayed(mut self, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        self.headers.extend(headers);
        self = self.header("date", DATE);
        if self.has("transfer-encoding") || self.has("content-length") {
            self.body(body)
        } else {
            self.sized(body)
        }
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header == name)
    }

    /// The head: the application's headers in alphabetical order, then what Node adds.
    pub fn head(&self, close: bool) -> Vec<u8> {
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.sort_by_key(|&(name, _)| name);
        if !self.has("date") {
            headers.push(("Date", DATE));
        }
        if close {
            headers.push(("Connection", "close"));
        } else {
            headers.extend([("Connection", "keep-alive"), ("Keep-Alive", "timeout=5")]);
        }
        if !self.has("content-length") && !self.has("transfer-encoding") && self.status != 204 {
            headers.push(("Transfer-Encoding", "chunked"));
        }
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason);
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head += "\r\n";
        head.into_bytes()
    }

    pub fn render(&self, close: bool) -> Vec<u8> {
        let mut bytes = self.head(close);
        if self.has("content-length") || self.status == 204 {
            bytes.extend(&self.body);
        } else {
            bytes.extend(chunk(&self.body));
            bytes.extend(LAST_CHUNK);
        }
        bytes
    }
}

/// The head of a classic reply, with the headers of the model's server.
pub(super) fn stream_head() -> Response {
    const VARY: &str = "origin, access-control-request-method, access-control-request-headers";
    const HEADERS: [(&str, &str); 8] = [
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-cache"),
        ("content-type", "text/event-stream"),
        ("transfer-encoding", "chunked"),
        ("vary", VARY),
        ("x-accel-buffering", "no"),
        ("x-compute-characters", "42"),
        ("x-compute-type", "gpu+optimized"),
    ];
    let headers = HEADERS.map(|(name, value)| (name.to_string(), value.to_string()));
    Response::new(200).relayed(headers.to_vec(), Vec::new())
}

/// Frames bytes as one chunk. No bytes are no chunk, because an empty one would be the last.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        302 => "Found",
        303 => "See Other",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        _ => unreachable!("the chat server itself has no {status}"),
    }
}
