//! The two ways in which JSON is read here, compared with `serde_json`.

#![no_main]

use h2o_chat::fuzzing::{
    decode::{field, is_object},
    read_json,
};
use h2o_chat_fuzz::read_leniently;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

/// `serde_json` reads 127 levels. Of an object in a reply, each field is read by itself, so that
/// one or two levels more are read.
const MAX_DEPTH: usize = 120;

fuzz_target!(|json: &[u8]| {
    if json.iter().filter(|byte| b"[{".contains(byte)).count() > MAX_DEPTH {
        return;
    }
    let strict: Option<Value> = serde_json::from_slice(json).ok();
    let lenient = read_leniently(json);
    assert_eq!(read_json(json), lenient);
    // What nobody asks for needs the right form only.
    let text = String::from_utf8_lossy(json);
    let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
    let begins_as_object = text.trim_ascii_start().starts_with('{');
    assert_eq!(is_object(json), is_json && begins_as_object);
    // Nested values with lone surrogates are read field by field, which is not done here.
    let is_strict = strict.is_some();
    let object = strict.or(lenient.filter(|_| begins_as_object));
    let fields = object.as_ref().and_then(Value::as_object).into_iter().flatten();
    let fields = fields.filter(|(_, value)| is_strict || value.is_string());
    // Names are compared as they are written, and these could be written with escapes.
    if text.contains("\\u00") {
        return;
    }
    let is_simple = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    for (name, value) in fields.filter(|(name, _)| is_simple(name)) {
        assert_eq!(field(json, name).as_ref(), Some(value), "{name}");
    }
});
