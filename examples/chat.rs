//! Holds a conversation: each line of standard input is a message, and the replies stream to
//! standard output.
//!
//! Usage: `chat [URL]`, with your session in `H2O_CHAT_SESSION` if you have one. Ctrl-C ends the
//! current reply. The end of the input (Ctrl-D) deletes the conversation. Exits with 1 if a message
//! failed.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use h2o_chat::{CancelHandle, Client, ErrorKind};
use signal_hook::{consts::SIGINT, flag};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("chat: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or("http://127.0.0.1:3000".into());
    let interrupted = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    let handle = CancelHandle::from(Arc::clone(&interrupted));
    let mut builder = Client::builder(&url).cancel_handle(&handle);
    if let Ok(session) = env::var("H2O_CHAT_SESSION") {
        builder = builder.session(session);
    } else if let Ok(key) = env::var("H2OGPTE_API_KEY") {
        builder = builder.api_key(key); // The server is h2oGPTe.
    }
    let has_session = env::var_os("H2O_CHAT_SESSION").is_some();
    let client = builder.build()?;
    let mut conversation = client.conversation()?;
    let mut code = ExitCode::SUCCESS;
    let prompt = if io::stdin().is_terminal() { "> " } else { "" };
    let mut lines = io::stdin().lines();
    loop {
        eprint!("{prompt}");
        let Some(line) = lines.next().transpose()? else {
            break;
        };
        if line.trim().is_empty() {
            continue;
        }
        interrupted.store(false, Ordering::Relaxed); // An earlier Ctrl-C does not end this reply.
        let reply = conversation.stream(line);
        let printed = reply.and_then(|mut tokens| tokens.write_to(io::stdout()));
        writeln!(io::stdout())?;
        let is_cancelled = |error: &h2o_chat::Error| error.kind() == ErrorKind::Cancelled;
        if let Some(error) = printed.err().filter(|error| !is_cancelled(error)) {
            eprintln!("chat: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("{hint}");
            }
            code = ExitCode::FAILURE;
        }
    }
    let deleted = conversation.delete();
    if !client.leftovers().is_empty() && env::var_os("H2OGPTE_API_KEY").is_none() {
        let (session, name) = (client.session(), client.cookie_name());
        let session = if has_session { "'<yours>'" } else { session.as_str() };
        let url = if url.contains('@') { "'<yours>'" } else { &url }; // It has a password.
        let name = match name.as_str() {
            "hf-chat" => String::new(),
            name => format!(" --cookie-name {name}"),
        };
        let sweep = format!("sweep -- --url {url} --session {session}{name} --delete");
        eprintln!("to delete what is left: cargo run --example {sweep}");
    }
    deleted?;
    Ok(code)
}
