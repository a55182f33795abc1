//! The encoding of a reply in a protocol: how the acts of a plan are written, and which text the
//! server stores.

use super::plan::Act;

/// Writes one reply, in chunks.
pub(super) trait Encoder {
    /// Returns the chunks before the model's first.
    fn start(&mut self) -> Vec<Vec<u8>>;

    /// Returns the chunks of an act that is no composition of others.
    fn encode_one(&mut self, act: &Act) -> Vec<Vec<u8>>;

    /// Returns what is sent every 100 ms whatever the model does.
    fn keep_alive(&self) -> Option<Vec<u8>>;

    /// Ends the reply: the model is done, or was stopped.
    fn end(&mut self, is_stopped: bool) -> Ending;

    fn encode(&mut self, act: &Act) -> Vec<Vec<u8>> {
        match act {
            Act::Together(acts) => {
                let parts = acts.iter().flat_map(|act| self.encode(act));
                vec![parts.collect::<Vec<_>>().concat()]
            }
            Act::Cut(act) => {
                let whole = self.encode(act).concat();
                let (start, rest) = whole.split_at(whole.len().min(3));
                let pieces = [start].into_iter().chain(rest.chunks(7));
                pieces.map(<[u8]>::to_vec).collect()
            }
            act => self.encode_one(act),
        }
    }
}

/// The end of a reply.
pub(super) struct Ending {
    pub chunks: Vec<Vec<u8>>,
    /// The connection is closed instead of the last chunk sent.
    pub closes: bool,
    /// The text that the server stores as its response, if it stores one.
    pub text: Option<String>,
}
