//! The client's promises, over real sockets: one module for each topic.

mod account;
mod attachments;
mod cancel;
mod cleanup;
mod conversation;
mod detection;
mod errors;
mod examples;
mod failures;
mod fault_matrix;
mod h2ogpte;
mod hints;
#[cfg(all(target_os = "linux", feature = "rustls"))]
mod https;
mod input;
mod interruptions;
mod leftovers;
mod lifecycle;
mod limits;
mod lists;
mod nothing_left;
mod on_wait;
mod packaging;
mod prompts;
mod proxy;
mod readme;
mod regenerate;
mod responses;
mod retries;
mod retry_waits;
#[cfg(target_os = "linux")]
mod soak;
mod stand_in_is_strict;
mod support;
mod system_prompt;
mod thinking;
mod types;
mod writing;

#[path = "../example/mod.rs"]
mod example;
#[cfg(target_os = "linux")]
#[path = "../../src/decode/random.rs"]
mod random;
#[path = "../stand_in/mod.rs"]
mod stand_in;
