//! A request: the prompt and how the reply is to be generated. It knows nothing of servers.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::attachment::Attachment;
use crate::cancel::CancelHandle;
use crate::error::{Error, Result};
use crate::message::{Message, Role, joined};
use crate::wait::{OnWait, Wait};

/// A prompt, and how the reply to it is to be generated.
///
/// A plain `&str` or `String` converts to a request, and so does a list of messages. Everything
/// else has a default.
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
/// *Classic* servers (chat-ui up to 0.6) and h2oGPTe take parameters. The server validates them,
/// not this crate.
///
/// * A classic server gets the parameters of the service's own page unless the request sets others:
///   `temperature` 0.4, `truncate` 2048, `max_new_tokens` 1024, `do_sample` true,
///   `repetition_penalty` 1.2, `return_full_text` false.
/// * h2oGPTe gets those that the request sets, as `llm_args`, and has defaults of its own.
/// * On newer chat-ui servers the operator chooses the parameters. None are sent. If a request sets
///   some, it is sent without them, and that is logged at info level.
///
/// `Debug` shows the parameters, but only the length of the prompt.
#[derive(Clone)]
#[must_use = "a request does nothing until it is given to a client"]
pub struct Request {
    prompt: Prompt,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) tools: Vec<String>,
    pub(crate) model: Option<String>,
    /// Those that the caller has set.
    parameters: Map<String, Value>,
    /// Names of parameters whose values JSON cannot represent.
    not_finite: BTreeSet<String>,
    /// `None` for the client's. `Duration::MAX` for no timeout at all.
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) cancel: Option<CancelHandle>,
    pub(crate) on_wait: Option<OnWait>,
    pub(crate) keep_thinking: bool,
}

#[derive(Clone, PartialEq)]
enum Prompt {
    Text(String),
    Messages(Vec<Message>),
}

impl Request {
    /// Creates a request with this prompt, which reaches the server unchanged.
    pub fn new(prompt: impl Into<String>) -> Request {
        Request::with(Prompt::Text(prompt.into()))
    }

    /// Creates a request with a list of messages.
    ///
    /// A single message is sent as its content. Several become one text of lines `Role: content`,
    /// with `Assistant:` at the end for the model to continue. Nothing is escaped, so the text of
    /// one message can imitate another message. If the first is a system message, servers from
    /// chat-ui 0.8 get it as the conversation's system prompt instead, and h2oGPTe as the
    /// message's.
    ///
    /// ```
    /// use h2o_chat::{Message, Request};
    ///
    /// let request = Request::messages([
    ///     Message::user("Name a prime."),
    ///     Message::assistant("7"),
    ///     Message::user("And the next one?"),
    /// ]);
    /// ```
    pub fn messages(messages: impl IntoIterator<Item = Message>) -> Request {
        Request::with(Prompt::Messages(messages.into_iter().collect()))
    }

    fn with(prompt: Prompt) -> Request {
        Request {
            prompt,
            attachments: Vec::new(),
            tools: Vec::new(),
            model: None,
            parameters: Map::new(),
            not_finite: BTreeSet::new(),
            total_timeout: None,
            cancel: None,
            on_wait: None,
            keep_thinking: false,
        }
    }

    /// Sends a file with the prompt. Call it again for another one. Defaults to none.
    ///
    /// Only servers from chat-ui 0.9.2 on take attachments, and only models that take their media
    /// types. Anything else is an error of kind [`Unsupported`](crate::ErrorKind::Unsupported). The
    /// client's first request with an attachment also fetches the list of models. In a
    /// [resumed](crate::Client::resume) conversation, whose model is not known, the server decides.
    /// See [`Attachment`] for the limits.
    pub fn attach(mut self, attachment: Attachment) -> Request {
        self.attachments.push(attachment);
        self
    }

