//! The latency of a token: the time from the server's write to the iterator's return.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use h2o_chat::Client;

use super::ready::Ready;
use super::rounds::{interleaved, median, median_ratio, quantile};
use super::table::Row;
use super::tokens;
use super::{Outcome, client, raw};

const TOKEN_INTERVAL: Duration = Duration::from_millis(5);

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let (count, rounds) = if quick { (100, 2) } else { (125, 16) };
    let (server, _) = Ready::new(move |socket| stamped(socket, count)).start()?;
    let client = client(server)?;
    let [tokens, socket] =
        interleaved(rounds, [&mut || of_tokens(&client), &mut || of_socket(server)])?;
    let row = |percent, most| {
        let of_rounds = |ages: &[Vec<f64>]| -> Vec<f64> {
            let rounds = ages.iter().cloned();
            rounds.map(|mut ages| quantile(&mut ages, percent)).collect()
        };
        let (ours, yardstick) = (of_rounds(&tokens), of_rounds(&socket));
        let shown = |ages: &[f64]| format!("{:.0} µs", median(ages.iter().copied()));
        Row::new("latency", format!("p{percent} {}", shown(&ours)))
            .against(format!("raw socket: {}", shown(&yardstick)))
            .at_most(median_ratio(&ours, &yardstick), most)
    };
    Ok(vec![row(50, 1.2), row(99, 2.0)])
}

fn stamped(socket: &mut dyn Write, count: usize) -> io::Result<()> {
    for _ in 0..count {
        thread::sleep(TOKEN_INTERVAL);
        stamp(socket)?;
    }
    end(socket)
}

/// Writes a token that contains the time at which it was sent.
pub fn stamp(socket: &mut dyn Write) -> io::Result<()> {
    socket.write_all(tokens::token(&now().to_string()).as_bytes())
}

pub fn end(socket: &mut dyn Write) -> io::Result<()> {
    socket.write_all(tokens::last("").as_bytes())
}

/// The age of a token in microseconds.
pub fn age(stamp: &str) -> Option<f64> {
    let age = now().saturating_sub(stamp.parse().ok()?);
    Some(Duration::from_nanos(age).as_secs_f64() * 1e6)
}

/// The time in nanoseconds, on a clock that all processes share.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.ok().and_then(|now| u64::try_from(now.as_nanos()).ok()).unwrap_or_default()
}

fn of_tokens(client: &Client) -> Outcome<Vec<f64>> {
    let mut ages = Vec::new();
    for token in client.stream("hello")? {
        ages.extend(age(&token?));
    }
    Ok(ages)
}

fn of_socket(server: SocketAddr) -> Outcome<Vec<f64>> {
    let mut ages = Vec::new();
    read_stamps(server, |age| ages.push(age))?;
    Ok(ages)
}

/// Reads a reply from a plain socket. Each token arrives in one piece, because it is small and
/// written as one.
pub fn read_stamps(server: SocketAddr, mut found: impl FnMut(f64)) -> io::Result<()> {
    let mut socket = raw::ask(server)?;
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let bytes = String::from_utf8_lossy(&buffer[..read]);
        let stamps = bytes.split("\"text\":\"").skip(1);
        stamps.filter_map(|rest| age(rest.split('"').next()?)).for_each(&mut found);
    }
}
