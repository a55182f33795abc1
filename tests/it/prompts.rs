//! The outcome of each kind of prompt on every server: one table.

use std::time::Duration;

use h2o_chat::{ErrorKind, Step};

use crate::stand_in::Dialect;
use crate::support::{ALL, GREETING, Kind, assert_nothing_left, client, count, each};

use ErrorKind::{Generation, Status, Truncated};
use Outcome::{Fails, Whole};

/// The outcome of a call.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// A reply that contains this text; an empty one if the text is empty.
    Whole(&'static str),
    Fails {
        kind: ErrorKind,
        step: Step,
        status: Option<u16>,
        words: &'static str,
        received: &'static str,
        /// The generation may still run, and is stopped.
        stopped: bool,
    },
}

/// A prompt, and the outcome for each dialect.
type Row = (&'static str, [Outcome; 4]);

const COLUMNS: [Dialect; 4] = [Dialect::Classic, Dialect::Json, Dialect::Form, Dialect::Newest];

const FIVE: &str = " Hi there, how can";
const TEN: &str = " Hi there, how can Hi there, how can";
const OUT_OF_MEMORY: &str = "CUDA out of memory";

const fn refused(status: u16, words: &'static str) -> Outcome {
    Fails {
        kind: Status,
        step: Step::SendMessage,
        status: Some(status),
        words,
        received: "",
        stopped: status > 500,
    }
}

/// Reported inside the reply.
const fn reported(status: Option<u16>, words: &'static str, received: &'static str) -> Outcome {
    Fails { kind: Generation, step: Step::ReadReply, status, words, received, stopped: false }
}

const fn truncated(stopped: bool) -> Outcome {
    Fails {
        kind: Truncated,
        step: Step::ReadReply,
        status: None,
        words: "after 5 tokens",
        received: FIVE,
        stopped,
    }
}

/// Refused by a classic server, reported by a current one. Only the newest report the status.
const fn relayed(status: u16, words: &'static str) -> [Outcome; 4] {
    let unknown = reported(None, words, "");
    [refused(status, words), unknown, unknown, reported(Some(status), words, "")]
}

const ROWS: &[Row] = &[
    ("hello", [Whole(GREETING); 4]),
    ("/count 500", [Whole(" 498 499 "); 4]),
    ("/length", [Whole(" Hi there, how can I"); 4]),
    ("/emoji", [Whole(" héllo 你好 😀"); 4]),
    ("/control", [Whole(" \u{1b}[31mred\u{7}\ttab\r\n"); 4]),
    ("/comments", [Whole(GREETING); 4]),
    ("/empty", {
        let nothing = reported(None, "No output was generated", "");
        [Whole(""), Whole(""), nothing, nothing]
    }),
    ("/error-event-first", [reported(None, OUT_OF_MEMORY, ""); 4]),
    ("/error-event", {
        let once = reported(None, OUT_OF_MEMORY, FIVE);
        // The newest ask the model again, so the text is there twice.
        [once, once, once, reported(None, OUT_OF_MEMORY, TEN)]
    }),
    ("/no-final", [truncated(false); 4]),
    ("/dropped", [truncated(true); 4]),
    ("/422", relayed(422, "Input validation error")),
    ("/429", relayed(429, "Model is overloaded")),
    ("/503", relayed(503, "Model h2oai/h2ogpt is currently loading")),
    ("/502", {
        let unknown = reported(None, "502 Bad Gateway", "");
        let known = reported(Some(502), "502 Bad Gateway", "");
        [refused(502, "bad gateway"), unknown, unknown, known]
    }),
    ("/dead", {
        let unknown = reported(None, "Connection error.", "");
        [refused(500, "Internal Error"), unknown, unknown, unknown]
    }),
    ("/rate-limit", [refused(429, "You are sending too many messages"); 4]),
];

#[test]
fn every_prompt_has_its_outcome_and_leaves_nothing() {
    each(ALL, |kind| {
        for (prompt, outcomes) in ROWS {
            let context = format!("{prompt} {:?}", kind.dialect);
            let columns = COLUMNS.into_iter().zip(outcomes);
            for (_, expected) in columns.filter(|(dialect, _)| *dialect == kind.dialect) {
                assert_outcome(kind, prompt, *expected, &context);
            }
        }
    });
}

fn assert_outcome(kind: Kind, prompt: &str, expected: Outcome, context: &str) {
    let server = kind.start();
    let outcome = client(&server).ask(prompt);
    let has_stopped = match expected {
        Whole(text) => {
            let reply = outcome.expect(context);
            let is_it = reply.contains(text) && text.is_empty() == reply.is_empty();
            assert!(is_it, "{context}: {reply:?}");
            false
        }
        Fails { kind, step, status, words, received, stopped } => {
            let error = outcome.expect_err(context);
            let context = format!("{context}: {error}");
            let seen = (error.kind(), error.step(), error.status());
            assert_eq!(seen, (kind, step, status), "{context}");
            assert!(error.to_string().contains(words), "{context}");
            let is_said = error.server_message().is_some_and(|said| said.contains(words));
            assert_eq!(is_said, kind != Truncated, "{context}");
            assert_eq!(error.received(), received, "{context}");
            assert_eq!(error.undeleted(), None, "{context}");
            let is_busy = matches!(status, Some(429 | 502 | 503)) || words.contains("overloaded");
            assert_eq!(error.is_retryable(), is_busy, "{context}");
            stopped
        }
    };
    assert_nothing_left(&server);
    assert_eq!(
        count(&server, Step::StopGeneration),
        usize::from(has_stopped && kind.stops),
        "{context}"
    );
    let counts = server.counts();
    assert_eq!((counts.created, counts.stopped), (1, 0), "{context}");
}

#[test]
fn a_refusal_can_have_a_retry_after() {
    each(ALL, |kind| {
        let server = kind.start();
        let error = client(&server).ask("/429").unwrap_err();
        // A reply has no place for it.
        let expected = kind.is_classic().then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), expected, "{kind:?}");
    });
}
