//! The parameters of a message as the model's server checks them; the chat server does not look.

use serde_json::{Value, json};

use super::plan::Plan;

/// A parameter, the values it may have, and what is said about any other.
struct Rule {
    name: &'static str,
    allows: fn(&Value) -> bool,
    message: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "temperature",
        allows: |value| value.as_f64().is_some_and(|number| number > 0.0),
        message: "`temperature` must be strictly positive",
    },
    Rule {
        name: "repetition_penalty",
        allows: |value| value.as_f64().is_some_and(|number| number > 0.0),
        message: "`repetition_penalty` must be strictly positive",
    },
    Rule {
        name: "frequency_penalty",
        allows: |value| {
            value
                .as_f64()
                .is_some_and(|number| (-2.0..=2.0).contains(&number))
        },
        message: "`frequency_penalty` must be >= -2.0 and <= 2.0",
    },
    Rule {
        name: "top_p",
        allows: is_inside_0_and_1,
        message: "`top_p` must be > 0.0 and < 1.0",
    },
    Rule {
        name: "typical_p",
        allows: is_inside_0_and_1,
        message: "`typical_p` must be > 0.0 and < 1.0",
    },
    Rule {
        name: "top_k",
        allows: is_positive_integer,
        message: "`top_k` must be strictly positive",
    },
    Rule {
        name: "max_new_tokens",
        allows: is_positive_integer,
        message: "`max_new_tokens` must be strictly positive",
    },
    Rule {
        name: "truncate",
        allows: is_positive_integer,
        message: "`truncate` must be strictly positive and less than 2049",
    },
    Rule {
        name: "stop",
        allows: |value| {
            let texts = value.as_array();
            texts.is_some_and(|texts| texts.len() <= 4 && texts.iter().all(Value::is_string))
        },
        message: "`stop` supports up to 4 stop sequences",
    },
];

fn is_inside_0_and_1(value: &Value) -> bool {
    value
        .as_f64()
        .is_some_and(|number| 0.0 < number && number < 1.0)
}

fn is_positive_integer(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| number > 0)
}

/// The model server's refusal of the first parameter that is wrong; null and absent are right.
pub(super) fn refusal(parameters: &Value) -> Option<Plan> {
    let wrong = RULES.iter().find(|rule| {
        let value = &parameters[rule.name];
        !value.is_null() && !(rule.allows)(value)
    })?;
    let message = format!("Input validation error: {}", wrong.message);
    let body = json!({"error": message, "error_type": "validation"}).to_string();
    let headers = [("content-type", "application/json")];
    Some(Plan::answer(422, "Unprocessable Entity", &headers, &body))
}
