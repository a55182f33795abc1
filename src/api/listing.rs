//! Models and conversations, made from the fields of what a server lists.

use super::message::is_id;
use crate::error::{Error, ErrorKind, Step};
use crate::server::{ConversationSummary, Model};

/// The most text that is copied from a list, in bytes.
pub(super) const MAX_TEXT: usize = 16 << 20;

pub(super) fn too_large(step: Step) -> Error {
    let message = format!("the list is larger than {MAX_TEXT} bytes");
    Error::new(ErrorKind::TooLarge, step, message)
}

/// Returns the text of a field of the listed object.
pub(super) type TextField<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn model(text: TextField) -> Option<Model> {
    let id = text("id").or_else(|| text("name"))?;
    Some(Model {
        name: text("displayName").unwrap_or_else(|| id.clone()),
        description: text("description"),
        id,
    })
}

pub(super) fn conversation(text: TextField) -> Option<ConversationSummary> {
    Some(ConversationSummary {
        id: text("id").filter(|id| is_id(id))?,
        title: text("title").unwrap_or_default(),
        // Newer servers name the model in `modelId`.
        model: text("modelId").or_else(|| text("model")),
    })
}

/// The memory that a summary takes, in bytes, its id being held twice.
pub(super) fn size(summary: &ConversationSummary) -> usize {
    const WITHOUT_TEXT: usize = 256;
    let ConversationSummary { id, title, model } = summary;
    WITHOUT_TEXT + 2 * id.len() + title.len() + model.as_ref().map_or(0, String::len)
}
