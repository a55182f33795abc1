//! The example `relay`, as a process of its own between a server in this one and its readers.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::example;
use crate::example::Process;
use crate::stand_in::StandIn;

/// Starts the relay, and returns its address.
fn start(server: &StandIn) -> (Process, String) {
    let mut relay = example::start(example::command("relay").args([&server.url(), "127.0.0.1:0"]));
    let line = relay.output_line();
    let address = line.trim().strip_prefix("http://").unwrap().to_owned();
    (relay, address)
}

fn post(address: &str, prompt: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    let length = prompt.len();
    write!(socket, "POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: {length}\r\n\r\n{prompt}")
        .unwrap();
    socket
}

fn response(address: &str, prompt: &str) -> String {
    let mut response = String::new();
    post(address, prompt).read_to_string(&mut response).unwrap();
    response
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}

#[test]
fn tokens_are_passed_on_one_by_one() {
    let server = StandIn::start();
    let (_relay, address) = start(&server);
    let response = response(&address, "hello");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("\r\n3\r\n Hi\r\n6\r\n there\r\n"), "{response}");
    assert!(response.ends_with("\r\n1\r\n?\r\n0\r\n\r\n"), "{response}");
    assert_nothing_left(&server);
}

#[test]
fn an_error_is_a_status_or_a_missing_last_chunk() {
    let server = StandIn::start();
    let (_relay, address) = start(&server);
    assert!(response(&address, "/dead").starts_with("HTTP/1.1 502 "));
    assert!(response(&address, "").starts_with("HTTP/1.1 400 "));
    let broken = response(&address, "/error-event");
    assert!(broken.starts_with("HTTP/1.1 200 ") && broken.ends_with(" can\r\n"), "{broken}");
    assert_nothing_left(&server);
}

#[test]
fn the_generation_is_stopped_when_the_reader_leaves() {
    // Before the first token, between tokens, and while the model pauses.
    for prompt in ["/silent", "/slow", "/hang"] {
        let server = StandIn::start();
        let (_relay, address) = start(&server);
        let mut reader = post(&address, prompt);
        server.wait_for("the generation", |counts| counts.running == 1);
        if prompt != "/silent" {
            reader.read_exact(&mut [0; 15]).unwrap();
        }
        drop(reader);
        assert_nothing_left(&server);
        assert_eq!(server.counts().stopped, 1, "{prompt}");
    }
}
