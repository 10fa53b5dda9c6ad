//! ClickHouse's measures of texts and their bytes, searches in any case, XML's entities, and Base32, Base58 and Base64 for addresses.

use std::collections::HashSet;

use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use weir_sql::Type;

use super::declare::{INT8, PATTERN, STRING, TEXT, function, strict};
use super::encode::decode_text;
use super::regex::Patterns;
use super::regex_syntax::Flavour;
use super::rows::{bool_rows, invalid_parameter, primitive, primitive_rows, slice_rows, text, text_rows};
use super::string_parts::byte_offset;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::Result;

/// Base64 for addresses: written without padding, read with it or without.
const URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = searches();
    all.extend(measures());
    all.extend(encodings());
    all
}

fn searches() -> Vec<ScalarFunction> {
    vec![
        function(
            &["countSubstringsCaseInsensitive", "countSubstringsCaseInsensitiveUTF8"],
            PATTERN,
            "How often the second text occurs in the first in any case, without overlaps.",
            ("countSubstringsCaseInsensitive('aAbA', 'a')", "3"),
            vec![strict([TEXT, TEXT], Type::Int4, |_, a, n, ty| {
                let (values, needles) = (text(a, 0)?, text(a, 1)?);
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    let needle = needles.at(row).to_lowercase();
                    if needle.is_empty() {
                        return Ok(Some(0));
                    }
                    let value = values.at(row).to_lowercase();
                    Ok(Some(memmem::find_iter(value.as_bytes(), &needle).count() as i32))
                })
            })],
        ),
        function(
            &["countMatchesCaseInsensitive"],
            PATTERN,
            "How many matches of an RE2 pattern in any case the text has, without the empty ones.",
            ("countMatchesCaseInsensitive('AxaX', 'a')", "2"),
            vec![strict([TEXT, TEXT], Type::Int8, |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::in_any_case(a, 1, Flavour::Re2)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let (regex, _) = patterns.at(row, "")?;
                    Ok(Some(regex.linear()?.find_iter(texts.at(row)).filter(|found| !found.is_empty()).count() as i64))
                })
            })],
        ),
        function(
            &["position", "positionUTF8"],
            STRING,
            "Where the second text first occurs in the first from a place on, counted from 1; 0 if nowhere.",
            ("position('hello', 'l', 4)", "4"),
            vec![strict([TEXT, TEXT, INT8], Type::Int4, |_, a, n, ty| position(a, n, ty, 0))],
        ),
        function(
            &["locate"],
            STRING,
            "Where the first text first occurs in the second, from a place on if one is given, counted from 1; 0 if nowhere.",
            ("locate('l', 'hello', 4)", "4"),
            vec![strict([TEXT, TEXT, INT8], Type::Int4, |_, a, n, ty| position(a, n, ty, 1)).optional(1)],
        ),
    ]
}

/// `within`: which of the first two arguments is searched for the other.
fn position(args: &[Datum], rows: usize, types: &Types<'_>, within: usize) -> Result<Datum> {
    let (values, needles) = (text(args, within)?, text(args, 1 - within)?);
    let starts = if args.len() > 2 { Some(primitive::<Int64Type>(args, 2)?) } else { None };
    primitive_rows::<Int32Type>(args, rows, types, |row| {
        let value = values.at(row);
        let before = usize::try_from(starts.map_or(1, |starts| starts.at(row)).max(1) - 1).unwrap_or(usize::MAX);
        if before > value.chars().count() {
            return Ok(Some(0));
        }
        let start = byte_offset(value, before);
        let found = memmem::find(&value.as_bytes()[start..], needles.at(row).as_bytes());
        Ok(Some(found.map_or(0, |at| (before + value[start..start + at].chars().count()) as i32 + 1)))
    })
}

