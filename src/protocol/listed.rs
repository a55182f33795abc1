//! What a server lists, each made out of the texts of its fields, whichever way they came.

use super::is_id;
use crate::error::{Error, ErrorKind, Step};
use crate::server::{Model, Summary};

/// The most that a list may take, in bytes, however often a text is said, and on however many pages.
pub(super) const LARGEST: usize = 16 << 20;

pub(super) fn too_large(step: Step) -> Error {
    let message = format!("the list is larger than {LARGEST} bytes");
    Error::new(ErrorKind::TooLarge, step, message)
}

/// The text of the field of a name.
pub(super) type Text<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn model(text: Text) -> Option<Model> {
    let id = text("id").or_else(|| text("name"))?;
    Some(Model {
        name: text("displayName").unwrap_or_else(|| id.clone()),
        description: text("description"),
        id,
    })
}

/// How much memory it takes, about, its id among those that are known included.
pub(super) fn size(summary: &Summary) -> usize {
    const BESIDES_TEXT: usize = 256;
    let Summary { id, title, model } = summary;
    BESIDES_TEXT + 2 * id.len() + title.len() + model.as_ref().map_or(0, String::len)
}

pub(super) fn summary(text: Text) -> Option<Summary> {
    Some(Summary {
        id: text("id").filter(|id| is_id(id))?,
        title: text("title").unwrap_or_default(),
        // The first is the one that is meant, and only current servers have it.
        model: text("modelId").or_else(|| text("model")),
    })
}
