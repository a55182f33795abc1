//! What text-generation-inference says, event by event, of which a classic server's reply is made.

use serde_core::de::{Deserialize, Deserializer, Error as _};

use super::Frame;
use super::object::object;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{glimpse, one_line};
use crate::reply::{Details, End, Event, Token};

/// An event of the reply.
#[derive(Default)]
struct Said {
    token: Option<Token>,
    /// Of the last event, and of no other.
    generated_text: Option<String>,
    details: Option<Details>,
    error: Option<String>,
}

object!(Said {
    "token" => token,
    "generated_text" => generated_text,
    "details" => details,
    "error" => error,
});

#[derive(Default)]
struct SaidToken {
    text: Option<String>,
    id: Option<u32>,
    logprob: Option<f32>,
    special: bool,
}

object!(SaidToken {
    "text" => text,
    "id" => id,
    "logprob" => logprob,
    "special" => special,
});

object!(Details {
    "finish_reason" => finish_reason,
    "generated_tokens" => generated_tokens,
    "seed" => seed,
    "input_length" => input_length,
});

/// What an event of the reply says; none if it says nothing.
pub(super) fn frame(event: &[u8]) -> Result<Option<Frame>> {
    if event == b"[DONE]" || event.is_empty() {
        return Ok(None);
    }
    // Looked through once for what is no UTF-8, and not again for each of its strings.
    let said = str::from_utf8(event).ok();
    let Some(said) = said.and_then(|event| serde_json::from_str::<Said>(event).ok()) else {
        return Err(foreign(event));
    };
    if let Some(words) = said.error {
        return Err(generation_failed(&words));
    }
    if said.token.is_none() && said.generated_text.is_none() {
        return Err(foreign(event));
    }
    Ok(Some(Frame {
        event: said.token.map(Event::Token),
        end: said.generated_text.map(|text| End {
            text,
            details: said.details,
        }),
        stopped: false,
    }))
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        let said = SaidToken::deserialize(deserializer)?;
        Ok(Token {
            text: said.text.ok_or_else(|| D::Error::missing_field("text"))?,
            id: said.id,
            logprob: said.logprob,
            special: said.special,
        })
    }
}

fn generation_failed(words: &str) -> Error {
    let words = one_line(words);
    Error::new(
        ErrorKind::Generation,
        Step::Reply,
        format!("the server reported: {words}"),
    )
    .with_server_message(words)
}

/// Of another protocol, or no JSON at all.
fn foreign(event: &[u8]) -> Error {
    let said = glimpse(event);
    let message = format!("an event is not what such a server says: {said}");
    Error::new(ErrorKind::Protocol, Step::Reply, message)
}
