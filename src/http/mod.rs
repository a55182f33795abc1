//! HTTP with one server: address, cookies, proxy, TLS, retries, timeouts.
//!
//! It knows nothing of chats.

mod client;
mod cookies;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod multipart;
mod proxy;
mod redirect;
mod request;
mod response;
mod retry;
mod retry_after;
mod timer;
#[cfg(feature = "rustls")]
mod tls;
mod transport;
mod url;

pub(crate) use client::{HttpClient, HttpConfig};
pub(crate) use cookies::{SessionCookie, split_off, validate_cookie_name, validate_session};
pub(crate) use failure::unreadable;
pub(crate) use multipart::{Multipart, base64_length};
pub use proxy::Proxy;
pub(crate) use redirect::Redirect;
pub(crate) use request::HttpRequest;
pub(crate) use response::Response;
pub(crate) use retry::RetryPolicy;
pub(crate) use timer::{Interrupt, Timeouts, Timer};
#[cfg(feature = "rustls")]
pub(crate) use tls::RootCertificates;
pub(crate) use url::BaseUrl;
