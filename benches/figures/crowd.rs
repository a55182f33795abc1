//! A thousand replies at once: as many threads share one client. Server and clients are separate
//! processes, because the system's figures are per process.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use std::{env, thread};

use h2o_chat::Client;
use serde_json::{Value, json};

use super::latency::{age, read_stamps, stamped};
use super::ready::Ready;
use super::rounds::{float, interleaved, median, median_ratio, quantile};
use super::table::Row;
use super::{Outcome, client, system};

const PACE: Duration = Duration::from_millis(20);

/// The pause between the starts: a listener of the standard library queues 128 connections at most.
const DISTANCE: Duration = Duration::from_millis(1);

/// The stack of a thread: small, and large enough for a request in a release build.
const STACK: usize = 128 * 1024;

/// The maximum number of tokens of a reply.
const LONGEST: usize = 1024;

/// Open files besides one for each reply.
const OTHER_FILES: usize = 50;

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let (size, tokens, rounds) = if quick { (100, 50, 1) } else { (1000, 400, 3) };
    let needed = size + OTHER_FILES;
    if let Some(limit) = system::open_files().filter(|limit| *limit < needed) {
        return Err(format!(
            "{size} replies at once need {needed} open files and {limit} are allowed; \
             `ulimit -n {needed}` allows more"
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
    let of_memory = Row::new("crowd", format!("{memory:.1} KiB a stream"));
    let of_memory = of_memory.against("besides the thread's stack");
    // In a small crowd the fixed memory of the client weighs more.
    let of_memory =
        if quick { of_memory } else { of_memory.wanted("at most 64 KiB", memory <= 64.0) };
    Ok(vec![
        Row::new(
            "crowd",
            format!(
                "{} at once, {} complete, {} left",
                shown["at_once"], shown["complete"], shown["left"]
            ),
        )
        .wanted(format!("{size}, {size}, 0"), broken.is_none()),
        of_memory,
        Row::new("crowd", format!("token age p99 {}", p99(&ours)))
            .against(format!("raw sockets: {}", p99(&theirs)))
            .ratio(median_ratio(&ours, &theirs)),
    ])
}

/// Lets a crowd of this kind read its replies. Returns its report and the server's counts.
fn crowd(size: usize, tokens: usize, kind: &str) -> Outcome<Value> {
    let mut server = Role::start("server", &[&tokens])?;
    let address = server.line()?;
    let mut crowd = Role::start(kind, &[&address.trim(), &size])?;
    let mut report: Value = serde_json::from_str(&crowd.line()?)?;
    let counts: Value = serde_json::from_str(&server.end()?)?;
    for name in ["at_once", "left"] {
        report[name] = counts[name].clone();
    }
    Ok(report)
}

/// A process of this program in another role. It ends with its standard input.
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
        let stdout = process.stdout.take().ok_or("it has no output")?;
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
        // Its remaining work is not needed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The main function of a crowd's process.
pub fn play(role: &str, arguments: &[String]) -> Outcome<()> {
    match (role, arguments) {
        ("server", [tokens]) => serve(tokens.parse()?),
        ("client", [server, size]) => {
            let server = server.parse()?;
            let client = client(server)?;
            read_all(size.parse()?, |found| read_tokens(&client, found))
        }
        ("sockets", [server, size]) => {
            let server = server.parse()?;
            read_all(size.parse()?, |found| Ok(read_stamps(server, found)?))
        }
        _ => Err(format!("there is no role {role} {arguments:?}").into()),
    }
}

fn serve(tokens: usize) -> Outcome<()> {
    let ready = Ready::new(move |socket| stamped(socket, tokens, PACE));
    let (address, ready) = ready.start()?;
    println!("{address}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    let counts = ready.counts();
    let [opened, deleted, running, at_once] =
        [&counts.opened, &counts.deleted, &counts.running, &counts.most_running]
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

/// Touches most of a thread's stack, so that it does not count as the client's memory.
#[inline(never)]
fn use_stack() {
    #[allow(clippy::large_stack_arrays, reason = "it is what this is for")]
    std::hint::black_box([1_u8; STACK * 3 / 4]);
}

/// Reads `size` replies at once, each in a thread, and prints a report.
fn read_all(size: usize, read: impl Fn(&mut dyn FnMut(f64)) -> Outcome<()> + Sync) -> Outcome<()> {
    let waiting = Barrier::new(size + 1);
    let [begun, complete, failed] = [const { AtomicUsize::new(0) }; 3];
    let member = |number: u32| {
        // Memory that is not the client's is allocated before it is measured.
        use_stack();
        let mut ages = vec![f64::NAN; LONGEST];
        ages.clear();
        waiting.wait();
        waiting.wait();
        thread::sleep(DISTANCE * number);
        let outcome = read(&mut |age| {
            if ages.is_empty() {
                begun.fetch_add(1, SeqCst);
            }
            ages.push(age);
        });
        match outcome {
            Ok(()) => drop(complete.fetch_add(1, SeqCst)),
            Err(error) if failed.fetch_add(1, SeqCst) == 0 => {
                eprintln!("the first reply of the crowd that failed: {error}");
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
        waiting.wait();
        let before = system::resident();
        waiting.wait();
        while begun.load(SeqCst) + failed.load(SeqCst) < size {
            thread::sleep(PACE);
        }
        let more = system::resident() - before;
        let ages = threads.into_iter().filter_map(|thread| thread.join().ok());
        Ok((more / float(size), ages.flatten().collect::<Vec<_>>()))
    })?;
    let age = quantile(&mut ages, 99);
    println!("{}", json!({"complete": complete, "memory": memory, "age": age}));
    Ok(())
}
