//! COPY: PostgreSQL's grammar, with the options of today (`WITH (FORMAT csv, HEADER)`) and those of before 9.0 (`CSV HEADER DELIMITER ';'`).

use sqlparser::tokenizer::Token;

use super::ast::{Ast, Copy, CopyTarget};
use super::cursor::Cursor;
use super::table::option_value;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{CopyFormat, CopyHeader, CopyOptions};

/// Options as they are given; what is absent depends on the format.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    header: CopyHeader,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Vec<String>,
    force_not_null: Vec<String>,
    force_null: Vec<String>,
    seen: Vec<String>,
}

/// After COPY.
pub(super) fn copy(c: &mut Cursor<'_>) -> Result<Ast> {
    let mut given = Given::default();
    if c.words("BINARY") {
        given.format = Some(CopyFormat::Binary);
    }
    let target = if c.token(&Token::LParen) {
        let query = c.query()?;
        c.expect(&Token::RParen)?;
        CopyTarget::Query(query)
    } else {
        let at = c.position();
        let name = c.object_name()?;
        let columns = if *c.peek() == Token::LParen { c.names()? } else { Vec::new() };
        CopyTarget::Table { name, at, columns }
    };
    let to = match c.one_of(&["TO", "FROM"]) {
        Some("TO") => true,
        Some(_) if matches!(target, CopyTarget::Table { .. }) => false,
        _ => return Err(c.unexpected()),
    };
    let file = if c.words(if to { "STDOUT" } else { "STDIN" }) {
        None
    } else if c.is_word("PROGRAM") {
        return Err(c.unsupported("COPY … PROGRAM"));
    } else if c.is_string() {
        Some(c.string()?)
    } else {
        return Err(c.unexpected());
    };
    let delimiters = c.words("DELIMITERS") || c.words("USING DELIMITERS");
    if delimiters {
        given.delimiter = Some(c.string()?);
    }
    c.words("WITH");
    if c.token(&Token::LParen) {
        loop {
            option(c, &mut given)?;
            if !c.token(&Token::Comma) {
                break;
            }
        }
        c.expect(&Token::RParen)?;
    } else {
        while !c.at_end() && !c.is_word("WHERE") {
            old_option(c, &mut given)?;
        }
    }
    if c.is_word("WHERE") {
        return Err(c
            .unsupported("COPY … WHERE")
            .with_hint("Copy into a table first, or use INSERT … SELECT … FROM read_csv('…') WHERE …."));
    }
    c.expect_end()?;
    let options = complete(given, to, file.as_deref())?;
    Ok(Ast::Copy(Box::new(Copy { target, to, file, options })))
}

fn format(at: usize, name: &str) -> Result<CopyFormat> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "text" => CopyFormat::Text,
        "csv" => CopyFormat::Csv,
        "binary" => CopyFormat::Binary,
        "parquet" => CopyFormat::Parquet,
        "json" | "jsonl" | "ndjson" | "jsoneachrow" => CopyFormat::Json,
        _ => {
            let message = format!("COPY format \"{name}\" not recognized");
            return Err(Error::new(ErrorKind::InvalidParameter, message).at(at));
        }
    })
}

fn boolean(c: &mut Cursor<'_>) -> Result<bool> {
    if matches!(c.peek(), Token::Comma | Token::RParen | Token::EOF) {
        return Ok(true);
    }
    let at = c.position();
    let value = option_value(c)?;
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(Error::new(ErrorKind::InvalidParameter, "a Boolean value is required").at(at)),
    }
}

fn header(c: &mut Cursor<'_>) -> Result<CopyHeader> {
    if c.words("MATCH") {
        return Ok(CopyHeader::Match);
    }
    let at = c.position();
    match boolean(c) {
        Ok(true) => Ok(CopyHeader::Yes),
        Ok(false) => Ok(CopyHeader::No),
        Err(_) => Err(Error::new(ErrorKind::Syntax, "header requires a Boolean value or \"match\"").at(at)),
    }
}

/// `*` (as `*`) or `(a, b)`.
fn column_list(c: &mut Cursor<'_>) -> Result<Vec<String>> {
    if c.token(&Token::Mul) {
        return Ok(vec!["*".to_string()]);
    }
    Ok(c.names()?.into_iter().map(|name| name.name).collect())
}

/// The same as it was written before 9.0, without parentheses.
fn bare_list(c: &mut Cursor<'_>) -> Result<Vec<String>> {
    match *c.peek() {
        Token::Mul => column_list(c),
        _ => c.comma_separated(Cursor::ident),
    }
}

fn option(c: &mut Cursor<'_>, given: &mut Given) -> Result<()> {
    let at = c.position();
    let name = c.ident()?.to_ascii_lowercase();
    if given.seen.contains(&name) {
        return Err(Error::new(ErrorKind::Syntax, "conflicting or redundant options").at(at));
    }
    given.seen.push(name.clone());
    match name.as_str() {
        "format" => {
            let at = c.position();
            let name = option_value(c)?;
            given.format = Some(format(at, name.trim_matches('"'))?);
        }
        "freeze" => {
            boolean(c)?;
        }
        "header" => given.header = header(c)?,
        "delimiter" => given.delimiter = Some(c.string()?),
        "null" => given.null = Some(c.string()?),
        "quote" => given.quote = Some(c.string()?),
        "escape" => given.escape = Some(c.string()?),
        "encoding" => encoding(c)?,
        "force_quote" => given.force_quote = column_list(c)?,
        "force_null" => given.force_null = column_list(c)?,
        "force_not_null" => given.force_not_null = column_list(c)?,
        _ => return Err(Error::new(ErrorKind::Syntax, format!("option \"{name}\" not recognized")).at(at)),
    }
    Ok(())
}

