//! The routes of a classic chat-ui server, and what it refuses.

use serde_json::{Value, json};

use super::accept::prefers_json;
use super::answer::{Answer, stream_head};
use super::exchange::{Exchange, Job, Reply, Route};
use super::history::{Turn, is_uuid};
use super::listing;
use super::parameters;
use super::plan::{Plan, Wanted};
use super::state::{Conversation, Settings};
use super::transcript::Transcript;

pub(super) fn reply(exchange: &Exchange, route: Option<Route>) -> Reply {
    let refusal = login(exchange, route)
        .or_else(|| exchange.forged())
        .or_else(|| exchange.modal(route));
    if let Some(refusal) = refusal {
        return (refusal, None);
    }
    let (answer, job) = match route {
        Some(Route::Of(id)) if exchange.request.method == "POST" => message(exchange, id),
        route => plain(exchange, route).map(|answer| (answer, None)),
    }
    .unwrap_or_else(|refusal| (refusal, None));
    (exchange.with_cookie(answer), job)
}

/// The wall before everything, where one is wanted.
fn login(exchange: &Exchange, route: Option<Route>) -> Option<Answer> {
    let free = !exchange.config.requires_login
        || (exchange.request.method == "GET" && matches!(route, Some(Route::Login)));
    (!free).then(|| exchange.to_login())
}

fn plain(exchange: &Exchange, route: Option<Route>) -> Result<Answer, Answer> {
    match (exchange.request.method.as_str(), route) {
        ("GET", Some(Route::Home)) => Ok(Answer::page(200, "Chat")),
        ("GET", Some(Route::Login)) => Ok(Answer::page(200, "Login")),
        ("GET", Some(Route::Listing)) => Ok(listing::data(&listing::listing(exchange))),
        ("GET", Some(Route::Messages(id))) => Ok(listing::data(&listing::messages(exchange, id))),
        ("POST", Some(Route::Settings)) => settings(exchange),
        ("POST", Some(Route::Conversation)) => create(exchange),
        ("POST", Some(Route::Conversations)) => delete_all(exchange),
        ("POST", Some(Route::Stop(id))) => {
            exchange.check_owned(id)?;
            exchange.stop(id);
            Ok(Answer::new(200))
        }
        ("PATCH", Some(Route::Of(id))) => exchange.rename(id),
        ("DELETE", Some(Route::Of(id))) => exchange.delete(id),
        _ => Err(Answer::page(404, "Not Found")),
    }
}

fn settings(exchange: &Exchange) -> Result<Answer, Answer> {
    if save_settings(exchange) {
        Ok(see_other(exchange, exchange.header("referer")))
    } else {
        Err(failed_action(exchange))
    }
}

fn delete_all(exchange: &Exchange) -> Result<Answer, Answer> {
    if !exchange.request.path.ends_with("?/delete") || !exchange.is_form() {
        return Err(failed_action(exchange));
    }
    exchange.state.forget_all_of(&exchange.session);
    let home = format!("{}/", exchange.config.base_path);
    Ok(see_other(exchange, &home))
}

/// A form's answer: the way to the page that comes next.
fn see_other(exchange: &Exchange, location: &str) -> Answer {
    if wants_json(exchange) {
        // Written out, for the order of the fields.
        let location = Value::from(location);
        let body = format!(r#"{{"type":"redirect","status":303,"location":{location}}}"#);
        Answer::json(200, &body)
    } else {
        Answer::new(303).header("location", location)
    }
}

fn failed_action(exchange: &Exchange) -> Answer {
    if wants_json(exchange) {
        let body = r#"{"type":"error","error":{"message":"Internal Error"}}"#;
        Answer::json(500, body)
    } else {
        Answer::page(500, "Internal Error")
    }
}

fn wants_json(exchange: &Exchange) -> bool {
    prefers_json(exchange.request.header("accept").unwrap_or("*/*"))
}

/// Whether they could be saved.
fn save_settings(exchange: &Exchange) -> bool {
    let form = exchange.request.form();
    let value = |name| {
        let field = form.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    };
    let content_type = exchange.header("content-type");
    let shares = value("shareConversationsWithModelAuthors");
    let valid = content_type.starts_with("application/x-www-form-urlencoded") && shares != Some("");
    let model = value("activeModel").filter(|model| valid && exchange.knows(model));
    let Some(model) = model else { return false };
    let settings = Settings {
        accepted: value("ethicsModalAccepted") == Some("true"),
        shares: shares.is_some(),
        active_model: model.to_string(),
    };
    exchange.state.save_settings(&exchange.session, settings);
    true
}

fn create(exchange: &Exchange) -> Result<Answer, Answer> {
    let body = exchange.json()?;
    let model = body["model"].as_str().filter(|name| exchange.knows(name));
    let Some(model) = model else {
        return Err(exchange.internal_error());
    };
    let number = exchange.state.conversations_of(&exchange.session).len() + 1;
    let id = exchange.state.create(Conversation {
        session: exchange.session.clone(),
        title: format!("Untitled {number}"),
        model: model.to_string(),
        messages: Vec::new(),
    });
    let body = json!({"conversationId": id}).to_string();
    let answer = Answer::new(200).header("content-type", "application/json");
    Ok(answer.body(body))
}

fn message(exchange: &Exchange, id: &str) -> Result<Reply, Answer> {
    exchange.check_message(id)?;
    let body = exchange.json()?;
    let inputs = body["inputs"].as_str().unwrap_or_default();
    if inputs.trim().is_empty() || !are_options(&body["options"]) {
        return Err(exchange.internal_error());
    }
    let plan = (exchange.config.plan)(inputs);
    match plan {
        Plan::Refusal { status, message } => return Err(exchange.error(status, message)),
        Plan::Dead => return Err(exchange.internal_error()),
        _ => {}
    }
    let conversation = exchange.state.conversation(id);
    let history = conversation.map_or_else(Vec::new, |conversation| conversation.messages);
    let turn = Turn::in_line(history, inputs, &body["options"]);
    exchange.state.give_model(turn.prompt());
    let parameters = &body["parameters"];
    match parameters::refusal(parameters).unwrap_or(plan) {
        Plan::Answer {
            status,
            reason,
            headers,
            body,
        } => Err(Answer::with_reason(status, &reason).relayed(headers, body)),
        Plan::Acts(acts) => {
            let details = (parameters["details"] == true).then(|| Wanted {
                seed: parameters["seed"].clone(),
                input_length: inputs.split_whitespace().count(),
            });
            let job = Job {
                conversation: id.to_string(),
                turn,
                acts,
                voice: Box::new(Transcript::new(details)),
                stopped: false,
            };
            Ok((stream_head(), Some(job)))
        }
        Plan::Refusal { .. } | Plan::Dead => unreachable!("these never come to the model"),
    }
}

fn are_options(options: &Value) -> bool {
    let absent_or = |name, allows: fn(&Value) -> bool| options.get(name).is_none_or(allows);
    options.is_object()
        && absent_or("id", is_uuid)
        && absent_or("response_id", is_uuid)
        && absent_or("is_retry", Value::is_boolean)
        && absent_or("web_search_id", Value::is_string)
}
