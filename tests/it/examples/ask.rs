//! The example `ask`, as a process of its own against a server in this one.

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};

use serde_json::Value;

use crate::example;
use crate::example::Ended;
use crate::stand_in::{Dialect, Plan, Reaction, StandIn};

const GREETING: &str = " Hi there, how can I help?\n";

fn command(server: &StandIn, arguments: &[&str]) -> Command {
    let mut command = example::command("ask");
    command.env("H2O_CHAT_URL", server.url()).args(arguments);
    command
}

fn ask(server: &StandIn, arguments: &[&str]) -> Ended {
    example::run(&mut command(server, arguments), "")
}

/// One line on standard error, which contains these words.
fn assert_fails(ended: &Ended, code: i32, words: &str) {
    let stderr = &ended.stderr;
    assert_eq!(ended.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with("ask: ") && stderr.contains(words), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn without_a_url_ask_starts_a_stand_in() {
    let ended = example::run(example::command("ask").arg("Why is the sky blue?"), "");
    assert!(ended.status.success());
    assert_eq!(ended.stdout, GREETING);
    let words = "stand-in answers at http://127.0.0.1:";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
}

#[test]
fn only_the_text_and_a_newline_are_printed() {
    let server = StandIn::start();
    for arguments in [["hello", "you"], ["--no-stream", "hello"]] {
        let ended = ask(&server, &arguments);
        assert!(ended.status.success());
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (GREETING, ""));
    }
    let server = StandIn::builder().plan(|_| Plan::tokens(["a", "\n"])).start();
    assert_eq!(ask(&server, &["hello"]).stdout, "a\n");
}

#[test]
fn reasoning_is_printed_only_if_wanted() {
    const ANSWER: &str = "The answer is 42.\n";
    for dialect in [Dialect::Classic, Dialect::Newest] {
        let server = StandIn::builder().dialect(dialect).start();
        for mode in [&[][..], &["--no-stream"]] {
            let ended = ask(&server, &[mode, &["/reasoning"]].concat());
            assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (ANSWER, ""));
            let ended = ask(&server, &[mode, &["--thinking", "/reasoning"]].concat());
            assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (ANSWER, "Let me think.\n"));
        }
    }
}

#[test]
fn a_long_reply_is_printed_whole_and_counted() {
    const TOKENS: usize = 200_000;
    let server = StandIn::start();
    let ended = ask(&server, &["--stats", "/count", &TOKENS.to_string()]);
    let numbers = ended.stdout.split_whitespace();
    let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
    let expected = (0..TOKENS).map(|number| number % 1000);
    assert!(numbers.iter().copied().eq(expected), "{} numbers", numbers.len());
    let stats: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(stats["tokens"], TOKENS);
    assert!(stats["first_token_ms"].is_u64() && stats["seconds"].is_f64());
    let counts = server.counts();
    assert_eq!((counts.created, counts.conversations, counts.running), (1, 0, 0));
}

#[test]
fn tokens_are_counted_without_streaming() {
    let server = StandIn::start();
    for (prompt, code, tokens) in [("/count 3", 0, 3), ("/error-event", 1, 5)] {
        let ended = ask(&server, &["--no-stream", "--stats", prompt]);
        assert_eq!(ended.status.code(), Some(code));
        let stats = ended.stderr.lines().last().unwrap();
        let stats: Value = serde_json::from_str(stats).unwrap();
        assert_eq!(stats["tokens"], tokens);
    }
}

#[test]
fn a_closed_pipe_ends_quietly_and_leaves_nothing() {
    let server = StandIn::start();
    let mut ask = example::start_with(&mut command(&server, &["/slow"]), "");
    ask.wait_for(" s0 s1");
    ask.close_output();
    let ended = ask.end();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    let counts = server.counts();
    assert_eq!((counts.conversations, counts.stopped), (0, 1));
}

#[test]
fn an_error_is_one_line_after_the_received_text() {
    let server = StandIn::start();
    let text = " Hi there, how can\n";
    for (arguments, words, stdout) in [
        (&["/error-event"][..], "CUDA out of memory", text),
        (&["--no-stream", "/error-event"], "CUDA out of memory", text),
        (&["/no-final"], "ended without its last event, after 5 tokens", text),
        (&["/error-event-first"], "CUDA out of memory", ""),
        (&["/422"], "Input validation error", ""),
        (&["--retries", "0", "/429"], "Model is overloaded", ""),
        (&["/dead"], "Internal Error", ""),
        (&["--idle-timeout", "0.2", "/silent"], "the idle timeout", ""),
        (&["--total-timeout", "0.2", "/silent"], "the total timeout", ""),
    ] {
        let ended = ask(&server, arguments);
        assert_fails(&ended, 1, words);
        assert_eq!(ended.stdout, stdout);
    }
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}

