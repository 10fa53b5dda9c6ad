//! The small codec under every format: fixed little-endian numbers, varints, strings. Reading is bounds-checked and
//! never panics; counts are checked against what is left before anything is allocated for them.

use crate::error::{Decoded, damaged};

/// Appends to a byte vector in the formats of FORMAT.md.
pub(crate) trait Write {
    fn put_u8(&mut self, value: u8);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_varint(&mut self, value: u64);
    fn put_zigzag(&mut self, value: i64);
    fn put_bytes(&mut self, value: &[u8]);
    fn put_list(&mut self, values: &[usize]);
}

impl Write for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_zigzag(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn put_bytes(&mut self, value: &[u8]) {
        self.put_varint(value.len() as u64);
        self.extend_from_slice(value);
    }

    fn put_list(&mut self, values: &[usize]) {
        self.put_varint(values.len() as u64);
        for &value in values {
            self.put_varint(value as u64);
        }
    }
}

/// A cursor over bytes that may be anything.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        if count > self.left() {
            return damaged(format!("{count} bytes wanted, {} left", self.left()));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Decoded<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Decoded<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return damaged("a varint is over 64 bits");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        damaged("a varint is over 10 bytes")
    }

    pub(crate) fn zigzag(&mut self) -> Decoded<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn varint_u32(&mut self) -> Decoded<u32> {
        self.varint()?.try_into().or_else(|_| damaged("a number is over 32 bits"))
    }

    pub(crate) fn bool(&mut self) -> Decoded<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => damaged(format!("{other} is not a flag")),
        }
    }

    /// A count of things that take at least one byte each, so at most what is left.
    pub(crate) fn count(&mut self) -> Decoded<usize> {
        let count = self.varint()?;
        if count > self.left() as u64 {
            return damaged(format!("a count of {count} with {} bytes left", self.left()));
        }
        Ok(count as usize)
    }

    pub(crate) fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn str(&mut self) -> Decoded<&'a str> {
        std::str::from_utf8(self.bytes()?).or_else(|_| damaged("text is not UTF-8"))
    }

    pub(crate) fn list(&mut self) -> Decoded<Vec<usize>> {
        let count = self.count()?;
        (0..count).map(|_| Ok(self.varint_u32()? as usize)).collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Decoded<()> {
        match self.left() {
            0 => Ok(()),
            left => damaged(format!("{left} bytes too many")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            let mut out = Vec::new();
            out.put_varint(value);
            out.put_zigzag(value as i64);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint().unwrap(), value);
            assert_eq!(reader.zigzag().unwrap(), value as i64);
            assert!(reader.end().is_ok());
        }
    }

    #[test]
    fn bad_bytes_are_errors() {
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        assert!(Reader::new(&[0x80]).varint().is_err());
        assert!(Reader::new(&[200, 1, 0]).count().is_err());
        assert!(Reader::new(&[2, 0xff, 0xfe]).str().is_err());
        assert!(Reader::new(&[2]).bool().is_err());
    }
}
