//! What a server lists, each made out of the texts of its fields, whichever way they came.

use super::is_id;
use crate::server::{Model, Summary};

/// The text of the field of a name.
type Text<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn model(text: Text) -> Option<Model> {
    let id = text("id").or_else(|| text("name"))?;
    Some(Model {
        name: text("displayName").unwrap_or_else(|| id.clone()),
        description: text("description"),
        id,
    })
}

pub(super) fn summary(text: Text) -> Option<Summary> {
    Some(Summary {
        id: text("id").filter(|id| is_id(id))?,
        title: text("title").unwrap_or_default(),
        // The first is the one that is meant, and only current servers have it.
        model: text("modelId").or_else(|| text("model")),
    })
}
