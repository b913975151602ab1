//! The fuzzer's entry to `lockgate_fuzz::events`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::events(data));
