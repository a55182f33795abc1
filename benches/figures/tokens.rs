//! The tokens of the measured replies: on classic servers of about 110 bytes each, one in 16 with an escape and one in
//! 50 not ASCII.
#![allow(dead_code, reason = "a test uses a part of it")]

use std::fmt::Write;

use serde_json::Value;

/// The last chunk of a reply.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

const WORDS: [&str; 5] = [" the", " sky", " is", " blue", ","];
const NOT_ASCII: [&str; 3] = [" größer", " 東京", " 😀"];
const WITH_ESCAPE: [&str; 2] = ["\n", " \"so\""];

/// The text of the token with this number.
pub fn text(number: usize) -> &'static str {
    let of = |texts: &[&'static str]| texts[number % texts.len()];
    match number {
        number if number % 50 == 49 => of(&NOT_ASCII),
        number if number % 16 == 15 => WITH_ESCAPE[number / 16 % WITH_ESCAPE.len()],
        _ => of(&WORDS),
    }
}

/// The event of a token, in a chunk of its own.
pub fn token(text: &str) -> String {
    chunk(&event(text, None))
}

/// The last event, in a chunk of its own.
pub fn last(generated_text: &str) -> String {
    chunk(&event("", Some(generated_text)))
}

/// The events of `count` tokens, each in a chunk of its own.
pub fn tokens(count: usize) -> String {
    (0..count).map(|number| token(text(number))).collect()
}

/// A line of the newest chat-ui, in a chunk of its own. Short tokens are padded.
pub fn chat_ui_line(text: &str) -> String {
    const PADDED_LENGTH: usize = 16;
    let padding = PADDED_LENGTH.saturating_sub(text.encode_utf16().count());
    let token = Value::from(format!("{text}{}", "\0".repeat(padding)));
    chunk(&format!("{{\"type\":\"stream\",\"token\":{token}}}\n"))
}

/// A line of h2oGPTe, in a chunk of its own.
pub fn h2ogpte_line(text: &str) -> String {
    chunk(&format!("{{\"body\":{},\"finished\":false}}\n", Value::from(text)))
}

fn event(text: &str, generated_text: Option<&str>) -> String {
    let (special, text) = (generated_text.is_some(), Value::from(text));
    let generated_text = Value::from(generated_text);
    format!(
        "data:{{\"token\":{{\"id\":12345,\"text\":{text},\"logprob\":-0.3457,\
         \"special\":{special}}},\"generated_text\":{generated_text},\"details\":null}}\n\n"
    )
}

fn chunk(bytes: &str) -> String {
    let mut chunk = String::with_capacity(bytes.len() + 8);
    let _ = write!(chunk, "{:x}\r\n{bytes}\r\n", bytes.len());
    chunk
}
