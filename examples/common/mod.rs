//! What the examples have in common: the options that name a server, a stand-in where none is named, what is
//! printed, and how a program ends.
#![allow(dead_code, reason = "each example uses its own part")]

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use h2o_chat::{Client, ClientBuilder, ErrorKind, Proxy};

pub mod lines;
pub mod notes;
pub mod signals;
#[path = "../../tests/stand_in/mod.rs"]
pub mod stand_in;

/// Why a program ends early.
pub enum Failure {
    /// The command line cannot be used.
    Usage(String),
    Chat(h2o_chat::Error),
    Input(io::Error),
    Output(io::Error),
    Signals(io::Error),
    /// By a signal, as it was wished.
    Interrupted,
    /// It has been told of already.
    Told,
}

/// What a shell expects of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

impl Failure {
    pub fn is_interruption(&self) -> bool {
        matches!(self, Failure::Chat(error) if error.kind() == ErrorKind::Stopped)
    }
}

/// Where the server is, and as whom it is spoken to.
pub struct Server {
    pub url: Option<String>,
    pub model: Option<String>,
    pub session: Option<String>,
    proxy: Option<String>,
}

impl Server {
    pub fn from_env() -> Result<Server, Failure> {
        Ok(Server {
            url: from_env("H2O_CHAT_URL")?,
            model: from_env("H2O_CHAT_MODEL")?,
            session: from_env("H2O_CHAT_SESSION")?,
            proxy: None,
        })
    }

    /// What an option sets, if it is one of these.
    pub fn setting(&mut self, option: &str) -> Option<&mut Option<String>> {
        match option {
            "url" => Some(&mut self.url),
            "model" => Some(&mut self.model),
            "session" => Some(&mut self.session),
            "proxy" => Some(&mut self.proxy),
            _ => None,
        }
    }

    pub fn client(&self, host: &Host) -> ClientBuilder {
        let mut builder = Client::builder(&host.url()).proxy(match self.proxy.as_deref() {
            None => Proxy::env(),
            Some("none") => Proxy::none(),
            Some(url) => Proxy::url(url),
        });
        if let Some(model) = &self.model {
            builder = builder.model(model);
        }
        if let Some(session) = &self.session {
            builder = builder.session(session.as_str());
        }
        builder
    }
}

/// The server to talk to.
pub enum Host {
    Named(String),
    /// Lives as long as this.
    StandIn(stand_in::StandIn),
}

impl Host {
    /// The one that is named, or else a stand-in.
    pub fn of(program: &str, server: &Server) -> Host {
        if let Some(url) = &server.url {
            return Host::Named(url.clone());
        }
        let server = stand_in::StandIn::start();
        let note = "no URL given, so a stand-in answers at";
        tell(program, &format!("{note} {}; see --url", server.url()));
        Host::StandIn(server)
    }

    pub fn url(&self) -> String {
        match self {
            Host::Named(url) => url.clone(),
            Host::StandIn(server) => server.url(),
        }
    }
}

/// Standard output, with what is to be known about what went there.
pub struct Screen {
    pub is_terminal: bool,
    /// What was printed since the last `close` ends in a newline.
    ends_in_newline: bool,
    /// Nothing was printed since the last `close`.
    pub is_empty: bool,
}

impl Screen {
    pub fn new() -> Screen {
        Screen {
            is_terminal: io::stdout().is_terminal(),
            ends_in_newline: false,
            is_empty: true,
        }
    }

    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        self.ends_in_newline = text.ends_with('\n');
        if self.is_terminal {
            write(&harmless(text))
        } else {
            write(text)
        }
    }

    /// Ends the text with a newline, unless there is neither a text nor a reply.
    pub fn close(&mut self, complete: bool) -> Result<(), Failure> {
        let has_end = self.ends_in_newline || (self.is_empty && !complete);
        self.ends_in_newline = false;
        self.is_empty = true;
        if has_end { Ok(()) } else { write("\n") }
    }
}

/// To standard output, at once.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(Failure::Output)
}

/// One line on standard error. When even that is gone there is nobody left to tell.
pub fn tell(program: &str, message: &str) {
    let line = harmless(message).replace('\n', " ");
    drop(writeln!(io::stderr(), "{program}: {line}"));
}

/// What a terminal would obey is shown as a picture of it; what would turn the direction of the rest, as missing.
pub fn harmless(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\u{0}'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        _ => c,
    };
    text.chars().map(picture).collect()
}

/// What an argument says.
pub fn text(value: OsString) -> Result<String, Failure> {
    let usage = |value: OsString| Failure::Usage(format!("{} is not UTF-8", value.display()));
    value.into_string().map_err(usage)
}

/// What an environment variable says, if it says anything.
fn from_env(name: &str) -> Result<Option<String>, Failure> {
    let value = std::env::var_os(name).map(text).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}

/// Runs a program with its options, or without them prints what they are.
pub fn start<T>(
    program: &str,
    help: &str,
    options: Result<Option<T>, Failure>,
    run: impl FnOnce(&T) -> ExitCode,
) -> ExitCode {
    match options {
        Ok(Some(options)) => run(&options),
        Ok(None) => finish(program, &write(&format!("{help}\n"))),
        Err(failure) => finish(program, &Err(failure)),
    }
}

/// Says what went wrong, if anything did: 1 after an error, 2 if what was given cannot be used, 130 after Ctrl-C.
pub fn finish(program: &str, outcome: &Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    let (message, code) = match failure {
        Failure::Interrupted => return ExitCode::from(INTERRUPTED),
        Failure::Chat(error) if failure.is_interruption() => {
            // As it was wished, unless something is left of it.
            if error.undeleted().is_none() && !error.maybe_undeleted() {
                return ExitCode::from(INTERRUPTED);
            }
            (error.to_string(), INTERRUPTED)
        }
        Failure::Usage(message) => (format!("{message}; see --help"), 2),
        Failure::Chat(error) if error.kind() == ErrorKind::Input => (error.to_string(), 2),
        Failure::Chat(error) => (told(error), 1),
        Failure::Input(error) => (format!("standard input: {error}"), 1),
        // Whoever reads the output has had enough: what was asked for is done.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Failure::Output(error) => (format!("standard output: {error}"), 1),
        Failure::Signals(error) => (format!("signals: {error}"), 1),
        Failure::Told => return ExitCode::FAILURE,
    };
    tell(program, &message);
    ExitCode::from(code)
}

/// What went wrong, and what can be done about it.
fn told(error: &h2o_chat::Error) -> String {
    let message = error.to_string();
    match error.hint() {
        Some(hint) => format!("{}. {hint}", message.trim_end_matches('.')),
        None => message,
    }
}

impl From<h2o_chat::Error> for Failure {
    fn from(error: h2o_chat::Error) -> Failure {
        Failure::Chat(error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Failure {
        Failure::Usage(error.to_string())
    }
}
