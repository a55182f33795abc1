//! The faults at each stage, and the outcome that each must have.

use h2o_chat::{ErrorKind, Step, Timeout};

use crate::stand_in::Dialect;
use crate::support::faults::Fault;
use crate::support::{Kind, step_of_line};

use Cell::{Fails, Left, Lost, Never, Runs, Whole};
use ErrorKind::{Connect, Generation, Protocol, Status, TooLarge, Truncated};
use Fault::{
    Busy, Bytewise, Closed, Ended, EndlessHead, EndlessLine, Garbage, HalfAChunk, HalfAHead, Idle,
    Moved, Mute, NoResponse, Page, Refused, Reset, Trickling,
};
use Times::{Always, Once};

/// The stage at which a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first step, which detects the protocol.
    Settings,
    /// The list of models, whose first is the default.
    Models,
    Conversation,
    /// The request for the parent of a message, on current servers.
    History,
    MessageHead,
    MidStream,
    /// After the last event, before the last chunk.
    EndOfStream,
    Stop,
    Delete,
}

/// The outcome that a call must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It succeeds, and nothing is left.
    Whole,
    /// It fails, and nothing is left.
    Fails(ErrorKind),
    /// It fails, and leaves a conversation whose id is lost. The error is `maybe_undeleted`.
    Lost(ErrorKind),
    /// It leaves a conversation, which the error names.
    Left(ErrorKind),
    /// It succeeds, but a generation that could not be stopped runs on.
    Runs,
    /// The combination cannot occur, for this reason.
    Never(&'static str),
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Always,
    Once,
}

pub const IDLE: ErrorKind = ErrorKind::Timeout(Timeout::Idle);
pub const TOKEN: ErrorKind = ErrorKind::Timeout(Timeout::Token);
pub const CLEANUP: ErrorKind = ErrorKind::Timeout(Timeout::Cleanup);

const CONNECTED: Cell = Never("the connection has been made");
const BEGUN: Cell = Never("the head has come");
const ANSWERED: Cell = Never("the status has come");
const USUAL: Cell = Never("so every reply ends");
const IN_USE: Cell = Never("the connection is in use");
const JUST_USED: Cell = Never("the connection brought the response before a moment ago");
const NO_MODEL: Cell = Never("no model has a part in it");
const ALL_SAID: Cell = Never("the model has said all");
const UNASKED: Cell = Never("this server is not asked for it");
const ACCEPTED: Cell = Never("only a classic server accepts a form of settings");
const UNREAD: Cell = Never("this server stops only what is read");
const FOUND_OUT: Cell = Never("a current server is found out once");

pub const STAGES: [Stage; 9] = [
    Stage::Settings,
    Stage::Models,
    Stage::Conversation,
    Stage::History,
    Stage::MessageHead,
    Stage::MidStream,
    Stage::EndOfStream,
    Stage::Stop,
    Stage::Delete,
];

/// A fault, how often it strikes, and the outcome at each of the stages.
type Row = (Fault, Times, [Cell; STAGES.len()]);

