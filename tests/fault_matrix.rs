//! Everything that can go wrong, wherever it can: one table, and one walk through all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, Error, ErrorKind, Limit, Request, Result, Step};

mod faults;
mod stand_in;

use Cell::{Fails, Left, Lost, Never, Runs, Whole};
use ErrorKind::{Connect, Protocol, Status, TooLarge, Truncated};
use Fault::{
    Busy, Bytewise, Closed, Ended, EndlessHead, EndlessLine, Garbage, HalfAChunk, HalfAHead, Idle,
    Moved, Page, Refused, Reset, Silent, Trickling,
};
use Times::{Always, Once};
use faults::{Fault, Kind};
use stand_in::{Act, Plan, Reaction, StandIn};

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Settings,
    Conversation,
    MessageHead,
    MidStream,
    /// After the last event, before the last chunk.
    EndOfStream,
    Stop,
    Delete,
}

/// What has to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// It succeeds, and nothing is left.
    Whole,
    /// It fails, and nothing is left.
    Fails(ErrorKind),
    /// It fails, and leaves a conversation whose id never came. The error says that there may be one.
    Lost(ErrorKind),
    /// It leaves a conversation, which is named.
    Left(ErrorKind),
    /// It succeeds, but a generation goes on that could not be stopped.
    Runs,
    /// There is no such thing, and why.
    Never(&'static str),
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Always,
    Once,
}

const SILENCE: ErrorKind = ErrorKind::Timeout(Limit::Silence);
const STALL: ErrorKind = ErrorKind::Timeout(Limit::Stall);
const CLEANUP: ErrorKind = ErrorKind::Timeout(Limit::Cleanup);

const CONNECTED: Cell = Never("the connection has been made");
const BEGUN: Cell = Never("the head has come");
const ANSWERED: Cell = Never("the status has come");
const USUAL: Cell = Never("so every reply ends");
const IN_USE: Cell = Never("the connection is in use");
const JUST_USED: Cell = Never("the connection brought the conversation's id a moment ago");

const STAGES: [Stage; 7] = [
    Stage::Settings,
    Stage::Conversation,
    Stage::MessageHead,
    Stage::MidStream,
    Stage::EndOfStream,
    Stage::Stop,
    Stage::Delete,
];

/// A fault, how often it strikes, and what becomes of it at each of the stages.
type Row = (Fault, Times, [Cell; STAGES.len()]);

