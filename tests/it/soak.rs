//! Many replies at once from each of the supported servers, with random faults at random times.
//!
//! `H2O_CHAT_SOAK=1` makes it 2,000 replies from 16 threads of each. `H2O_CHAT_SEED` repeats the
//! random choices of an earlier run, but not their assignment to threads.

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use h2o_chat::{CancelHandle, Client, Error, Protocol, Request, Step};

mod script;

use crate::random::Random;
use crate::stand_in::{self, Reaction, StandIn};
use crate::support::faults::Fault;
use crate::support::process::alone;
use crate::support::{
    CLASSIC, FORM, H2OGPTE, JSON, Kind, NEWER, NEWEST, V0_8_4, builder_of_user, step_of,
};
use script::{FAULTS, Script, Way};

const LIMIT: Duration = Duration::from_millis(500);
const CLEANUP_TIMEOUT: Duration = Duration::from_millis(500);

/// The additional time that a busy machine may take.
const SLACK: Duration = Duration::from_secs(5);

/// Far longer than all timeouts of one call together, and far shorter than a hang.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// The number of connections that a client keeps.
const POOL: usize = 8;

/// One response in this many is faulty.
const FAULTY: usize = 6;

const FORGOTTEN: &str = "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n";

/// The faults of the server, and those that have struck.
struct Trouble {
    server: Kind,
    seed: u64,
    random: Mutex<Random>,
    is_on: AtomicBool,
    struck: AtomicUsize,
    /// The conversations in which a stop failed.
    unstopped: Mutex<BTreeSet<String>>,
    /// For each conversation, the connection of its deletion.
    deletions: Mutex<HashMap<String, usize>>,
    stops: Vec<CancelHandle>,
}

impl Trouble {
    fn new(server: Kind, seed: u64, replies: usize) -> Arc<Trouble> {
        Arc::new(Trouble {
            server,
            seed,
            random: Mutex::new(Random::new(seed)),
            is_on: AtomicBool::new(true),
            struck: AtomicUsize::new(0),
            unstopped: Mutex::default(),
            deletions: Mutex::default(),
            stops: (0..replies).map(|_| CancelHandle::default()).collect(),
        })
    }

    fn server(self: &Arc<Trouble>) -> StandIn {
        let (planning, reacting) = (Arc::clone(self), Arc::clone(self));
        let builder = self.server.builder();
        builder
            .plan(move |prompt| {
                let number: usize = prompt.parse().unwrap();
                Script::new(planning.seed, number).plan(planning.stops[number].clone())
            })
            .intercept(move |request| reacting.reaction(request))
            .start()
    }

    fn reaction(&self, request: &stand_in::Request) -> Option<Reaction> {
        let step = step_of(request)?;
        self.note_order(step, request);
        let is_stop = match step {
            Step::StopGeneration => true,
            // A stop first reads the id of the question.
            Step::ReadHistory => self.server.protocol == Protocol::H2ogpte,
            _ => false,
        };
        if is_stop && !self.server.stops {
            self.unstopped.lock().unwrap().extend(id_of(request));
        }
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let mut random = self.random.lock().unwrap();
        if !random.one_in(FAULTY) {
            return None;
        }
        let fault = random.choose(FAULTS);
        let is_late = random.one_in(2) && !fault.is_refusal() && !is_stop;
        let is_forgotten = random.one_in(FAULTS.len()) && step != Step::PostSettings;
        drop(random);

        self.struck.fetch_add(1, Ordering::Relaxed);
        let instead = fault.instead()?;
        if fault == Fault::Bytewise {
            return Some(instead);
        }
        // A server that reports success has acted.
        let is_done = is_late || fault.has_good_head();
        if is_stop && (!is_done || is_forgotten || step == Step::ReadHistory) {
            self.unstopped.lock().unwrap().extend(id_of(request));
        }
        Some(match instead {
            _ if is_forgotten => Reaction::Response(FORGOTTEN.into()),
            _ if is_done => Reaction::Lost(Box::new(instead)),
            _ => instead,
        })
    }

    /// Notes a stop that arrives after the deletion. On a busy machine the client can give up a
    /// stop before the server reads it, and then delete over another connection.
    fn note_order(&self, step: Step, request: &stand_in::Request) {
        let Some(id) = id_of(request) else { return };
        let mut deletions = self.deletions.lock().unwrap();
        match step {
            Step::DeleteConversation => _ = deletions.insert(id, request.connection),
            Step::StopGeneration
                if deletions.get(&id).is_some_and(|&over| over != request.connection) =>
            {
                self.unstopped.lock().unwrap().insert(id);
            }
            _ => {}
        }
    }
}

/// The conversation that a request is about.
fn id_of(request: &stand_in::Request) -> Option<String> {
    let path = request.path.split('?').next().unwrap_or_default();
    if let Some(path) = path.strip_prefix("/api/v1/messages/") {
        // The id of a message differs from its chat's in the first group only.
        let (_, of_chat) = path.strip_suffix("/stop")?.split_once('-')?;
        return Some(format!("0eb9e941-{of_chat}"));
    }
    if let Some(path) = path.strip_prefix("/api/v1/chats/") {
        let id = path.split('/').next()?;
        return (id != "delete_job").then(|| id.to_owned());
    }
    let path = path.strip_prefix("/api").unwrap_or(path);
    let id = path.strip_prefix("/conversation/")?;
    Some(id.strip_suffix("/stop-generating").unwrap_or(id).to_owned())
}

