//! A blocking client of H2O.ai's chat service, and of every server that speaks its protocol.
//!
//! ```no_run
//! use std::io::Write;
//! use h2o_chat::Client;
//!
//! fn main() -> h2o_chat::Result<()> {
//!     let client = Client::new("http://127.0.0.1:3000")?;
//!     for token in client.generate("Why is the sky blue?")? {
//!         print!("{}", token?);
//!         std::io::stdout().flush().ok();
//!     }
//!     Ok(()) // the conversation is gone from the server here
//! }
//! ```
//!
//! A [`Client`] posts the settings, opens a conversation, sends the prompt, and hands back [`Tokens`]: a plain
//! iterator over the pieces of text as they arrive. However that iterator is left, the conversation is
//! deleted from the server. To ask more than once, open a [`Conversation`]. There is no async runtime and no
//! thread behind it: everything happens on the thread that asks.
//!
//! The servers are those of Hugging Face's *chat-ui*, which is open source and widely self-hosted: the *classic* ones up
//! to version 0.6, which H2O.ai ran for the public in 2023 at [`PUBLIC_URL`], and the *current* ones from 0.8 to
//! today's. Which one it talks to a client finds out by itself. What only one [`Protocol`] can do is said where it is
//! described: the parameters of a [`Request`] and the [`Details`] of a reply above all.
//!
//! # What can be relied on
//!
//! * **A reply that is cut short is an error.** Only the server's own last event makes a reply complete, not
//!   the end of the connection, and an error inside a reply with status 200 is one. See [`ErrorKind`].
//! * **Nothing is lost.** The tokens that came before an error have been handed out, or are in
//!   [`Error::received`].
//! * **Nothing stays behind.** After a reply, an error, an early end or a panic the conversation is deleted,
//!   and a generation that was still running is stopped first: a server goes on generating after its client
//!   has gone, and after a deletion too. What could not be deleted is among [`Client::leftovers`], named in
//!   [`Error::undeleted`] or, where there is no place for an error, logged; [`Client::sweep`] tries again.
//! * **Limits that fit streams.** Silence, stall and deadline are separate; by default no reply is cut by the time that it
//!   takes, but by a [minute of silence](ClientBuilder::silence_timeout). See [`ClientBuilder`]. A [`Stop`] ends a call from another thread.
//! * **Memory is bounded**, whatever a server sends; see [`ErrorKind::TooLarge`].
//!
//! # Pitfalls of tidying up on drop
//!
//! Deleting a conversation takes a request: dropping [`Tokens`] early may block for up to the
//! [cleanup budget](ClientBuilder::cleanup_budget), 3 seconds by default, if the server does not answer.
//!
//! Destructors do not run, and the conversation stays on the server, when the process is ended by a signal
//! (Ctrl-C too, [unless it is handled](#ending-cleanly-on-ctrl-c)), [`std::process::exit`] or `panic = "abort"`, and
//! after [`std::mem::forget`]. To find such conversations again, choose the [`Session`] yourself and keep it.
//!
//! `let _ = client.generate(…)?` drops the reply at once: it is stopped and deleted before it is read.
//!
//! A conversation whose creation is not answered cannot be deleted: its id is not known. A stop or a limit
//! at that moment therefore waits for the answer, for as long as the cleanup budget.
//!
//! # Waiting
//!
//! While a call waits for the server's bytes it looks at its limits and its [`Stop`] every 0.1 seconds. An error names
//! the limit that was reached, how long it is, and how much of the reply had come.
//!
//! No limit of this crate, the cleanup budget included, covers one thing: the lookup of a name, which only the
//! system can end; a server given by its number needs none. Connecting, and sending to a server that does not read,
//! notice a stop only when the nearest limit is reached; and as what is sent ends a silence as well, a server that
//! reads slowly can make sending a large prompt overrun a limit.
//!
//! # Ending cleanly on Ctrl-C
//!
//! Unhandled, Ctrl-C ends the process where it is, and the server goes on generating. Instead let it set a flag that is
//! the client's [`Stop`], or the call's: where a call waits for the server, for the first token as well, it notices that within 0.1
//! seconds, has the generation stopped and the conversation deleted, and fails with [`ErrorKind::Stopped`], so that the
//! program ends as it would after any other error. With the crate [`signal-hook`](https://docs.rs/signal-hook) 0.4 that takes
//! neither a thread nor `unsafe`:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use std::sync::atomic::AtomicBool;
//!
//! use h2o_chat::{Client, ErrorKind, Stop};
//! use signal_hook::consts::SIGINT;
//! use signal_hook::flag;
//!
//! fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
//!     let interrupted = Arc::new(AtomicBool::new(false));
//!     // First the second Ctrl-C, which finds the flag set: it ends the program at once.
//!     flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&interrupted))?;
//!     flag::register(SIGINT, Arc::clone(&interrupted))?;
//!     let stop = Stop::from(interrupted);
//!
//!     let client = Client::builder("http://127.0.0.1:3000").stop(&stop).build()?;
//!     match client.ask("Why is the sky blue?") {
//!         Ok(text) => println!("{text}"),
//!         Err(error) if error.kind() == ErrorKind::Stopped => {
//!             println!("{}", error.received());
//!             // What a shell expects of a program that Ctrl-C has ended.
//!             return Ok(ExitCode::from(130));
//!         }
//!         Err(error) => return Err(error.into()),
//!     }
//!     Ok(ExitCode::SUCCESS)
//! }
//! ```
//!
//! The example `ctrl_c` does it token by token. `SIGTERM` can be given the same flag. A stop does not interrupt a
//! connection that is being made, nor the tidying up after it, which takes at most the
//! [cleanup budget](ClientBuilder::cleanup_budget): that is what the second Ctrl-C is for.
//!
//! # Terms and sharing
//!
//! Using this crate accepts the server's terms of use in your name: the first thing that the protocol sends says so. As
//! the service's own page does by default, it also allows that conversations are shared with the authors of the model;
//! [`ClientBuilder::share_with_model_authors`] forbids it.
//!
//! # Trying again
//!
//! Before a reply has begun, a request is tried again when no connection could be made and when the server answers
//! 429 or 503, after as long as it asks; see [`ClientBuilder::retries`]. Never is one repeated that could make a
//! second conversation or a second generation, and never after a token. Some answers have a remedy, which is tried
//! once: the settings are posted again when the server has forgotten them, a server that takes itself for an https
//! one although it is spoken to over http gets the Referer that it expects, and a current server that refuses the first
//! message gets it in the other of the two forms that there are.
//!
//! # Errors
//!
//! There is one type, [`Error`], one pointer wide. [`kind`](Error::kind) says what went wrong and [`step`](Error::step)
//! where; [`status`](Error::status) and [`server_message`](Error::server_message) are what the server answered,
//! [`received`](Error::received) is the text that had been gathered, and [`hint`](Error::hint) says what can be done, if
//! there is something to say. [`is_retryable`](Error::is_retryable) tells whether the same may succeed later. Go by
//! the kind to tell what is about the server (`Connect`, `Tls`, `Proxy`, `Login`) from what is about this call. `Display` is one line for a person. Nothing that a server sends makes this crate panic.
//!
//! # Proxies
//!
//! By default the one that the environment names is used, but never for a server on this machine; see [`Proxy`] for
//! another or none. It may speak `http`, `socks5` or `socks5h`, and ask for a user and a password. Every connection goes
//! through it as a tunnel, for `http://` servers too: an http proxy has to allow `CONNECT` to the server's port. One that
//! refuses is [`ErrorKind::Proxy`], one that is not there [`ErrorKind::Connect`], with its address in the message.
//!
//! # TLS
//!
//! A server behind `https://` is checked against the certificates that the system trusts (on Linux those that
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name, if they are set), or against others in their place
//! (`ClientBuilder::authorities`). That cannot be switched off. A certificate that does not hold is [`ErrorKind::Tls`],
//! and nothing has been sent then. Limits and stops hold in a handshake as anywhere else.
//!
//! # Logging
//!
//! Through the [`log`] crate, under the target `h2o_chat`:
//!
//! * *warn*: a conversation that is left on the server, with its id; a generation that could not be stopped.
//! * *info*: a request that is tried again, and why; settings that are posted again; another model that is asked
//!   because the server does not have the default; parameters that are not sent because the server takes none; a stopped
//!   generation that was not seen to end.
//! * *debug*: what else went wrong while tidying up.
//!
//! No prompt, no password, no cookie and no header value is logged under this target, nor shown by `Debug` and `Display`.
//! What the server says is: its error messages, the beginning of an answer that is not understood, and in the `Debug` of
//! what holds it the text of a reply. The HTTP client underneath logs under the targets `ureq` and
//! `ureq_proto`: up to the debug level requests without the values of such headers, but **at the trace level of
//! `ureq_proto` all that is sent and received, the password and the cookies included**. Keep that off where trace is
//! wanted; with a logger that takes filters from the environment, for example:
//!
//! ```text
//! RUST_LOG=trace,ureq_proto=debug
//! ```
//!
//! # Features
//!
//! * `rustls` (default): https, and `ClientBuilder::authorities`. Without it, `http://` only.
//!
//! # Minimum supported Rust version
//!
//! Rust 1.89, with the default features and without. Raising it is a minor release, and the changelog says so.

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod builder;
mod client;
mod conversation;
mod conversation_builder;
mod error;
mod generation;
mod http;
mod message;
mod protocol;
#[cfg(test)]
mod random;
mod reply;
mod request;
mod server;
mod shared;
mod stop;
mod stream;
mod tokens;

pub use builder::ClientBuilder;
pub use client::{Client, DEFAULT_MODEL, PUBLIC_URL};
pub use conversation::Conversation;
pub use conversation_builder::ConversationBuilder;
pub use error::{Error, ErrorKind, Limit, Result, Step};
pub use http::{Proxy, Session};
pub use message::{Message, Role};
pub use reply::{Details, End, Event, Reply, Token};
pub use request::Request;
pub use server::{Model, Protocol, ServerInfo, Summary};
pub use stop::Stop;
pub use tokens::Tokens;
