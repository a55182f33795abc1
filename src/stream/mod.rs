//! Bytes into events, without I/O of its own: whatever is cut anywhere comes out whole, or not at all.

#[cfg(test)]
mod cuts;
mod lines;
mod sse;

pub(crate) use lines::Lines;
pub(crate) use sse::Events;
