//! The example `chat`, as a process of its own with pipes, against a server in this one.

use std::io::Read;
use std::process::Command;

mod example;
mod stand_in;

use example::Process;
use stand_in::{Counts, Reaction, StandIn};

const GREETING: &str = " Hi there, how can I help?\n";

fn chat(server: &StandIn) -> Command {
    let mut command = example::command("chat");
    command.env("H2O_CHAT_URL", server.url());
    command
}

/// In a session that another process can know.
fn chat_in(server: &StandIn, session: &str, more: &[&str]) -> Command {
    let mut command = chat(server);
    command.args(["--session", session]).args(more);
    command
}

fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

/// A chat in which this message has led as far as that.
fn chatting(server: &StandIn, message: &str, reached: impl Fn(&Counts) -> bool) -> Process {
    let mut chat = example::start(&mut chat(server));
    chat.enter(message);
    server.wait_for("the reply", reached);
    chat
}

#[test]
fn a_piped_conversation_prints_its_replies_and_leaves_nothing() {
    let server = StandIn::start();
    let ended = example::run(&mut chat(&server), "hello\n\n/retry\nAnd now?");
    assert!(ended.status.success());
    assert_eq!(ended.stdout, GREETING.repeat(3));
    assert_eq!(ended.stderr, "");
    assert_nothing_left(&server);
    assert_eq!(server.counts().created, 1);
    let [first, again, second] = &server.model_prompts()[..] else {
        panic!("{:?}", server.model_prompts())
    };
    assert_eq!(first, again);
    assert!(second.starts_with(first.as_str()) && second.contains("And now?"));
}

#[test]
fn without_a_url_a_stand_in_answers() {
    let ended = example::run(&mut example::command("chat"), "hello\n");
    assert!(ended.status.success());
    assert_eq!(ended.stdout, GREETING);
    assert!(
        ended
            .stderr
            .contains("stand-in answers at http://127.0.0.1:")
    );
}

#[test]
fn an_error_is_one_line_and_the_conversation_goes_on() {
    let server = StandIn::start();
    let ended = example::run(&mut chat(&server), "/422\n/error-event\nhello\n");
    assert_eq!(ended.stdout, format!(" Hi there, how can\n{GREETING}"));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("chat: ") && lines[0].contains("Input validation error"));
    assert!(lines[1].starts_with("chat: ") && lines[1].contains("CUDA out of memory"));
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(server.counts().created, 1);
    assert_nothing_left(&server);
}

#[test]
fn only_the_commands_themselves_are_not_sent() {
    let server = StandIn::start();
    let lines = "/help\n/no-such-command\n/retry this\n//help\n/quit\nhello\n";
    let ended = example::run(&mut chat(&server), lines);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("/retry "), "{}", ended.stdout);
    let requests = server.requests();
    let messages = requests
        .iter()
        .filter(|request| request.path.len() > "/conversation/".len());
    let sent: Vec<_> = messages
        .filter(|request| request.method == "POST")
        .map(|request| request.json()["inputs"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["/no-such-command", "/retry this", "/help"]);
}

