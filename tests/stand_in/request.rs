//! Reads HTTP/1.1 requests of the kind that a client of these protocols sends.

use std::io::{self, BufRead, Read};

use serde_json::Value;

/// A request as received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of its connection, counted from 0.
    pub connection: usize,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// Empty if it was longer than the limit.
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body, or null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the fields of a form, decoded.
    pub fn form(&self) -> Vec<(String, String)> {
        let fields = self.body.split(|&byte| byte == b'&');
        let fields = fields.filter(|field| !field.is_empty());
        fields
            .map(|field| {
                let mut parts = field.splitn(2, |&byte| byte == b'=');
                let mut part = || form_decoded(parts.next().unwrap_or_default());
                (part(), part())
            })
            .collect()
    }

    /// Returns the fields of a form of either kind. None if the request is not a form.
    pub fn any_form(&self) -> Option<Vec<(String, String)>> {
        let content_type = self.header("content-type").unwrap_or_default();
        let (media, boundary) =
            content_type.split_once("; boundary=").unwrap_or((content_type, ""));
        match media {
            "application/x-www-form-urlencoded" => Some(self.form()),
            "multipart/form-data" if !boundary.is_empty() => {
                let parts = self.parts(boundary).into_iter();
                Some(parts.map(|(head, content)| (quoted(&head, " name=\""), content)).collect())
            }
            _ => None,
        }
    }

    /// Returns the head and the content of each part of a form.
    fn parts(&self, boundary: &str) -> Vec<(String, String)> {
        let body = String::from_utf8_lossy(&self.body);
        let (body, delimiter) = (format!("\r\n{body}"), format!("\r\n--{boundary}"));
        let parts = body.split(&delimiter).skip(1);
        let parts = parts.filter_map(|part| {
            let (head, content) = part.strip_prefix("\r\n")?.split_once("\r\n\r\n")?;
            Some((head.to_string(), content.to_string()))
        });
        parts.collect()
    }

    /// Returns the files of a form that are not empty: name, media type and content.
    pub fn files(&self) -> Vec<(String, String, String)> {
        let content_type = self.header("content-type").unwrap_or_default();
        let Some((_, boundary)) = content_type.split_once("; boundary=") else {
            return Vec::new();
        };
        let files = self.parts(boundary).into_iter().filter(|(head, content)| {
            quoted(head, " name=\"") == "files" && head.contains("filename=") && !content.is_empty()
        });
        let files = files.map(|(head, content)| {
            let media_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: "));
            let media_type = media_type.unwrap_or_default().to_string();
            (quoted(&head, "filename=\"").replace("%22", "\""), media_type, content)
        });
        files.collect()
    }

    /// Returns whether the client prefers JSON to HTML, if its Accept header says so.
    pub fn prefers_json(&self) -> Option<bool> {
        let mut media = self.header("accept")?.split([',', ';']).map(str::trim);
        media.find_map(|media| match media {
            "application/json" | "*/*" => Some(true),
            "text/html" => Some(false),
            _ => None,
        })
    }

    pub fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn content_length(&self) -> io::Result<u64> {
        let length = self.header("content-length").unwrap_or("0");
        length.parse().map_err(|_| malformed())
    }
}

/// Returns the text between this and the next quotation mark.
fn quoted(head: &str, before: &str) -> String {
    let after = head.split_once(before).map(|(_, after)| after);
    after.and_then(|after| after.split('"').next()).unwrap_or_default().to_string()
}

fn form_decoded(text: &[u8]) -> String {
    let mut text = text.iter().copied();
    let mut decoded = Vec::new();
    while let Some(byte) = text.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: Vec<u8> = text.by_ref().take(2).collect();
                let hex = String::from_utf8_lossy(&hex);
                u8::from_str_radix(&hex, 16).unwrap_or(b'%')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Reads one request, and skips a body that is longer than the limit. An error of kind
/// `InvalidData` needs a response. After any other error the connection is gone.
pub(super) fn read_request(
    reader: &mut impl BufRead,
    connection: usize,
    body_limit: u64,
) -> io::Result<Request> {
    let line = read_line(reader)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed());
    };
    let mut request = Request {
        connection,
        method: method.to_string(),
        path: path.to_string(),
        headers: read_headers(reader)?,
        body: Vec::new(),
    };
    // Clients of these protocols send the length.
    if request.header("host").is_none() || request.header("transfer-encoding").is_some() {
        return Err(malformed());
    }
    let length = request.content_length()?;
    if length > body_limit {
        io::copy(&mut reader.take(length), &mut io::sink())?;
    } else {
        reader.take(length).read_to_end(&mut request.body)?;
        if (request.body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(request)
}

fn read_headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        headers.push((name.to_string(), value.trim().to_string()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.strip_suffix("\r\n").map(str::to_string).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
