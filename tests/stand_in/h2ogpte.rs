//! The API of h2oGPTe, from its published document. Guesses beyond the document are marked.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Config;
use super::chat_ui::{Job, Reply};
use super::current::acts;
use super::encoder::{Encoder, Ending};
use super::history::{Message, Turn};
use super::plan::{Act, Plan};
use super::request::Request;
use super::response::Response;
use super::state::{Conversation, Shared};

/// The only date. Messages are a second apart.
const DAY: &str = "2026-11-25T";
const DATE: &str = "2026-11-25T19:07:12.343575Z";

/// A request, its key, and the server.
struct Exchange<'a> {
    config: &'a Config,
    shared: &'a Arc<Shared>,
    request: &'a Request,
    /// Each key is a user.
    key: &'a str,
    query: &'a str,
}

pub(super) fn reply(config: &Config, shared: &Arc<Shared>, request: &Request) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(path) = path.strip_prefix(&*config.base_path) else {
        return (unknown_path(), None);
    };
    let authorization = request.header("authorization").unwrap_or_default();
    let Some(key) = authorization.strip_prefix("Bearer ").filter(|key| key.starts_with("sk-"))
    else {
        return (error(401, "Invalid API key"), None);
    };
    let exchange = Exchange { config, shared, request, key, query };
    exchange.reply(path).unwrap_or_else(|refusal| (refusal, None))
}