#[rustfmt::skip]
pub const MATRIX: &[Row] = &[
    //                            settings          models            conversation     history           message head      mid-stream        end of stream stop           delete
    (Refused,            Always, [Fails(Connect),   Fails(Connect),   Fails(Connect),  Left(Connect),    Left(Connect),    CONNECTED,        CONNECTED,    Left(Connect), Left(Connect)]),
    (NoResponse,         Always, [Fails(IDLE),      Fails(IDLE),      Lost(IDLE),      Fails(IDLE),      Fails(IDLE),      Fails(IDLE),      Whole,        Runs,          Left(CLEANUP)]),
    (Mute,               Always, [NO_MODEL,         NO_MODEL,         NO_MODEL,        NO_MODEL,         Fails(IDLE),      Fails(IDLE),      ALL_SAID,     NO_MODEL,      NO_MODEL]),
    (Trickling,          Always, [Fails(TOKEN),     Fails(TOKEN),     Lost(TOKEN),     Fails(TOKEN),     Fails(TOKEN),     Fails(TOKEN),     Whole,        Runs,          Left(CLEANUP)]),
    (Closed,             Always, [Fails(Truncated), Fails(Truncated), Lost(Truncated), Fails(Truncated), Fails(Truncated), Fails(Truncated), Whole,        Runs,          Left(Truncated)]),
    (Closed,             Once,   [Whole,            Whole,            Lost(Truncated), Whole,            Fails(Truncated), Fails(Truncated), Whole,        Whole,         Whole]),
    (Reset,              Always, [Fails(Truncated), Fails(Truncated), Lost(Truncated), Fails(Truncated), Fails(Truncated), Fails(Truncated), Whole,        Runs,          Left(Truncated)]),
    (Reset,              Once,   [Whole,            Whole,            Lost(Truncated), Whole,            Fails(Truncated), Fails(Truncated), Whole,        Whole,         Whole]),
    (HalfAHead,          Always, [Fails(Truncated), Fails(Truncated), Lost(Truncated), Fails(Truncated), Fails(Truncated), BEGUN,            BEGUN,        Runs,          Left(Truncated)]),
    (HalfAHead,          Once,   [Whole,            Whole,            Lost(Truncated), Whole,            Fails(Truncated), BEGUN,            BEGUN,        Whole,         Whole]),
    (HalfAChunk,         Always, [Fails(Truncated), Fails(Truncated), Lost(Truncated), Fails(Truncated), Fails(Truncated), Fails(Truncated), Whole,        Whole,         Whole]),
    (Ended,              Always, [Whole,            Fails(Protocol),  Lost(Protocol),  Fails(Protocol),  Fails(Truncated), Fails(Truncated), USUAL,        Whole,         Whole]),
    (Garbage,            Always, [Fails(Protocol),  Fails(Protocol),  Lost(Protocol),  Fails(Protocol),  Fails(Protocol),  Fails(Protocol),  Whole,        Runs,          Left(Protocol)]),
    (EndlessHead,        Always, [Fails(TooLarge),  Fails(TooLarge),  Lost(TooLarge),  Fails(TooLarge),  Fails(TooLarge),  BEGUN,            Whole,        Runs,          Left(TooLarge)]),
    (EndlessLine,        Always, [Fails(TooLarge),  Fails(TooLarge),  Lost(TooLarge),  Fails(TooLarge),  Fails(TooLarge),  Fails(TooLarge),  Whole,        Whole,         Whole]),
    (Page,               Always, [Fails(Status),    Fails(Status),    Fails(Status),   Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,     Runs,          Left(Status)]),
    (Busy(429, None),    Always, [Fails(Status),    Fails(Status),    Fails(Status),   Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,     Runs,          Left(Status)]),
    (Busy(429, None),    Once,   [Whole,            Whole,            Whole,           Whole,            Whole,            ANSWERED,         ANSWERED,     Whole,         Whole]),
    (Busy(429, Some(1)), Always, [Fails(Status),    Fails(Status),    Fails(Status),   Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,     Runs,          Left(Status)]),
    (Busy(429, Some(1)), Once,   [Whole,            Whole,            Whole,           Whole,            Whole,            ANSWERED,         ANSWERED,     Whole,         Whole]),
    (Busy(503, None),    Always, [Fails(Status),    Fails(Status),    Fails(Status),   Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,     Runs,          Left(Status)]),
    (Busy(503, None),    Once,   [Whole,            Whole,            Whole,           Whole,            Whole,            ANSWERED,         ANSWERED,     Whole,         Whole]),
    (Busy(503, Some(1)), Always, [Fails(Status),    Fails(Status),    Fails(Status),   Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,     Runs,          Left(Status)]),
    (Busy(503, Some(1)), Once,   [Whole,            Whole,            Whole,           Whole,            Whole,            ANSWERED,         ANSWERED,     Whole,         Whole]),
    (Moved,              Always, [Fails(Status),    Fails(Status),    Fails(Status),   Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,     Runs,          Left(Status)]),
    (Idle,               Always, [Whole,            JUST_USED,        Whole,           JUST_USED,        JUST_USED,        IN_USE,           IN_USE,       Whole,         Whole]),
    (Bytewise,           Always, [Whole,            Whole,            Whole,           Whole,            Whole,            Whole,            Whole,        Whole,         Whole]),
];

const CURRENT: &[Dialect] =
    &[Dialect::Json, Dialect::V084, Dialect::Form, Dialect::V095, Dialect::Newest];

/// Servers that send keep-alives and reject an empty reply.
const WATCHFUL: &[Dialect] = &[Dialect::Form, Dialect::V095, Dialect::Newest];

/// Exceptions of some servers from the table above.
type Exception = (&'static [Dialect], Fault, Stage, Cell);

#[rustfmt::skip]
const EXCEPTIONS: &[Exception] = &[
    (CURRENT,  Idle,  Stage::Settings,    FOUND_OUT),
    (CURRENT,  Ended, Stage::Settings,    ACCEPTED),
    (WATCHFUL, Mute,  Stage::MessageHead, Fails(TOKEN)),
    (WATCHFUL, Mute,  Stage::MidStream,   Fails(TOKEN)),
    (WATCHFUL, Ended, Stage::MessageHead, Fails(Generation)),
];

/// The outcome of a fault on this server, given the table's.
pub fn cell_on(server: Kind, fault: Fault, stage: Stage, usual: Cell) -> Cell {
    let is_asked = match stage {
        Stage::Settings | Stage::Models | Stage::History => {
            let mut cold = server.cold.iter();
            cold.any(|line| step_of_line(line) == Some(stage.step()))
        }
        Stage::Stop => server.stops,
        _ => true,
    };
    if !is_asked {
        return UNASKED;
    }
    // Such a reply can be stopped only while its connection is open.
    if server.dialect == Dialect::V095 && matches!(stage, Stage::MessageHead | Stage::MidStream) {
        return UNREAD;
    }
    let exception = EXCEPTIONS.iter().find(|exception| {
        exception.0.contains(&server.dialect) && (exception.1, exception.2) == (fault, stage)
    });
    exception.map_or(usual, |exception| exception.3)
}

impl Stage {
    /// The step whose response has the fault.
    pub fn step(self) -> Step {
        match self {
            Stage::Settings => Step::PostSettings,
            Stage::Models => Step::ListModels,
            Stage::Conversation => Step::CreateConversation,
            Stage::History => Step::ReadHistory,
            Stage::MessageHead | Stage::MidStream | Stage::EndOfStream => Step::SendMessage,
            Stage::Stop => Step::StopGeneration,
            Stage::Delete => Step::DeleteConversation,
        }
    }
}
