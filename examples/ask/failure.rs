//! The errors of `ask`, with their messages and exit codes.

use std::io;
use std::process::ExitCode;

use h2o_chat::ErrorKind;

use crate::output::tell;

/// The exit code that a shell expects after Ctrl-C.
pub const INTERRUPTED: u8 = 130;

pub enum Failure {
    /// The command line is invalid.
    Usage(String),
    Chat(h2o_chat::Error),
    Input(io::Error),
    Output(io::Error),
    Signals(io::Error),
}

impl Failure {
    /// The error, if a conversation is, or may be, left on the server.
    pub fn left_behind(&self) -> Option<&h2o_chat::Error> {
        match self {
            Failure::Chat(error) if error.undeleted().is_some() || error.maybe_undeleted() => {
                Some(error)
            }
            _ => None,
        }
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(self, Failure::Chat(error) if error.kind() == ErrorKind::Cancelled)
    }
}

/// Prints what went wrong, if anything did, and returns the exit code.
pub fn report(outcome: &Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    let (message, code) = match failure {
        Failure::Chat(error) if failure.is_cancelled() => {
            if failure.left_behind().is_none() {
                return ExitCode::from(INTERRUPTED);
            }
            (error.to_string(), INTERRUPTED)
        }
        Failure::Chat(error) if error.kind() == ErrorKind::InvalidInput => (error.to_string(), 2),
        Failure::Chat(error) => (with_hint(error), 1),
        Failure::Usage(message) => (format!("{message}; see --help"), 2),
        Failure::Input(error) => (format!("standard input: {error}"), 1),
        // The reader of the output, `head` for example, has closed it.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Failure::Output(error) => (format!("standard output: {error}"), 1),
        Failure::Signals(error) => (format!("signals: {error}"), 1),
    };
    tell(&message);
    ExitCode::from(code)
}

fn with_hint(error: &h2o_chat::Error) -> String {
    let message = error.to_string();
    match error.hint() {
        Some(hint) => format!("{}. {}", message.trim_end_matches('.'), in_options(hint)),
        None => message,
    }
}

/// Replaces the methods in a hint by the options of `ask`.
fn in_options(hint: &str) -> String {
    const OPTIONS: [(&str, &str); 6] = [
        ("`ClientBuilder::session`", "--session"),
        ("`ClientBuilder::header`", "--header"),
        ("`ClientBuilder::api_key`", "--api-key"),
        ("`ClientBuilder::idle_timeout`", "--idle-timeout"),
        ("`ClientBuilder::cookie_name`", "--cookie-name"),
        ("give the authority's certificate to `ClientBuilder::root_certificates`, or set", "set"),
    ];
    let replace = |hint: String, (method, option): (&str, &str)| hint.replace(method, option);
    let hint = OPTIONS.into_iter().fold(hint.to_owned(), replace);
    // A certificate file has no option.
    hint.replace("SSL_CERT_FILE to its path", "SSL_CERT_FILE to the path of its certificate")
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