#[test]
fn the_system_prompt_and_the_model_reach_the_server() {
    let server = StandIn::start();
    let mut command = chat(&server);
    command.args(["--system", "Be brief.", "--model", "other/model"]);
    let ended = example::run(&mut command, "hello\n/history\n");
    assert_eq!(
        ended.stdout,
        format!("{GREETING}you: Be brief.\n\nhello\nmodel:{GREETING}")
    );
    assert_eq!(server.requests()[1].json()["model"], "other/model");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_reply_and_not_the_program() {
    let server = StandIn::start();
    let mut chat = chatting(&server, "/slow\n", |counts| counts.streaming == 1);
    let mut begin = [0; 3];
    chat.stdout().read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b" s0");
    chat.signal("INT");
    assert!(chat.error_line().contains("the reply is ended"));
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    chat.enter("hello\n");
    chat.close_input();
    let ended = chat.end();
    assert!(ended.status.success());
    assert!(ended.stdout.ends_with(GREETING), "{}", ended.stdout);
    assert_eq!(server.counts().created, 1);
    assert_nothing_left(&server);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_waiting_for_the_first_token() {
    let server = StandIn::start();
    let mut chat = chatting(&server, "/silent\n", |counts| counts.running == 1);
    chat.signal("INT");
    assert!(chat.error_line().contains("the reply is ended"));
    chat.enter("hello\n");
    chat.close_input();
    let ended = chat.end();
    assert!(ended.status.success());
    assert_eq!(ended.stdout, GREETING);
    assert_nothing_left(&server);
}

#[cfg(unix)]
#[test]
fn another_interrupt_after_the_reply_leaves_nothing() {
    let server = StandIn::start();
    let mut chat = chatting(&server, "/slow\n", |counts| counts.streaming == 1);
    chat.signal("INT");
    assert!(chat.error_line().contains("the reply is ended"));
    chat.signal("INT");
    assert!(chat.end().status.success());
    assert_nothing_left(&server);
}

#[cfg(unix)]
#[test]
fn another_interrupt_while_the_reply_is_being_ended_leaves_as_well() {
    let is_stop = |request: &stand_in::Request| request.path.ends_with("/stop-generating");
    let unanswered = move |request: &_| is_stop(request).then_some(Reaction::Silence);
    let server = StandIn::builder().intercept(unanswered).start();
    let mut chat = chatting(&server, "/slow\n", |counts| counts.streaming == 1);
    let before = server.counts().requests;
    chat.signal("INT");
    server.wait_for("the stop", |counts| counts.requests > before);
    chat.signal("INT");
    let line = chat.error_line();
    assert_eq!(line, "");
    assert!(chat.end().status.success());
    server.wait_for("the deletion", |counts| counts.conversations == 0);
}

#[cfg(unix)]
#[test]
fn two_interrupts_with_nothing_between_them_leave() {
    let server = StandIn::start();
    let mut chat = chatting(&server, "", |counts| counts.conversations == 1);
    chat.signal("INT");
    assert!(chat.error_line().contains("once more"));
    chat.signal("INT");
    assert!(chat.end().status.success());
    assert_nothing_left(&server);
}

#[cfg(unix)]
#[test]
fn a_kill_or_a_terminal_that_is_gone_leaves_nothing() {
    let server = StandIn::start();
    for signal in ["TERM", "HUP"] {
        for (message, running) in [("", 0), ("/slow\n", 1)] {
            let chat = chatting(&server, message, |counts| {
                (counts.conversations, counts.running) == (1, running)
            });
            chat.signal(signal);
            assert_eq!(chat.end().status.code(), Some(1));
            assert_nothing_left(&server);
        }
    }
}

/// In a terminal, for which a command that makes one is needed.
#[cfg(target_os = "linux")]
struct Terminal(Process);

#[cfg(target_os = "linux")]
impl Terminal {
    fn start(server: &StandIn) -> Terminal {
        let chat = example::command("chat");
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command"])
            // Without the shell, which would die of the Ctrl-C that chat takes.
            .arg(format!("exec '{}'", chat.get_program().display()))
            .arg("/dev/null")
            .env("TERM", "xterm")
            .env("H2O_CHAT_URL", server.url());
        let mut terminal = Terminal(example::start(&mut script));
        terminal.wait_for("> ");
        terminal
    }

    /// Reads on until this has been shown.
    fn wait_for(&mut self, text: &str) {
        let mut shown = Vec::new();
        while !shown.ends_with(text.as_bytes()) {
            let mut byte = [0];
            self.0.stdout().read_exact(&mut byte).unwrap();
            shown.extend(byte);
        }
    }

    /// Types this and waits until that is shown.
    fn type_until(&mut self, keys: &str, text: &str) {
        self.0.enter(keys);
        self.wait_for(text);
    }
}

#[cfg(target_os = "linux")]
const CTRL_C: &str = "\u{3}";

#[cfg(target_os = "linux")]
#[test]
fn in_a_terminal_lines_are_edited_and_found_again() {
    const BACKSPACE: &str = "\u{7f}";
    const UP: &str = "\u{1b}[A";
    const CTRL_D: &str = "\u{4}";
    let server = StandIn::start();
    let mut terminal = Terminal::start(&server);
    terminal.type_until(&format!("hellp{BACKSPACE}o\r"), "help?\r\n\r\n");
    terminal.wait_for("> ");
    terminal.type_until(&format!("{UP}\r"), "help?\r\n\r\n");
    terminal.wait_for("> ");
    terminal.0.enter(CTRL_D);
    assert!(terminal.0.end().status.success());
    let requests = server.requests();
    let sent = requests
        .iter()
        .filter_map(|request| request.json()["inputs"].as_str().map(str::to_owned));
    assert_eq!(sent.collect::<Vec<_>>(), ["hello", "hello"]);
    assert_nothing_left(&server);
}

#[cfg(target_os = "linux")]
#[test]
fn in_a_terminal_an_interrupt_ends_the_reply_and_another_leaves() {
    let server = StandIn::start();
    let mut terminal = Terminal::start(&server);
    terminal.type_until("/slow\r", "s0 s1");
    terminal.type_until(CTRL_C, "the reply is ended");
    terminal.wait_for("> ");
    terminal.0.enter(CTRL_C);
    assert!(terminal.0.end().status.success());
    assert_nothing_left(&server);
    assert_eq!(server.counts().stopped, 1);
}

#[cfg(target_os = "linux")]
#[test]
fn in_a_terminal_taking_back_two_lines_does_not_leave() {
    let server = StandIn::start();
    let mut terminal = Terminal::start(&server);
    for line in ["one", "two"] {
        terminal.type_until(line, line);
        terminal.type_until(CTRL_C, "once more leaves");
        terminal.wait_for("> ");
    }
    terminal.type_until("hello\r", "how can I help?");
    assert_eq!(server.counts().created, 1);
}

#[test]
fn a_closed_pipe_ends_quietly_and_leaves_nothing() {
    let server = StandIn::start();
    let mut chat = chatting(&server, "/slow\n", |counts| counts.streaming == 1);
    let mut begin = [0; 6];
    chat.stdout().read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b" s0 s1");
    chat.close_output();
    let ended = chat.end();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_nothing_left(&server);
}

