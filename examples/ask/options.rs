//! The command line of `ask`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use h2o_chat::{Attachment, Client, Error, Message, Proxy, Request};
use lexopt::prelude::{Long, Short, Value};

use crate::failure::Failure;

const HELP: &str = "\
Asks a chat-ui or h2oGPTe server one question, and prints the reply as it arrives.

Usage: ask [OPTIONS] [PROMPT…]

The prompt is standard input, unless that is a terminal, followed by the words of the
command line. In a loop over lines, use </dev/null. Ctrl-C stops the reply and deletes
the conversation. A second Ctrl-C ends the program at once.

  --url URL          the server; without it, a stand-in server is started [H2O_CHAT_URL]
  -m, --model M      the model [H2O_CHAT_MODEL]
  --api-key KEY      the API key of an h2oGPTe server; with a session, the variable is
                     ignored [H2OGPTE_API_KEY]
  --session ID       the session, of a login or an earlier run [H2O_CHAT_SESSION]
  --cookie-name NAME the name of the session's cookie [hf-chat]
  --header 'NAME: VALUE'
                     a header for every request; repeatable
  -s, --system TEXT  the system prompt
  --attach FILE      a file that is sent with the prompt; repeatable
  --param NAME=JSON  a parameter of the generation, for example temperature=0.7
  --proxy P          an http://, socks5:// or socks5h:// URL, or none
  --idle-timeout S   the maximum seconds without a byte from the server [60]
  --total-timeout S  the maximum seconds for the whole call
  --retries N        how often to retry a request before the reply begins [2]
  --check            describe the server, or what is wrong with it, and ask nothing
  --list-models      print the ids of the server's models, and ask nothing
  --thinking         print the model's reasoning on standard error
  --no-stream        print the reply when it is complete
  --stats            print token count and times as JSON on standard error at the end
  -V, --version      print the version
  -h, --help         print this
";

const VERSION: &str = concat!("ask ", env!("CARGO_PKG_VERSION"), "\n");

pub enum Task {
    Ask,
    Check,
    ListModels,
    Print(&'static str),
}

pub struct Options {
    pub url: Option<String>,
    model: Option<String>,
    pub api_key: Option<String>,
    session: Option<String>,
    cookie_name: Option<String>,
    headers: Vec<(String, String)>,
    system: Option<String>,
    params: Vec<(String, serde_json::Value)>,
    pub attachments: Vec<Attachment>,
    proxy: Proxy,
    idle_timeout: Duration,
    total_timeout: Option<Duration>,
    retries: u32,
    pub task: Task,
    pub stream: bool,
    pub thinking: bool,
    pub stats: bool,
    pub words: Vec<String>,
}

impl Options {
    /// Reads the environment and the command line.
    pub fn parse() -> Result<Options, Failure> {
        let mut options = Options {
            url: variable("H2O_CHAT_URL")?,
            model: variable("H2O_CHAT_MODEL")?,
            api_key: None,
            session: variable("H2O_CHAT_SESSION")?,
            cookie_name: None,
            headers: Vec::new(),
            system: None,
            params: Vec::new(),
            attachments: Vec::new(),
            proxy: Proxy::env(),
            idle_timeout: Duration::from_secs(60),
            total_timeout: None,
            retries: 2,
            task: Task::Ask,
            stream: true,
            thinking: false,
            stats: false,
            words: Vec::new(),
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("url") => options.url = Some(text("--url", arguments.value()?)?),
                Long("model") | Short('m') => {
                    options.model = Some(text("--model", arguments.value()?)?);
                }
                Long("api-key") => options.api_key = Some(text("--api-key", arguments.value()?)?),
                Long("session") => options.session = Some(text("--session", arguments.value()?)?),
                Long("cookie-name") => {
                    options.cookie_name = Some(text("--cookie-name", arguments.value()?)?);
                }
                Long("header") => {
                    options.headers.push(header(&text("--header", arguments.value()?)?)?);
                }
                Long("system") | Short('s') => {
                    options.system = Some(text("--system", arguments.value()?)?);
                }
                Long("param") => options.params.push(param(&text("--param", arguments.value()?)?)?),
                Long("attach") => options.attachments.push(attachment(&arguments.value()?)?),
                Long("proxy") => options.proxy = proxy(text("--proxy", arguments.value()?)?),
                Long("idle-timeout") => {
                    options.idle_timeout = seconds("--idle-timeout", arguments.value()?)?;
                }
                Long("total-timeout") => {
                    options.total_timeout = Some(seconds("--total-timeout", arguments.value()?)?);
                }
                Long("retries") => options.retries = retries(arguments.value()?)?,
                Long("check") => options.task = Task::Check,
                Long("list-models") => options.task = Task::ListModels,
                Long("thinking") => options.thinking = true,
                Long("no-stream") => options.stream = false,
                Long("stats") => options.stats = true,
                Long("version") | Short('V') => {
                    options.task = Task::Print(VERSION);
                    return Ok(options);
                }
                Long("help") | Short('h') => {
                    options.task = Task::Print(HELP);
                    return Ok(options);
                }
                Value(word) => options.words.push(text("the prompt", word)?),
                Long(_) | Short(_) => return Err(argument.unexpected().into()),
            }
        }
        if options.api_key.is_none() && options.session.is_none() && options.cookie_name.is_none() {
            options.api_key = variable("H2OGPTE_API_KEY")?;
        }
        Ok(options)
    }

