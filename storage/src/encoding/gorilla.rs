//! Gorilla: each float as the bits in which it differs from the one before (Pelkonen et al.: "Gorilla: A Fast, Scalable, In-Memory
//! Time Series Database", VLDB 2015). Only where a codec asks for it: it is read bit by bit.
//!
//! A bit 0 means no difference. Otherwise 1, then 0 and the differing bits within the window of the one before, or 1, six bits of
//! leading zeros, six bits of the number of differing bits less one, and these.

use arrow::buffer::Buffer;

use crate::error::{Decoded, damaged};

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    bits: u128,
    filled: u32,
}

impl Writer<'_> {
    /// Up to 64 bits, lowest first.
    fn put(&mut self, value: u64, width: u32) {
        self.bits |= u128::from(value) << self.filled;
        self.filled += width;
        while self.filled >= 8 {
            self.out.push(self.bits as u8);
            self.bits >>= 8;
            self.filled -= 8;
        }
    }
}

/// Appends the body for at least one float.
pub(super) fn write(values: &[u64], out: &mut Vec<u8>) {
    let mut writer = Writer { out, bits: 0, filled: 0 };
    writer.put(values[0], 64);
    // Leading zeros and width of the window.
    let mut window = (0, 0);
    for pair in values.windows(2) {
        let difference = pair[0] ^ pair[1];
        if difference == 0 {
            writer.put(0, 1);
            continue;
        }
        let (leading, trailing) = (difference.leading_zeros(), difference.trailing_zeros());
        let (from, width) = window;
        if width > 0 && leading >= from && 64 - trailing <= from + width {
            writer.put(0b01, 2);
        } else {
            window = (leading, 64 - leading - trailing);
            writer.put(0b11, 2);
            writer.put(leading.into(), 6);
            writer.put(u64::from(window.1 - 1), 6);
        }
        let (from, width) = window;
        writer.put(difference >> (64 - from - width), width);
    }
    if writer.filled > 0 {
        writer.put(0, 8 - writer.filled);
    }
}

struct BitReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    bits: u128,
    filled: u32,
}

impl BitReader<'_> {
    fn take(&mut self, width: u32) -> Decoded<u64> {
        while self.filled < width {
            let Some(&byte) = self.bytes.next() else { return damaged("floats end too early") };
            self.bits |= u128::from(byte) << self.filled;
            self.filled += 8;
        }
        let value = self.bits as u64 & if width == 64 { u64::MAX } else { (1 << width) - 1 };
        self.bits >>= width;
        self.filled -= width;
        Ok(value)
    }
}

/// Reads the body back into floats.
pub(super) fn decode(width: usize, rows: usize, body: &Buffer, selection: Option<&[u32]>) -> Decoded<Buffer> {
    // Each float after the first takes a bit at least.
    if rows == 0 || body.len() < 8 || rows - 1 > (body.len() - 8) * 8 {
        return damaged(format!("{rows} floats in {} bytes", body.len()));
    }
    let mut reader = BitReader { bytes: body.iter(), bits: 0, filled: 0 };
    let mut value = reader.take(64)?;
    let mut values = Vec::with_capacity(rows);
    values.push(value);
    let (mut from, mut bits) = (0, 0);
    for _ in 1..rows {
        if reader.take(1)? == 1 {
            if reader.take(1)? == 1 {
                from = reader.take(6)? as u32;
                bits = reader.take(6)? as u32 + 1;
                if from + bits > 64 {
                    return damaged(format!("{bits} bits after {from} zeros"));
                }
            }
            if bits == 0 {
                return damaged("a float in the window of none");
            }
            value ^= reader.take(bits)? << (64 - from - bits);
        }
        values.push(value);
    }
    let picked = match selection {
        None => values,
        Some(selection) => selection.iter().map(|&row| values[row as usize]).collect(),
    };
    Ok(match width {
        4 => picked.iter().map(|&bits| bits as u32).collect::<Vec<_>>().into(),
        _ => picked.into(),
    })
}
