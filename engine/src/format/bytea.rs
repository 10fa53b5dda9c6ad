//! bytea: hex (`\x0aff`) and escape (`a\012\\`) form.

use crate::error::{Error, ErrorKind, Result};
use crate::format::invalid_text;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the hex form.
pub(crate) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 + bytes.len() * 2);
    out.extend_from_slice(b"\\x");
    for b in bytes {
        out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
    }
}

/// Appends the escape form.
pub(crate) fn write_escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        match b {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(b),
            _ => out.extend_from_slice(&[b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]),
        }
    }
}

/// Appends the bytes that either form stands for.
pub(crate) fn parse(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let bytes = text.as_bytes();
    if let [b'\\', b'x' | b'X', hex @ ..] = bytes {
        return parse_hex(hex, text, out);
    }
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'\\', b'\\', ..] => {
                out.push(b'\\');
                at += 2;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                at += 4;
            }
            [b'\\', ..] => return Err(invalid_text("bytea", text)),
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Ok(())
}

fn parse_hex(hex: &[u8], text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut high = None;
    for (at, &b) in hex.iter().enumerate() {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            b' ' | b'\n' | b'\t' | b'\r' if high.is_none() => continue,
            _ => {
                let wrong = text[2 + at..].chars().next().unwrap_or('?');
                return Err(Error::new(ErrorKind::InvalidParameter, format!("invalid hexadecimal digit: \"{wrong}\"")));
            }
        };
        match high.take() {
            None => high = Some(digit),
            Some(h) => out.push(h << 4 | digit),
        }
    }
    match high {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::InvalidParameter, "invalid hexadecimal data: odd number of digits")),
    }
}
