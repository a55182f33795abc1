//! The encoding of a reply in a protocol: the bytes of a plan's acts, and the stored text.

use super::plan::Act;

/// Writes one reply, in chunks.
pub(super) trait Encoder {
    /// Returns the chunks before the model's first.
    fn start(&mut self) -> Vec<Vec<u8>>;

    /// Returns the chunks of a single act.
    fn encode_one(&mut self, act: &Act) -> Vec<Vec<u8>>;

    /// Returns the keep-alive that is sent every 100 ms.
    fn keep_alive(&self) -> Option<Vec<u8>>;

    /// Ends the reply after the model's end or a stop.
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
    /// True if the connection is closed instead of sending the last chunk.
    pub closes: bool,
    /// The text that the server stores, if it stores one.
    pub text: Option<String>,
}
