//! Replies that servers, gateways and shims were seen to send, and their updates.

use std::io::Read;

use super::cuts::Cuts;
use super::random::Random;
use super::{Decoder, Update};
use crate::error::{Error, ErrorKind};
use crate::reply::Event;

struct Case {
    name: &'static str,
    decoder: fn() -> Decoder,
    /// The body of the reply, which ends as it should. `@` stands for 1.5 MB of text.
    body: &'static str,
    text: &'static str,
    outcome: Outcome,
}

enum Outcome {
    Complete,
    Truncated,
    /// The message quotes this.
    Unexpected(&'static str),
    /// The server's words, the status, and whether to try again.
    Reported(&'static str, Option<u16>, bool),
}

use Outcome::{Complete, Reported, Truncated, Unexpected};

/// A TGI token with this text, as in JSON.
macro_rules! token {
    ($text:literal) => {
        concat!(
            r#"data:{"token":{"id":5,"text":""#,
            $text,
            r#"","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
            "\n\n"
        )
    };
}

/// Half of a reply.
macro_rules! hello {
    () => {
        token!("Hello")
    };
}

/// The last TGI event, without its blank line.
macro_rules! last {
    ($text:literal) => {
        concat!(
            r#"data:{"token":{"id":2,"text":"</s>","special":true},"generated_text":""#,
            $text,
            r#"","details":null}"#
        )
    };
}

/// The rest of a reply that began with `hello!`.
macro_rules! world {
    () => {
        concat!(token!(" world"), last!("Hello world"), "\n\n")
    };
}

/// A line of chat-ui with this token.
macro_rules! line {
    ($token:literal) => {
        concat!(r#"{"type":"stream","token":""#, $token, "\"}\n")
    };
}

/// The last line of chat-ui, without its line feed.
macro_rules! answer {
    ($text:literal) => {
        concat!(r#"{"type":"finalAnswer","text":""#, $text, r#"","interrupted":false}"#)
    };
}

/// A whole reply of chat-ui.
macro_rules! lines {
    () => {
        concat!(line!("Hello"), line!(" world"), answer!("Hello world"), "\n")
    };
}

/// Cases whose bodies are lists of pieces.
macro_rules! cases {
    (
        $decoder:expr;
        $($name:literal: [$($piece:expr),* $(,)?] => $text:literal, $outcome:expr;)*
    ) => {
        &[$(Case {
            name: $name,
            decoder: $decoder,
            body: concat!($($piece),*),
            text: $text,
            outcome: $outcome,
        }),*]
    };
}

#[rustfmt::skip]
const TGI: &[Case] = cases! { Decoder::tgi;
    "whole": [hello!(), world!()] => "Hello world", Complete;

    // Fields that are only passed on.
    "id above u32": [r#"data:{"token":{"id":9007199254740993,"text":"Hello"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "id above u64": [r#"data:{"token":{"id":99999999999999999999,"text":"Hello"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "negative id": [r#"data:{"token":{"id":-1,"text":"Hello"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "id as text": [r#"data:{"token":{"id":"t17","text":"Hello"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "id as a list": [r#"data:{"token":{"id":[1,{"a":2}],"text":"Hello"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "logprob as text": [r#"data:{"token":{"text":"Hello","logprob":"-inf"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "huge logprob": [r#"data:{"token":{"text":"Hello","logprob":-1e999}}"#, "\n\n", world!()] => "Hello world", Complete;
    "special as 0": [r#"data:{"token":{"text":"Hello","special":0}}"#, "\n\n", world!()] => "Hello world", Complete;
    "special as 1": [hello!(), r#"data:{"token":{"text":"<pad>","special":1}}"#, "\n\n", world!()] => "Hello world", Complete;
    "special as text": [r#"data:{"token":{"text":"Hello","special":"no"}}"#, "\n\n", world!()] => "Hello world", Complete;
    "details as text": [hello!(), r#"data:{"token":null,"generated_text":"Hello","details":"eos"}"#, "\n\n"] => "Hello", Complete;
    "details of other types": [hello!(), r#"data:{"generated_text":"Hello","details":{"seed":-1,"finish_reason":7}}"#, "\n\n"] => "Hello", Complete;
    "false error": [r#"data:{"token":{"text":"Hello"},"error":false}"#, "\n\n", world!()] => "Hello world", Complete;

    // Last events without text, and text that is only there.
    "last without text": [hello!(), r#"data:{"token":{"id":2,"text":null},"generated_text":"Hello"}"#, "\n\n"] => "Hello", Complete;
    "last with an empty token": [hello!(), r#"data:{"token":{},"generated_text":"Hello"}"#, "\n\n"] => "Hello", Complete;
    "last without a token": [hello!(), r#"data:{"generated_text":"Hello"}"#, "\n\n"] => "Hello", Complete;
    "only whole text": [r#"data:{"generated_text":"Hello world"}"#, "\n\n"] => "Hello world", Complete;
    "rest in the whole text": [hello!(), last!("Hello world"), "\n\n"] => "Hello world", Complete;
    "rest after a last token": [hello!(), r#"data:{"token":{"text":" wor"},"generated_text":"Hello world"}"#, "\n\n"] => "Hello world", Complete;
    "whole text trimmed": [token!(" Hello"), token!(" world\\n"), last!("Hello world"), "\n\n"] => " Hello world\n", Complete;
    "whole text trimmed at its start, with a rest": [token!(" Hello"), last!("Hello world"), "\n\n"] => " Hello world", Complete;
    "white space is no rest": [hello!(), last!(" Hello \\n"), "\n\n"] => "Hello", Complete;
    "another whole text": [hello!(), last!("Hi world"), "\n\n"] => "Hello", Complete;
    "empty reply": [last!(""), "\n\n"] => "", Complete;

    // The end of the stream.
    "no blank line": [hello!(), token!(" world"), last!("Hello world")] => "Hello world", Complete;
    "one line feed": [hello!(), token!(" world"), last!("Hello world"), "\n"] => "Hello world", Complete;
    "one carriage return": [hello!(), token!(" world"), last!("Hello world"), "\r"] => "Hello world", Complete;
    "no blank line, and a rest": [hello!(), last!("Hello world")] => "Hello world", Complete;
    "error without a blank line": [hello!(), r#"data:{"error":"out of memory"}"#] => "Hello", Reported("out of memory", None, false);
    "token without a blank line": [hello!(), r#"data:{"token":{"text":" world"}}"#] => "Hello", Truncated;
    "half an event": [hello!(), r#"data:{"token":{"id":2},"generated_text":"Hel"#] => "Hello", Truncated;
    "half of the first event": [r#"data:{"token":{"id":5,"te"#] => "", Truncated;
    "nothing": [""] => "", Truncated;
    "half a mark": ["\u{fe00}"] => "", Truncated;

    // Surrogates.
    "lone surrogate": [token!("Hello \\ud83d"), token!("world"), last!("Hello \\ufffdworld"), "\n\n"] => "Hello \u{fffd}world", Complete;
    "lone second half": [token!("\\udc4b Hello"), last!("\\udc4b Hello"), "\n\n"] => "\u{fffd} Hello", Complete;
    "halves in two tokens": [token!("Hello \\ud83d"), ": wait\n\n", token!(""), token!("\\udc4b"), last!("Hello \\ud83d\\udc4b"), "\n\n"] => "Hello 👋", Complete;
    "half in the last event": [token!("Hello \\ud83d"), r#"data:{"token":{"text":"\udc4b"},"generated_text":"Hello 👋"}"#, "\n\n"] => "Hello 👋", Complete;
    "half that the whole text lacks": [token!("Hello \\ud83d"), last!("Hello"), "\n\n"] => "Hello \u{fffd}", Complete;
    "half in an error": [r#"data:{"error":"no \ud83d"}"#, "\n\n"] => "", Reported("no \u{fffd}", None, false);
    "half in another field": [r#"data:{"token":{"text":"Hello"},"note":"\ud83d"}"#, "\n\n", world!()] => "Hello world", Complete;

    // Errors.
    "error": [hello!(), r#"data:{"error":"out of memory","error_type":"generation"}"#, "\n\n"] => "Hello", Reported("out of memory", None, false);
    "error beside a token": [r#"data:{"token":{"text":"Hello"},"error":"out of memory"}"#, "\n\n"] => "", Reported("out of memory", None, false);
    "error beside a token of another type": [r#"data:{"token":"","error":"out of memory"}"#, "\n\n"] => "", Reported("out of memory", None, false);
    "error object": [hello!(), r#"data:{"error":{"message":"slow down","code":429}}"#, "\n\n"] => "Hello", Reported("slow down", Some(429), true);
    "code as text": [r#"data:{"error":{"message":"not now","code":"503"}}"#, "\n\n"] => "", Reported("not now", Some(503), true);
    "code too large": [r#"data:{"error":{"message":"not now","code":42900001}}"#, "\n\n"] => "", Reported("not now", None, false);
    "code in words": [r#"data:{"error":{"message":"not now","code":"rate_limit"}}"#, "\n\n"] => "", Reported("not now", None, false);
    "status outside": [r#"data:{"status_code":502,"error":"bad gateway"}"#, "\n\n"] => "", Reported("bad gateway", Some(502), true);
    "error list": [r#"data:{"error":["one reason","another"]}"#, "\n\n"] => "", Reported("one reason", None, false);
    "errors": [r#"data:{"errors":[{"message":"one reason"}]}"#, "\n\n"] => "", Reported("one reason", None, false);
    "error without words": [r#"data:{"error":{"code":500}}"#, "\n\n"] => "", Reported(r#"{"code":500}"#, Some(500), false);
    "error true": [r#"data:{"error":true}"#, "\n\n"] => "", Reported("an error without words", None, false);
    "detail": [r#"data:{"detail":"unknown adapter"}"#, "\n\n"] => "", Reported("unknown adapter", None, false);
    "details of a validation": [r#"data:{"detail":[{"loc":["body"],"msg":"field required","type":"missing"}]}"#, "\n\n"] => "", Reported("field required", None, false);
    "message": [r#"data:{"message":"upstream is gone"}"#, "\n\n"] => "", Reported("upstream is gone", None, false);
    "object error": [r#"data:{"object":"error","message":"too long","type":"BadRequest","code":400}"#, "\n\n"] => "", Reported("too long", Some(400), false);
    "named error": ["event: error\n", r#"data:{"type":"error","error":{"type":"overloaded_error","message":"later"}}"#, "\n\n"] => "", Reported("later", None, true);
    "named error in plain text": ["event:error\ndata: worker lost\n\n"] => "", Reported("worker lost", None, false);
    "named error of another shape": ["data: {\"reason\":7}\nevent: error\n\n"] => "", Reported("an error without words", None, false);
    "type error": [r#"data:{"type":"error","message":"worker lost"}"#, "\n\n"] => "", Reported("worker lost", None, false);
    "overloaded": [r#"data:{"error":"Model is overloaded","error_type":"overloaded"}"#, "\n\n"] => "", Reported("Model is overloaded", None, true);
    "overloaded by its type": [r#"data:{"error":"not now","error_type":"overloaded"}"#, "\n\n"] => "", Reported("not now", None, true);
    "overloaded by its words": [r#"data:{"error":"Overloaded"}"#, "\n\n"] => "", Reported("Overloaded", None, true);
    "message of another type": [r#"data:{"type":"status","message":"waiting"}"#, "\n\n", hello!(), world!()] => "Hello world", Complete;

    // Events without content.
    "keep-alives": ["data: null\n\ndata: {}\n\ndata:\n\nevent: ping\ndata: {\"at\":1}\n\nevent: ping\ndata: now\n\n", hello!(), world!(), "data: [DONE]\n\n"] => "Hello world", Complete;
    "keep-alives only": ["data: null\n\ndata: {}\n\nevent: ping\ndata: {\"at\":1}\n\n"] => "", Truncated;
    "named tokens": ["event: token\n", hello!(), "event: token\n", world!()] => "Hello world", Complete;
    "unknown events": [r#"data:{"queue":{"position":3}}"#, "\n\ndata: 7\n\ndata: []\n\n", hello!(), world!()] => "Hello world", Complete;
    "long comment": [": @\n\n", hello!(), world!()] => "Hello world", Complete;
    "long field": ["x-note: @\n", hello!(), "id@\n\n", world!()] => "Hello world", Complete;
    "long comment at the end": [hello!(), token!(" world"), last!("Hello world"), "\n:@"] => "Hello world", Complete;
    "byte order mark": ["\u{feff}", hello!(), world!()] => "Hello world", Complete;

    // Streams of something else.
    "plain text": ["data:Internal Server Error\n\n"] => "", Unexpected("Internal Server Error");
    "plain text without a blank line": ["data:Internal Server Error"] => "", Unexpected("Internal Server Error");
    "plain text after a token": [hello!(), "data:Internal Server Error\n\n"] => "Hello", Unexpected("Internal Server Error");
    "another service": ["data: null\n\n", r#"data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"Hello"}}]}"#, "\n\ndata: [DONE]\n\n"] => "", Unexpected("chat.completion.chunk");
    "one more service": ["data: {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hello\"}}\n\n"] => "", Unexpected("assistant");
    "text of another type": [hello!(), r#"data:{"token":{"text":7}}"#, "\n\n"] => "Hello", Unexpected(r#"{"text":7}"#);
    "whole text of another type": [hello!(), r#"data:{"generated_text":true}"#, "\n\n"] => "Hello", Unexpected("true");
    "broken JSON": [hello!(), r#"data:{"token":{"text":"a"}"#, "\n\n"] => "Hello", Unexpected(r#"{"text":"a"}"#);
};

#[rustfmt::skip]
const CHAT_UI: &[Case] = cases! { Decoder::chat_ui;
    "whole": [lines!()] => "Hello world", Complete;

    // The last line.
    "only whole text": [answer!("Hello world"), "\n"] => "Hello world", Complete;
    "rest in the whole text": [line!("Hello"), answer!("Hello world"), "\n"] => "Hello world", Complete;
    "whole text trimmed": [line!(" Hello"), line!(" \\n"), answer!("Hello"), "\n"] => " Hello \n", Complete;
    "another whole text": [line!("Hello"), answer!("Hi world"), "\n"] => "Hello", Complete;
    "interrupted": [line!("Hello"), r#"{"type":"finalAnswer","text":"Hello world","interrupted":true}"#, "\n"] => "Hello world", Truncated;
    "no line feed": [line!("Hello"), line!(" world"), answer!("Hello world")] => "Hello world", Complete;
    "no line feed, and a rest": [line!("Hello"), answer!("Hello world")] => "Hello world", Complete;
    "filler without a line feed": [line!("Hello"), answer!("Hello"), "    "] => "Hello", Complete;
    "token without a line feed": [line!("Hello"), r#"{"type":"stream","token":" world"}"#] => "Hello", Truncated;
    "half a line": [line!("Hello"), r#"{"type":"finalAnswer","text":"Hel"#] => "Hello", Truncated;
    "no last line": [r#"{"type":"status","status":"started"}"#, "\n", r#"{"type":"status","status":"finished"}"#, "\n"] => "", Truncated;

    // Surrogates.
    "halves in two tokens": [line!("Hey \\ud83d"), line!("\\udc4b you"), answer!("Hey \\ud83d\\udc4b you"), "\n"] => "Hey 👋 you", Complete;
    "halves in two padded tokens": [line!("Hey \\ud83d\\u0000\\u0000"), r#"{"type":"status","status":"keepAlive"}"#, "\n", line!("\\udc4b\\u0000"), answer!("Hey 👋"), "\n"] => "Hey 👋", Complete;
    "backslash that escapes no half": [line!("\\\\ud83d"), line!("\\\\udc4b"), answer!("\\\\ud83d\\\\udc4b"), "\n"] => "\\ud83d\\udc4b", Complete;
    "half in the whole text": [line!("Hello"), line!(" world"), answer!("Hello world\\ud83d"), "\n"] => "Hello world\u{fffd}", Complete;
    "second half only in the whole text": [line!("Hello \\ud83d"), answer!("Hello \\ud83d\\udc4b"), "\n"] => "Hello 👋", Complete;
    "half at the end of both": [line!("Hello \\ud83d"), answer!("Hello \\ud83d"), "\n"] => "Hello \u{fffd}", Complete;
    "half before an interruption": [line!("Hello \\ud83d"), r#"{"type":"finalAnswer","text":"Hello","interrupted":true}"#, "\n"] => "Hello \u{fffd}", Truncated;
    "half in a title": [r#"{"type":"title","title":"\ud83d Hi"}"#, "\n", lines!()] => "Hello world", Complete;
    "half in a thought": [r#"{"type":"reasoning","subtype":"stream","token":"\ud83d"}"#, "\n", lines!()] => "Hello world", Complete;

    // Errors.
    "code as text": [line!("Hello"), r#"{"type":"status","status":"error","message":"slow down","statusCode":"429"}"#, "\n"] => "Hello", Reported("slow down", Some(429), true);
    "message object": [r#"{"type":"status","status":"error","message":{"error":{"message":"no credit"}}}"#, "\n"] => "", Reported("no credit", None, false);
    "503": [r#"{"type":"status","status":"error","message":"not now","statusCode":503}"#, "\n"] => "", Reported("not now", Some(503), true);
    "error without a type": [r#"{"error":"model not loaded"}"#, "\n"] => "", Reported("model not loaded", None, false);
    "message without a type": [r#"{"message":"worker lost"}"#, "\n"] => "", Reported("worker lost", None, false);
    "type error": [line!("Hello"), r#"{"type":"error","message":"worker lost"}"#, "\n"] => "Hello", Reported("worker lost", None, false);
    "error without a line feed": [line!("Hello"), r#"{"type":"error","message":"worker lost"}"#] => "Hello", Reported("worker lost", None, false);
    "last line after an error": [line!("Hello"), r#"{"type":"status","status":"error","message":"x"}"#, "\n", answer!("Hello"), "\n"] => "Hello", Reported("x", None, false);
    "error of a tool": [r#"{"type":"tool","subtype":"error","message":"no such tool"}"#, "\n", r#"{"type":"tool","error":{"message":"x"}}"#, "\n", lines!()] => "Hello world", Complete;

    // Lines without content.
    "lines that say nothing": ["null\n{}\n: keep-alive\n\n[DONE]\n", lines!()] => "Hello world", Complete;
    "fields of other types": [r#"{"type":"title","title":7}"#, "\n", r#"{"type":"status","status":["x"],"message":7}"#, "\n", lines!()] => "Hello world", Complete;
    "long line of a tool": [r#"{"type":"tool","subtype":"result","data":"@"}"#, "\n", lines!()] => "Hello world", Complete;
    "long line of another type": [r#" { "type" : "file", "data":"@"}"#, "\r\n", lines!()] => "Hello world", Complete;
    "long comment": [":@\n", lines!()] => "Hello world", Complete;
    "byte order mark": ["\u{feff}", lines!()] => "Hello world", Complete;

    // Streams of something else.
    "plain text": ["upstream connect error\n"] => "", Unexpected("upstream connect error");
    "plain text without a line feed": ["upstream connect error"] => "", Unexpected("upstream connect error");
    "another service": [r#"{"type":"message_start","message":{"id":"m1","content":[]}}"#, "\n", r#"{"type":"message_stop"}"#, "\n"] => "", Unexpected("message_start");
    "token of another type": [line!("Hello"), r#"{"type":"stream","token":["a"]}"#, "\n"] => "Hello", Unexpected(r#"["a"]"#);
};

/// A line of h2oGPTe that adds this text.
macro_rules! delta {
    ($text:literal) => {
        concat!(r#"{"body":""#, $text, "\",\"finished\":false}\n")
    };
}

/// The last line of h2oGPTe, without its line feed.
macro_rules! completion {
    ($text:literal) => {
        concat!(r#"{"message_id":"a3a42cf9","body":""#, $text, r#"","finished":true}"#)
    };
}

#[rustfmt::skip]
const H2OGPTE: &[Case] = cases! { Decoder::h2ogpte;
    "whole": [delta!("Hello"), delta!(" world"), completion!("Hello world"), "\n"] => "Hello world", Complete;

    // The last line.
    "only whole text": [completion!("Hello world"), "\n"] => "Hello world", Complete;
    "rest in the whole text": [delta!("Hello"), completion!("Hello world"), "\n"] => "Hello world", Complete;
    "whole text trimmed": [delta!(" Hello"), delta!(" \\n"), completion!("Hello"), "\n"] => " Hello \n", Complete;
    "another whole text": [delta!("Hello"), completion!("Hi world"), "\n"] => "Hello", Complete;
    "empty whole text": [delta!("Hello"), completion!(""), "\n"] => "Hello", Complete;
    "no whole text": [delta!("Hello"), r#"{"finished":true,"body":null}"#, "\n"] => "Hello", Complete;
    "empty reply": [completion!(""), "\n"] => "", Complete;
    "no line feed": [delta!("Hello"), delta!(" world"), completion!("Hello world")] => "Hello world", Complete;
    "no line feed, and a rest": [delta!("Hello"), completion!("Hello world")] => "Hello world", Complete;
    "delta without a line feed": [delta!("Hello"), r#"{"body":" world","finished":false}"#] => "Hello", Truncated;
    "half a line": [delta!("Hello"), r#"{"message_id":"a","body":"Hel"#] => "Hello", Truncated;
    "no last line": [delta!("Hello")] => "Hello", Truncated;
    "nothing": [""] => "", Truncated;

    // A server that does not stream.
    "one object": [r#"{"message_id":"a","body":"Hello world"}"#] => "Hello world", Complete;
    "one object with a line feed": [r#"{ "body" : "Hello world" , "message_id" : "a", "usage": null }"#, "\r\n"] => "Hello world", Complete;
    "one object without text": [r#"{"message_id":"a","body":""}"#] => "", Complete;
    "neither last nor a delta": [r#"{"body":"Hello"}"#] => "", Truncated;

    // Fields of other types, and others.
    "unknown fields": [r#"{"body":"Hello","finished":false,"message_id":null,"error":null,"usage":{"a":[1]}}"#, "\n", completion!("Hello"), "\n"] => "Hello", Complete;
    "ids, and no field that is false": [r#"{"message_id":"a","body":"Hel"}"#, "\n", r#"{"message_id":"a","body":"lo"}"#, "\n"] => "Hello", Truncated;
    "ids, and an end": [r#"{"message_id":"a","body":"Hel"}"#, "\n", r#"{"message_id":"a","body":"lo"}"#, "\n", completion!("Hello"), "\n"] => "Hello", Complete;
    "id in the first line": [r#"{"message_id":"a","body":"Hello"}"#, "\n", r#"{"message_id":"a","finished":true}"#, "\n"] => "Hello", Complete;
    "id in every line": [r#"{"message_id":"a","body":"Hello","finished":false}"#, "\n", completion!("Hello"), "\n"] => "Hello", Complete;
    "finished as 1": [delta!("Hello"), r#"{"body":"Hello","finished":1}"#, "\n"] => "Hello", Complete;
    "halves in two deltas": [delta!("Hey \\ud83d"), delta!("\\udc4b"), completion!("Hey \\ud83d\\udc4b"), "\n"] => "Hey 👋", Complete;
    "text of another type": [delta!("Hello"), r#"{"body":7,"finished":false}"#, "\n"] => "Hello", Unexpected(r#"{"body":7"#);
    "whole text of another type": [r#"{"body":["a"],"finished":true}"#, "\n"] => "", Unexpected(r#"["a"]"#);
    "marks of an agent": [delta!("ENDOFTURN"), delta!("<stream_turn_title>a</stream_turn_title>"), completion!("ENDOFTURN<stream_turn_title>a</stream_turn_title>"), "\n"] => "ENDOFTURN<stream_turn_title>a</stream_turn_title>", Complete;

    // Errors.
    "error": [delta!("Hello"), r#"{"error":"out of memory"}"#, "\n"] => "Hello", Reported("out of memory", None, false);
    "error beside a body": [delta!("Hello"), r#"{"body":"","finished":true,"error":"out of memory"}"#, "\n"] => "Hello", Reported("out of memory", None, false);
    "error without a line feed": [r#"{"error":"out of memory"}"#] => "", Reported("out of memory", None, false);
    "error of an endpoint": [r#"{"code":429,"message":"slow down"}"#, "\n"] => "", Reported("slow down", Some(429), true);

    // Lines without content, and streams of something else.
    "lines that say nothing": ["null\n{}\n: keep-alive\n\n[DONE]\n", delta!("Hello"), completion!("Hello"), "\n"] => "Hello", Complete;
    "plain text": ["upstream connect error\n"] => "", Unexpected("upstream connect error");
    "another service": [r#"{"type":"stream","token":"Hello"}"#, "\n"] => "", Unexpected("stream");
};

/// The updates of a body, and the error that ended them.
fn decoded(mut decoder: Decoder, mut reader: impl Read) -> (Vec<Update>, Option<Error>) {
    let mut updates: Vec<Update> = Vec::new();
    loop {
        if updates.last().is_some_and(Update::is_last) {
            return (updates, None);
        }
        let update = match decoder.next() {
            Ok(None) if decoder.fill(&mut reader).unwrap() > 0 => continue,
            Ok(None) => decoder.finish(),
            next => next,
        };
        match update {
            Ok(Some(update)) => updates.push(update),
            Ok(None) => return (updates, Some(decoder.unfinished())),
            Err(error) => return (updates, Some(error)),
        }
    }
}

fn check(case: &Case, (updates, error): &(Vec<Update>, Option<Error>)) {
    let texts = updates.iter().filter_map(|it| it.event.as_ref()?.text());
    assert_eq!(texts.collect::<String>(), case.text);
    let Some(error) = error else {
        let is_interrupted = updates.last().unwrap().is_interrupted;
        assert!(matches!(case.outcome, Truncated) == is_interrupted);
        assert!(matches!(case.outcome, Truncated | Complete));
        return;
    };
    let (kind, says, status, is_retryable) = match case.outcome {
        Complete => panic!("{error}"),
        Truncated => (ErrorKind::Truncated, "last event", None, false),
        Unexpected(event) => (ErrorKind::Protocol, event, None, false),
        Reported(words, status, is_retryable) => {
            assert_eq!(error.server_message(), Some(words));
            (ErrorKind::Generation, words, status, is_retryable)
        }
    };
    assert_eq!((error.kind(), error.status()), (kind, status), "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.is_retryable(), is_retryable, "{error}");
}

#[test]
fn every_reply_has_its_outcome_for_all_cuts() {
    let long = "x".repeat(1_500_000);
    for case in TGI.iter().chain(CHAT_UI).chain(H2OGPTE) {
        println!("{}", case.name);
        let body = case.body.replace('@', &long);
        let (bytes, new) = (body.as_bytes(), case.decoder);
        let whole = decoded(new(), Cuts::none(bytes));
        check(case, &whole);
        let meant = format!("{whole:?}");
        let is_meant = |decoded: (Vec<Update>, Option<Error>)| format!("{decoded:?}") == meant;
        assert!(is_meant(decoded(new(), Cuts::random(bytes, Random::new(1)))));
        if bytes.len() < long.len() {
            assert!(is_meant(decoded(new(), Cuts::every(bytes, 1))));
            for at in 0..bytes.len() {
                let cut = bytes[..at].chain(&bytes[at..]);
                assert!(is_meant(decoded(new(), cut)), "cut at {at}");
            }
        }
    }
}

#[test]
fn an_oversized_line_is_too_large() {
    let long = "x".repeat(1_500_000);
    for (decoder, body) in [
        (Decoder::tgi(), r#"data:{"token":{"text":"@"}}"#),
        (Decoder::tgi(), "data:@"),
        (Decoder::chat_ui(), r#"{"type":"stream","token":"@"}"#),
        (Decoder::chat_ui(), r#"{"data":"@","type":"tool"}"#),
        (Decoder::chat_ui(), "@"),
    ] {
        let body = body.replace('@', &long);
        let (updates, error) = decoded(decoder, body.as_bytes());
        assert_eq!(updates, []);
        assert_eq!(error.unwrap().kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn metadata_is_read_on_request_only() {
    for (is_asked, id, logprob) in [(false, None, None), (true, Some(5), Some(-0.5))] {
        let mut decoder = Decoder::tgi();
        if is_asked {
            decoder.read_metadata();
        }
        let body =
            concat!(hello!(), "data:{\"token\":{\"text\":\"a\",\"id\":-1,\"logprob\":\"x\"}}\n\n");
        let (updates, _) = decoded(decoder, body.as_bytes());
        let metadata = updates.iter().map(|update| match &update.event {
            Some(Event::Token(token)) => (token.id, token.logprob),
            _ => panic!("{update:?}"),
        });
        assert_eq!(metadata.collect::<Vec<_>>(), [(id, logprob), (None, None)]);
    }
}
