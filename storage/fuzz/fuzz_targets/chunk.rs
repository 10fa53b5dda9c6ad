//! Bytes of any kind as a chunk: see `weir_storage::fuzz::chunk`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_storage::fuzz::chunk(bytes));
