//! Everything that can go wrong, wherever it can, on every server that is spoken to: one table, and
//! one walk through all of it.

use std::fmt;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, Error, Request, Result, Step};

mod matrix;

use crate::stand_in::{Act, Plan, Reaction, StandIn};
use crate::support::faults::Fault::{
    self, Busy, Bytewise, Ended, Garbage, Idle, Mute, Refused, Silent, Trickling,
};
use crate::support::{EVERY, Kind, acts, builder, step_of, step_of_line, take_one, timed};
use matrix::Cell::{self, Fails, Left, Lost, Never, Runs};
use matrix::Times::{self, Always, Once};
use matrix::{MATRIX, SILENCE, STAGES, STALL, Stage, cell_on};

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
}

/// How long silence and stall may last where a fault has to run into them.
const SHORT: Duration = Duration::from_millis(700);

/// A token timeout that is clearly longer than an idle timeout.
const STALLING: Duration = Duration::from_millis(2500);

/// The longest wait that a busy server asks for.
const WAIT: Duration = Duration::from_secs(1);

/// The cleanup budget where a fault has to run into it.
const BUDGET: Duration = Duration::from_secs(2);

/// The timeout where no fault should reach one: a call that takes this long has waited for
/// something it need not wait for.
const LONG: Duration = Duration::from_secs(20);

/// How long the end of a complete reply is waited for.
const DRAIN: Duration = Duration::from_millis(250);

/// The longest that is waited before the one retry.
const PAUSE: Duration = Duration::from_secs(1);

/// The additional time that a busy machine may take.
const SLACK: Duration = Duration::from_secs(3);

/// After how long an idle connection is closed, where that is the fault.
const IDLE: Duration = Duration::from_millis(100);

const TOKENS: [&str; 3] = ["Two", " and", " three."];
const TEXT: &str = "Two and three.";

/// How many tokens come before a fault in the middle of the reply, and what they are.
const BEFORE: usize = 2;
const RECEIVED: &str = "Two and";

/// One walk through one cell.
#[derive(Clone, Copy)]
struct Case {
    server: Kind,
    stage: Stage,
    fault: Fault,
    times: Times,
    way: Way,
    cell: Cell,
}

