//! The part of text-generation-inference, which a classic server relays: it checks the parameters
//! of a message and writes the events of a reply.

use serde_json::{Value, json};

use super::encoder::{Encoder, Ending};
use super::frame;
use super::plan::{Act, Plan};

/// A parameter, the values that are valid, and the complaint about any other.
type Rule = (&'static str, fn(&Value) -> bool, &'static str);

#[rustfmt::skip]
const RULES: &[Rule] = &[
    ("temperature",        is_positive,                 "must be strictly positive"),
    ("repetition_penalty", is_positive,                 "must be strictly positive"),
    ("frequency_penalty",  is_between_minus_two_and_two, "must be >= -2.0 and <= 2.0"),
    ("top_p",              is_between_zero_and_one,     "must be > 0.0 and < 1.0"),
    ("typical_p",          is_between_zero_and_one,     "must be > 0.0 and < 1.0"),
    ("top_k",              is_positive_integer,         "must be strictly positive"),
    ("max_new_tokens",     is_positive_integer,         "must be strictly positive"),
    ("truncate",           is_positive_integer,         "must be strictly positive and less than 2049"),
    ("stop",               is_up_to_four_texts,         "supports up to 4 stop sequences"),
];

fn is_positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number > 0.0)
}

fn is_between_minus_two_and_two(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.abs() <= 2.0)
}

fn is_between_zero_and_one(value: &Value) -> bool {
    is_positive(value) && value.as_f64().is_some_and(|number| number < 1.0)
}

fn is_positive_integer(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| number > 0)
}

fn is_up_to_four_texts(value: &Value) -> bool {
    let texts = value.as_array();
    texts.is_some_and(|texts| texts.len() <= 4 && texts.iter().all(Value::is_string))
}

/// Returns the refusal of the first invalid parameter. Null counts as absent.
pub(super) fn refusal(parameters: &Value) -> Option<Plan> {
    let (name, _, complaint) = RULES.iter().find(|(name, is_valid, _)| {
        let value = &parameters[name];
        !value.is_null() && !is_valid(value)
    })?;
    let message = format!("Input validation error: `{name}` {complaint}");
    let body = json!({"error": message, "error_type": "validation"}).to_string();
    let headers = [("content-type", "application/json")];
    Some(Plan::response(422, "Unprocessable Entity", &headers, &body))
}

/// Writes a reply as events.
pub(super) struct Events {
    /// The seed and the length of the input, if the request wants details.
    details: Option<(Value, usize)>,
    tokens: String,
    /// The whole text, if the latest event is a last one.
    whole: Option<String>,
}

impl Events {
    pub fn new(parameters: &Value, inputs: &str) -> Self {
        let input_length = inputs.split_whitespace().count();
        let wanted = parameters["details"] == true;
        Self {
            details: wanted.then(|| (parameters["seed"].clone(), input_length)),
            tokens: String::new(),
            whole: None,
        }
    }
}

impl Encoder for Events {
    fn start(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn encode_one(&mut self, act: &Act) -> Vec<Vec<u8>> {
        let event = match act {
            Act::Token { id, text } => {
                self.tokens += text;
                self.whole = None;
                frame::token(*id, text)
            }
            Act::Last(last) => {
                self.whole = Some(last.generated_text.clone());
                let details = self.details.as_ref().map(|(seed, input_length)| {
                    json!({
                        "finish_reason": last.finish_reason,
                        "generated_tokens": last.generated_tokens,
                        "seed": seed,
                        "input_length": input_length,
                    })
                });
                let whole = Some(&*last.generated_text);
                frame::event(last.id, &last.text, last.is_special(), whole, details)
            }
            Act::Failure(failure) => {
                self.whole = None;
                frame::error(&failure.message, failure.kind)
            }
            Act::Comment => frame::comment(),
            Act::Other(object) => format!("data:{object}\n\n").into_bytes(),
            Act::Send(bytes) => bytes.clone(),
            _ => return Vec::new(),
        };
        vec![event]
    }

    fn keep_alive(&self) -> Option<Vec<u8>> {
        None
    }

    /// A reply that ended by itself is stored only if it had its last event.
    fn end(&mut self, is_stopped: bool) -> Ending {
        let text = if is_stopped { Some(self.tokens.clone()) } else { self.whole.take() };
        Ending { chunks: Vec::new(), closes: is_stopped, text }
    }
}
