//! The fuzzer's entry to `lockgate_fuzz::sftp_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockgate_fuzz::sftp_frames(data));
