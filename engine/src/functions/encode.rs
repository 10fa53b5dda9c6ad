//! Bytes as text and back: encode and decode, hexadecimal, Base64, and digests.

use arrow::array::BinaryViewArray;
use arrow::datatypes::{Int32Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;
use weir_sql::Type;

use super::declare::{BYTEA, HASH, INT4, INT8, STRING, TEXT, function, strict};
use super::rows::{bytes_rows, column, invalid_parameter, primitive, primitive_rows, text, text_rows};
use super::string::write;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["md5"],
            HASH,
            "The MD5 digest in hexadecimal.",
            ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
            vec![
                strict([TEXT], Type::Text, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    text_rows(a, n, ty, |row, out| Ok(push_hex(out, &md5::Md5::digest(texts.at(row)))))
                }),
                strict([BYTEA], Type::Text, |_, a, n, ty| {
                    let bytes = column::<BinaryViewArray>(a, 0)?;
                    text_rows(a, n, ty, |row, out| Ok(push_hex(out, &md5::Md5::digest(bytes.at(row)))))
                }),
            ],
        ),
        sha(
            &["sha224"],
            "The SHA-224 digest.",
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            digest::<sha2::Sha224>,
        ),
        sha(
            &["sha256"],
            "The SHA-256 digest.",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            digest::<sha2::Sha256>,
        ),
        sha(&["sha384"], "The SHA-384 digest.", "", digest::<sha2::Sha384>),
        sha(&["sha512"], "The SHA-512 digest.", "", digest::<sha2::Sha512>),
        function(
            &["get_byte"],
            STRING,
            "The byte at a place, counted from 0.",
            ("get_byte('\\x0102', 1)", "2"),
            vec![strict([BYTEA, INT4], Type::Int4, |_, a, n, ty| {
                let (bytes, places) = (column::<BinaryViewArray>(a, 0)?, primitive::<Int32Type>(a, 1)?);
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    let bytes = bytes.at(row);
                    Ok(Some(bytes[place(places.at(row).into(), bytes.len())?].into()))
                })
            })],
        ),
        function(
            &["set_byte"],
            STRING,
            "The bytes with another one at a place, counted from 0.",
            ("set_byte('\\x0102', 1, 255)", "\\x01ff"),
            vec![strict([BYTEA, INT4, INT4], Type::Bytea, |_, a, n, ty| {
                let (bytes, places) = (column::<BinaryViewArray>(a, 0)?, primitive::<Int32Type>(a, 1)?);
                let values = primitive::<Int32Type>(a, 2)?;
                bytes_rows(a, n, ty, |row, out| {
                    out.extend_from_slice(bytes.at(row));
                    let at = place(places.at(row).into(), out.len())?;
                    out[at] = values.at(row) as u8;
                    Ok(true)
                })
            })],
        ),
        function(
            &["get_bit"],
            STRING,
            "The bit at a place, counted from 0 and from the right in each byte.",
            ("get_bit('\\x0102', 9)", "1"),
            vec![strict([BYTEA, INT8], Type::Int4, |_, a, n, ty| {
                let (bytes, places) = (column::<BinaryViewArray>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    let bytes = bytes.at(row);
                    let at = place(places.at(row), bytes.len() * 8)?;
                    Ok(Some((bytes[at / 8] >> (at % 8) & 1).into()))
                })
            })],
        ),
        function(
            &["bit_count"],
            STRING,
            "How many bits are set.",
            ("bit_count('\\x1234'::bytea)", "5"),
            vec![strict([BYTEA], Type::Int8, |_, a, n, ty| {
                let bytes = column::<BinaryViewArray>(a, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(bytes.at(row).iter().map(|byte| i64::from(byte.count_ones())).sum()))
                })
            })],
        ),
        function(
            &["convert_to"],
            STRING,
            "The text's bytes in an encoding, of which there is UTF8.",
            ("convert_to('é', 'UTF8')", "\\xc3a9"),
            vec![strict([TEXT, TEXT], Type::Bytea, |_, a, n, ty| {
                let (texts, encodings) = (text(a, 0)?, text(a, 1)?);
                bytes_rows(a, n, ty, |row, out| {
                    is_utf8(encodings.at(row), "destination")?;
                    out.extend_from_slice(texts.at(row).as_bytes());
                    Ok(true)
                })
            })],
        ),
        function(
            &["convert_from"],
            STRING,
            "The text that bytes in an encoding stand for, of which there is UTF8.",
            ("convert_from('\\xc3a9', 'UTF8')", "é"),
            vec![strict([BYTEA, TEXT], Type::Text, |_, a, n, ty| {
                let (bytes, encodings) = (column::<BinaryViewArray>(a, 0)?, text(a, 1)?);
                text_rows(a, n, ty, |row, out| {
                    is_utf8(encodings.at(row), "source")?;
                    let bytes = bytes.at(row);
                    let text = std::str::from_utf8(bytes).map_err(|e| {
                        let byte = bytes[e.valid_up_to()];
                        let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
                        Error::new(ErrorKind::CharacterNotInRepertoire, message)
                    })?;
                    out.push_str(text);
                    Ok(true)
                })
            })],
        ),
        function(
            &["unistr"],
            STRING,
            "The text with its escapes \\XXXX, \\+XXXXXX, \\uXXXX and \\UXXXXXXXX as the characters that they stand for.",
            ("unistr('d\\0061t\\+000061')", "data"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                let texts = text(a, 0)?;
                text_rows(a, n, ty, |row, out| unescape(texts.at(row), out).map(|()| true))
            })],
        ),
        function(
            &["encode"],
            STRING,
            "The bytes as text in a format: base64, hex or escape.",
            ("encode('123\\000\\001', 'base64')", "MTIzAAE="),
            vec![strict([BYTEA, TEXT], Type::Text, encode)],
        ),
        function(
            &["decode"],
            STRING,
            "The bytes that a text in a format (base64, hex or escape) stands for.",
            ("decode('MTIzAAE=', 'base64')", "\\x3132330001"),
            vec![strict([TEXT, TEXT], Type::Bytea, decode)],
        ),
        function(
            &["base64Encode"],
            STRING,
            "The text's bytes in Base64, in one line.",
            ("base64Encode('clickhouse')", "Y2xpY2tob3VzZQ=="),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                let texts = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    STANDARD.encode_string(texts.at(row), out);
                    Ok(true)
                })
            })],
        ),
        function(
            &["base64Decode"],
            STRING,
            "The text that is written in Base64.",
            ("base64Decode('Y2xpY2tob3VzZQ==')", "clickhouse"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                decode_text(a, n, ty, "Base64", |s| STANDARD.decode(s).ok())
            })],
        ),
        function(
            &["tryBase64Decode"],
            STRING,
            "The text that is written in Base64; empty if it is none.",
            ("tryBase64Decode('?')", ""),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                decode_text(a, n, ty, "Base64", |s| Some(STANDARD.decode(s).unwrap_or_default()))
            })],
        ),
        function(
            &["hex"],
            STRING,
            "The text's or bytea's bytes in upper-case hexadecimal.",
            ("hex('AB')", "4142"),
            vec![
                strict([TEXT], Type::Text, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    text_rows(a, n, ty, |row, out| Ok(push_upper_hex(out, texts.at(row).as_bytes())))
                }),
                strict([BYTEA], Type::Text, |_, a, n, ty| {
                    let bytes = column::<BinaryViewArray>(a, 0)?;
                    text_rows(a, n, ty, |row, out| Ok(push_upper_hex(out, bytes.at(row))))
                }),
            ],
        ),
        function(
            &["unhex"],
            STRING,
            "The text whose bytes are written in hexadecimal.",
            ("unhex('4142')", "AB"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                decode_text(a, n, ty, "hexadecimal", |s| hex::decode(s).ok())
            })],
        ),
    ]
}

