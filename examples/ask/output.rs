//! Standard output and standard error of `ask`. No text from a server can control the terminal.

use std::env;
use std::io::{self, IsTerminal, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

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

    pub fn print(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        self.ends_in_newline = text.ends_with('\n');
        if self.is_terminal { write(&harmless(text)) } else { write(text) }
    }

    /// Ends the text with a newline, an empty text only `if_empty`.
    pub fn close(&mut self, if_empty: bool) -> io::Result<()> {
        if self.ends_in_newline || (self.is_empty && !if_empty) { Ok(()) } else { write("\n") }
    }
}

/// Prints reasoning on standard error, dimmed on a terminal unless `NO_COLOR` is set. Ignores
/// errors, because standard error may be closed.
pub struct Thoughts {
    is_terminal: bool,
    is_dimmed: bool,
    is_open: bool,
}

impl Thoughts {
    pub fn new() -> Thoughts {
        let is_terminal = io::stderr().is_terminal();
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Thoughts { is_terminal, is_dimmed: is_terminal && !no_color, is_open: false }
    }

    pub fn print(&mut self, thought: &str) {
        // White space at the beginning is only the model's habit.
        let thought = if self.is_open { thought } else { thought.trim_start() };
        if thought.is_empty() {
            return;
        }
        waiting::end();
        self.is_open = true;
        let thought = if self.is_terminal { harmless(thought) } else { thought.to_owned() };
        let (dim, normal) = if self.is_dimmed { ("\x1b[2m", "\x1b[22m") } else { ("", "") };
        drop(write!(io::stderr(), "{dim}{thought}{normal}"));
    }

    /// Ends the reasoning with a newline, if there was any.
    pub fn close(&mut self) {
        if self.is_open {
            self.is_open = false;
            drop(writeln!(io::stderr()));
        }
    }
}

/// Writes to standard output and flushes it.
pub fn write(text: &str) -> io::Result<()> {
    waiting::end();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
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
