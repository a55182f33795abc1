//! A blocking client for H2O.ai's chats and for chat-ui servers, Hugging Face's open-source chat.
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
//! [`Tokens`]: a plain iterator over the pieces of text as they arrive. The conversation is deleted
//! from the server when the iterator ends, fails or is dropped. To ask more than once, use a
//! [`Conversation`]. There is no async runtime and no background thread: everything happens on the
//! calling thread.
//!
//! Three things to know first:
//!
//! * The client accepts the server's terms of use in your name, and allows sharing conversations
//!   with the authors of the model. See [Terms and sharing](#terms-and-sharing).
//! * A classic server ends a reply after 1024 tokens and drops the beginning of a prompt longer
//!   than 2048 tokens, unless [`Request::max_new_tokens`] and [`Request::truncate`] say otherwise.
//!   With [`Request::details`], the [`finish_reason`](Details::finish_reason) of a reply that was
//!   cut is `length`.
//! * Deleting takes a request, so dropping a reply early can block for up to 3 s. See
//!   [Pitfalls](#pitfalls-of-cleaning-up-on-drop).
//!
//! # Servers
//!
//! chat-ui is open source and widely self-hosted. There are two generations of it, and H2O.ai's
//! present product:
//!
//! * *classic* servers, chat-ui up to 0.6. H2O.ai ran one for the public in 2023, at
//!   [`PUBLIC_URL`].
//! * newer ones, from chat-ui 0.8 to the newest.
//! * h2oGPTe, at `https://h2ogpte.genai.h2o.ai` and in private installations. It takes an
//!   [API key](ClientBuilder::api_key) in place of a session.
//!
//! With an API key the client talks to h2oGPTe. Otherwise it detects the generation of chat-ui.
//! Differences between the [`Protocol`]s are documented where they apply, above all at the
//! parameters of a [`Request`] and the [`Details`] of a reply.
//!
//! # Guarantees
//!
//! * **No silent truncation.** A reply is complete only when the server says so with its last
//!   event. The end of the connection proves nothing, and an error inside a reply with status 200
//!   is an error. See [`ErrorKind`].
//! * **No lost text.** The tokens before an error have been returned, or are in
//!   [`Error::received`], without its [reasoning](Event::Reasoning).
//! * **No leaks.** After a reply, an error, an early end or a panic, the conversation is deleted. A
//!   generation that is still running is stopped first, because it would continue without its
//!   client. A conversation that could not be deleted is listed in [`Client::leftovers`];
//!   [`Error::undeleted`] names it or, on drop, the log. [`Client::delete_leftovers`] tries again.
//! * **Timeouts for streams.** There are separate timeouts for [connecting], [no bytes], [no token]
//!   and the [whole call]. By default a reply may take any time, but a minute without a byte is an
//!   error. A [`CancelHandle`] ends a call from another thread, and [`Request::on_wait`] from the
//!   same one.
//! * **Bounded memory**, whatever a server sends. See [`ErrorKind::TooLarge`].
//! * **No harm to an account.** In a [`Session`] that you give, the client changes no setting
//!   except [what is necessary](#terms-and-sharing).
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
//! * `let _ = client.stream(…)?` drops the reply at once: it is stopped and deleted unread.
//! * If the response to creating a conversation is lost, the conversation cannot be deleted,
//!   because its id is unknown. A timeout or cancellation at that moment therefore waits for the
//!   response, for up to the cleanup timeout.
//!
//! # Waiting
//!
//! While a call waits for bytes, it checks its timeouts and its [`CancelHandle`] every 0.1 s. The
//! error names the timeout, its length, and how many tokens had arrived.
//! [`Request::on_wait`] sets a callback for these waits, to show a spinner for example.
//!
//! Not covered are:
//!
//! * name lookup, which only the system can limit;
//! * connecting and sending, which notice a cancellation only when the next timeout expires.
//!   Sending may take twice that timeout if the server does not read.
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
//! [`ClientBuilder::share_with_model_authors`] turns that off. h2oGPTe has neither.
//!
//! A session that you give may belong to an account. Whenever the server receives a setting, it
//! replaces *all* settings of the account, so the client reads them first. If the terms are already
//! accepted and sharing need not be turned off, it posts nothing. Otherwise it posts all settings
//! back with only that change. If it cannot read them, or would lose one, the call fails with
//! [`ErrorKind::Unsupported`]: accept the terms once in the browser. Listing and deleting never
//! post settings.
//!
//! # Retries
//!
//! Until a reply begins, a request is retried if no connection could be made, or if the server
//! answers 429 or 503: see [`ClientBuilder::retries`]. A request that could create a second
//! conversation or generation is never repeated, and nothing is repeated after a token.
//!
//! Three refusals are retried once, with a change. If the server has forgotten the settings, they
//! are posted again. If it considers itself an https server although the URL says http, it gets the
//! `Referer` that it expects. If a newer server refuses the first message, it gets the message in
//! the other of its two formats.
//!
//! # Errors
//!
//! There is one type, [`Error`]. Its [`kind`](Error::kind) says what went wrong, and its
//! [`step`](Error::step) says where. [`status`](Error::status) and
//! [`server_message`](Error::server_message) are the server's response.
//! [`received`](Error::received) is the text that had been collected.
//! [`is_retryable`](Error::is_retryable) tells whether the same call may succeed later, and
//! [`hint`](Error::hint) says what you can do. `Display` is one line for people.
//!
//! # Proxies
//!
//! By default the client uses the proxy of the environment, but never for a server on this machine.
//! [`Proxy`] sets another or none. The protocols are `http`, `socks5` and `socks5h`, with or
//! without user and password. Every connection is a tunnel through the proxy, even to `http://`
//! servers, so an http proxy must allow `CONNECT` to the server's port.
//!
//! # TLS
//!
//! An `https://` server is verified against the certificates that the system trusts (on Linux,
//! those in `SSL_CERT_FILE` and `SSL_CERT_DIR` if they are set), or against others that you give
//! with `ClientBuilder::root_certificates`. This cannot be turned off. If it fails, the error is
//! [`ErrorKind::Tls`], and nothing has been sent.
//!
//! # Testing your program
//!
//! Let your code take the URL of the server, and give it the URL of a fake one. This one is
//! complete; paste it into your tests. It speaks the *classic* protocol:
//!
//! ```
//! use std::io::{self, BufRead, BufReader, Read, Write};
//! use std::net::TcpListener;
//! use std::thread;
//!
//! const PRIME: &str = r#"{"token":{"text":"7"},"generated_text":"7"}"#;
//! const TRUNCATED: &str = r#"{"token":{"text":"7"}}"#;
//! const FAILED: &str = r#"{"error":"out of memory"}"#;
//!
//! /// Starts a server that answers each prompt with the next of these events. Returns its URL.
//! fn fake_server(events: &'static [&'static str]) -> io::Result<String> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let url = format!("http://{}", listener.local_addr()?);
//!     thread::spawn(move || {
//!         let mut events = events.iter();
//!         for mut socket in listener.incoming().flatten() {
//!             let mut request = BufReader::new(&socket);
//!             let (mut head, mut length) = (String::new(), 0);
//!             while request.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {
//!                 let line = head.lines().last().unwrap_or("").to_lowercase();
//!                 if let Some(value) = line.strip_prefix("content-length: ") {
//!                     length = value.parse().unwrap_or(0);
//!                 }
//!             }
//!             io::copy(&mut request.take(length), &mut io::sink()).ok();
//!             let body = if head.starts_with("POST /conversation ") {
//!                 r#"{"conversationId":"0123456789abcdef01234567"}"#.to_owned()
//!             } else if head.starts_with("POST /conversation/") && !head.contains("/stop-gen") {
//!                 format!("data:{}\n\n", events.next().unwrap_or(&FAILED))
//!             } else {
//!                 r#"{"type":"redirect","location":"/"}"#.to_owned() // settings, stop, deletion
//!             };
//!             let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
//!             write!(socket, "{head} {}\r\n\r\n{body}", body.len()).ok();
//!         }
//!     });
//!     Ok(url)
//! }
//!
//! // The code to test.
//! fn prime(url: &str) -> Result<u32, Box<dyn std::error::Error>> {
//!     let text = h2o_chat::Client::new(url)?.ask("Name a prime.")?;
//!     Ok(text.trim().parse()?)
//! }
//!
//! // In a test:
//! # fn main() -> io::Result<()> {
//! let url = fake_server(&[PRIME, TRUNCATED, FAILED])?;
//! assert_eq!(prime(&url).unwrap(), 7);
//! assert!(prime(&url).unwrap_err().to_string().contains("without its last event"));
//! assert!(prime(&url).unwrap_err().to_string().contains("out of memory"));
//! # Ok(())
//! # }
//! ```
//!
//! The last two are errors of the kinds [`Truncated`](ErrorKind::Truncated) and
//! [`Generation`](ErrorKind::Generation). For a server that is not there, take the address of a
//! listener that has been dropped. A function that takes an error can be tested with one made of a
//! kind, which has no status and no text of a server:
//!
//! ```
//! use h2o_chat::{Error, ErrorKind, Timeout};
//!
//! fn advice(error: &Error) -> &str {
//!     if error.is_retryable() { "try again later" } else { "give up" }
//! }
//!
//! assert_eq!(advice(&Error::from(ErrorKind::Timeout(Timeout::Idle))), "try again later");
//! assert_eq!(advice(&Error::from(ErrorKind::Truncated)), "give up");
//! ```
//!
//! # Logging
//!
//! This crate logs through the [`log`] crate, with the target `h2o_chat`:
//!
//! * *warn*: a conversation that is left on the server, with its id; a generation that could not be
//!   stopped.
//! * *info*: a retry, and its reason; settings that are posted again; a different model, because
//!   the server does not have the default; parameters that are not sent; a stopped generation that
//!   may still be running.
//! * *debug*: other failures of cleanup.
//!
//! Neither logs nor `Debug` nor `Display` contain prompts, passwords, API keys, cookies, sessions
//! or header values. They do contain text of the server: its error messages, and the beginning of
//! unexpected responses.
//!
//! The HTTP client underneath logs with the targets `ureq` and `ureq_proto`. **At the trace level,
//! `ureq_proto` logs everything that is sent and received, passwords and cookies included.** To get
//! trace logs without it, use for example:
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
//! Rust 1.85. Raising it takes a minor release and an entry in the changelog.

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod api;
mod attachment;
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
mod wait;

pub use attachment::Attachment;
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
pub use wait::Wait;