fn old_option(c: &mut Cursor<'_>, given: &mut Given) -> Result<()> {
    if c.words("BINARY") {
        given.format = Some(CopyFormat::Binary);
    } else if c.words("CSV") {
        given.format = Some(CopyFormat::Csv);
    } else if c.words("FREEZE") {
    } else if c.words("HEADER") {
        given.header = CopyHeader::Yes;
    } else if c.words("DELIMITER") {
        c.words("AS");
        given.delimiter = Some(c.string()?);
    } else if c.words("NULL") {
        c.words("AS");
        given.null = Some(c.string()?);
    } else if c.words("QUOTE") {
        c.words("AS");
        given.quote = Some(c.string()?);
    } else if c.words("ESCAPE") {
        c.words("AS");
        given.escape = Some(c.string()?);
    } else if c.words("ENCODING") {
        encoding(c)?;
    } else if c.words("FORCE QUOTE") {
        given.force_quote = bare_list(c)?;
    } else if c.words("FORCE NOT NULL") {
        given.force_not_null = bare_list(c)?;
    } else if c.words("FORCE NULL") {
        given.force_null = bare_list(c)?;
    } else {
        return Err(c.unexpected());
    }
    Ok(())
}

fn encoding(c: &mut Cursor<'_>) -> Result<()> {
    let at = c.position();
    let name = option_value(c)?;
    match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => Err(Error::new(ErrorKind::Unsupported, format!("encoding \"{name}\" is not supported"))
            .with_hint("Weir reads and writes UTF8.")
            .at(at)),
    }
}

fn complete(given: Given, to: bool, file: Option<&str>) -> Result<CopyOptions> {
    let format = given.format.unwrap_or_else(|| format_of_file(file));
    let csv = format == CopyFormat::Csv;
    let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidParameter, message));
    let refused = |message: &str| Err(Error::new(ErrorKind::Unsupported, message));
    if format == CopyFormat::Binary {
        for (name, given) in [("DELIMITER", given.delimiter.is_some()), ("NULL", given.null.is_some())] {
            if given {
                return Err(Error::new(ErrorKind::Syntax, format!("cannot specify {name} in BINARY mode")));
            }
        }
    }
    if given.header != CopyHeader::No && matches!(format, CopyFormat::Binary | CopyFormat::Parquet | CopyFormat::Json) {
        return refused("cannot specify HEADER in this COPY format");
    }
    if !csv && given.quote.is_some() {
        return refused("COPY quote available only in CSV mode");
    }
    if !csv && given.escape.is_some() {
        return refused("COPY escape available only in CSV mode");
    }
    if !given.force_quote.is_empty() && !csv {
        return refused("COPY force quote available only in CSV mode");
    }
    if !given.force_quote.is_empty() && !to {
        return refused("COPY force quote only available using COPY TO");
    }
    for (name, list) in [("not null", &given.force_not_null), ("null", &given.force_null)] {
        if !list.is_empty() && !csv {
            return refused(&format!("COPY force {name} available only in CSV mode"));
        }
        if !list.is_empty() && to {
            return refused(&format!("COPY force {name} only available using COPY FROM"));
        }
    }
    if given.header == CopyHeader::Match && to {
        return invalid("cannot use \"match\" with HEADER in COPY TO");
    }
    if file.is_none() && matches!(format, CopyFormat::Parquet | CopyFormat::Json) {
        return refused("COPY in this format needs a file");
    }
    let one_byte = |text: Option<String>, default: u8, name: &str| match text.as_deref().map(str::as_bytes) {
        None => Ok(default),
        Some(&[byte]) => Ok(byte),
        Some(_) => Err(Error::new(ErrorKind::Unsupported, format!("COPY {name} must be a single one-byte character"))),
    };
    let delimiter = one_byte(given.delimiter, if csv { b',' } else { b'\t' }, "delimiter")?;
    let quote = one_byte(given.quote, b'"', "quote")?;
    let escape = one_byte(given.escape, quote, "escape")?;
    let null = given.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_string() });
    if matches!(delimiter, b'\n' | b'\r') {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if null.contains(['\n', '\r']) {
        return invalid("COPY null representation cannot use newline or carriage return");
    }
    if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter) {
        return Err(Error::new(
            ErrorKind::InvalidParameter,
            format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)),
        ));
    }
    if csv && delimiter == quote {
        return invalid("COPY delimiter and quote must be different");
    }
    if null.as_bytes().contains(&delimiter) {
        return invalid("COPY delimiter must not appear in the NULL specification");
    }
    let Given { header, force_quote, force_not_null, force_null, .. } = given;
    Ok(CopyOptions { format, header, delimiter, null, quote, escape, force_quote, force_not_null, force_null })
}

/// A file's name says what it holds, compressed or not; of names that say nothing PostgreSQL's default holds.
fn format_of_file(file: Option<&str>) -> CopyFormat {
    let name = file.unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("parquet") => CopyFormat::Parquet,
        Some("json" | "jsonl" | "ndjson") => CopyFormat::Json,
        Some("csv") => CopyFormat::Csv,
        _ => CopyFormat::Text,
    }
}
