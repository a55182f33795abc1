//! The example `sweep`, as a process of its own against a server in this one.

use h2o_chat::{Client, Conversation};

use crate::example;
use crate::example::Ended;
use crate::stand_in::StandIn;

fn sweep(server: &StandIn, arguments: &[&str]) -> Ended {
    let mut command = example::command("sweep");
    command.args(["--url", &server.url()]).args(arguments);
    example::run(&mut command, "")
}

/// Opens a conversation in this session and keeps it.
fn keep(server: &StandIn, session: &str) -> String {
    let client = Client::builder(&server.url()).session(session).build();
    let conversation = client.unwrap().conversation();
    conversation.map(Conversation::keep).unwrap()
}

#[test]
fn the_conversation_of_a_killed_process_is_deleted() {
    let server = StandIn::start();
    let mut command = example::command("ask");
    command.args(["--url", &server.url(), "--session", "a-session", "/slow"]);
    let mut ask = example::start_with(&mut command, "");
    ask.wait_for(" s0 s1");
    ask.kill();
    let counts = server.counts();
    assert_eq!((counts.conversations, counts.running), (1, 1));

    let ended = sweep(&server, &["--session", "a-session", "--delete"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr, "sweep: 1 deleted\n");
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}

#[test]
fn without_delete_the_conversations_of_the_session_are_listed() {
    let server = StandIn::start();
    let (first, second) = (keep(&server, "s"), keep(&server, "s"));
    keep(&server, "another");
    let ended = sweep(&server, &["--session", "s"]);
    assert!(ended.status.success());
    let expected = format!("{second} \"Untitled 2\"\n{first} \"Untitled 1\"\n");
    assert_eq!(ended.stdout, expected);
    assert_eq!(ended.stderr, "sweep: 2 found\n");
    assert_eq!(server.conversations().len(), 3);
}

#[test]
fn other_sessions_are_left_alone() {
    let server = StandIn::start();
    let (_, other) = (keep(&server, "s"), keep(&server, "t"));
    let ended = sweep(&server, &["--session", "s", "--delete"]);
    assert!(ended.status.success());
    assert_eq!(server.conversations(), [other]);
}

#[test]
fn the_sweep_continues_after_a_failed_deletion() {
    let server = StandIn::builder()
        .intercept(|request| {
            let refused = request.method == "DELETE" && request.path.ends_with('5');
            let response = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
            refused.then(|| crate::stand_in::Reaction::Response(response.to_vec()))
        })
        .start();
    let ids = [(); 3].map(|()| keep(&server, "s"));
    let refused = ids.iter().find(|id| id.ends_with('5')).unwrap();
    let ended = sweep(&server, &["--session", "s", "--delete"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains(refused.as_str()), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(server.conversations(), [refused.as_str()]);
}

#[test]
fn headers_and_the_cookie_name_reach_the_server() {
    let server = StandIn::builder().cookie_name("my-chat").start();
    let arguments = ["--session", "s", "--cookie-name", "my-chat", "--header", "X-Key: a b"];
    let ended = sweep(&server, &arguments);
    assert!(ended.status.success(), "{}", ended.stderr);
    for request in server.requests() {
        assert_eq!(request.header("cookie"), Some("my-chat=s"));
        assert_eq!(request.header("x-key"), Some("a b"));
    }
}

#[test]
fn the_proxy_is_used() {
    let mut command = example::command("sweep");
    command.args(["--url", "http://chat.example.org", "--session", "s"]);
    let ended = example::run(command.args(["--proxy", "http://127.0.0.1:1"]), "");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("the proxy http://127.0.0.1:1"), "{}", ended.stderr);
}

#[test]
fn an_invalid_command_line_exits_with_2_and_shows_no_secret() {
    let server = StandIn::start();
    for (arguments, words) in [
        (&["--nonsense"][..], "usage: "),
        (&[], "usage: "),
        (&["--session", "secret;t"], "invalid session"),
        (&["--session", "s", "--header", "X-Key:", "secret"], "usage: "),
        (&["--session", "s", "--header", "X-Key: secret\n"], "X-Key"),
        (&["--session", "s", "--proxy", "ftp://host"], "ftp://host"),
    ] {
        let ended = sweep(&server, arguments);
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    assert_eq!(server.counts().requests, 0);
}
