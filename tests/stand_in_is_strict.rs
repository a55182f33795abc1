//! The stand-in server answers what real servers were recorded to answer.

#[path = "stand_in_is_strict/mod.rs"]
mod recordings;
mod stand_in;
