//! The stand-in's responses match those of real servers: text requests over plain sockets, and the
//! recorded responses to them.

mod client;
mod documents;
mod refusals;
mod replies;

use client::{Client, form_message, json_post};

use crate::stand_in::{Builder, Counts, Dialect, StandIn};

const CREATE: &str = r#"{"model": "other/model"}"#;
const DONE: &str = "200 chunked cookie ";

/// A server, and a client with a conversation on it.
struct Chat {
    dialect: Dialect,
    server: StandIn,
    client: Client,
    id: String,
}

impl Chat {
    fn start(dialect: Dialect) -> Self {
        Self::with(dialect, |builder| builder)
    }

    fn with(dialect: Dialect, setting: impl Fn(Builder) -> Builder) -> Self {
        let server = setting(StandIn::builder().dialect(dialect)).start();
        let mut client = Client::connect(&server);
        // A current server refuses this, and does not need it.
        client.ask(
            "POST /settings\nReferer: http://{host}/\n\
             Content-Type: application/x-www-form-urlencoded\n\n\
             ethicsModalAccepted=true&activeModel=other%2Fmodel",
        );
        let created = client.ask(&json_post("/conversation", CREATE)).json();
        let id = created["conversationId"].as_str().unwrap().to_string();
        Self { dialect, server, client, id }
    }

    /// Sends each request, with the conversation's id for `{id}`, and compares the responses.
    fn compare<T: AsRef<str>>(&mut self, rows: &[(T, &str)]) {
        for (request, recorded) in rows {
            let request = request.as_ref().replace("{id}", &self.id);
            let recorded = recorded.replace("{host}", &self.client.host);
            let response = self.client.ask(&request).summary();
            assert_eq!(response, recorded, "{:?} {request}", self.dialect);
        }
    }

    fn wait(&self, condition: impl Fn(&Counts) -> bool) {
        self.server.wait_for("the next step", condition);
    }

    fn stop(&self) {
        let stop = format!("POST /conversation/{}/stop-generating", self.id);
        let response = Client::connect(&self.server).ask(&stop);
        assert_eq!(response.summary(), DONE);
    }

    /// The ids of the conversation's messages, by the API of a current server.
    fn messages(&self) -> Vec<String> {
        let request = format!("GET /api/conversation/{}", self.id);
        let conversation = Client::connect(&self.server).ask(&request).json();
        let messages = conversation["messages"].as_array().unwrap().iter();
        let ids = messages.map(|message| message["id"].as_str().unwrap().to_string());
        ids.collect()
    }

    /// Sends a message in the way that the server takes it.
    fn send(&mut self, inputs: &str) {
        let data = if self.dialect == Dialect::Classic {
            format!(r#"{{"inputs": "{inputs}", "options": {{}}}}"#)
        } else {
            let parent = self.messages().pop().unwrap();
            format!(r#"{{"id": "{parent}", "inputs": "{inputs}"}}"#)
        };
        self.client.send(&match self.dialect {
            Dialect::Form | Dialect::Newest => form_message(&self.id, &data),
            _ => json_post(&format!("/conversation/{}", self.id), &data),
        });
    }

    /// Sends a message, and returns the chunks of the reply to it.
    fn reply(&mut self, inputs: &str) -> Vec<String> {
        self.send(inputs);
        self.client.response().body
    }
}
