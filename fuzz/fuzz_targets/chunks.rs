//! Chunks of h2oGPTe. The first byte says how they are cut.

#![no_main]

use h2o_chat::fuzzing::decode::Format;
use h2o_chat_fuzz::{decode_in_every_way, may_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&seed, bytes)) = input.split_first() else {
        return;
    };
    if decode_in_every_way(Format::Chunks, seed, bytes).end().is_some() {
        let names = ["finished", "message_id"];
        assert!(names.iter().any(|name| may_name(bytes, name)), "complete without a last chunk");
    }
});
