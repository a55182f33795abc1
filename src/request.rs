//! What is asked: the prompt, or the messages it is made of, and how the reply is to be generated.
//!
//! Knows nothing of servers; how a request travels is the protocol's business.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::message::{Message, Role, joined};
use crate::stop::Stop;

/// What to ask, and how the reply is to be generated.
///
/// A plain `&str` or `String` is a request; so is a list of messages. The rest has defaults.
///
/// ```
/// use h2o_chat::{Message, Request};
///
/// let request = Request::messages([
///     Message::system("Answer in one sentence."),
///     Message::user("Why is the sky blue?"),
/// ])
/// .temperature(0.7)
/// .max_new_tokens(200)
/// .param("typical_p", 0.9);
/// ```
///
/// # Parameters
///
/// How the reply is generated is asked of *classic* servers only, by default as H2O's chat was used: `temperature` 0.4,
/// `truncate` 2048, `max_new_tokens` 1024, `do_sample` true, `repetition_penalty` 1.2, `return_full_text` false. The
/// server judges the values, not this crate. On a *current* server that is the operator's business: it takes no
/// parameters, none are sent, and a request with others than these is logged, at info level, and asked all the same.
///
/// `Debug` shows lengths and parameters, not the prompt.
#[derive(Clone)]
#[must_use = "a request does nothing until it is given to a client"]
pub struct Request {
    prompt: Prompt,
    pub(crate) model: Option<String>,
    parameters: Map<String, Value>,
    /// The parameters whose numbers JSON cannot say.
    not_finite: BTreeSet<String>,
    /// None for the client's, and the longest there is for none at all.
    pub(crate) deadline: Option<Duration>,
    pub(crate) stop: Option<Stop>,
}

#[derive(Clone)]
enum Prompt {
    Text(String),
    Messages(Vec<Message>),
}

impl Request {
    /// Asks with this prompt, which reaches the server as it is.
    pub fn new(prompt: impl Into<String>) -> Request {
        Request::with(Prompt::Text(prompt.into()))
    }

    /// Asks with these messages.
    ///
    /// One message is sent as it is. Several become one text of lines `Role: content`, ending in
    /// `Assistant:`, because a server takes nothing else. Nothing is escaped: a content that
    /// holds a line `Assistant: …` looks to the model like a message of its own.
    ///
    /// A system message at the beginning is not in that text on a current server, if a conversation is opened for the
    /// request: it is the conversation's system prompt then.
    ///
    /// ```
    /// use h2o_chat::{Message, Request};
    ///
    /// let request = Request::messages([
    ///     Message::system("Answer in one sentence."),
    ///     Message::user("Why is the sky blue?"),
    /// ]);
    /// ```
    pub fn messages(messages: impl IntoIterator<Item = Message>) -> Request {
        Request::with(Prompt::Messages(messages.into_iter().collect()))
    }

    fn with(prompt: Prompt) -> Request {
        Request {
            prompt,
            model: None,
            parameters: default_parameters(),
            not_finite: BTreeSet::new(),
            deadline: None,
            stop: None,
        }
    }

    /// The model to ask. Defaults to the client's.
    pub fn model(mut self, model: impl Into<String>) -> Request {
        self.model = Some(model.into());
        self
    }

    /// How freely the next token is chosen; the server wants more than 0. Defaults to 0.4. [Classic servers](Request#parameters) only.
    pub fn temperature(self, temperature: f64) -> Request {
        self.number("temperature", temperature)
    }

    /// Chooses among the likeliest tokens that together have this probability, between 0 and 1. Not sent by
    /// default. [Classic servers](Request#parameters) only.
    pub fn top_p(self, top_p: f64) -> Request {
        self.number("top_p", top_p)
    }

    /// Chooses among this many likeliest tokens. Not sent by default. [Classic servers](Request#parameters) only.
    pub fn top_k(self, top_k: u32) -> Request {
        self.param("top_k", top_k)
    }

    /// How many tokens the reply has at the most; whether it was ended by that is told by
    /// [`Details::finish_reason`](crate::Details::finish_reason). Defaults to 1024. [Classic servers](Request#parameters) only.
    pub fn max_new_tokens(self, tokens: u32) -> Request {
        self.param("max_new_tokens", tokens)
    }

    /// How many tokens of the prompt are kept; a longer one loses its beginning. Defaults to 2048.
    /// [Classic servers](Request#parameters) only.
    pub fn truncate(self, tokens: u32) -> Request {
        self.param("truncate", tokens)
    }

    /// How strongly repetition is avoided; 1 is not at all. Defaults to 1.2. [Classic servers](Request#parameters) only.
    pub fn repetition_penalty(self, penalty: f64) -> Request {
        self.number("repetition_penalty", penalty)
    }

