//! The examples, run as processes of their own.

mod ask;
mod chat;
mod parallel;
mod relay;
mod stand_in;
mod sweep;
