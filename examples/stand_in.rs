//! Runs the stand-in server alone, for trying things by hand.
//!
//! Enter shows what is going on in it; the end of standard input (Ctrl-D) ends it.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use stand_in::{Dialect, StandIn};

const HELP: &str = "\
Usage: stand_in [OPTIONS]

Says where it is and which prompts choose what happens. Ends with its standard input:
in the background it wants one that stays open, `tail -f /dev/null | stand_in &`.

  --port PORT        the port on this machine; any that is free by default
  --dialect DIALECT  the generation of the server, or another:
                       classic  chat-ui to v0.6, the default
                       v0.7     which the client refuses
                       json     v0.8, messages in JSON
                       v0.8.4   v0.8.4 to v0.9.1, which ignore stops
                       form     v0.9.2 to v0.9.4, messages in forms
                       v0.9.5   which stops only what is being read
                       newest   v0.9.6 and later
                       h2ogpte  h2oGPTe; its API keys begin with sk-
  --help             print this";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stand_in: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), lexopt::Error> {
    use lexopt::prelude::{Long, ValueExt};

    let (mut port, mut dialect) = (0, Dialect::Classic);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = arguments.value()?.parse()?,
            Long("dialect") => dialect = arguments.value()?.parse_with(Dialect::from_name)?,
            Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(argument.unexpected()),
        }
    }
    let server = StandIn::builder().port(port).dialect(dialect);
    let server = server.stop_delay(Duration::from_millis(100)).try_start();
    let server = server.map_err(|error| format!("port {port}: {error}"))?;
    println!("{}", server.url());
    println!("\nA prompt that begins with one of these words chooses what happens:");
    for plan in stand_in::NAMED {
        println!("  {:<20}{}", plan.word, plan.about);
    }
    println!("\nEnter shows what is going on, Ctrl-D ends the server.");
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        println!("{:?}", server.counts());
    }
    Ok(())
}
