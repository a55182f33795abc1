//! A client that sends exact requests, and the parts of a response.

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::stand_in::StandIn;

pub struct Client {
    socket: BufReader<TcpStream>,
    pub host: String,
}

impl Client {
    pub fn connect(server: &StandIn) -> Self {
        let host = format!("127.0.0.1:{}", server.port());
        let socket = TcpStream::connect(&host).unwrap();
        let limit = Some(Duration::from_secs(10));
        socket.set_read_timeout(limit).unwrap();
        let socket = BufReader::new(socket);
        Self { socket, host }
    }

    /// Sends a request written as lines, in the session "me" unless it has its own cookie.
    pub fn send(&mut self, text: &str) {
        let text = text.replace("{host}", &self.host);
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut request = format!("{line} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for header in headers.lines() {
            request.extend([header, "\r\n"]);
        }
        if !headers.contains("Cookie: ") {
            request += "Cookie: theme=dark; hf-chat=me\r\n";
        }
        if !body.is_empty() {
            request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        self.send_raw(&format!("{request}\r\n{body}"));
    }

    pub fn send_raw(&mut self, text: &str) {
        self.socket.get_ref().write_all(text.as_bytes()).unwrap();
    }

    pub fn ask(&mut self, text: &str) -> Response {
        self.send(text);
        self.response()
    }

    pub fn response(&mut self) -> Response {
        let head = self.head();
        let length = head.split("content-length: ").nth(1);
        let body = match length.and_then(|rest| rest.lines().next()) {
            Some(length) => vec![self.exactly(length.parse().unwrap())],
            None => self.chunks(),
        };
        Response { head, body }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.socket.read_line(&mut line).unwrap();
        line
    }

    fn exactly(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.socket.read_exact(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads a head, with the empty line at its end.
    pub fn head(&mut self) -> String {
        let lines = iter::from_fn(|| Some(self.line()).filter(|line| line != "\r\n"));
        lines.collect::<String>() + "\r\n"
    }

    /// Reads a chunk. None if it is the last one.
    pub fn chunk(&mut self) -> Option<String> {
        let size = self.line();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let chunk = self.exactly(size);
        assert_eq!(self.line(), "\r\n");
        (size > 0).then_some(chunk)
    }

    /// Reads the chunks up to the last one.
    pub fn chunks(&mut self) -> Vec<String> {
        iter::from_fn(|| self.chunk()).collect()
    }

    /// Reads the rest until the server closes the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.socket.read_to_string(&mut rest).unwrap();
        rest
    }
}

pub struct Response {
    pub head: String,
    /// The chunks, or the whole body.
    pub body: Vec<String>,
}

impl Response {
    pub fn text(&self) -> String {
        self.body.concat()
    }

    pub fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Status, framing, `cookie` if it is set, content type, other headers but Node's, body.
    pub fn summary(&self) -> String {
        let mut framing = "chunked";
        let (mut cookie, mut media, mut others) = ("", String::new(), String::new());
        for (name, value) in self.head.lines().filter_map(|line| line.split_once(": ")) {
            match &*name.to_ascii_lowercase() {
                "content-length" => framing = "sized",
                "set-cookie" if value.starts_with("hf-chat=") => cookie = " cookie",
                "content-type" => media = format!(" {value}"),
                "date" | "connection" | "keep-alive" | "transfer-encoding" | "vary" => {}
                _ => others.extend([" ", name, "=", value]),
            }
        }
        let status = self.status();
        format!("{status} {framing}{cookie}{media}{others} {}", self.text())
    }
}

pub fn json_post(path: &str, json: &str) -> String {
    format!("POST {path}\nAccept: */*\nContent-Type: application/json\n\n{json}")
}

/// A message in a form.
pub fn form_message(id: &str, data: &str) -> String {
    format!(
        "POST /conversation/{id}\nAccept: */*\nOrigin: http://{{host}}\n\
         Content-Type: multipart/form-data; boundary=BOUND1\n\n\
         --BOUND1\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{data}\r\n--BOUND1--\r\n"
    )
}

/// Returns the data of a page's node, unpacked from devalue.
pub fn unpacked(node: &Value) -> Value {
    fn value_at(array: &Value, place: &Value) -> Value {
        let Some(place) = place.as_u64() else {
            return "undefined".into();
        };
        match &array[usize::try_from(place).unwrap()] {
            Value::Array(items) if items[..].first().is_some_and(Value::is_string) => {
                items[0].clone()
            }
            Value::Array(items) => items.iter().map(|item| value_at(array, item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, place)| (name.clone(), value_at(array, place)));
                Value::Object(fields.collect())
            }
            plain => plain.clone(),
        }
    }
    value_at(&node["data"], &0.into())
}
