//! Text functions that see one text as a whole: length, case, padding, replacing, repeating.
//!
//! Lengths and positions count characters; each kernel takes a shorter way for ASCII. Case is mapped character by character, as Postgres
//! does: `ß` has no upper case of its own and stays.

use arrow::array::{BinaryViewArray, StringViewArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::Param;

use super::declare::{BYTEA, INT4, INT8, STRING, TEXT, function, strict};
use super::rows::{
    bool_rows, bytes_rows, column, invalid_parameter, primitive, primitive_rows, slice_rows, text, text_rows,
};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

/// A text longer than this is refused (Postgres's limit of an allocation).
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 30;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["||"],
            STRING,
            "The first text followed by the second.",
            ("'a' || 'b'", "ab"),
            vec![
                strict([TEXT, TEXT], Type::Text, |_, a, n, ty| {
                    let (left, right) = (text(a, 0)?, text(a, 1)?);
                    text_rows(a, n, ty, |row, out| {
                        out.push_str(left.at(row));
                        out.push_str(right.at(row));
                        Ok(true)
                    })
                }),
                strict([TEXT, Param::AnyNonArray], Type::Text, concatenate),
                strict([Param::AnyNonArray, TEXT], Type::Text, concatenate),
                strict([BYTEA, BYTEA], Type::Bytea, |_, a, n, ty| {
                    let (left, right) = (column::<BinaryViewArray>(a, 0)?, column::<BinaryViewArray>(a, 1)?);
                    bytes_rows(a, n, ty, |row, out| {
                        out.extend_from_slice(left.at(row));
                        out.extend_from_slice(right.at(row));
                        Ok(true)
                    })
                }),
            ],
        ),
        function(
            &["length"],
            STRING,
            "How many characters the text has, or bytes the bytea.",
            ("length('größe')", "5"),
            vec![strict([TEXT], Type::Int4, length), strict([BYTEA], Type::Int4, bytea_length)],
        ),
        function(
            &["char_length", "character_length", "lengthUTF8", "len"],
            STRING,
            "How many characters the text has.",
            ("char_length('größe')", "5"),
            vec![strict([TEXT], Type::Int4, length)],
        ),
        function(
            &["octet_length", "strlen"],
            STRING,
            "How many bytes the text has in UTF-8, or the bytea.",
            ("octet_length('größe')", "7"),
            vec![strict([TEXT], Type::Int4, octet_length), strict([BYTEA], Type::Int4, bytea_length)],
        ),
        function(
            &["bit_length"],
            STRING,
            "How many bits the text has in UTF-8, or the bytea.",
            ("bit_length('abc')", "24"),
            vec![
                strict([TEXT], Type::Int4, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    primitive_rows::<Int32Type>(a, n, ty, |row| Ok(Some(texts.at(row).len() as i32 * 8)))
                }),
                strict([BYTEA], Type::Int4, |_, a, n, ty| {
                    let bytes = column::<BinaryViewArray>(a, 0)?;
                    primitive_rows::<Int32Type>(a, n, ty, |row| Ok(Some(bytes.at(row).len() as i32 * 8)))
                }),
            ],
        ),
        function(
            &["lower", "lcase", "lowerUTF8"],
            STRING,
            "The text in lower case.",
            ("lower('TOM')", "tom"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| map_text(a, n, ty, lower))],
        ),
        function(
            &["upper", "ucase", "upperUTF8"],
            STRING,
            "The text in upper case.",
            ("upper('tom')", "TOM"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| map_text(a, n, ty, upper))],
        ),
        function(
            &["initcap", "initcapUTF8"],
            STRING,
            "The text with the first letter of each word in upper case and the rest in lower case.",
            ("initcap('hi THOMAS')", "Hi Thomas"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| map_text(a, n, ty, initcap))],
        ),
        function(
            &["lpad", "leftPad", "leftPadUTF8"],
            STRING,
            "The text filled up on the left to a length with another text (a space by default), or cut to it.",
            ("lpad('hi', 5, 'xy')", "xyxhi"),
            vec![strict([TEXT, INT4, TEXT], Type::Text, |_, a, n, ty| pad(a, n, ty, true)).optional(1)],
        ),
        function(
            &["rpad", "rightPad", "rightPadUTF8"],
            STRING,
            "The text filled up on the right to a length with another text (a space by default), or cut to it.",
            ("rpad('hi', 5, 'xy')", "hixyx"),
            vec![strict([TEXT, INT4, TEXT], Type::Text, |_, a, n, ty| pad(a, n, ty, false)).optional(1)],
        ),
        function(
            &["btrim", "trim", "trimBoth"],
            STRING,
            "The text without the given characters (spaces by default) at both ends.",
            ("btrim('xyxtrimyyx', 'xyz')", "trim"),
            vec![
                strict([TEXT, TEXT], Type::Text, |_, a, n, ty| trim(a, n, ty, true, true)).optional(1),
                strict([BYTEA, BYTEA], Type::Bytea, trim_bytes),
            ],
        ),
        function(
            &["ltrim", "trimLeft"],
            STRING,
            "The text without the given characters (spaces by default) at its start.",
            ("ltrim('zzzytest', 'xyz')", "test"),
            vec![strict([TEXT, TEXT], Type::Text, |_, a, n, ty| trim(a, n, ty, true, false)).optional(1)],
        ),
        function(
            &["rtrim", "trimRight"],
            STRING,
            "The text without the given characters (spaces by default) at its end.",
            ("rtrim('testxxzx', 'xyz')", "test"),
            vec![strict([TEXT, TEXT], Type::Text, |_, a, n, ty| trim(a, n, ty, false, true)).optional(1)],
        ),
        function(
            &["replace", "replaceAll"],
            STRING,
            "The text with each occurrence of one text replaced by another.",
            ("replace('abcdefabcdef', 'cd', 'XX')", "abXXefabXXef"),
            vec![strict([TEXT, TEXT, TEXT], Type::Text, |_, a, n, ty| replace(a, n, ty, usize::MAX))],
        ),
        function(
            &["replaceOne"],
            STRING,
            "The text with the first occurrence of one text replaced by another.",
            ("replaceOne('aXbX', 'X', '-')", "a-bX"),
            vec![strict([TEXT, TEXT, TEXT], Type::Text, |_, a, n, ty| replace(a, n, ty, 1))],
        ),
        function(
            &["translate", "translateUTF8"],
            STRING,
            "The text with each character of a set replaced by the one at the same place in another set, or left out if there is none.",
            ("translate('12345', '143', 'ax')", "a2x5"),
            vec![strict([TEXT, TEXT, TEXT], Type::Text, translate)],
        ),
        function(
            &["repeat"],
            STRING,
            "The text a number of times over.",
            ("repeat('Pg', 4)", "PgPgPgPg"),
            vec![strict([TEXT, INT4], Type::Text, repeat)],
        ),
        function(
            &["reverse", "reverseUTF8"],
            STRING,
            "The characters in reverse order.",
            ("reverse('abcde')", "edcba"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| map_text(a, n, ty, |s, out| out.extend(s.chars().rev())))],
        ),
        function(
            &["empty"],
            STRING,
            "Whether the text has no characters.",
            ("empty('')", "t"),
            vec![strict([TEXT], Type::Bool, |_, a, n, ty| {
                let texts = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(texts.at(row).is_empty())))
            })],
        ),
        function(
            &["notEmpty"],
            STRING,
            "Whether the text has any characters.",
            ("notEmpty('a')", "t"),
            vec![strict([TEXT], Type::Bool, |_, a, n, ty| {
                let texts = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(!texts.at(row).is_empty())))
            })],
        ),
        function(
            &["ascii"],
            STRING,
            "The code point of the first character; 0 for an empty text.",
            ("ascii('x')", "120"),
            vec![strict([TEXT], Type::Int4, |_, a, n, ty| {
                let texts = text(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    Ok(Some(texts.at(row).chars().next().map_or(0, |c| c as i32)))
                })
            })],
        ),
        function(
            &["chr"],
            STRING,
            "The character with this code point.",
            ("chr(65)", "A"),
            vec![strict([INT4], Type::Text, chr)],
        ),
        function(
            &["to_hex"],
            STRING,
            "The number in hexadecimal; a negative one as two's complement.",
            ("to_hex(2147483647)", "7fffffff"),
            vec![
                strict([INT4], Type::Text, |_, a, n, ty| {
                    let numbers = primitive::<Int32Type>(a, 0)?;
                    text_rows(a, n, ty, |row, out| write(out, format_args!("{:x}", numbers.at(row))))
                }),
                strict([INT8], Type::Text, |_, a, n, ty| {
                    let numbers = primitive::<Int64Type>(a, 0)?;
                    text_rows(a, n, ty, |row, out| write(out, format_args!("{:x}", numbers.at(row))))
                }),
            ],
        ),
    ]
}

