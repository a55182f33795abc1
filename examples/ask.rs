//! Asks one question and prints the reply as it arrives.
//!
//! Without a URL it talks to a stand-in server that it starts itself. The text goes to standard output and
//! everything else to standard error. Exits with 1 after an error, 2 if the command line cannot be used, and 130
//! after Ctrl-C.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use h2o_chat::{Client, Message, Request};
use serde_json::Value;

mod common;

use common::notes::Notes;
use common::{Failure, Host, Screen, Server, harmless, signals, text};

const HELP: &str = "\
Usage: ask [OPTIONS] [PROMPT…]

Standard input, if it is not a terminal, comes before the prompt: in a loop over lines
give it </dev/null. Ctrl-C stops the reply and deletes the conversation; a second one
ends the program at once.

  --url URL          the server; without, a stand-in is started [H2O_CHAT_URL]
  --model M          the model to ask [H2O_CHAT_MODEL]
  --session ID       the session to ask in, to find again what was left [H2O_CHAT_SESSION]
  --system TEXT      what the model is told before the prompt
  --param NAME=JSON  a parameter of the generation, temperature=0.7 for example
  --proxy P          http://, socks5:// or socks5h:// URL, or none
  --silence SECONDS  how long the server may be silent [60]
  --deadline SECONDS how long the whole call may take
  --retries N        how often to try again before a reply has begun [2]
  --check            say what the server is, and what is wrong with it; asks nothing
  --no-stream        print the reply when it is complete
  --stats            end with a line of JSON on standard error
  --help             print this";

struct Options {
    server: Server,
    system: Option<String>,
    params: Vec<(String, Value)>,
    silence: Duration,
    deadline: Option<Duration>,
    retries: u32,
    check: bool,
    stream: bool,
    stats: bool,
    prompt: Vec<String>,
}

static NOTES: Notes = Notes("ask");

fn main() -> ExitCode {
    NOTES.show();
    common::start("ask", HELP, options(), |options| {
        let mut answer = Answer::new();
        let outcome = run(options, &mut answer);
        let code = common::finish("ask", &outcome);
        if options.stats {
            // When even standard error is gone there is nobody left to tell.
            drop(writeln!(io::stderr(), "{}", answer.stats()));
        }
        code
    })
}

fn run(options: &Options, answer: &mut Answer) -> Result<(), Failure> {
    let host = Host::of("ask", &options.server);
    let client = options
        .server
        .client(&host)
        .silence_timeout(options.silence)
        .deadline(options.deadline)
        .retries(options.retries)
        .build()?;
    if options.check {
        return check(&client);
    }
    ask(&client, options, answer)
}

fn check(client: &Client) -> Result<(), Failure> {
    let info = client.check()?;
    common::write(&format!("{}\n", harmless(&info.to_string())))
}

fn ask(client: &Client, options: &Options, answer: &mut Answer) -> Result<(), Failure> {
    let prompt = prompt(&options.prompt)?;
    let mut request = match &options.system {
        Some(system) => Request::messages([Message::system(system), Message::user(prompt)]),
        None => Request::new(prompt),
    };
    for (name, value) in &options.params {
        request = request.param(name, value.clone());
    }
    // Not before the prompt is there: whoever waits for that has nothing to tidy up.
    request = request.stop(&signals::stop()?);
    answer.start = Instant::now();
    let answered = if options.stream {
        stream(client, request, answer)
    } else {
        whole(client, request, answer)
    };
    // On a terminal the cursor stands behind a ^C.
    let is_interrupted = answered.as_ref().is_err_and(Failure::is_interruption);
    let closed = answer.screen.close(answered.is_ok() || is_interrupted);
    answered.and(closed)
}

fn stream(client: &Client, request: Request, answer: &mut Answer) -> Result<(), Failure> {
    let mut tokens = client.generate(request)?;
    while let Some(token) = tokens.next() {
        if let Err(failure) = answer.print(&token?) {
            // Dropping the tokens would do the same, but could not say that it failed.
            tokens.delete()?;
            return Err(failure);
        }
    }
    Ok(())
}

fn whole(client: &Client, request: Request, answer: &mut Answer) -> Result<(), Failure> {
    let mut text = String::new();
    let gather = |token: h2o_chat::Result<String>| {
        let token = token?;
        answer.count();
        text.push_str(&token);
        Ok::<_, h2o_chat::Error>(())
    };
    let gathered = client.generate(request)?.try_for_each(gather);
    answer.screen.print(&text)?;
    Ok(gathered?)
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

/// The answer on the screen, and what is to be known about it.
struct Answer {
    screen: Screen,
    tokens: u64,
    start: Instant,
    first: Option<Duration>,
}

impl Answer {
    fn new() -> Answer {
        Answer {
            screen: Screen::new(),
            tokens: 0,
            start: Instant::now(),
            first: None,
        }
    }

    fn print(&mut self, token: &str) -> Result<(), Failure> {
        self.count();
        self.screen.print(token)
    }

    fn count(&mut self) {
        self.first.get_or_insert_with(|| self.start.elapsed());
        self.tokens += 1;
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

fn options() -> Result<Option<Options>, Failure> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};

    let mut options = Options {
        server: Server::from_env()?,
        system: None,
        params: Vec::new(),
        silence: Duration::from_secs(60),
        deadline: None,
        retries: 2,
        check: false,
        stream: true,
        stats: false,
        prompt: Vec::new(),
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("system") => options.system = Some(text(arguments.value()?)?),
            Long("param") => options.params.push(param(&text(arguments.value()?)?)?),
            Long("silence") => options.silence = seconds(&text(arguments.value()?)?)?,
            Long("deadline") => options.deadline = Some(seconds(&text(arguments.value()?)?)?),
            Long("retries") => options.retries = arguments.value()?.parse()?,
            Long("check") => options.check = true,
            Long("no-stream") => options.stream = false,
            Long("stats") => options.stats = true,
            Long("help") | Short('h') => return Ok(None),
            Long(name) => match options.server.setting(name) {
                Some(setting) => *setting = Some(text(arguments.value()?)?),
                None => return Err(argument.unexpected().into()),
            },
            Value(word) => options.prompt.push(text(word)?),
            Short(_) => return Err(argument.unexpected().into()),
        }
    }
    Ok(Some(options))
}

fn param(text: &str) -> Result<(String, Value), Failure> {
    let usage = |why| Failure::Usage(format!("--param {text}: {why}"));
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| usage("has to be NAME=JSON".to_owned()))?;
    let value = serde_json::from_str(value).map_err(|error| usage(format!("no JSON: {error}")))?;
    Ok((name.to_owned(), value))
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| Failure::Usage(format!("{text} is not a number of seconds")))
}
