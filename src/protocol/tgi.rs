//! What text-generation-inference says, event by event, of which a classic server's reply is made.

use serde_json::Value;

use super::Frame;
use super::success::unexpected;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::one_line;
use crate::reply::{Details, End, Event, Token};

/// What an event of the reply says; none if it says nothing.
pub(super) fn frame(event: &[u8]) -> Result<Option<Frame>> {
    if event == b"[DONE]" {
        return Ok(None);
    }
    let event: Value = serde_json::from_slice(event).map_err(|error| {
        Error::new(ErrorKind::Protocol, Step::Reply, "an event is not JSON").with_source(error)
    })?;
    if !event["error"].is_null() {
        return Err(generation_failed(&event["error"]));
    }
    let token = &event["token"];
    let end = event["generated_text"].as_str().map(|text| End {
        text: text.to_owned(),
        details: details(&event["details"]),
    });
    let text = match token["text"].as_str() {
        Some(text) => text,
        None if token.is_null() && end.is_some() => "",
        None => return Err(unexpected(Step::Reply, &event)),
    };
    let event = token.is_object().then(|| {
        Event::Token(Token {
            text: text.to_owned(),
            id: token["id"].as_u64().and_then(|id| u32::try_from(id).ok()),
            logprob: token["logprob"].as_f64().map(single),
            special: token["special"] == true,
        })
    });
    Ok(Some(Frame { event, end }))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the server computes no more"
)]
fn single(number: f64) -> f32 {
    number as f32
}

fn details(details: &Value) -> Option<Details> {
    details.is_object().then(|| Details {
        finish_reason: details["finish_reason"].as_str().map(str::to_owned),
        generated_tokens: details["generated_tokens"].as_u64(),
        seed: details["seed"].as_u64(),
        input_length: details["input_length"].as_u64(),
    })
}

fn generation_failed(error: &Value) -> Error {
    let words = one_line(
        &error
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned),
    );
    Error::new(
        ErrorKind::Generation,
        Step::Reply,
        format!("the server reported: {words}"),
    )
    .with_server_message(words)
}
