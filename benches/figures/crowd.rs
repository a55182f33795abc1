//! A thousand replies at once, read by a thousand threads that share one client. The server and the
//! clients are separate processes, because the system measures memory per process.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use std::{env, thread};

use h2o_chat::{Client, Proxy};
use serde_json::{Value, json};

use super::latency::{age, end, read_stamps, stamp};
use super::ready::Ready;
use super::rounds::{float, interleaved, median, median_ratio, quantile};
use super::table::Row;
use super::{Outcome, system};

const TOKEN_INTERVAL: Duration = Duration::from_millis(20);

/// The delay between the beginnings of two replies. A listener of the standard library queues at
/// most 128 connections.
const START_DELAY: Duration = Duration::from_millis(1);

/// The stack of each thread, in bytes: small, but enough for a request in a release build.
const STACK: usize = 128 * 1024;

/// The maximum number of tokens in a reply.
const MAX_TOKENS: usize = 4096;

/// On a busy machine, a thousand connections and deletions take longer than the defaults allow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of open files in addition to one for each reply.
const OTHER_FILES: usize = 50;

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let (size, tokens, rounds) = if quick { (100, 50, 1) } else { (1000, 400, 3) };
    let needed = size + OTHER_FILES;
    if let Some(limit) = system::open_files().filter(|limit| *limit < needed) {
        return Err(format!(
            "{size} replies at once need {needed} open files, but only {limit} are allowed: \
             run `ulimit -n {needed}`"
        )
        .into());
    }
    let [replies, sockets] = interleaved(
        rounds,
        [&mut || crowd(size, tokens, "client"), &mut || crowd(size, tokens, "sockets")],
    )?;
    let figures = |crowds: &[Value], name: &str| -> Vec<f64> {
        crowds.iter().filter_map(|crowd| crowd[name].as_f64()).collect()
    };
    let is_whole = |crowd: &&Value| {
        crowd["at_once"] == size && crowd["complete"] == size && crowd["left"] == 0
    };
    let broken = replies.iter().find(|crowd| !is_whole(crowd));
    let shown = broken.unwrap_or(&replies[0]);
    let memory = median(figures(&replies, "memory"));
    let (ours, theirs) = (figures(&replies, "age"), figures(&sockets, "age"));
    let p99 = |ages: &[f64]| format!("{:.1} ms", median(ages.iter().copied()) / 1e3);
    let memory_row = Row::new("crowd", format!("{memory:.1} KiB per reply"));
    let memory_row = memory_row.against("without the thread's stack");
    // In a small crowd, memory that the client allocates only once counts for more.
    let memory_row =
        if quick { memory_row } else { memory_row.goal("at most 64 KiB", memory <= 64.0) };
    Ok(vec![
        Row::new(
            "crowd",
            format!(
                "{} at once, {} complete, {} left",
                shown["at_once"], shown["complete"], shown["left"]
            ),
        )
        .goal(format!("{size}, {size}, 0"), broken.is_none()),
        memory_row,
        Row::new("crowd", format!("token latency p99 {}", p99(&ours)))
            .against(format!("raw sockets: {}", p99(&theirs)))
            .ratio(median_ratio(&ours, &theirs)),
    ])
}

/// Lets a crowd of this kind read its replies, and returns the figures of crowd and server.
fn crowd(size: usize, tokens: usize, kind: &str) -> Outcome<Value> {
    let mut server = Role::start("server", &[&tokens, &size])?;
    let address = server.line()?;
    let mut crowd = Role::start(kind, &[&address.trim(), &size])?;
    let mut figures: Value = serde_json::from_str(&crowd.line()?)?;
    let counts: Value = serde_json::from_str(&server.end()?)?;
    for name in ["at_once", "left"] {
        figures[name] = counts[name].clone();
    }
    Ok(figures)
}

