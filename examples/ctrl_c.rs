//! Ends cleanly on Ctrl-C: whether the first token is still awaited or the reply is under way, its generation is
//! stopped and the conversation deleted. A second Ctrl-C ends the program at once.
//!
//! Asks the server whose URL is the first argument what the second one says; without them, a stand-in server that
//! it starts itself for a reply without end.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use h2o_chat::{Client, ErrorKind, Request, Stop};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

/// What a shell expects of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ctrl_c: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let stop = stop_on_ctrl_c()?;
    let mut arguments = env::args().skip(1);
    // Lives as long as the answer is read.
    let stand_in = stand_in::StandIn::start();
    let url = arguments.next().unwrap_or_else(|| stand_in.url());
    let prompt = arguments.next().unwrap_or_else(|| "/slow".to_owned());

    let client = Client::new(&url)?;
    let request = Request::new(prompt).stop(&stop);
    let answered = client
        .generate(request)
        .and_then(|mut tokens| tokens.write_to(io::stdout()));
    writeln!(io::stdout())?;
    match answered {
        Err(error) if error.kind() == ErrorKind::Stopped => {
            if let Some(id) = error.undeleted() {
                eprintln!("ctrl_c: conversation {id} is left on the server");
            }
            Ok(ExitCode::from(INTERRUPTED))
        }
        answered => Ok(answered.map(|()| ExitCode::SUCCESS)?),
    }
}

/// A stop that Ctrl-C makes.
fn stop_on_ctrl_c() -> io::Result<Stop> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // First the second Ctrl-C, which finds the flag set: it ends the program at once.
    let code = INTERRUPTED.into();
    flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&interrupted))?;
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    Ok(Stop::from(interrupted))
}
