//! Measures the cost of this crate. Each figure is measured in the same run as its yardstick,
//! usually the crate or system call underneath.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;

use h2o_chat::{Client, Proxy};

mod cargo;
mod crowd;
mod decoding;
mod latency;
mod memory;
mod raw;
mod ready;
mod rounds;
mod size;
mod system;
mod table;
mod tokens;
mod trips;

#[path = "../../tests/example/mod.rs"]
mod example;
#[path = "../../tests/stand_in/mod.rs"]
mod stand_in;

use table::{Row, Table};

const HELP: &str = "\
Usage: cargo bench -- [OPTIONS] [ROW…]

Rows: decoding latency trips memory crowd size; all of them by default.

  --quick   take few samples, only to see that everything works
  --strict  exit with 1 if a row misses its goal
  --help    print this";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures one topic; a quick run takes fewer samples.
type Measure = fn(quick: bool) -> Outcome<Vec<Row>>;

const MEASURES: [(&str, Measure); 6] = [
    ("decoding", decoding::rows),
    ("latency", latency::rows),
    ("trips", trips::rows),
    ("memory", memory::rows),
    ("crowd", crowd::rows),
    ("size", size::rows),
];

#[derive(Default)]
struct Options {
    names: Vec<String>,
    quick: bool,
    strict: bool,
    help: bool,
    /// The role of this process, if a measuring process has started it: see `crowd::play`.
    role: Option<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    if options.help {
        println!("{HELP}");
        return Ok(());
    }
    match &options.role {
        Some(role) => crowd::play(role, &options.names),
        None => measure(options),
    }
}

fn measure(options: &Options) -> Outcome<()> {
    let mut table = Table(Vec::new());
    let mut is_whole = true;
    for (name, rows) in MEASURES {
        if !options.names.is_empty() && !options.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("measuring: {name}");
        match rows(options.quick) {
            Ok(rows) => table.0.extend(rows),
            Err(error) => {
                is_whole = false;
                table.0.push(Row::new(name, format!("not measured: {error}")));
            }
        }
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    writeln!(io::stdout(), "\n{cores} cores, {}\n\n{table}", system::processor())?;
    if !is_whole {
        return Err("not everything could be measured".into());
    }
    if options.strict && table.0.iter().any(Row::missed) {
        return Err("a row misses its goal".into());
    }
    Ok(())
}

fn options() -> Outcome<Options> {
    use lexopt::prelude::{Long, Value, ValueExt};

    let mut options = Options::default();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            // Cargo adds this option.
            Long("bench") => {}
            Long("quick") => options.quick = true,
            Long("strict") => options.strict = true,
            Long("help") => options.help = true,
            Long("role") => options.role = Some(arguments.value()?.string()?),
            Value(name) => options.names.push(name.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let known = |name: &String| MEASURES.iter().any(|(known, _)| known == name);
    match options.names.iter().find(|name| !known(name)) {
        Some(name) if options.role.is_none() => {
            Err(format!("there is no row {name}; see --help").into())
        }
        _ => Ok(options),
    }
}

fn client(server: SocketAddr) -> Outcome<Client> {
    let client = Client::builder(&format!("http://{server}")).proxy(Proxy::none());
    Ok(client.build()?)
}
