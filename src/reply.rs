//! What a complete reply is: its text, and what the server said at its end.

/// A complete reply, gathered from its tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The tokens, one after the other.
    pub text: String,
    /// What the server said at the end.
    pub end: End,
}

/// What the server says when a reply is complete.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct End {
    /// The whole text in the server's words. It may differ from the tokens in white space at its beginning
    /// and end.
    pub text: String,
    /// How the reply was generated, if that was asked for with
    /// [`Request::details`](crate::Request::details).
    pub details: Option<Details>,
}

/// How a reply was generated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
