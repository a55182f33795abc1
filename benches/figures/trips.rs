//! The number of round trips before the first token, on a server with a delay.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Client, Proxy, Tokens};

use super::Outcome;
use super::rounds::{interleaved, median, median_ratio};
use super::stand_in::{Plan, StandIn};
use super::table::Row;

const DELAY: Duration = Duration::from_millis(20);

/// The number of replies whose connections are counted.
const REPLIES: usize = 100;

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let server = StandIn::builder().intercept(|_| {
        thread::sleep(DELAY);
        None
    });
    let server = server.start();
    let requests = || server.counts().requests;
    let warm = client(&server)?;
    warm.ask("hello")?;
    let mut conversation = warm.conversation()?;
    let [one, cold, warm, open] = interleaved(
        if quick { 2 } else { 9 },
        [
            &mut || counted(requests, || exchange(server.port())),
            &mut || counted(requests, || first(client(&server)?.stream("hello")?)),
            &mut || counted(requests, || first(warm.stream("hello")?)),
            &mut || counted(requests, || first(conversation.stream("hello")?)),
        ],
    )?;
    let row = |what, trips: &[Trips], wanted: usize| {
        let most = trips.iter().map(|trip| trip.requests).max().unwrap_or_default();
        Row::new("round trips", format!("{what}: {most}"))
            .against(format!("one exchange: {}", milliseconds(&one)))
            .ratio(median_ratio(&times(trips), &times(&one)))
            .wanted(wanted.to_string(), most == wanted)
    };
    let connections = connections()?;
    Ok(vec![
        row("cold reply", &cold, 3),
        row("warm client", &warm, 2),
        row("open conversation", &open, 1),
        Row::new("connections", format!("{REPLIES} replies: {connections}"))
            .wanted("1", connections == 1),
    ])
}

struct Trips {
    requests: usize,
    time: Duration,
}

fn times(trips: &[Trips]) -> Vec<f64> {
    trips.iter().map(|trip| trip.time.as_secs_f64()).collect()
}

fn milliseconds(trips: &[Trips]) -> String {
    format!("{:.1} ms", median(times(trips)) * 1e3)
}

/// The number of requests that the server received, and the duration.
fn counted<T>(requests: impl Fn() -> usize, wait: impl FnOnce() -> Outcome<T>) -> Outcome<Trips> {
    let before = requests();
    let start = Instant::now();
    let waited = wait()?;
    let trips = Trips { time: start.elapsed(), requests: requests() - before };
    // Reads to the end and deletes.
    drop(waited);
    Ok(trips)
}

/// Waits for the first token, and returns the open reply.
fn first(mut tokens: Tokens) -> Outcome<Tokens> {
    tokens.next().ok_or("there was no token")??;
    Ok(tokens)
}

/// One request and its response, on a connection of its own.
fn exchange(port: u16) -> Outcome<()> {
    let mut socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.write_all(b"GET /__data.json HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    socket.read_exact(&mut [0])?;
    Ok(())
}

fn client(server: &StandIn) -> Outcome<Client> {
    Ok(Client::builder(&server.url()).proxy(Proxy::none()).build()?)
}

/// The number of connections that a client's successive replies take.
fn connections() -> Outcome<usize> {
    let server = StandIn::builder().plan(|_| Plan::tokens(["Hi", "."]));
    let server = server.start();
    let client = client(&server)?;
    for _ in 0..REPLIES {
        client.ask("hello")?;
    }
    Ok(server.counts().connections)
}
