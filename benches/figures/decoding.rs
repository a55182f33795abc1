//! How fast a reply is decoded: the iterator compared with only reading the bytes, for each
//! protocol.

use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use h2o_chat::{Client, Proxy};
use serde_json::Value;

use super::ready::Ready;
use super::rounds::{float, interleaved, median, median_ratio};
use super::stand_in::{Act, Dialect, Last, Plan, Reaction, StandIn};
use super::table::Row;
use super::tokens;
use super::{Outcome, cargo, client, raw};

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let (count, rounds) = if quick { (50_000, 3) } else { (500_000, 9) };
    let mut reply = tokens::tokens(count);
    reply.push_str(&tokens::last(""));
    let length = reply.len();
    let ready = Ready::new(move |socket: &mut dyn Write| socket.write_all(reply.as_bytes()));
    let (server, _) = ready.start()?;
    let client = client(server)?;
    let rate = |took: Duration| float(count) / took.as_secs_f64();
    let [socket, sink, obvious, tokens] = interleaved(
        rounds,
        [
            &mut || bytes_of_socket(server, length).map(rate),
            &mut || bytes_of_ureq(server).map(rate),
            &mut || values(server, count).map(rate),
            &mut || iterator(&client, count).map(rate),
        ],
    )?;
    let row = |yardstick: &str, rates: &[f64]| {
        Row::new("decoding, chat-ui-classic", per_second(&tokens))
            .against(format!("{yardstick}: {}", per_second(rates)))
    };
    let allocations = cargo::allocations()?;
    Ok(vec![
        row("raw socket", &socket).ratio(median_ratio(&tokens, &socket)),
        row("`ureq` into a sink", &sink).at_least(median_ratio(&tokens, &sink), 0.35),
        row("lines and `Value`", &obvious).at_least(median_ratio(&tokens, &obvious), 2.0),
        Row::new("", format!("{allocations:.2} allocations per token"))
            .goal("at most 1.10", allocations <= 1.10),
        of_lines(Dialect::Newest, tokens::chat_ui_line, count, rounds)?,
        of_lines(Dialect::H2ogpte, tokens::h2ogpte_line, count, rounds)?,
    ])
}

/// The row of a protocol whose tokens are lines.
fn of_lines(
    dialect: Dialect,
    line: fn(&str) -> String,
    count: usize,
    rounds: usize,
) -> Outcome<Row> {
    let text = |number| tokens::text(number);
    let lines: Arc<str> = (1..count).map(|number| line(text(number))).collect::<String>().into();
    let whole: String = (0..count).map(text).collect();
    let bytes = Arc::clone(&lines);
    let ready = Ready::new(move |socket: &mut dyn Write| socket.write_all(bytes.as_bytes()));
    let (bytes, _) = ready.start()?;
    let server = StandIn::builder().dialect(dialect).plan(move |_| {
        // The head of the response is sent with the first token.
        let lines = Reaction::Response(lines.as_bytes().to_vec());
        let last = Last::eos(whole.clone(), count);
        Plan::acts([Act::token(0, tokens::text(0)), Act::React(lines), Act::Last(last)])
    });
    let server = server.start();
    let client = Client::builder(&server.url()).proxy(Proxy::none());
    let client = match dialect {
        Dialect::H2ogpte => client.api_key("sk-bench").build()?,
        _ => client.build()?,
    };
    let rate = |took: Duration| float(count) / took.as_secs_f64();
    let [sink, tokens] = interleaved(
        rounds,
        [&mut || bytes_of_ureq(bytes).map(rate), &mut || iterator(&client, count).map(rate)],
    )?;
    let topic = match dialect {
        Dialect::H2ogpte => "decoding, h2ogpte",
        _ => "decoding, chat-ui",
    };
    Ok(Row::new(topic, per_second(&tokens))
        .against(format!("`ureq` into a sink: {}", per_second(&sink)))
        .ratio(median_ratio(&tokens, &sink)))
}

fn per_second(rates: &[f64]) -> String {
    format!("{:.2} M tokens/s", median(rates.iter().copied()) / 1e6)
}

/// The time to read a reply, without its headers, with the iterator.
fn iterator(client: &Client, count: usize) -> Outcome<Duration> {
    let tokens = client.stream("hello")?;
    let start = Instant::now();
    let mut received = 0;
    for token in tokens {
        black_box(token?);
        received += 1;
    }
    let took = start.elapsed();
    check(received, count)?;
    Ok(took)
}

fn bytes_of_socket(server: SocketAddr, length: usize) -> Outcome<Duration> {
    let mut socket = raw::ask(server)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut received = socket.read(&mut buffer)?;
    let start = Instant::now();
    loop {
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        received += read;
    }
    let took = start.elapsed();
    if received < length {
        return Err("the reply was cut short".into());
    }
    Ok(took)
}

fn bytes_of_ureq(server: SocketAddr) -> Outcome<Duration> {
    let mut body = body(server)?;
    let start = Instant::now();
    io::copy(&mut body, &mut io::sink())?;
    Ok(start.elapsed())
}

/// The time with the loop that one would write first.
fn values(server: SocketAddr, count: usize) -> Outcome<Duration> {
    let body = body(server)?;
    let start = Instant::now();
    let mut received = 0;
    for line in BufReader::new(body).lines() {
        let line = line?;
        let Some(event) = line.strip_prefix("data:") else {
            continue;
        };
        let event: Value = serde_json::from_str(event)?;
        match event["token"]["text"].as_str() {
            Some(text) if event["token"]["special"] != true => {
                black_box(text.to_owned());
                received += 1;
            }
            _ => {}
        }
    }
    let took = start.elapsed();
    check(received, count)?;
    Ok(took)
}

fn body(server: SocketAddr) -> Outcome<impl Read> {
    let response = ureq::post(format!("http://{server}/conversation/0"))
        .config()
        .proxy(None)
        .build()
        .send("{}")?;
    Ok(response.into_body().into_reader())
}

fn check(received: usize, count: usize) -> Outcome<()> {
    if received == count {
        return Ok(());
    }
    Err(format!("{received} of {count} tokens arrived").into())
}
