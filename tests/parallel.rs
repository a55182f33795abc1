//! The example `parallel`, as a process of its own against a server in this one.

use std::io::{BufRead, Read};
use std::iter;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::Value;

mod example;
mod stand_in;

use stand_in::{Act, Plan, StandIn};

fn parallel(server: &StandIn, arguments: &[&str]) -> Command {
    let mut command = example::command("parallel");
    command.env("H2O_CHAT_URL", server.url()).args(arguments);
    command
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

/// Says the prompt again; the first three take the longest.
fn echo(prompt: &str) -> Plan {
    let late = ["0", "1", "2"].contains(&prompt);
    let wait = late.then_some(Act::Wait(Duration::from_millis(200)));
    match Plan::tokens([prompt.to_owned()]) {
        Plan::Acts(reply) => Plan::acts(wait).then(reply),
        other => other,
    }
}

#[test]
fn results_come_in_order() {
    let server = StandIn::builder().plan(echo).start();
    let prompts: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let ended = example::run(&mut parallel(&server, &[]), &prompts.join("\n"));
    assert!(ended.status.success());
    assert_eq!(ended.stderr, "");
    let printed: Vec<&str> = ended.stdout.lines().collect();
    let results: Vec<&[&str]> = printed.chunks(3).collect();
    assert_eq!(results.len(), 30);
    for (index, (result, prompt)) in results.iter().zip(&prompts).enumerate() {
        let head = format!("== {}: {prompt}", index + 1);
        assert_eq!(*result, [&head, prompt, ""]);
    }
    assert_nothing_left(&server);
    assert_eq!(server.counts().created, 30);
}

#[test]
fn a_result_is_printed_as_soon_as_those_before_it_are_there() {
    let plan = |prompt: &str| match prompt {
        "last" => Plan::acts([Act::Hang]),
        other => echo(other),
    };
    let server = StandIn::builder().plan(plan).start();
    let mut process = example::start_with(&mut parallel(&server, &["--json"]), "a\nb\nlast\n");
    for prompt in ["a", "b"] {
        let mut line = String::new();
        process.stdout().read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["prompt"], prompt);
    }
    server.wait_for("the endless one", |counts| {
        (counts.created, counts.running) == (3, 1)
    });
}

#[test]
fn as_many_are_asked_at_once_as_there_are_threads() {
    let server = StandIn::start();
    let process = example::start_with(
        &mut parallel(&server, &["--threads", "3"]),
        &"/silent\n".repeat(5),
    );
    server.wait_for("all threads", |counts| counts.running == 3);
    assert_eq!(server.counts().created, 3);
    drop(process);
}

#[test]
fn one_failure_does_not_stop_the_others_and_the_exit_code_tells() {
    let server = StandIn::start();
    let prompts = "hello\n/422\n\n/count 3\n/error-event\n";
    let ended = example::run(&mut parallel(&server, &["-", "--threads", "2"]), prompts);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stdout.contains("== 4: /count 3\n0 1 2 \n"),
        "{}",
        ended.stdout
    );
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("parallel: line 2: ") && lines[0].contains("422"));
    assert!(lines[1].starts_with("parallel: line 5: ") && lines[1].contains("CUDA"));
    assert_eq!(lines[2], "parallel: 2 of 4 failed");
    assert_nothing_left(&server);
}

#[test]
fn as_json_each_result_is_one_line_a_failed_one_with_what_had_come() {
    let server = StandIn::start();
    let prompts = "say \"hi\"\n/error-event\n";
    let ended = example::run(&mut parallel(&server, &["--json"]), prompts);
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [good, bad] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(good["prompt"], "say \"hi\"");
    assert_eq!(good["text"], " Hi there, how can I help?");
    assert_eq!(good.get("error"), None);
    assert_eq!(bad["text"], " Hi there, how can");
    assert!(
        bad["error"]
            .as_str()
            .unwrap()
            .contains("CUDA out of memory")
    );
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_all_and_leaves_nothing() {
    let server = StandIn::start();
    let process = example::start_with(
        &mut parallel(&server, &["--threads", "3"]),
        "hello\n/slow\n/slow\n/silent\n/slow\nhello\n",
    );
    server.wait_for("all threads", |counts| {
        (counts.created, counts.running) == (4, 3)
    });
    process.signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(ended.stderr, "parallel: stopped; 5 of 6 are not answered\n");
    assert_nothing_left(&server);
    assert_eq!(server.counts().created, 4);
}

#[test]
fn a_closed_pipe_ends_quietly_and_leaves_nothing() {
    let closed = Arc::new(Barrier::new(2));
    let server = StandIn::builder()
        .plan({
            let closed = Arc::clone(&closed);
            move |prompt| match prompt {
                "late" => late(Arc::clone(&closed)),
                other => Plan::for_prompt(other),
            }
        })
        .start();
    let mut command = parallel(&server, &["--threads", "2"]);
    let mut process = example::start_with(&mut command, "hello\nlate\n/slow\n");
    process.stdout().read_exact(&mut [0; 2]).unwrap();
    server.wait_for("the endless one", |counts| {
        (counts.created, counts.running) == (3, 2)
    });
    process.close_output();
    closed.wait();
    let ended = process.end();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_nothing_left(&server);
}

/// A reply that is held back until somebody else waits as well.
fn late(until: Arc<Barrier>) -> Plan {
    Plan::tokens(iter::once_with(move || {
        until.wait();
        "late"
    }))
}

#[test]
fn prompts_are_read_from_a_file() {
    let server = StandIn::builder().plan(echo).start();
    let path = std::env::temp_dir().join(format!("h2o-chat-prompts-{}", std::process::id()));
    std::fs::write(&path, "a\nb\n").unwrap();
    let ended = example::run(parallel(&server, &[]).arg(&path), "c\n");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended.stdout, "== 1: a\na\n\n== 2: b\nb\n\n");
}

#[test]
fn a_command_line_that_cannot_be_used_is_exit_code_2() {
    let server = StandIn::start();
    for (arguments, words) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--threads", "0"], "0"),
        (&["no/such/file"], "no/such/file"),
        (&["one", "two"], "two"),
        (&["--url", "ftp://host"], "ftp://host"),
    ] {
        let ended = example::run(&mut parallel(&server, arguments), "hello\n");
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    assert_eq!(server.counts().requests, 0);
}
