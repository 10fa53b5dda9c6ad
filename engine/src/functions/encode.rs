//! Bytes as text and back: encode and decode, hexadecimal, Base64, and digests.

use arrow::array::BinaryViewArray;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;
use weir_sql::Type;

use super::declare::{BYTEA, HASH, STRING, TEXT, function, strict};
use super::rows::{bytes_rows, column, invalid_parameter, text, text_rows};
use super::string::write;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::Result;

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

fn push_upper_hex(out: &mut String, bytes: &[u8]) -> bool {
    push_hex(out, bytes);
    out.make_ascii_uppercase();
    true
}

/// A function of one text that gives the bytes which it stands for, as text: they must be UTF-8.
fn decode_text(
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
