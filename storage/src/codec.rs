//! Codecs: how a column is to be encoded when its table says so, instead of by what its data is.
//!
//! A codec only chooses among encodings; what it names is used wherever it can hold the values (delta needs integers), and everything
//! else is chosen by the data as ever. Constant chunks stay constant, and rows in the log are not concerned.

use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

/// What a table asks of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codec {
    /// How values become bytes.
    pub transform: Transform,
    /// What bytes are compressed with.
    pub compression: Compression,
}

/// How values become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transform {
    /// By the data.
    #[default]
    Auto,
    /// As they are.
    Plain,
    /// Integers: differences, taken so many times (1 to 3).
    Delta(u8),
    /// Integers: bit-packed.
    Packed,
    /// Integers: multiples of a factor.
    Scaled,
    /// Floats: the bits that change from one to the next.
    Gorilla,
    /// Floats: decimals, or else cut in two.
    Alp,
}

/// What bytes are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// By the data.
    #[default]
    Auto,
    /// Nothing.
    Off,
    /// LZ4, where that makes them fewer.
    Lz4,
    /// zstd of a level (1 to 22), where that makes them fewer.
    Zstd(u8),
}

impl Codec {
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let (transform, times) = match self.transform {
            Transform::Auto => (0, 0),
            Transform::Plain => (1, 0),
            Transform::Delta(times) => (2, times),
            Transform::Packed => (3, 0),
            Transform::Scaled => (4, 0),
            Transform::Gorilla => (5, 0),
            Transform::Alp => (6, 0),
        };
        let (compression, level) = match self.compression {
            Compression::Auto => (0, 0),
            Compression::Off => (1, 0),
            Compression::Lz4 => (2, 0),
            Compression::Zstd(level) => (3, level),
        };
        [transform, times, compression, level].into_iter().for_each(|byte| out.put_u8(byte));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Decoded<Codec> {
        let transform = match (reader.u8()?, reader.u8()?) {
            (0, 0) => Transform::Auto,
            (1, 0) => Transform::Plain,
            (2, times @ 1..=3) => Transform::Delta(times),
            (3, 0) => Transform::Packed,
            (4, 0) => Transform::Scaled,
            (5, 0) => Transform::Gorilla,
            (6, 0) => Transform::Alp,
            (other, argument) => return damaged(format!("there is no transform {other} {argument}")),
        };
        let compression = match (reader.u8()?, reader.u8()?) {
            (0, 0) => Compression::Auto,
            (1, 0) => Compression::Off,
            (2, 0) => Compression::Lz4,
            (3, level @ 1..=22) => Compression::Zstd(level),
            (other, argument) => return damaged(format!("there is no compression {other} {argument}")),
        };
        Ok(Codec { transform, compression })
    }
}
