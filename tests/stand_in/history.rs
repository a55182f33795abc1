//! What is remembered of a conversation, and the prompt that the model is given of it.

use serde_json::Value;
use uuid::Uuid;

use super::packed::Node;

/// A message of any of those who speak in a conversation.
#[derive(Clone)]
pub(super) struct Message {
    pub id: String,
    /// `system`, `user` or `assistant`.
    pub from: &'static str,
    pub content: String,
    /// The message before it, where they are not in one line.
    parent: Option<String>,
    /// Of an answer, if the request named one.
    web_search_id: Option<String>,
}

impl Message {
    /// The root of a tree of messages.
    pub fn system(content: &str) -> Self {
        Self::new(invented_id(), "system", content, None)
    }

    fn new(id: String, from: &'static str, content: &str, parent: Option<String>) -> Self {
        Self {
            id,
            from,
            content: content.to_string(),
            parent,
            web_search_id: None,
        }
    }
}

/// A question with the history that it was asked in, until its answer is known. The history of
/// that moment counts: what else is remembered meanwhile is lost.
pub(super) struct Turn {
    /// All messages but the answer.
    history: Vec<Message>,
    answer: Message,
    /// Those that lead to the answer.
    path: Vec<Message>,
}

impl Turn {
    /// In one line: a retry of a message that is known takes its place, and what came after it is
    /// forgotten.
    pub fn in_line(mut history: Vec<Message>, inputs: &str, options: &Value) -> Self {
        let option = |name: &str| options[name].as_str().map(str::to_string);
        let id = option("id").unwrap_or_else(invented_id);
        if options["is_retry"] == true {
            let retried = history.iter().position(|known| known.id == id);
            history.truncate(retried.unwrap_or(history.len()));
        }
        history.push(Message::new(id, "user", inputs.trim(), None));
        let response_id = option("response_id").unwrap_or_else(invented_id);
        let mut answer = Message::new(response_id, "assistant", "", None);
        answer.web_search_id = option("web_search_id");
        let path = history.clone();
        Self {
            history,
            answer,
            path,
        }
    }

    /// In a tree: a question after the message with this id, if there is one.
    pub fn after(mut history: Vec<Message>, parent: &str, inputs: &str) -> Option<Self> {
        let parent = find(&history, parent)?.id.clone();
        let question = Message::new(invented_id(), "user", inputs, Some(parent));
        let id = question.id.clone();
        history.push(question);
        Some(Self::to_answer(history, id))
    }

    /// In a tree: another answer, or another question in the place of one. None if it is neither.
    pub fn again(history: Vec<Message>, id: &str, inputs: Option<&str>) -> Option<Self> {
        let message = find(&history, id)?;
        let parent = message.parent.clone()?;
        match (message.from, inputs) {
            ("assistant", _) => Some(Self::to_answer(history, parent)),
            ("user", Some(inputs)) => Self::after(history, &parent, inputs),
            _ => None,
        }
    }

    fn to_answer(history: Vec<Message>, question: String) -> Self {
        let mut path: Vec<Message> = Vec::new();
        let mut next = find(&history, &question);
        while let Some(message) = next {
            path.insert(0, message.clone());
            next = message.parent.as_ref().and_then(|id| find(&history, id));
        }
        let answer = Message::new(invented_id(), "assistant", "", Some(question));
        Self {
            history,
            answer,
            path,
        }
    }

    /// What was asked.
    pub fn inputs(&self) -> &str {
        let question = self.path.last();
        question.map_or("", |question| &question.content)
    }

    /// What the model is to go on with.
    pub fn prompt(&self) -> String {
        let said = self.path.iter();
        let said = said.filter(|message| message.from != "system" || !message.content.is_empty());
        let messages = said.map(|message| {
            let role = match message.from {
                "user" => "prompt",
                "assistant" => "answer",
                from => from,
            };
            format!("<|{role}|>{}<|endoftext|>", message.content)
        });
        messages.collect::<String>() + "<|answer|>"
    }

    /// The history with this turn at its end.
    pub fn answered(&self, text: &str) -> Vec<Message> {
        let mut answer = self.answer.clone();
        answer.content = cleaned(text).to_string();
        [&self.history[..], &[answer]].concat()
    }
}

fn find<'a>(history: &'a [Message], id: &str) -> Option<&'a Message> {
    history.iter().find(|message| message.id == id)
}

fn invented_id() -> String {
    Uuid::new_v4().to_string()
}

pub(super) fn is_uuid(value: &Value) -> bool {
    // The other ways to write one have other lengths.
    value
        .as_str()
        .is_some_and(|text| text.len() == 36 && Uuid::try_parse(text).is_ok())
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
    let mut fields = match message.from {
        "assistant" => vec![from, content],
        _ => vec![content, from],
    };
    let web_search_id = message.web_search_id.as_deref();
    fields.extend(web_search_id.map(|id| ("webSearchId", Node::plain(id))));
    fields.push(id);
    fields.extend([
        ("createdAt", Node::Date(DATE)),
        ("updatedAt", Node::Date(DATE)),
    ]);
    Node::Object(fields)
}