    /// Whether tokens are chosen at random; without, the likeliest is taken. Defaults to true.
    /// [Classic servers](Request#parameters) only.
    pub fn do_sample(self, sample: bool) -> Request {
        self.param("do_sample", sample)
    }

    /// The seed of the random choice, for a reply that can be had again. Not sent by default.
    /// [Classic servers](Request#parameters) only.
    pub fn seed(self, seed: u64) -> Request {
        self.param("seed", seed)
    }

    /// Texts at which the reply ends; the server takes four at the most. Not sent by default.
    /// [Classic servers](Request#parameters) only.
    pub fn stop_sequences(self, texts: impl IntoIterator<Item = impl Into<String>>) -> Request {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        self.param("stop", texts)
    }

    /// Whether the end of the reply comes with [`Details`](crate::Details). Not sent by default.
    /// [Classic servers](Request#parameters) only.
    pub fn details(self, details: bool) -> Request {
        self.param("details", details)
    }

    /// Any other parameter of the server, or a default set otherwise; the last one of a name holds.
    /// [Classic servers](Request#parameters) only.
    ///
    /// A number that is not finite cannot be said in JSON: it arrives here as `null`.
    ///
    /// ```
    /// # use h2o_chat::Request;
    /// let request = Request::new("Why is the sky blue?").param("typical_p", 0.9);
    /// ```
    pub fn param(mut self, name: impl Into<String>, value: impl Into<Value>) -> Request {
        let name = name.into();
        self.not_finite.remove(&name);
        self.parameters.insert(name, value.into());
        self
    }

    /// How long the whole call may take, from its beginning to the last token; `None` is as long as it takes. Defaults to
    /// the client's deadline, which is none unless it was set.
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> Request {
        self.deadline = Some(limit.into().unwrap_or(Duration::MAX));
        self
    }

    /// Lets this flag end the call, from any thread.
    pub fn stop(mut self, stop: &Stop) -> Request {
        self.stop = Some(stop.clone());
        self
    }

    fn number(self, name: &str, value: f64) -> Request {
        let mut request = self.param(name, value);
        if !value.is_finite() {
            request.not_finite.insert(name.to_owned());
        }
        request
    }

    /// The prompt as the server is to read it, or what makes the request unfit to be sent.
    pub(crate) fn prompt(&self) -> Result<String> {
        if let Some(name) = self.not_finite.first() {
            return Err(Error::input(format!("{name} is not a finite number")));
        }
        if self.deadline == Some(Duration::ZERO) {
            return Err(Error::no_time("deadline"));
        }
        let prompt = match &self.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Messages(messages) => joined(messages),
        };
        if prompt.trim().is_empty() {
            return Err(Error::input("the prompt is empty"));
        }
        Ok(prompt)
    }

    /// The system message that the prompt begins with, and the prompt without it.
    pub(crate) fn system_apart(&self) -> Option<(String, String)> {
        match &self.prompt {
            Prompt::Messages(messages) => match messages.as_slice() {
                [first, rest @ ..] if first.role() == Role::System && !rest.is_empty() => {
                    Some((first.content().to_owned(), joined(rest)))
                }
                _ => None,
            },
            Prompt::Text(_) => None,
        }
    }

    /// Whether parameters were set that are not the default ones.
    pub(crate) fn has_parameters(&self) -> bool {
        self.parameters != default_parameters()
    }

    pub(crate) fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }
}

fn default_parameters() -> Map<String, Value> {
    let defaults = json!({
        "temperature": 0.4,
        "truncate": 2048,
        "max_new_tokens": 1024,
        "do_sample": true,
        "repetition_penalty": 1.2,
        "return_full_text": false,
    });
    match defaults {
        Value::Object(parameters) => parameters,
        _ => unreachable!("the literal above is an object"),
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Request");
        match &self.prompt {
            Prompt::Text(text) => out.field("prompt", &format_args!("{} bytes", text.len())),
            Prompt::Messages(messages) => out.field("messages", messages),
        };
        out.field("model", &self.model)
            .field("parameters", &self.parameters)
            .field("deadline", &self.deadline)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Request {
    fn from(prompt: &str) -> Request {
        Request::new(prompt)
    }
}

impl From<String> for Request {
    fn from(prompt: String) -> Request {
        Request::new(prompt)
    }
}

impl From<&String> for Request {
    fn from(prompt: &String) -> Request {
        Request::new(prompt)
    }
}

impl From<Vec<Message>> for Request {
    fn from(messages: Vec<Message>) -> Request {
        Request::messages(messages)
    }
}

impl<const N: usize> From<[Message; N]> for Request {
    fn from(messages: [Message; N]) -> Request {
        Request::messages(messages)
    }
}
