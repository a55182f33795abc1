//! h2oGPTe, H2O.ai's present product: a REST API with a key. A reply is lines of JSON.

use std::time::Duration;

use log::debug;
use serde_json::{Value, json};

use super::context::{Context, JSON};
use super::json_body::{JsonBody, not_a_stream};
use super::listing::{self, Item};
use super::message::{OutgoingMessage, RemoteConversation, StoredMessage, is_id};
use super::reply_stream::ReplyStream;
use crate::decode::Decoder;
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{HttpRequest, Timer};
use crate::json::read_json;
use crate::message::{Message, Role};
use crate::server::{ConversationSummary, Model};
use crate::text::one_line;

/// The model that lets the server choose.
pub(crate) const AUTO: &str = "auto";

/// The longest request body that is sent, in bytes. The documentation names no limit.
pub(super) const MAX_REQUEST: usize = 15 * 1024 * 1024;

/// How many items of a list are asked for at a time.
const PAGE: usize = 100;

/// How long a server may hold a deletion that names no limit.
const MAX_HOLD: Duration = Duration::from_secs(300);

/// The wait before a deletion job is polled again.
const POLL: Duration = Duration::from_millis(200);

const CHATS: &str = "/api/v1/chats";

/// Creates a chat session, perhaps about a collection of documents.
pub(super) fn create(
    context: &Context,
    timer: &Timer,
    model: &str,
    system: Option<&str>,
    collection: Option<&str>,
) -> Result<RemoteConversation> {
    let query = collection.map(|id| format!("?collection_id={id}"));
    let path = format!("{CHATS}{}", query.unwrap_or_default());
    let request = HttpRequest::post(Step::CreateConversation, &path);
    let response = context.http.send(timer, &request)?.error_for_status(timer)?;
    let session = response.session.clone();
    let body = JsonBody::read(response, timer)?;
    match body["id"].as_str() {
        Some(id) if is_id(id) => Ok(RemoteConversation {
            system: system.map(str::to_owned),
            ..RemoteConversation::new(id, session, Some(model))
        }),
        _ => Err(body.unexpected()),
    }
}

pub(super) fn path(conversation: &RemoteConversation) -> String {
    format!("{CHATS}/{}", conversation.id)
}

/// Sends a message, and returns when the reply begins.
pub(super) fn send(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
    message: &OutgoingMessage,
    model: &str,
) -> Result<ReplyStream> {
    let path = format!("{}/completions", path(conversation));
    let body = completion_request(conversation, message, model).to_string();
    let request = HttpRequest::post(Step::SendMessage, &path)
        .body(JSON, body.as_bytes())
        .accepting_anything();
    let response = context.http.send(timer, &request)?;
    if matches!(response.status(), 400 | 404 | 422 | 500) && model != AUTO {
        let error = response.into_error(timer);
        let models = list_models(context, timer);
        return Err(listing::explain(error, model, models));
    }
    let response = response.error_for_status(timer)?;
    if response.is_html() {
        return Err(not_a_stream(response, timer));
    }
    Ok(ReplyStream::new(Decoder::h2ogpte(), response))
}

fn completion_request(
    conversation: &RemoteConversation,
    message: &OutgoingMessage,
    model: &str,
) -> Value {
    let mut body = json!({
        "message": message.text,
        "stream": true,
        "include_chat_history": "auto",
    });
    if let Some(system) = message.system.as_ref().or(conversation.system.as_ref()) {
        body["system_prompt"] = json!(system);
    }
    if model != AUTO {
        body["llm"] = json!(model);
    }
    if !message.parameters.is_empty() {
        body["llm_args"] = json!(message.parameters);
    }
    body
}

/// Stops the generation of a reply. This takes the id of the question, which replies do not
/// contain.
pub(super) fn stop(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
) -> Result<()> {
    if context.has_no_stop.get().is_some() {
        return Ok(());
    }
    let step = Step::StopGeneration;
    let messages = list_messages(context, timer, conversation, step)?;
    let Some(question) = messages.iter().rfind(|it| it.is_asked_in(conversation)) else {
        debug!("conversation {}: no question to stop", conversation.id);
        return Ok(());
    };
    let path = format!("/api/v1/messages/{}/stop", question.id);
    let request = HttpRequest::post(step, &path).idempotent();
    let response = context.http.send(timer, &request)?;
    if response.status() == 404 {
        // Servers before June 2026 have no such call.
        let _ = context.has_no_stop.set(());
        response.discard(timer);
        return Ok(());
    }
    response.error_for_status(timer)?.discard(timer);
    Ok(())
}

/// Deletes a chat session. Returns whether it was still there.
pub(super) fn delete(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
) -> Result<bool> {
    // By default the server may hold the request for `MAX_HOLD`.
    let left = timer.time_left().unwrap_or(MAX_HOLD).as_secs().max(1);
    let path = format!("{}?timeout={left}", path(conversation));
    let request = HttpRequest::delete(Step::DeleteConversation, &path);
    let response = context.http.send(timer, &request)?;
    let status = response.status();
    if !matches!(status, 404 | 405) {
        response.error_for_status(timer)?.discard(timer);
        return Ok(true);
    }
    let (_, body) = response.into_error_and_body(timer);
    // The errors of the API have a code. Any other is of a server without this call.
    let is_gone = status == 404 && read_json(&body).is_ok_and(|json| !json["code"].is_null());
    if !is_gone {
        delete_by_job(context, timer, conversation)?;
    }
    Ok(!is_gone)
}

