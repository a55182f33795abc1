//! Runs the stand-in server alone, for trying things by hand.
//!
//! Enter shows what is going on in it; the end of standard input (Ctrl-D) ends it.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

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

    let mut port: u16 = 0;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = arguments.value()?.parse()?,
            Long("help") => {
                println!("Usage: stand_in [--port PORT]");
                return Ok(());
            }
            _ => return Err(argument.unexpected()),
        }
    }
    let server = stand_in::StandIn::builder().port(port);
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
