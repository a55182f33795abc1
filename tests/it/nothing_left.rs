//! Nothing is left on servers that refuse cleanup at first, or that stop only a reply that is being
//! read. Leftovers can be found.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use h2o_chat::{CancelHandle, Client, ErrorKind, Request, Step, Timeout, Tokens};

use crate::example;
use crate::stand_in::{self, Builder, Reaction, StandIn};
use crate::support::{
    ALL, CLASSIC, ENDLESS, FORM, GREETING, NEWEST, PROMPT, V0_8_4, V0_9_5, always, assert_failed,
    assert_nothing_left, builder, busy, client, count, each, response, step_of, take_one, timed,
};

/// A cleanup timeout that nothing here reaches.
const LONG: Duration = Duration::from_secs(20);

/// A server with this reaction to the first request of a step.
fn refusing(builder: Builder, step: Step, status: u16, headers: &'static str) -> StandIn {
    let left = AtomicUsize::new(1);
    let react = move |request: &stand_in::Request| {
        let is_refused = step_of(request) == Some(step) && take_one(&left);
        is_refused.then(|| busy(status, headers))
    };
    builder.intercept(react).start()
}

const REFUSALS: [(u16, &str); 4] =
    [(429, ""), (503, ""), (429, "retry-after: 1\r\n"), (503, "retry-after: 0\r\n")];

#[test]
fn a_deletion_that_is_refused_once_is_retried() {
    each(ALL, |kind| {
        each(REFUSALS, |(status, headers)| {
            let server = refusing(kind.builder(), Step::DeleteConversation, status, headers);
            let client = builder(&server).cleanup_timeout(LONG).build().unwrap();
            let tokens = client.stream("hello").unwrap();
            let text: String = tokens.map(Result::unwrap).collect();
            assert_eq!(text, GREETING, "{kind:?}");
            assert_eq!(client.leftovers(), [""; 0], "{kind:?} {status} {headers}");
            assert_eq!(count(&server, Step::DeleteConversation), 2, "{kind:?}");
            assert_nothing_left(&server);
        });
    });
}

#[test]
fn a_stop_that_is_refused_once_is_retried() {
    each(ALL, |kind| {
        let refusals = if kind.stops { &REFUSALS[..] } else { &[] };
        for &(status, headers) in refusals {
            let server = refusing(kind.builder(), Step::StopGeneration, status, headers);
            let client = builder(&server).cleanup_timeout(LONG).build().unwrap();
            let mut tokens = client.stream(ENDLESS).unwrap();
            tokens.next().unwrap().unwrap();
            tokens.cancel().unwrap();
            assert_nothing_left(&server);
            assert_eq!(server.counts().stopped, 1, "{kind:?} {status} {headers}");
            assert_eq!(count(&server, Step::StopGeneration), 2, "{kind:?}");
        }
    });
}

#[test]
fn ask_succeeds_after_a_retried_deletion() {
    each([CLASSIC, NEWEST], |kind| {
        for status in [429, 503] {
            let server = refusing(kind.builder(), Step::DeleteConversation, status, "");
            let mut command = example::command("ask");
            let ended = example::run(command.args(["--url", &server.url(), "hello"]), "");
            assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
            assert_eq!(ended.stdout.trim_end(), GREETING);
            assert!(!ended.stderr.contains("sweep"), "{}", ended.stderr);
            assert_nothing_left(&server);
        }
    });
}

#[test]
fn a_retry_after_beyond_the_cleanup_timeout_ends_the_retries() {
    let react = |request: &stand_in::Request| {
        let is_cleanup =
            matches!(step_of(request), Some(Step::StopGeneration | Step::DeleteConversation));
        is_cleanup.then(|| busy(503, "retry-after: 60\r\n"))
    };
    let server = StandIn::builder().intercept(react).start();
    let client = builder(&server).cleanup_timeout(LONG).build().unwrap();
    let mut tokens = client.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    let (error, took) = timed(|| tokens.cancel().unwrap_err());
    assert_failed(&error, ErrorKind::Status, Step::DeleteConversation);
    assert!(took < LONG / 4, "{took:?}");
    assert_eq!(count(&server, Step::StopGeneration), 1);
    assert_eq!(count(&server, Step::DeleteConversation), 1);
    assert_eq!(client.leftovers(), server.conversations());
}

