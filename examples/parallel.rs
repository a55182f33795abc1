//! Asks many prompts at once, with threads that share one client, and prints the replies in order.
//! Usage: `parallel [URL [FILE]]`. Each line of the file, or of standard input, is a prompt. Ctrl-C
//! stops all of them. Exits with 1 if a prompt failed.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, atomic::AtomicBool, mpsc};
use std::{env, fs, thread};

use h2o_chat::{CancelHandle, Client, ErrorKind};
use signal_hook::{consts::SIGINT, flag};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("parallel: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or("http://127.0.0.1:3000".into());
    let text = match arguments.next() {
        Some(file) => fs::read_to_string(file)?,
        None => io::read_to_string(io::stdin())?,
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    let handle = CancelHandle::from(interrupted);
    let mut builder = Client::builder(&url).cancel_handle(&handle);
    if let Ok(key) = env::var("H2OGPTE_API_KEY") {
        builder = builder.api_key(key); // The server is h2oGPTe.
    }
    let has_key = env::var_os("H2OGPTE_API_KEY").is_some();
    let client = builder.build()?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let prompts: Vec<&str> = lines.collect();
    // A channel for each answer keeps the answers in the order of the prompts.
    let (senders, answers): (Vec<_>, Vec<_>) = prompts.iter().map(|_| mpsc::channel()).unzip();
    let queue = Mutex::new(prompts.iter().zip(senders));
    let next = || queue.lock().expect("no thread panics with the lock").next();
    let mut is_left = false;
    let outcome = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((prompt, answer)) = next() {
                    answer.send(ask(&client, prompt)).ok();
                }
            });
        }
        let mut code = ExitCode::SUCCESS;
        for (prompt, answer) in prompts.iter().zip(answers) {
            match answer.recv()? {
                Ok(text) => writeln!(io::stdout(), "> {prompt}\n{}\n", text.trim())
                    .inspect_err(|_| handle.cancel())?, // Ends the calls of the other threads.
                Err((error, partial)) => {
                    is_left |= error.maybe_undeleted();
                    if error.kind() == ErrorKind::Cancelled {
                        return Err(error.into());
                    }
                    if !partial.is_empty() {
                        writeln!(io::stdout(), "> {prompt}\n{} [incomplete]\n", partial.trim())?;
                    }
                    eprintln!("{prompt}: {error}");
                    if let Some(hint) = error.hint() {
                        eprintln!("{hint}");
                    }
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    });
    if !has_key && (is_left || !client.leftovers().is_empty()) {
        let (session, name) = (client.session(), client.cookie_name());
        let name = match name.as_str() {
            "hf-chat" => String::new(),
            name => format!(" --cookie-name {name}"),
        };
        let session = session.as_str();
        let url = if url.contains('@') { "'<yours>'" } else { &url }; // It has a password.
        let sweep = format!("sweep -- --url {url} --session {session}{name} --delete");
        eprintln!("to delete what is left: cargo run --example {sweep}");
    }
    outcome
}

/// Asks up to three times if the reply breaks off. That is safe, because the conversation of a failed
/// reply is deleted. Returns the last error with the longest text that had arrived.
fn ask(client: &Client, prompt: &str) -> Result<String, (h2o_chat::Error, String)> {
    let (mut longest, mut attempts) = (String::new(), 0);
    loop {
        attempts += 1;
        let error = match client.ask(prompt) {
            Ok(text) => return Ok(text),
            Err(error) => error,
        };
        if error.received().len() > longest.len() {
            longest = error.received().to_owned();
        }
        let is_broken = matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Generation);
        if !is_broken || attempts == 3 {
            return Err((error, longest));
        }
    }
}
