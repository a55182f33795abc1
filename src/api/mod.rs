//! The requests to a server: one module per protocol, and the dispatch between them.
//!
//! Nothing above this module knows which protocol is spoken.

mod account;
mod attachments;
mod chat_ui;
mod classic;
mod context;
mod devalue;
mod dispatch;
#[cfg(fuzzing)]
pub mod fuzzing;
mod h2ogpte;
mod json_body;
mod listing;
mod message;
mod page;
mod reply_stream;
mod setup;
mod version;

pub(crate) use context::ApiConfig;
pub(crate) use dispatch::Api;
pub(crate) use h2ogpte::AUTO;
pub(crate) use message::{MessageState, OutgoingMessage, RemoteConversation, is_id};
pub(crate) use reply_stream::{ReplyStream, would_have_waited};