#[test]
fn cleanup_retries_wait_between_attempts() {
    for headers in ["", "retry-after: 0\r\n"] {
        let server = always(Step::DeleteConversation, move || busy(503, headers));
        let limited = builder(&server).cleanup_timeout(Duration::from_millis(1200));
        let client = limited.build().unwrap();
        assert_eq!(client.ask("hello").unwrap(), GREETING);
        let attempts = count(&server, Step::DeleteConversation);
        assert!((2..=3).contains(&attempts), "{attempts}");
        assert_eq!(client.leftovers(), server.conversations());
    }
}

/// Checks that the stop was sent while the reply had its connection, and the deletion after it.
#[track_caller]
fn assert_stopped_while_reading(server: &StandIn) {
    assert_nothing_left(server);
    assert_eq!(server.counts().stopped, 1);
    let requests = server.requests();
    let stop = requests.iter().position(|it| step_of(it) == Some(Step::StopGeneration));
    let message = requests.iter().position(|it| step_of(it) == Some(Step::SendMessage));
    let (stop, message) = (stop.unwrap(), message.unwrap());
    assert_ne!(requests[stop].connection, requests[message].connection);
    let last = requests.last().and_then(step_of);
    assert_eq!(last, Some(Step::DeleteConversation));
    assert_eq!(count(server, Step::StopGeneration), 1);
}

