//! The events of text-generation-inference, byte for byte.

use serde_json::Value;

/// A token of the reply's text.
pub fn token(id: usize, text: &str) -> Vec<u8> {
    event(id, text, false, None, None)
}

/// A token that is not text, such as `<s>`.
pub fn special(id: usize, text: &str) -> Vec<u8> {
    event(id, text, true, None, None)
}

/// The last event of a reply that the model ended: a special token and the whole text.
pub fn last(id: usize, text: &str, generated_text: &str, details: Option<Value>) -> Vec<u8> {
    event(id, text, true, Some(generated_text), details)
}

/// An error after the reply has begun.
pub fn error(message: &str, error_type: &str) -> Vec<u8> {
    let (message, error_type) = (Value::from(message), Value::from(error_type));
    format!("data:{{\"error\":{message},\"error_type\":{error_type}}}\n\n").into_bytes()
}

/// A keep-alive.
pub fn comment() -> Vec<u8> {
    b":\n\n".to_vec()
}

pub(super) fn event(
    id: usize,
    text: &str,
    special: bool,
    generated_text: Option<&str>,
    details: Option<Value>,
) -> Vec<u8> {
    let text = Value::from(text);
    let generated_text = Value::from(generated_text);
    let details = Value::from(details);
    format!(
        "data:{{\"token\":{{\"id\":{id},\"text\":{text},\"logprob\":-0.1,\"special\":{special}}},\
         \"generated_text\":{generated_text},\"details\":{details}}}\n\n"
    )
    .into_bytes()
}