/// Deletes a chat session the way H2O's own client does.
fn delete_by_job(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
) -> Result<()> {
    let step = Step::DeleteConversation;
    let body = json!({ "session_ids": [conversation.id] }).to_string();
    let path = format!("{CHATS}/delete_job");
    let request = HttpRequest::post(step, &path).body(JSON, body.as_bytes());
    let mut job = read(context, timer, &request.idempotent())?;
    let Some(id) = job["id"].as_str().filter(|id| is_id(id)) else {
        return Err(job.unexpected());
    };
    let path = format!("/api/v1/jobs/{id}");
    loop {
        match job["overall_status"].as_str() {
            Some("completed") => return Ok(()),
            Some(status @ ("failed" | "canceled")) => {
                let reason = job["errors"][0].as_str().map(one_line).unwrap_or_default();
                let message = format!("the deletion {status}: {reason}");
                let error = Error::new(ErrorKind::Status, step, message.trim_end_matches(": "));
                return Err(error.with_status(200).with_server_message(reason));
            }
            _ => {}
        }
        timer.pause(POLL).map_err(|interrupt| interrupt.at(step))?;
        job = read(context, timer, &HttpRequest::get(step, &path))?;
    }
}

pub(super) fn list_models(context: &Context, timer: &Timer) -> Result<Vec<Model>> {
    let list = read(context, timer, &HttpRequest::get(Step::ListModels, "/api/v1/models"))?;
    let names = list.as_list()?.iter().filter_map(|model| model["display_name"].as_str());
    let model =
        |name: &str| Model { id: name.to_owned(), name: name.to_owned(), description: None };
    Ok(names.map(model).collect())
}

pub(super) fn list_conversations(
    context: &Context,
    timer: &Timer,
) -> Result<Vec<ConversationSummary>> {
    list(context, timer, Step::ListConversations, CHATS, |chat| {
        Some(ConversationSummary {
            id: chat["id"].as_str().filter(|id| is_id(id))?.to_owned(),
            title: chat["name"].as_str().unwrap_or_default().to_owned(),
            model: None,
        })
    })
}

/// The messages of a chat session.
pub(super) fn history(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
) -> Result<Vec<StoredMessage>> {
    let messages = list_messages(context, timer, conversation, Step::ReadHistory)?;
    let stored = messages
        .into_iter()
        .map(|it| StoredMessage { id: it.id, message: Message::new(it.role, it.content) });
    Ok(stored.collect())
}

/// A message that the server has stored.
struct ChatMessage {
    id: String,
    role: Role,
    content: String,
    created_at: String,
}

impl ChatMessage {
    fn read(message: &Value) -> Option<ChatMessage> {
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        Some(ChatMessage {
            id: text("id").filter(|id| is_id(id))?,
            role: match message["reply_to"] {
                Value::Null => Role::User,
                _ => Role::Assistant,
            },
            content: text("content")?,
            created_at: text("created_at").unwrap_or_default(),
        })
    }

    /// Returns whether this may be the last question. The text of a leftover's question is not
    /// known.
    fn is_asked_in(&self, conversation: &RemoteConversation) -> bool {
        let asked = conversation.last_message.as_ref();
        self.role == Role::User && asked.is_none_or(|text| text.trim() == self.content.trim())
    }
}

impl Item for ChatMessage {
    fn id(&self) -> &str {
        &self.id
    }

    fn size(&self) -> usize {
        const WITHOUT_TEXT: usize = 256;
        WITHOUT_TEXT + 2 * self.id.len() + self.content.len()
    }
}

/// The messages of a chat session, the oldest first.
fn list_messages(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
    step: Step,
) -> Result<Vec<ChatMessage>> {
    let path = format!("{}/messages", path(conversation));
    let mut messages = list(context, timer, step, &path, ChatMessage::read)?;
    // The order of the list is not documented. A `Z` would come after the fraction of a second.
    messages.sort_by_cached_key(|it| {
        let created_at = it.created_at.trim_end_matches('Z').to_owned();
        (created_at, it.role == Role::Assistant)
    });
    Ok(messages)
}

/// Reads a list page by page. `make` returns an item, or `None` to leave it out.
fn list<T: Item>(
    context: &Context,
    timer: &Timer,
    step: Step,
    path: &str,
    make: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>> {
    listing::all_pages(step, |page| {
        let path = format!("{path}?offset={}&limit={PAGE}", page * PAGE);
        let body = read(context, timer, &HttpRequest::get(step, &path))?;
        let items = body.as_list()?;
        Ok((items.iter().filter_map(&make).collect(), items.len() < PAGE))
    })
}

/// Reads the JSON that answers a request.
fn read(context: &Context, timer: &Timer, request: &HttpRequest) -> Result<JsonBody> {
    let response = context.http.send(timer, request)?;
    let body = JsonBody::read(response.error_for_status(timer)?, timer);
    body.map_err(|error| match error.kind() {
        ErrorKind::Protocol => error.with_hint(hint::NOT_H2OGPTE),
        _ => error,
    })
}
