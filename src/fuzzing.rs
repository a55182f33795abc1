//! What the fuzzers in `fuzz/` need of the crate's inside. It exists under `cfg(fuzzing)` only.

use serde_json::Value;

pub use crate::api::fuzzing as api;
pub use crate::decode::fuzzing as decode;
pub use crate::http::fuzzing as http;

/// Reads a whole document, if it is one.
#[must_use]
pub fn read_json(json: &[u8]) -> Option<Value> {
    crate::json::read_json(json).ok()
}