fn sha(
    names: &'static [&'static str],
    doc: &'static str,
    digest_of_abc: &'static str,
    kernel: super::Kernel,
) -> ScalarFunction {
    let example = if digest_of_abc.is_empty() { ("", "") } else { ("encode(sha256('abc'), 'hex')", digest_of_abc) };
    let example = if names[0] == "sha224" { ("encode(sha224('abc'), 'hex')", digest_of_abc) } else { example };
    function(names, HASH, doc, example, vec![strict([BYTEA], Type::Bytea, kernel)])
}

fn digest<D: Digest>(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let bytes = column::<BinaryViewArray>(args, 0)?;
    bytes_rows(args, rows, ty, |row, out| {
        out.extend_from_slice(&D::digest(bytes.at(row)));
        Ok(true)
    })
}

pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
    true
}

pub(crate) fn push_upper_hex(out: &mut String, bytes: &[u8]) -> bool {
    push_hex(out, bytes);
    out.make_ascii_uppercase();
    true
}

pub(crate) fn push_bits(out: &mut String, bytes: &[u8]) -> bool {
    bytes.iter().for_each(|byte| drop(write(out, format_args!("{byte:08b}"))));
    true
}

/// A function of one text that gives the bytes which it stands for, as text: they must be UTF-8.
pub(crate) fn decode_text(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    format: &str,
    decode: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Datum> {
    let texts = text(args, 0)?;
    text_rows(args, rows, ty, |row, out| {
        let bytes = decode(texts.at(row)).ok_or_else(|| invalid_parameter(format!("the text is not {format}")))?;
        let decoded = std::str::from_utf8(&bytes).map_err(|_| {
            invalid_parameter(format!("the {format} text does not decode to UTF-8"))
                .with_hint("Use decode() for bytea.")
        })?;
        out.push_str(decoded);
        Ok(true)
    })
}

#[derive(Clone, Copy)]
enum Encoding {
    Base64,
    Hex,
    Escape,
}

fn encoding(name: &str) -> Result<Encoding> {
    match name.to_ascii_lowercase().as_str() {
        "base64" => Ok(Encoding::Base64),
        "hex" => Ok(Encoding::Hex),
        "escape" => Ok(Encoding::Escape),
        _ => Err(invalid_parameter(format!("unrecognized encoding: \"{name}\""))),
    }
}

fn encode(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (values, formats) = (column::<BinaryViewArray>(args, 0)?, text(args, 1)?);
    text_rows(args, rows, ty, |row, out| {
        let bytes = values.at(row);
        match encoding(formats.at(row))? {
            Encoding::Hex => return Ok(push_hex(out, bytes)),
            // As MIME wants it: lines of 76 characters.
            Encoding::Base64 => {
                let line = STANDARD.encode(bytes);
                for (i, chunk) in line.as_bytes().chunks(76).enumerate() {
                    if i > 0 {
                        out.push('\n');
                    }
                    out.extend(chunk.iter().map(|&byte| byte as char));
                }
            }
            Encoding::Escape => {
                for &byte in bytes {
                    match byte {
                        b'\\' => out.push_str("\\\\"),
                        0 | 0x80.. => drop(write(out, format_args!("\\{byte:03o}"))),
                        _ => out.push(byte as char),
                    }
                }
            }
        }
        Ok(true)
    })
}

fn decode(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (values, formats) = (text(args, 0)?, text(args, 1)?);
    bytes_rows(args, rows, ty, |row, out| {
        let value = values.at(row);
        match encoding(formats.at(row))? {
            Encoding::Hex => decode_hex(value, out)?,
            Encoding::Base64 => decode_base64(value, out)?,
            Encoding::Escape => decode_escape(value, out)?,
        }
        Ok(true)
    })
}

fn decode_hex(value: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut high = None;
    for c in value.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')) {
        let Some(digit) = c.to_digit(16) else {
            return Err(invalid_parameter(format!("invalid hexadecimal digit: \"{c}\"")));
        };
        match high.take() {
            None => high = Some(digit as u8),
            Some(first) => out.push(first << 4 | digit as u8),
        }
    }
    match high {
        Some(_) => Err(invalid_parameter("invalid hexadecimal data: odd number of digits")),
        None => Ok(()),
    }
}

