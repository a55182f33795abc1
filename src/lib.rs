//! A blocking client for H2O.ai's chat and for chat-ui servers, Hugging Face's open-source chat.
//!
//! ```no_run
//! use std::io::Write;
//! use h2o_chat::Client;
//!
//! fn main() -> h2o_chat::Result<()> {
//!     let client = Client::new("http://127.0.0.1:3000")?;
//!     for token in client.stream("Why is the sky blue?")? {
//!         print!("{}", token?);
//!         std::io::stdout().flush().ok();
//!     }
//!     Ok(()) // the conversation has been deleted from the server
//! }
//! ```
//!
//! A [`Client`] posts the settings, creates a conversation, sends the prompt, and returns
//! [`Tokens`]: a plain iterator over the pieces of text as they arrive. However that iterator is
//! left, the conversation is deleted from the server. To ask more than once, use a
//! [`Conversation`]. There is no async runtime and no thread behind it: everything happens on the
//! thread that calls.
//!
//! # Servers
//!
//! chat-ui is open source and widely self-hosted. There are two generations:
//!
//! * *classic* servers, chat-ui up to 0.6. H2O.ai ran one for the public in 2023, at
//!   [`PUBLIC_URL`].
//! * newer ones, from chat-ui 0.8 to the newest.
//!
//! The client detects which one it talks to. What only one [`Protocol`] can do is documented where
//! it applies, above all the parameters of a [`Request`] and the [`Details`] of a reply.
//!
//! # Guarantees
//!
//! * **No silent truncation.** A reply is complete only when the server says so with its last
//!   event. The end of the connection proves nothing, and an error inside a reply with status 200
//!   is an error. See [`ErrorKind`].
//! * **Nothing is lost.** The tokens before an error have been handed out, or are in
//!   [`Error::received`].
//! * **No leaks.** After a reply, an error, an early end or a panic, the conversation is deleted. A
//!   generation that still runs is stopped first, because it would go on without its client. What
//!   could not be deleted is in [`Client::leftovers`], and named by [`Error::undeleted`] or, on
//!   drop, in the log. [`Client::delete_leftovers`] tries again.
//! * **Timeouts for streams.** There are separate timeouts for [connecting], [no bytes], [no token]
//!   and the [whole call]. By default no reply is cut because it is long, but a minute without a
//!   byte is an error. A [`CancelHandle`] ends a call from another thread.
//! * **Bounded memory**, whatever a server sends. See [`ErrorKind::TooLarge`].
//! * **No harm to an account.** In a [`Session`] that you give, the client changes no setting but
//!   for [what is necessary](#terms-and-sharing).
//!
//! [connecting]: ClientBuilder::connect_timeout
//! [no bytes]: ClientBuilder::idle_timeout
//! [no token]: ClientBuilder::token_timeout
//! [whole call]: ClientBuilder::total_timeout
//!
//! # Pitfalls of cleaning up on drop
//!
//! * Deleting a conversation takes a request. Dropping [`Tokens`] early can block for up to the
//!   [cleanup timeout](ClientBuilder::cleanup_timeout), 3 s by default.
//! * Destructors do not run when a signal ends the process (Ctrl-C too,
//!   [unless you handle it](#ending-cleanly-on-ctrl-c)), nor with [`std::process::exit`],
//!   `panic = "abort"` or [`std::mem::forget`]. The conversation then stays on the server. To find
//!   it again, choose the [`Session`] yourself and store it.
//! * `let _ = client.stream(…)?` drops the reply at once, so it is stopped and deleted unread.
//! * A conversation whose creation is not answered cannot be deleted, because its id is unknown. A
//!   timeout or cancellation at that moment therefore waits for the response, for up to the cleanup
//!   timeout.
//!
//! # Waiting
//!
//! While a call waits for bytes, it checks its timeouts and its [`CancelHandle`] every 0.1 s. The
//! error names the timeout, its length, and how many tokens had arrived.
//!
//! Not covered are:
//!
//! * name lookup, which only the system can limit;
//! * connecting and sending, which notice a cancellation only when the nearest timeout expires.
//!   Sending may take twice the nearest timeout if the server does not read.
//!
//! # Ending cleanly on Ctrl-C
//!
//! By default, Ctrl-C ends the process at once, and the server goes on generating. Instead, let it
//! set a flag that is the [`CancelHandle`] of the client or of the call. A call that waits notices
//! it within 0.1 s, stops the generation, deletes the conversation, and fails with
//! [`ErrorKind::Cancelled`]. With the crate [`signal-hook`](https://docs.rs/signal-hook) this takes
//! neither a thread nor `unsafe`:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use std::sync::atomic::AtomicBool;
//!
//! use h2o_chat::{CancelHandle, Client, ErrorKind};
//! use signal_hook::consts::SIGINT;
//! use signal_hook::flag;
//!
//! fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
//!     let interrupted = Arc::new(AtomicBool::new(false));
//!     // A second Ctrl-C finds the flag set, and ends the program at once.
//!     flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&interrupted))?;
//!     flag::register(SIGINT, Arc::clone(&interrupted))?;
//!     let handle = CancelHandle::from(interrupted);
//!
//!     let client = Client::builder("http://127.0.0.1:3000").cancel_handle(&handle).build()?;
//!     match client.ask("Why is the sky blue?") {
//!         Ok(text) => println!("{text}"),
//!         Err(error) if error.kind() == ErrorKind::Cancelled => {
//!             println!("{}", error.received());
//!             // The exit code that shells expect after Ctrl-C.
//!             return Ok(ExitCode::from(130));
//!         }
//!         Err(error) => return Err(error.into()),
//!     }
//!     Ok(ExitCode::SUCCESS)
//! }
//! ```
//!
//! The example `ctrl_c` does this token by token. `SIGTERM` can set the same flag.
//!
//! # Terms and sharing
//!
//! Using this crate accepts the server's terms of use in your name, as the protocol requires. As
//! on the service's own page, it also allows sharing conversations with the authors of the model;
//! [`ClientBuilder::share_with_model_authors`] turns that off.
//!
//! In a session that you give, both belong to an account, and the server replaces *all* settings of
//! the account when it is sent any. So the client reads them first. If the terms are accepted
//! already, and sharing is not to be turned off, it posts nothing. Otherwise it posts all settings
//! back with that change only. If it cannot read them, or would lose one, it refuses with
//! [`ErrorKind::Unsupported`]: accept the terms once in the browser then. Listing and deleting never
//! post settings.
//!
//! # Retries
//!
//! Before a reply has begun, a request is retried when no connection could be made, and when the
//! server answers 429 or 503: see [`ClientBuilder::retries`]. No request is repeated that could
//! create a second conversation or generation, and none after a token.
//!
//! Three responses have a remedy, which is tried once: forgotten settings are posted again; a
//! server that considers itself an https server, although the URL says http, gets the `Referer`
//! that it expects; a newer server that refuses the first message gets it in the other of the two
//! formats that there are.
//!
//! # Errors
//!
//! There is one type, [`Error`]. Its [`kind`](Error::kind) is what went wrong, its
//! [`step`](Error::step) where; [`status`](Error::status) and
//! [`server_message`](Error::server_message) are the server's response,
//! [`received`](Error::received) is the text that had been collected, and [`hint`](Error::hint)
//! says what you can do. [`is_retryable`](Error::is_retryable) tells whether the same call may
//! succeed later. `Display` is one line for people.
//!
//! # Proxies
//!
//! By default the proxy of the environment is used, but never for a server on this machine. See
//! [`Proxy`] to set another or none. It may speak `http`, `socks5` or `socks5h`, and ask for a user
//! and password. Every connection is a tunnel through it, also to `http://` servers, so an http
//! proxy must allow `CONNECT` to the server's port.
//!
//! # TLS
//!
//! An `https://` server is verified against the certificates that the system trusts (on Linux, those
//! in `SSL_CERT_FILE` and `SSL_CERT_DIR` if they are set), or against others that you give with
//! `ClientBuilder::root_certificates`. This cannot be turned off. If it fails, the error is
//! [`ErrorKind::Tls`], and nothing has been sent.
//!
//! # Logging
//!
//! This crate logs through the [`log`] crate, with the target `h2o_chat`:
//!
//! * *warn*: a conversation that is left on the server, with its id; a generation that could not be
//!   stopped.
//! * *info*: a retry, and why; settings that are posted again; another model that is asked because
//!   the server does not have the default; parameters that are not sent; a stopped generation that
//!   has not been seen to end.
//! * *debug*: other failures of cleanup.
//!
//! Neither logs nor `Debug` nor `Display` contain prompts, passwords, cookies, sessions or header
//! values. They do contain what the server says: its error messages and the beginning of responses
//! that are not understood.
//!
//! The HTTP client underneath logs with the targets `ureq` and `ureq_proto`. **At the trace level,
//! `ureq_proto` logs everything that is sent and received, passwords and cookies included.** If you
//! want trace logs, exclude it, in the environment for example:
//!
//! ```text
//! RUST_LOG=trace,ureq_proto=debug
//! ```
//!
//! # Features
//!
//! * `rustls` (default): https, and `ClientBuilder::root_certificates`. Without it, `http://` only.
//!
//! # Minimum supported Rust version
//!
//! Rust 1.89. Raising it is a minor release, and in the changelog.

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod api;
mod cancel;
mod client;
mod conversation;
mod decode;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod json;
mod message;
mod reply;
mod request;
mod server;
mod session;
mod shared;
mod text;
mod tokens;

pub use cancel::CancelHandle;
pub use client::{Client, ClientBuilder, DEFAULT_MODEL, PUBLIC_URL};
pub use conversation::Conversation;
pub use conversation::builder::ConversationBuilder;
pub use error::{Error, ErrorKind, Result, Step, Timeout};
pub use http::Proxy;
pub use message::{Message, Role};
pub use reply::{Details, End, Event, Reply, Token};
pub use request::Request;
pub use server::{ConversationSummary, Model, Protocol, ServerInfo};
pub use session::Session;
pub use tokens::Tokens;
