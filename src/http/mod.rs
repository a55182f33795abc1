//! HTTP with one server: its address, the session, the proxy, the waiting, and what can fail in it.
//!
//! Knows statuses and headers, but not what is said in a chat.

mod call;
mod cookies;
mod date;
mod failure;
mod host;
mod origin;
mod proxy;
mod redirect;
mod retry;
mod session;
#[cfg(feature = "rustls")]
mod tls;
mod transport;
mod url;
mod values;
mod watch;

pub(crate) use call::{Answer, Call};
pub(crate) use cookies::taken_out;
pub(crate) use failure::{glimpse, one_line, title_of, unreadable, words};
pub(crate) use origin::{Config, Origin};
pub use proxy::Proxy;
pub(crate) use redirect::Redirect;
pub(crate) use retry::Retries;
pub use session::Session;
pub(crate) use session::judge_cookie_name;
#[cfg(feature = "rustls")]
pub(crate) use tls::Authorities;
pub(crate) use url::BaseUrl;
pub(crate) use values::{Unread, read_json};
pub(crate) use watch::{Cut, Watch};
