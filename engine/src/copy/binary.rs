//! The tuples of COPY's binary format: a signature, flags, then for each row the number of its fields and each field's length and bytes.

use super::input::Field;
use crate::error::{Error, ErrorKind};

/// What binary data begins with.
pub(crate) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Takes bytes, gives rows to the columns' builders.
#[derive(Debug, Default)]
pub(crate) struct Tuples {
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    /// Whether the row that is being read is counted already.
    counted: bool,
    began: bool,
    ended: bool,
}

/// An error and the column it is in, if it is in one.
type Wrong = Box<(Error, Option<usize>)>;

fn bad<T>(message: impl Into<String>) -> std::result::Result<T, Wrong> {
    Err(Box::new((Error::new(ErrorKind::BadCopyFile, message), None)))
}

impl Tuples {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The number of the row that is being read, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Appends the next row to the builders; how many bytes it had, and whether a column that may not be has NULL. `None` if no whole row is
    /// there.
    pub(crate) fn next(
        &mut self,
        fields: &mut [Field],
        at_end: bool,
    ) -> std::result::Result<Option<(usize, bool)>, Wrong> {
        if !self.began && !self.header(at_end)? {
            return Ok(None);
        }
        let rest = &self.buffer[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        if self.ended {
            return bad("received copy data after EOF marker");
        }
        if !self.counted {
            self.line += 1;
            self.counted = true;
        }
        let Some(count) = rest.get(..2) else {
            return if at_end { bad("unexpected EOF in COPY data") } else { Ok(None) };
        };
        let count = i16::from_be_bytes([count[0], count[1]]);
        if count == -1 {
            self.ended = true;
            self.at += 2;
            return self.next(fields, at_end);
        }
        if usize::try_from(count).ok() != Some(fields.len()) {
            return bad(format!("row field count is {count}, expected {}", fields.len()));
        }
        let length = match tuple_length(rest, fields.len())? {
            Tuple::Whole(length) => length,
            Tuple::CutIn(_) if !at_end => return Ok(None),
            Tuple::CutIn(field) => {
                return Err(Box::new((Error::new(ErrorKind::BadCopyFile, "unexpected EOF in COPY data"), Some(field))));
            }
        };
        let mut values = &rest[2..length];
        let mut has_null = false;
        for (at, field) in fields.iter_mut().enumerate() {
            let (size, after) = values.split_at(4);
            let size = i32::from_be_bytes([size[0], size[1], size[2], size[3]]);
            values = after;
            match usize::try_from(size) {
                Ok(size) => {
                    let (value, after) = values.split_at(size);
                    field.builder.append_binary(value).map_err(|e| Box::new((of_value(e), Some(at))))?;
                    values = after;
                }
                Err(_) => {
                    has_null |= !field.nullable;
                    field.builder.append_null();
                }
            }
        }
        self.at += length;
        self.counted = false;
        Ok(Some((length, has_null)))
    }

    /// Reads the header; whether it is there in full.
    fn header(&mut self, at_end: bool) -> std::result::Result<bool, Wrong> {
        let bytes = &self.buffer;
        let seen = bytes.len().min(SIGNATURE.len());
        if bytes[..seen] != SIGNATURE[..seen] || (at_end && seen < SIGNATURE.len()) {
            return bad("COPY file signature not recognized");
        }
        let word = |at: usize| bytes.get(at..at + 4).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let missing = |what: &str| match at_end {
            true => bad(format!("invalid COPY file header (missing {what})")),
            false => Ok(false),
        };
        let Some(flags) = word(11) else { return missing("flags") };
        if flags & (1 << 16) != 0 {
            return bad("invalid COPY file header (WITH OIDS)");
        }
        if (flags >> 16) & !1 != 0 {
            return bad("unrecognized critical flags in COPY file header");
        }
        let Some(extension) = word(15) else { return missing("length") };
        let Ok(extension) = usize::try_from(extension) else { return missing("length") };
        if bytes.len() < 19 + extension {
            return match at_end {
                true => bad("invalid COPY file header (wrong length)"),
                false => Ok(false),
            };
        }
        self.at = 19 + extension;
        self.began = true;
        Ok(true)
    }
}

/// COPY does not say of what type a value is not.
fn of_value(error: Error) -> Error {
    match error.message.starts_with("incorrect binary data format") {
        true => Error { message: "incorrect binary data format".into(), ..error },
        false => error,
    }
}

/// How much of a tuple is there.
enum Tuple {
    /// All of it: so many bytes.
    Whole(usize),
    /// It ends inside this field.
    CutIn(usize),
}

fn tuple_length(bytes: &[u8], fields: usize) -> std::result::Result<Tuple, Wrong> {
    let mut at = 2;
    for field in 0..fields {
        let Some(size) = bytes.get(at..at + 4) else { return Ok(Tuple::CutIn(field)) };
        let size = i32::from_be_bytes([size[0], size[1], size[2], size[3]]);
        at += 4;
        match size {
            -1 => {}
            size => match usize::try_from(size) {
                Ok(size) => at += size,
                Err(_) => {
                    return Err(Box::new((Error::new(ErrorKind::BadCopyFile, "invalid field size"), Some(field))));
                }
            },
        }
        if at > bytes.len() {
            return Ok(Tuple::CutIn(field));
        }
    }
    Ok(Tuple::Whole(at))
}

/// The header of binary data.
pub(crate) fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_checked_whatever_arrives_first() {
        let wrong = |bytes: &[u8], at_end| {
            let mut tuples = Tuples::default();
            tuples.push(bytes);
            tuples.next(&mut [], at_end).map_err(|wrong| wrong.0.message)
        };
        let mut header = Vec::new();
        write_header(&mut header);
        for end in 0..header.len() {
            assert_eq!(wrong(&header[..end], false), Ok(None), "cut at {end}");
            assert!(wrong(&header[..end], true).is_err(), "cut at {end}");
        }
        assert_eq!(wrong(b"1\t2\n", false), Err("COPY file signature not recognized".into()));
        let mut with_data = header.clone();
        with_data.extend_from_slice(&[0, 0, 0xff, 0xff, 1]);
        let mut tuples = Tuples::default();
        tuples.push(&with_data);
        assert_eq!(tuples.next(&mut [], false), Ok(Some((2, false))));
        assert_eq!(
            tuples.next(&mut [], false).map_err(|e| e.0.message).unwrap_err(),
            "received copy data after EOF marker"
        );
    }
}
