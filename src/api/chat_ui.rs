//! chat-ui from 0.8 to the newest: a reply is lines of JSON, and each message answers an earlier
//! one.

use std::time::Duration;

use log::info;
use serde_json::{Value, json};

use super::account::SETTINGS;
use super::context::{Context, FORM, JSON, form_encoded};
use super::json_body::{JsonBody, not_a_stream};
use super::listing::{self, TextField};
use super::message::{MessageState, OutgoingMessage, RemoteConversation, StoredMessage, is_id};
use super::page::{field, read_page};
use super::reply_stream::ReplyStream;
use super::version::{StopSupport, Version};
use crate::decode::Decoder;
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{HttpRequest, Multipart, Response, SessionCookie, Timer};
use crate::json::read_json;
use crate::message::{Message, Role};
use crate::server::{ConversationSummary, Model};

/// The longest request body that the servers accept, in bytes.
pub(super) const MAX_REQUEST: usize = 15 * 1024 * 1024;

/// How long the newest servers remember a stop that came too late, to apply it to the next message.
const LATE_STOP: Duration = Duration::from_secs(5);

pub(super) fn stop_support(context: &Context) -> StopSupport {
    match context.version.get() {
        Some(Version::V0_8) if context.is_from_0_8_4.get() == Some(&true) => StopSupport::Never,
        Some(Version::V0_9_2) => StopSupport::Never,
        Some(Version::V0_9_5) => StopSupport::WhileReading,
        Some(Version::V0_8 | Version::V0_9_6) | None => StopSupport::Always,
    }
}

/// How long after a stop the next message has to wait, if the stop may have come too late.
pub(super) fn wait_after_late_stop(context: &Context) -> Duration {
    match context.version.get() {
        Some(Version::V0_9_6) | None => LATE_STOP,
        Some(_) => Duration::ZERO,
    }
}

/// Lists the models, or fails if the server is a 0.7, which has no such list.
pub(super) fn list_models_from_0_8(context: &Context, timer: &Timer) -> Result<Vec<Model>> {
    match list_models(context, timer) {
        Err(error) if error.status() == Some(404) => Err(Error::new(
            ErrorKind::Protocol,
            Step::PostSettings,
            "this is a chat-ui 0.7, whose protocol is not supported",
        )
        .with_hint(hint::OTHER_VERSION)
        .with_source(error)),
        models => models,
    }
}

/// Lists the models if this is a chat-ui from 0.8, or returns `None` if it is something else.
pub(super) fn probe(context: &Context, timer: &Timer) -> Result<Option<Vec<Model>>> {
    let request = HttpRequest::get(Step::ListModels, "/api/models");
    let response = context.http.send(timer, &request)?;
    if response.status() == 403 {
        let error = response.into_error(timer);
        let is_disabled = error.server_message().is_some_and(|it| it.contains("API is disabled"));
        return if is_disabled { Ok(Some(Vec::new())) } else { Err(error) };
    }
    if matches!(response.status(), 401 | 429 | 500..) {
        // Such a server says nothing about its protocol.
        return Err(response.into_error(timer));
    }
    if !response.is_success() || response.is_html() {
        response.discard(timer);
        return Ok(None);
    }
    match JsonBody::read(response, timer) {
        Ok(body) => Ok(body.as_list().ok().map(|list| listed(list, listing::model))),
        Err(error) if error.kind() == ErrorKind::Protocol => Ok(None),
        Err(error) => Err(error),
    }
}

/// Accepts the terms in a session that this crate has invented. Returns the session for which they
/// hold.
pub(super) fn post_settings(
    context: &Context,
    timer: &Timer,
    session: &SessionCookie,
    model: &str,
) -> Result<SessionCookie> {
    let mut settings = json!({ "ethicsModalAccepted": true, "activeModel": model });
    if !context.share_with_model_authors {
        settings["shareConversationsWithModelAuthors"] = false.into();
    }
    let body = settings.to_string();
    let request = HttpRequest::post(Step::PostSettings, SETTINGS)
        .session(session)
        .body(JSON, body.as_bytes())
        .idempotent();
    let response = context.http.send(timer, &request)?.error_for_status(timer)?;
    let session = response.session.clone();
    response.discard(timer);
    Ok(session)
}

/// Creates a conversation, which stores its system prompt.
pub(super) fn create(
    context: &Context,
    timer: &Timer,
    model: &str,
    system: Option<&str>,
) -> Result<RemoteConversation> {
    let mut body = json!({ "model": model });
    if let Some(system) = system {
        body["preprompt"] = system.into();
    }
    let body = body.to_string();
    let request =
        HttpRequest::post(Step::CreateConversation, "/conversation").body(JSON, body.as_bytes());
    let response = context.http.send(timer, &request)?;
    if matches!(response.status(), 400 | 500) {
        let error = response.into_error(timer);
        let models = list_models(context, timer);
        return Err(listing::explain(error, model, models));
    }
    let response = response.error_for_status(timer)?;
    let session = response.session.clone();
    let body = JsonBody::read(response, timer)?;
    let Some(id) = body["conversationId"].as_str().filter(|id| is_id(id)) else {
        return Err(body.unexpected());
    };
    Ok(RemoteConversation {
        // Only the newest servers send it here.
        root: body["conversation"].as_str().and_then(root_of),
        ..RemoteConversation::new(id, session, Some(model))
    })
}