#[test]
fn check_describes_the_server_or_the_error() {
    let server = StandIn::start();
    let ended = ask(&server, &["--check"]);
    assert!(ended.status.success());
    let words = "is a classic chat-ui server. It offers 2 models: ";
    let expected = format!("{} {words}", server.url());
    assert!(ended.stdout.starts_with(&expected), "{}", ended.stdout);
    assert_eq!(server.counts().created, 0);

    let url = format!("{}/no/such/path", server.url());
    let ended = ask(&server, &["--check", "--url", &url]);
    assert_fails(&ended, 1, "405 (Method Not Allowed)");
    assert!(ended.stderr.contains("There is no chat at this path"));
}

#[test]
fn help_and_version_are_printed_without_a_prompt() {
    let server = StandIn::start();
    for option in ["--help", "-h"] {
        let ended = ask(&server, &[option]);
        let first = ended.stdout.lines().next().unwrap();
        assert!(first.starts_with("Asks ") && first.ends_with('.'), "{first}");
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    }
    for option in ["--version", "-V"] {
        let ended = ask(&server, &[option]);
        assert_eq!(ended.stdout, concat!("ask ", env!("CARGO_PKG_VERSION"), "\n"));
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn without_a_prompt_no_stand_in_is_announced() {
    assert_fails(&example::run(&mut example::command("ask"), ""), 2, "the prompt is empty");
}

#[test]
fn the_models_are_listed_one_per_line() {
    let server = StandIn::start();
    let ended = ask(&server, &["--list-models"]);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1\nother/model\n");
    assert_eq!(server.counts().created, 0);
}

#[test]
fn attached_files_are_sent_in_their_order() {
    let server = StandIn::builder().dialect(Dialect::Newest).start();
    let path =
        |name: &str| std::env::temp_dir().join(format!("h2o-chat-{}-{name}", std::process::id()));
    let paths = [path("first.txt"), path("second.csv")];
    let mut command = command(&server, &["Summarise", "these."]);
    for (path, content) in paths.iter().zip(["one", "two"]) {
        std::fs::write(path, content).unwrap();
        command.arg("--attach").arg(path);
    }
    let ended = example::run(&mut command, "");
    for path in &paths {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (GREETING, ""));
    let files = server.files().concat();
    let files: Vec<_> = files.iter().map(|file| &file.name).collect();
    let names = paths.each_ref().map(|path| path.file_name().unwrap().to_str().unwrap());
    assert_eq!(files, names);
}

#[test]
fn hints_name_the_options_of_ask() {
    let login = |_: &crate::stand_in::Request| {
        let head = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
        Some(Reaction::Response(head.into()))
    };
    let server = StandIn::builder().intercept(login).start();
    let ended = ask(&server, &["hello"]);
    assert_fails(&ended, 1, "as the session (--session), or in a Cookie header (--header)");
    assert!(ended.stderr.contains("instead (--api-key)"), "{}", ended.stderr);
    let server = StandIn::start();
    let ended = ask(&server, &["--retries", "0", "--idle-timeout", "0.2", "/silent"]);
    assert_fails(&ended, 1, "allow it with --idle-timeout.");
}

#[test]
fn an_invalid_command_line_exits_with_2_and_shows_no_secret() {
    let server = StandIn::start();
    for (arguments, words) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--param", "temperature"], "NAME=JSON"),
        (&["--param", "temperature=warm"], "no JSON"),
        (&["--param", "x\ny=1\nz"], "no JSON"),
        (&["--param", "\u{1b}[2J\u{7}\r\u{7f}\u{9b}"], "␛[2J␇␍␡\u{fffd}"),
        (&["--idle-timeout", "soon", "hello"], "--idle-timeout soon: "),
        (&["--idle-timeout", "0", "hello"], "--idle-timeout 0: "),
        (&["--total-timeout", "-1", "hello"], "--total-timeout -1: "),
        (&["--retries", "many", "hello"], "--retries many: "),
        (&["--attach", "no-such-file.png", "hello"], "--attach: \"no-such-file.png\""),
        (&["-m"], "-m"),
        (&["--url", "ftp://host", "hello"], "ftp://host"),
        (&["--proxy", "ftp://host", "hello"], "ftp://host"),
        (&["--session", "secret;x", "hello"], "invalid session"),
        (&["--cookie-name", "a b", "hello"], "cookie"),
        (&["--header", "secret", "hello"], "NAME: VALUE"),
        (&["--header", "Bearer secret: x", "hello"], "NAME: VALUE"),
        (&["--header", "X-Key:", "secret", "hello"], "NAME: VALUE"),
        (&["--header", "X-Key: secret\n\u{1}", "hello"], "X-Key"),
        (&[], "the prompt is empty; see --help"),
        (&["--system", "Be brief", " "], "the prompt is empty; see --help"),
    ] {
        let ended = ask(&server, arguments);
        assert_fails(&ended, 2, words);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    assert_eq!(server.counts().requests, 0);
}

#[cfg(unix)]
#[test]
fn invalid_utf_8_is_refused_and_not_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let value = OsStr::from_bytes(b"secret\xff");
    let mut by_variable = example::command("ask");
    by_variable.env("H2O_CHAT_SESSION", value).arg("hello");
    let mut by_option = example::command("ask");
    by_option.arg("--session").arg(value).arg("hello");
    for mut command in [by_variable, by_option] {
        let ended = example::run(&mut command, "");
        let name =
            if ended.stderr.contains("--session") { "--session" } else { "H2O_CHAT_SESSION" };
        assert_fails(&ended, 2, &format!("{name} is not UTF-8"));
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn options_and_standard_input_reach_the_server() {
    let server = StandIn::builder().cookie_name("my-chat").start();
    #[rustfmt::skip]
    let arguments = [
        "--session", "a-session", "--cookie-name", "my-chat", "--model", "other/model",
        "--header", "X-Key: a: b", "--header", "Authorization: Bearer token",
        "--param", "top_k=3", "--param", "stop=[\"\\n\"]", "Summarise", "this.",
    ];
    let ended = example::run(&mut command(&server, &arguments), "a text\nof lines");
    assert!(ended.status.success(), "{}", ended.stderr);

    let requests = server.requests();
    for request in &requests {
        assert_eq!(request.header("cookie"), Some("my-chat=a-session"));
        assert_eq!(request.header("x-key"), Some("a: b"));
        assert_eq!(request.header("authorization"), Some("Bearer token"));
    }
    let [.., create, message, _delete] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(create.json()["model"], "other/model");
    let message = message.json();
    assert_eq!(message["inputs"], "a text\nof lines\nSummarise this.");
    assert_eq!(message["parameters"]["top_k"], 3);
    assert_eq!(message["parameters"]["stop"][0], "\n");
}

#[test]
fn the_system_prompt_and_the_environment_reach_the_server() {
    let server = StandIn::start();
    let mut command = command(&server, &["--system", "Be brief", "Hi"]);
    command.env("H2O_CHAT_MODEL", "other/model");
    let ended = example::run(command.env("H2O_CHAT_SESSION", "a-session"), "");
    assert!(ended.status.success(), "{}", ended.stderr);
    let requests = server.requests();
    assert_eq!(requests[0].header("cookie"), Some("hf-chat=a-session"));
    let [.., create, message, _delete] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(create.json()["model"], "other/model");
    let inputs = &message.json()["inputs"];
    assert_eq!(inputs, "System: Be brief\nUser: Hi\nAssistant:");
}

#[test]
fn the_environments_proxy_is_not_used_for_localhost() {
    let server = StandIn::start();
    let mut command = command(&server, &["hello"]);
    let ended = example::run(command.env("ALL_PROXY", "http://127.0.0.1:1"), "");
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn no_proxy_excludes_servers_from_the_environments_proxy() {
    // The name is too long for a lookup.
    let host = format!("{}.invalid", "x".repeat(64));
    let run = |no_proxy: &str| {
        let mut command = example::command("ask");
        command.args(["--url", &format!("http://{host}"), "--retries", "0", "hello"]);
        let command = command.env("ALL_PROXY", "http://127.0.0.1:1");
        example::run(command.env("NO_PROXY", no_proxy), "")
    };
    assert_fails(&run(""), 1, "no connection to the proxy http://127.0.0.1:1: ");
    let excepted = run(&host);
    assert_fails(&excepted, 1, "posting the settings: ");
    assert!(!excepted.stderr.contains("proxy"), "{}", excepted.stderr);
}

#[test]
fn an_invalid_proxy_in_the_environment_is_an_error() {
    for proxy in [
        "http://pro xy:3128",
        "http//proxy:3128",
        "ftp://127.0.0.1:1",
        "socks4://127.0.0.1:1",
        "http://me:secret%FF@127.0.0.1:1",
        "http://me:secret@127.0.0.1:0",
    ] {
        let mut command = example::command("ask");
        command.env("HTTP_PROXY", "").env("http_proxy", proxy);
        command.args(["--url", "http://chat.example.org", "hello"]);
        let ended = example::run(&mut command, "");
        assert_fails(&ended, 2, "http_proxy");
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
}

#[test]
fn a_retry_is_reported() {
    let seen = AtomicBool::new(false);
    let busy =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 4\r\n\r\nbusy";
    let server = StandIn::builder()
        .intercept(move |request| {
            let is_first = request.path == "/settings" && !seen.swap(true, Ordering::Relaxed);
            is_first.then(|| crate::stand_in::Reaction::Response(busy.into()))
        })
        .start();
    let ended = ask(&server, &["hello"]);
    assert_fails(&ended, 0, "posting the settings: ");
    assert!(ended.stderr.contains("retrying"), "{}", ended.stderr);
}

#[test]
fn a_connect_error_is_retried() {
    // A port below the range that the system assigns.
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (20_000..30_000).find(is_free).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut command = example::command("ask");
    let command = command.args(["--url", &url, "--retries", "5", "/count 1"]);
    let mut ask = example::start_with(command, "");
    let line = ask.error_line();
    assert!(line.contains("retrying after "), "{line}");
    let server = StandIn::builder().port(port).start();
    let ended = ask.end();
    assert_eq!(ended.stdout, "0 \n", "{}", ended.stderr);
    assert_eq!(server.counts().conversations, 0);
}

#[test]
fn an_api_key_comes_from_an_option_or_the_environment() {
    let server = StandIn::builder().dialect(Dialect::H2ogpte).start();
    let given = ask(&server, &["--api-key", "sk-secret", "hello"]);
    let mut in_environment = command(&server, &["hello"]);
    let in_environment = in_environment.env("H2OGPTE_API_KEY", "sk-secret");
    for ended in [given, example::run(in_environment, "")] {
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (GREETING, ""));
    }
    let ended = ask(&server, &["--api-key", "secret", "hello"]);
    assert_fails(&ended, 1, "the API key is missing or wrong");
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    assert_fails(
        &ask(&server, &["--api-key", "sk-secret", "--session", "a", "hello"]),
        2,
        "session",
    );

    // Only the error: a sweep would delete all of the user's conversations.
    let refuse = |request: &crate::stand_in::Request| {
        let is_deletion = request.method == "DELETE";
        is_deletion
            .then(|| Reaction::Response(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".into()))
    };
    let server = StandIn::builder().dialect(Dialect::H2ogpte).intercept(refuse).start();
    let ended = ask(&server, &["--api-key", "sk-secret", "/error-event"]);
    assert_fails(&ended, 1, "could not be deleted");
}

/// What a terminal shows after this output.
#[cfg(target_os = "linux")]
fn shown(output: &str) -> String {
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    for c in output.chars() {
        let line: &mut Vec<char> = lines.last_mut().unwrap();
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            _ => {
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    let lines = lines.into_iter().map(|line| line.into_iter().collect::<String>());
    lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Needs `script`, which creates a terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_long_wait_is_shown_on_a_terminal_only_and_removed_when_text_comes() {
    for option in ["", "--no-stream"] {
        // The replies wait until the sender is dropped.
        let (open, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let server = StandIn::builder().intercept(move |request| {
            if request.path.starts_with("/conversation/") && request.method == "POST" {
                let _ = gate.lock().unwrap().recv();
            }
            None
        });
        let server = server.plan(|_| Plan::tokens(["one\n", "two"])).start();
        let mut piped = command(&server, &["hello"]);
        let ask = format!("'{}' {option} hello", piped.get_program().to_string_lossy());
        let piped = example::start_with(&mut piped, "");
        let mut terminal = Command::new("script");
        terminal.env("H2O_CHAT_URL", server.url()).args([
            "--quiet",
            "--return",
            "--command",
            &ask,
            "/dev/null",
        ]);
        let mut terminal = example::start(&mut terminal);
        terminal.read_until("ask: waiting for the reply, ");
        let waiting = shown(&terminal.read_until(" s"));
        assert_eq!(waiting.lines().count(), 1, "{waiting}");
        drop(open);
        let ended = terminal.end();
        assert!(ended.status.success());
        assert_eq!(shown(&ended.stdout), "one\ntwo\n");
        // There are no colors, so there is nothing for `NO_COLOR` to turn off.
        assert!(!ended.stdout.contains('\u{1b}'), "{:?}", ended.stdout);
        let ended = piped.end();
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("one\ntwo\n", ""));
    }
}
