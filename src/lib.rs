//! A blocking client of H2O.ai's chat service.

mod error;
mod request;
mod stop;

pub use error::{Error, ErrorKind, Limit, Result, Step};
pub use request::{Message, Request, Role};
pub use stop::Stop;
