//! HTTP with one server: its address, the session, the proxy, the waiting, and what can fail in it.
//!
//! Knows statuses and headers, but not what is said in a chat.

mod failure;
mod origin;
mod proxy;
mod session;
mod transport;
mod url;
mod watch;

pub(crate) use failure::{one_line, unreadable};
pub(crate) use origin::{Answer, Call, Config, Origin};
pub use proxy::Proxy;
pub use session::Session;
pub(crate) use session::judge_cookie_name;
pub(crate) use url::BaseUrl;
pub(crate) use watch::Watch;