fn measures() -> Vec<ScalarFunction> {
    vec![
        function(
            &["stringJaccardIndex", "stringJaccardIndexUTF8"],
            STRING,
            "How many different characters two texts have in common, of all that either has.",
            ("stringJaccardIndex('clickhouse', 'mouse')", "0.4"),
            vec![strict([TEXT, TEXT], Type::Float8, |_, a, n, ty| {
                let (left, right) = (text(a, 0)?, text(a, 1)?);
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let (left, right): (HashSet<_>, HashSet<_>) =
                        (left.at(row).chars().collect(), right.at(row).chars().collect());
                    Ok(Some(left.intersection(&right).count() as f64 / left.union(&right).count() as f64))
                })
            })],
        ),
        function(
            &["stringBytesUniq"],
            STRING,
            "How many different bytes the text has.",
            ("stringBytesUniq('Hello')", "4"),
            vec![strict([TEXT], Type::Int4, |_, a, n, ty| {
                let texts = text(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    Ok(Some(counts(texts.at(row)).iter().filter(|count| **count > 0).count() as i32))
                })
            })],
        ),
        function(
            &["stringBytesEntropy"],
            STRING,
            "The entropy of the text's bytes, in bits.",
            ("stringBytesEntropy('Hello')", "1.9219280948873623"),
            vec![strict([TEXT], Type::Float8, |_, a, n, ty| {
                let texts = text(a, 0)?;
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let length = texts.at(row).len() as f64;
                    let parts = counts(texts.at(row)).into_iter().filter(|count| *count > 0);
                    let entropy = parts.map(|count| f64::from(count) / length).map(|p| p * p.log2());
                    Ok(Some(entropy.fold(0.0, |sum, part| sum - part)))
                })
            })],
        ),
        function(
            &["firstLine"],
            STRING,
            "The text up to its first end of a line.",
            ("firstLine(E'a\\nb')", "a"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                slice_rows(a, n, ty, |_, value| Ok(Some(0..value.find(['\n', '\r']).unwrap_or(value.len()))))
            })],
        ),
        function(
            &["isValidUTF8"],
            STRING,
            "Whether the text is UTF-8, as all texts are.",
            ("isValidUTF8('é')", "t"),
            vec![strict([TEXT], Type::Bool, |_, a, n, ty| bool_rows(a, n, ty, |_| Ok(Some(true))))],
        ),
        function(
            &["isValidASCII", "isASCII"],
            STRING,
            "Whether the text has only characters of ASCII.",
            ("isValidASCII('é')", "f"),
            vec![strict([TEXT], Type::Bool, |_, a, n, ty| {
                let texts = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(texts.at(row).is_ascii())))
            })],
        ),
    ]
}

/// How often each byte is in the text.
fn counts(text: &str) -> [u32; 256] {
    let mut counts = [0; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    counts
}

fn encodings() -> Vec<ScalarFunction> {
    let encoded =
        |names, doc, example, kernel| function(names, STRING, doc, example, vec![strict([TEXT], Type::Text, kernel)]);
    vec![
        encoded(
            &["base32Encode"],
            "The text's bytes in Base32.",
            ("base32Encode('abc')", "MFRGG==="),
            |_, a, n, ty| written(a, n, ty, to_base32),
        ),
        encoded(
            &["base32Decode"],
            "The text that is written in Base32.",
            ("base32Decode('MFRGG===')", "abc"),
            |_, a, n, ty| decode_text(a, n, ty, "Base32", from_base32),
        ),
        encoded(
            &["tryBase32Decode"],
            "The text that is written in Base32; empty if it is none.",
            ("tryBase32Decode('?')", ""),
            |_, a, n, ty| decode_text(a, n, ty, "Base32", |s| Some(from_base32(s).unwrap_or_default())),
        ),
        encoded(&["base58Encode"], "The text's bytes in Base58.", ("base58Encode('abc')", "ZiCa"), |_, a, n, ty| {
            written(a, n, ty, to_base58)
        }),
        encoded(
            &["base58Decode"],
            "The text that is written in Base58.",
            ("base58Decode('ZiCa')", "abc"),
            |_, a, n, ty| decode_text(a, n, ty, "Base58", from_base58),
        ),
        encoded(
            &["tryBase58Decode"],
            "The text that is written in Base58; empty if it is none.",
            ("tryBase58Decode('0')", ""),
            |_, a, n, ty| decode_text(a, n, ty, "Base58", |s| Some(from_base58(s).unwrap_or_default())),
        ),
        encoded(
            &["base64URLEncode"],
            "The text's bytes in Base64 for addresses, without padding.",
            ("base64URLEncode('a?>')", "YT8-"),
            |_, a, n, ty| written(a, n, ty, |bytes| URL.encode(bytes)),
        ),
        encoded(
            &["base64URLDecode"],
            "The text that is written in Base64 for addresses.",
            ("base64URLDecode('YT8-')", "a?>"),
            |_, a, n, ty| decode_text(a, n, ty, "Base64", |s| URL.decode(s).ok()),
        ),
        encoded(
            &["tryBase64URLDecode"],
            "The text that is written in Base64 for addresses; empty if it is none.",
            ("tryBase64URLDecode('?')", ""),
            |_, a, n, ty| decode_text(a, n, ty, "Base64", |s| Some(URL.decode(s).unwrap_or_default())),
        ),
        encoded(
            &["encodeXMLComponent"],
            "The text with the characters that XML gives a meaning as entities.",
            ("encodeXMLComponent('<a>')", "&lt;a&gt;"),
            |_, a, n, ty| {
                let texts = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    for c in texts.at(row).chars() {
                        match ENTITIES.iter().find(|(_, plain)| *plain == c) {
                            Some((name, _)) => out.extend(["&", name, ";"]),
                            None => out.push(c),
                        }
                    }
                    Ok(true)
                })
            },
        ),
        encoded(
            &["decodeXMLComponent"],
            "The text with XML's entities, and characters by number, as the characters that they stand for.",
            ("decodeXMLComponent('&lt;&#97;&#x62;&gt;')", "<ab>"),
            decode_xml,
        ),
    ]
}

