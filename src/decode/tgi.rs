//! The events of text-generation-inference (TGI), of which a classic server's reply consists.

use super::object::{object, read};
use super::update::{Update, reported, unexpected};
use crate::error::Result;
use crate::reply::{Details, End, Event, Token};

/// An event of the reply.
#[derive(Default)]
struct StreamResponse {
    token: Option<TokenObject>,
    /// Only in the last event.
    generated_text: Option<String>,
    details: Option<Box<StreamDetails>>,
    error: Option<String>,
}

object!(StreamResponse {
    "token" => token,
    "generated_text" => generated_text,
    "details" => details,
    "error" => error,
});

#[derive(Default)]
struct TokenObject {
    text: Option<String>,
    id: Option<u32>,
    logprob: Option<f32>,
    special: bool,
}

object!(TokenObject {
    "text" => text,
    "id" => id,
    "logprob" => logprob,
    "special" => special,
});

#[derive(Default)]
struct StreamDetails {
    finish_reason: Option<String>,
    generated_tokens: Option<u64>,
    seed: Option<u64>,
    input_length: Option<u64>,
}

object!(StreamDetails {
    "finish_reason" => finish_reason,
    "generated_tokens" => generated_tokens,
    "seed" => seed,
    "input_length" => input_length,
});

/// The update of an event, if it has one.
pub(super) fn update(event: &[u8]) -> Result<Option<Update>> {
    if event == b"[DONE]" || event.is_empty() {
        return Ok(None);
    }
    let Some(response) = str::from_utf8(event).ok().and_then(read::<StreamResponse>) else {
        return Err(unexpected(event));
    };
    if let Some(message) = response.error {
        return Err(reported(&message));
    }
    let token = match response.token.map(TokenObject::token) {
        Some(None) => return Err(unexpected(event)),
        None if response.generated_text.is_none() => return Err(unexpected(event)),
        token => token.flatten(),
    };
    Ok(Some(Update {
        event: token.map(Event::Token),
        end: response.generated_text.map(|text| {
            Box::new(End {
                text,
                details: response.details.map(|details| details.details()),
            })
        }),
        interrupted: None,
    }))
}

impl TokenObject {
    fn token(self) -> Option<Token> {
        Some(Token {
            text: self.text?,
            id: self.id,
            logprob: self.logprob,
            special: self.special,
        })
    }
}

impl StreamDetails {
    fn details(self) -> Details {
        Details {
            finish_reason: self.finish_reason,
            generated_tokens: self.generated_tokens,
            seed: self.seed,
            input_length: self.input_length,
        }
    }
}

#[cfg(test)]
mod properties {
    use serde_json::Value;

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
        let outer = [
            "token",
            "token",
            "token",
            "generated_text",
            "details",
            "error",
        ];
        object(random, &outer, &mut |random| {
            if random.one_in(2) {
                object(random, &inner, &mut value)
            } else {
                value(random)
            }
        })
    }

    fn value(random: &mut Random) -> String {
        let from = if random.one_in(100) {
            NO_VALUES
        } else {
            VALUES
        };
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
    fn no_event_panics_or_is_taken_for_another() {
        for seed in 0..20_000 {
            let event = event(&mut Random::new(seed));
            let (decoded, json) = (
                update(event.as_bytes()),
                serde_json::from_str::<Value>(&event),
            );
            let context = format!("seed {seed}: {event}: {decoded:?}");
            match (decoded, json) {
                (Ok(update), Ok(json)) => {
                    let update = update.expect(&context);
                    let text = json["token"]["text"].as_str();
                    let text =
                        text.filter(|text| !text.is_empty() && json["token"]["special"] != true);
                    assert_eq!(
                        update.event.as_ref().and_then(Event::text),
                        text,
                        "{context}"
                    );
                    let end = update.end.map(|end| end.text);
                    assert_eq!(end.as_deref(), json["generated_text"].as_str(), "{context}");
                    assert!(json["error"].is_null(), "{context}");
                }
                // What is passed over need not be good.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => assert_eq!(error.step(), Step::ReadReply, "{context}"),
            }
        }
    }
}
