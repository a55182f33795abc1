//! JSON lines of chat-ui. The first byte says how they are cut.

#![no_main]

use h2o_chat::fuzzing::decode::Format;
use h2o_chat_fuzz::{decode_in_every_way, lines, says};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&seed, bytes)) = input.split_first() else {
        return;
    };
    let decoded = decode_in_every_way(Format::JsonLines, seed, bytes);
    if let Some(end) = decoded.end() {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let lines = lines(bytes);
        assert!(says(&lines, "type", "finalAnswer"), "complete without a last line");
        assert!(end.is_empty() || says(&lines, "text", end), "another text than the last line's");
    }
});