impl Exchange<'_> {
    fn reply(&self, path: &str) -> Result<Reply, Response> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let response = match (&*self.request.method, &parts[..]) {
            ("POST", ["api", "v1", "chats", id, "completions"]) => return self.completion(id),
            ("GET", ["rpc", "meta"]) => json_answer(200, &Self::meta()),
            ("GET", ["api", "v1", "models"]) => json_answer(200, &self.models()),
            ("POST", ["api", "v1", "chats"]) => self.create()?,
            ("GET", ["api", "v1", "chats"]) => self.list()?,
            ("GET", ["api", "v1", "chats", "count"]) => self.count(),
            ("POST", ["api", "v1", "chats", "delete_job"]) => self.delete_by_job()?,
            ("GET", ["api", "v1", "jobs", id]) => self.job(id)?,
            ("GET", ["api", "v1", "chats", id]) => json_answer(200, &session(id, &self.own(id)?)),
            ("PATCH", ["api", "v1", "chats", id]) => self.rename(id)?,
            ("DELETE", ["api", "v1", "chats", id]) => self.delete(id)?,
            ("GET", ["api", "v1", "chats", id, "messages"]) => self.messages(id)?,
            ("POST", ["api", "v1", "messages", id, "stop"]) if !self.config.lacks_stop => {
                self.stop(id)?
            }
            _ => unknown_path(),
        };
        Ok((response, None))
    }

    /// Returns the user's conversation with this id.
    fn own(&self, id: &str) -> Result<Conversation, Response> {
        let known = self.shared.lock().conversations.get(id).cloned();
        let own = known.filter(|known| known.session == self.key);
        own.ok_or_else(|| error(404, "Chat session not found"))
    }

    fn json(&self) -> Result<Value, Response> {
        let content_type = self.request.header("content-type").unwrap_or_default();
        match self.request.json() {
            Value::Object(fields) if content_type == "application/json" => Ok(fields.into()),
            _ => Err(error(400, "The body is not a JSON object")),
        }
    }

    fn parameter<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, Response> {
        let mut fields = self.query.split('&').filter_map(|field| field.split_once('='));
        match fields.find(|(field, _)| *field == name) {
            Some((_, value)) => value.parse().map_err(|_| error(400, "Invalid parameter")),
            None => Ok(default),
        }
    }

    /// A page of a list.
    fn page(&self, items: impl Iterator<Item = Value>) -> Result<Response, Response> {
        let offset = self.parameter("offset", 0)?;
        let limit = self.parameter("limit", 100)?;
        Ok(json_answer(200, &items.skip(offset).take(limit).collect()))
    }

    fn create(&self) -> Result<Response, Response> {
        if !self.request.body.is_empty() {
            self.json()?;
        }
        let collection = self.parameter("collection_id", String::new())?;
        if !collection.is_empty() && Uuid::parse_str(&collection).is_err() {
            return Err(error(404, "Collection not found"));
        }
        let conversation = Conversation::new(self.key, "New Chat".to_string(), "", Vec::new());
        let body = self.shared.change(|state| {
            let id = state.create_with_uuid(conversation.clone());
            session(&id, &conversation)
        });
        Ok(json_answer(201, &body))
    }

    fn list(&self) -> Result<Response, Response> {
        let state = self.shared.lock();
        let own = state.conversations_of(self.key).into_iter();
        self.page(own.map(|(id, conversation)| session(id, conversation)))
    }

    fn count(&self) -> Response {
        let count = self.shared.lock().conversations_of(self.key).len();
        json_answer(200, &json!({ "count": count }))
    }

    fn rename(&self, id: &str) -> Result<Response, Response> {
        let mut conversation = self.own(id)?;
        let body = self.json()?;
        let name = body["name"].as_str();
        conversation.title = name.ok_or_else(|| error(400, "No name"))?.to_string();
        let body = session(id, &conversation);
        let replace = |state: &mut super::state::State| {
            state.conversations.insert(id.to_string(), conversation);
        };
        self.shared.change(replace);
        Ok(json_answer(200, &body))
    }

    /// A guess: the second deletion is 404, and a generation continues.
    fn delete(&self, id: &str) -> Result<Response, Response> {
        if self.config.lacks_delete {
            return Err(unknown_path());
        }
        self.parameter("timeout", 300.0)?;
        self.own(id)?;
        self.shared.change(|state| state.conversations.remove(id));
        Ok(Response::new(204))
    }

    fn delete_by_job(&self) -> Result<Response, Response> {
        let body = self.json()?;
        let ids = body["session_ids"].as_array();
        for id in ids.ok_or_else(|| error(400, "No session_ids"))? {
            let id = id.as_str().unwrap_or_default();
            if self.own(id).is_ok() {
                self.shared.change(|state| state.conversations.remove(id));
            }
        }
        let number = self.shared.change(|state| {
            state.polled_jobs.push(0);
            state.polled_jobs.len() - 1
        });
        let id = Uuid::from_u128(number as u128).to_string();
        Ok(json_answer(201, &job(&id, false)))
    }

    /// A job is in progress at its first status request.
    fn job(&self, id: &str) -> Result<Response, Response> {
        let number = Uuid::parse_str(id).map_or(u128::MAX, |id| id.as_u128());
        let polls = self.shared.change(|state| {
            let polls = state.polled_jobs.get_mut(usize::try_from(number).ok()?)?;
            *polls += 1;
            Some(*polls)
        });
        let polls = polls.ok_or_else(|| error(404, "Job not found"))?;
        Ok(json_answer(200, &job(id, polls > 1)))
    }

    /// A guess: newest first.
    fn messages(&self, id: &str) -> Result<Response, Response> {
        let messages = self.own(id)?.messages;
        let message = |(number, message): (usize, &Message)| {
            let (hours, minutes, seconds) = (number / 3600, number / 60 % 60, number % 60);
            let created_at = format!("{DAY}{hours:02}:{minutes:02}:{seconds:02}Z");
            let mut shown = json!({
                "id": message.id,
                "content": message.content,
                "votes": 0,
                "created_at": created_at,
                "has_references": false,
                "total_references": 0,
            });
            if let Some(question) = &message.parent {
                shown["reply_to"] = question.as_str().into();
            }
            shown
        };
        self.page(messages.iter().enumerate().rev().map(message))
    }

    /// Stops the generation that answers this question.
    fn stop(&self, question: &str) -> Result<Response, Response> {
        let running = self.shared.change(|state| {
            let own = state.conversations_of(self.key).into_iter();
            let is_of = |messages: &[Message]| messages.iter().any(|it| it.id == question);
            let (id, conversation) = own.into_iter().find(|(_, it)| is_of(&it.messages))?;
            let last = conversation.messages.iter().rfind(|it| it.from == "user");
            let is_last = last.is_some_and(|last| last.id == question);
            Some(if is_last { state.running_in(id) } else { Vec::new() })
        });
        let running = running.ok_or_else(|| error(404, "Message not found"))?;
        self.shared.stop_after(self.config.stop_delay, running, false);
        Ok(Response::new(204))
    }

    fn completion(&self, id: &str) -> Result<Reply, Response> {
        let conversation = self.own(id)?;
        let body = self.json()?;
        let question = self.check(&body)?;
        let plan = match (self.config.plan)(question) {
            Plan::Refusal { status, message } => return Err(error(status, message)),
            Plan::Dead => return Err(error(500, "Internal Server Error")),
            plan => acts(plan),
        };
        let system = body["system_prompt"].as_str();
        let turn = Turn::in_chat(id, conversation.messages, question, system);
        self.shared.change(|state| {
            state.prompts.push(turn.prompt());
            if let Some(conversation) = state.conversations.get_mut(id) {
                conversation.messages = turn.asked().to_vec();
            }
        });
        // A guess: a client that accepts only JSON gets no stream.
        let accept = self.request.header("accept").unwrap_or_default();
        let is_stream = body["stream"] == true && accept != "application/json";
        let encoder = Completions::new(turn.answer_id(), is_stream);
        let content_type = if is_stream { "application/jsonl" } else { "application/json" };
        let job = Job {
            conversation: id.to_string(),
            turn,
            acts: plan,
            encoder: Box::new(encoder),
            is_stopped: false,
        };
        let head = Response::new(200).header("content-type", content_type);
        Ok((head, Some(job)))
    }

    /// Returns the question of a valid request.
    fn check<'b>(&self, body: &'b Value) -> Result<&'b str, Response> {
        let absent_or =
            |name: &str, is_valid: fn(&Value) -> bool| body.get(name).is_none_or(is_valid);
        let is_valid = absent_or("stream", Value::is_boolean)
            && absent_or("system_prompt", Value::is_string)
            && absent_or("llm_args", Value::is_object)
            && absent_or("include_chat_history", |it| it.is_boolean() || it == "auto");
        let message = body["message"].as_str().filter(|it| !it.trim().is_empty());
        let Some(message) = message.filter(|_| is_valid) else {
            return Err(error(400, "Invalid request"));
        };
        let knows = |name: &str| name == "auto" || self.config.models.iter().any(|it| it == name);
        match body.get("llm") {
            Some(llm) if !llm.as_str().is_some_and(knows) => Err(error(400, "Unknown LLM")),
            _ => Ok(message),
        }
    }

    fn models(&self) -> Value {
        let models = self.config.models.iter();
        let models = models.enumerate().map(|(number, name)| {
            json!({
                "id": format!("model-{number}"),
                "display_name": name,
                "context_length": 8192,
                "is_vision": false,
            })
        });
        models.collect()
    }

    /// The response to the first request of H2O's Python client.
    fn meta() -> Value {
        json!({
            "version": "1.7.5",
            "build": "0",
            "username": "user",
            "user_id": "user",
            "subject": "user",
            "email": "user@example.org",
            "is_guest": false,
            "license_expired": false,
            "license_expiry_date": "2100-01-01",
            "global_configs": [],
            "user_configs": [],
            "picture": null,
            "groups": null,
            "workspaces": null,
            "permissions": [],
            "ui_config": {
                "logo": "", "chat_logo": "", "primary_color": "", "chat_name": "", "greeting": "",
                "show_private_button": false, "show_workers_status": false,
                "show_live_logs": false, "show_eval": false, "show_extractors": false,
                "public_mode": false,
            },
        })
    }
}

