//! The checksum of everything on disk: XXH3-64 with seed 0.
//!
//! In a fuzzing build (`cargo fuzz` sets `cfg(fuzzing)`) every checksum matches: the fuzzer would otherwise never get past them to the readers
//! behind.

use xxhash_rust::xxh3::xxh3_64;

/// The checksum of bytes.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Whether bytes have this checksum.
pub(crate) fn matches(bytes: &[u8], expected: u64) -> bool {
    cfg!(fuzzing) || of(bytes) == expected
}
