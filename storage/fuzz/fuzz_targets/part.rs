//! Bytes of any kind as a part: see `weir_storage::fuzz::part`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_storage::fuzz::part(bytes));
