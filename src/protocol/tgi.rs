//! What text-generation-inference says, event by event, of which a classic server's reply is made.

use super::Frame;
use super::fault::{foreign, reported};
use super::object::{object, read};
use crate::error::Result;
use crate::reply::{Details, End, Event, Token};

/// An event of the reply.
#[derive(Default)]
struct Said {
    token: Option<SaidToken>,
    /// Of the last event, and of no other.
    generated_text: Option<String>,
    details: Option<Box<SaidDetails>>,
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

#[derive(Default)]
struct SaidDetails {
    finish_reason: Option<String>,
    generated_tokens: Option<u64>,
    seed: Option<u64>,
    input_length: Option<u64>,
}

object!(SaidDetails {
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
    let Some(said) = str::from_utf8(event).ok().and_then(read::<Said>) else {
        return Err(foreign("an event", event));
    };
    if let Some(words) = said.error {
        return Err(reported(&words));
    }
    let token = match said.token.map(SaidToken::token) {
        // A token without a text is none of this protocol.
        Some(None) => return Err(foreign("an event", event)),
        None if said.generated_text.is_none() => return Err(foreign("an event", event)),
        token => token.flatten(),
    };
    Ok(Some(Frame {
        event: token.map(Event::Token),
        end: said.generated_text.map(|text| {
            Box::new(End {
                text,
                details: said.details.map(|details| details.details()),
            })
        }),
        stopped: None,
    }))
}

impl SaidToken {
    fn token(self) -> Option<Token> {
        Some(Token {
            text: self.text?,
            id: self.id,
            logprob: self.logprob,
            special: self.special,
        })
    }
}

impl SaidDetails {
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
    use crate::error::Step;
    use crate::random::Random;

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
            let (said, json) = (
                frame(event.as_bytes()),
                serde_json::from_str::<Value>(&event),
            );
            let context = format!("seed {seed}: {event}: {said:?}");
            match (said, json) {
                (Ok(frame), Ok(json)) => {
                    let frame = frame.expect(&context);
                    let text = json["token"]["text"].as_str();
                    let text =
                        text.filter(|text| !text.is_empty() && json["token"]["special"] != true);
                    assert_eq!(
                        frame.event.as_ref().and_then(Event::text),
                        text,
                        "{context}"
                    );
                    let end = frame.end.map(|end| end.text);
                    assert_eq!(end.as_deref(), json["generated_text"].as_str(), "{context}");
                    assert!(json["error"].is_null(), "{context}");
                }
                // What is passed over need not be good.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => assert_eq!(error.step(), Step::Reply, "{context}"),
            }
        }
    }
}
