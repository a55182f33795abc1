//! Shared by the tests: clients, servers with reactions, and the observations of both.

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

/// The reply to a prompt that asks for nothing special.
pub const GREETING: &str = " Hi there, how can I help?";

/// A prompt whose reply goes on until it is stopped.
pub const ENDLESS: &str = "/slow";

/// Within this time of a stop a call ends, on a busy machine too. No limit is that near.
pub const PROMPT: Duration = Duration::from_secs(1);

/// A client of this server, which tries everything once.
pub fn client(server: &StandIn) -> Client {
    builder(server).build().unwrap()
}

pub fn builder(server: &StandIn) -> ClientBuilder {
    builder_of_user(server, "sk-test").retries(0)
}

/// A client's builder with the key of this user, where the server wants one.
pub fn builder_of_user(server: &StandIn, key: &str) -> ClientBuilder {
    let builder = Client::builder(&server.url());
    match server.dialect() {
        Dialect::H2ogpte => builder.api_key(key),
        _ => builder,
    }
}

/// A client of somebody else.
pub fn stranger(server: &StandIn) -> Client {
    builder_of_user(server, "sk-other").build().unwrap()
}

/// A client in another process that knows the session.
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

/// The last two requests must be a stop and a deletion, on one connection that is not the reply's.
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

/// The step of a call that sends this request; none for a list of another kind.
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

/// A classic server that reacts like this to the first so many requests of a step.
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

/// A classic server that always reacts like this at a step.
pub fn always(step: Step, reaction: impl Fn() -> Reaction + Send + Sync + 'static) -> StandIn {
    at_first(usize::MAX, step, reaction)
}

/// Returns whether there was one left, which is gone then.
pub fn take_one(left: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    taken.is_ok()
}

/// A complete answer; each of the headers ends its line.
pub fn answer(status: &str, headers: &str, body: &str) -> Reaction {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
    Reaction::Answer((head + body).into())
}

pub fn busy(status: u16, headers: &str) -> Reaction {
    answer(&format!("{status} Busy"), headers, "busy")
}

/// The acts of a plan for a reply.
pub fn acts(plan: Plan) -> Box<dyn Iterator<Item = Act> + Send> {
    match plan {
        Plan::Acts(acts) => acts,
        _ => unreachable!("no reply"),
    }
}

/// An address where nobody listens. While the socket is kept, the system gives the port to no one
/// else, such as a test that runs at the same time.
pub fn nobody() -> (String, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address.to_string(), keep_port(&listener))
}

/// Keeps the port of a listener, which can be dropped then.
pub fn keep_port(listener: &TcpListener) -> TcpStream {
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.accept().unwrap().0
}

/// The result of a call, and how long it took.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed())
}
