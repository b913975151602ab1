//! The fuzzer's entry to `lockgate_fuzz::jump_channel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::jump_channel(data));
