//! Asks many questions at once, with plain threads that share one client, and prints the answers in order.
//!
//! Without a URL it talks to a stand-in server that it starts itself. The answers go to standard output, each as
//! soon as those before it are there, and everything else to standard error. Ctrl-C stops all of them. Exits with 1
//! if anything failed, 2 if the command line cannot be used, 130 after Ctrl-C.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use h2o_chat::{Client, ErrorKind, Message, Request, Stop};
use serde_json::json;

mod common;

use common::{Failure, Host, Screen, Server, signals, tell, text};

const NAME: &str = "parallel";

const HELP: &str = "\
Usage: parallel [OPTIONS] [FILE]

Each line of the file that is not empty is a prompt; without a file, or with -, standard input is read.
Ctrl-C stops all and deletes the conversations; a second one ends the program at once.

  --threads N     how many are asked at once [4]
  --json          print each answer as a line of JSON: prompt, text, and error if it failed
  --url URL       the server; without, a stand-in is started [H2O_CHAT_URL]
  --model M       the model to ask [H2O_CHAT_MODEL]
  --system TEXT   what the model is told before each prompt
  --session ID    the session to ask in, to find again what was left [H2O_CHAT_SESSION]
  --proxy P       http://, socks5:// or socks5h:// URL, or none
  --help          print this";

struct Options {
    server: Server,
    system: Option<String>,
    threads: NonZeroUsize,
    json: bool,
    file: Option<String>,
}

struct Prompt {
    /// Of the file, counted from 1.
    line: usize,
    text: String,
}

/// What became of a prompt, which is known by its place among them.
type Answer = (usize, h2o_chat::Result<String>);

fn main() -> ExitCode {
    common::start(NAME, HELP, options(), |options| {
        common::finish(NAME, &run(options))
    })
}

fn run(options: &Options) -> Result<(), Failure> {
    let prompts = prompts(options.file.as_deref())?;
    let stop = signals::stop()?;
    let host = Host::of(NAME, &options.server);
    let client = options.server.client(&host).build()?;
    let mut report = Report::new(&prompts, options.json);
    let printed = answer_all(&client, options, &prompts, &stop, &mut report);
    let swept = client.sweep().map(drop).map_err(Failure::from);
    printed?;
    report.finish(&stop).and(swept)
}

fn prompts(file: Option<&str>) -> Result<Vec<Prompt>, Failure> {
    let text = match file {
        None | Some("-") => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map(|_| text).map_err(Failure::Input)?
        }
        Some(path) => {
            fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))?
        }
    };
    let lines = text.lines().enumerate();
    let prompts = lines.map(|(index, text)| Prompt {
        line: index + 1,
        text: text.to_owned(),
    });
    Ok(prompts
        .filter(|prompt| !prompt.text.trim().is_empty())
        .collect())
}

/// Until everything is answered, the stop is set, or the answers cannot be printed.
fn answer_all(
    client: &Client,
    options: &Options,
    prompts: &[Prompt],
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Failure> {
    let queue = Mutex::new(prompts.iter().enumerate());
    let next = || queue.lock().expect("no thread panics with it").next();
    thread::scope(|scope| {
        let (sender, answers) = mpsc::channel();
        for _ in 0..options.threads.get().min(prompts.len()) {
            let sender = sender.clone();
            scope.spawn(move || work(client, options, next, stop, &sender));
        }
        drop(sender);
        let printed = report.take(answers);
        if printed.is_err() {
            stop.stop();
        }
        printed
    })
}

/// What each thread does.
fn work<'a>(
    client: &Client,
    options: &Options,
    next: impl Fn() -> Option<(usize, &'a Prompt)>,
    stop: &Stop,
    answers: &Sender<Answer>,
) {
    while !stop.is_stopped()
        && let Some((index, prompt)) = next()
    {
        let request = match &options.system {
            Some(system) => {
                Request::messages([Message::system(system), Message::user(&prompt.text)])
            }
            None => Request::new(&prompt.text),
        };
        if answers
            .send((index, client.ask(request.stop(stop))))
            .is_err()
        {
            return;
        }
    }
}

/// The answers in order, and what went wrong.
struct Report<'a> {
    prompts: &'a [Prompt],
    json: bool,
    screen: Screen,
    progress: Progress,
    /// Those that came before their turn.
    early: BTreeMap<usize, h2o_chat::Result<String>>,
    printed: usize,
    failures: Vec<String>,
    /// Those that were asked but stopped.
    unanswered: usize,
}

