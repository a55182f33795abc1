//! Ends cleanly on Ctrl-C, even before the first token: stops the generation and deletes the
//! conversation. A second Ctrl-C ends the program at once.
//!
//! Usage: `ctrl_c [URL [PROMPT]]`. Exits with 1 after an error, and with 130 after Ctrl-C.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use h2o_chat::{CancelHandle, Client, ErrorKind};
use signal_hook::{consts::SIGINT, flag};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("ctrl_c: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or("http://127.0.0.1:3000".into());
    let prompt = arguments.next().unwrap_or("Count to a thousand.".into());

    let interrupted = Arc::new(AtomicBool::new(false));
    // The order matters: at the first Ctrl-C the flag is still unset, so the program continues.
    flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&interrupted))?;
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    let handle = CancelHandle::from(interrupted);
    let mut builder = Client::builder(&url).cancel_handle(&handle);
    if let Ok(key) = env::var("H2OGPTE_API_KEY") {
        builder = builder.api_key(key); // The server is h2oGPTe.
    }
    let client = builder.build()?;

    let reply = client.stream(prompt);
    let printed = reply.and_then(|mut tokens| tokens.write_to(io::stdout()));
    writeln!(io::stdout())?;
    match printed {
        Err(error) if error.kind() == ErrorKind::Cancelled => {
            if let Some(id) = error.undeleted() {
                eprintln!("ctrl_c: conversation {id} is still on the server");
            }
            Ok(ExitCode::from(130)) // What a shell expects after Ctrl-C.
        }
        printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
    }
}
