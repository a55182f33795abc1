//! Models and conversations, made from the fields of a server's lists.

use std::collections::HashSet;

use super::message::is_id;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::server::{ConversationSummary, Model};
use crate::text::one_line;

/// The most text that is copied from a list, in bytes.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// The most pages of a list.
const MAX_PAGES: usize = 1000;

pub(super) fn too_large(step: Step) -> Error {
    let message = format!("the list is larger than {MAX_TEXT} bytes");
    Error::new(ErrorKind::TooLarge, step, message)
}

/// An item of a list that comes in pages.
pub(super) trait Item {
    fn id(&self) -> &str;

    /// The memory that it takes, in bytes. Its id is held twice.
    fn size(&self) -> usize;
}

/// Reads a list page by page. `read` returns the items of a page, and whether it is the last.
pub(super) fn all_pages<T: Item>(
    step: Step,
    read: impl Fn(usize) -> Result<(Vec<T>, bool)>,
) -> Result<Vec<T>> {
    let (mut all, mut ids, mut size) = (Vec::new(), HashSet::new(), 0);
    for page in 0..MAX_PAGES {
        let (items, is_last) = read(page)?;
        let before = all.len();
        all.extend(items.into_iter().filter(|new: &T| ids.insert(new.id().to_owned())));
        // A server without pages answers the same again.
        if is_last || all.len() == before {
            return Ok(all);
        }
        size += all[before..].iter().map(Item::size).sum::<usize>();
        if size > MAX_TEXT {
            return Err(too_large(step));
        }
    }
    let message = format!("the list has more than {MAX_PAGES} pages");
    Err(Error::new(ErrorKind::TooLarge, step, message))
}

/// Returns whether the server has no list that can be read.
pub(super) fn is_unlisted(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Protocol | ErrorKind::TooLarge) || error.status() == Some(404)
}

/// The error for a model that the server does not have.
pub(super) fn unknown_model(step: Step, model: &str, models: &[Model]) -> Error {
    let ids: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    let known = one_line(&ids.join(", "));
    let message = format!("the server does not have the model {model:?}; it has {known}");
    Error::new(ErrorKind::UnknownModel, step, message)
}

/// Replaces an error that may be about the model, if the server does not have the model.
pub(super) fn explain(error: Error, model: &str, models: Result<Vec<Model>>) -> Error {
    match models {
        Ok(models) if models.iter().all(|known| known.id != model) => {
            unknown_model(error.step(), model, &models).with_source(error)
        }
        _ => error,
    }
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

impl Item for ConversationSummary {
    fn id(&self) -> &str {
        &self.id
    }

    fn size(&self) -> usize {
        const WITHOUT_TEXT: usize = 256;
        let ConversationSummary { id, title, model } = self;
        WITHOUT_TEXT + 2 * id.len() + title.len() + model.as_ref().map_or(0, String::len)
    }
}
