//! Bytes of any kind as a checkpoint: see `weir_storage::fuzz::checkpoint`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_storage::fuzz::checkpoint(bytes));
