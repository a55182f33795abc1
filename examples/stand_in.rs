//! Runs the stand-in server on its own, to try things by hand.
//!
//! Enter prints its counts; the end of standard input (Ctrl-D) ends it.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use stand_in::{Dialect, StandIn};

const HELP: &str = "\
Usage: stand_in [OPTIONS]

Starts the stand-in server, and prints its URL and the prompts that choose a fault. It
ends when its standard input ends. To run it in the background, use
`tail -f /dev/null | stand_in &`.

  --port PORT        the port on this machine; by default a free one
  --dialect DIALECT  the protocol of the server:
                       classic  chat-ui up to v0.6 (the default)
                       v0.7     chat-ui v0.7, which the client refuses
                       json     chat-ui v0.8, messages in JSON
                       v0.8.4   chat-ui v0.8.4 to v0.9.1, which ignore stops
                       form     chat-ui v0.9.2 to v0.9.4, messages in forms
                       v0.9.5   chat-ui v0.9.5, which stops a reply only while it is read
                       newest   chat-ui v0.9.6 and later
                       h2ogpte  h2oGPTe; its API keys begin with sk-
  --login            require a login; nobody can log in
  --expects-https    consider itself an https server, as chat-ui does without ORIGIN
  --help             print this";

/// The models that README names.
const MODELS: [&str; 3] =
    ["h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1", "other/model", "my/model"];

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

    let mut port = 0;
    let mut server = StandIn::builder().models(&MODELS).media_types(&[]);
    server = server.stop_delay(Duration::from_millis(100));
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = arguments.value()?.parse()?,
            Long("dialect") => {
                server = server.dialect(arguments.value()?.parse_with(Dialect::from_name)?);
            }
            Long("login") => server = server.requires_login(),
            Long("expects-https") => server = server.https_referer(),
            Long("help") => {
                println!("{HELP}");
                return Ok(());
            }
            _ => return Err(argument.unexpected()),
        }
    }
    let server = server.port(port).try_start();
    let server = server.map_err(|error| format!("port {port}: {error}"))?;
    println!("{}", server.url());
    println!("\nThe first word of a prompt can choose what happens:");
    for plan in stand_in::NAMED {
        println!("  {:<20}{}", plan.word, plan.about);
    }
    println!("\nEnter prints the server's counts, Ctrl-D ends it.");
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        println!("{:?}", server.counts());
    }
    Ok(())
}
