//! The fuzzer's entry to `lockgate_fuzz::scp_commands`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::scp_commands(data));
