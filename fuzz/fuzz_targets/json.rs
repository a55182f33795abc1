//! The two ways in which JSON is read here, compared with `serde_json`.

#![no_main]

use h2o_chat::fuzzing::{decode::read_whole_object, read_json};
use h2o_chat_fuzz::read_leniently;
use libfuzzer_sys::fuzz_target;
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
    let object = read_whole_object(json);
    match strict {
        Some(strict) => assert_eq!(object, Some(strict).filter(Value::is_object)),
        None if object.is_some() => assert_eq!(object, lenient),
        None => {}
    }
});
