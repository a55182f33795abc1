//! A conversation with a current server, and what it says as it was recorded.

use serde_json::Value;

use crate::raw_client::{COOKIE, Client, NODE, chunks, post};
use crate::stand_in::{Dialect, Plan, StandIn};

pub const VARY: &str = "Vary: Accept-Encoding\r\n";

/// A conversation with a server that was told what the model says.
pub struct Chat {
    pub server: StandIn,
    pub client: Client,
    pub id: String,
}

impl Chat {
    pub fn begin(dialect: Dialect, plan: impl Fn(&str) -> Plan + Send + Sync + 'static) -> Self {
        let server = StandIn::builder().dialect(dialect).plan(plan).start();
        let mut client = Client::of(&server);
        client.ask(&create("other/model", ""));
        let id = server.conversations()[0].clone();
        Self { server, client, id }
    }

    /// The ids of the messages.
    pub fn messages(&mut self) -> Vec<String> {
        let answer = self.client.ask(&conversation(&self.id));
        let body = answer.rsplit("\r\n").nth(3).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap();
        let messages = body["messages"].as_array().unwrap().iter();
        let ids = messages.map(|message| message["id"].as_str().unwrap().to_string());
        ids.collect()
    }

    /// Sends this to the last message.
    pub fn send(&mut self, inputs: &str) {
        let parent = self.messages().pop().unwrap();
        let data = data(&parent, inputs);
        self.client.send(&form(&self.id, &data));
    }

    pub fn ask(&mut self, inputs: &str) -> String {
        self.send(inputs);
        self.client.answer()
    }

    pub fn stop(&self) -> String {
        let stop = format!("POST /conversation/{}/stop-generating", self.id);
        Client::of(&self.server).ask(&stop)
    }
}

pub fn create(model: &str, more: &str) -> String {
    post("/conversation", &format!(r#"{{"model": "{model}"{more}}}"#))
}

pub fn conversation(id: &str) -> String {
    format!("GET /api/conversation/{id}")
}

pub fn data(parent: &str, inputs: &str) -> String {
    format!(r#"{{"id": "{parent}", "inputs": "{inputs}"}}"#)
}

pub fn form(id: &str, data: &str) -> String {
    format!(
        "POST /conversation/{id}\nAccept: */*\nOrigin: http://{{host}}\n\
         Content-Type: multipart/form-data; boundary=BOUND1\n\n\
         --BOUND1\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{data}\r\n--BOUND1--\r\n"
    )
}

pub fn head() -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{VARY}content-type: application/jsonl\r\n{COOKIE}{NODE}\
         Transfer-Encoding: chunked\r\n\r\n"
    )
}

pub fn status(status: &str) -> String {
    format!("{{\"type\":\"status\",\"status\":\"{status}\"}}\n")
}

/// A line with as many NULs as it takes.
pub fn token(text: &str, nuls: usize) -> String {
    let nuls = r"\u0000".repeat(nuls);
    format!("{{\"type\":\"stream\",\"token\":\"{text}{nuls}\"}}\n")
}

/// The lines of a first reply, from its title to what comes before the end.
pub fn reply(lines: &[String]) -> String {
    let title = "{\"type\":\"title\",\"title\":\"Fake title\"}\n".to_string();
    let first = [status("started"), status("keepAlive"), title];
    head() + &chunks(&first) + &chunks(lines) + "0\r\n\r\n"
}

pub fn answered(text: &str, interrupted: bool) -> [String; 3] {
    let answer =
        format!("{{\"type\":\"finalAnswer\",\"text\":\"{text}\",\"interrupted\":{interrupted}}}\n");
    [answer, " ".repeat(4096), status("finished")]
}

pub fn error(rest: &str) -> String {
    format!("{{\"type\":\"status\",\"status\":\"error\",\"message\":{rest}}}\n")
}
