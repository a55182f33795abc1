//! A blocking client of H2O.ai's chat service.

mod client;
mod conversation;
mod error;
mod http;
mod protocol;
mod reply;
mod request;
mod stop;
mod stream;
mod tokens;

pub use client::{Client, ClientBuilder, DEFAULT_MODEL, PUBLIC_URL};
pub use conversation::Conversation;
pub use error::{Error, ErrorKind, Limit, Result, Step};
pub use http::{Proxy, Session};
pub use reply::{Details, End, Reply};
pub use request::{Message, Request, Role};
pub use stop::Stop;
pub use tokens::Tokens;
