//! The routes of a current chat-ui, from v0.7 on, and its refusals in the order of its checks.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::Dialect;
use super::api;
use super::chat_ui::{Exchange, Job, Reply, Route};
use super::history::{Message, Turn, is_uuid};
use super::jsonl::JsonLines;
use super::pages;
use super::plan::{Act, Failure, Plan};
use super::response::Response;
use super::settings;
use super::state::{Conversation, File};

/// The title of a conversation without a reply.
const NEW: &str = "New Chat";

pub(super) fn reply(exchange: &Exchange, route: Option<Route>) -> Reply {
    let checked = check_origin(exchange)
        .and_then(|()| check_login(exchange, route))
        .and_then(|()| check_modal(exchange, route));
    let (mut response, job) = match (checked, route) {
        (Err(refusal), _) => (refusal, None),
        (Ok(()), Some(Route::Conversation(id))) if exchange.is_post() => {
            let reply = message(exchange, id);
            let (response, job) = reply.unwrap_or_else(|refusal| (refusal, None));
            (exchange.with_cookie(response), job)
        }
        (Ok(()), route) => {
            let response = plain(exchange, route).unwrap_or_else(|refusal| refusal);
            // Only a POST makes a session last longer.
            if exchange.is_post() {
                (exchange.with_cookie(response), None)
            } else {
                (response, None)
            }
        }
    };
    if exchange.config.dialect == Dialect::Newest {
        response = response.header("Vary", "Accept-Encoding");
    }
    (response, job)
}

