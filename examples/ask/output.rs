//! Standard output and standard error of `ask`. No text from a server can control the terminal.

use std::io::{self, IsTerminal, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::failure::Failure;
use crate::waiting;

/// Prints the text of a reply on standard output.
pub struct Screen {
    is_terminal: bool,
    is_empty: bool,
    ends_in_newline: bool,
}

impl Screen {
    pub fn new() -> Screen {
        Screen { is_terminal: io::stdout().is_terminal(), is_empty: true, ends_in_newline: false }
    }

    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        self.ends_in_newline = text.ends_with('\n');
        if self.is_terminal { write(&harmless(text)) } else { write(text) }
    }

    /// Ends the text with a newline. An empty text gets one only if it is complete.
    pub fn close(&mut self, complete: bool) -> Result<(), Failure> {
        if self.ends_in_newline || (self.is_empty && !complete) { Ok(()) } else { write("\n") }
    }
}

/// Writes to standard output and flushes it.
pub fn write(text: &str) -> Result<(), Failure> {
    waiting::end();
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(Failure::Output)
}

/// Prints one line on standard error. Ignores errors, because standard error may be closed.
pub fn tell(message: &str) {
    let line = harmless(message).replace('\n', " ");
    waiting::remove();
    drop(writeln!(io::stderr(), "ask: {line}"));
}

/// Replaces the characters that control a terminal, or change the direction of text, by visible
/// ones. Newlines and tabs stay.
pub fn harmless(text: &str) -> String {
    let visible = |c: char| match c {
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
    text.chars().map(visible).collect()
}

/// Prints the library's log messages on standard error, retries for example.
pub fn show_log() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("h2o_chat") && metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            tell(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