    /// The MCP servers whose tools the model may use, by their names on the chat server. Defaults
    /// to none.
    ///
    /// Only servers from chat-ui 0.9.6 on have them; on others this is an error of kind
    /// [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// ```
    /// # use h2o_chat::Request;
    /// let request = Request::new("What is new in Rust?").tools(["Web Search (Exa)"]);
    /// ```
    pub fn tools(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Request {
        self.tools = names.into_iter().map(Into::into).collect();
        self
    }

    /// The model to ask. Defaults to the client's.
    pub fn model(mut self, model: impl Into<String>) -> Request {
        self.model = Some(model.into());
        self
    }

    /// The randomness of the reply, greater than 0. Defaults to 0.4. See
    /// [parameters](Request#parameters).
    pub fn temperature(self, temperature: f64) -> Request {
        self.number("temperature", temperature)
    }

    /// Chooses among the likeliest tokens that together have this probability, between 0 and 1.
    /// Not sent by default. See [parameters](Request#parameters).
    pub fn top_p(self, top_p: f64) -> Request {
        self.number("top_p", top_p)
    }

    /// Chooses among this many likeliest tokens. Not sent by default.
    /// See [parameters](Request#parameters).
    pub fn top_k(self, top_k: u32) -> Request {
        self.param("top_k", top_k)
    }

    /// The maximum number of tokens in the reply.
    /// [`Details::finish_reason`](crate::Details::finish_reason) tells whether it cut the reply.
    /// Defaults to 1024. See [parameters](Request#parameters).
    #[doc(alias = "max_tokens")]
    pub fn max_new_tokens(self, tokens: u32) -> Request {
        self.param("max_new_tokens", tokens)
    }

    /// The maximum number of tokens of the prompt. A longer prompt loses its beginning, with the
    /// instructions that may be there, and no error tells. Defaults to 2048. See
    /// [parameters](Request#parameters).
    pub fn truncate(self, tokens: u32) -> Request {
        self.param("truncate", tokens)
    }

    /// The penalty on repetition; 1 means none. Defaults to 1.2. See
    /// [parameters](Request#parameters).
    pub fn repetition_penalty(self, penalty: f64) -> Request {
        self.number("repetition_penalty", penalty)
    }

    /// Sets whether tokens are chosen at random. If not, the likeliest is taken. Defaults to true.
    /// See [parameters](Request#parameters).
    pub fn do_sample(self, sample: bool) -> Request {
        self.param("do_sample", sample)
    }

    /// The seed of the random choice, to get the same reply again. Not sent by default.
    /// See [parameters](Request#parameters).
    pub fn seed(self, seed: u64) -> Request {
        self.param("seed", seed)
    }

    /// Texts that end the reply when the model generates one of them; servers take at most four.
    /// Not sent by default. See [parameters](Request#parameters).
    #[doc(alias = "stop")]
    pub fn stop_sequences(self, texts: impl IntoIterator<Item = impl Into<String>>) -> Request {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        self.param("stop", texts)
    }

    /// Sets whether the end of the reply has [`Details`](crate::Details). Not sent by default.
    /// [Classic servers](Request#parameters) only.
    pub fn details(self, details: bool) -> Request {
        self.param("details", details)
    }

    /// Sets any parameter, also one that has no method here. The last value of a name is sent.
    /// See [parameters](Request#parameters).
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

    /// The maximum duration of the call, from its beginning to the last token. `None` removes the
    /// client's. Defaults to the
    /// [client's total timeout](crate::ClientBuilder::total_timeout).
    #[doc(alias = "timeout")]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Request {
        self.total_timeout = Some(timeout.into().unwrap_or(Duration::MAX));
        self
    }

    /// A handle that cancels the call, besides the client's. Defaults to none.
    #[doc(alias = "abort")]
    #[doc(alias = "stop")]
    pub fn cancel_handle(mut self, handle: &CancelHandle) -> Request {
        self.cancel = Some(handle.clone());
        self
    }

    /// Sets whether the text of the reply stays as it came, reasoning and tags included. Defaults
    /// to false: what a reply has between `<think>` and `</think>` before its answer is not text
    /// but [`Event::Reasoning`](crate::Event::Reasoning).
    pub fn keep_thinking(mut self, keep: bool) -> Request {
        self.keep_thinking = keep;
        self
    }

