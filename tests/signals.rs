//! Ctrl-C ends a program cleanly wherever it waits: the examples as processes, and real signals.
#![cfg(unix)]

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, mpsc};

mod example;
mod stand_in;

use stand_in::{Counts, Reaction, Request, StandIn};

/// What a shell expects of a program that Ctrl-C has ended.
const INTERRUPTED: Option<i32> = Some(130);

/// A program that asks the server something.
struct Program {
    process: Child,
    stdout: ChildStdout,
    printed: Vec<u8>,
}

impl Program {
    fn start(server: &StandIn, [name, option, prompt]: [&str; 3]) -> Program {
        let mut command = example::command(name);
        match name {
            "ask" => command.args(["--url", &server.url(), "--retries", "0"]),
            _ => command.arg(server.url()),
        };
        command.args(Some(option).filter(|option| !option.is_empty()));
        let mut process = command
            .arg(prompt)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Program {
            stdout: process.stdout.take().unwrap(),
            process,
            printed: Vec::new(),
        }
    }

    /// Waits until it has printed this.
    fn wait_for(&mut self, text: &str) {
        while !self.printed.ends_with(text.as_bytes()) {
            let mut byte = [0];
            self.stdout.read_exact(&mut byte).unwrap();
            self.printed.extend(byte);
        }
    }

    /// Presses Ctrl-C.
    fn interrupt(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
    }

    /// What it has done once it is at its end.
    fn end(mut self) -> io::Result<Output> {
        self.stdout.read_to_end(&mut self.printed)?;
        let mut output = self.process.wait_with_output()?;
        output.stdout = self.printed;
        Ok(output)
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn is_cleanup(request: &Request) -> bool {
    request.method == "DELETE" || request.path.ends_with("/stop-generating")
}

#[test]
fn ctrl_c_stops_the_generation_and_deletes_the_conversation() {
    let programs = [["ask", ""], ["ask", "--no-stream"], ["ctrl_c", ""]];
    for [name, option] in programs {
        // While the first token is awaited, between two tokens, and when none comes any more.
        for (prompt, seen, printed) in [
            ("/silent", "", "\n"),
            ("/slow", " s0 s1", " s0 s1"),
            ("/hang", " Hi there, how can", " Hi there, how can\n"),
        ] {
            let server = StandIn::start();
            let mut program = Program::start(&server, [name, option, prompt]);
            if option.is_empty() {
                program.wait_for(seen);
            }
            server.wait_for("the generation", |counts: &Counts| {
                counts.running == 1 && (prompt == "/silent" || counts.streaming == 1)
            });
            program.interrupt();
            let output = program.end().unwrap();
            let what = format!("{name} {option} {prompt}: {output:?}");
            assert_eq!(output.status.code(), INTERRUPTED, "{what}");
            assert_eq!(text(&output.stderr), "", "{what}");
            let stdout = text(&output.stdout);
            assert!(
                stdout.ends_with('\n') && !stdout.ends_with("\n\n"),
                "{what}"
            );
            // What is not printed as it comes can be cut anywhere.
            if option.is_empty() {
                assert!(stdout.starts_with(printed), "{what}");
            }
            server.wait_for("the end of the generation", |counts| counts.running == 0);
            let counts = server.counts();
            let (left, stopped) = (counts.conversations, counts.stopped);
            assert_eq!((counts.created, left, stopped), (1, 0, 1), "{what}");
        }
    }
}

#[test]
fn ctrl_c_while_the_conversation_is_being_opened_waits_for_its_id_and_deletes_it() {
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
        let program = Program::start(&server, [name, "", "/slow"]);
        opening.recv().unwrap();
        program.interrupt();
        proceed.send(()).unwrap();
        let output = program.end().unwrap();
        assert_eq!(output.status.code(), INTERRUPTED, "{output:?}");
        let counts = server.counts();
        assert_eq!((counts.created, counts.conversations), (1, 0));
    }
}

#[test]
fn a_second_ctrl_c_ends_the_program_at_once() {
    for name in ["ask", "ctrl_c"] {
        let server = StandIn::builder()
            .intercept(|request| is_cleanup(request).then_some(Reaction::Silence))
            .start();
        let program = Program::start(&server, [name, "", "/silent"]);
        server.wait_for("the generation", |counts| counts.running == 1);
        program.interrupt();
        // Settings, conversation, message, stop.
        server.wait_for("the stop", |counts| counts.requests == 4);
        program.interrupt();
        let output = program.end().unwrap();
        assert_eq!(output.status.code(), INTERRUPTED, "{output:?}");
        // Nothing said, and nothing more tried.
        assert_eq!(text(&output.stderr), "");
        assert_eq!(server.counts().requests, 4);
    }
}

#[test]
fn what_ctrl_c_could_not_delete_is_named() {
    for name in ["ask", "ctrl_c"] {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let server = StandIn::builder()
            .intercept(|request| is_cleanup(request).then(|| Reaction::Answer(answer.into())))
            .start();
        let mut program = Program::start(&server, [name, "", "/slow"]);
        program.wait_for(" s0");
        program.interrupt();
        let output = program.end().unwrap();
        assert_eq!(output.status.code(), INTERRUPTED, "{output:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(&server.conversations()[0]), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
