//! Shared by the tests: clients, servers with reactions, and checks of both.

pub mod faults;
#[cfg(target_os = "linux")]
pub mod process;
mod table;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use h2o_chat::{Client, ClientBuilder, Error, ErrorKind, Step};
use serde_json::Value;

use crate::stand_in::{Act, Dialect, Plan, Reaction, Request, StandIn};

pub use table::{
    ALL, CLASSIC, CURRENT, EVERY, FORM, H2OGPTE, JSON, Kind, NEWER, NEWEST, V0_8_4, V0_9_5, each,
};

/// The reply to a prompt without a plan.
pub const GREETING: &str = " Hi there, how can I help?";

/// A prompt whose reply runs until it is stopped.
pub const ENDLESS: &str = "/slow";

/// A call ends within this time of a cancel, on a busy machine too. All timeouts are longer.
pub const PROMPT: Duration = Duration::from_secs(1);

/// A client of this server without retries.
pub fn client(server: &StandIn) -> Client {
    builder(server).build().unwrap()
}

pub fn builder(server: &StandIn) -> ClientBuilder {
    builder_of_user(server, "sk-test").retries(0)
}

/// A client's builder, with the key of this user if the server wants one.
pub fn builder_of_user(server: &StandIn, key: &str) -> ClientBuilder {
    let builder = Client::builder(&server.url());
    match server.dialect() {
        Dialect::H2ogpte => builder.api_key(key),
        _ => builder,
    }
}

/// A client of another user.
pub fn stranger(server: &StandIn) -> Client {
    builder_of_user(server, "sk-other").build().unwrap()
}

/// Another client of the same session.
pub fn other_client(server: &StandIn, client: &Client) -> Client {
    let builder = builder(server);
    let builder = match server.dialect() {
        Dialect::H2ogpte => builder,
        _ => builder.session(client.session()),
    };
    builder.build().unwrap()
}

/// Waits until the server has no conversation and generates nothing.
#[track_caller]
pub fn assert_nothing_left(server: &StandIn) {
    server.wait_for("nothing to be left", |counts| counts.conversations + counts.running == 0);
}

#[track_caller]
pub fn assert_failed(error: &Error, kind: ErrorKind, step: Step) {
    assert_eq!((error.kind(), error.step()), (kind, step), "{error}");
}

/// Checks that the last two requests are a stop and a deletion, on one connection that is not the
/// reply's.
#[track_caller]
pub fn assert_stopped_then_deleted(server: &StandIn) {
    server.wait_for("the deletion", |counts| counts.conversations == 0);
    let requests = server.requests();
    let [.., message, stop, delete] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(stop.path, format!("{}/stop-generating", message.path));
    assert!(stop.body.is_empty(), "{stop:?}");
    let deleted = (&*delete.method, &delete.path);
    assert_eq!(deleted, ("DELETE", &message.path));
    assert_ne!(stop.connection, message.connection);
    assert_eq!(stop.connection, delete.connection);
}

/// The step of a call that sends this request; `None` for a list of another kind.
pub fn step_of(request: &Request) -> Option<Step> {
    step_at(&request.method, &request.path)
}

/// The step of a request given as `METHOD /path`.
pub fn step_of_line(line: &str) -> Option<Step> {
    let (method, path) = line.split_once(' ')?;
    step_at(method, path)
}

fn step_at(method: &str, path: &str) -> Option<Step> {
    let path = path.split('?').next().unwrap_or_default();
    Some(match (method, path) {
        ("GET", "/api/v1/models") => Step::ListModels,
        ("GET", path) if path.ends_with("/messages") => Step::ReadHistory,
        ("GET", path) if path.starts_with("/api/v1/jobs/") => Step::DeleteConversation,
        ("POST", "/api/v1/chats") => Step::CreateConversation,
        ("POST", path) if path.ends_with("/completions") => Step::SendMessage,
        ("POST", path) if path.ends_with("/stop") => Step::StopGeneration,
        ("PATCH", _) => Step::RenameConversation,
        ("DELETE", _) | ("POST", "/api/v1/chats/delete_job") => Step::DeleteConversation,
        ("GET", "/api/models" | "/__data.json") => Step::ListModels,
        ("GET", path) if path.starts_with("/api/conversation/") => Step::ReadHistory,
        ("POST", "/settings") => Step::PostSettings,
        ("POST", "/conversation") => Step::CreateConversation,
        ("POST", path) if path.ends_with("/stop-generating") => Step::StopGeneration,
        ("POST", path) if path.starts_with("/conversation/") => Step::SendMessage,
        _ => return None,
    })
}