/// Writes into a row's buffer, which cannot fail.
pub(crate) fn write(out: &mut String, args: std::fmt::Arguments<'_>) -> Result<bool> {
    let _ = std::fmt::Write::write_fmt(out, args);
    Ok(true)
}

/// A strict function of one text that cannot fail.
pub(crate) fn map_text(args: &[Datum], rows: usize, ty: &Type, body: fn(&str, &mut String)) -> Result<Datum> {
    let texts = text(args, 0)?;
    text_rows(args, rows, ty, |row, out| {
        body(texts.at(row), out);
        Ok(true)
    })
}

/// The error for a result over Postgres's limit.
pub(crate) fn too_long() -> Error {
    Error::new(ErrorKind::ProgramLimit, "requested length too large")
}

fn length(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    // Blanks at the end of character(n) do not count.
    let padded = matches!(ty.args.first(), Some(Type::Bpchar(_)));
    primitive_rows::<Int32Type>(args, rows, ty, |row| {
        let value = texts.at(row);
        Ok(Some(char_count(if padded { value.trim_end_matches(' ') } else { value }) as i32))
    })
}

/// How many characters a text has: bytes that do not continue one.
pub(crate) fn char_count(text: &str) -> usize {
    text.as_bytes().iter().filter(|&&byte| (byte as i8) >= -0x40).count()
}