fn written(args: &[Datum], rows: usize, types: &Types<'_>, encode: fn(&[u8]) -> String) -> Result<Datum> {
    let texts = text(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        out.push_str(&encode(texts.at(row).as_bytes()));
        Ok(true)
    })
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn to_base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let bits = (0..5).fold(0_u64, |bits, at| bits << 8 | u64::from(group.get(at).copied().unwrap_or(0)));
        let digits = (group.len() * 8).div_ceil(5);
        out.extend((0..digits).map(|at| char::from(BASE32[(bits >> (35 - 5 * at) & 31) as usize])));
        out.extend(std::iter::repeat_n('=', 8 - digits));
    }
    out
}

/// `None` if the text is no Base32; letters may be small.
fn from_base32(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(8) || text.len() - digits.len() > 6 || matches!(digits.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::with_capacity(digits.len() * 5 / 8));
    for digit in digits.bytes().map(|digit| digit.to_ascii_uppercase()) {
        bits = bits << 5 | BASE32.iter().position(|known| *known == digit)? as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The number that digits of one base are, in digits of another, the last first; zeros at the start are kept apart.
fn rebase(digits: impl Iterator<Item = u32>, from: u32, to: u32) -> Vec<u32> {
    let mut out: Vec<u32> = Vec::new();
    for digit in digits {
        let mut carry = digit;
        for place in &mut out {
            carry += *place * from;
            *place = carry % to;
            carry /= to;
        }
        while carry > 0 {
            out.push(carry % to);
            carry /= to;
        }
    }
    out
}

fn to_base58(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = rebase(bytes.iter().map(|byte| u32::from(*byte)), 256, 58);
    let digits = digits.iter().rev().map(|digit| char::from(BASE58[*digit as usize]));
    std::iter::repeat_n('1', zeros).chain(digits).collect()
}

/// `None` if the text is no Base58.
fn from_base58(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| BASE58.iter().position(|known| *known == c).map(|at| at as u32);
    let digits = text.bytes().map(digit).collect::<Option<Vec<u32>>>()?;
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let bytes = rebase(digits.into_iter(), 58, 256);
    Some(std::iter::repeat_n(0, zeros).chain(bytes.into_iter().rev().map(|byte| byte as u8)).collect())
}

/// XML's entities: name and character.
const ENTITIES: [(&str, char); 5] = [("lt", '<'), ("gt", '>'), ("amp", '&'), ("quot", '"'), ("apos", '\'')];

fn decode_xml(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        let mut rest = texts.at(row);
        while let Some(at) = rest.find('&') {
            out.push_str(&rest[..at]);
            let entity = rest[at + 1..].split_once(';').and_then(|(name, after)| Some((entity(name)?, after)));
            match entity {
                Some((c, after)) => {
                    out.push(c);
                    rest = after;
                }
                None => {
                    out.push('&');
                    rest = &rest[at + 1..];
                }
            }
        }
        out.push_str(rest);
        if out.contains('\0') {
            return Err(invalid_parameter("a text has no zero byte"));
        }
        Ok(true)
    })
}

/// What an entity stands for; `None` if there is no such.
fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?);
    }
    ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, plain)| *plain)
}
