//! Bloom filters: a bitmap, and for each entry some bits of it (FORMAT.md, "Skip indexes").
//!
//! The bits of an entry come from one 64-bit hash by double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006).

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::key::Key;

/// The hash of bytes.
pub(crate) fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// The hash of a value. Equal values have equal hashes, whatever their type's width.
pub(crate) fn hash_key(key: Key<'_>, seed: u64) -> u64 {
    match key {
        Key::Number(number) => hash_bytes(&number.to_le_bytes(), seed),
        Key::Bytes(bytes) => hash_bytes(bytes, seed),
    }
}

/// Bits for each entry, and hashes, that keep the share of false positives.
pub(crate) fn size_for(rate: f64) -> (f64, u32) {
    let ln2 = std::f64::consts::LN_2;
    let bits = -rate.ln() / (ln2 * ln2);
    (bits, ((bits * ln2).round() as u32).clamp(1, super::HASHES_MAX))
}

fn positions(hash: u64, hashes: u32, bits: u64) -> impl Iterator<Item = usize> {
    let step = (hash >> 32) | 1;
    (0..u64::from(hashes)).map(move |i| (hash.wrapping_add(i.wrapping_mul(step)) % bits) as usize)
}

/// Adds an entry to a bitmap, which is not empty.
pub(crate) fn insert(bitmap: &mut [u8], hash: u64, hashes: u32) {
    let bits = bitmap.len() as u64 * 8;
    positions(hash, hashes, bits).for_each(|bit| bitmap[bit / 8] |= 1 << (bit % 8));
}

/// Whether an entry may be in a bitmap, which is not empty.
pub(crate) fn contains(bitmap: &[u8], hash: u64, hashes: u32) -> bool {
    let bits = bitmap.len() as u64 * 8;
    positions(hash, hashes, bits).all(|bit| bitmap[bit / 8] & (1 << (bit % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_positives_are_as_few_as_asked() {
        for rate in [0.2, 0.025, 0.001] {
            let (bits, hashes) = size_for(rate);
            let mut bitmap = vec![0; (bits * 10_000.0 / 8.0).ceil() as usize];
            let hash = |n: u64| hash_key(Key::Number(n.into()), 7);
            (0..10_000).for_each(|n| insert(&mut bitmap, hash(n), hashes));
            assert!((0..10_000).all(|n| contains(&bitmap, hash(n), hashes)));
            let wrong = (10_000..110_000).filter(|&n| contains(&bitmap, hash(n), hashes)).count();
            assert!((wrong as f64) < 1.3 * rate * 100_000.0 + 20.0, "{wrong} at {rate}");
        }
    }
}