/// The bytes of a text. Of a column of which nothing else is asked a scan may have read just these (see `exec::operators::reads`).
fn octet_length(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    if args[0].array().data_type() == &DataType::Int32 {
        return Ok(args[0].clone());
    }
    let texts = text(args, 0)?;
    primitive_rows::<Int32Type>(args, rows, ty, |row| Ok(Some(texts.at(row).len() as i32)))
}

fn bytea_length(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let bytes = column::<BinaryViewArray>(args, 0)?;
    primitive_rows::<Int32Type>(args, rows, ty, |row| Ok(Some(bytes.at(row).len() as i32)))
}

/// A character's own lower case; itself where that would be several characters.
pub(crate) fn lower_char(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// A character's own upper case; itself where that would be several characters.
pub(crate) fn upper_char(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

pub(crate) fn lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.extend(text.chars().map(lower_char));
    }
}

fn upper(text: &str, out: &mut String) {
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_uppercase();
    } else {
        out.extend(text.chars().map(upper_char));
    }
}

pub(crate) fn initcap(text: &str, out: &mut String) {
    let mut inside_word = false;
    for c in text.chars() {
        out.push(if inside_word { lower_char(c) } else { upper_char(c) });
        inside_word = c.is_alphanumeric();
    }
}

fn pad(args: &[Datum], rows: usize, ty: &Type, left: bool) -> Result<Datum> {
    let (texts, lengths) = (text(args, 0)?, primitive::<Int32Type>(args, 1)?);
    let fills = if args.len() > 2 { Some(text(args, 2)?) } else { None };
    text_rows(args, rows, ty, |row, out| {
        let value = texts.at(row);
        let length = lengths.at(row).max(0) as usize;
        let fill = fills.map_or(" ", |fills| fills.at(row));
        let has = char_count(value);
        if has >= length {
            out.extend(value.chars().take(length));
            return Ok(true);
        }
        if length > TEXT_BYTES_MAX / 4 {
            return Err(too_long());
        }
        let missing = if fill.is_empty() { 0 } else { length - has };
        if !left {
            out.push_str(value);
        }
        out.extend(fill.chars().cycle().take(missing));
        if left {
            out.push_str(value);
        }
        Ok(true)
    })
}

fn trim(args: &[Datum], rows: usize, ty: &Type, start: bool, end: bool) -> Result<Datum> {
    let sets = if args.len() > 1 { Some(text(args, 1)?) } else { None };
    slice_rows(args, rows, ty, |row, value| {
        let set = sets.map_or(" ", |sets| sets.at(row));
        let is_in_set = |c: char| set.contains(c);
        let mut from = 0;
        if start {
            from = value.len() - value.trim_start_matches(is_in_set).len();
        }
        let mut to = value.len();
        if end {
            to = from + value[from..].trim_end_matches(is_in_set).len();
        }
        Ok(Some(from..to))
    })
}

