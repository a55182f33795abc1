//! The errors of `ask`, with their messages and exit codes.

use std::error::Error;
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

    /// Returns whether the reader of the output, `head` for example, has closed it, and nothing is
    /// left behind.
    fn is_closed_output(&self) -> bool {
        let error = match self {
            Failure::Output(error) => Some(error),
            Failure::Chat(error) if error.kind() == ErrorKind::Write => {
                error.source().and_then(|source| source.downcast_ref())
            }
            _ => None,
        };
        error.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe)
            && self.left_behind().is_none()
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
        _ if failure.is_closed_output() => return ExitCode::SUCCESS,
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
        Failure::Output(error) => (format!("standard output: {error}"), 1),
        Failure::Signals(error) => (format!("signals: {error}"), 1),
    };
    tell(&message);
    ExitCode::from(code)
}

fn with_hint(error: &h2o_chat::Error) -> String {
    let message = error.to_string();
    match error.hint() {
        Some(hint) => format!("{}. {}", message.trim_end_matches('.'), with_options(hint)),
        None => message,
    }
}

/// Replaces the methods of `ClientBuilder` in a hint by the options of `ask`.
fn with_options(hint: &str) -> String {
    let words = "give the authority's certificate to `ClientBuilder::root_certificates`, or set \
                 SSL_CERT_FILE to its path";
    let hint = hint.replace(words, "set SSL_CERT_FILE to the path of the authority's certificate");
    let mut parts = hint.split("`ClientBuilder::");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (method, rest) = part.split_once('`').unwrap_or((part, ""));
        text = text + "--" + &method.replace('_', "-") + rest;
    }
    text
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
