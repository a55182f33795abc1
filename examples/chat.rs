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

use h2o_chat::{CancelHandle, Client, Conversation, ErrorKind};
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
    let (given, key) = (env::var("H2O_CHAT_SESSION"), env::var("H2OGPTE_API_KEY"));
    if let Ok(session) = &given {
        builder = builder.session(session.as_str());
    } else if let Ok(key) = &key {
        builder = builder.api_key(key); // The server is h2oGPTe.
    }
    let client = builder.build()?;
    let outcome = talk(client.conversation()?, &interrupted);
    // Where a session was given or there is a key, `sweep` would delete your other conversations.
    if given.is_err() && key.is_err() && !client.leftovers().is_empty() {
        let url = if url.contains('@') { "'<yours>'" } else { &url }; // It has a password.
        let (session, name) = (client.session(), client.cookie_name());
        let session = format!("--session {} --cookie-name {name}", session.as_str());
        eprintln!("to delete it: cargo run --example sweep -- --url {url} {session} --delete");
    }
    outcome
}

/// Sends each line as a message. The conversation is deleted in the end, after an error too.
fn talk(mut chat: Conversation, interrupted: &AtomicBool) -> Result<ExitCode, Box<dyn Error>> {
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
        let reply = chat.stream(line);
        let printed = reply.and_then(|mut tokens| tokens.write_to(io::stdout()));
        writeln!(io::stdout())?;
        let Err(error) = printed else {
            continue;
        };
        if error.kind() != ErrorKind::Cancelled {
            eprintln!("chat: {error}");
            error.hint().inspect(|hint| eprintln!("{hint}"));
            code = ExitCode::FAILURE;
        }
    }
    chat.delete()?;
    Ok(code)
}