/// The outcomes of the replies.
#[derive(Debug, Default)]
struct Tally {
    whole: AtomicUsize,
    left_early: AtomicUsize,
    failed: AtomicUsize,
    /// Errors that are `maybe_undeleted`.
    lost: AtomicUsize,
}

/// The program under test.
struct Program<'a> {
    client: &'a Client,
    trouble: &'a Trouble,
    tally: Tally,
    slowest: Mutex<Duration>,
}

impl Program<'_> {
    fn run(&self, number: usize) {
        let script = Script::new(self.trouble.seed, number);
        let start = Instant::now();
        let said = self.call(&script, number);
        let took = start.elapsed();
        assert!(took < LONGEST_CALL, "reply {number}: {took:?}");
        let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
        match said {
            Ok(Some(text)) => {
                assert_eq!(text, script.text(), "reply {number}");
                assert!(script.can_be_whole(), "reply {number}");
                count(&self.tally.whole);
            }
            Ok(None) => _ = count(&self.tally.left_early),
            Err(error) => {
                assert!(
                    script.most(self.trouble.server).starts_with(error.received()),
                    "reply {number}: {error}"
                );
                let named = self.client.leftovers();
                let undeleted = error.undeleted().map(str::to_owned);
                assert!(undeleted.is_none_or(|id| named.contains(&id)), "reply {number}: {error}");
                self.tally.lost.fetch_add(usize::from(error.maybe_undeleted()), Ordering::Relaxed);
                count(&self.tally.failed);
            }
        }
    }

    /// Returns the text of a complete reply, or `None` if the program left it early.
    fn call(&self, script: &Script, number: usize) -> Result<Option<String>, Error> {
        let prompt = number.to_string();
        match script.way {
            Way::Ask => self.client.ask(prompt).map(Some),
            Way::Stop => {
                let request = Request::new(prompt).cancel_handle(&self.trouble.stops[number]);
                self.client.ask(request).map(Some)
            }
            Way::Iterate => self.read(script, prompt, usize::MAX),
            Way::Break => self.read(script, prompt, script.place),
            Way::Delete => {
                let mut tokens = self.client.stream(prompt)?;
                tokens.next().transpose()?;
                self.timed(|| tokens.cancel()).map(|()| None)
            }
            Way::Keep => {
                let kept = self.client.stream(prompt)?.keep();
                self.timed(|| kept.delete()).map(|()| None)
            }
            Way::Panic => {
                let mut tokens = self.client.stream(prompt)?;
                tokens.next().transpose()?;
                let panicking = move || {
                    let _tokens = tokens;
                    // Like a panic, without output on standard error.
                    resume_unwind(Box::new(()));
                };
                self.timed(|| catch_unwind(AssertUnwindSafe(panicking)).unwrap_err());
                Ok(None)
            }
        }
    }

    /// Reads at most this many tokens.
    fn read(&self, script: &Script, prompt: String, most: usize) -> Result<Option<String>, Error> {
        let mut tokens = self.client.stream(prompt)?;
        let mut text = String::new();
        for _ in 0..most {
            match tokens.next() {
                None => return Ok(Some(text)),
                Some(Ok(token)) => text.push_str(&token),
                Some(Err(error)) if error.step() == Step::DeleteConversation => {
                    return Ok(Some(text));
                }
                Some(Err(error)) => {
                    let whole = script.most(self.trouble.server);
                    assert!(whole.starts_with(&text), "{text:?} of {whole:?}: {error}");
                    return Err(error);
                }
            }
        }
        self.timed(|| drop(tokens));
        Ok(None)
    }

    /// Runs a cleanup, and checks that it keeps its timeout.
    fn timed<T>(&self, clean_up: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = clean_up();
        let took = start.elapsed();
        assert!(took < CLEANUP_TIMEOUT + SLACK, "{took:?}");
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = took.max(*slowest);
        done
    }
}

/// The system resources of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    threads: usize,
    files: usize,
}

impl Held {
    fn now() -> Held {
        let count = |of: &str| fs::read_dir(of).unwrap().count();
        Held { threads: count("/proc/self/task"), files: count("/proc/self/fd") }
    }
}

