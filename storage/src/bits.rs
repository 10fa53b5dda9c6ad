//! A bit for each value: as `BooleanBuffer::collect_bool`, in two steps, each of which a compiler makes SIMD of: a byte for each of 64 values,
//! then a bit for each byte.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Values to a word of bits.
pub(crate) const WORD: usize = 64;

/// Which values pass a test.
#[inline]
pub fn of<T: Copy>(values: &[T], test: impl Fn(T) -> bool) -> BooleanBuffer {
    let words = values.chunks(WORD).map(|values| word_of(values, &test));
    BooleanBuffer::new(Buffer::from_vec(words.collect::<Vec<u64>>()), 0, values.len())
}

/// The same of up to [`WORD`] values.
#[inline]
pub(crate) fn word_of<T: Copy>(values: &[T], test: impl Fn(T) -> bool) -> u64 {
    let mut bytes = [0; WORD];
    bytes.iter_mut().zip(values).for_each(|(byte, &value)| *byte = u8::from(test(value)));
    word(&bytes)
}

/// Which pairs of values, one of each side, pass a test.
#[inline]
pub fn of_pairs<T: Copy>(left: &[T], right: &[T], test: impl Fn(T, T) -> bool) -> BooleanBuffer {
    let words = left.chunks(WORD).zip(right.chunks(WORD)).map(|(left, right)| {
        let mut bytes = [0; WORD];
        let pairs = left.iter().zip(right);
        bytes.iter_mut().zip(pairs).for_each(|(byte, (&left, &right))| *byte = u8::from(test(left, right)));
        word(&bytes)
    });
    BooleanBuffer::new(Buffer::from_vec(words.collect::<Vec<u64>>()), 0, left.len().min(right.len()))
}

/// The lowest bits of bytes that are 0 or 1.
#[cfg(target_arch = "x86_64")]
#[inline]
fn word(bytes: &[u8; WORD]) -> u64 {
    use std::arch::x86_64::{_mm_movemask_epi8, _mm_set_epi64x, _mm_slli_epi16};
    let (eights, _) = bytes.as_chunks::<8>();
    let (pairs, _) = eights.as_chunks::<2>();
    let bits = |pair: &[[u8; 8]; 2]| {
        let [low, high] = pair.map(i64::from_le_bytes);
        // SAFETY: SSE2 is there on every x86_64. What is collected are the highest bits.
        unsafe { _mm_movemask_epi8(_mm_slli_epi16::<7>(_mm_set_epi64x(high, low))) as u16 }
    };
    pairs.iter().rev().fold(0, |word, pair| word << 16 | u64::from(bits(pair)))
}

/// The lowest bits of bytes that are 0 or 1. Of eight, the product moves bit 8 i to bit 56 + i, and no two bits to the same place.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn word(bytes: &[u8; WORD]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    let bits = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights.iter().rev().fold(0, |word, eight| word << 8 | bits(eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_its_values() {
        for rows in [0, 1, 7, 63, 64, 65, 200, 1024] {
            let values: Vec<u64> = (0..rows).map(|i| (i * i * 2_654_435_761) >> 7).collect();
            let others: Vec<u64> = values.iter().rev().copied().collect();
            let expected = BooleanBuffer::collect_bool(values.len(), |i| values[i].is_multiple_of(3));
            assert_eq!(of(&values, |v| v.is_multiple_of(3)), expected, "{rows} rows");
            let expected = BooleanBuffer::collect_bool(values.len(), |i| values[i] < others[i]);
            assert_eq!(of_pairs(&values, &others, |a, b| a < b), expected, "{rows} rows");
        }
    }
}
