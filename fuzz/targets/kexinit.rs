//! The fuzzer's entry to `lockgate_fuzz::kexinit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::kexinit(data));