/// Polls until the condition holds: the system may show ended threads for a moment.
fn wait_until<T: fmt::Debug>(what: &str, look: impl Fn() -> T, is_good: impl Fn(&T) -> bool) -> T {
    const PATIENCE: Duration = Duration::from_secs(10);
    let start = Instant::now();
    loop {
        let seen = look();
        if is_good(&seen) {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "timed out waiting for {what}: {seen:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    match env::var("H2O_CHAT_SEED") {
        Ok(seed) => seed.parse().expect("H2O_CHAT_SEED is a number"),
        Err(_) => clock().into(),
    }
}

#[test]
fn random_faults_leave_only_named_leftovers() {
    let name = "soak::random_faults_leave_only_named_leftovers";
    // Counts the threads and files of the process.
    alone(name, soak_all);
}

/// The servers, without chat-ui 0.9.5: it obeys a stop only while the connection is open.
const SERVERS: [Kind; 7] = [CLASSIC, JSON, V0_8_4, FORM, NEWER, NEWEST, H2OGPTE];

fn soak_all() {
    let is_long = env::var_os("H2O_CHAT_SOAK").is_some();
    let (replies, threads) = if is_long { (2000, 16) } else { (300 / SERVERS.len(), 8) };
    let seed = seed();
    println!("H2O_CHAT_SEED={seed}");
    // Each server has its own replies.
    let seeds = (seed..).step_by(replies);
    let tallies: Vec<Tally> = SERVERS
        .into_iter()
        .zip(seeds)
        .map(|(server, seed)| soak(&Trouble::new(server, seed, replies), replies, threads))
        .collect();
    check_variety(&tallies, replies * tallies.len());
}

/// Checks that some replies failed, and some did not.
fn check_variety(tallies: &[Tally], replies: usize) {
    let kinds: [fn(&Tally) -> &AtomicUsize; 3] =
        [|tally| &tally.whole, |tally| &tally.left_early, |tally| &tally.failed];
    for kind in kinds {
        let counters = tallies.iter().map(kind);
        let count: usize = counters.map(|count| count.load(Ordering::Relaxed)).sum();
        assert!(count > replies / 20, "{tallies:?}");
    }
}

fn soak(trouble: &Arc<Trouble>, replies: usize, threads: usize) -> Tally {
    let before = Held::now();
    let server = trouble.server();
    let client = builder_of_user(&server, "sk-test")
        .idle_timeout(LIMIT)
        .token_timeout(LIMIT)
        .cleanup_timeout(CLEANUP_TIMEOUT)
        .build()
        .unwrap();
    let tally = run(&client, trouble, replies, threads);
    let lost = tally.lost.load(Ordering::Relaxed);
    check_what_is_left(&client, &server, trouble, lost);

    // The client keeps some connections, and the server those of the generations that were not
    // stopped. For each, the client has one file and the server two.
    let most = POOL + server.generating().len();
    server.wait_for("no more connections than are kept", |counts| counts.open <= most);
    let most = before.files + 1 + 3 * most;
    wait_until("no more files than these", Held::now, |held| held.files <= most);
    drop(client);
    drop(server);
    wait_until("all to be as before", Held::now, |&held| held == before);
    tally
}

fn run(client: &Client, trouble: &Trouble, replies: usize, threads: usize) -> Tally {
    let program = Program { client, trouble, tally: Tally::default(), slowest: Mutex::default() };
    let (start, next) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                numbers
                    .take_while(|&number| number < replies)
                    .for_each(|number| program.run(number));
            });
        }
    });
    let (tally, struck) = (&program.tally, trouble.struck.load(Ordering::Relaxed));
    let slowest = program.slowest.lock().unwrap();
    println!(
        "{}: {replies} replies from {threads} threads in {:?}, {struck} faulty: {tally:?}; \
         the slowest cleanup took {slowest:?} of {CLEANUP_TIMEOUT:?}",
        trouble.server.name(),
        start.elapsed(),
    );
    drop(slowest);
    program.tally
}

fn check_what_is_left(client: &Client, server: &StandIn, trouble: &Trouble, lost: usize) {
    let named = client.leftovers();
    // The client has received every id that it has sent.
    let known: BTreeSet<_> = server.requests().iter().filter_map(id_of).collect();
    let check = |named: &[String]| {
        let mut left = server.conversations();
        left.retain(|id| !named.contains(id));
        assert!(left.iter().all(|id| !known.contains(id)), "known and not named: {left:?}");
        assert!(left.len() <= lost, "{} are left, {lost} may be", left.len());
        left.len()
    };
    check(&named);
    trouble.is_on.store(false, Ordering::Relaxed);
    assert_eq!(client.delete_leftovers().unwrap(), named.len());
    assert_eq!(client.leftovers(), [""; 0]);
    let left = check(&[]);
    // Only generations that could not be stopped run on after the deletion. Shown with all that was
    // asked of it.
    let others = || {
        let unstopped = trouble.unstopped.lock().unwrap();
        let mut others = server.generating();
        others.retain(|id| !unstopped.contains(id));
        let about = |id: &String| {
            let requests = server.requests().into_iter();
            let requests = requests.filter(|request| id_of(request).as_ref() == Some(id));
            let shown = requests.map(|request| (request.connection, request.method, request.path));
            shown.collect::<Vec<_>>()
        };
        others.iter().map(about).collect::<Vec<_>>()
    };
    if trouble.server.stops {
        wait_until("nothing else to run", others, Vec::is_empty);
    }
    let running = server.generating();
    println!(
        "{} were named and are gone, {left} lost, {} still generating",
        named.len(),
        running.len()
    );
}
