//! The random replies of the soak test.

use h2o_chat::CancelHandle;

use crate::random::Random;
use crate::stand_in::{Act, Dialect, Failure, Plan};
use crate::support::faults::Fault;
use crate::support::{Kind, acts};

/// One reply in this many ends badly.
const BAD: usize = 4;

pub const FAULTS: &[Fault] = &[
    Fault::NoResponse,
    Fault::Trickling,
    Fault::Closed,
    Fault::Reset,
    Fault::HalfAHead,
    Fault::HalfAChunk,
    Fault::Garbage,
    Fault::EndlessHead,
    Fault::EndlessLine,
    Fault::Page,
    Fault::Busy(429, None),
    Fault::Busy(429, Some(0)),
    Fault::Busy(503, Some(0)),
    Fault::Moved,
    Fault::Bytewise,
];

/// The ways in which the program uses a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Ask,
    Iterate,
    /// Leaves the loop early.
    Break,
    Delete,
    /// Keeps the conversation and deletes it then.
    Keep,
    /// Is cancelled.
    Stop,
    Panic,
}

const WAYS: &[Way] = &[
    Way::Ask,
    Way::Ask,
    Way::Iterate,
    Way::Iterate,
    Way::Break,
    Way::Delete,
    Way::Keep,
    Way::Stop,
    Way::Panic,
];

/// The end of a reply on the server. All but the first come before its last event, if possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// It runs until it is stopped.
    Never,
    WithoutLastEvent,
    Error,
    Dropped,
    Fault(Fault),
}

/// The random choices of a reply, the same for the client and the server.
pub struct Script {
    pub way: Way,
    tokens: Vec<&'static str>,
    ending: Ending,
    /// The number of tokens after which the program leaves, and the server's fault strikes.
    pub place: usize,
}

impl Script {
    pub fn new(seed: u64, number: usize) -> Script {
        const TEXTS: &[&str] = &[" a", " hé", "llo", " 你好", " 😀", "\n", " \"q\"", "\u{2028}"];
        let mut random = Random::new(seed.wrapping_add(number as u64));
        let way = random.choose(WAYS);
        let tokens = (0..random.below(12)).map(|_| random.choose(TEXTS)).collect::<Vec<_>>();
        let place = random.below(tokens.len() + 1);
        let ends_early = !matches!(way, Way::Ask | Way::Iterate);
        let bad = [Ending::WithoutLastEvent, Ending::Error, Ending::Dropped, Ending::Never];
        let ending = if random.one_in(BAD) {
            let fault = random.choose(FAULTS);
            [Ending::Fault(fault), random.choose(&bad)][random.below(2)]
        } else if way == Way::Stop || ends_early && random.one_in(2) {
            Ending::Never
        } else {
            Ending::Complete
        };
        Script { way, tokens, ending, place }
    }

    pub fn text(&self) -> String {
        self.tokens.concat()
    }

    /// The server's fault strikes after the last event.
    fn is_late(&self) -> bool {
        self.place == self.tokens.len()
    }

    /// The server's longest text. A server that asks the model once more before it gives up sends
    /// the text twice.
    pub fn most(&self, server: Kind) -> String {
        match self.ending {
            Ending::Error if server.dialect == Dialect::Newest => {
                self.tokens[..self.place].concat().repeat(2)
            }
            _ => self.text(),
        }
    }

    /// Returns whether the last event can arrive.
    pub fn can_be_whole(&self) -> bool {
        match self.ending {
            Ending::Complete => true,
            Ending::Fault(fault) => {
                self.is_late() || fault == Fault::Bytewise || fault.within(false).is_none()
            }
            _ => false,
        }
    }

    /// Cancels the call at its place, if that is its end.
    pub fn plan(&self, handle: CancelHandle) -> Plan {
        let mut acts: Vec<Act> = acts(Plan::tokens(self.tokens.clone())).collect();
        let mut cut = |end: Vec<Act>| {
            acts.truncate(self.place);
            acts.extend(end);
        };
        match self.ending {
            Ending::Complete => {}
            Ending::Never => cut(vec![Act::Hang]),
            Ending::WithoutLastEvent => cut(Vec::new()),
            Ending::Error => cut(vec![Act::Failure(failure())]),
            Ending::Dropped => cut(vec![Act::Drop]),
            Ending::Fault(fault) => {
                let at = self.place + usize::from(self.is_late());
                let reaction = fault.within(self.is_late());
                acts.splice(at..at, reaction.map(Act::React));
            }
        }
        let place = (self.way == Way::Stop).then_some(self.place);
        Plan::acts(acts.into_iter().enumerate().map(move |(at, act)| {
            if Some(at) == place {
                handle.cancel();
            }
            act
        }))
    }
}

fn failure() -> Failure {
    Failure { message: "no more".to_owned(), kind: "generation", status: None }
}
