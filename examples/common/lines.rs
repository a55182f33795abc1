//! What a person enters in a terminal, or a pipe brings, line by line.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use super::Failure;
use super::signals::Signals;

const PROMPT: &str = "> ";

/// How often the signals are looked at while a pipe is silent.
const TICK: Duration = Duration::from_millis(100);

pub enum Lines {
    Terminal(Box<Editor<Watcher, DefaultHistory>>),
    Pipe(Receiver<io::Result<String>>),
}

pub enum Entry {
    Line(String),
    /// Ctrl-C, and whether nothing was entered when it was pressed.
    Interrupt {
        at_empty: bool,
    },
    End,
}

impl Lines {
    /// Of standard input, with a prompt and a history if a person sits before it.
    pub fn new() -> Result<Lines, Failure> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let config = Config::builder().auto_add_history(true).build();
            let mut editor = Editor::with_config(config).map_err(unreadable)?;
            editor.set_helper(Some(Watcher::default()));
            Ok(Lines::Terminal(Box::new(editor)))
        } else {
            Ok(Lines::Pipe(piped()))
        }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Lines::Terminal(_))
    }

    pub fn next(&mut self, signals: &Signals) -> Result<Entry, Failure> {
        match self {
            _ if signals.is_over() => Ok(Entry::End),
            // Pressed when there was no reply to end any more.
            _ if signals.presses() > 0 => Ok(Entry::Interrupt { at_empty: true }),
            Lines::Terminal(editor) => entered(editor, signals),
            Lines::Pipe(lines) => brought(lines, signals),
        }
    }
}

fn entered(
    editor: &mut Editor<Watcher, DefaultHistory>,
    signals: &Signals,
) -> Result<Entry, Failure> {
    match signals.deaf(|| editor.readline(PROMPT)) {
        Ok(line) => Ok(Entry::Line(line)),
        Err(ReadlineError::Interrupted) => Ok(Entry::Interrupt {
            at_empty: editor
                .helper()
                .is_some_and(|watcher| watcher.is_empty.get()),
        }),
        Err(ReadlineError::Eof) => Ok(Entry::End),
        // The terminal is gone.
        Err(_) if signals.is_over() => Ok(Entry::End),
        Err(error) => Err(unreadable(error)),
    }
}

fn brought(lines: &Receiver<io::Result<String>>, signals: &Signals) -> Result<Entry, Failure> {
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => return line.map(Entry::Line).map_err(Failure::Input),
            Err(RecvTimeoutError::Disconnected) => return Ok(Entry::End),
            Err(RecvTimeoutError::Timeout) if signals.is_over() => return Ok(Entry::End),
            Err(RecvTimeoutError::Timeout) if signals.presses() > 0 => {
                return Ok(Entry::Interrupt { at_empty: true });
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Read elsewhere, because nothing ends a read.
fn piped() -> Receiver<io::Result<String>> {
    let (sender, lines) = sync_channel(0);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let is_last = line.is_err();
            if sender.send(line).is_err() || is_last {
                return;
            }
        }
    });
    lines
}

fn unreadable(error: ReadlineError) -> Failure {
    Failure::Input(match error {
        ReadlineError::Io(error) => error,
        error => io::Error::other(error),
    })
}

/// Knows whether something is entered, which the editor does not tell after a Ctrl-C.
#[derive(Default)]
pub struct Watcher {
    is_empty: Cell<bool>,
}

impl Hinter for Watcher {
    type Hint = String;

    /// Asked after every change.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.is_empty.set(line.is_empty());
        None
    }
}

impl Completer for Watcher {
    type Candidate = String;
}
impl Highlighter for Watcher {}
impl Validator for Watcher {}
impl Helper for Watcher {}
