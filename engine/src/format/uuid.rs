//! uuid as text: groups of hex digits, with hyphens after any group of four and braces admitted on input.

use crate::error::Result;
use crate::format::invalid_text;

/// Appends `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
pub(crate) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (i, b) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
    }
}

/// The 16 bytes of a text.
pub(crate) fn parse(text: &str) -> Result<[u8; 16]> {
    // As they mostly are: digits in five groups.
    if text.len() == 36
        && let Ok(uuid) = uuid::Uuid::try_parse_ascii(text.as_bytes())
    {
        return Ok(uuid.into_bytes());
    }
    let invalid = || invalid_text("uuid", text);
    let trimmed = text.as_bytes();
    let digits = match trimmed {
        [b'{', inner @ .., b'}'] => inner,
        all => all,
    };
    let mut bytes = [0u8; 16];
    let (mut count, mut hyphen_before) = (0usize, false);
    for &c in digits {
        if c == b'-' {
            // Only after whole groups of four digits, and not at the ends.
            if hyphen_before || count == 0 || count % 4 != 0 || count == 32 {
                return Err(invalid());
            }
            hyphen_before = true;
            continue;
        }
        let digit = (c as char).to_digit(16).ok_or_else(invalid)? as u8;
        if count == 32 {
            return Err(invalid());
        }
        bytes[count / 2] = bytes[count / 2] << 4 | digit;
        count += 1;
        hyphen_before = false;
    }
    if count == 32 { Ok(bytes) } else { Err(invalid()) }
}
