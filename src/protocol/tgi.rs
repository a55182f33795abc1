//! What text-generation-inference says, event by event, of which a classic server's reply is made.
//!
//! Read once a token, so without a tree of values in between: a token costs the allocation of its text.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
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
    // Looked through once for what is no UTF-8, and not again for each of its strings.
    let said = str::from_utf8(event).ok();
    let Some(said) = said.and_then(|event| serde_json::from_str::<Said>(event).ok()) else {
        return Err(foreign(event));
    };
    if let Some(error) = said.error {
        return Err(generation_failed(&error));
    }
    if said.token.is_none() && said.generated_text.is_none() {
        return Err(foreign(event));
    }
    Ok(Some(Frame {
        event: said.token.map(Event::Token),
        end: said.generated_text.map(|text| End {
            text,
            details: said.details.as_ref().and_then(details),
        }),
    }))
}

/// The fields of an event that matter; one that is null is absent.
#[derive(Default)]
struct Said {
    token: Option<Token>,
    generated_text: Option<String>,
    details: Option<Value>,
    error: Option<Value>,
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Said, D::Error> {
        deserializer.deserialize_map(Fields(Said::default()))
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        deserializer.deserialize_map(Fields(Token::default()))
    }
}

/// Fills a value from the fields of an object.
struct Fields<T>(T);

impl<'de> Visitor<'de> for Fields<Said> {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        let Fields(mut said) = self;
        while let Some(key) = map.next_key()? {
            match key {
                Key::Token => said.token = map.next_value()?,
                Key::GeneratedText => said.generated_text = map.next_value()?,
                Key::Details => said.details = map.next_value()?,
                Key::Error => said.error = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(said)
    }
}

impl<'de> Visitor<'de> for Fields<Token> {
    type Value = Token;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Token, A::Error> {
        let Fields(mut token) = self;
        let mut text = None;
        while let Some(key) = map.next_key()? {
            match key {
                Key::Text => text = map.next_value()?,
                Key::Id => token.id = map.next_value()?,
                Key::Logprob => token.logprob = map.next_value()?,
                Key::Special => token.special = map.next_value::<Option<_>>()?.unwrap_or_default(),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        token.text = text.ok_or_else(|| serde_core::de::Error::missing_field("text"))?;
        Ok(token)
    }
}

/// The name of a field.
enum Key {
    Token,
    GeneratedText,
    Details,
    Error,
    Text,
    Id,
    Logprob,
    Special,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(Name)
    }
}

struct Name;

impl Visitor<'_> for Name {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(match name {
            "token" => Key::Token,
            "generated_text" => Key::GeneratedText,
            "details" => Key::Details,
            "error" => Key::Error,
            "text" => Key::Text,
            "id" => Key::Id,
            "logprob" => Key::Logprob,
            "special" => Key::Special,
            _ => Key::Other,
        })
    }
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
    let words = error.as_str().map(one_line);
    let words = words.unwrap_or_else(|| one_line(&error.to_string()));
    Error::new(
        ErrorKind::Generation,
        Step::Reply,
        format!("the server reported: {words}"),
    )
    .with_server_message(words)
}

/// JSON of another protocol, or no JSON at all.
fn foreign(event: &[u8]) -> Error {
    match serde_json::from_slice(event) {
        Ok(event) => unexpected(Step::Reply, &event),
        Err(error) => {
            let message = "an event is not JSON";
            Error::new(ErrorKind::Protocol, Step::Reply, message).with_source(error)
        }
    }
}
