//! Asks one question and prints the reply as it arrives: a finished command-line program.
//!
//! The text goes to standard output and everything else to standard error. Without a URL, `ask`
//! starts a stand-in server and asks that one. Exits with 1 after an error, with 2 if the command
//! line is invalid, and with 130 after Ctrl-C.

use std::io::{self, IsTerminal, Read, Write};
use std::iter;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use h2o_chat::{CancelHandle, Client, Event, Request, Tokens};
use signal_hook::{consts, flag};

mod failure;
mod options;
mod output;
#[path = "../../tests/stand_in/mod.rs"]
mod stand_in;
mod waiting;

use failure::{Failure, INTERRUPTED};
use options::{Options, Task};
use output::{Screen, Thoughts, harmless, tell, write};
use stand_in::{Dialect, StandIn};

fn main() -> ExitCode {
    output::show_log();
    let mut answer = Answer::new();
    let options = match Options::parse() {
        Ok(options) => options,
        Err(failure) => return failure::report(&Err(failure)),
    };
    let code = failure::report(&run(&options, &mut answer));
    if let Some(command) = &answer.sweep_command {
        tell(&format!("to delete it: {command}"));
    }
    if options.stats {
        // If standard error is closed too, there is no place to report it.
        drop(writeln!(io::stderr(), "{}", answer.stats()));
    }
    code
}

fn run(options: &Options, answer: &mut Answer) -> Result<(), Failure> {
    if let Task::Print(text) = options.task {
        return write(text).map_err(Failure::Output);
    }
    let stand_in; // Lives until the end of this function.
    let url = if let Some(url) = &options.url {
        url.clone()
    } else {
        let server = StandIn::builder();
        let server = match options.api_key {
            Some(_) => server.dialect(Dialect::H2ogpte),
            None if options.attachments.is_empty() => server,
            None => server.dialect(Dialect::Newest).media_types(&[]),
        };
        stand_in = server.start();
        stand_in.url()
    };
    let client = options.client(&url)?;
    let prompt = match options.task {
        Task::Ask => prompt(&options.words)?,
        _ => String::new(),
    };
    if options.url.is_none() {
        tell(&format!("no URL given, so a stand-in answers at {url}; see --url"));
    }
    match options.task {
        Task::Check => {
            let info = client.server_info()?.to_string();
            return write(&format!("{}\n", harmless(&info))).map_err(Failure::Output);
        }
        Task::ListModels => return list_models(&client),
        Task::Ask | Task::Print(_) => {}
    }
    // Registered after the prompt was read: before that, there is nothing to clean up.
    let request = options.request(prompt);
    let request = request.cancel_handle(&cancel_on_signals().map_err(Failure::Signals)?);
    let request = waiting::show(request);
    answer.start = Instant::now();
    answer.thoughts = options.thinking.then(Thoughts::new);
    let answered = if options.stream {
        stream(&client, request, answer)
    } else {
        whole(&client, request, answer)
    };
    waiting::end();
    if let Some(thoughts) = &mut answer.thoughts {
        thoughts.close();
    }
    // After Ctrl-C, a terminal shows ^C before the cursor.
    let shows_ctrl_c =
        answered.as_ref().is_err_and(Failure::is_cancelled) && io::stdout().is_terminal();
    let closed = answer.screen.close(answered.is_ok() || shows_ctrl_c);
    let left = answered.as_ref().err().and_then(Failure::left_behind);
    // With an API key, the command would delete all of the user's conversations.
    let left = left.filter(|_| options.api_key.is_none());
    answer.sweep_command = left.map(|error| options.sweep_command(&url, &client, error));
    answered.and(closed.map_err(Failure::Output))
}

/// Prints one id on each line.
fn list_models(client: &Client) -> Result<(), Failure> {
    let models = client.list_models()?;
    models.iter().try_for_each(|model| {
        let id = harmless(&model.id).replace('\n', " ");
        write(&format!("{id}\n")).map_err(Failure::Output)
    })
}

