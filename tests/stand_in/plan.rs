//! A test's plan for the reply to a prompt.

use std::iter;
use std::time::Duration;

use super::Reaction;

/// The server's reply to a prompt.
pub enum Plan {
    /// The model's server sends a response that is no reply.
    Response { status: u16, reason: String, headers: Vec<(String, String)>, body: Vec<u8> },
    /// The chat server itself refuses, with its `{"message": …}`.
    Refusal { status: u16, message: &'static str },
    /// The model's server cannot be reached.
    Dead,
    /// The model replies.
    Acts(Box<dyn Iterator<Item = Act> + Send>),
}

/// One step of a reply, which ends cleanly after the last step. Each step that sends something
/// sends one HTTP chunk, unless its description says otherwise.
pub enum Act {
    /// A token of the reply's text.
    Token {
        id: usize,
        text: String,
    },
    /// A keep-alive of the model's server.
    Comment,
    /// An error after the reply has begun.
    Failure(Failure),
    /// The last token, with the whole text.
    Last(Last),
    /// Several steps in one chunk.
    Together(Vec<Act>),
    /// Several steps in chunks that are cut after three bytes and then after every seventh, even
    /// inside a character.
    Cut(Box<Act>),
    /// An object that is not part of the text, as an event of its own.
    Other(String),
    /// Exactly these bytes. The server does not store them.
    Send(Vec<u8>),
    Wait(Duration),
    /// Nothing more until the generation is stopped or the server is closed.
    Hang,
    /// The connection and the generation end without the last chunk.
    Drop,
    /// This reaction, without a chunk around its bytes. If it ends the connection, the generation
    /// continues.
    React(Reaction),
}

impl Act {
    pub fn token(id: usize, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Token { id, text }
    }

    fn sends(&self) -> bool {
        !matches!(self, Self::Wait(_) | Self::Hang | Self::Drop)
    }
}

/// A failure of the model's server.
pub struct Failure {
    pub message: String,
    pub kind: &'static str,
    /// The status, if the reply never began.
    pub status: Option<u16>,
}

/// The last event of a reply.
pub struct Last {
    pub id: usize,
    pub text: String,
    pub generated_text: String,
    /// The number of tokens, this one included.
    pub generated_tokens: usize,
    /// `eos_token`, or else `stop_sequence` or `length`, whose token is text.
    pub finish_reason: &'static str,
}

impl Last {
    /// The end of a reply by the model's own decision, after `tokens` tokens.
    pub fn eos(generated_text: String, tokens: usize) -> Self {
        Self {
            id: 0,
            text: "<|endoftext|>".to_string(),
            generated_text,
            generated_tokens: tokens + 1,
            finish_reason: "eos_token",
        }
    }

    /// Returns whether the last token is not part of the text.
    pub(super) fn is_special(&self) -> bool {
        self.finish_reason == "eos_token"
    }
}

impl Plan {
    pub fn response(status: u16, reason: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_ascii_lowercase(), value.to_string());
        Self::Response {
            status,
            reason: reason.to_string(),
            headers: headers.iter().map(owned).collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    pub fn acts<A>(acts: A) -> Self
    where
        A: IntoIterator<Item = Act, IntoIter: Send + 'static>,
    {
        Self::Acts(Box::new(acts.into_iter()))
    }

    /// A reply of these chunks, as they are.
    pub fn bytes(chunks: Vec<Vec<u8>>) -> Self {
        Self::acts(chunks.into_iter().map(Act::Send))
    }

    /// A whole reply of these tokens.
    pub fn tokens<T, I>(texts: I) -> Self
    where
        T: Into<String>,
        I: IntoIterator<Item = T, IntoIter: Send + 'static>,
    {
        let mut texts = texts.into_iter();
        let mut whole = Some(String::new());
        let mut id = 0;
        Self::acts(iter::from_fn(move || {
            let Some(text) = texts.next().map(Into::into) else {
                return whole.take().map(|whole| Act::Last(Last::eos(whole, id)));
            };
            whole.as_mut()?.push_str(&text);
            id += 1;
            Some(Act::token(id - 1, text))
        }))
    }

    /// Waits before everything that is sent, except the first.
    #[must_use]
    pub fn paced(self, pace: Duration) -> Self {
        let Self::Acts(acts) = self else { return self };
        let mut first = true;
        Self::acts(acts.flat_map(move |act| {
            let wait = (act.sends() && !first).then_some(Act::Wait(pace));
            first &= !act.sends();
            wait.into_iter().chain([act])
        }))
    }

    /// Appends `acts`.
    #[must_use]
    pub fn then<A>(self, acts: A) -> Self
    where
        A: IntoIterator<Item = Act, IntoIter: Send + 'static>,
    {
        match self {
            Self::Acts(before) => Self::acts(before.chain(acts)),
            whole => whole,
        }
    }
}
