//! The fuzzer's entry to `lockgate_fuzz::proxy_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::proxy_headers(data));
