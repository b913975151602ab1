//! The fuzzer's entry to `lockgate_fuzz::target_addresses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::target_addresses(data));