#[rustfmt::skip]
const MATRIX: &[Row] = &[
    //                            settings          conversation      message head      mid-stream        end of stream  stop           delete
    (Refused,            Always, [Fails(Connect),   Fails(Connect),   Left(Connect),    CONNECTED,        CONNECTED,     Left(Connect), Left(Connect)]),
    (Silent,             Always, [Fails(SILENCE),   Lost(SILENCE),    Fails(SILENCE),   Fails(SILENCE),   Whole,         Runs,          Left(CLEANUP)]),
    (Trickling,          Always, [Fails(STALL),     Lost(STALL),      Fails(STALL),     Fails(STALL),     Whole,         Runs,          Left(CLEANUP)]),
    (Closed,             Always, [Fails(Truncated), Lost(Truncated),  Fails(Truncated), Fails(Truncated), Whole,         Runs,          Left(Truncated)]),
    (Closed,             Once,   [Whole,            Lost(Truncated),  Fails(Truncated), Fails(Truncated), Whole,         Whole,         Whole]),
    (Reset,              Always, [Fails(Truncated), Lost(Truncated),  Fails(Truncated), Fails(Truncated), Whole,         Runs,          Left(Truncated)]),
    (Reset,              Once,   [Whole,            Lost(Truncated),  Fails(Truncated), Fails(Truncated), Whole,         Whole,         Whole]),
    (HalfAHead,          Always, [Fails(Truncated), Lost(Truncated),  Fails(Truncated), BEGUN,            BEGUN,         Runs,          Left(Truncated)]),
    (HalfAHead,          Once,   [Whole,            Lost(Truncated),  Fails(Truncated), BEGUN,            BEGUN,         Whole,         Whole]),
    (HalfAChunk,         Always, [Fails(Truncated), Lost(Truncated),  Fails(Truncated), Fails(Truncated), Whole,         Whole,         Whole]),
    (Ended,              Always, [Fails(Protocol),  Lost(Protocol),   Fails(Truncated), Fails(Truncated), USUAL,         Whole,         Whole]),
    (Garbage,            Always, [Fails(Protocol),  Lost(Protocol),   Fails(Protocol),  Fails(Protocol),  Whole,         Runs,          Left(Protocol)]),
    (EndlessHead,        Always, [Fails(TooLarge),  Lost(TooLarge),   Fails(TooLarge),  BEGUN,            Whole,         Runs,          Left(TooLarge)]),
    (EndlessLine,        Always, [Fails(TooLarge),  Lost(TooLarge),   Fails(TooLarge),  Fails(TooLarge),  Whole,         Whole,         Whole]),
    (Page,               Always, [Fails(Status),    Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(429, None),    Always, [Fails(Status),    Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(429, None),    Once,   [Whole,            Whole,            Whole,            ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(429, Some(1)), Always, [Fails(Status),    Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(429, Some(1)), Once,   [Whole,            Whole,            Whole,            ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(503, None),    Always, [Fails(Status),    Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(503, None),    Once,   [Whole,            Whole,            Whole,            ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(503, Some(1)), Always, [Fails(Status),    Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Busy(503, Some(1)), Once,   [Whole,            Whole,            Whole,            ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Moved,              Always, [Fails(Status),    Fails(Status),    Fails(Status),    ANSWERED,         ANSWERED,      Runs,          Left(Status)]),
    (Idle,               Always, [Whole,            Whole,            JUST_USED,        IN_USE,           IN_USE,        Whole,         Whole]),
    (Bytewise,           Always, [Whole,            Whole,            Whole,            Whole,            Whole,         Whole,         Whole]),
];

/// How a reply is asked for and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ask,
    Iterate,
    /// After the first token, with the error in hand.
    Delete,
    /// After the first token.
    Drop,
    /// After the first token, and the conversation deleted later.
    Keep,
}

impl Stage {
    fn ways(self) -> &'static [Way] {
        match self {
            Stage::Stop => &[Way::Delete, Way::Drop],
            Stage::Delete => &[Way::Ask, Way::Iterate, Way::Delete, Way::Drop, Way::Keep],
            Stage::MidStream => &[Way::Ask, Way::Iterate],
            _ => &[Way::Ask],
        }
    }

    /// The request whose answer the fault is in.
    fn kind(self) -> Kind {
        match self {
            Stage::Settings => Kind::Settings,
            Stage::Conversation => Kind::Opening,
            Stage::MessageHead | Stage::MidStream | Stage::EndOfStream => Kind::Message,
            Stage::Stop => Kind::Stop,
            Stage::Delete => Kind::Deletion,
        }
    }

    /// Where the error says that it came up. A stop that fails is none.
    fn step(self, fault: Fault) -> Step {
        match self {
            Stage::Settings => Step::Settings,
            Stage::Conversation => Step::Conversation,
            Stage::MessageHead if !fault.has_good_head() => Step::Message,
            Stage::MessageHead | Stage::MidStream | Stage::EndOfStream => Step::Reply,
            Stage::Stop | Stage::Delete => Step::Delete,
        }
    }
}

/// How long silence and stall may last where a fault has to run into them.
const SHORT: Duration = Duration::from_millis(700);

/// The cleanup budget where a fault has to run into it.
const BUDGET: Duration = Duration::from_secs(1);

/// What no fault but those is given: a call that came this far has waited for what it need not wait for.
const LONG: Duration = Duration::from_secs(20);

/// How long the end of a complete reply is waited for.
const DRAIN: Duration = Duration::from_millis(250);

/// The longest that is waited before the one retry.
const PAUSE: Duration = Duration::from_secs(1);

/// What a busy machine may take besides.
const SLACK: Duration = Duration::from_secs(3);

/// After how long an idle connection is closed, where that is the fault.
const IDLE: Duration = Duration::from_millis(100);

const TOKENS: [&str; 3] = ["Two", " and", " three."];
const TEXT: &str = "Two and three.";

/// How many tokens come before a fault in the middle of the reply, and what they are.
const BEFORE: usize = 2;
const RECEIVED: &str = "Two and";

/// One walk through one cell.
#[derive(Clone, Copy, Debug)]
struct Case {
    stage: Stage,
    fault: Fault,
    times: Times,
    way: Way,
    cell: Cell,
}

impl Case {
    fn all() -> Vec<Case> {
        let mut all = Vec::new();
        for &(fault, times, cells) in MATRIX {
            for (stage, cell) in STAGES.into_iter().zip(cells) {
                let case = |&way| Case {
                    stage,
                    fault,
                    times,
                    way,
                    cell,
                };
                all.extend(stage.ways().iter().map(case));
            }
        }
        all.retain(|case| case.makes_sense());
        all
    }

    fn makes_sense(self) -> bool {
        // Only a conversation that was kept is deleted some time after the request before.
        let is_idle = self.stage != Stage::Delete || self.way == Way::Keep;
        !matches!(self.cell, Never(_)) && (self.fault != Idle || is_idle)
    }

    /// Whether the fault is in what the model says, and not in how the server answers.
    fn is_planned(self) -> bool {
        match self.stage {
            Stage::MidStream | Stage::EndOfStream => true,
            // A clean end is the model's.
            Stage::MessageHead => self.fault == Ended,
            _ => false,
        }
    }

    /// Whether the reply is ended by its reader, and never by the server.
    fn is_cut(self) -> bool {
        matches!(self.way, Way::Delete | Way::Drop | Way::Keep)
    }

    /// The server, and how often the fault will strike yet.
    fn server(self) -> (StandIn, Arc<AtomicUsize>) {
        let times = match self.times {
            Always => usize::MAX,
            Once => 1,
        };
        let times = Arc::new(AtomicUsize::new(times));
        let left = Arc::clone(&times);
        let strikes = move || {
            let less = |left: usize| left.checked_sub(1);
            let struck = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            struck.is_ok()
        };
        let server = StandIn::builder()
            .idle(if self.fault == Idle { IDLE } else { LONG })
            .plan(move |_| self.plan())
            .intercept(move |request| self.reaction(Kind::of(request)?, &strikes))
            .start();
        if self.fault == Refused && self.stage == Stage::Settings {
            server.refuse();
        }
        (server, times)
    }

    fn plan(self) -> Plan {
        let Plan::Acts(acts) = Plan::tokens(TOKENS) else {
            unreachable!("tokens are acts")
        };
        let mut acts: Vec<Act> = acts.collect();
        let place = match self.stage {
            Stage::MessageHead => 0,
            Stage::MidStream => BEFORE,
            _ => acts.len(),
        };
        if self.is_planned() {
            match self.fault.within(self.stage == Stage::EndOfStream) {
                Some(reaction) => acts.insert(place, Act::React(reaction)),
                None => acts.truncate(place),
            }
        }
        if self.is_cut() {
            acts.truncate(TOKENS.len());
            acts.push(Act::Hang);
        }
        Plan::acts(acts)
    }

    fn reaction(self, kind: Kind, strikes: impl Fn() -> bool) -> Option<Reaction> {
        if self.fault == Refused {
            return (self.last_heard() == Some(kind)).then_some(Reaction::Farewell);
        }
        if self.is_planned() || kind != self.stage.kind() {
            return None;
        }
        let instead = self.fault.instead().filter(|_| strikes())?;
        // The worst moment to lose an answer is when what was asked has been done; and who says that it has been
        // done has done it.
        let may_be_done = matches!(kind, Kind::Opening | Kind::Message) && !self.fault.is_refusal();
        let is_done = may_be_done || self.fault.has_good_head();
        Some(match instead {
            Reaction::Bytewise => instead,
            _ if is_done => Reaction::Lost(Box::new(instead)),
            _ => instead,
        })
    }

    /// The request after which nobody listens any more, if one comes through.
    fn last_heard(self) -> Option<Kind> {
        match self.stage {
            Stage::Conversation => Some(Kind::Settings),
            Stage::MessageHead => Some(Kind::Opening),
            Stage::Delete if self.is_cut() => Some(Kind::Stop),
            Stage::Stop | Stage::Delete => Some(Kind::Message),
            _ => None,
        }
    }

    /// Where a fault has to run into a limit, that is short; where not, it is one that no call ever comes near.
    fn client(self, server: &StandIn) -> Client {
        let is_cleanup = matches!(self.stage, Stage::Stop | Stage::Delete);
        let (silence, stall) = match self.fault {
            Silent if !is_cleanup => (SHORT, LONG),
            Trickling if !is_cleanup => (LONG, SHORT),
            _ => (LONG, LONG),
        };
        // An answer that would bring an id is waited for so much longer.
        let has_budget = is_cleanup || self.stage == Stage::Conversation;
        let budget = if has_budget && self.fault.is_endless() {
            BUDGET
        } else {
            LONG
        };
        Client::builder(&server.url())
            .retries(1)
            .silence_timeout(silence)
            .stall_timeout(stall)
            .cleanup_budget(budget)
            .build()
            .unwrap()
    }

    /// How long the call may take by what the documentation promises.
    fn longest(self) -> Duration {
        let limit = match self.stage {
            Stage::Stop | Stage::Delete if self.fault.is_endless() => BUDGET,
            Stage::Conversation if self.fault.is_endless() => SHORT + BUDGET,
            _ if self.fault.is_endless() => SHORT,
            Stage::Stop | Stage::Delete => Duration::ZERO,
            // Before the one retry.
            _ => PAUSE,
        };
        limit + DRAIN
    }

    /// What the call says, and how long it took from where the fault could strike.
    fn call(self, server: &StandIn, client: &Client) -> (Result<String>, Duration) {
        let mut request = Request::new("hello");
        if self.is_cut() {
            return self.cut(server, client, request);
        }
        if self.fault == Idle {
            client.ask("hello").unwrap();
            self.wait_for_idle(server, 0);
            if self.stage == Stage::Settings {
                request = request.model("other/model");
            }
        }
        if self.way == Way::Ask {
            timed(|| client.ask(request))
        } else {
            timed(|| client.generate(request)?.collect())
        }
    }

    fn cut(
        self,
        server: &StandIn,
        client: &Client,
        request: Request,
    ) -> (Result<String>, Duration) {
        let mut tokens = client.generate(request).unwrap();
        assert_eq!(tokens.next().unwrap().unwrap(), TOKENS[0], "{self:?}");
        if self.fault == Idle && self.stage == Stage::Stop {
            // Over a second connection, while the reply has the first.
            client.models().unwrap();
            self.wait_for_idle(server, 1);
        }
        let nothing = |()| String::new();
        match self.way {
            Way::Keep => {
                let kept = tokens.keep();
                if self.fault == Idle {
                    self.wait_for_idle(server, 0);
                }
                timed(|| kept.delete().map(nothing))
            }
            Way::Drop => {
                let ((), took) = timed(|| drop(tokens));
                (Ok(String::new()), took)
            }
            _ => timed(|| tokens.delete().map(nothing)),
        }
    }

    fn wait_for_idle(self, server: &StandIn, open: usize) {
        let what = format!("{self:?}: the idle connection to be closed");
        server.wait_for(&what, |counts| counts.open == open);
    }

    /// Walks through the cell; returns how long a drop took.
    fn walk(self) -> Option<Duration> {
        let (server, left) = self.server();
        let client = self.client(&server);
        let (said, took) = self.call(&server, &client);

        let context = format!("{self:?}: {said:?} after {took:?}");
        assert!(took < self.longest() + SLACK, "{context}");
        self.check_words(&said, took, &context);
        self.check_names(&said, &server, &client, &context);
        if self.fault != Refused {
            left.store(0, Ordering::Relaxed);
            self.check_sweep(&server, &client, &context);
        }
        (self.way == Way::Drop).then_some(took)
    }

    /// Of a success, that it is whole; of a failure, its kind, its place and what had come.
    fn check_words(self, said: &Result<String>, took: Duration, context: &str) {
        let kind = match self.cell {
            Fails(kind) | Lost(kind) | Left(kind) => Some(kind),
            _ => None,
        };
        // Only these two say it when nothing but the deletion failed.
        let is_told = match (self.stage, self.way) {
            (_, Way::Drop) | (Stage::Delete, Way::Ask) => false,
            _ => kind.is_some(),
        };
        match said {
            Ok(text) => {
                let whole = if self.is_cut() { "" } else { TEXT };
                assert_eq!((is_told, text.as_str()), (false, whole), "{context}");
            }
            Err(error) => {
                let told = (is_told, kind, self.stage.step(self.fault));
                let told_here = (true, Some(error.kind()), error.step());
                assert_eq!(told_here, told, "{context}");
                self.check_received(error.received(), context);
            }
        }
        if matches!(kind, Some(SILENCE | STALL)) {
            assert!(took >= SHORT, "{context}");
        }
        if let (Err(error), Busy(status, seconds)) = (said, self.fault) {
            assert_eq!(error.status(), Some(status), "{context}");
            assert_eq!(
                error.retry_after(),
                seconds.map(Duration::from_secs),
                "{context}"
            );
        }
    }

    fn check_received(self, received: &str, context: &str) {
        // What the iterator has handed out is not in its error.
        let is_gathered = self.stage == Stage::MidStream && self.way == Way::Ask;
        match self.fault {
            // ureq forgets what it has read together with a broken frame.
            Garbage if is_gathered => assert!(RECEIVED.starts_with(received), "{context}"),
            _ if is_gathered => assert_eq!(received, RECEIVED, "{context}"),
            _ => assert_eq!(received, "", "{context}"),
        }
    }

    /// That what is left on the server is what the table says, and is named.
    fn check_names(self, said: &Result<String>, server: &StandIn, client: &Client, context: &str) {
        let is_running = match self.cell {
            Runs => true,
            Left(_) => self.stage == Stage::Stop,
            _ => false,
        };
        let is_left = matches!(self.cell, Lost(_) | Left(_));
        server.wait_for(context, |counts| {
            (counts.running, counts.conversations)
                == (usize::from(is_running), usize::from(is_left))
        });
        let left = server.conversations();
        let error = said.as_ref().err();
        if let Lost(_) = self.cell {
            assert!(error.is_some_and(Error::maybe_undeleted), "{context}");
            assert_eq!(client.leftovers(), [""; 0], "{context}");
        } else {
            assert_eq!(client.leftovers(), left, "{context}");
            if let Some(error) = error {
                assert_eq!(
                    error.undeleted(),
                    left.first().map(String::as_str),
                    "{context}"
                );
                let may_be = error.maybe_undeleted();
                assert!(!may_be || self.stage == Stage::Conversation, "{context}");
            }
        }
    }

    /// That what is named can be deleted once nothing goes wrong any more.
    fn check_sweep(self, server: &StandIn, client: &Client, context: &str) {
        let left = usize::from(matches!(self.cell, Left(_)));
        assert_eq!(client.sweep().unwrap(), left, "{context}");
        assert_eq!(client.leftovers(), [""; 0], "{context}");
        let lost = usize::from(matches!(self.cell, Lost(_)));
        assert_eq!(server.counts().conversations, lost, "{context}");
    }
}

fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let said = call();
    (said, start.elapsed())
}

#[test]
fn nothing_hangs_nothing_leaks_and_nothing_is_taken_for_whole_whatever_goes_wrong() {
    /// Most cells wait more than they work.
    const WALKERS: usize = 6;
    let cases = Case::all();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let slowest = Mutex::new((Duration::ZERO, None));
    let walk = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            match catch_unwind(AssertUnwindSafe(|| case.walk())) {
                Err(_) => failed.lock().unwrap().push(case),
                Ok(None) => {}
                Ok(Some(took)) => {
                    let mut slowest = slowest.lock().unwrap();
                    if took > slowest.0 {
                        *slowest = (took, Some(case));
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WALKERS {
            scope.spawn(walk);
        }
    });
    let (took, case) = slowest.into_inner().unwrap();
    println!(
        "{} cases; the slowest drop took {took:?} of {BUDGET:?}: {case:?}",
        cases.len()
    );
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:#?}",
        failed.len(),
        cases.len()
    );
}
