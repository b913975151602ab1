//! The fuzzer's entry to `lockgate_fuzz::paths`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::paths(data));
