//! Asks one question and prints the reply as it arrives.
//!
//! Without a URL it talks to a stand-in server that it starts itself. The text goes to standard output and
//! everything else to standard error. Exits with 1 after an error, 2 if the command line cannot be used, and 130
//! after Ctrl-C.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use h2o_chat::{Client, ErrorKind, Message, Proxy, Request, Stop};
use serde_json::Value;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

const HELP: &str = "\
Usage: ask [OPTIONS] [PROMPT…]

Standard input, if it is not a terminal, comes before the prompt. Ctrl-C stops the
reply and deletes the conversation; a second one ends the program at once.

  --url URL          the server; without, a stand-in is started [H2O_CHAT_URL]
  --model M          the model to ask [H2O_CHAT_MODEL]
  --system TEXT      what the model is told before the prompt
  --param NAME=JSON  a parameter of the generation, temperature=0.7 for example
  --proxy P          http://, socks5:// or socks5h:// URL, or none
  --silence SECONDS  how long the server may be silent [60]
  --retries N        how often to try again before a reply has begun [2]
  --check            say what the server is, and what is wrong with it; asks nothing
  --no-stream        print the reply when it is complete
  --stats            end with a line of JSON on standard error
  --help             print this";

struct Options {
    url: Option<String>,
    model: Option<String>,
    system: Option<String>,
    params: Vec<(String, Value)>,
    proxy: Proxy,
    silence: Duration,
    retries: u32,
    check: bool,
    stream: bool,
    stats: bool,
    prompt: Vec<String>,
}

enum Failure {
    /// The command line cannot be used.
    Usage(String),
    Chat(h2o_chat::Error),
    /// What is wrong with the server, and what can be done about it.
    Check(h2o_chat::Error),
    Input(io::Error),
    Output(io::Error),
    Signal(io::Error),
}

/// What a shell expects of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            complain(writeln!(io::stdout(), "{HELP}"));
            return ExitCode::SUCCESS;
        }
        Err(failure) => return report(&failure),
    };
    let mut screen = Screen::new();
    let outcome = run(&options, &mut screen);
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has had enough: what was asked for is done.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => report(&failure),
    };
    if options.stats {
        complain(writeln!(io::stderr(), "{}", screen.stats()));
    }
    code
}

fn run(options: &Options, screen: &mut Screen) -> Result<(), Failure> {
    // Lives as long as the answer is read.
    let stand_in = options.url.is_none().then(stand_in::StandIn::start);
    let url = match &stand_in {
        Some(server) => {
            let url = server.url();
            let note = "no URL given, so a stand-in answers";
            complain(writeln!(io::stderr(), "ask: {note} at {url}; see --url"));
            url
        }
        None => options.url.clone().unwrap_or_default(),
    };
    let mut builder = Client::builder(&url)
        .proxy(options.proxy.clone())
        .silence_timeout(options.silence)
        .retries(options.retries);
    if let Some(model) = &options.model {
        builder = builder.model(model);
    }
    let client = builder.build()?;
    if options.check {
        return check(&client);
    }
    ask(&client, options, screen)
}

fn check(client: &Client) -> Result<(), Failure> {
    let info = client.check().map_err(Failure::Check)?;
    writeln!(io::stdout(), "{}", harmless(&info.to_string())).map_err(Failure::Output)
}

fn ask(client: &Client, options: &Options, screen: &mut Screen) -> Result<(), Failure> {
    let prompt = prompt(&options.prompt)?;
    let mut request = match &options.system {
        Some(system) => Request::messages([Message::system(system), Message::user(prompt)]),
        None => Request::new(prompt),
    };
    for (name, value) in &options.params {
        request = request.param(name, value.clone());
    }
    // Not before the prompt is there: whoever waits for that has nothing to tidy up.
    let stop = stop_on_ctrl_c().map_err(Failure::Signal)?;
    request = request.stop(&stop);
    screen.start = Instant::now();
    let answered = if options.stream {
        stream(client, request, screen)
    } else {
        whole(client, request, screen)
    };
    // On a terminal the cursor stands behind a ^C.
    let is_interrupted = answered.as_ref().is_err_and(Failure::is_interruption);
    let closed = screen.close(answered.is_ok() || is_interrupted);
    answered.and(closed.map_err(Failure::Output))
}

/// A stop that Ctrl-C makes.
fn stop_on_ctrl_c() -> io::Result<Stop> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // First the second Ctrl-C, which finds the flag set: it ends the program at once.
    let code = INTERRUPTED.into();
    flag::register_conditional_shutdown(SIGINT, code, Arc::clone(&interrupted))?;
    flag::register(SIGINT, Arc::clone(&interrupted))?;
    Ok(Stop::from(interrupted))
}

fn stream(client: &Client, request: Request, screen: &mut Screen) -> Result<(), Failure> {
    let mut tokens = client.generate(request)?;
    while let Some(token) = tokens.next() {
        if let Err(error) = screen.print(&token?) {
            // Dropping the tokens would do the same, but could not say that it failed.
            tokens.delete()?;
            return Err(Failure::Output(error));
        }
    }
    Ok(())
}

fn whole(client: &Client, request: Request, screen: &mut Screen) -> Result<(), Failure> {
    match client.ask(request) {
        Ok(text) => screen.print(&text).map_err(Failure::Output),
        Err(error) => {
            screen.print(error.received()).map_err(Failure::Output)?;
            Err(error.into())
        }
    }
}

