//! The routes of a current chat-ui server, from v0.7 on, and what it refuses.

use serde_json::Value;

use super::Dialect;
use super::answer::Answer;
use super::api;
use super::exchange::{Exchange, Job, Reply, Route};
use super::history::{Message, Turn, is_uuid};
use super::lines::Lines;
use super::listing;
use super::plan::{Act, Failure, Plan};
use super::state::{Conversation, Settings};

pub(super) fn reply(exchange: &Exchange, route: Option<Route>) -> Reply {
    let refusal = forged(exchange)
        .or_else(|| login(exchange, route))
        .or_else(|| modal(exchange, route));
    let (answer, job) = match (refusal, route) {
        (Some(refusal), _) => (refusal, None),
        (None, Some(Route::Of(id))) if is_post(exchange) => {
            let reply = message(exchange, id);
            let (answer, job) = reply.unwrap_or_else(|refusal| (refusal, None));
            (exchange.with_cookie(answer), job)
        }
        (None, route) => {
            let answer = plain(exchange, route).unwrap_or_else(|refusal| refusal);
            // Only what is posted makes a session last longer.
            let answer = if is_post(exchange) {
                exchange.with_cookie(answer)
            } else {
                answer
            };
            (answer, None)
        }
    };
    if exchange.config.dialect == Dialect::Newest {
        (answer.header("Vary", "Accept-Encoding"), job)
    } else {
        (answer, job)
    }
}

fn is_post(exchange: &Exchange) -> bool {
    exchange.request.method == "POST"
}

/// A form must come from this host.
fn forged(exchange: &Exchange) -> Option<Answer> {
    if !exchange.config.dialect.takes_forms() {
        return exchange.forged();
    }
    if !is_post(exchange) || !exchange.is_form() {
        return None;
    }
    let Some(origin) = exchange.request.header("origin") else {
        let message = "Non-JSON form requests need to have an origin";
        return Some(exchange.hook_refusal(403, message));
    };
    // Its scheme is not looked at.
    let host = origin.split_once("://").map(|(_, host)| host);
    let forged = host != exchange.request.header("host");
    forged.then(|| exchange.hook_refusal(403, "Invalid referer for POST request"))
}

fn login(exchange: &Exchange, route: Option<Route>) -> Option<Answer> {
    let is_page = exchange.request.method == "GET" && !matches!(route, Some(Route::Api(_)));
    if !exchange.config.requires_login || is_page {
        return None;
    }
    Some(if matches!(route, Some(Route::Conversation)) {
        exchange.to_login()
    } else {
        exchange.hook_refusal(401, "You have to be logged in.")
    })
}

/// Only some servers show it.
fn modal(exchange: &Exchange, route: Option<Route>) -> Option<Answer> {
    let config = exchange.config;
    let shown = config.welcome_modal && config.dialect != Dialect::Newest;
    shown.then(|| exchange.modal(route)).flatten()
}

fn plain(exchange: &Exchange, route: Option<Route>) -> Result<Answer, Answer> {
    let dialect = exchange.config.dialect;
    match (exchange.request.method.as_str(), route) {
        ("GET", Some(Route::Home)) => Ok(Answer::page(200, "Chat")),
        ("GET", Some(Route::Login)) => Ok(Answer::page(200, "Login")),
        ("GET", Some(Route::Listing)) => Ok(listing::data(&listing::listing(exchange))),
        ("GET", Some(Route::Messages(id))) => Ok(listing::data(&listing::messages(exchange, id))),
        ("GET", Some(Route::Api(path))) if dialect != Dialect::V07 => api(exchange, path),
        ("POST", Some(Route::Settings)) => settings(exchange),
        ("POST", Some(Route::Conversation)) => create(exchange),
        ("POST", Some(Route::Stop(id))) => {
            exchange.check_owned(id)?;
            stop(exchange, id);
            Ok(Answer::new(200))
        }
        ("PATCH", Some(Route::Of(id))) => exchange.rename(id),
        ("DELETE", Some(Route::Of(id))) => exchange.delete(id),
        _ => unknown(exchange),
    }
}

fn unknown(exchange: &Exchange) -> Result<Answer, Answer> {
    if exchange.config.dialect == Dialect::Form && exchange.request.method == "GET" {
        Ok(Answer::page(200, "Chat"))
    } else {
        Err(exchange.error(404, "Not Found"))
    }
}

fn api(exchange: &Exchange, path: &str) -> Result<Answer, Answer> {
    if exchange.config.api_disabled {
        return Ok(api::disabled(exchange));
    }
    match path.split_once('/') {
        None if path == "models" => Ok(api::models(exchange)),
        None if path == "conversations" => Ok(api::conversations(exchange)),
        Some(("conversation", id)) => Ok(api::conversation(exchange, id)),
        _ => unknown(exchange),
    }
}

fn settings(exchange: &Exchange) -> Result<Answer, Answer> {
    let body = exchange.json()?;
    let model = body["activeModel"].as_str();
    let model = model.or_else(|| exchange.config.models.first().map(String::as_str));
    let settings = Settings {
        accepted: body["ethicsModalAccepted"] == true,
        shares: body["shareConversationsWithModelAuthors"] != false,
        active_model: model.unwrap_or_default().to_string(),
    };
    exchange.state.save_settings(&exchange.session, settings);
    Ok(Answer::new(200))
}

