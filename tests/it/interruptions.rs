//! Turns that end early, and the wait of the next one.

use std::thread;
use std::time::{Duration, Instant};

use h2o_chat::{Conversation, ErrorKind, Step};

use crate::stand_in::{Act, Plan, Reaction, Request, StandIn};
use crate::support::{
    ALL, CLASSIC, CURRENT, ENDLESS, FORM, GREETING, JSON, Kind, NEWER, NEWEST, builder, client,
    count, each, step_of,
};

/// The time for which the newest servers apply a stop to the next message if nothing was running.
const AFTERMATH: Duration = Duration::from_secs(5);

/// A cleanup timeout that has to expire.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(1);

fn interrupt(chat: &mut Conversation, prompt: &str) {
    let mut tokens = chat.stream(prompt).unwrap();
    tokens.next().unwrap().unwrap();
    tokens.cancel().unwrap();
}

#[test]
fn two_cancels_within_five_seconds_leave_the_conversation_usable() {
    each([CLASSIC, JSON, NEWER, NEWEST], |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let start = Instant::now();
        for _ in 0..2 {
            interrupt(&mut chat, ENDLESS);
        }
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        assert!(start.elapsed() < AFTERMATH, "{kind:?}");
        assert_eq!(server.counts().stopped, 2, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 6, "{kind:?}");
        let prompt = server.model_prompts().pop().unwrap();
        assert!(prompt.contains(" s0"), "{kind:?} {prompt}");
    });
}

#[test]
fn an_ignored_stop_waits_for_at_most_the_cleanup_timeout() {
    let server = FORM.start();
    let limited = builder(&server).cleanup_timeout(CLEANUP_TIMEOUT);
    let mut chat = limited.build().unwrap().conversation().unwrap();
    interrupt(&mut chat, ENDLESS);
    let start = Instant::now();
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    assert!((CLEANUP_TIMEOUT..AFTERMATH).contains(&start.elapsed()));
    assert_eq!(server.counts().stopped, 0);
}

#[test]
fn an_ignored_second_stop_waits_for_at_most_the_cleanup_timeout() {
    let server = StandIn::builder().ignores_second_stop().start();
    let limited = builder(&server).cleanup_timeout(CLEANUP_TIMEOUT);
    let mut chat = limited.build().unwrap().conversation().unwrap();
    interrupt(&mut chat, ENDLESS);
    drop(chat.stream(ENDLESS).unwrap());
    let start = Instant::now();
    assert_eq!(chat.ask("hello").unwrap(), GREETING);
    assert!(start.elapsed() >= CLEANUP_TIMEOUT);
    assert_eq!(server.counts().stopped, 1);
}

/// Ends a turn whose generation has already ended.
fn stop_too_late(server: &StandIn, chat: &mut Conversation) -> Instant {
    let mut tokens = chat.stream("/count 3").unwrap();
    tokens.next().unwrap().unwrap();
    server.wait_for("the end of the generation", |counts| counts.running == 0);
    tokens.cancel().unwrap();
    Instant::now()
}

#[test]
fn a_late_stop_does_not_cut_the_next_reply() {
    let too_late = |kind: Kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let stopped = stop_too_late(&server, &mut chat);
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        let has_waited = stopped.elapsed() >= Duration::from_millis(4800);
        assert_eq!(has_waited, kind.dialect == NEWEST.dialect, "{kind:?}");
        let stops = count(&server, Step::StopGeneration);
        assert_eq!(stops, usize::from(kind.stops), "{kind:?}");
    };
    // After a truncated reply it is unknown whether its generation had ended.
    let broken_off = || {
        let server = NEWEST.start();
        let mut chat = client(&server).conversation().unwrap();
        let error = chat.ask("/dropped").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert_eq!(count(&server, Step::StopGeneration), 1);
        assert_eq!(chat.ask("hello").unwrap(), GREETING);
    };
    thread::scope(|scope| {
        scope.spawn(broken_off);
        each(ALL, too_late);
    });
}

/// Another client stops the generation.
fn stopped_from_elsewhere(kind: Kind) -> StandIn {
    let plan = |prompt: &str| match prompt {
        "interrupted" => Plan::acts([
            Act::token(0, "a"),
            Act::Send(b"{\"type\":\"finalAnswer\",\"text\":\"a\",\"interrupted\":true}\n".to_vec()),
        ]),
        prompt => Plan::for_prompt(prompt),
    };
    kind.builder().plan(plan).start()
}

#[test]
fn a_reply_stopped_by_another_client_is_truncated() {
    each(CURRENT, |kind| {
        let server = stopped_from_elsewhere(kind);
        let mut chat = client(&server).conversation().unwrap();
        let error = chat.ask("interrupted").unwrap_err();
        assert_eq!(
            (error.kind(), error.step(), error.received()),
            (ErrorKind::Truncated, Step::ReadReply, "a"),
            "{kind:?} {error}"
        );
        assert!(error.to_string().contains("was stopped"), "{error}");
        assert_eq!(count(&server, Step::StopGeneration), 0, "{kind:?}");
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
    });
}

#[test]
fn an_unsent_message_is_not_stopped() {
    each(CURRENT, |kind| {
        let react = |request: &Request| {
            (step_of(request) == Some(Step::ReadHistory)).then_some(Reaction::NoResponse)
        };
        let server = kind.builder().intercept(react).start();
        let limited = builder(&server).idle_timeout(Duration::from_secs(1));
        let mut chat = limited.build().unwrap().conversation().unwrap();
        let error = match kind.turns.0 {
            1 => chat.ask("hello").and_then(|_| chat.ask("again")),
            _ => chat.ask("hello"),
        };
        let error = error.unwrap_err();
        assert_eq!(error.step(), Step::ReadHistory, "{kind:?} {error}");
        assert_eq!(count(&server, Step::StopGeneration), 0, "{kind:?}");
    });
}
