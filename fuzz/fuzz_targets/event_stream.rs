//! An event stream of text-generation-inference. The first byte says how it is cut.

#![no_main]

use h2o_chat::fuzzing::decode::Format;
use h2o_chat_fuzz::{decode_in_every_way, events, says};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&seed, bytes)) = input.split_first() else {
        return;
    };
    let decoded = decode_in_every_way(Format::EventStream, seed, bytes);
    if let Some(end) = decoded.end() {
        assert!(says(&events(bytes), "generated_text", end), "complete without a last event");
    }
});