fn create(exchange: &Exchange) -> Result<Answer, Answer> {
    let body = exchange.json()?;
    let dialect = exchange.config.dialect;
    let Some(model) = body["model"].as_str().filter(|name| exchange.knows(name)) else {
        return Err(match dialect {
            Dialect::V07 => exchange.internal_error(),
            _ => exchange.error(400, "Invalid request"),
        });
    };
    let preprompt = body["preprompt"].as_str().unwrap_or_default();
    let messages = match dialect {
        Dialect::V07 => Vec::new(),
        _ => vec![Message::system(preprompt)],
    };
    let conversation = Conversation {
        session: exchange.session.clone(),
        title: "New Chat".to_string(),
        model: model.to_string(),
        messages,
    };
    let id = exchange.state.create(conversation.clone());
    let packed = if dialect == Dialect::Newest && !exchange.config.hides_root {
        let packed = Value::from(api::packed(&id, &conversation));
        format!(r#","conversation":{packed}"#)
    } else {
        String::new()
    };
    let answer = Answer::new(200).header("content-type", "application/json");
    Ok(answer.body(format!(r#"{{"conversationId":"{id}"{packed}}}"#)))
}

fn stop(exchange: &Exchange, id: &str) {
    match exchange.config.dialect {
        Dialect::Form => {}
        Dialect::Newest => exchange
            .state
            .stop_or_cut_next(id, exchange.config.stop_delay),
        _ => exchange.stop(id),
    }
}

fn message(exchange: &Exchange, id: &str) -> Result<Reply, Answer> {
    exchange.check_message(id)?;
    let conversation = exchange.state.conversation(id);
    let conversation = conversation.ok_or_else(|| exchange.internal_error())?;
    let body = body(exchange)?;
    let dialect = exchange.config.dialect;
    let trimmed = |text| {
        if dialect.takes_forms() {
            text
        } else {
            str::trim(text)
        }
    };
    let inputs = body["inputs"].as_str().map(trimmed);
    if inputs.is_some_and(str::is_empty) {
        return Err(exchange.internal_error());
    }
    let is_new = conversation.title == "New Chat";
    let turn = turn(exchange, conversation.messages, inputs, &body)?;
    let acts = match (exchange.config.plan)(turn.inputs()) {
        Plan::Refusal { status, message } => return Err(exchange.error(status, message)),
        plan => acts(plan),
    };
    exchange.state.give_model(turn.prompt());
    let title = is_new.then(|| dialect.title());
    if let Some(title) = title {
        exchange.state.rename(id, title);
    }
    if dialect != Dialect::V07 {
        exchange.state.remember(id, turn.answered(""));
    }
    let job = Job {
        conversation: id.to_string(),
        turn,
        acts,
        voice: Box::new(Lines::new(dialect, title)),
        stopped: exchange.state.is_cut(id),
    };
    let head = Answer::new(200);
    let head = match dialect {
        Dialect::V07 => head,
        Dialect::Newest => head.header("content-type", "application/jsonl"),
        _ => head.header("content-type", "text/event-stream"),
    };
    Ok((head, Some(job)))
}

/// What was sent, in the one way that is taken.
fn body(exchange: &Exchange) -> Result<Value, Answer> {
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

fn turn(
    exchange: &Exchange,
    history: Vec<Message>,
    inputs: Option<&str>,
    body: &Value,
) -> Result<Turn, Answer> {
    let is_well_formed = body.get("id").is_none_or(is_uuid)
        && body.get("is_retry").is_none_or(Value::is_boolean)
        && body.get("inputs").is_none_or(Value::is_string);
    if !is_well_formed {
        return Err(exchange.internal_error());
    }
    if exchange.config.dialect == Dialect::V07 {
        let inputs = inputs.ok_or_else(|| exchange.internal_error())?;
        return Ok(Turn::in_line(history, inputs, body));
    }
    let id = body["id"].as_str().unwrap_or_default();
    let turn = if body["is_retry"] == true {
        if !history.iter().any(|known| known.id == id) {
            return Err(exchange.error(404, "Message not found"));
        }
        Turn::again(history, id, inputs)
    } else {
        Turn::after(history, id, inputs.unwrap_or_default())
    };
    turn.ok_or_else(|| exchange.internal_error())
}

/// What the model's server does, as far as it can be told in a reply.
fn acts(plan: Plan) -> Box<dyn Iterator<Item = Act> + Send> {
    let failure = match plan {
        Plan::Acts(acts) => return acts,
        Plan::Answer {
            status,
            reason,
            body,
            ..
        } => {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let message = body["error"].as_str().unwrap_or(&reason);
            Failure {
                message: format!("{status} {message}"),
                kind: "generation",
                status: Some(status),
            }
        }
        Plan::Dead | Plan::Refusal { .. } => Failure {
            message: "Connection error.".to_string(),
            kind: "generation",
            status: None,
        },
    };
    Box::new([Act::Failure(failure)].into_iter())
}
