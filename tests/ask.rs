//! The example `ask`, as a process of its own against a server in this one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

mod example;
mod stand_in;

use stand_in::StandIn;

struct Ask<'a> {
    arguments: &'a [&'a str],
    stdin: &'a str,
    server: Option<&'a StandIn>,
}

impl Ask<'_> {
    fn run(&self) -> Output {
        let mut command = example::command("ask");
        if let Some(server) = self.server {
            command.env("H2O_CHAT_URL", server.url());
        }
        let command = command.args(self.arguments).stdin(Stdio::piped());
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        // A process that has no use for it has ended already.
        let _ = stdin.write_all(self.stdin.as_bytes());
        drop(stdin);
        process.wait_with_output().unwrap()
    }
}

fn ask(server: &StandIn, arguments: &[&str]) -> Output {
    Ask {
        arguments,
        stdin: "",
        server: Some(server),
    }
    .run()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// One line on standard error, which holds this.
fn assert_fails(output: &Output, code: i32, words: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(
        stderr.starts_with("ask: ") && stderr.contains(words),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn without_a_url_a_stand_in_answers() {
    let output = Ask {
        arguments: &["Why is the sky blue?"],
        stdin: "",
        server: None,
    }
    .run();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), " Hi there, how can I help?\n");
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("stand-in answers at http://127.0.0.1:"),
        "{stderr}"
    );
}

#[test]
fn the_text_and_one_newline_is_all_that_is_printed() {
    let server = StandIn::start();
    for arguments in [["hello", "you"], ["--no-stream", "hello"]] {
        let output = ask(&server, &arguments);
        assert!(output.status.success());
        assert_eq!(text(&output.stdout), " Hi there, how can I help?\n");
        assert!(output.stderr.is_empty());
    }
    let server = StandIn::builder()
        .plan(|_| stand_in::Plan::tokens(["a", "\n"]))
        .start();
    assert_eq!(text(&ask(&server, &["hello"]).stdout), "a\n");
}

#[test]
fn a_long_reply_is_printed_whole() {
    const TOKENS: usize = 200_000;
    let server = StandIn::start();
    let output = ask(&server, &["--stats", "/count", &TOKENS.to_string()]);
    let numbers: Vec<usize> = text(&output.stdout)
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(
        numbers.iter().copied().eq((0..TOKENS).map(|n| n % 1000)),
        "{} numbers",
        numbers.len()
    );
    let stats: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(stats["tokens"], TOKENS);
    assert!(stats["first_token_ms"].is_u64() && stats["seconds"].is_f64());
    let counts = server.counts();
    assert_eq!(
        (counts.created, counts.conversations, counts.running),
        (1, 0, 0)
    );
}

#[test]
fn a_closed_pipe_ends_quietly_and_leaves_nothing() {
    let server = StandIn::start();
    let mut command = example::command("ask");
    let command = command
        .args(["--url", &server.url(), "/slow"])
        .stdin(Stdio::null());
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = process.stdout.take().unwrap();
    let mut begin = [0; 6];
    stdout.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b" s0 s1");
    drop(stdout);
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    let counts = server.counts();
    assert_eq!((counts.conversations, counts.stopped), (0, 1));
}

#[test]
fn an_error_is_one_line_after_the_text_that_came() {
    let server = StandIn::start();
    for stream in [&["/error-event"][..], &["--no-stream", "/error-event"]] {
        let output = ask(&server, stream);
        assert_fails(&output, 1, "CUDA out of memory");
        assert_eq!(text(&output.stdout), " Hi there, how can\n");
    }
    for (prompt, words) in [
        ("/error-event-first", "CUDA out of memory"),
        ("/422", "Input validation error"),
        ("/429", "Model is overloaded"),
        ("/dead", "Internal Error"),
    ] {
        let output = ask(&server, &["--retries", "0", prompt]);
        assert_fails(&output, 1, words);
        assert!(output.stdout.is_empty());
    }
    let output = ask(&server, &["/no-final"]);
    assert_fails(&output, 1, "ended without its last event, after 5 tokens");
    assert_eq!(text(&output.stdout), " Hi there, how can\n");
    assert_fails(
        &ask(&server, &["--silence", "0.2", "/silent"]),
        1,
        "silence limit",
    );
    server.wait_for("nothing to be left", |counts| {
        counts.conversations + counts.running == 0
    });
}

#[test]
fn check_says_in_sentences_what_the_server_is_and_what_is_wrong_with_it() {
    let server = StandIn::start();
    let output = ask(&server, &["--check"]);
    assert!(output.status.success());
    let stdout = text(&output.stdout);
    assert!(
        stdout.starts_with(&format!(
            "{} is a classic chat-ui server. It offers 2 models: ",
            server.url()
        )),
        "{stdout}"
    );
    assert_eq!(server.counts().created, 0);

    let url = format!("{}/no/such/path", server.url());
    let output = ask(&server, &["--check", "--url", &url]);
    assert_fails(&output, 1, "405 (Method Not Allowed)");
    assert!(text(&output.stderr).contains("There is no chat at this path"));
}