    pub fn client(&self, url: &str) -> Result<Client, Failure> {
        let mut builder = Client::builder(url)
            .proxy(self.proxy.clone())
            .idle_timeout(self.idle_timeout)
            .total_timeout(self.total_timeout)
            .retries(self.retries);
        if let Some(model) = &self.model {
            builder = builder.model(model);
        }
        if let Some(key) = &self.api_key {
            builder = builder.api_key(key);
        }
        if let Some(session) = &self.session {
            builder = builder.session(session.as_str());
        }
        if let Some(name) = &self.cookie_name {
            builder = builder.cookie_name(name);
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        Ok(builder.build()?)
    }

    /// The command that deletes what the client could not delete. It does not repeat a session or a
    /// password of the user, because these are credentials.
    pub fn sweep_command(&self, url: &str, client: &Client, error: &Error) -> String {
        let has_cookie = |(name, _): &(String, String)| name.eq_ignore_ascii_case("cookie");
        let clients = client.session();
        let session = error.undeleted_session().unwrap_or(&clients);
        let session = if self.session.is_some() || self.headers.iter().any(has_cookie) {
            "'<yours>'"
        } else {
            session.as_str()
        };
        let url = if url.contains('@') { "'<yours>'" } else { url };
        let name = client.cookie_name();
        let name = match name.as_str() {
            "hf-chat" => String::new(),
            name => format!(" --cookie-name {name}"),
        };
        format!("cargo run --example sweep -- --url {url} --session {session}{name} --delete")
    }

    pub fn request(&self, prompt: String) -> Request {
        let request = match &self.system {
            Some(system) => Request::messages([Message::system(system), Message::user(prompt)]),
            None => Request::new(prompt),
        };
        let attachments = self.attachments.iter().cloned();
        let request = attachments.fold(request, Request::attach);
        let params = self.params.iter();
        params.fold(request, |request, (name, value)| request.param(name, value.clone()))
    }
}

/// Returns the value of an environment variable, unless it is empty.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    let value = env::var_os(name).filter(|value| !value.is_empty());
    let value = value.map(OsString::into_string).transpose();
    value.map_err(|_| Failure::Usage(format!("{name} is not UTF-8")))
}

/// Converts an argument. The error does not show the value, which may be a secret.
fn text(name: &str, value: OsString) -> Result<String, Failure> {
    value.into_string().map_err(|_| Failure::Usage(format!("{name} is not UTF-8")))
}

/// Parses `NAME: VALUE`. The error does not show the header, which may be a secret. Without quotes,
/// the shell would make its value a part of the prompt, so an empty value is refused.
fn header(text: &str) -> Result<(String, String), Failure> {
    match text.split_once(':').map(|(name, value)| (name, value.trim())) {
        Some((name, value)) if !name.contains(char::is_whitespace) && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(Failure::Usage("--header must be 'NAME: VALUE'".to_owned())),
    }
}

fn param(text: &str) -> Result<(String, serde_json::Value), Failure> {
    let usage = |why| Failure::Usage(format!("--param {text}: {why}"));
    let (name, value) =
        text.split_once('=').ok_or_else(|| usage("must be NAME=JSON".to_owned()))?;
    let value = serde_json::from_str(value).map_err(|error| usage(format!("no JSON: {error}")))?;
    Ok((name.to_owned(), value))
}

fn proxy(text: String) -> Proxy {
    match text.as_str() {
        "none" => Proxy::none(),
        _ => Proxy::url(text),
    }
}

fn attachment(path: &OsStr) -> Result<Attachment, Failure> {
    let usage = |error| Failure::Usage(format!("--attach: {error}"));
    Attachment::from_path(path).map_err(usage)
}

fn seconds(option: &str, value: OsString) -> Result<Duration, Failure> {
    let text = text(option, value)?;
    let seconds = text.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.filter(|duration| !duration.is_zero());
    let usage = || Failure::Usage(format!("{option} {text}: must be a positive number of seconds"));
    duration.ok_or_else(usage)
}

fn retries(value: OsString) -> Result<u32, Failure> {
    let text = text("--retries", value)?;
    let usage = |_| Failure::Usage(format!("--retries {text}: must be a whole number"));
    text.parse().map_err(usage)
}
