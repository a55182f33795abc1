//! The parts of a reply: events, most of them tokens, and the end.

/// A complete reply, collected from its tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The answer: the text of all tokens, without reasoning.
    pub text: String,
    /// The reasoning of the model before its answer, without white space at its ends: see
    /// [`Event::Reasoning`]. Empty if there is none.
    pub reasoning: String,
    /// The server's last event.
    pub end: End,
}

/// A part of a reply: see [`Tokens::next_event`](crate::Tokens::next_event).
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::Event;
///
/// let mut tokens = client.stream("Why is the sky blue?")?;
/// while let Some(event) = tokens.next_event() {
///     match event? {
///         Event::Token(token) if !token.special => print!("{}", token.text),
///         Event::Title(title) => eprintln!("[{title}]"),
///         Event::Reasoning(text) => eprint!("{text}"),
///         _ => {}
///     }
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A token: text, a special token, or an empty one.
    Token(Token),
    /// The new title of the conversation. Only from chat-ui 0.8 on.
    Title(String),
    /// A piece of the model's reasoning, which is not part of the answer.
    ///
    /// Most servers send it as text, between `<think>` and `</think>` at the beginning of the
    /// reply. On every server it is taken out of the text, together with the tags and the white
    /// space around them, unless [`Request::keep_thinking`](crate::Request::keep_thinking) is set.
    /// A model may think several times before its answer. In the answer, tags are text. Without a
    /// closing tag, the whole reply is reasoning. The messages that a server has stored have it in
    /// their text: see [`Conversation::messages`](crate::Conversation::messages).
    ///
    /// If a token holds part of a tag and answer text, the text stays a token with the same id and
    /// probability.
    Reasoning(String),
    /// Something else that the server sends between the tokens: a tool call and its result, a
    /// source, the route to a model, or a kind that is not known yet. Keep-alives, and the status
    /// updates of chat-ui, are not events. Such an event does not restart the [token timeout].
    ///
    /// [token timeout]: crate::ClientBuilder::token_timeout
    #[non_exhaustive]
    Other {
        /// The object's `type`, such as `tool` or `routerMetadata`. Empty if it has none.
        kind: String,
        /// The object, as the server sent it. `None` if it is longer than 1 MiB, as the results of
        /// tools can be.
        json: Option<String>,
    },
}

/// A token, as the model generated it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// Its text. It may be empty, while a character is incomplete for example.
    pub text: String,
    /// Its number in the model's vocabulary, if the server sends it.
    pub id: Option<u32>,
    /// The logarithm of its probability, if the server sends it.
    pub logprob: Option<f32>,
    /// True if it is not text but a control token of the model, such as the end of the reply.
    pub special: bool,
}

impl Event {
    /// Returns whether this is text or reasoning, which restarts the token timeout.
    pub(crate) fn is_generated(&self) -> bool {
        matches!(self, Event::Reasoning(_)) || self.text().is_some()
    }

    /// The text of a token that is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Event::Token(token) => Some(&*token.text).filter(|_| token.is_text()),
            Event::Title(_) | Event::Reasoning(_) | Event::Other { .. } => None,
        }
    }

    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Event::Token(token) => token.is_text().then_some(token.text),
            Event::Title(_) | Event::Reasoning(_) | Event::Other { .. } => None,
        }
    }
}

impl Token {
    pub(crate) fn is_text(&self) -> bool {
        !self.special && !self.text.is_empty()
    }
}

/// The last event of a complete reply.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct End {
    /// The whole text, as the server repeats it, with the reasoning and its tags. It may differ
    /// from the tokens in white space at its beginning and end. h2oGPTe may repeat another text, or
    /// none.
    pub text: String,
    /// How the reply was generated. Only from classic servers, and only if
    /// [`Request::details`](crate::Request::details) asked for it.
    pub details: Option<Details>,
}

/// How a reply was generated.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::Request;
///
/// let reply = client.stream(Request::new("Name a prime.").details(true))?.reply()?;
/// if let Some(details) = reply.end.details {
///     println!("{:?} tokens, seed {:?}", details.generated_tokens, details.seed);
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// Why the reply ended: `length`, `eos_token` or `stop_sequence`.
    pub finish_reason: Option<String>,
    /// The number of tokens in the reply, special ones included.
    pub generated_tokens: Option<u64>,
    /// The seed of the random choice, which generates the same reply again.
    pub seed: Option<u64>,
    /// The number of tokens in the prompt.
    pub input_length: Option<u64>,
}
