//! The events of text-generation-inference (TGI), which make up the reply of a classic server.

use super::object::{Json, Raw, read_object};
use super::surrogates::into_string;
use super::update::{Context, Update, reported, unexpected, unreadable};
use crate::error::Result;
use crate::reply::{Details, End, Event, Token};

/// An event of the reply.
#[derive(Default)]
struct StreamResponse<'a> {
    has_token: bool,
    token: TokenObject<'a>,
    /// Only in the last event.
    generated_text: Raw<'a>,
    details: Raw<'a>,
    error: Raw<'a>,
}

#[derive(Default)]
struct TokenObject<'a> {
    text: Raw<'a>,
    id: Raw<'a>,
    logprob: Raw<'a>,
    special: Raw<'a>,
}

/// Reads an event: see [`Decoder`](super::Decoder).
pub(super) fn read(event: &[u8], context: &mut Context) -> Result<Option<Update>> {
    let mut response = StreamResponse::default();
    if response.read(event).is_none() {
        return unreadable(event);
    }
    let is_of_reply = response.has_token || !response.generated_text.is_null();
    if !is_of_reply || !response.error.is_null() {
        match reported(event) {
            Some(error) => return Err(error),
            None if is_of_reply => {}
            None => return Ok(None),
        }
    }
    let update = response.update(context);
    update.map(Some).ok_or_else(|| unexpected(event))
}

impl<'a> StreamResponse<'a> {
    fn read(&mut self, event: &'a [u8]) -> Option<()> {
        read_object(event, |json| {
            if json.has_key(r#""token""#) {
                self.token = TokenObject::default();
                self.has_token = json.object_value(|json| self.token.read(json))?;
            } else if json.has_key(r#""generated_text""#) {
                self.generated_text = json.value()?;
            } else if json.has_key(r#""details""#) {
                self.details = json.value()?;
            } else if json.has_key(r#""error""#) {
                self.error = json.value()?;
            } else {
                json.other()?;
            }
            Some(())
        })
    }

    /// Returns the update, or `None` if its text is not a string.
    fn update(&self, context: &mut Context) -> Option<Update> {
        let mut update = Update::default();
        if !self.token.text.is_null() {
            update.event = Some(Event::Token(self.token.token(context)?));
        }
        if !self.generated_text.is_null() {
            let text = self.generated_text.text()?;
            update.end = Some(Box::new(End { text, details: details(self.details) }));
        }
        Some(update)
    }
}

impl<'a> TokenObject<'a> {
    /// Reads a field.
    fn read(&mut self, json: &mut Json<'a>) -> Option<()> {
        if json.has_key(r#""text""#) {
            self.text = json.value()?;
        } else if json.has_key(r#""id""#) {
            self.id = json.value()?;
        } else if json.has_key(r#""logprob""#) {
            self.logprob = json.value()?;
        } else if json.has_key(r#""special""#) {
            self.special = json.value()?;
        } else {
            json.other()?;
        }
        Some(())
    }

    fn token(&self, context: &mut Context) -> Option<Token> {
        let special = self.special.is_true();
        let text = self.text.bytes()?.into_owned();
        let text = if special { into_string(text)? } else { context.halves.join(text)? };
        let (id, logprob) = if context.reads_metadata {
            (self.id.read(), self.logprob.read())
        } else {
            (None, None)
        };
        Some(Token { text, id, logprob, special })
    }
}

fn details(object: Raw) -> Option<Details> {
    let mut details = Details::default();
    object.object(|json| {
        if json.has_key(r#""finish_reason""#) {
            details.finish_reason = json.value()?.text();
        } else if json.has_key(r#""generated_tokens""#) {
            details.generated_tokens = json.value()?.read();
        } else if json.has_key(r#""seed""#) {
            details.seed = json.value()?.read();
        } else if json.has_key(r#""input_length""#) {
            details.input_length = json.value()?.read();
        } else {
            json.other()?;
        }
        Some(())
    })?;
    Some(details)
}

#[cfg(test)]
mod properties {
    use serde_json::{Value, json};

    use super::*;
    use crate::decode::random::Random;
    use crate::error::Step;

    #[rustfmt::skip]
    const VALUES: &[&str] = &[
        "null", "null", "true", "false", "0", "-1", "1e99", "18446744073709551616", "\"\"", "\"é\"", "\"é\"",
        "\"\\u0000\"", "[]", "[{}]", "{}",
    ];
    const NO_VALUES: &[&str] = &["", "nonsense", "1e999", "\"\\ud800\"", "{"];

    /// An event as the protocol has it, but anything can be in the place of anything else.
    fn event(random: &mut Random) -> String {
        let inner = ["text", "text", "special", "finish_reason", "seed"];
        let outer = ["token", "token", "token", "generated_text", "details", "error"];
        object(random, &outer, &mut |random| {
            if random.one_in(2) { object(random, &inner, &mut value) } else { value(random) }
        })
    }

    fn value(random: &mut Random) -> String {
        let from = if random.one_in(100) { NO_VALUES } else { VALUES };
        random.choose(from).to_owned()
    }

    fn object(
        random: &mut Random,
        names: &[&str],
        value: &mut dyn FnMut(&mut Random) -> String,
    ) -> String {
        let mut field = || format!("\"{}\":{}", random.choose(names), value(random));
        let fields: Vec<_> = (0..4).map(|_| field()).collect();
        format!("{{{}}}", fields.join(","))
    }

    #[test]
    fn random_events_are_read_like_serde_json() {
        for seed in 0..20_000 {
            let event = event(&mut Random::new(seed));
            let (decoded, json) = (
                read(event.as_bytes(), &mut Context::default()),
                serde_json::from_str::<Value>(&event),
            );
            let context = format!("seed {seed}: {event}: {decoded:?}");
            match (decoded, json) {
                (Ok(update), Ok(json)) => {
                    let is_of_reply =
                        json["token"].is_object() || !json["generated_text"].is_null();
                    assert_eq!(update.is_some(), is_of_reply, "{context}");
                    let update = update.unwrap_or_default();
                    let is_special = json["token"]["special"] == true;
                    let text = json["token"]["text"].as_str();
                    let text = text.filter(|text| !text.is_empty() && !is_special);
                    assert_eq!(update.event.as_ref().and_then(Event::text), text, "{context}");
                    let end = update.end.map(|end| end.text);
                    assert_eq!(end.as_deref(), json["generated_text"].as_str(), "{context}");
                    let error = &json["error"];
                    let no_errors =
                        [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})];
                    assert!(no_errors.contains(error), "{context}");
                }
                // Skipped fields need not be valid.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => assert_eq!(error.step(), Step::ReadReply, "{context}"),
            }
        }
    }
}