impl Case {
    fn all() -> Vec<Case> {
        let mut all = Vec::new();
        for server in EVERY {
            for &(fault, times, cells) in MATRIX {
                for (stage, usual) in STAGES.into_iter().zip(cells) {
                    let case = |&way| Case {
                        server,
                        stage,
                        fault,
                        times,
                        way,
                        cell: cell_on(server, fault, stage, usual),
                    };
                    all.extend(stage.ways().iter().map(case));
                }
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

    /// Returns whether the fault is in what the model says, and not in how the server answers.
    fn is_planned(self) -> bool {
        match self.stage {
            Stage::MidStream | Stage::EndOfStream => true,
            // A clean end and a silence behind which the server is well are the model's.
            Stage::MessageHead => matches!(self.fault, Ended | Mute),
            _ => false,
        }
    }

    /// Where the error says that it came up. A stop that fails is none.
    fn step(self) -> Step {
        // A current server begins its reply before its model does.
        let is_begun =
            self.fault.has_good_head() || self.is_planned() && self.server.begins_at_once();
        match self.stage {
            Stage::Settings => Step::PostSettings,
            Stage::Models => Step::ListModels,
            Stage::Conversation => Step::CreateConversation,
            Stage::History => Step::ReadHistory,
            Stage::MessageHead if !is_begun => Step::SendMessage,
            Stage::MessageHead | Stage::MidStream | Stage::EndOfStream => Step::ReadReply,
            Stage::Stop | Stage::Delete => Step::DeleteConversation,
        }
    }

    /// Returns whether the reply is ended by its reader, and never by the server.
    fn is_cut(self) -> bool {
        matches!(self.way, Way::Delete | Way::Drop | Way::Keep)
    }

    /// Returns whether the model goes on until it is stopped.
    fn goes_on(self) -> bool {
        let is_asked = self.fault != Refused && !self.fault.is_refusal();
        match self.stage {
            _ if self.is_cut() => true,
            Stage::MessageHead | Stage::MidStream => {
                is_asked && !matches!(self.fault, Ended | Bytewise)
            }
            _ => false,
        }
    }

    /// Returns whether it is asked again and again until the cleanup timeout is over.
    fn is_repeated(self) -> bool {
        let is_cleanup = matches!(self.stage, Stage::Stop | Stage::Delete);
        is_cleanup && self.times == Always && matches!(self.fault, Busy(..))
    }

    /// Returns whether a stop comes through and does something.
    fn is_stopped(self) -> bool {
        let is_lost = matches!(self.cell, Left(_)) && self.stage == Stage::Stop;
        self.server.stops && self.cell != Runs && !is_lost
    }

    /// The server, and how often the fault will strike yet.
    fn server(self) -> (StandIn, Arc<AtomicUsize>) {
        let times = match self.times {
            Always => usize::MAX,
            Once => 1,
        };
        let times = Arc::new(AtomicUsize::new(times));
        let left = Arc::clone(&times);
        let server = self
            .server
            .builder()
            .idle(if self.fault == Idle { IDLE } else { LONG })
            .plan(move |_| self.plan())
            .intercept(move |request| self.reaction(step_of(request)?, &left))
            .start();
        (server, times)
    }

    /// Lets nobody listen any more where that is the fault of the first step. While the socket is
    /// kept, nobody else can have the server's port.
    fn refuse(self, server: &StandIn) -> Option<TcpStream> {
        let kept = (self.fault == Refused).then(|| {
            let kept = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            server.wait_for("the connection", |counts| counts.open == 1);
            kept
        });
        if kept.is_some() && self.last_heard().is_none() {
            server.refuse();
        }
        kept
    }

    fn plan(self) -> Plan {
        let mut acts: Vec<Act> = acts(Plan::tokens(TOKENS)).collect();
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
        }
        if self.is_cut() || self.fault == Mute {
            acts.push(Act::Hang);
        }
        Plan::acts(acts)
    }

    fn reaction(self, step: Step, left: &AtomicUsize) -> Option<Reaction> {
        if self.fault == Refused {
            return (self.last_heard() == Some(step)).then_some(Reaction::Farewell);
        }
        if self.is_planned() || step != self.stage.step() {
            return None;
        }
        let instead = self.fault.instead().filter(|_| take_one(left))?;
        // The worst moment to lose an answer is when what was asked has been done; and who says
        // that it has been done has done it.
        let may_be_done = matches!(step, Step::CreateConversation | Step::SendMessage)
            && !self.fault.is_refusal();
        let is_done = may_be_done || self.fault.has_good_head();
        Some(match instead {
            Reaction::Bytewise => instead,
            _ if is_done => Reaction::Lost(Box::new(instead)),
            _ => instead,
        })
    }

    /// The request after which nobody listens any more, if one comes through.
    fn last_heard(self) -> Option<Step> {
        match self.stage {
            Stage::Delete if self.is_cut() && self.server.stops => Some(Step::StopGeneration),
            Stage::Delete if self.is_cut() => Some(Step::SendMessage),
            Stage::Stop => Some(Step::SendMessage),
            stage => {
                let steps = self.server.cold.iter().filter_map(|line| step_of_line(line));
                steps.take_while(|&step| step != stage.step()).last()
            }
        }
    }

    /// Where a fault has to run into a limit, that is short; where not, it is one that no call ever
    /// comes near.
    fn client(self, server: &StandIn) -> Client {
        let is_cleanup = matches!(self.stage, Stage::Stop | Stage::Delete);
        let (silence, stall) = match self.fault {
            Silent if !is_cleanup => (SHORT, LONG),
            Trickling if !is_cleanup => (LONG, SHORT),
            Mute => (SHORT, STALLING),
            _ => (LONG, LONG),
        };
        // An answer that would bring an id is waited for so much longer.
        let has_budget = is_cleanup || self.stage == Stage::Conversation;
        let budget = if has_budget && (self.fault.is_endless() || self.is_repeated()) {
            BUDGET
        } else {
            LONG
        };
        builder(server)
            .retries(1)
            .idle_timeout(silence)
            .token_timeout(stall)
            .cleanup_timeout(budget)
            .build()
            .unwrap()
    }

    /// How long the call may take by what the documentation promises.
    fn longest(self) -> Duration {
        let limit = match self.stage {
            Stage::Stop | Stage::Delete if self.fault.is_endless() || self.is_repeated() => BUDGET,
            Stage::Stop | Stage::Delete if matches!(self.fault, Busy(..)) => WAIT,
            Stage::Conversation if self.fault.is_endless() => SHORT + BUDGET,
            _ if self.fault == Mute => STALLING,
            _ if self.fault.is_endless() => SHORT,
            Stage::Stop | Stage::Delete => Duration::ZERO,
            // Before the one retry.
            _ => PAUSE,
        };
        limit + DRAIN
    }

    /// The result of the call, and its duration from where the fault could strike.
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
            timed(|| client.stream(request)?.collect())
        }
    }

