//! Ctrl-C and `kill` end the examples `ask` and `ctrl_c` cleanly in every wait. The tests send real
//! signals to processes.
#![cfg(unix)]

use std::sync::{Mutex, mpsc};

mod example;
mod stand_in;

use example::{Ended, Process};
use stand_in::{Reaction, Request, StandIn};

/// The exit code that a shell expects after Ctrl-C.
const INTERRUPTED: Option<i32> = Some(130);

const PROGRAMS: [&[&str]; 3] = [&["ask"], &["ask", "--no-stream"], &["ctrl_c"]];

fn start(server: &StandIn, program: &[&str], prompt: &str) -> Process {
    let mut command = example::command(program[0]);
    match program[0] {
        "ask" => command.args(["--url", &server.url(), "--retries", "0"]),
        _ => command.arg(server.url()),
    };
    example::start_with(command.args(&program[1..]).arg(prompt), "")
}

fn is_cleanup(request: &Request) -> bool {
    request.method == "DELETE" || request.path.ends_with("/stop-generating")
}

/// Checks that the signal ended the program, after a newline, and that nothing is left.
fn assert_ended_cleanly(server: &StandIn, ended: &Ended, what: &str) {
    let Ended { stdout, stderr, .. } = ended;
    assert_eq!((ended.status.code(), stderr.as_str()), (INTERRUPTED, ""), "{what}");
    // Before the first token, `ask` prints nothing.
    let has_newline = stdout.ends_with('\n') && !stdout.ends_with("\n\n");
    assert!(has_newline || stdout.is_empty(), "{what}: {stdout:?}");
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    let counts = server.counts();
    let seen = (counts.created, counts.conversations, counts.stopped);
    assert_eq!(seen, (1, 0, 1), "{what}");
}

#[test]
fn ctrl_c_stops_the_generation_and_deletes_the_conversation() {
    for program in PROGRAMS {
        // Before the first token, between two tokens, and after the last.
        for (prompt, text) in
            [("/silent", ""), ("/slow", " s0 s1"), ("/hang", " Hi there, how can")]
        {
            let server = StandIn::start();
            let mut process = start(&server, program, prompt);
            let is_streamed = !program.contains(&"--no-stream");
            if is_streamed {
                process.wait_for(text);
            }
            server.wait_for("the generation", |counts| {
                counts.running == 1 && (prompt == "/silent" || counts.streaming == 1)
            });
            process.signal("INT");
            assert_ended_cleanly(&server, &process.end(), &format!("{program:?} {prompt}"));
        }
    }
}

#[test]
fn ask_handles_sigterm_and_sighup_like_ctrl_c() {
    for signal in ["TERM", "HUP"] {
        let server = StandIn::start();
        let mut process = start(&server, &["ask"], "/slow");
        process.wait_for(" s0 s1");
        process.signal(signal);
        assert_ended_cleanly(&server, &process.end(), signal);
    }
}

#[test]
fn ctrl_c_deletes_a_conversation_that_is_being_created() {
    for name in ["ask", "ctrl_c"] {
        let (asked, opening) = mpsc::channel();
        let (proceed, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let server = StandIn::builder()
            .intercept(move |request| {
                if request.path == "/conversation" {
                    asked.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                }
                None
            })
            .start();
        let process = start(&server, &[name], "/slow");
        opening.recv().unwrap();
        process.signal("INT");
        proceed.send(()).unwrap();
        assert_eq!(process.end().status.code(), INTERRUPTED);
        let counts = server.counts();
        assert_eq!((counts.created, counts.conversations), (1, 0));
    }
}

#[test]
fn a_second_ctrl_c_exits_at_once() {
    for name in ["ask", "ctrl_c"] {
        let server = StandIn::builder()
            .intercept(|request| is_cleanup(request).then_some(Reaction::NoResponse))
            .start();
        let process = start(&server, &[name], "/silent");
        server.wait_for("the generation", |counts| counts.running == 1);
        process.signal("INT");
        // The requests: settings, conversation, message, stop.
        server.wait_for("the stop", |counts| counts.requests == 4);
        process.signal("INT");
        let ended = process.end();
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (INTERRUPTED, ""));
        assert_eq!(server.counts().requests, 4);
    }
}

#[test]
fn ctrl_c_names_conversations_that_could_not_be_deleted() {
    for name in ["ask", "ctrl_c"] {
        let response = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let server = StandIn::builder()
            .intercept(|request| is_cleanup(request).then(|| Reaction::Response(response.into())))
            .start();
        let mut process = start(&server, &[name], "/slow");
        process.wait_for(" s0");
        process.signal("INT");
        let Ended { status, stderr, .. } = process.end();
        assert_eq!(status.code(), INTERRUPTED, "{stderr}");
        assert!(stderr.contains(&server.conversations()[0]), "{stderr}");
        let sweep = format!("cargo run --example sweep -- --url {} --session ", server.url());
        assert_eq!(stderr.contains(&sweep), name == "ask", "{stderr}");
    }
}