fn trim_bytes(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (values, sets) = (column::<BinaryViewArray>(args, 0)?, column::<BinaryViewArray>(args, 1)?);
    bytes_rows(args, rows, ty, |row, out| {
        let (mut value, set) = (values.at(row), sets.at(row));
        while let [first, rest @ ..] = value
            && set.contains(first)
        {
            value = rest;
        }
        while let [rest @ .., last] = value
            && set.contains(last)
        {
            value = rest;
        }
        out.extend_from_slice(value);
        Ok(true)
    })
}

fn replace(args: &[Datum], rows: usize, ty: &Type, limit: usize) -> Result<Datum> {
    let (texts, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let finder = from.constant().map(memchr::memmem::Finder::new);
    text_rows(args, rows, ty, |row, out| {
        let (value, needle, replacement) = (texts.at(row), from.at(row), to.at(row));
        if needle.is_empty() {
            out.push_str(value);
            return Ok(true);
        }
        let mut at = 0;
        for _ in 0..limit {
            let rest = &value.as_bytes()[at..];
            let found = match &finder {
                Some(finder) => finder.find(rest),
                None => memchr::memmem::find(rest, needle.as_bytes()),
            };
            let Some(found) = found else { break };
            out.push_str(&value[at..at + found]);
            out.push_str(replacement);
            at += found + needle.len();
            if out.len() > TEXT_BYTES_MAX {
                return Err(too_long());
            }
        }
        out.push_str(&value[at..]);
        Ok(true)
    })
}

fn translate(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (texts, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let table = |from: &str, to: &str| {
        let mut targets = to.chars();
        let mut pairs: Vec<(char, Option<char>)> = Vec::new();
        for c in from.chars() {
            let target = targets.next();
            if pairs.iter().all(|(known, _)| *known != c) {
                pairs.push((c, target));
            }
        }
        pairs
    };
    let constant = from.constant().zip(to.constant()).map(|(from, to)| table(from, to));
    text_rows(args, rows, ty, |row, out| {
        let own;
        let pairs = match &constant {
            Some(pairs) => pairs,
            None => {
                own = table(from.at(row), to.at(row));
                &own
            }
        };
        out.extend(texts.at(row).chars().filter_map(|c| match pairs.iter().find(|(known, _)| *known == c) {
            Some((_, target)) => *target,
            None => Some(c),
        }));
        Ok(true)
    })
}

fn repeat(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (texts, counts) = (text(args, 0)?, primitive::<Int32Type>(args, 1)?);
    text_rows(args, rows, ty, |row, out| {
        let (value, count) = (texts.at(row), counts.at(row).max(0) as usize);
        if value.len().saturating_mul(count) > TEXT_BYTES_MAX {
            return Err(too_long());
        }
        out.reserve(value.len() * count);
        for _ in 0..count {
            out.push_str(value);
        }
        Ok(true)
    })
}

fn chr(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let codes = primitive::<Int32Type>(args, 0)?;
    text_rows(args, rows, ty, |row, out| {
        let code = codes.at(row);
        if code < 0 {
            return Err(invalid_parameter("character number must be positive"));
        }
        if code == 0 {
            return Err(Error::new(ErrorKind::ProgramLimit, "null character not permitted"));
        }
        let Some(c) = char::from_u32(code as u32) else {
            let what = if code > 0x10ffff { "too large" } else { "not valid" };
            let message = format!("requested character {what} for encoding: {code}");
            return Err(Error::new(ErrorKind::ProgramLimit, message));
        };
        out.push(c);
        Ok(true)
    })
}

/// The texts of an argument, for kernels elsewhere that look at the array itself.
pub(crate) type Texts = StringViewArray;

/// A text and a value of any other type, as its text.
fn concatenate(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts: Vec<Datum> = args
        .iter()
        .zip(types.args)
        .map(|(arg, from)| crate::kernels::cast::cast(context, arg, from, &Type::Text, false, false))
        .collect::<Result<_>>()?;
    let (left, right) = (text(&texts, 0)?, text(&texts, 1)?);
    text_rows(&texts, rows, types, |row, out| {
        out.push_str(left.at(row));
        out.push_str(right.at(row));
        Ok(true)
    })
}
