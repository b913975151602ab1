//! The fuzzer's entry to `lockgate_fuzz::revoked_keys`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::revoked_keys(data));
