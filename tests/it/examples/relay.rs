//! The example `relay`, as a process of its own against a server in this one.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::example;
use crate::example::Process;
use crate::stand_in::StandIn;
use crate::support::assert_nothing_left;

/// A running relay, and its address.
fn start(server: &StandIn) -> (Process, String) {
    let mut relay = example::start(example::command("relay").args([&server.url(), "127.0.0.1:0"]));
    let line = relay.error_line();
    let address = line.trim().strip_prefix("relay: http://");
    let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
    (relay, address)
}

/// Sends a prompt.
fn post(address: &str, prompt: &str) -> BufReader<TcpStream> {
    let mut connection = TcpStream::connect(address).unwrap();
    let length = prompt.len();
    let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all((head + prompt).as_bytes()).unwrap();
    BufReader::new(connection)
}

fn line(response: &mut impl BufRead) -> String {
    let mut line = String::new();
    response.read_line(&mut line).unwrap();
    line
}

/// The response until the server closes the connection: its status, and its body.
fn whole(mut response: impl BufRead) -> (String, String) {
    let mut text = String::new();
    response.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn the_tokens_of_a_reply_are_its_chunks() {
    let server = StandIn::start();
    let (_relay, address) = start(&server);
    let (status, body) = whole(post(&address, "/count 3"));
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("200", "2\r\n0 \r\n2\r\n1 \r\n2\r\n2 \r\n0\r\n\r\n")
    );
    assert_nothing_left(&server);
    assert_eq!(server.counts().created, 1);
}

#[test]
fn a_client_that_leaves_ends_its_reply_and_no_other() {
    let server = StandIn::start();
    let (_relay, address) = start(&server);
    let (mut leaves, mut stays) = (post(&address, "/slow"), post(&address, "/slow"));
    // The tokens come before the end of the reply, which has none.
    for response in [&mut leaves, &mut stays] {
        while line(response) != " s1\r\n" {}
    }
    drop(leaves);
    server.wait_for("the deletion", |counts| (counts.conversations, counts.running) == (1, 1));
    assert_eq!(server.counts().stopped, 1);
    while line(&mut stays) != " s5\r\n" {}
    drop(stays);
    assert_nothing_left(&server);
    assert_eq!(server.counts().stopped, 2);
}

#[test]
fn a_client_that_leaves_while_nothing_comes_ends_its_reply() {
    let server = StandIn::start();
    let (_relay, address) = start(&server);
    for prompt in ["/silent", "/hang"] {
        let leaves = post(&address, prompt);
        server.wait_for("the generation", |counts| counts.running == 1);
        drop(leaves);
        server.wait_for("the deletion", |counts| (counts.conversations, counts.running) == (0, 0));
    }
}

#[test]
fn an_error_is_a_502_or_a_reply_without_its_last_chunk() {
    let server = StandIn::start();
    let (_relay, address) = start(&server);
    for (prompt, words) in [
        ("/422", "Input validation error"),
        ("/error-event-first", "CUDA out of memory"),
        ("", "the prompt is empty"),
    ] {
        let (status, body) = whole(post(&address, prompt));
        assert_eq!(status, "502", "{prompt}");
        assert!(body.contains(words), "{prompt}: {body}");
    }
    let (status, body) = whole(post(&address, "/error-event"));
    assert_eq!(status, "200");
    assert!(body.ends_with(" can\r\n"), "{body}");
    assert_nothing_left(&server);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_all_replies_and_leaves_nothing() {
    let server = StandIn::start();
    let (relay, address) = start(&server);
    let _clients = [post(&address, "/slow"), post(&address, "/silent")];
    server.wait_for("both replies", |counts| counts.running == 2);
    relay.signal("INT");
    assert!(relay.end().status.success());
    assert_nothing_left(&server);
}
