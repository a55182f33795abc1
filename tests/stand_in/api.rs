//! The JSON API of a current chat-ui: its models, and a session's conversations.

use serde_json::{Value, json};

use super::Dialect;
use super::chat_ui::Exchange;
use super::devalue::DATE;
use super::response::Response;
use super::state::Conversation;

pub(super) fn disabled(exchange: &Exchange) -> Response {
    response(exchange, 403, &json!({"error": "API is disabled"}))
}

pub(super) fn models(exchange: &Exchange) -> Response {
    let media_types = &exchange.config.media_types;
    let models = exchange.config.models.iter().map(|name| {
        let mut model = json!({
            "id": name,
            "name": name,
            "displayName": name,
            "description": format!("Fake {name}"),
            "preprompt": "",
            "multimodal": media_types.is_some(),
            "unlisted": false,
        });
        if let Some(types) = media_types.as_ref().filter(|types| !types.is_empty()) {
            model["multimodalAcceptedMimetypes"] = json!(types);
        }
        model
    });
    response(exchange, 200, &models.collect())
}

/// A page of the session's own.
pub(super) fn conversations(exchange: &Exchange) -> Response {
    const PAGE: usize = 30;
    let page = exchange.request.path.split_once("?p=");
    let page: usize = page.map_or(0, |(_, page)| page.parse().unwrap_or(0));
    let state = exchange.shared.lock();
    let own = state.conversations_of(&exchange.session).into_iter();
    let conversations = own.skip(page * PAGE).take(PAGE).map(|(id, conversation)| {
        json!({
            "_id": id,
            "id": id,
            "title": conversation.title,
            "updatedAt": DATE,
            "model": conversation.model,
            "modelId": conversation.model,
        })
    });
    response(exchange, 200, &conversations.collect())
}

pub(super) fn conversation(exchange: &Exchange, id: &str) -> Response {
    let Ok(conversation) = exchange.conversation(id) else {
        return response(exchange, 404, &json!({"message": "Conversation not found"}));
    };
    let messages = conversation.messages.iter().map(|message| {
        json!({
            "content": message.content,
            "from": message.from,
            "id": message.id,
            "createdAt": DATE,
            "updatedAt": DATE,
        })
    });
    let mut body = json!({
        "id": id,
        "title": conversation.title,
        "updatedAt": DATE,
        "modelId": conversation.model,
        "messages": messages.collect::<Value>(),
    });
    if exchange.config.dialect.has_early_forms() {
        body["assistantId"] = Value::Null;
        body["modelTools"] = false.into();
    }
    response(exchange, 200, &body)
}

/// A conversation without a turn, as the newest servers embed it in the response to its creation.
pub(super) fn embedded(id: &str, conversation: &Conversation) -> String {
    let root = &conversation.messages[0];
    let message = json!({
        "id": root.id,
        "from": root.from,
        "content": root.content,
        "createdAt": DATE,
        "updatedAt": DATE,
        "children": [],
        "ancestors": [],
    });
    let dates = ["messages.0.createdAt", "messages.0.updatedAt", "updatedAt"];
    let mut types = json!({"deployedSpaces": ["undefined"]});
    for date in dates {
        types[date] = json!(["Date"]);
    }
    let embedded = json!({
        "json": {
            "messages": [message],
            "title": conversation.title,
            "model": conversation.model,
            "preprompt": root.content,
            "rootMessageId": root.id,
            "id": id,
            "updatedAt": DATE,
            "modelId": conversation.model,
            "shared": false,
            "deployedSpaces": null,
        },
        "meta": {"values": types, "v": 1},
    });
    embedded.to_string()
}

fn response(exchange: &Exchange, status: u16, body: &Value) -> Response {
    let mut response = Response::new(status).header("content-type", "application/json");
    if exchange.config.dialect == Dialect::Newest && !exchange.config.hides_version {
        const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS";
        let headers = "Content-Type, Authorization";
        response = response
            .header("access-control-allow-headers", headers)
            .header("access-control-allow-methods", METHODS)
            .header("access-control-allow-origin", "*");
    }
    response.body(body.to_string())
}
