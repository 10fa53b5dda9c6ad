//! Bytes of any kind as a log: see `weir_storage::fuzz::log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_storage::fuzz::log(bytes));