/// Standard input, unless it is a terminal, and then the words of the command line.
fn prompt(words: &[String]) -> Result<String, Failure> {
    let mut prompt = String::new();
    if !io::stdin().is_terminal() {
        io::stdin()
            .read_to_string(&mut prompt)
            .map_err(Failure::Input)?;
    }
    if !prompt.is_empty() && !prompt.ends_with('\n') && !words.is_empty() {
        prompt.push('\n');
    }
    prompt.push_str(&words.join(" "));
    Ok(prompt)
}

/// Standard output, with what is to be known about what went there.
struct Screen {
    is_terminal: bool,
    ends_in_newline: bool,
    tokens: u64,
    start: Instant,
    first: Option<Duration>,
}

impl Screen {
    fn new() -> Screen {
        Screen {
            is_terminal: io::stdout().is_terminal(),
            ends_in_newline: false,
            tokens: 0,
            start: Instant::now(),
            first: None,
        }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.first.get_or_insert_with(|| self.start.elapsed());
        self.tokens += 1;
        self.ends_in_newline = text.ends_with('\n');
        let mut out = io::stdout().lock();
        if self.is_terminal {
            out.write_all(harmless(text).as_bytes())?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        out.flush()
    }

    /// Ends the text with a newline, unless there is neither a text nor a reply.
    fn close(&mut self, complete: bool) -> io::Result<()> {
        if self.ends_in_newline || (self.tokens == 0 && !complete) {
            return Ok(());
        }
        writeln!(io::stdout())
    }

    fn stats(&self) -> String {
        let tokens = self.tokens;
        let first = self
            .first
            .map_or("null".to_owned(), |first| first.as_millis().to_string());
        let seconds = self.start.elapsed().as_secs_f64();
        format!(r#"{{"tokens":{tokens},"first_token_ms":{first},"seconds":{seconds:.3}}}"#)
    }
}

/// What a terminal would obey is shown as a picture of it; what would turn the direction of the rest, as missing.
fn harmless(text: &str) -> String {
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

fn options() -> Result<Option<Options>, Failure> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut options = Options {
        url: from_env("H2O_CHAT_URL")?,
        model: from_env("H2O_CHAT_MODEL")?,
        system: None,
        params: Vec::new(),
        proxy: Proxy::env(),
        silence: Duration::from_secs(60),
        retries: 2,
        check: false,
        stream: true,
        stats: false,
        prompt: Vec::new(),
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("url") => options.url = Some(text(arguments.value()?)?),
            Long("model") => options.model = Some(text(arguments.value()?)?),
            Long("system") => options.system = Some(text(arguments.value()?)?),
            Long("param") => options.params.push(param(&text(arguments.value()?)?)?),
            Long("proxy") => options.proxy = proxy(&text(arguments.value()?)?),
            Long("silence") => options.silence = seconds(&text(arguments.value()?)?)?,
            Long("retries") => options.retries = arguments.value()?.parse()?,
            Long("check") => options.check = true,
            Long("no-stream") => options.stream = false,
            Long("stats") => options.stats = true,
            Long("help") | Short('h') => return Ok(None),
            Value(word) => options.prompt.push(text(word)?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// What an environment variable says, if it says anything.
fn from_env(name: &str) -> Result<Option<String>, Failure> {
    let value = std::env::var_os(name).map(text).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}

fn text(value: OsString) -> Result<String, Failure> {
    let usage = |value: OsString| Failure::Usage(format!("{} is not UTF-8", value.display()));
    value.into_string().map_err(usage)
}

fn param(text: &str) -> Result<(String, Value), Failure> {
    let usage = |why| Failure::Usage(format!("--param {text}: {why}"));
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| usage("has to be NAME=JSON".to_owned()))?;
    let value = serde_json::from_str(value).map_err(|error| usage(format!("no JSON: {error}")))?;
    Ok((name.to_owned(), value))
}

fn proxy(text: &str) -> Proxy {
    match text {
        "none" => Proxy::none(),
        url => Proxy::url(url),
    }
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| Failure::Usage(format!("--silence {text}: not a number of seconds")))
}

fn report(failure: &Failure) -> ExitCode {
    let (message, code) = match failure {
        Failure::Chat(error) if failure.is_interruption() => {
            // As it was wished, unless something is left of it.
            if error.undeleted().is_none() && !error.maybe_undeleted() {
                return ExitCode::from(INTERRUPTED);
            }
            (error.to_string(), INTERRUPTED)
        }
        Failure::Usage(message) => (format!("{message}; see --help"), 2),
        Failure::Chat(error) if error.kind() == ErrorKind::Input => (error.to_string(), 2),
        Failure::Chat(error) => (error.to_string(), 1),
        Failure::Check(error) => {
            let hint = error.hint().unwrap_or("Nothing more is known about it.");
            (format!("{error}. {hint}"), 1)
        }
        Failure::Input(error) => (format!("standard input: {error}"), 1),
        Failure::Output(error) => (format!("standard output: {error}"), 1),
        Failure::Signal(error) => (format!("Ctrl-C: {error}"), 1),
    };
    let line = harmless(&message).replace('\n', " ");
    complain(writeln!(io::stderr(), "ask: {line}"));
    ExitCode::from(code)
}

/// When even standard error is gone there is nobody left to tell.
fn complain(written: io::Result<()>) {
    drop(written);
}

impl Failure {
    fn is_interruption(&self) -> bool {
        matches!(self, Failure::Chat(error) if error.kind() == ErrorKind::Stopped)
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
