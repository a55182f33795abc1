//! The example `parallel`, as a process of its own against a server in this one.

use std::process::Command;
use std::time::Duration;

use crate::example;
use crate::stand_in::{Act, Plan, StandIn};

fn parallel(server: &StandIn) -> Command {
    let mut command = example::command("parallel");
    command.arg(server.url());
    command
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}

/// Replies with the prompt. The first three replies take the longest.
fn echo(prompt: &str) -> Plan {
    let late = ["0", "1", "2"].contains(&prompt);
    let wait = late.then_some(Act::Wait(Duration::from_millis(200)));
    match Plan::tokens([prompt.to_owned()]) {
        Plan::Acts(reply) => Plan::acts(wait).then(reply),
        other => other,
    }
}

#[test]
fn replies_are_printed_in_the_order_of_the_prompts() {
    let server = StandIn::builder().plan(echo).start();
    let prompts: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let ended = example::run(&mut parallel(&server), &prompts.join("\n"));
    assert!(ended.status.success());
    assert_eq!(ended.stderr, "");
    let replies = prompts.iter();
    let replies: Vec<_> = replies.map(|p| format!("> {p}\n{p}\n\n")).collect();
    assert_eq!(ended.stdout, replies.concat());
    assert_eq!(server.counts().created, 30);
    assert_nothing_left(&server);
}

#[test]
fn prompts_run_in_parallel_and_replies_are_printed_early() {
    let server = StandIn::start();
    let mut process = example::start_with(&mut parallel(&server), "/count 1\n/silent\n/silent\n");
    process.wait_for("> /count 1\n0\n\n");
    server.wait_for("both at once", |counts| counts.running == 2);
}

#[test]
fn one_failure_sets_the_exit_code_and_ends_no_other_reply() {
    let server = StandIn::start();
    let path = std::env::temp_dir().join(format!("h2o-chat-prompts-{}", std::process::id()));
    std::fs::write(&path, "hello\n/dead\n\n/count 3\n/error-event\n").unwrap();
    let ended = example::run(parallel(&server).arg(&path), "");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let partial = "> /error-event\nHi there, how can [incomplete]\n\n";
    let replies = "> hello\nHi there, how can I help?\n\n> /count 3\n0 1 2\n\n";
    assert_eq!(ended.stdout, format!("{replies}{partial}"));
    // The prompt with an error inside its reply is asked three times.
    assert_eq!(server.counts().created, 6);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("/dead: ") && lines[0].contains("500"), "{lines:?}");
    assert!(lines[1].starts_with("/error-event: ") && lines[1].contains("CUDA"), "{lines:?}");
    assert_nothing_left(&server);
}

#[test]
fn an_error_is_printed_with_its_hint() {
    let server = StandIn::start();
    let mut command = example::command("parallel");
    command.arg(format!("{}/no/such/path", server.url()));
    let ended = example::run(&mut command, "hello\n");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("\nThere is no chat at this path"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_all_replies_and_leaves_nothing() {
    let server = StandIn::start();
    let prompts = "hello\n/slow\n/slow\n/silent\n/slow\nhello\n";
    let process = example::start_with(&mut parallel(&server), prompts);
    server.wait_for("all threads", |counts| (counts.created, counts.running) == (5, 4));
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_nothing_left(&server);
    assert_eq!(server.counts().created, 5);
}
