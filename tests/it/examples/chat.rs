//! The example `chat`, as a process of its own against a server in this one.

use crate::example;
use crate::example::Process;
use crate::stand_in::StandIn;

const GREETING: &str = " Hi there, how can I help?\n";

fn start(server: &StandIn) -> Process {
    example::start(example::command("chat").arg(server.url()))
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}

#[test]
fn each_line_is_a_turn_of_one_conversation() {
    let server = StandIn::start();
    let mut command = example::command("chat");
    let ended = example::run(command.arg(server.url()), "hello\n\nAnd now?");
    assert!(ended.status.success());
    assert_eq!((ended.stdout, ended.stderr.as_str()), (GREETING.repeat(2), ""));
    let prompts = server.model_prompts();
    assert_eq!(prompts.len(), 2);
    assert!(prompts[1].starts_with(&prompts[0]) && prompts[1].contains("And now?"));
    assert_eq!(server.counts().created, 1);
    assert_nothing_left(&server);
}

#[test]
fn an_error_is_one_line_and_ends_only_its_turn() {
    let server = StandIn::start();
    let mut command = example::command("chat");
    let ended = example::run(command.arg(server.url()), "/error-event\n/422\nhello\n");
    assert_eq!(ended.stdout, format!(" Hi there, how can\n\n{GREETING}"));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("chat: ") && lines[0].contains("CUDA out of memory"));
    assert!(lines[1].starts_with("chat: ") && lines[1].contains("Input validation error"));
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(server.counts().created, 1);
    assert_nothing_left(&server);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_only_the_reply() {
    // In the middle of a reply, and before its first token.
    for (message, printed) in [("/slow", " s0 s1"), ("/silent", "")] {
        let server = StandIn::start();
        let mut chat = start(&server);
        chat.enter(&format!("{message}\n"));
        chat.wait_for(printed);
        server.wait_for("the generation", |counts| counts.running == 1);
        chat.signal("INT");
        server.wait_for("the end of the generation", |counts| counts.running == 0);
        chat.enter("hello\n");
        chat.close_input();
        let ended = chat.end();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(ended.stdout.ends_with(&format!("\n{GREETING}")), "{}", ended.stdout);
        assert_eq!((server.counts().created, ended.stderr.as_str()), (1, ""));
        assert_nothing_left(&server);
    }
}

#[test]
fn a_closed_output_ends_the_program_and_leaves_nothing() {
    let server = StandIn::start();
    let mut chat = start(&server);
    chat.enter("/slow\n");
    chat.wait_for(" s0 s1");
    chat.close_output();
    assert_eq!(chat.end().status.code(), Some(1));
    assert_nothing_left(&server);
}
