//! A hostile server cannot exhaust a client's memory, control a terminal, or inject anything into
//! the client's requests.
//!
//! `cargo test --test hostile -- --nocapture` prints how much memory each case takes.

use std::env;
use std::fs;
use std::iter;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use h2o_chat::{Client, Error, Proxy};
use serde_json::{Value, json};

mod example;
mod stand_in;

use stand_in::{Act, Builder, Plan, Reaction, Request, StandIn, frame};

/// The name, the server, the outcome of a client's call, and the maximum of additional memory in
/// MiB, compared with a short reply.
struct Case(&'static str, fn() -> Builder, &'static str, u64);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // The slowest come first, because two threads share the list.
    Case("tokens longer and longer", || plans(|| tokens(longer_and_longer())), "TooLarge at ReadReply", 96),
    Case("the longest reply", || StandIn::builder().plan(|_| Plan::tokens(text(8))), "Reply", 64),
    Case("an event of small values after text", || plans(|| tokens(text(3)).then(acts(event(&list(8 * MIB))))), "Truncated at ReadReply", 96),
    Case("200,000 empty tokens", || replies(empty_tokens), "Reply", 2),
    Case("20 MB of long comments", || replies(|| comments(10_000, 20)), "Reply", 2),
    Case("1 MB of empty comments", || replies(|| comments(0, 1)), "Reply", 2),
    Case("tokens without end", || plans(|| tokens(text(1).cycle())), "TooLarge at ReadReply", 16),
    Case("a comment of 20 MB in one line", || replies(|| one_comment(20)), "Reply", 2),
    Case("a line without end", || plans(endless_data), "TooLarge at ReadReply", 4),
    Case("a line without end after text", || plans(|| tokens(text(3)).then(acts(endless_data()))), "TooLarge at ReadReply", 64),
    Case("an event of lines without end", || plans(|| endless("data:x\n")), "TooLarge at ReadReply", 4),
    Case("an event of small values", || plans(|| event(&list(MIB / 2 - 100))), "Protocol at ReadReply", 8),
    Case("an event of brackets", || plans(|| event(&"[".repeat(9_000))), "Protocol at ReadReply", 4),
    Case("settings of small values", || responds("/settings", || whole(&list(MIB / 2 - 100))), "Protocol at PostSettings", 64),
    Case("settings of 64 MB", || responds("/settings", || whole(&" ".repeat(64 * MIB))), "TooLarge at PostSettings", 4),
    Case("a page of small values", || pages(|| list(2 * MIB - 100)), "Status at PostSettings", 128),
    Case("a page of small objects", || pages(|| objects(4 * MIB)), "Status at PostSettings", 32),
    Case("an error of small objects", || responds(A_MESSAGE, || refusal(&objects(MIB))), "Status at SendMessage", 16),
    Case("one model ten thousand times", || pages(one_model), "Status at PostSettings", 48),
    Case("a conversation of 64 MB", || responds("/conversation", || whole(&" ".repeat(64 * MIB))), "TooLarge at CreateConversation", 4),
    Case("an error of 64 MB", || responds(A_MESSAGE, || refusal(&"x".repeat(64 * MIB))), "Status at SendMessage", 8),
    Case("an error of 64 MB to a deletion", || responds(A_DELETION, || refusal(&"x".repeat(64 * MIB))), "Reply", 8),
    Case("a head of 10 MB", || responds(A_MESSAGE, || head(&header("x", 10 * MIB))), "TooLarge at SendMessage", 2),
    Case("10,000 headers", || responds(A_MESSAGE, || head(&header("x", 1).repeat(10_000))), "TooLarge at SendMessage", 2),
    Case("a cookie of 1 MB", || responds(A_MESSAGE, || head(&header("set-cookie: hf-chat=", MIB))), "TooLarge at SendMessage", 2),
    Case("a status of 10 MB", || responds(A_MESSAGE, || format!("HTTP/1.1 200 {}", "x".repeat(10 * MIB))), "TooLarge at SendMessage", 2),
    Case("interim heads without end", || responds(A_MESSAGE, || "HTTP/1.1 102 Processing\r\n\r\n".repeat(MIB)), "TooLarge at SendMessage", 2),
    Case("a gzip header on a plain body", || responds(A_MESSAGE, || stream("content-encoding: gzip\r\ncontent-length: ")), "Reply", 2),
    Case("a chunk's size of 10 MB", || responds(A_MESSAGE, || head_of_chunks() + &"0".repeat(10 * MIB)), "Protocol at ReadReply", 2),
    Case("trailers without end", || responds(A_MESSAGE, || chunked() + &header("x", 1).repeat(MIB)), "Reply", 2),
    Case("a trailer of 10 MB", || responds(A_MESSAGE, || chunked() + &"x".repeat(10 * MIB)), "Reply", 2),
];