/// The id of the root message in a conversation of the newest servers.
fn root_of(conversation: &str) -> Option<String> {
    let conversation = read_json(conversation.as_bytes()).ok()?;
    let root = conversation["json"]["rootMessageId"].as_str()?;
    is_id(root).then(|| root.to_owned())
}

/// Sends a message, and returns when the reply begins, which is at once.
pub(super) fn send(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
    message: &OutgoingMessage,
) -> Result<ReplyStream> {
    if !message.parameters.is_empty() {
        info!("the server decides how to sample: the request's parameters are not sent");
    }
    let (body, likely) = match &conversation.root {
        Some(root) if message.state == MessageState::New => {
            (answer_to(root, message), Version::V0_9_6)
        }
        _ => {
            let history = History::read(context, timer, conversation)?;
            (history.body(message)?, history.version)
        }
    };
    let known = context.version.get().copied();
    let mut version = known.unwrap_or(likely);
    version.check(message)?;
    let mut response = post(context, timer, conversation, version, &body, message)?;
    // Nothing was stored: the body may be the wrong one.
    let other = version.alternative();
    if known.is_none() && matches!(response.status(), 403 | 500) && other.check(message).is_ok() {
        let error = response.into_error(timer);
        version = other;
        response = post(context, timer, conversation, version, &body, message)?;
        if matches!(response.status(), 400 | 403 | 500) {
            response.discard(timer);
            return Err(error);
        }
    }
    let response = response.error_for_status(timer)?;
    if response.is_html() {
        return Err(not_a_stream(response, timer));
    }
    let is_jsonl = response.has_type("application/jsonl");
    if version == Version::V0_9_2 && is_jsonl {
        version = Version::V0_9_5;
    }
    let _ = context.version.set(version);
    Ok(ReplyStream::new(Decoder::chat_ui(), response))
}

fn answer_to(parent: &str, message: &OutgoingMessage) -> Value {
    json!({ "id": parent, "inputs": message.text, "is_retry": false })
}

fn post(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
    version: Version,
    body: &Value,
    message: &OutgoingMessage,
) -> Result<Response> {
    let path = conversation.path();
    let request = HttpRequest::post(Step::SendMessage, &path).session(&conversation.session);
    if !version.takes_forms() {
        return context.http.send(timer, &request.body(JSON, body.to_string().as_bytes()));
    }
    let mut body = body.clone();
    // Without this, the newest servers contact every MCP server they know and offer its tools to
    // the model.
    body["selectedMcpServerNames"] = json!(message.tools);
    // The server has the files of a message that is not sent again.
    let sends_files = body.get("inputs").is_some() && !message.attachments.is_empty();
    let body = body.to_string();
    let request = request.with_origin();
    if !sends_files {
        let form = format!("data={}", form_encoded(&body));
        return context.http.send(timer, &request.body(FORM, form.as_bytes()));
    }
    let form = Multipart::new().field("data", &body);
    let form = message.attachments.iter().fold(form, |form, file| {
        let name = format!("base64;{}", file.name());
        form.base64_file("files", &name, file.media_type(), file.shared_content())
    });
    context.http.send(timer, &request.form(&form))
}

/// The messages that the server has of a conversation.
struct History {
    /// Without the system prompt.
    messages: Vec<StoredMessage>,
    /// The id of the last message, whoever wrote it.
    last: Option<String>,
    /// The version that the response suggests.
    version: Version,
}

impl History {
    fn read(
        context: &Context,
        timer: &Timer,
        conversation: &RemoteConversation,
    ) -> Result<History> {
        let path = format!("/api{}", conversation.path());
        let request = HttpRequest::get(Step::ReadHistory, &path).session(&conversation.session);
        let response = context.http.send(timer, &request)?;
        if response.status() == 403 {
            response.discard(timer);
            return History::read_page(context, timer, conversation);
        }
        let is_newest = response.has_header("access-control-allow-methods");
        let body = JsonBody::read(response.error_for_status(timer)?, timer)?;
        let messages = body["messages"].as_array().ok_or_else(|| body.unexpected())?;
        let version = match body.get("modelTools") {
            _ if is_newest => Version::V0_9_6,
            Some(_) => Version::V0_9_2,
            None => Version::V0_8,
        };
        let messages = messages.iter().map(|message| {
            let text = |name: &str| message[name].as_str().map(str::to_owned);
            (text("id"), text("from"), text("content"))
        });
        Ok(History::new(version, messages))
    }

