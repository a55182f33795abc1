//! The example `sweep`, as a process of its own against a server in this one.

use std::io::Read;

use h2o_chat::{Client, Conversation};

mod example;
mod stand_in;

use example::Ended;
use stand_in::StandIn;

fn sweep(server: &StandIn, arguments: &[&str]) -> Ended {
    let mut command = example::command("sweep");
    command.env("H2O_CHAT_URL", server.url()).args(arguments);
    example::run(&mut command, "")
}

/// A conversation that is there, and that only the session can delete.
fn kept(server: &StandIn, session: &str) -> String {
    let client = Client::builder(&server.url()).session(session);
    client
        .build()
        .unwrap()
        .conversation()
        .map(Conversation::keep)
        .unwrap()
}

#[test]
fn what_a_killed_process_left_is_swept() {
    let server = StandIn::start();
    let mut command = example::command("ask");
    command.args(["--url", &server.url(), "--session", "a-session", "/slow"]);
    let mut ask = example::start_with(&mut command, "");
    ask.stdout().read_exact(&mut [0; 6]).unwrap();
    ask.kill();
    let counts = server.counts();
    assert_eq!((counts.conversations, counts.running), (1, 1));

    let ended = sweep(&server, &["--session", "a-session", "--delete"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr, "sweep: 1 conversation deleted\n");
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

#[test]
fn a_dry_run_deletes_nothing() {
    let server = StandIn::start();
    let (first, second) = (kept(&server, "s"), kept(&server, "s"));
    let ended = sweep(&server, &["--session", "s"]);
    assert!(ended.status.success());
    let model = h2o_chat::DEFAULT_MODEL;
    assert_eq!(
        ended.stdout,
        format!("{second}  {model}  Untitled 2\n{first}  {model}  Untitled 1\n")
    );
    assert_eq!(ended.stderr, "sweep: 2 conversations found; see --delete\n");
    assert_eq!(server.conversations().len(), 2);
}

#[test]
fn other_sessions_are_let_alone() {
    let server = StandIn::start();
    let (_, other) = (kept(&server, "s"), kept(&server, "t"));
    assert!(
        sweep(&server, &["--session", "s", "--delete"])
            .status
            .success()
    );
    assert_eq!(server.conversations(), [other]);
    let ended = sweep(&server, &["--session", "s", "--delete"]);
    assert_eq!(ended.stderr, "sweep: 0 conversations deleted\n");
    assert!(ended.status.success());
}

#[test]
fn one_that_cannot_be_deleted_does_not_keep_the_others() {
    let server = StandIn::builder()
        .intercept(|request| {
            let refused = request.method == "DELETE" && request.path.ends_with('5');
            let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
            refused.then(|| stand_in::Reaction::Answer(answer.to_vec()))
        })
        .start();
    let ids = [(); 3].map(|()| kept(&server, "s"));
    let refused = ids.iter().find(|id| id.ends_with('5')).unwrap();
    let ended = sweep(&server, &["--session", "s", "--delete"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains(refused.as_str()), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(server.conversations(), [refused.as_str()]);
}

#[test]
fn a_command_line_that_cannot_be_used_is_exit_code_2() {
    let server = StandIn::start();
    for (arguments, words) in [
        (&["--nonsense"][..], "--nonsense"),
        (&[], "--session is missing"),
        (&["--session", "s", "--url", ""], "URL"),
        (&["--session", "s;t"], "cookie"),
    ] {
        let ended = sweep(&server, arguments);
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let ended = example::run(example::command("sweep").args(["--session", "s"]), "");
    assert_eq!(ended.stderr, "sweep: --url is missing; see --help\n");
    assert_eq!(server.counts().requests, 0);
}
