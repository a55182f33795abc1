//! What a current server tells of its models and conversations, in JSON.

use serde_json::Value;

use super::Dialect;
use super::answer::Answer;
use super::exchange::Exchange;
use super::history::Message;
use super::state::Conversation;

/// Fixed, so that answers can be compared.
const DATE: &str = "2026-11-23T18:21:38.319Z";

pub(super) fn disabled(exchange: &Exchange) -> Answer {
    json(exchange, 403, r#"{"error":"API is disabled"}"#)
}

pub(super) fn models(exchange: &Exchange) -> Answer {
    let models = exchange.config.models.iter().map(|name| {
        let (name, about) = (quoted(name), quoted(&format!("Fake {name}")));
        format!(
            r#"{{"id":{name},"name":{name},"websiteUrl":"https://huggingface.co","modelUrl":"https://huggingface.co","displayName":{name},"description":{about},"promptExamples":[],"preprompt":"","multimodal":false,"supportsTools":false,"supportsReasoning":false,"supportsArtifacts":false,"unlisted":false,"hasInferenceAPI":false}}"#
        )
    });
    json(exchange, 200, &format!("[{}]", joined(models)))
}

/// The session's own, the newest first.
pub(super) fn conversations(exchange: &Exchange) -> Answer {
    /// How many there are to a page, of which `p` is the number.
    const PAGE: usize = 30;
    let page = exchange.request.path.split_once("?p=");
    let page: usize = page.map_or(0, |(_, page)| page.parse().unwrap_or(0));
    let own = exchange.state.conversations_of(&exchange.session);
    let own = own.into_iter().rev().skip(page * PAGE).take(PAGE);
    let conversations = own.map(|(id, conversation)| {
        let (id, title) = (quoted(&id), quoted(&conversation.title));
        let model = quoted(&conversation.model);
        format!(
            r#"{{"_id":{id},"id":{id},"title":{title},"updatedAt":"{DATE}","model":{model},"modelId":{model}}}"#
        )
    });
    json(exchange, 200, &format!("[{}]", joined(conversations)))
}

pub(super) fn conversation(exchange: &Exchange, id: &str) -> Answer {
    let own = exchange.state.owns(&exchange.session, id);
    let Some(conversation) = exchange.state.conversation(id).filter(|_| own) else {
        return json(exchange, 404, r#"{"message":"Conversation not found"}"#);
    };
    let (id, title) = (quoted(id), quoted(&conversation.title));
    let model = quoted(&conversation.model);
    let messages = joined(conversation.messages.iter().map(message));
    let (assistant, tools) = match exchange.config.dialect {
        Dialect::Form => (r#","assistantId":null"#, r#","modelTools":false"#),
        _ => ("", ""),
    };
    let body = format!(
        r#"{{"id":{id},"title":{title},"updatedAt":"{DATE}","modelId":{model}{assistant},"messages":[{messages}]{tools}}}"#
    );
    json(exchange, 200, &body)
}

fn message(message: &Message) -> String {
    let (content, id) = (quoted(&message.content), quoted(&message.id));
    let from = message.from;
    format!(
        r#"{{"content":{content},"from":"{from}","id":{id},"createdAt":"{DATE}","updatedAt":"{DATE}"}}"#
    )
}

/// A conversation without a turn, as the newest servers pack it into the answer of its creation.
pub(super) fn packed(id: &str, conversation: &Conversation) -> String {
    let root = &conversation.messages[0];
    let (root_id, preprompt) = (quoted(&root.id), quoted(&root.content));
    let (id, title) = (quoted(id), quoted(&conversation.title));
    let model = quoted(&conversation.model);
    format!(
        r#"{{"json":{{"messages":[{{"id":{root_id},"from":"system","content":{preprompt},"createdAt":"{DATE}","updatedAt":"{DATE}","children":[],"ancestors":[]}}],"title":{title},"model":{model},"preprompt":{preprompt},"rootMessageId":{root_id},"id":{id},"updatedAt":"{DATE}","modelId":{model},"shared":false,"deployedSpaces":null}},"meta":{{"values":{{"messages.0.createdAt":["Date"],"messages.0.updatedAt":["Date"],"updatedAt":["Date"],"deployedSpaces":["undefined"]}},"v":1}}}}"#
    )
}

fn json(exchange: &Exchange, status: u16, body: &str) -> Answer {
    let mut answer = Answer::new(status).header("content-type", "application/json");
    if exchange.config.dialect == Dialect::Newest {
        const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS";
        answer = answer
            .header(
                "access-control-allow-headers",
                "Content-Type, Authorization",
            )
            .header("access-control-allow-methods", METHODS)
            .header("access-control-allow-origin", "*");
    }
    answer.body(body)
}

fn quoted(text: &str) -> Value {
    Value::from(text)
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}