fn session(id: &str, conversation: &Conversation) -> Value {
    let latest = conversation.messages.last();
    json!({
        "id": id,
        "name": conversation.title,
        "latest_message_content": latest.map(|message| &message.content),
        "updated_at": DATE,
        "status": "active",
        "source": "user",
    })
}

fn job(id: &str, is_completed: bool) -> Value {
    let (status, done) = if is_completed { ("completed", 1.0) } else { ("in progress", 0.0) };
    json!({
        "id": id,
        "name": "Deleting chat sessions",
        "overall_status": status,
        "status": status,
        "passed_percentage": done,
        "failed_percentage": 0.0,
        "progress": done,
        "created_at": DATE,
        "updated_at": DATE,
        "kind": "DeleteChatSessionsJob",
        "statuses": [],
        "errors": [],
        "duration": "0s",
        "duration_seconds": 0.0,
    })
}

fn error(status: u16, message: &str) -> Response {
    let body = json!({ "code": status, "message": message, "error_type": "error" });
    json_answer(status, &body)
}

/// A guess: the response of a gateway in front of the API.
fn unknown_path() -> Response {
    Response::page(404, "Not Found")
}

fn json_answer(status: u16, body: &Value) -> Response {
    Response::json(status, &body.to_string())
}

/// Writes a reply as JSON lines, each in a chunk of its own, or as one object.
struct Completions {
    message_id: String,
    is_stream: bool,
    text: String,
    is_complete: bool,
}

impl Completions {
    fn new(message_id: &str, is_stream: bool) -> Self {
        Self {
            message_id: message_id.to_string(),
            is_stream,
            text: String::new(),
            is_complete: false,
        }
    }

    fn delta(&mut self, text: &str) -> Vec<Vec<u8>> {
        self.text += text;
        if text.is_empty() || !self.is_stream {
            return Vec::new();
        }
        let text = Value::from(text);
        vec![line(&format!(r#"{{"body":{text},"finished":false}}"#))]
    }
}

impl Encoder for Completions {
    fn start(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn encode_one(&mut self, act: &Act) -> Vec<Vec<u8>> {
        match act {
            Act::Token { text, .. } => self.delta(text),
            Act::Failure(failure) => {
                let message = Value::from(failure.message.as_str());
                vec![line(&format!(r#"{{"error":{message}}}"#))]
            }
            Act::Last(last) => {
                let mut chunks = Vec::new();
                if !last.is_special() {
                    chunks = self.delta(&last.text);
                }
                self.text.clone_from(&last.generated_text);
                self.is_complete = true;
                let (id, text) = (&self.message_id, Value::from(self.text.as_str()));
                let finished = if self.is_stream { r#","finished":true"# } else { "" };
                let last = format!(r#"{{"message_id":"{id}","body":{text}{finished}}}"#);
                chunks.push(if self.is_stream { line(&last) } else { last.into_bytes() });
                chunks
            }
            Act::Other(object) => vec![line(object)],
            Act::Send(bytes) => vec![bytes.clone()],
            // The comments of the model's server are not passed on.
            _ => Vec::new(),
        }
    }

    fn keep_alive(&self) -> Option<Vec<u8>> {
        None
    }

    /// A guess: a stopped reply ends without its last line.
    fn end(&mut self, is_stopped: bool) -> Ending {
        Ending {
            chunks: Vec::new(),
            closes: false,
            text: (self.is_complete || is_stopped).then(|| self.text.clone()),
        }
    }
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}