fn stream(client: &Client, request: Request, answer: &mut Answer) -> Result<(), Failure> {
    let mut tokens = client.stream(request)?;
    if answer.thoughts.is_none() {
        let written = tokens.write_to(&mut *answer);
        answer.tokens = tokens.token_count();
        return Ok(written?);
    }
    while let Some(token) = answer.next(&mut tokens) {
        if let Err(error) = answer.screen.print(&token?) {
            // Unlike drop, this returns the error if the deletion fails.
            tokens.cancel()?;
            return Err(Failure::Output(error));
        }
    }
    Ok(())
}

/// Prints the whole text at the end of the reply, or the text before an error.
fn whole(client: &Client, request: Request, answer: &mut Answer) -> Result<(), Failure> {
    let mut text = String::new();
    let mut tokens = client.stream(request)?;
    let gathered = iter::from_fn(|| answer.next(&mut tokens)).try_for_each(|token| {
        text.push_str(&token?);
        Ok::<_, h2o_chat::Error>(())
    });
    answer.tokens = tokens.token_count();
    answer.screen.print(&text).map_err(Failure::Output)?;
    Ok(gathered?)
}

/// Reads standard input, unless it is a terminal, and appends the words of the command line.
fn prompt(words: &[String]) -> Result<String, Failure> {
    let mut prompt = String::new();
    if !io::stdin().is_terminal() {
        let read = io::stdin().read_to_string(&mut prompt);
        read.map_err(Failure::Input)?;
    }
    if !prompt.is_empty() && !prompt.ends_with('\n') && !words.is_empty() {
        prompt.push('\n');
    }
    prompt.push_str(&words.join(" "));
    if prompt.trim().is_empty() {
        return Err(Failure::Usage("the prompt is empty".to_owned()));
    }
    Ok(prompt)
}

/// Returns a handle that Ctrl-C and the other signals cancel. A second Ctrl-C ends the program at
/// once.
fn cancel_on_signals() -> io::Result<CancelHandle> {
    let flag = Arc::new(AtomicBool::new(false));
    // Registered first, because the first Ctrl-C must find the flag unset.
    flag::register_conditional_shutdown(consts::SIGINT, INTERRUPTED.into(), Arc::clone(&flag))?;
    flag::register(consts::SIGINT, Arc::clone(&flag))?;
    flag::register(consts::SIGTERM, Arc::clone(&flag))?;
    #[cfg(unix)]
    flag::register(consts::SIGHUP, Arc::clone(&flag))?;
    Ok(CancelHandle::from(flag))
}

/// The answer on the screen, and what is printed after it.
struct Answer {
    screen: Screen,
    /// `None` if they are not shown.
    thoughts: Option<Thoughts>,
    tokens: u64,
    start: Instant,
    first: Option<Duration>,
    /// The command that deletes the conversation, if it is still on the server.
    sweep_command: Option<String>,
}

impl Answer {
    fn new() -> Answer {
        Answer {
            screen: Screen::new(),
            thoughts: None,
            tokens: 0,
            start: Instant::now(),
            first: None,
            sweep_command: None,
        }
    }

    /// The next token of the answer. Prints the reasoning before it, if it is wanted.
    fn next(&mut self, tokens: &mut Tokens) -> Option<h2o_chat::Result<String>> {
        let token = match &mut self.thoughts {
            None => tokens.next()?,
            Some(thoughts) => loop {
                match tokens.next_event()? {
                    Ok(Event::Reasoning(thought)) => thoughts.print(&thought),
                    Ok(Event::Token(token)) if !token.special && !token.text.is_empty() => {
                        thoughts.close();
                        break Ok(token.text);
                    }
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            },
        };
        self.tokens = tokens.token_count();
        if token.is_ok() {
            self.begin();
        }
        Some(token)
    }

    /// Called with the first text.
    fn begin(&mut self) {
        self.first.get_or_insert_with(|| self.start.elapsed());
    }

    fn stats(&self) -> String {
        let tokens = self.tokens;
        let first = self.first.map(|first| first.as_millis().to_string());
        let first = first.as_deref().unwrap_or("null");
        let seconds = self.start.elapsed().as_secs_f64();
        format!(r#"{{"tokens":{tokens},"first_token_ms":{first},"seconds":{seconds:.3}}}"#)
    }
}

/// Prints text as it arrives.
impl Write for Answer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.begin();
        let whole = std::str::from_utf8(text).map_err(io::Error::other)?;
        self.screen.print(whole)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Printing has flushed.
    }
}
