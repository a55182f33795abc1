//! What is remembered of a conversation, and the prompt that the model is given of it.

use serde_json::Value;
use uuid::Uuid;

use super::packed::Node;

/// A message that has been answered, or the answer.
#[derive(Clone)]
pub(super) struct Message {
    pub id: String,
    /// `user` or `assistant`.
    pub from: &'static str,
    pub content: String,
    /// Of an answer, if the request named one.
    web_search_id: Option<String>,
}

/// A question with the history that it was asked in, until its answer is known. The history of
/// that moment counts: what else is remembered meanwhile is lost.
pub(super) struct Turn {
    messages: Vec<Message>,
    response_id: String,
    web_search_id: Option<String>,
}

impl Turn {
    /// A retry of a message that is known takes its place, and what came after it is forgotten.
    pub fn new(mut history: Vec<Message>, inputs: &str, options: &Value) -> Self {
        let option = |name: &str| options[name].as_str().map(str::to_string);
        let id = option("id");
        if options["is_retry"] == true {
            let retried = history
                .iter()
                .position(|known| Some(&known.id) == id.as_ref());
            history.truncate(retried.unwrap_or(history.len()));
        }
        history.push(Message {
            id: id.unwrap_or_else(invented_id),
            from: "user",
            content: inputs.trim().to_string(),
            web_search_id: None,
        });
        Self {
            messages: history,
            response_id: option("response_id").unwrap_or_else(invented_id),
            web_search_id: option("web_search_id"),
        }
    }

    /// What the model is to go on with.
    pub fn prompt(&self) -> String {
        let messages = self.messages.iter().map(|message| {
            let role = match message.from {
                "user" => "prompt",
                _ => "answer",
            };
            format!("<|{role}|>{}<|endoftext|>", message.content)
        });
        messages.collect::<String>() + "<|answer|>"
    }

    /// The history with this turn at its end.
    pub fn answered(&self, text: &str) -> Vec<Message> {
        let answer = Message {
            id: self.response_id.clone(),
            from: "assistant",
            content: cleaned(text).to_string(),
            web_search_id: self.web_search_id.clone(),
        };
        [&self.messages[..], &[answer]].concat()
    }
}

fn invented_id() -> String {
    Uuid::new_v4().to_string()
}

/// Only its end is tidied: the space that most replies begin with stays.
fn cleaned(text: &str) -> &str {
    let without = |text, end| str::strip_suffix(text, end).unwrap_or(text).trim_end();
    let text = text.strip_prefix("<|startoftext|>").unwrap_or(text);
    without(without(text, "</s>"), "<|endoftext|>")
}

/// The messages as a page shows them.
pub(super) fn page(messages: &[Message]) -> Node {
    Node::List(messages.iter().map(node).collect())
}

fn node(message: &Message) -> Node {
    /// Fixed, so that answers can be compared.
    const DATE: &str = "2026-11-23T18:23:31.959Z";
    let (from, content, id) = (
        ("from", Node::plain(message.from)),
        ("content", Node::plain(&*message.content)),
        ("id", Node::plain(&*message.id)),
    );
    let web_search_id = message.web_search_id.as_deref();
    let mut fields = match message.from {
        "user" => vec![content, from, id],
        _ => vec![
            from,
            content,
            ("webSearchId", Node::plain(web_search_id)),
            id,
        ],
    };
    fields.extend([
        ("createdAt", Node::Date(DATE)),
        ("updatedAt", Node::Date(DATE)),
    ]);
    Node::Object(fields)
}
