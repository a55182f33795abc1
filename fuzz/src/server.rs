//! A server that answers as its script says, and properly after that.
//!
//! The script consists of records that end in the byte FF, one for each request and each connect.
//! The first byte of a record says what is done, the rest is the payload:
//!
//! * `b` the payload as a body with its length, `c` in chunks, `t` in chunks of which the last one
//!   is missing, `e` as a body that ends with the connection;
//! * `0` to `9` the payload as the body of an error, see [`STATUSES`];
//! * `r` the payload as the response, head included, `R` the same, and the connection is closed;
//! * `n` no response: the connection is closed, or refused;
//! * `h` no response, but the connection stays open;
//! * anything else: the proper answer.

use std::collections::BTreeMap;

use h2o_chat::fuzzing::http::Answer;
use serde_json::json;

/// The statuses of the records `0` to `9`.
const STATUSES: [u16; 10] = [302, 400, 401, 403, 404, 405, 413, 429, 500, 503];

/// The page of a conversation, or the first one, as data.
const PAGE: &str = r#"{"type":"data","nodes":[{"type":"data","data":[{"models":1,"conversations":4,
    "settings":7,"messages":10},[2],{"id":3},"m",[5],{"id":6,"title":3},"c1",{"activeModel":3,
    "ethicsModalAccepted":8},true,0,[11],{"id":12,"from":13,"content":14},"u1","user","Hi"]}]}"#;

const CLASSIC_REPLY: &str = r#"data:{"token":{"text":"Hi"}}

data:{"token":{"text":"</s>","special":true},"generated_text":"Hi"}

"#;

const REPLY: &str = r#"{"type":"stream","token":"Hi"}
{"type":"finalAnswer","text":"Hi","interrupted":false}
"#;

pub struct Server {
    records: Vec<Vec<u8>>,
    is_classic: bool,
    created: usize,
    /// Each request, without what is random in it.
    pub requests: Vec<String>,
    /// The conversations that messages were sent to.
    pub spoken: BTreeMap<String, Spoken>,
    /// The answers to messages, without what the server puts into them. One that the script writes
    /// in full may be in chunks, which may begin anywhere: it is left out and counted.
    pub replies: Vec<Vec<u8>>,
    pub unknown_replies: usize,
}

/// What has become of a conversation since the last message to it.
#[derive(Debug, Default)]
pub struct Spoken {
    pub is_asked_to_be_deleted: bool,
    /// The status of the answer to that. `None` if it depends on what the script says.
    pub status: Option<u16>,
}

impl Server {
    pub fn new(script: &[u8], is_classic: bool) -> Server {
        let records = script.split(|&byte| byte == 0xFF).map(<[u8]>::to_vec);
        Server {
            records: records.rev().collect(),
            is_classic,
            created: 0,
            requests: Vec::new(),
            spoken: BTreeMap::new(),
            replies: Vec::new(),
            unknown_replies: 0,
        }
    }

    /// Answers a request, or to a connect.
    pub fn answer(&mut self, request: Option<&[u8]>) -> Option<Answer> {
        let Some(request) = request else {
            let refuses = self.records.last().is_some_and(|record| record == b"n");
            if refuses {
                self.records.pop();
            }
            return (!refuses).then(|| open(Vec::new()));
        };
        let line = request.split(|&byte| byte == b'\r').next().unwrap();
        let line = String::from_utf8(line.to_vec()).unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let path = rest.strip_suffix(" HTTP/1.1").unwrap();
        self.requests.push(format!("{method} {path}"));
        let record = self.records.pop().unwrap_or_default();
        let (status, answer) = self.scripted(&record, method, path);
        if let Some(id) = path.strip_prefix("/conversation/").filter(|id| !id.contains('/')) {
            let spoken = self.spoken.entry(id.to_owned());
            match method {
                "POST" => {
                    *spoken.or_default() = Spoken::default();
                    match record.first() {
                        Some(b'r' | b'R') => self.unknown_replies += 1,
                        Some(b'b' | b'c' | b't' | b'e') => self.replies.push(record),
                        _ => self.replies.push(answer.bytes.clone()),
                    }
                }
                "DELETE" => {
                    spoken.and_modify(|it| {
                        it.is_asked_to_be_deleted = true;
                        it.status = status;
                    });
                }
                _ => {}
            }
        }
        Some(answer)
    }

    /// The answer, and its status as far as that is sure.
    fn scripted(&mut self, record: &[u8], method: &str, path: &str) -> (Option<u16>, Answer) {
        let (kind, payload) = record.split_first().unwrap_or((&b'p', &[]));
        match kind {
            b'b' => (Some(200), open(response(200, payload))),
            b'0'..=b'9' => {
                let status = STATUSES[usize::from(kind - b'0')];
                (Some(status), open(response(status, payload)))
            }
            b'c' => (Some(200), open(chunks(payload, b"0\r\n\r\n"))),
            b't' => (Some(200), closed(chunks(payload, b""))),
            b'e' => {
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                (Some(200), closed([head, payload].concat()))
            }
            b'r' => (None, open(payload.to_vec())),
            b'R' => (None, closed(payload.to_vec())),
            b'n' => (Some(0), closed(Vec::new())),
            b'h' => (Some(0), open(Vec::new())),
            _ => {
                let (status, body) = self.proper(method, path);
                (Some(status), open(response(status, body.as_bytes())))
            }
        }
    }

    fn proper(&mut self, method: &str, path: &str) -> (u16, String) {
        let is_message = |path: &str| path.starts_with("/conversation/");
        let body = match (method, path) {
            ("POST", "/settings") if self.is_classic => {
                json!({"type": "redirect", "status": 303, "location": "/"}).to_string()
            }
            ("POST", "/settings") => {
                let error = "Non-JSON form requests need to have an origin";
                return (403, json!({ "error": error }).to_string());
            }
            ("POST", "/conversation") => {
                self.created += 1;
                let root = json!({"json": {"rootMessageId": "root"}}).to_string();
                let id = format!("c{}", self.created);
                if self.is_classic {
                    json!({ "conversationId": id }).to_string()
                } else {
                    json!({ "conversationId": id, "conversation": root }).to_string()
                }
            }
            ("POST", path) if path.ends_with("/stop-generating") => String::new(),
            ("POST", path) if is_message(path) && self.is_classic => CLASSIC_REPLY.to_owned(),
            ("POST", path) if is_message(path) => REPLY.to_owned(),
            ("GET", path) if path.ends_with("/__data.json") => PAGE.replace('\n', ""),
            ("GET", "/api/models") if !self.is_classic => json!([{"id": "m"}]).to_string(),
            ("GET", path) if path.starts_with("/api/conversations") && !self.is_classic => {
                json!([{"id": "c1", "title": "t"}]).to_string()
            }
            ("GET", path) if path.starts_with("/api/conversation/") && !self.is_classic => {
                let messages = json!([{"id": "u1", "from": "user", "content": "Hi"},
                    {"id": "a1", "from": "assistant", "content": "Hi"}]);
                json!({ "messages": messages, "modelTools": null }).to_string()
            }
            ("DELETE", path) if is_message(path) => String::new(),
            _ => return (404, json!({"message": "Not Found"}).to_string()),
        };
        (200, body)
    }
}

fn open(bytes: Vec<u8>) -> Answer {
    Answer { bytes, closes: false }
}

fn closed(bytes: Vec<u8>) -> Answer {
    Answer { bytes, closes: true }
}

fn response(status: u16, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A body in two chunks, and what ends it.
fn chunks(body: &[u8], end: &[u8]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (first, second) = body.split_at(body.len() / 2);
    for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(end);
    bytes
}
