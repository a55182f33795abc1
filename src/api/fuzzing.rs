//! What the fuzzers need of this module.

use serde_json::{Map, Value};

use super::devalue::Devalue;
use super::listing;
use crate::error::Step;
use crate::server::{ConversationSummary, Model};

/// The models that a page lists.
#[must_use]
pub fn models(page: &Value) -> Option<Vec<Model>> {
    let models = Devalue::find(page, "models")?;
    models.list(Step::ListModels, listing::model).ok()
}

/// The conversations that a page lists.
#[must_use]
pub fn conversations(page: &Value) -> Option<Vec<ConversationSummary>> {
    let conversations = Devalue::find(page, "conversations")?;
    conversations.list(Step::ListConversations, listing::conversation).ok()
}

/// The settings of a page, unpacked.
#[must_use]
pub fn settings(page: &Value) -> Option<Map<String, Value>> {
    Devalue::find(page, "settings")?.unpack_object()
}