const MIB: usize = 1 << 20;

fn plans(plan: fn() -> Plan) -> Builder {
    StandIn::builder().plan(move |_| plan())
}

/// A reply that succeeds.
fn replies(before: fn() -> Plan) -> Builder {
    StandIn::builder().plan(move |_| before().then(acts(Plan::tokens(["Hi"]))))
}

fn acts(plan: Plan) -> Box<dyn Iterator<Item = Act> + Send> {
    match plan {
        Plan::Acts(acts) => acts,
        _ => unreachable!("no reply"),
    }
}

/// Tokens without a last event.
fn tokens(texts: impl Iterator<Item = String> + Send + 'static) -> Plan {
    Plan::acts(texts.map(|text| Act::Send(frame::token(0, &text))))
}

/// A text of this many MiB.
fn text(size: usize) -> impl Iterator<Item = String> + Clone + Send {
    iter::repeat_n("x".repeat(MIB / 16), size * 16)
}

/// Events, each as long as the text before it allows.
fn longer_and_longer() -> impl Iterator<Item = String> + Send {
    (0..).map(|power| "x".repeat((MIB / 2).saturating_mul(3_usize.pow(power)).min(16 * MIB)))
}

fn endless(text: &'static str) -> Plan {
    Plan::acts(iter::repeat_with(|| Act::Send(text.repeat(10_000).into())))
}

/// A line of data without a line end, which cannot be skipped.
fn endless_data() -> Plan {
    let begin = Plan::acts([Act::Send(b"data:".to_vec())]);
    begin.then(acts(endless("x")))
}

/// One line of this many megabytes.
fn one_comment(megabytes: usize) -> Plan {
    let pieces = (0..megabytes).map(|_| Act::Send(vec![b':'; 1_000_000]));
    Plan::acts(pieces).then([Act::Send(b"\n\n".to_vec())])
}

fn empty_tokens() -> Plan {
    let thousand = || Act::Send(b"data:{\"token\":{\"text\":\"\"}}\n\n".repeat(1000));
    Plan::acts(iter::repeat_with(thousand).take(200))
}

fn comments(length: usize, megabytes: usize) -> Plan {
    let comment = format!(":{}\n\n", "x".repeat(length));
    let chunk = comment.repeat(1_000_000 / comment.len());
    Plan::acts(iter::repeat_with(move || Act::Send(chunk.clone().into())).take(megabytes))
}

fn event(json: &str) -> Plan {
    Plan::bytes(vec![format!("data:{json}\n\n").into()])
}

/// A list of values with two bytes each, but many more in memory.
fn list(length: usize) -> String {
    format!("[{}0]", "0,".repeat(length))
}

/// A list of about this many bytes.
fn objects(size: usize) -> String {
    format!("[{}0]", "{\"a\":0},".repeat(size / 8 - 1))
}

/// Ways to find a request.
const A_MESSAGE: &str = "POST /conversation/";
const A_DELETION: &str = "DELETE /conversation/";

/// A server with this response to one kind of request.
fn responds(wanted: &'static str, response: fn() -> String) -> Builder {
    StandIn::builder().intercept(move |request| {
        let Request { method, path, .. } = request;
        let is_it = match wanted {
            A_MESSAGE | A_DELETION => format!("{method} {path}").starts_with(wanted),
            wanted => path == wanted,
        };
        (is_it && !path.ends_with("/stop-generating"))
            .then(|| Reaction::ResponseAndClose(response().into()))
    })
}

fn whole(body: &str) -> String {
    sized("200 OK", body)
}

fn refusal(body: &str) -> String {
    sized("500 Internal Server Error", body)
}

fn sized(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn head(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")
}

fn header(begin: &str, length: usize) -> String {
    let colon = if begin.contains(':') { "" } else { ": " };
    format!("{begin}{colon}{}\r\n", "x".repeat(length))
}

fn reply() -> String {
    let events = [frame::token(0, "Hi"), frame::last(1, "", "Hi", None)].concat();
    String::from_utf8(events).unwrap()
}

/// A good reply. The head ends with the name of the header for its length.
fn stream(headers: &str) -> String {
    let (reply, begin) = (reply(), "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream");
    format!("{begin}\r\n{headers}{}\r\n\r\n{reply}", reply.len())
}

fn head_of_chunks() -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_owned()
}

/// A good reply up to its trailers.
fn chunked() -> String {
    let reply = reply();
    format!("{}{:x}\r\n{reply}\r\n0\r\n", head_of_chunks(), reply.len())
}

