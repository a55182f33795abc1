//! The parts of a reply: events, most of them tokens, and the end.

/// A complete reply, collected from its tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The text of all tokens.
    pub text: String,
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
    /// Reasoning of the model, from a server that separates it from the text. On most servers it is
    /// part of the tokens, between `<think>` and `</think>`.
    Reasoning(String),
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
    /// The text of a token that is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Event::Token(token) => Some(&*token.text).filter(|_| token.is_text()),
            Event::Title(_) | Event::Reasoning(_) => None,
        }
    }

    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Event::Token(token) => token.is_text().then_some(token.text),
            Event::Title(_) | Event::Reasoning(_) => None,
        }
    }
}

impl Token {
    fn is_text(&self) -> bool {
        !self.special && !self.text.is_empty()
    }
}

/// The last event of a complete reply.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct End {
    /// The whole text, as the server repeats it. It may differ from the tokens in white space at
    /// its beginning and end. h2oGPTe may repeat another text, or none.
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