    fn cut(
        self,
        server: &StandIn,
        client: &Client,
        request: Request,
    ) -> (Result<String>, Duration) {
        let mut tokens = client.stream(request).unwrap();
        assert_eq!(tokens.next().unwrap().unwrap(), TOKENS[0], "{self:?}");
        if self.fault == Idle && self.stage == Stage::Stop {
            // Over a second connection, while the reply has the first.
            client.list_models().unwrap();
            self.wait_for_idle(server, 1);
        }
        let nothing = |()| String::new();
        match self.way {
            Way::Keep => {
                let kept = tokens.keep();
                if self.fault == Idle {
                    // A reply that goes on has one.
                    self.wait_for_idle(server, usize::from(!self.is_stopped()));
                }
                timed(|| kept.delete().map(nothing))
            }
            Way::Drop => {
                let ((), took) = timed(|| drop(tokens));
                (Ok(String::new()), took)
            }
            _ => timed(|| tokens.cancel().map(nothing)),
        }
    }

    fn wait_for_idle(self, server: &StandIn, open: usize) {
        let what = format!("{self:?}: the idle connection to be closed");
        server.wait_for(&what, |counts| counts.open == open);
    }

    /// Walks through the cell; returns how long a drop took.
    fn walk(self) -> Option<Duration> {
        let (server, left) = self.server();
        let _kept = self.refuse(&server);
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
                let told = (is_told, kind, self.step());
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
            assert_eq!(error.retry_after(), seconds.map(Duration::from_secs), "{context}");
        }
    }

    fn check_received(self, received: &str, context: &str) {
        // An error of the iterator has no text: that was handed out.
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
        let is_running = self.goes_on() && !self.is_stopped();
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
                assert_eq!(error.undeleted(), left.first().map(String::as_str), "{context}");
                let may_be = error.maybe_undeleted();
                assert!(!may_be || self.stage == Stage::Conversation, "{context}");
            }
        }
    }

    /// That what is named can be deleted once nothing goes wrong any more.
    fn check_sweep(self, server: &StandIn, client: &Client, context: &str) {
        let left = usize::from(matches!(self.cell, Left(_)));
        assert_eq!(client.delete_leftovers().unwrap(), left, "{context}");
        assert_eq!(client.leftovers(), [""; 0], "{context}");
        let lost = usize::from(matches!(self.cell, Lost(_)));
        assert_eq!(server.counts().conversations, lost, "{context}");
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Case { server, stage, fault, times, way, cell } = self;
        let server = server.name();
        write!(f, "{server}: {stage:?} {fault:?} {times:?} {way:?} {cell:?}")
    }
}

#[test]
fn no_fault_causes_a_hang_a_leak_or_silent_truncation() {
    /// Most cells wait more than they work.
    const WALKERS: usize = 24;
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
    println!("{} cases; the slowest drop took {took:?} of {BUDGET:?}: {case:?}", cases.len());
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}