/// A server that refuses settings, so that the client lists its models, and has this page for
/// them.
fn pages(page: fn() -> String) -> Builder {
    StandIn::builder().intercept(move |request| {
        let response = match request.path.as_str() {
            "/settings" => refusal(r#"{"type":"error","error":{"message":"Internal Error"}}"#),
            "/__data.json" => whole(&page()),
            _ => return None,
        };
        Some(Reaction::Response(response.into()))
    })
}

fn one_model() -> String {
    let data = json!([{"models": 1}, vec![2; 10_000], {"id": 3}, "x".repeat(MIB / 2)]);
    json!({"nodes": [{"data": data}]}).to_string()
}

/// The environment variable with the server's URL for a client's process.
const URL: &str = "H2O_CHAT_HOSTILE_URL";

#[test]
fn memory_stays_bounded_on_hostile_servers() {
    if let Ok(url) = env::var(URL) {
        return be_a_client(&url);
    }
    let ordinary = run(&Case("a short reply", StandIn::builder, "Reply", 0));
    println!("{ordinary:>8} KiB for a short reply, and more for");
    let cases = Mutex::new(CASES.iter());
    let next = || cases.lock().unwrap().next();
    let walk = || {
        while let Some(case) = next() {
            let &Case(what, .., most) = case;
            let more = run(case).saturating_sub(ordinary);
            println!("{more:>8} KiB {what}");
            assert!(more <= most * 1024, "{what}: {more} KiB more");
        }
    };
    thread::scope(|scope| {
        scope.spawn(walk);
        walk();
    });
}

/// Runs a client in a separate process, because the system's figure for the memory is per process.
/// Returns its peak in KiB, or 0 if the system does not report it.
fn run(&Case(what, server, ends, _): &Case) -> u64 {
    let server = server().start();
    let output = Command::new(env::current_exe().unwrap())
        .args(["memory_stays_bounded_on_hostile_servers", "--exact", "--nocapture"])
        .env(URL, server.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report = serde_json::from_slice::<Value>(&output.stderr);
    let report = report.unwrap_or_else(|_| panic!("{what}: {output:?}"));
    assert_eq!(report["ends"], ends, "{what}: {report}");
    server.wait_for("nothing to be left but what is named", |counts| {
        counts.running == 0 && counts.conversations == report["left"]
    });
    report["peak"].as_u64().unwrap_or_default()
}

/// Asks the server, and prints a report.
fn be_a_client(url: &str) {
    let builder = Client::builder(url).proxy(Proxy::none()).retries(0);
    let client = builder.total_timeout(Duration::from_secs(300)).build().unwrap();
    let (ends, message) = match client.ask("hello") {
        Ok(_) => ("Reply".to_owned(), String::new()),
        Err(error) => (ending(&error), error.to_string()),
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let left = client.leftovers().len();
    eprintln!("{}", json!({"ends": ends, "message": message, "left": left, "peak": peak}));
}

fn ending(error: &Error) -> String {
    format!("{:?} at {:?}", error.kind(), error.step())
}

/// Characters that end a line, move a terminal's cursor, reverse text, or hide.
const WORDS: &str = "one\r\n two\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{8}\u{85}three\u{2028}four\
                     \u{2029}five\u{202e}six\u{2066}\
                     seven\u{200f}\u{200b}\u{feff}\u{e0041}eight";

/// The parts of `WORDS` that may be shown.
const SHOWN: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];

fn in_json(key: &str) -> String {
    json!({ key: WORDS }).to_string()
}

#[test]
fn terminal_control_characters_of_servers_are_escaped() {
    let page = || refusal(&format!("<html><title>{WORDS}</title></html>"));
    let unknown = "the server does not have the model";
    let cases: [(Builder, &[&str], &str); 8] = [
        (
            plans(|| Plan::bytes(vec![frame::error(WORDS, "generation")])),
            &[],
            "the server reported",
        ),
        (plans(|| event(&in_json("nonsense"))), &[], "unexpected event in the reply"),
        (responds(A_MESSAGE, || refusal(&in_json("error"))), &[], "500"),
        (responds(A_MESSAGE, || refusal(WORDS)), &[], "500"),
        (responds("/conversation", page), &[], "500"),
        (
            responds("/conversation", || whole(&in_json("conversationId"))),
            &[],
            "unexpected response",
        ),
        (StandIn::builder().models(&[WORDS]), &["--model", "my/model"], unknown),
        (StandIn::builder().models(&[WORDS]), &["--check"], ""),
    ];
    for (builder, arguments, beginning) in cases {
        let server = builder.start();
        let output = example::command("ask")
            .args(["--url", &server.url(), "--retries", "0"])
            .args(arguments)
            .args(["--", "hello"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = if beginning.is_empty() { &output.stdout } else { &output.stderr };
        let said = std::str::from_utf8(said).unwrap();
        // The command that deletes the leftover, and a repeated deletion, have lines of their own.
        let line = said.lines().find(|line| line.contains(beginning)).unwrap_or_default();
        assert!(said.lines().count() <= 3, "{said}");
        assert!(SHOWN.iter().all(|word| line.contains(word)), "{line}");
        let acts = |c: &char| c.is_control() || WORDS.contains(*c) && !c.is_ascii();
        let has_acting = |line: &str| line.chars().any(|c| acts(&c));
        assert!(!said.lines().any(has_acting), "{said}");
    }
}

/// Needs `script`, which creates a terminal.
#[cfg(target_os = "linux")]
#[test]
fn ask_escapes_tokens_on_a_terminal_only() {
    const TEXT: &str = " \u{1b}[31mred\u{7}\u{9b}2J\u{202e}der";
    let server = StandIn::builder().plan(|_| Plan::tokens([TEXT])).start();
    let ask = example::command("ask");
    let run = |mut command: Command| {
        let command = command.env("H2O_CHAT_URL", server.url());
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut terminal = Command::new("script");
    terminal
        .args(["--quiet", "--return", "--command"])
        .arg(format!("'{}' hello", ask.get_program().to_string_lossy()))
        .arg("/dev/null");
    assert_eq!(run(terminal).trim_end(), " ␛[31mred␇\u{fffd}2J\u{fffd}der");
    let mut elsewhere = ask;
    elsewhere.arg("hello");
    assert_eq!(run(elsewhere), format!("{TEXT}\n"));
}

#[test]
fn a_set_cookie_cannot_inject_headers() {
    let long = |name: &str| header(&format!("set-cookie: {name}="), 1000);
    let many: String = (0..15).map(|n| long(&format!("c{n}"))).collect();
    let refused = Err("Protocol at PostSettings");
    let too_large = Err("TooLarge at PostSettings");
    // The cookies of the response to the settings, and the expected ones in the deletion of a good
    // reply.
    let cases = [
        ("set-cookie: hf-chat=a; Path=/\r\n".to_owned(), Ok("hf-chat=a")),
        ("set-cookie: hf-chat=a\r\n b\r\n".to_owned(), refused),
        ("set-cookie: hf-chat=a\r\n\tb\r\n".to_owned(), refused),
        ("set-cookie: hf-chat=a\rx: b\r\n".to_owned(), refused),
        ("set-cookie: hf-chat=a\0b\r\n".to_owned(), refused),
        ("set-cookie: hf-chat=a\u{b}b\r\n".to_owned(), refused),
        // The end of a header.
        ("set-cookie: hf-chat=a\nx: b\r\n".to_owned(), Ok("hf-chat=a")),
        ("set-cookie: hf-chat=a%0d%0ab\r\n".to_owned(), Ok("hf-chat=a%0d%0ab")),
        ("set-cookie: hf-chat=a, x=b\r\n".to_owned(), Ok("hf-chat=own")),
        ("set-cookie: hf-chat=a\u{2028}b\r\n".to_owned(), Ok("hf-chat=own")),
        ("set-cookie: hf-chat=\r\n".to_owned(), Ok("hf-chat=own")),
        ("set-cookie: lb=a\tb\r\n".to_owned(), Ok("hf-chat=own")),
        ("set-cookie: lb=a b\"; x\r\n".to_owned(), Ok("hf-chat=own; lb=a b\"")),
        (header("set-cookie: hf-chat=", 15_000), Ok("hf-chat=own")),
        (many, Ok("hf-chat=own; c0=")),
        (header("set-cookie: hf-chat=", MIB), too_large),
        (header("set-cookie: lb=", MIB), too_large),
    ];
    for (set, expected) in cases {
        let response =
            format!("HTTP/1.1 200 OK\r\n{set}content-length: 19\r\n\r\n{{\"type\":\"redirect\"}}");
        // Only once: after that, the client posts its settings again with the new session.
        let response = Mutex::new(Some(response));
        let server = StandIn::builder()
            .intercept(move |_| {
                let response = response.lock().unwrap().take()?;
                Some(Reaction::Response(response.into()))
            })
            .start();
        let client = Client::builder(&server.url()).retries(0).build().unwrap();
        let own = client.session();
        let ended = client.ask("hello");
        let requests = server.requests();
        let last = requests.last().unwrap();
        match expected {
            Ok(cookies) => {
                ended.unwrap();
                let cookies = &cookies.replace("own", own.as_str());
                let sent = last.header("cookie").unwrap();
                assert!(sent.starts_with(cookies) && sent.len() < 5000, "{set:.40?}: {sent}");
                assert!(cookies.contains("c0=") || sent == *cookies, "{set:.40?}: {sent}");
                assert_eq!((last.method.as_str(), last.header("x")), ("DELETE", None));
            }
            Err(kind) => {
                assert_eq!(ending(&ended.unwrap_err()), kind, "{set:.40?}");
                assert_eq!(requests.len(), 1);
            }
        }
        assert_eq!(server.counts().conversations, 0);
    }
}
