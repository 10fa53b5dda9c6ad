//! CREATE SINK: `CREATE SINK name FROM relation | AS SELECT … INTO KAFKA (…) | INTO table`, and RisingWave's order of the same.

use sqlparser::tokenizer::Token;

use super::ast::{Ast, CreateSink, SinkSource};
use super::cursor::Cursor;
use super::table;
use crate::error::Result;
use crate::parse::names::fold;
use crate::statement::ObjectName;

/// After CREATE SINK.
pub(super) fn create_sink(c: &mut Cursor<'_>) -> Result<Ast> {
    let if_not_exists = c.words("IF NOT EXISTS");
    let name = c.object_name()?;
    let (mut options, mut table) = (Vec::new(), None);
    into(c, &mut options, &mut table)?;
    let source = if c.words("FROM") {
        let at = c.position();
        SinkSource::Relation(c.object_name()?, at)
    } else {
        c.expect_words("AS")?;
        let mark = c.mark();
        let query = c.query()?;
        SinkSource::Query { query, text: c.text_since(mark) }
    };
    into(c, &mut options, &mut table)?;
    if c.words("WITH") {
        c.expect(&Token::LParen)?;
        options.extend(c.comma_separated(table::option)?);
        c.expect(&Token::RParen)?;
    }
    // RisingWave's: what records say, and how.
    if c.words("FORMAT") {
        let mode = if c.ident()?.eq_ignore_ascii_case("upsert") { "upsert" } else { "append" };
        c.expect_words("ENCODE")?;
        let format = c.ident()?.to_ascii_lowercase();
        options.extend([("mode".to_string(), mode.to_string()), ("format".to_string(), format)]);
    }
    c.expect_end()?;
    Ok(Ast::CreateSink(Box::new(CreateSink { name, if_not_exists, source, table, options })))
}

/// INTO KAFKA (options), or INTO a table.
fn into(
    c: &mut Cursor<'_>,
    options: &mut Vec<(String, String)>,
    table: &mut Option<(ObjectName, usize)>,
) -> Result<()> {
    if c.is_words("INTO KAFKA") && *c.peek_nth(2) == Token::LParen {
        c.words("INTO KAFKA");
        options.push(("connector".to_string(), "kafka".to_string()));
        c.expect(&Token::LParen)?;
        options.extend(c.comma_separated(option)?);
        c.expect(&Token::RParen)?;
    } else if c.words("INTO") {
        c.words("TABLE");
        let at = c.position();
        *table = Some((c.object_name()?, at));
    }
    Ok(())
}

/// `name = value` or `name value`.
fn option(c: &mut Cursor<'_>) -> Result<(String, String)> {
    let word = match c.peek() {
        Token::Word(_) => !matches!(c.peek_nth(1), Token::Eq | Token::Period | Token::Comma | Token::RParen),
        _ => c.is_string() && !matches!(c.peek_nth(1), Token::Eq | Token::Comma | Token::RParen),
    };
    if !word {
        return table::option(c);
    }
    let name = if c.is_string() { c.string()? } else { c.rule(|p| p.parse_identifier()).map(|name| fold(&name))? };
    Ok((name.to_ascii_lowercase(), table::option_value(c)?))
}