    /// Reads the page of the conversation, where the API is disabled.
    fn read_page(
        context: &Context,
        timer: &Timer,
        conversation: &RemoteConversation,
    ) -> Result<History> {
        let path = format!("{}/__data.json", conversation.path());
        let request = HttpRequest::get(Step::ReadHistory, &path).session(&conversation.session);
        let page = read_page(context, timer, &request)?;
        let messages = field(&page, "messages")?
            .list(Step::ReadHistory, |text| Some((text("id"), text("from"), text("content"))))?;
        Ok(History::new(Version::V0_9_6, messages.into_iter()))
    }

    /// From the id, the author and the text of each message.
    fn new(
        version: Version,
        messages: impl Iterator<Item = (Option<String>, Option<String>, Option<String>)>,
    ) -> History {
        let mut history = History { messages: Vec::new(), last: None, version };
        for (id, from, content) in messages {
            let Some(id) = id.filter(|id| is_id(id)) else {
                continue;
            };
            history.last = Some(id.clone());
            let role = from.as_deref().and_then(Role::by_name);
            if let (Some(role @ (Role::User | Role::Assistant)), Some(content)) = (role, content) {
                let message = Message::new(role, content);
                history.push(StoredMessage { id, message });
            }
        }
        history
    }

    /// A reply after a reply regenerates it.
    fn push(&mut self, message: StoredMessage) {
        let last = self.messages.last_mut();
        match last.filter(|last| !last.message.is_users()) {
            Some(last) if !message.message.is_users() => *last = message,
            _ => self.messages.push(message),
        }
    }

    /// The user's last message on the server, if it is the one to regenerate or replace. Servers
    /// change the ends of lines.
    fn message_to_replace(&self, message: &OutgoingMessage) -> Option<&StoredMessage> {
        let normalized = |text: &str| text.replace('\r', "").trim().to_owned();
        let last = self.messages.iter().rfind(|it| it.message.is_users())?;
        let is = |text: &str| normalized(text) == normalized(last.message.content());
        let is_it = match &message.state {
            MessageState::New => false,
            MessageState::Stored => is(&message.text),
            // It may have been replaced although the response was lost.
            MessageState::Edited(before) => is(before) || is(&message.text),
        };
        is_it.then_some(last)
    }

    /// The body of a message that continues this history.
    fn body(&self, message: &OutgoingMessage) -> Result<Value> {
        if let Some(known) = self.message_to_replace(message) {
            let reply = self.messages.last().filter(|last| !last.message.is_users());
            return Ok(match reply {
                Some(reply) if message.state == MessageState::Stored => {
                    json!({ "id": reply.id, "is_retry": true })
                }
                _ => json!({ "id": known.id, "inputs": message.text, "is_retry": true }),
            });
        }
        // The server does not have the message, so it is sent as a new one.
        let parent = self.last.as_ref().ok_or_else(|| {
            let message = "the conversation has no message to answer to";
            Error::new(ErrorKind::Protocol, Step::ReadHistory, message)
        })?;
        Ok(answer_to(parent, message))
    }
}

/// The messages of a conversation.
pub(super) fn history(
    context: &Context,
    timer: &Timer,
    conversation: &RemoteConversation,
) -> Result<Vec<StoredMessage>> {
    Ok(History::read(context, timer, conversation)?.messages)
}

pub(super) fn list_models(context: &Context, timer: &Timer) -> Result<Vec<Model>> {
    list(context, timer, Step::ListModels, "models", listing::model)
}

/// Lists the conversations of the session, page by page.
pub(super) fn list_conversations(
    context: &Context,
    timer: &Timer,
) -> Result<Vec<ConversationSummary>> {
    let step = Step::ListConversations;
    listing::all_pages(step, |page| {
        let query = match page {
            0 => String::new(),
            page => format!("?p={page}"),
        };
        let name = format!("conversations{query}");
        Ok((list(context, timer, step, &name, listing::conversation)?, false))
    })
}

/// Reads a list, with each item made from the texts of its fields.
fn list<T>(
    context: &Context,
    timer: &Timer,
    step: Step,
    name: &str,
    make: impl Fn(TextField) -> Option<T>,
) -> Result<Vec<T>> {
    let path = format!("/api/{name}");
    let response = context.http.send(timer, &HttpRequest::get(step, &path))?;
    if response.status() == 403 {
        response.discard(timer);
        // Where the API is disabled, the first page has the list too.
        let page = read_page(context, timer, &HttpRequest::get(step, "/__data.json"))?;
        let name = name.split('?').next().unwrap_or_default();
        return field(&page, name)?.list(step, make);
    }
    let body = JsonBody::read(response.error_for_status(timer)?, timer)?;
    Ok(listed(body.as_list()?, make))
}

fn listed<T>(list: &[Value], make: impl Fn(TextField) -> Option<T>) -> Vec<T> {
    let text = |object: &Value, name: &str| object[name].as_str().map(str::to_owned);
    list.iter().filter_map(|object| make(&|name| text(object, name))).collect()
}