#[test]
fn chat_ui_0_9_5_is_stopped_while_its_reply_is_read() {
    let ends: [fn(Tokens<'static>); 3] =
        [drop, |tokens| tokens.cancel().unwrap(), |tokens| tokens.keep().delete().unwrap()];
    thread::scope(|scope| {
        for end in ends {
            scope.spawn(move || {
                let server = V0_9_5.start();
                let client = builder(&server).cleanup_timeout(LONG).build().unwrap();
                let mut tokens = client.stream(ENDLESS).unwrap();
                tokens.next().unwrap().unwrap();
                end(tokens);
                assert_stopped_while_reading(&server);
            });
        }
    });
}

#[test]
fn chat_ui_0_9_5_is_stopped_after_client_side_errors() {
    let server = V0_9_5.start();
    let limited = builder(&server).token_timeout(Duration::from_secs(1));
    let client = limited.cleanup_timeout(LONG).build().unwrap();
    let error = client.ask("/hang").unwrap_err();
    let timeout = ErrorKind::Timeout(Timeout::Token);
    assert_failed(&error, timeout, Step::ReadReply);
    assert_eq!(error.undeleted(), None);
    assert_stopped_while_reading(&server);

    let server = V0_9_5.start();
    let client = builder(&server).cleanup_timeout(LONG).build().unwrap();
    let handle = CancelHandle::default();
    let request = Request::new(ENDLESS).cancel_handle(&handle);
    let mut tokens = client.stream(request).unwrap();
    tokens.next().unwrap().unwrap();
    handle.cancel();
    let error = tokens.next().unwrap().unwrap_err();
    assert_failed(&error, ErrorKind::Cancelled, Step::ReadReply);
    assert_stopped_while_reading(&server);
}

#[test]
fn chat_ui_0_9_5_is_stopped_after_an_early_end_of_a_turn() {
    let server = V0_9_5.start();
    let client = builder(&server).cleanup_timeout(LONG).build().unwrap();
    let mut chat = client.conversation().unwrap();
    let mut tokens = chat.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    drop(tokens);
    server.wait_for("the end", |counts| counts.running == 0);
    assert_eq!(server.counts().stopped, 1);
    // The conversation is usable at once.
    let (text, took) = timed(|| chat.ask("hello").unwrap());
    assert_eq!(text, GREETING);
    assert!(took < LONG / 4, "{took:?}");
    drop(chat);
    assert_stopped_while_reading(&server);
}

#[test]
fn chat_ui_0_9_5_is_read_for_half_the_cleanup_timeout_at_most() {
    const CLEANUP: Duration = Duration::from_secs(4);
    let server = V0_9_5.builder().stop_delay(LONG).start();
    let client = builder(&server).cleanup_timeout(CLEANUP).build().unwrap();
    let mut tokens = client.stream(ENDLESS).unwrap();
    tokens.next().unwrap().unwrap();
    let ((), took) = timed(|| drop(tokens));
    assert!(took >= CLEANUP / 2 && took < CLEANUP, "{took:?}");
    assert_eq!(server.counts().conversations, 0);
    assert_eq!(client.leftovers(), [""; 0]);
}

#[test]
fn no_stop_is_sent_to_a_server_that_ignores_stops() {
    each([V0_8_4, FORM], |kind| {
        let server = kind.start();
        let client = client(&server);
        let mut tokens = client.stream(ENDLESS).unwrap();
        tokens.next().unwrap().unwrap();
        tokens.cancel().unwrap();
        let mut chat = client.conversation().unwrap();
        let mut tokens = chat.stream(ENDLESS).unwrap();
        tokens.next().unwrap().unwrap();
        drop(tokens);
        drop(chat);
        assert_eq!(count(&server, Step::StopGeneration), 0, "{kind:?}");
        assert_eq!(server.counts().conversations, 0, "{kind:?}");
        assert_eq!(client.leftovers(), [""; 0]);
    });
}

/// A server that reacts like this to deletions while the flag is set.
fn troubled(reaction: impl Fn() -> Reaction + Send + Sync + 'static) -> (StandIn, Arc<AtomicBool>) {
    let (server, trouble) = troubled_builder(StandIn::builder(), reaction);
    (server.start(), trouble)
}

fn troubled_builder(
    builder: Builder,
    reaction: impl Fn() -> Reaction + Send + Sync + 'static,
) -> (Builder, Arc<AtomicBool>) {
    let trouble = Arc::new(AtomicBool::new(true));
    let is_troubled = Arc::clone(&trouble);
    let react = move |request: &stand_in::Request| {
        let is_refused = request.method == "DELETE" && is_troubled.load(Ordering::Relaxed);
        is_refused.then(&reaction)
    };
    (builder.intercept(react), trouble)
}

fn refuse() -> Reaction {
    response("500 Oh", "", "")
}

#[test]
fn deleting_a_leftover_by_id_removes_it_from_the_list() {
    let (server, trouble) = troubled(refuse);
    let client = client(&server);
    for _ in 0..3 {
        client.ask("/count 1").unwrap();
    }
    let left = client.leftovers();
    assert_eq!(left, server.conversations());
    // A leftover that fails again keeps its place.
    client.delete_conversation(&left[0]).unwrap_err();
    client.delete_leftovers().unwrap_err();
    assert_eq!(client.leftovers(), left);
    trouble.store(false, Ordering::Relaxed);
    client.delete_conversation(&left[1]).unwrap();
    assert_eq!(client.leftovers(), [&*left[0], &*left[2]]);
}

#[test]
fn deleting_leftovers_obeys_the_cancel_handle() {
    let is_mute = Arc::new(AtomicBool::new(false));
    let mute = Arc::clone(&is_mute);
    let (server, _) =
        troubled(
            move || if mute.load(Ordering::Relaxed) { Reaction::NoResponse } else { refuse() },
        );
    let handle = CancelHandle::default();
    let client = builder(&server).cancel_handle(&handle);
    let client = client.cleanup_timeout(LONG).build().unwrap();
    for _ in 0..2 {
        client.ask("/count 1").unwrap();
    }
    is_mute.store(true, Ordering::Relaxed);
    let before = server.counts().requests;
    let (error, took) = thread::scope(|scope| {
        let call = scope.spawn(|| client.delete_leftovers().unwrap_err());
        server.wait_for("the deletion", |counts| counts.requests > before);
        handle.cancel();
        timed(|| call.join().unwrap())
    });
    assert_failed(&error, ErrorKind::Cancelled, Step::DeleteConversation);
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(server.counts().requests, before + 1);
    assert_eq!(client.leftovers(), server.conversations());
}

#[test]
fn one_cleanup_timeout_applies_to_all_leftovers() {
    // Each takes half a second, because of its retry.
    const CLEANUP: Duration = Duration::from_millis(600);
    const LEFT: usize = 24;
    let limits = [(None, CLEANUP * 10), (Some(CLEANUP * 4), CLEANUP * 4)];
    let walk = |(total, limit): (Option<Duration>, Duration)| {
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy_now = Arc::clone(&is_busy);
        let (server, _) =
            troubled(
                move || {
                    if busy_now.load(Ordering::Relaxed) { busy(503, "") } else { refuse() }
                },
            );
        let client = builder(&server).cleanup_timeout(CLEANUP).total_timeout(total);
        let client = client.build().unwrap();
        for _ in 0..LEFT {
            client.ask("/count 1").unwrap();
        }
        is_busy.store(true, Ordering::Relaxed);
        let (error, took) = timed(|| client.delete_leftovers().unwrap_err());
        assert_eq!(error.step(), Step::DeleteConversation);
        let is_right = took + CLEANUP > limit && took < limit + CLEANUP + PROMPT;
        assert!(is_right, "{took:?} of {limit:?}");
        assert_eq!(client.leftovers(), server.conversations());
    };
    thread::scope(|scope| {
        for limit in limits {
            scope.spawn(move || walk(limit));
        }
    });
}

#[test]
fn the_error_has_the_leftovers_session_but_hides_it() {
    each(ALL, |kind| {
        let (builder_, _) = troubled_builder(kind.builder(), refuse);
        let server = builder_.start();
        for session in [None, Some("a-credential")] {
            let client = match session {
                Some(session) => builder(&server).session(session).build().unwrap(),
                None => client(&server),
            };
            let tokens = client.stream("/count 1").unwrap();
            let error = tokens.last().unwrap().unwrap_err();
            let id = error.undeleted().unwrap();
            assert_eq!(server.conversations().last().unwrap(), id);
            assert_eq!(error.undeleted_session(), Some(&client.session()));
            let shown = format!("{error} {error:?} {:?}", error.source());
            assert!(!shown.contains(client.session().as_str()), "{shown}");
        }
    });
    let error = Client::new("http://127.0.0.1:1").unwrap();
    assert_eq!(error.ask("hello").unwrap_err().undeleted_session(), None);
}

/// Returns the arguments of the printed `sweep` command.
fn printed_sweep(stderr: &str) -> Vec<String> {
    let (_, command) =
        stderr.split_once("--example sweep -- ").unwrap_or_else(|| panic!("{stderr}"));
    let command = command.lines().next().unwrap_or_default();
    command.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_printed_sweep_command_deletes_the_leftovers() {
    // The program, the name of the session's cookie, and the user's session.
    let cases = [
        ("ask", "hf-chat", None),
        ("ask", "my-chat", None),
        ("ask", "hf-chat", Some("a-credential")),
        ("ask", "my-chat", Some("a-credential")),
        ("parallel", "hf-chat", None),
        ("parallel", "my-chat", None),
        ("chat", "hf-chat", None),
        ("chat", "my-chat", None),
    ];
    each([CLASSIC, NEWEST], |kind| {
        each(cases, |(program, cookie_name, session)| {
            let (builder_, trouble) = troubled_builder(kind.builder(), refuse);
            let server = builder_.cookie_name(cookie_name).start();
            let url = server.url();
            let mut command = example::command(program);
            if program == "ask" {
                command.args(["--url", &url, "hello"]);
            } else {
                command.arg(&url);
            }
            if let Some(session) = session {
                command.args(["--session", session, "--cookie-name", cookie_name]);
            }
            let ended = example::run(&mut command, if program == "ask" { "" } else { "hello" });
            let context = format!("{kind:?} {program} {cookie_name}: {}", ended.stderr);
            assert_eq!(ended.status.success(), program == "parallel", "{context}");
            assert_eq!(server.counts().conversations, 1, "{context}");
            assert!(!ended.stderr.contains("a-credential"), "{context}");

            let mut arguments = printed_sweep(&ended.stderr);
            let has_name = arguments.iter().any(|it| it == "--cookie-name");
            assert_eq!(has_name, cookie_name != "hf-chat", "{context}");
            if let Some(session) = session {
                let mine = arguments.iter_mut().find(|it| *it == "'<yours>'");
                session.clone_into(mine.unwrap_or_else(|| panic!("{context}")));
            }
            trouble.store(false, Ordering::Relaxed);
            let swept = example::run(example::command("sweep").args(arguments), "");
            assert_eq!(swept.stderr, "sweep: 1 deleted\n", "{context}");
            assert_nothing_left(&server);
        });
    });
}
