//! `RESET OFFSETS TO …` and `REBUILD FROM …` in ALTER TABLE. Places may be written as Flink's startup modes, too.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::error::{ErrorKind, Result};
use crate::statement::{ReplayAction, ReplayFrom};

/// The action, if it is one of these.
pub(super) fn action(c: &mut Cursor<'_>) -> Result<Option<ReplayAction>> {
    if c.words("RESET OFFSETS") {
        c.expect_words("TO")?;
        return Ok(Some(ReplayAction::Reset(from(c)?)));
    }
    if c.words("REBUILD CANCEL") {
        return Ok(Some(ReplayAction::CancelRebuild));
    }
    if c.words("REBUILD") {
        c.expect_words("FROM")?;
        return Ok(Some(ReplayAction::Rebuild(from(c)?)));
    }
    Ok(None)
}

fn from(c: &mut Cursor<'_>) -> Result<ReplayFrom> {
    match c.one_of(&["EARLIEST", "LATEST", "TIMESTAMPTZ", "TIMESTAMP"]) {
        Some("EARLIEST") => return Ok(ReplayFrom::Earliest),
        Some("LATEST") => return Ok(ReplayFrom::Latest),
        Some(_) => {
            c.words("WITH TIME ZONE");
            return Ok(ReplayFrom::Timestamp(c.string()?));
        }
        None => {}
    }
    if c.is_string() {
        let error = c.unexpected();
        return match c.string()?.as_str() {
            "earliest-offset" => Ok(ReplayFrom::Earliest),
            "latest-offset" => Ok(ReplayFrom::Latest),
            _ => Err(error.with_hint("Say EARLIEST, LATEST, TIMESTAMP '…' or (partition => offset, …).")),
        };
    }
    c.expect(&Token::LParen)?;
    let mut offsets: Vec<(i32, i64)> = Vec::new();
    for (partition, offset) in c.comma_separated(offset)? {
        if offsets.iter().any(|(known, _)| *known == partition) {
            return Err(c.error(ErrorKind::Syntax, format!("partition {partition} is named twice")));
        }
        offsets.push((partition, offset));
    }
    c.expect(&Token::RParen)?;
    Ok(ReplayFrom::Offsets(offsets))
}

/// `partition => offset`.
fn offset(c: &mut Cursor<'_>) -> Result<(i32, i64)> {
    let partition = number(c)?;
    c.expect(&Token::RArrow)?;
    Ok((partition, number(c)?))
}

/// A whole number that is not negative.
fn number<T: std::str::FromStr>(c: &mut Cursor<'_>) -> Result<T> {
    let number = match c.peek() {
        Token::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| c.unexpected())?;
    c.advance();
    Ok(number)
}
