//! The bytes of a reply into its updates: bytes, lines, events, updates.
//!
//! It does no I/O of its own and knows nothing of HTTP. Bytes may be cut anywhere.

#[cfg(test)]
mod cases;
mod completion;
#[cfg(test)]
mod cuts;
mod decoder;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handed_out;
mod lines;
mod message_update;
mod object;
#[cfg(test)]
mod random;
mod sse;
mod surrogates;
mod tgi;
mod thinking;
mod update;

pub(crate) use decoder::Decoder;
pub(crate) use thinking::Thinking;
pub(crate) use update::Update;
