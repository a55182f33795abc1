//! What a reply is made of: events, tokens most of all, and what the server says at its end.

/// A complete reply, gathered from its tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The tokens, one after the other.
    pub text: String,
    /// What the server said at the end.
    pub end: End,
}

/// What a server says in the course of a reply: see [`Tokens::next_event`](crate::Tokens::next_event).
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::Event;
///
/// let mut tokens = client.generate("Why is the sky blue?")?;
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
    /// A token, text or not.
    Token(Token),
    /// What the server calls the conversation from now on; said by current servers.
    Title(String),
    /// What the model thinks before it replies, where the server keeps it apart from the text. Most do not: there it is
    /// between `<think>` and `</think>` in the tokens.
    Reasoning(String),
}

/// A token, as the model made it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// What it stands for. May be empty, while a character is not finished.
    pub text: String,
    /// Its number in the model's vocabulary, if the server says so.
    pub id: Option<u32>,
    /// The logarithm of its probability, if the server says so.
    pub logprob: Option<f32>,
    /// It means something to the model and is no text: the end of the reply, for example.
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

/// What the server says when a reply is complete.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct End {
    /// The whole text in the server's words. It may differ from the tokens in white space at its beginning
    /// and end.
    pub text: String,
    /// How the reply was generated, if that was asked for with
    /// [`Request::details`](crate::Request::details), of a classic server.
    pub details: Option<Details>,
}

/// How a reply was generated.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::Request;
///
/// let reply = client.generate(Request::new("Name a prime.").details(true))?.reply()?;
/// if let Some(details) = reply.end.details {
///     println!("{:?} tokens, seed {:?}", details.generated_tokens, details.seed);
/// }
/// # Ok::<(), h2o_chat::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// Why it ended: `length`, `eos_token` or `stop_sequence`.
    pub finish_reason: Option<String>,
    /// How many tokens it has, special ones included.
    pub generated_tokens: Option<u64>,
    /// The seed of the random choice, with which the reply can be had again.
    pub seed: Option<u64>,
    /// How many tokens the prompt had.
    pub input_length: Option<u64>,
}