/// Refuses a form whose Origin is not of this host. The scheme is not checked.
fn check_origin(exchange: &Exchange) -> Result<(), Response> {
    if !exchange.config.dialect.checks_origin() {
        return exchange.check_referer();
    }
    if !exchange.is_form() {
        return Ok(());
    }
    let Some(origin) = exchange.request.header("origin") else {
        let message = "Non-JSON form requests need to have an origin";
        return Err(exchange.early_refusal(403, message));
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    if host == exchange.request.header("host") {
        return Ok(());
    }
    Err(exchange.early_refusal(403, "Invalid referer for POST request"))
}

fn check_login(exchange: &Exchange, route: Option<Route>) -> Result<(), Response> {
    let is_page = exchange.request.method == "GET" && !matches!(route, Some(Route::Api(_)));
    if !exchange.config.requires_login || is_page {
        return Ok(());
    }
    Err(match route {
        Some(Route::Create) => exchange.to_login(),
        _ => exchange.early_refusal(401, "You have to be logged in."),
    })
}

/// Only some servers have a modal, and the newest none.
fn check_modal(exchange: &Exchange, route: Option<Route>) -> Result<(), Response> {
    if exchange.config.welcome_modal && exchange.config.dialect != Dialect::Newest {
        return exchange.check_modal(route);
    }
    Ok(())
}

fn plain(exchange: &Exchange, route: Option<Route>) -> Result<Response, Response> {
    let has_api = exchange.config.dialect != Dialect::V07;
    match (exchange.request.method.as_str(), route) {
        ("GET", Some(Route::Home)) => Ok(Response::page(200, "Chat")),
        ("GET", Some(Route::Login)) => Ok(Response::page(200, "Login")),
        ("GET", Some(Route::HomeData)) => Ok(pages::home(exchange)),
        ("GET", Some(Route::ConversationData(id))) => Ok(pages::conversation(exchange, id)),
        ("GET", Some(Route::Api(path))) if has_api => api(exchange, path),
        ("POST", Some(Route::Settings)) => post_settings(exchange),
        ("POST", Some(Route::Create)) => create(exchange),
        ("POST", Some(Route::Stop(id))) => exchange.stop(id),
        ("PATCH", Some(Route::Conversation(id))) => exchange.rename(id),
        ("DELETE", Some(Route::Conversation(id))) => exchange.delete(id),
        _ => unknown(exchange),
    }
}

/// The response to an unknown path. Some servers send a page.
fn unknown(exchange: &Exchange) -> Result<Response, Response> {
    if exchange.config.dialect.has_early_forms() && exchange.request.method == "GET" {
        return Ok(Response::page(200, "Chat"));
    }
    Err(exchange.error(404, "Not Found"))
}

fn api(exchange: &Exchange, path: &str) -> Result<Response, Response> {
    if exchange.config.api_disabled {
        return Ok(api::disabled(exchange));
    }
    match path.split_once('/') {
        None if path == "models" => Ok(api::models(exchange)),
        None if path == "conversations" => Ok(api::conversations(exchange)),
        Some(("v2", "user/settings")) if exchange.config.dialect == Dialect::Newest => {
            Ok(settings::api(exchange))
        }
        Some(("conversation", id)) => Ok(api::conversation(exchange, id)),
        _ => unknown(exchange),
    }
}

fn post_settings(exchange: &Exchange) -> Result<Response, Response> {
    let body = exchange.json()?;
    let posted = settings::posted_json(exchange, &body);
    let settings = posted.ok_or_else(|| exchange.internal_error())?;
    (exchange.shared).change(|state| state.save_settings(&exchange.session, settings));
    Ok(Response::new(200))
}

fn create(exchange: &Exchange) -> Result<Response, Response> {
    let body = exchange.json()?;
    let dialect = exchange.config.dialect;
    let model = exchange.model(&body).ok_or_else(|| match dialect {
        Dialect::V07 => exchange.internal_error(),
        _ => exchange.error(400, "Invalid request"),
    })?;
    let root = Message::system(body["preprompt"].as_str().unwrap_or_default());
    let conversation = Conversation::new(&exchange.session, NEW.to_string(), model, vec![root]);
    let id = (exchange.shared).change(|state| state.create(conversation.clone()));
    let mut body = json!({"conversationId": id});
    if dialect == Dialect::Newest && !exchange.config.hides_root {
        body["conversation"] = api::embedded(&id, &conversation).into();
    }
    let response = Response::new(200).header("content-type", "application/json");
    Ok(response.body(body.to_string()))
}

fn message(exchange: &Exchange, id: &str) -> Result<Reply, Response> {
    let conversation = exchange.message_conversation(id)?;
    let dialect = exchange.config.dialect;
    let title = (conversation.title == NEW).then(|| dialect.title());
    let body = body(exchange)?;
    let files = files(exchange)?;
    let turn = turn(exchange, conversation.messages, &body)?;
    let acts = match (exchange.config.plan)(turn.inputs()) {
        Plan::Refusal { status, message } => return Err(exchange.error(status, message)),
        plan => acts(plan),
    };
    let is_stopped = exchange.shared.change(|state| {
        state.prompts.push(turn.prompt());
        state.files.push(files);
        let tools = body.get("selectedMcpServerNames");
        state.tools.push(tools.cloned().unwrap_or_else(|| "all".into()));
        let conversation = state.conversations.get_mut(id)?;
        conversation.messages = turn.answered("");
        if let Some(title) = title {
            conversation.title = title.to_string();
        }
        conversation.early_stop.take()
    });
    let job = Job {
        conversation: id.to_string(),
        turn,
        acts,
        encoder: Box::new(JsonLines::new(dialect, title)),
        is_stopped: is_stopped.is_some_and(|stop| stop.elapsed() < Duration::from_secs(5)),
    };
    let content_type = match dialect {
        Dialect::V095 | Dialect::Newest => "application/jsonl",
        _ => "text/event-stream",
    };
    let head = Response::new(200).header("content-type", content_type);
    Ok((head, Some(job)))
}

/// Returns the message in the format of this server.
fn body(exchange: &Exchange) -> Result<Value, Response> {
    if !exchange.config.dialect.takes_forms() {
        return exchange.json();
    }
    let form = exchange.request.any_form();
    let form = form.ok_or_else(|| exchange.internal_error())?;
    let data = form.into_iter().find(|(name, _)| name == "data");
    let (_, data) = data.ok_or_else(|| exchange.error(400, "Invalid request"))?;
    match serde_json::from_str(&data) {
        Ok(Value::Object(fields)) => Ok(fields.into()),
        _ => Err(exchange.internal_error()),
    }
}

/// Returns the files of a message, decoded.
fn files(exchange: &Exchange) -> Result<Vec<File>, Response> {
    const LIMIT: usize = 10 << 20;
    let mut files = Vec::new();
    for (name, media_type, content) in exchange.request.files() {
        let name = name.strip_prefix("base64;").ok_or_else(|| exchange.internal_error())?;
        let content = BASE64_STANDARD.decode(content).map_err(|_| exchange.internal_error())?;
        if content.len() > LIMIT {
            return Err(exchange.error(413, "File too large, should be <10MB"));
        }
        files.push(File { name: name.to_string(), media_type, content });
    }
    Ok(files)
}

fn turn(exchange: &Exchange, history: Vec<Message>, body: &Value) -> Result<Turn, Response> {
    let is_valid = body.get("id").is_none_or(is_uuid)
        && body.get("is_retry").is_none_or(Value::is_boolean)
        && body.get("inputs").is_none_or(Value::is_string);
    let mut inputs = body["inputs"].as_str();
    if !exchange.config.dialect.takes_forms() {
        inputs = inputs.map(str::trim);
    }
    if !is_valid || inputs.is_some_and(str::is_empty) {
        return Err(exchange.internal_error());
    }
    let id = body["id"].as_str().unwrap_or_default();
    let turn = if body["is_retry"] == true {
        if !history.iter().any(|known| known.id == id) {
            return Err(exchange.error(404, "Message not found"));
        }
        Turn::beside(history, id, inputs)
    } else {
        Turn::after(history, id, inputs.unwrap_or_default())
    };
    turn.ok_or_else(|| exchange.internal_error())
}

/// Returns the plan of the model's server, as far as a reply can report it.
pub(super) fn acts(plan: Plan) -> Box<dyn Iterator<Item = Act> + Send> {
    let (status, message) = match plan {
        Plan::Acts(acts) => return acts,
        Plan::Response { status, reason, body, .. } => {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let message = body["error"].as_str().unwrap_or(&reason);
            (Some(status), format!("{status} {message}"))
        }
        Plan::Dead | Plan::Refusal { .. } => (None, "Connection error.".to_string()),
    };
    let kind = "generation";
    let failure = Failure { message, kind, status };
    Box::new([Act::Failure(failure)].into_iter())
}