#[test]
fn what_is_kept_is_resumed_in_another_process() {
    let server = StandIn::start();
    let kept = example::run(&mut chat_in(&server, "a-session", &[]), "hello\n/keep\n");
    assert!(kept.status.success());
    let id = kept.stdout.strip_prefix(GREETING).unwrap().trim();
    assert_eq!(server.conversations(), [id]);
    assert!(
        kept.stderr
            .contains(&format!("--session a-session --resume {id}"))
    );

    let mut resumed = chat_in(&server, "a-session", &["--resume", id]);
    let ended = example::run(&mut resumed, "/history\n/retry\nAnd now?\n/history\n");
    assert!(ended.status.success(), "{}", ended.stderr);
    let first = format!("you: hello\nmodel:{GREETING}");
    let all = format!("{first}you: And now?\nmodel:{GREETING}");
    assert_eq!(ended.stdout, format!("{first}{GREETING}{GREETING}{all}"));
    assert_eq!(server.conversations(), [id]);

    assert!(example::run(&mut resumed, "/delete\n").status.success());
    assert_nothing_left(&server);
    let ended = example::run(&mut resumed, "hello\n");
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("Conversation not found"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_conversation_that_is_gone_is_told_as_such() {
    let server = StandIn::start();
    let mut chat = chatting(&server, "", |counts| counts.conversations == 1);
    server.forget(&server.conversations()[0]);
    chat.enter("hello\n");
    chat.close_input();
    let ended = chat.end();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("It is gone"), "{}", ended.stderr);
    assert_eq!(server.counts().created, 1);
}

#[test]
fn a_command_line_that_cannot_be_used_is_exit_code_2() {
    let server = StandIn::start();
    let with_session = ["--resume", "id", "--session", "s", "--system", "Be brief."];
    for (arguments, words) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["word"], "word"),
        (&["--resume", "id"], "--session"),
        (&with_session, "--system"),
        (
            &["--resume", "i/d", "--session", "s"],
            "no conversation's id",
        ),
        (&["--system", " "], "system prompt is empty"),
        (&["--url", "ftp://host"], "ftp://host"),
    ] {
        let ended = example::run(chat(&server).args(arguments), "hello\n");
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    assert_eq!(server.counts().requests, 0);
}
