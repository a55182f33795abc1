//! The routes of a classic chat-ui, and its refusals in the order of its checks.

use serde_json::{Value, json};

use super::chat_ui::{Exchange, Job, Reply, Route};
use super::history::{Turn, is_uuid};
use super::pages;
use super::plan::Plan;
use super::response::{Response, stream_head};
use super::settings;
use super::state::Conversation;
use super::tgi::{self, Events};

pub(super) fn reply(exchange: &Exchange, route: Option<Route>) -> Reply {
    let checked = check_login(exchange, route)
        .and_then(|()| exchange.check_referer())
        .and_then(|()| exchange.check_modal(route));
    if let Err(refusal) = checked {
        return (refusal, None);
    }
    let reply = match route {
        Some(Route::Conversation(id)) if exchange.is_post() => message(exchange, id),
        route => plain(exchange, route).map(|response| (response, None)),
    };
    let (response, job) = reply.unwrap_or_else(|refusal| (refusal, None));
    (exchange.with_cookie(response), job)
}

fn check_login(exchange: &Exchange, route: Option<Route>) -> Result<(), Response> {
    let is_login_page = exchange.request.method == "GET" && matches!(route, Some(Route::Login));
    if exchange.config.requires_login && !is_login_page {
        return Err(exchange.to_login());
    }
    Ok(())
}

fn plain(exchange: &Exchange, route: Option<Route>) -> Result<Response, Response> {
    match (exchange.request.method.as_str(), route) {
        ("GET", Some(Route::Home)) => Ok(Response::page(200, "Chat")),
        ("GET", Some(Route::Login)) => Ok(Response::page(200, "Login")),
        ("GET", Some(Route::HomeData)) => Ok(pages::home(exchange)),
        ("GET", Some(Route::ConversationData(id))) => Ok(pages::conversation(exchange, id)),
        ("POST", Some(Route::Settings)) => post_settings(exchange),
        ("POST", Some(Route::Create)) => create(exchange),
        ("POST", Some(Route::Stop(id))) => exchange.stop(id),
        ("PATCH", Some(Route::Conversation(id))) => exchange.rename(id),
        ("DELETE", Some(Route::Conversation(id))) => exchange.delete(id),
        _ => Err(Response::page(404, "Not Found")),
    }
}

/// The response redirects to the page that a browser shows next.
fn post_settings(exchange: &Exchange) -> Result<Response, Response> {
    let is_for_json = exchange.request.prefers_json() != Some(false);
    let Some(settings) = settings::posted_form(exchange) else {
        return Err(if is_for_json {
            let body = r#"{"type":"error","error":{"message":"Internal Error"}}"#;
            Response::json(500, body)
        } else {
            Response::page(500, "Internal Error")
        });
    };
    (exchange.shared).change(|state| state.save_settings(&exchange.session, settings));
    let location = exchange.header("referer");
    Ok(if is_for_json {
        // Written by hand for the order of the fields.
        let location = Value::from(location);
        let body = format!(r#"{{"type":"redirect","status":303,"location":{location}}}"#);
        Response::json(200, &body)
    } else {
        Response::new(303).header("location", location)
    })
}

fn create(exchange: &Exchange) -> Result<Response, Response> {
    let body = exchange.json()?;
    let model = exchange.model(&body);
    let model = model.ok_or_else(|| exchange.internal_error())?;
    let id = exchange.shared.change(|state| {
        let number = state.conversations_of(&exchange.session).len() + 1;
        let title = format!("Untitled {number}");
        let conversation = Conversation::new(&exchange.session, title, model, Vec::new());
        state.create(conversation)
    });
    let body = json!({"conversationId": id}).to_string();
    let response = Response::new(200).header("content-type", "application/json");
    Ok(response.body(body))
}

fn message(exchange: &Exchange, id: &str) -> Result<Reply, Response> {
    let conversation = exchange.message_conversation(id)?;
    let body = exchange.json()?;
    let inputs = body["inputs"].as_str().unwrap_or_default();
    if inputs.trim().is_empty() || !are_valid_options(&body["options"]) {
        return Err(exchange.internal_error());
    }
    let plan = (exchange.config.plan)(inputs);
    match plan {
        Plan::Refusal { status, message } => return Err(exchange.error(status, message)),
        Plan::Dead => return Err(exchange.internal_error()),
        _ => {}
    }
    let turn = Turn::in_list(conversation.messages, inputs, &body["options"]);
    (exchange.shared).change(|state| state.prompts.push(turn.prompt()));
    let parameters = &body["parameters"];
    match tgi::refusal(parameters).unwrap_or(plan) {
        Plan::Response { status, reason, headers, body } => {
            Err(Response::with_reason(status, &reason).relayed(headers, body))
        }
        Plan::Acts(acts) => {
            let job = Job {
                conversation: id.to_string(),
                turn,
                acts,
                encoder: Box::new(Events::new(parameters, inputs)),
                is_stopped: false,
            };
            Ok((stream_head(), Some(job)))
        }
        Plan::Refusal { .. } | Plan::Dead => unreachable!("these never reach the model"),
    }
}

fn are_valid_options(options: &Value) -> bool {
    let absent_or = |name, is_valid: fn(&Value) -> bool| options.get(name).is_none_or(is_valid);
    options.is_object()
        && absent_or("id", is_uuid)
        && absent_or("response_id", is_uuid)
        && absent_or("is_retry", Value::is_boolean)
        && absent_or("web_search_id", Value::is_string)
}
