//! Bit packing: values of `width` bits each, without gaps.
//!
//! Blocks of 1024 values are interleaved over lanes (FORMAT.md, "Bit packing"): value `i` is in lane `i % L`, and all lanes
//! shift by the same amount at the same time, so that the loops below are straight-line code over L neighbouring
//! words, which the compiler turns into SIMD of whatever width the machine has, and any single value can still be
//! found. The rest that fills no block is packed bit after bit.

use arrow::buffer::{BooleanBuffer, Buffer};
use multiversion::multiversion;

use crate::bits;
use crate::error::{Decoded, damaged};

const BLOCK: usize = 1024;

/// How many bits the value needs.
pub(crate) fn width_of(value: u64) -> u8 {
    (64 - value.leading_zeros()) as u8
}

/// How many bytes `count` values take. The caller has checked that `width` is at most 64.
pub(crate) fn packed_len(count: usize, width: u8) -> usize {
    let rest = (count % BLOCK) * width as usize;
    count / BLOCK * (BLOCK / 8) * width as usize + rest.div_ceil(8)
}

fn mask(width: u8) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

/// A word that lanes are made of.
macro_rules! lanes {
    ($pack:ident, $unpack:ident, $within:ident, $word:ty, $lanes:expr) => {
        fn $pack(block: &[u64], width: u8, out: &mut Vec<u8>) {
            const BITS: usize = <$word>::BITS as usize;
            let mut words = [0 as $word; BLOCK];
            for row in 0..BLOCK / $lanes {
                let bit = row * width as usize;
                let (word, shift) = (bit / BITS, bit % BITS);
                let values = &block[row * $lanes..][..$lanes];
                let low = &mut words[word * $lanes..][..$lanes];
                for lane in 0..$lanes {
                    low[lane] |= (values[lane] as $word) << shift;
                }
                if shift + width as usize > BITS {
                    let high = &mut words[(word + 1) * $lanes..][..$lanes];
                    for lane in 0..$lanes {
                        high[lane] |= (values[lane] as $word) >> (BITS - shift);
                    }
                }
            }
            for word in &words[..width as usize * $lanes] {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }

        #[multiversion(targets("x86_64+avx2"))]
        fn $unpack(bytes: &[u8], width: u8, out: &mut [$word]) {
            const BITS: usize = <$word>::BITS as usize;
            const SIZE: usize = BITS / 8;
            let mask = mask(width) as $word;
            let (words, _) = bytes.as_chunks::<SIZE>();
            let at = |word: usize| &words[word * $lanes..][..$lanes];
            for row in 0..BLOCK / $lanes {
                let bit = row * width as usize;
                let (word, shift) = (bit / BITS, bit % BITS);
                let values = &mut out[row * $lanes..][..$lanes];
                let low = at(word);
                if shift + width as usize > BITS {
                    let high = at(word + 1);
                    for lane in 0..$lanes {
                        let (low, high) = (<$word>::from_le_bytes(low[lane]), <$word>::from_le_bytes(high[lane]));
                        values[lane] = (low >> shift | high << (BITS - shift)) & mask;
                    }
                } else {
                    for lane in 0..$lanes {
                        values[lane] = (<$word>::from_le_bytes(low[lane]) >> shift) & mask;
                    }
                }
            }
        }

        /// Which values of a block are at most `span` above `low`.
        #[multiversion(targets("x86_64+avx2"))]
        fn $within(block: &[$word; BLOCK], low: $word, span: $word, out: &mut [u64]) {
            let (words, _) = block.as_chunks::<{ bits::WORD }>();
            for (values, out) in words.iter().zip(out) {
                *out = bits::word_of(values, |value| value.wrapping_sub(low) <= span);
            }
        }
    };
}

lanes!(pack_32, unpack_32, within_32, u32, 32);
lanes!(pack_64, unpack_64, within_64, u64, 16);

/// Appends the values, each of which fits in `width` bits.
pub(crate) fn pack(values: &[u64], width: u8, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    out.reserve(packed_len(values.len(), width));
    let blocks = values.chunks_exact(BLOCK);
    let rest = blocks.remainder();
    for block in blocks {
        if width <= 32 { pack_32(block, width, out) } else { pack_64(block, width, out) }
    }
    let (mut bits, mut filled) = (0u128, 0u32);
    for &value in rest {
        bits |= u128::from(value) << filled;
        filled += u32::from(width);
        while filled >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(bits as u8);
    }
}

/// Fails unless `bytes` are exactly `count` values of `width` bits.
pub(crate) fn check(bytes: &[u8], count: usize, width: u8) -> Decoded<()> {
    if width > 64 || bytes.len() != packed_len(count, width) {
        return damaged(format!("{} bytes for {count} values of {width} bits", bytes.len()));
    }
    Ok(())
}

/// One value. The caller has called [`check`], and `index < count`.
pub(crate) fn get(bytes: &[u8], count: usize, width: u8, index: usize) -> u64 {
    if width == 0 {
        return 0;
    }
    let (block, width_usize) = (index / BLOCK, width as usize);
    let start = block * BLOCK / 8 * width_usize;
    if block == count / BLOCK {
        return bits_at(&bytes[start..], (index % BLOCK) * width_usize, width);
    }
    let bytes = &bytes[start..];
    let (lanes, word_bits) = if width <= 32 { (32, 32) } else { (16, 64) };
    let (lane, bit) = (index % lanes, (index % BLOCK) / lanes * width_usize);
    let word = |at: usize| {
        let at = (at * lanes + lane) * word_bits / 8;
        let mut array = [0; 8];
        array[..word_bits / 8].copy_from_slice(&bytes[at..at + word_bits / 8]);
        u64::from_le_bytes(array)
    };
    let (at, shift) = (bit / word_bits, bit % word_bits);
    let mut value = word(at) >> shift;
    if shift + width_usize > word_bits {
        value |= word(at + 1) << (word_bits - shift);
    }
    value & mask(width)
}

fn bits_at(bytes: &[u8], bit: usize, width: u8) -> u64 {
    let from = bit / 8;
    if width <= 57
        && let Some(word) = bytes.get(from..).and_then(|bytes| bytes.first_chunk())
    {
        return u64::from_le_bytes(*word) >> (bit % 8) & mask(width);
    }
    let mut array = [0; 16];
    let available = (bytes.len() - from).min(9);
    array[..available].copy_from_slice(&bytes[from..from + available]);
    (u128::from_le_bytes(array) >> (bit % 8)) as u64 & mask(width)
}

/// All values, as the narrowest word that holds them.
pub(crate) enum Unpacked {
    /// Widths up to 32.
    Narrow(Vec<u32>),
    /// Wider ones.
    Wide(Vec<u64>),
}

/// All `count` values.
pub(crate) fn unpack(bytes: &[u8], count: usize, width: u8) -> Decoded<Unpacked> {
    check(bytes, count, width)?;
    let blocks = count / BLOCK;
    let block_len = BLOCK / 8 * width as usize;
    let rest = &bytes[blocks * block_len..];
    if width <= 32 {
        let mut out = vec![0u32; count];
        if width > 0 {
            for (block, out) in bytes.chunks_exact(block_len).zip(out.chunks_exact_mut(BLOCK)) {
                unpack_32(block, width, out);
            }
            for (index, out) in out[blocks * BLOCK..].iter_mut().enumerate() {
                *out = bits_at(rest, index * width as usize, width) as u32;
            }
        }
        return Ok(Unpacked::Narrow(out));
    }
    let mut out = vec![0u64; count];
    for (block, out) in bytes.chunks_exact(block_len).zip(out.chunks_exact_mut(BLOCK)) {
        unpack_64(block, width, out);
    }
    for (index, out) in out[blocks * BLOCK..].iter_mut().enumerate() {
        *out = bits_at(rest, index * width as usize, width);
    }
    Ok(Unpacked::Wide(out))
}

/// Which of all `count` values are in a range that is not empty.
pub(crate) fn within(bytes: &[u8], count: usize, width: u8, (low, high): (u64, u64)) -> Decoded<BooleanBuffer> {
    check(bytes, count, width)?;
    let most = mask(width);
    if low > most {
        return Ok(BooleanBuffer::new_unset(count));
    }
    let span = high.min(most) - low;
    if span == most {
        return Ok(BooleanBuffer::new_set(count));
    }
    let block_len = BLOCK / 8 * width as usize;
    let mut words = vec![0; count.div_ceil(bits::WORD)];
    // One block at a time, which stays in the nearest cache.
    let blocks = bytes.chunks_exact(block_len).zip(words.chunks_exact_mut(BLOCK / bits::WORD));
    if width <= 32 {
        let mut values = [0; BLOCK];
        blocks.for_each(|(block, out)| {
            unpack_32(block, width, &mut values);
            within_32(&values, low as u32, span as u32, out);
        });
    } else {
        let mut values = [0; BLOCK];
        blocks.for_each(|(block, out)| {
            unpack_64(block, width, &mut values);
            within_64(&values, low, span, out);
        });
    }
    let blocks = count / BLOCK;
    let rest = &bytes[blocks * block_len..];
    for index in 0..count % BLOCK {
        let value = bits_at(rest, index * width as usize, width);
        let at = blocks * BLOCK + index;
        words[at / bits::WORD] |= u64::from(value.wrapping_sub(low) <= span) << (at % bits::WORD);
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(words), 0, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_comes_back() {
        for width in 0..=64u8 {
            for count in [0, 1, 7, 63, 1023, 1024, 1025, 2500] {
                let values: Vec<u64> = (0..count as u64)
                    .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32) & mask(width))
                    .collect();
                let mut packed = Vec::new();
                pack(&values, width, &mut packed);
                assert_eq!(packed.len(), packed_len(count, width), "{count} values of {width} bits");
                let unpacked = match unpack(&packed, count, width).unwrap() {
                    Unpacked::Narrow(values) => values.into_iter().map(u64::from).collect(),
                    Unpacked::Wide(values) => values,
                };
                assert_eq!(unpacked, values, "{count} values of {width} bits");
                for (index, &value) in values.iter().enumerate() {
                    assert_eq!(get(&packed, count, width, index), value, "value {index} of {count} of {width} bits");
                }
            }
        }
        assert!(unpack(&[0; 3], 8, 4).is_err());
        assert!(unpack(&[0; 65], 8, 65).is_err());
    }
}