    /// A callback that is called about ten times a second while the call waits for the server: for
    /// a spinner, for keep-alives to your own client, or to cancel when it has left. Defaults to
    /// none.
    ///
    /// It runs on the thread that makes the call, until the reply ends. Keep-alives of the server
    /// do not silence it. Pauses before a retry count as waiting, and so does the wait for a
    /// [stopped generation](crate::Conversation#ending-a-turn-early). The callback is not called
    /// during name lookup, TCP connect and sending, or during cleanup.
    ///
    /// ```no_run
    /// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
    /// use std::time::Duration;
    /// use h2o_chat::Request;
    ///
    /// let request = Request::new("Why is the sky blue?").on_wait(|wait| {
    ///     eprint!("\r{:?} {:.1} s ", wait.step(), wait.elapsed().as_secs_f64());
    ///     if wait.elapsed() > Duration::from_secs(30) {
    ///         wait.cancel();
    ///     }
    /// });
    /// println!("{}", client.ask(request)?);
    /// # Ok::<(), h2o_chat::Error>(())
    /// ```
    ///
    /// * A slow callback delays the tokens, the timeouts and a cancellation. Its time counts for
    ///   the timeouts.
    /// * It may make calls of its own, also with the same client.
    /// * If it panics, the call is cancelled: the generation is stopped and the conversation
    ///   deleted. Then the panic continues. The conversation of a turn stays usable.
    /// * Clones of the request share the callback, so several threads may run it at once.
    /// * It applies to one call, as the cancel handle does. A conversation does not keep it for
    ///   [`regenerate`](crate::Conversation::regenerate).
    pub fn on_wait(mut self, callback: impl Fn(&Wait) + Send + Sync + 'static) -> Request {
        self.on_wait = Some(OnWait::new(callback));
        self
    }

    fn number(self, name: &str, value: f64) -> Request {
        let mut request = self.param(name, value);
        if !value.is_finite() {
            request.not_finite.insert(name.to_owned());
        }
        request
    }

    /// The whole prompt as one text, if the request is valid.
    pub(crate) fn prompt(&self) -> Result<String> {
        if let Some(name) = self.not_finite.first() {
            return Err(Error::invalid_input(format!("{name} is not a finite number")));
        }
        if self.total_timeout == Some(Duration::ZERO) {
            return Err(Error::zero_timeout("total timeout"));
        }
        validate_model(self.model.as_deref())?;
        self.attachments.iter().try_for_each(Attachment::validate)?;
        let prompt = match &self.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Messages(messages) => joined(messages),
        };
        if prompt.trim().is_empty() {
            return Err(Error::invalid_input("the prompt is empty"));
        }
        Ok(prompt)
    }

    /// A leading system message, and the other messages as one text. `None` if there is none.
    pub(crate) fn split_system(&self) -> Option<(String, String)> {
        let Prompt::Messages(messages) = &self.prompt else {
            return None;
        };
        match messages.as_slice() {
            [first, rest @ ..] if first.role() == Role::System && !rest.is_empty() => {
                Some((first.content().to_owned(), joined(rest)))
            }
            _ => None,
        }
    }

    /// Returns whether both ask the same.
    pub(crate) fn has_prompt_of(&self, other: &Request) -> bool {
        self.prompt == other.prompt && self.attachments == other.attachments
    }

    /// The parameters that the caller has set.
    pub(crate) fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }
}

/// Validates the name of a model.
pub(crate) fn validate_model(model: Option<&str>) -> Result<()> {
    match model {
        Some(model) if model.trim().is_empty() || model.chars().any(char::is_control) => {
            Err(Error::invalid_input(format!("invalid model name {model:?}")))
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Request");
        match &self.prompt {
            Prompt::Text(text) => out.field("prompt", &format_args!("{} bytes", text.len())),
            Prompt::Messages(messages) => out.field("messages", messages),
        };
        out.field("attachments", &self.attachments)
            .field("tools", &self.tools)
            .field("model", &self.model)
            .field("parameters", &self.parameters)
            .field("total_timeout", &self.total_timeout)
            .field("cancel_handle", &self.cancel)
            .field("keep_thinking", &self.keep_thinking)
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

impl From<Cow<'_, str>> for Request {
    fn from(prompt: Cow<'_, str>) -> Request {
        Request::new(prompt)
    }
}

impl From<&[Message]> for Request {
    fn from(messages: &[Message]) -> Request {
        Request::messages(messages.iter().cloned())
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