#[test]
fn a_command_line_that_cannot_be_used_is_exit_code_2() {
    let server = StandIn::start();
    for (arguments, words) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--param", "temperature"], "NAME=JSON"),
        (&["--param", "temperature=warm"], "no JSON"),
        (&["--param", "x\ny=1\nz"], "no JSON"),
        (
            &["--param", "\u{1b}[2J\u{7}\r\u{7f}\u{9b}"],
            "␛[2J␇␍␡\u{fffd}",
        ),
        (&["--silence", "soon", "hello"], "seconds"),
        (&["--silence", "0", "hello"], "silence timeout"),
        (&["--url", "ftp://host", "hello"], "ftp://host"),
        (&["--proxy", "ftp://host", "hello"], "ftp://host"),
        (&[], "prompt is empty"),
    ] {
        assert_fails(&ask(&server, arguments), 2, words);
    }
    assert_eq!(server.counts().requests, 0);
}

#[cfg(unix)]
#[test]
fn an_environment_that_cannot_be_read_is_not_passed_over() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = example::command("ask");
    let url = std::ffi::OsStr::from_bytes(b"http://\xff");
    let output = command
        .env("H2O_CHAT_URL", url)
        .arg("hello")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_fails(&output, 2, "not UTF-8");
}

#[test]
fn options_and_standard_input_reach_the_server() {
    let server = StandIn::start();
    let arguments = [
        "--session",
        "a-session",
        "--model",
        "other/model",
        "--param",
        "top_k=3",
        "--param",
        "stop=[\"\\n\"]",
        "Summarise",
        "this.",
    ];
    let stdin = "a text\nof lines";
    assert!(
        Ask {
            arguments: &arguments,
            stdin,
            server: Some(&server)
        }
        .run()
        .status
        .success()
    );
    assert!(
        ask(&server, &["--system", "Be brief", "Hi"])
            .status
            .success()
    );

    let requests = server.requests();
    assert_eq!(requests[0].header("cookie"), Some("hf-chat=a-session"));
    assert_eq!(requests[1].json()["model"], "other/model");
    let message = requests[2].json();
    assert_eq!(message["inputs"], "a text\nof lines\nSummarise this.");
    assert_eq!(message["parameters"]["top_k"], 3);
    assert_eq!(message["parameters"]["stop"][0], "\n");
    assert_eq!(
        requests[6].json()["inputs"],
        "System: Be brief\nUser: Hi\nAssistant:"
    );
}

#[test]
fn a_server_on_this_machine_is_never_asked_through_the_environments_proxy() {
    let server = StandIn::start();
    let mut command = example::command("ask");
    let command =
        command
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .args(["--url", &server.url(), "hello"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_environments_proxy_is_used_for_other_servers() {
    let mut command = example::command("ask");
    let command = command.env("ALL_PROXY", "http://127.0.0.1:1").args([
        "--url",
        "http://chat.example.org",
        "hello",
    ]);
    let output = command
        .args(["--retries", "0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_fails(
        &output,
        1,
        "no connection to the proxy http://127.0.0.1:1: ",
    );
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_no_reason_to_go_without() {
    for proxy in [
        "http://pro xy:3128",
        "http//proxy:3128",
        "ftp://127.0.0.1:1",
        "socks4://127.0.0.1:1",
        "http://me:secret%FF@127.0.0.1:1",
        "http://me:secret@127.0.0.1:0",
    ] {
        let mut command = example::command("ask");
        let command = command.env("ALL_PROXY", "").env("https_proxy", proxy);
        let command = command.args(["--url", "http://chat.example.org", "hello"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stderr = text(&output.stderr);
        assert_fails(&output, 2, "https_proxy");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}

#[test]
fn a_retry_is_told_before_it_is_waited_for() {
    let seen = AtomicBool::new(false);
    let busy =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 4\r\n\r\nbusy";
    let server = StandIn::builder()
        .intercept(move |request| {
            let is_first = request.path == "/settings" && !seen.swap(true, Ordering::Relaxed);
            is_first.then(|| stand_in::Reaction::Answer(busy.into()))
        })
        .start();
    let output = ask(&server, &["hello"]);
    assert!(output.status.success());
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with("ask: posting the settings: ") && stderr.contains("trying again"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_server_that_is_not_there_yet_is_tried_again() {
    // None that the system gives to somebody else meanwhile.
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (20_000..30_000).find(is_free).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut command = example::command("ask");
    let command = command.args(["--url", &url, "--retries", "5", "/count 1"]);
    let mut ask = example::start_with(command, "");
    let told = ask.error_line();
    assert!(told.contains("trying again after "), "{told}");
    let server = StandIn::builder().port(port).start();
    let ended = ask.end();
    assert_eq!(ended.stdout, "0 \n", "{}", ended.stderr);
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn a_reply_that_is_printed_at_its_end_has_as_many_tokens() {
    let server = StandIn::start();
    for (prompt, code) in [("/count 3", 0), ("/error-event", 1)] {
        let output = ask(&server, &["--no-stream", "--stats", prompt]);
        assert_eq!(output.status.code(), Some(code));
        let stats = text(&output.stderr).lines().last().unwrap();
        let stats: Value = serde_json::from_str(stats).unwrap();
        assert_eq!(stats["tokens"], if code == 0 { 3 } else { 5 });
    }
}

#[test]
fn the_environment_can_except_a_server_from_its_proxy() {
    // Too long for a name, so that nobody has to be asked.
    let host = format!("{}.invalid", "x".repeat(64));
    let mut command = example::command("ask");
    let command = command
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .env("NO_PROXY", &host)
        .args([
            "--url",
            &format!("http://{host}"),
            "--retries",
            "0",
            "hello",
        ]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_fails(&output, 1, "posting the settings: ");
    assert!(!text(&output.stderr).contains("proxy"), "{output:?}");
}