/// The requests of this step.
pub fn requests_of(server: &StandIn, step: Step) -> Vec<Request> {
    let mut requests = server.requests();
    requests.retain(|request| step_of(request) == Some(step));
    requests
}

pub fn count(server: &StandIn, step: Step) -> usize {
    requests_of(server, step).len()
}

/// The methods and paths, with each id as `ID`, and without the time that a deletion may take.
pub fn paths(server: &StandIn) -> Vec<String> {
    let without_id = |path: &str| {
        let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let is_id = |part: &str| matches!(part.len(), 24 | 36) && is_hex(part);
        let path = path.split_once("?timeout=").map_or(path, |(path, _)| path);
        let parts = path.split('/');
        let parts = parts.map(|part| if is_id(part) { "ID" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let requests = server.requests().into_iter();
    let shown = requests.map(|request| format!("{} {}", request.method, without_id(&request.path)));
    shown.collect()
}

/// The bodies of the messages.
pub fn messages(server: &StandIn) -> Vec<Value> {
    let requests = requests_of(server, Step::SendMessage).into_iter();
    let bodies = requests.map(|request| match request.any_form() {
        Some(form) => serde_json::from_str(&form[0].1).unwrap(),
        None => request.json(),
    });
    bodies.collect()
}

/// The prompts that were sent to a classic server.
pub fn inputs(server: &StandIn) -> Vec<String> {
    let messages = messages(server).into_iter();
    let inputs = messages.map(|message| message["inputs"].as_str().unwrap().to_owned());
    inputs.collect()
}

/// The model of each conversation that was opened.
pub fn opened_models(server: &StandIn) -> Vec<Value> {
    let opened = requests_of(server, Step::CreateConversation).into_iter();
    opened.map(|request| request.json()["model"].clone()).collect()
}

/// A classic server with this reaction to the first requests of a step.
pub fn at_first(
    times: usize,
    step: Step,
    reaction: impl Fn() -> Reaction + Send + Sync + 'static,
) -> StandIn {
    let left = AtomicUsize::new(times);
    let react = move |request: &Request| {
        let strikes = step_of(request) == Some(step) && take_one(&left);
        strikes.then(&reaction)
    };
    StandIn::builder().intercept(react).start()
}

/// A classic server with this reaction to every request of a step.
pub fn always(step: Step, reaction: impl Fn() -> Reaction + Send + Sync + 'static) -> StandIn {
    at_first(usize::MAX, step, reaction)
}

/// Takes one. Returns whether there was one left.
pub fn take_one(left: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    taken.is_ok()
}

/// A complete response. Each header ends with its line break.
pub fn response(status: &str, headers: &str, body: &str) -> Reaction {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
    Reaction::Response((head + body).into())
}

pub fn busy(status: u16, headers: &str) -> Reaction {
    response(&format!("{status} Busy"), headers, "busy")
}

/// The acts of a plan for a reply.
pub fn acts(plan: Plan) -> Box<dyn Iterator<Item = Act> + Send> {
    match plan {
        Plan::Acts(acts) => acts,
        _ => unreachable!("no reply"),
    }
}

/// An address without a listener. While the socket is open, the system does not assign the port to
/// another test.
pub fn nobody() -> (String, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address.to_string(), keep_port(&listener))
}

/// Keeps the port of a listener, which can then be dropped.
pub fn keep_port(listener: &TcpListener) -> TcpStream {
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.accept().unwrap().0
}

/// The result of a call, and its duration.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed())
}