impl<'a> Report<'a> {
    fn new(prompts: &'a [Prompt], json: bool) -> Report<'a> {
        Report {
            prompts,
            json,
            screen: Screen::new(),
            progress: Progress::default(),
            early: BTreeMap::new(),
            printed: 0,
            failures: Vec::new(),
            unanswered: 0,
        }
    }

    fn take(&mut self, answers: Receiver<Answer>) -> Result<(), Failure> {
        self.show_progress();
        for (index, answer) in answers {
            self.early.insert(index, answer);
            self.progress.clear();
            while let Some(answer) = self.early.remove(&self.printed) {
                self.print(&self.prompts[self.printed], answer)?;
                self.printed += 1;
            }
            self.show_progress();
        }
        self.progress.clear();
        Ok(())
    }

    fn print(&mut self, prompt: &Prompt, answer: h2o_chat::Result<String>) -> Result<(), Failure> {
        let Prompt { line, text: asked } = prompt;
        let (text, error) = match answer {
            Ok(text) => (text, None),
            Err(error) => (error.received().to_owned(), Some(error)),
        };
        if self.json {
            let mut object = json!({ "prompt": asked, "text": text });
            if let Some(error) = &error {
                object["error"] = error.to_string().into();
            }
            self.screen.print(&format!("{object}\n"))?;
        } else {
            self.screen
                .print(&format!("== {line}: {asked}\n{text}\n\n"))?;
        }
        match error {
            Some(error) if error.kind() == ErrorKind::Stopped => self.unanswered += 1,
            Some(error) => self.failures.push(format!("line {line}: {error}")),
            None => {}
        }
        Ok(())
    }

    fn show_progress(&mut self) {
        let (done, all) = (self.printed + self.early.len(), self.prompts.len());
        let failed = match self.failures.len() {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        self.progress
            .show(&format!("{done} of {all} answered{failed}"));
    }

    /// Says what went wrong, if anything did.
    fn finish(self, stop: &Stop) -> Result<(), Failure> {
        for failure in &self.failures {
            tell(NAME, failure);
        }
        let all = self.prompts.len();
        if stop.is_stopped() {
            let unanswered = all - self.printed + self.unanswered;
            tell(
                NAME,
                &format!("stopped; {unanswered} of {all} are not answered"),
            );
            return Err(Failure::Interrupted);
        }
        if self.failures.is_empty() {
            return Ok(());
        }
        tell(NAME, &format!("{} of {all} failed", self.failures.len()));
        Err(Failure::Told)
    }
}

/// A line on standard error that is written over, if a person looks at it.
#[derive(Default)]
struct Progress {
    width: usize,
}

impl Progress {
    fn show(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            self.clear();
            self.width = text.len();
            eprint_all(text);
        }
    }

    fn clear(&mut self) {
        if self.width > 0 {
            // With what a terminal shows of a Ctrl-C behind it.
            eprint_all(&format!("\r{:1$}\r", "", self.width + "^C".len()));
            self.width = 0;
        }
    }
}

/// When standard error is gone there is nobody left to tell.
fn eprint_all(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

fn options() -> Result<Option<Options>, Failure> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut options = Options {
        server: Server::from_env()?,
        system: None,
        threads: NonZeroUsize::new(4).expect("4 is not 0"),
        json: false,
        file: None,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("threads") => options.threads = arguments.value()?.parse()?,
            Long("json") => options.json = true,
            Long("system") => options.system = Some(text(arguments.value()?)?),
            Long("help") | Short('h') => return Ok(None),
            Long(name) => match options.server.setting(name) {
                Some(setting) => *setting = Some(text(arguments.value()?)?),
                None => return Err(argument.unexpected().into()),
            },
            Value(file) if options.file.is_none() => options.file = Some(text(file)?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Some(options))
}
