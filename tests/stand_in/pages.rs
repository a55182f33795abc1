//! The data of chat-ui's pages for a session.

use serde_json::{Value, json};

use super::chat_ui::{Exchange, is_id};
use super::devalue::{DATE, UNDEFINED, pack};
use super::response::Response;
use super::settings;

pub(super) fn home(exchange: &Exchange) -> Response {
    page(exchange, &Value::Null)
}

/// A conversation's page is a success even when the conversation cannot be shown.
pub(super) fn conversation(exchange: &Exchange, id: &str) -> Response {
    let node = conversation_node(exchange, id).unwrap_or_else(|(status, message)| {
        json!({"type": "error", "error": {"message": message}, "status": status})
    });
    page(exchange, &node)
}

fn conversation_node(exchange: &Exchange, id: &str) -> Result<Value, (u16, &'static str)> {
    if !is_id(id) {
        return Err((500, "Internal Error"));
    }
    let known = exchange.shared.lock().conversations.get(id).cloned();
    let known = known.ok_or((404, "Conversation not found."))?;
    if known.session != exchange.session {
        let message = "You don't have access to this conversation. If someone gave you this link, \
            ask them to use the 'share' feature instead.";
        return Err((403, message));
    }
    let messages = known.messages.iter().map(|message| {
        json!({
            "from": message.from,
            "content": message.content,
            "id": message.id,
            "createdAt": DATE,
            "updatedAt": DATE,
        })
    });
    let mut data = json!({
        "messages": messages.collect::<Value>(),
        "title": known.title,
        "model": known.model,
    });
    match known.messages.first() {
        Some(root) if root.from == "system" => {
            data["preprompt"] = json!(root.content);
            data["rootMessageId"] = json!(root.id);
        }
        _ => data["searches"] = json!({}),
    }
    let (origin, base_path) = (exchange.origin(), &exchange.config.base_path);
    let dependency = format!("{origin}{base_path}/conversation/conversation");
    let uses = json!({"dependencies": [dependency], "params": ["id"]});
    Ok(json!({"type": "data", "data": pack(&data), "uses": uses}))
}

/// A page's data: the common part and its own.
fn page(exchange: &Exchange, node: &Value) -> Response {
    let data = json!({
        "conversations": conversations(exchange),
        "settings": settings::shown(exchange),
        "models": models(&exchange.config.models),
        "oldModels": [],
        "user": UNDEFINED,
        "requiresLogin": false,
        "messagesBeforeLogin": 0,
    });
    let uses = json!({"dependencies": ["conversation:list"], "url": 1});
    let layout = json!({"type": "data", "data": pack(&data), "uses": uses});
    let body = json!({"type": "data", "nodes": [layout, node]}).to_string() + "\n";
    Response::json(200, &body).header("cache-control", "private, no-store")
}

fn conversations(exchange: &Exchange) -> Value {
    let state = exchange.shared.lock();
    let own = state.conversations_of(&exchange.session).into_iter();
    own.map(|(id, known)| json!({"id": id, "title": known.title, "model": known.model})).collect()
}

/// The first model has a description, the others are known by name only.
fn models(names: &[String]) -> Value {
    let models = names.iter().enumerate().map(|(place, name)| {
        let mut model = json!({"id": name, "name": name, "displayName": name});
        for field in ["websiteUrl", "datasetName", "description", "parameters", "preprompt"] {
            model[field] = json!(UNDEFINED);
        }
        if place == 0 {
            model["description"] = json!("fake");
        }
        model
    });
    models.collect()
}
