//! Requests as text and the recorded answers to them, compared over plain sockets.

mod classic;
mod classic_replies;
mod client;
mod current;
mod current_replies;

use client::{Client, json_post};

use crate::stand_in::{Builder, Dialect, StandIn};

const INTERNAL: &str = r#"500 sized cookie application/json {"message":"Internal Error"}"#;
const NOT_FOUND: &str = r#"404 sized cookie application/json {"message":"Conversation not found"}"#;
const CREATE: &str = r#"{"model": "other/model"}"#;

/// A server, and a client with a conversation on it.
struct Chat {
    server: StandIn,
    client: Client,
    id: String,
}

impl Chat {
    fn start(builder: Builder) -> Self {
        let server = builder.start();
        let mut client = Client::connect(&server);
        // The newest servers refuse this; they have no modal.
        client.ask(
            "POST /settings\nReferer: http://{host}/\n\
             Content-Type: application/x-www-form-urlencoded\n\n\
             ethicsModalAccepted=true&activeModel=other%2Fmodel",
        );
        let created = client.ask(&json_post("/conversation", CREATE)).json();
        let id = created["conversationId"].as_str().unwrap().to_string();
        Self { server, client, id }
    }

    fn classic() -> Self {
        Self::start(StandIn::builder())
    }

    /// Sends each request, with the conversation's id for `{id}`, and compares the answer's summary.
    fn compare(&mut self, rows: &[(String, &str)]) {
        for (request, recorded) in rows {
            let request = request.replace("{id}", &self.id);
            let recorded = recorded.replace("{host}", &self.client.host);
            assert_eq!(self.client.ask(&request).summary(), recorded, "{request}");
        }
    }

    fn stop(&self) -> String {
        let stop = format!("POST /conversation/{}/stop-generating", self.id);
        Client::connect(&self.server).ask(&stop).summary()
    }

    /// The ids of the conversation's messages, by the API of a current server.
    fn messages(&self) -> Vec<String> {
        let request = format!("GET /api/conversation/{}", self.id);
        let told = Client::connect(&self.server).ask(&request).json();
        let messages = told["messages"].as_array().unwrap().iter();
        let ids = messages.map(|message| message["id"].as_str().unwrap().to_string());
        ids.collect()
    }

    /// A message to the conversation, in the way that the server takes it.
    fn message(&self, dialect: Dialect, inputs: &str) -> String {
        let parent = match dialect {
            Dialect::Classic => return client::prompt(&self.id, inputs),
            _ => self.messages().pop().unwrap(),
        };
        let data = format!(r#"{{"id": "{parent}", "inputs": "{inputs}"}}"#);
        match dialect {
            Dialect::Json => json_post(&format!("/conversation/{}", self.id), &data),
            _ => client::form(&self.id, &data),
        }
    }
}
