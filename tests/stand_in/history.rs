//! The messages of a conversation, and the model's prompt made from them.

use serde_json::Value;
use uuid::Uuid;

#[derive(Clone)]
pub(super) struct Message {
    pub id: String,
    /// `system`, `user` or `assistant`.
    pub from: &'static str,
    pub content: String,
    /// The id of the message before it, if messages are a tree.
    pub parent: Option<String>,
}

impl Message {
    /// The root of a tree of messages.
    pub fn system(content: &str) -> Self {
        Self::new(new_id(), "system", content, None)
    }

    fn new(id: String, from: &'static str, content: &str, parent: Option<String>) -> Self {
        Self { id, from, content: content.to_string(), parent }
    }
}

/// A question whose answer is being generated. The turn overwrites messages stored meanwhile.
pub(super) struct Turn {
    /// All messages but the answer.
    history: Vec<Message>,
    answer: Message,
    /// The messages that lead to the answer.
    path: Vec<Message>,
}

impl Turn {
    /// A question in a list of messages. A retry of a known message replaces it and all after it.
    pub fn in_list(mut history: Vec<Message>, inputs: &str, options: &Value) -> Self {
        let id_option = |name: &str| options[name].as_str().map_or_else(new_id, str::to_string);
        let id = id_option("id");
        if options["is_retry"] == true {
            let retried = history.iter().position(|known| known.id == id);
            history.truncate(retried.unwrap_or(history.len()));
        }
        history.push(Message::new(id, "user", inputs.trim(), None));
        Self {
            answer: Message::new(id_option("response_id"), "assistant", "", None),
            path: history.clone(),
            history,
        }
    }

    /// A question at the end of a chat, with its own system prompt. The ids name the chat.
    pub fn in_chat(
        chat: &str,
        mut history: Vec<Message>,
        inputs: &str,
        system: Option<&str>,
    ) -> Self {
        let id = |place: usize| format!("{:08x}{}", history.len() + place, &chat[8..]);
        let (question, answer) = (id(1), id(2));
        let question = Message::new(question, "user", inputs, None);
        let answer = Message::new(answer, "assistant", "", Some(question.id.clone()));
        history.push(question);
        let mut path: Vec<Message> = system.map(Message::system).into_iter().collect();
        path.extend_from_slice(&history);
        Self { history, answer, path }
    }

    /// A question after this message of a tree. `None` if there is no such message.
    pub fn after(mut history: Vec<Message>, parent: &str, inputs: &str) -> Option<Self> {
        let parent = find(&history, parent)?.id.clone();
        let question = Message::new(new_id(), "user", inputs, Some(parent));
        let id = question.id.clone();
        history.push(question);
        Some(Self::answer_to(history, id))
    }

    /// Another answer, or another question, beside the one with this id. `None` if it is neither.
    pub fn beside(history: Vec<Message>, id: &str, inputs: Option<&str>) -> Option<Self> {
        let message = find(&history, id)?;
        let parent = message.parent.clone()?;
        match (message.from, inputs) {
            ("assistant", _) => Some(Self::answer_to(history, parent)),
            ("user", Some(inputs)) => Self::after(history, &parent, inputs),
            _ => None,
        }
    }

    fn answer_to(history: Vec<Message>, question: String) -> Self {
        let mut path: Vec<Message> = Vec::new();
        let mut next = find(&history, &question);
        while let Some(message) = next {
            path.insert(0, message.clone());
            next = message.parent.as_ref().and_then(|id| find(&history, id));
        }
        let answer = Message::new(new_id(), "assistant", "", Some(question));
        Self { history, answer, path }
    }

    /// All messages but the answer.
    pub fn asked(&self) -> &[Message] {
        &self.history
    }

    pub fn answer_id(&self) -> &str {
        &self.answer.id
    }

    pub fn inputs(&self) -> &str {
        let question = self.path.last();
        question.map_or("", |question| &question.content)
    }

    /// The text that the model has to continue.
    pub fn prompt(&self) -> String {
        let messages = self.path.iter();
        let messages =
            messages.filter(|message| message.from != "system" || !message.content.is_empty());
        let marked = messages.map(|message| {
            let role = match message.from {
                "user" => "prompt",
                "assistant" => "answer",
                from => from,
            };
            format!("<|{role}|>{}<|endoftext|>", message.content)
        });
        marked.collect::<String>() + "<|answer|>"
    }

    /// Returns the history with this turn at its end. Spaces are trimmed only at the answer's end.
    pub fn answered(&self, text: &str) -> Vec<Message> {
        let mut answer = self.answer.clone();
        answer.content = text.trim_end().to_string();
        [&self.history[..], &[answer]].concat()
    }
}

fn find<'a>(history: &'a [Message], id: &str) -> Option<&'a Message> {
    history.iter().find(|message| message.id == id)
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

pub(super) fn is_uuid(value: &Value) -> bool {
    // The other ways to write one have other lengths.
    value.as_str().is_some_and(|text| text.len() == 36 && Uuid::try_parse(text).is_ok())
}