/// A process that runs this program in another role. It ends when its standard input is closed.
struct Role {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Role {
    fn start(name: &str, arguments: &[&dyn Display]) -> Outcome<Role> {
        let mut process = Command::new(env::current_exe()?)
            .args(["--role", name])
            .args(arguments.iter().map(ToString::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("the process has no standard output")?;
        Ok(Role { process, stdout: BufReader::new(stdout) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Its last line of output.
    fn end(&mut self) -> io::Result<String> {
        drop(self.process.stdin.take());
        self.line()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Its result is no longer needed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The main function of a process with a role.
pub fn play(role: &str, arguments: &[String]) -> Outcome<()> {
    match (role, arguments) {
        ("server", [tokens, size]) => serve(tokens.parse()?, size.parse()?),
        ("client", [server, size]) => {
            let client = Client::builder(&format!("http://{server}")).proxy(Proxy::none());
            let client = client.connect_timeout(PATIENCE).cleanup_timeout(PATIENCE).build()?;
            read_all(size.parse()?, |found| read_tokens(&client, found))
        }
        ("sockets", [server, size]) => {
            let server = server.parse()?;
            read_all(size.parse()?, |found| Ok(read_stamps(server, found)?))
        }
        _ => Err(format!("there is no role {role} {arguments:?}").into()),
    }
}

/// Each reply has this number of tokens, and more while others have not begun: on a busy machine
/// too, all run at once.
fn serve(tokens: usize, size: usize) -> Outcome<()> {
    let begun = AtomicUsize::new(0);
    let ready = Ready::new(move |socket| {
        let number = begun.fetch_add(1, SeqCst);
        for sent in 0..MAX_TOKENS {
            if sent >= tokens && begun.load(SeqCst) >= size {
                break;
            }
            thread::sleep(TOKEN_INTERVAL);
            stamp(socket)?;
        }
        // They end one after the other, as they have begun.
        thread::sleep(START_DELAY * u32::try_from(number).unwrap_or_default());
        end(socket)
    });
    let (address, ready) = ready.start()?;
    println!("{address}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    let counts = ready.counts();
    let [opened, deleted, running, at_once] =
        [&counts.opened, &counts.deleted, &counts.running, &counts.max_running]
            .map(|count| count.load(SeqCst));
    println!("{}", json!({"at_once": at_once, "left": opened - deleted + running}));
    Ok(())
}

fn read_tokens(client: &Client, found: &mut dyn FnMut(f64)) -> Outcome<()> {
    for token in client.stream("hello")? {
        age(&token?).into_iter().for_each(&mut *found);
    }
    Ok(())
}

/// Touches most of the thread's stack, so that it does not count as the client's memory.
#[inline(never)]
fn use_stack() {
    #[allow(clippy::large_stack_arrays, reason = "its only purpose is to be large")]
    std::hint::black_box([1_u8; STACK * 3 / 4]);
}

/// Reads `size` replies at once, each in a thread, and prints the figures.
fn read_all(size: usize, read: impl Fn(&mut dyn FnMut(f64)) -> Outcome<()> + Sync) -> Outcome<()> {
    let barrier = Barrier::new(size + 1);
    let [begun, complete, failed] = [const { AtomicUsize::new(0) }; 3];
    let member = |number: u32| {
        // Memory that is not the client's is allocated before it is measured.
        use_stack();
        let mut ages = vec![f64::NAN; MAX_TOKENS];
        ages.clear();
        barrier.wait();
        barrier.wait();
        thread::sleep(START_DELAY * number);
        let outcome = read(&mut |age| {
            if ages.is_empty() {
                begun.fetch_add(1, SeqCst);
            }
            ages.push(age);
        });
        match outcome {
            Ok(()) => drop(complete.fetch_add(1, SeqCst)),
            Err(error) if failed.fetch_add(1, SeqCst) == 0 => {
                eprintln!("the first failed reply: {error}");
            }
            Err(_) => {}
        }
        ages
    };
    let member = &member;
    let (memory, mut ages) = thread::scope(|scope| -> Outcome<_> {
        let thread = |number| {
            let thread = thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, move || member(number))
        };
        let numbers = 0..u32::try_from(size)?;
        let threads = numbers.map(thread).collect::<io::Result<Vec<_>>>()?;
        barrier.wait();
        let before = system::resident();
        barrier.wait();
        while begun.load(SeqCst) + failed.load(SeqCst) < size {
            thread::sleep(TOKEN_INTERVAL);
        }
        let more = system::resident() - before;
        let ages = threads.into_iter().filter_map(|thread| thread.join().ok());
        Ok((more / float(size), ages.flatten().collect::<Vec<_>>()))
    })?;
    let age = quantile(&mut ages, 99);
    println!("{}", json!({"complete": complete, "memory": memory, "age": age}));
    Ok(())
}
