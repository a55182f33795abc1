//! The seam between what a reply says and how a generation of the server says it.

use super::plan::Act;

/// Puts one reply into chunks, and knows what is to be remembered of it.
pub(super) trait Voice {
    /// The chunks before the model's first.
    fn begin(&mut self) -> Vec<Vec<u8>>;

    /// The chunks of an act that says something.
    fn say(&mut self, act: &Act) -> Vec<Vec<u8>>;

    /// What is sent at a regular pace, whatever the model does.
    fn heartbeat(&self) -> Option<Vec<u8>>;

    fn end(&mut self, how: How) -> Ending;
}

/// How the model came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By itself, with or without a last event.
    Over,
    Stopped,
}

/// The end of a reply.
pub(super) struct Ending {
    pub chunks: Vec<Vec<u8>>,
    pub then: Then,
    /// The text that is remembered, if any is.
    pub text: Option<String>,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    LastChunk,
    Close,
    /// Nothing more, until the client goes away.
    Silence,
}

/// The chunks of an act, made of whatever other acts.
pub(super) fn chunks(voice: &mut dyn Voice, act: &Act) -> Vec<Vec<u8>> {
    match act {
        Act::Together(acts) => {
            let parts = acts.iter().flat_map(|act| chunks(voice, act));
            vec![parts.collect::<Vec<_>>().concat()]
        }
        Act::Cut(act) => {
            let whole = chunks(voice, act).concat();
            let (start, rest) = whole.split_at(whole.len().min(3));
            let pieces = [start].into_iter().chain(rest.chunks(7));
            pieces.map(<[u8]>::to_vec).collect()
        }
        act => voice.say(act),
    }
}