fn decode_base64(value: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut compact = Vec::with_capacity(value.len());
    for c in value.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')) {
        if !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')) {
            return Err(invalid_parameter(format!("invalid symbol \"{c}\" found while decoding base64 sequence")));
        }
        compact.push(c as u8);
    }
    STANDARD.decode_vec(&compact, out).map_err(|_| {
        invalid_parameter("invalid base64 end sequence")
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted.")
    })
}

fn decode_escape(value: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut rest = value.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(()),
            [b'\\', b'\\', rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => {
                let message = "invalid input syntax for type bytea";
                return Err(crate::error::Error::new(crate::error::ErrorKind::InvalidText, message));
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        };
    }
}

/// A place that is one of so many.
fn place(at: i64, count: usize) -> Result<usize> {
    usize::try_from(at).ok().filter(|at| *at < count).ok_or_else(|| {
        let message = format!("index {at} out of valid range, 0..{}", count as i64 - 1);
        Error::new(ErrorKind::ArraySubscript, message)
    })
}

fn is_utf8(encoding: &str, which: &str) -> Result<()> {
    match encoding.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(invalid_parameter(format!("invalid {which} encoding name \"{encoding}\""))),
    }
}

/// Text with the escapes of `unistr`.
fn unescape(text: &str, out: &mut String) -> Result<()> {
    let wrong = || {
        let error = Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Syntax), "invalid Unicode escape");
        error.with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(at) = rest.find('\\') {
        if high.is_some() && at > 0 {
            return Err(wrong());
        }
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('\\') {
            out.push('\\');
            rest = after;
            continue;
        }
        let (digits, skip) = match after.bytes().next() {
            Some(b'+') => (6, 1),
            Some(b'u') => (4, 1),
            Some(b'U') => (8, 1),
            _ => (4, 0),
        };
        let code = after.get(skip..skip + digits).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok()).ok_or_else(wrong)?;
        rest = &after[skip + digits..];
        // Characters beyond U+FFFF may be written as two halves.
        let code = match (high.take(), code) {
            (None, 0xd800..=0xdbff) => {
                high = Some(code);
                continue;
            }
            (Some(first), 0xdc00..=0xdfff) => 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00),
            (Some(_), _) => return Err(wrong()),
            (None, code) => code,
        };
        out.push(char::from_u32(code).filter(|c| *c != '\0').ok_or_else(wrong)?);
    }
    if high.is_some() {
        return Err(wrong());
    }
    out.push_str(rest);
    Ok(())
}
