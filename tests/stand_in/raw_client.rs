//! A client that says what it is told to say, and the answers as they were recorded.

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::time::Duration;

use crate::stand_in::StandIn;

const DATE: &str = "Mon, 23 Nov 2026 18:23:31 GMT";
const KEPT: &str = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n";
/// What Node adds to every answer of the chat server's own.
pub const NODE: &str =
    "Date: Mon, 23 Nov 2026 18:23:31 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n";
pub const COOKIE: &str = "set-cookie: hf-chat=me; Path=/; \
    Expires=Fri, 01 Jan 2100 00:00:00 GMT; HttpOnly; Secure; SameSite=None\r\n";
pub const HELLO: &str = r#"{"inputs": "hello", "options": {}}"#;

/// A connection to the server.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn of(server: &StandIn) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let limit = Some(Duration::from_secs(10));
        socket.set_read_timeout(limit).unwrap();
        Self(BufReader::new(socket))
    }

    /// Sends a request written as lines, in the session "me" unless it has its own cookie.
    pub fn send(&mut self, text: &str) {
        let host = format!("127.0.0.1:{}", self.0.get_ref().peer_addr().unwrap().port());
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n");
        for header in headers.lines() {
            request += &(header.replace("{host}", &host) + "\r\n");
        }
        if !headers.contains("Cookie: ") {
            request += "Cookie: theme=dark; hf-chat=me\r\n";
        }
        if !body.is_empty() {
            request += "Content-Length: ";
            request += &(body.len().to_string() + "\r\n");
        }
        self.raw(&(request + "\r\n" + body));
    }

    pub fn raw(&mut self, text: &str) {
        self.0.get_ref().write_all(text.as_bytes()).unwrap();
    }

    pub fn ask(&mut self, text: &str) -> String {
        self.send(text);
        self.answer()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn exactly(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        // A character cut in two is shown byte by byte.
        String::from_utf8(bytes)
            .unwrap_or_else(|cut| cut.into_bytes().iter().copied().map(char::from).collect())
    }

    pub fn head(&mut self) -> String {
        let lines = iter::from_fn(|| Some(self.line()).filter(|line| line != "\r\n"));
        lines.collect::<String>() + "\r\n"
    }

    pub fn chunk(&mut self) -> String {
        let size = self.line();
        let count = usize::from_str_radix(size.trim_end(), 16).unwrap();
        size + &self.exactly(count + 2)
    }

    pub fn answer(&mut self) -> String {
        let mut answer = self.head();
        match answer.split("content-length: ").nth(1) {
            Some(rest) => {
                let count = rest.lines().next().unwrap().parse().unwrap();
                answer += &self.exactly(count);
            }
            None => answer += &self.chunks(),
        }
        answer
    }

    /// The chunks that are left, the last one included.
    pub fn chunks(&mut self) -> String {
        let mut chunks = String::new();
        loop {
            let chunk = self.chunk();
            chunks += &chunk;
            if chunk == "0\r\n\r\n" {
                return chunks;
            }
        }
    }

    /// What is left until the server ends the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// A client with a conversation.
pub fn begun(server: &StandIn) -> (Client, String) {
    let mut client = Client::of(server);
    let form = "ethicsModalAccepted=true&activeModel=other%2Fmodel";
    client.ask(&settings("\nReferer: http://{host}/", form));
    let answer = client.ask(&post("/conversation", r#"{"model": "other/model"}"#));
    let id = answer.split('"').nth(3).unwrap().to_string();
    (client, id)
}

pub fn settings(headers: &str, form: &str) -> String {
    format!("POST /settings\nContent-Type: application/x-www-form-urlencoded{headers}\n\n{form}")
}

pub fn post(path: &str, json: &str) -> String {
    format!("POST {path}\nAccept: */*\nContent-Type: application/json\n\n{json}")
}

pub fn message(id: &str, json: &str) -> String {
    post(&format!("/conversation/{id}"), json)
}

pub fn prompt(id: &str, prompt: &str) -> String {
    message(id, &HELLO.replace("hello", prompt))
}

/// An answer whose length is known: that of a route.
pub fn sized(status: &str, media: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-type: {media}\r\n\
         {COOKIE}{NODE}\r\n{body}"
    )
}

pub fn chunked(status: &str, headers: &str, body: &str) -> String {
    let first = match body.len() {
        0 => String::new(),
        length => format!("{length:x}\r\n{body}\r\n"),
    };
    format!(
        "HTTP/1.1 {status}\r\n{headers}{NODE}Transfer-Encoding: chunked\r\n\r\n{first}0\r\n\r\n"
    )
}

/// A refusal before the routes, without a cookie.
pub fn hook(status: &str, media: &str, body: &str) -> String {
    chunked(status, &format!("content-type: {media}\r\n"), body)
}

/// What the model's server said, with its own date among the headers.
pub fn relayed(status: &str, more: &str, media: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\ncontent-type: {media}\r\n\
         date: {DATE}\r\n{more}{COOKIE}{KEPT}\r\n{body}"
    )
}

pub fn empty_success() -> String {
    chunked("200 OK", COOKIE, "")
}

/// The head of every reply.
pub fn stream_head() -> String {
    format!(
        "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncache-control: no-cache\r\n\
         content-type: text/event-stream\r\ndate: {DATE}\r\n{COOKIE}\
         transfer-encoding: chunked\r\n\
         vary: origin, access-control-request-method, access-control-request-headers\r\n\
         x-accel-buffering: no\r\nx-compute-characters: 42\r\nx-compute-type: gpu+optimized\r\n\
         {KEPT}\r\n"
    )
}

pub fn event(id: usize, text: &str) -> String {
    format!(
        r#"data:{{"token":{{"id":{id},"text":"{text}","logprob":-0.1,"special":false}},"generated_text":null,"details":null}}"#
    ) + "\n\n"
}

pub fn last_event(whole: &str) -> String {
    let event = event(0, "<|endoftext|>").replace("false", "true");
    event.replacen("null", &format!("\"{whole}\""), 1)
}

pub fn chunks(chunks: &[String]) -> String {
    chunks.iter().fold(String::new(), |all, chunk| {
        all + &format!("{:x}\r\n{chunk}\r\n", chunk.len())
    })
}
