//! CREATE TABLE in PostgreSQL's, ClickHouse's and Flink's form: one grammar that takes the clauses of all three, in any order.

use sqlparser::ast::{Expr, FunctionArguments, Query, SetExpr};
use sqlparser::tokenizer::Token;

use super::ast::{Ast, Column, CreateTable, Layout, Name};
use super::cursor::{Cursor, is_word};
use super::index;
use super::names::fold;
use crate::collation::{Collation, collation_named};
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{OnCommit, Rollup, TtlRule};

/// A query, or with INTO the table that it fills.
pub(super) fn or_into(mut query: Box<Query>) -> Result<Ast> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(Ast::Query(query)) };
    let Some(into) = select.into.take() else { return Ok(Ast::Query(query)) };
    let parts = match into.targets.as_slice() {
        [Expr::Identifier(name)] => vec![name.clone()],
        [Expr::CompoundIdentifier(parts)] => parts.clone(),
        _ => return Err(Error::new(ErrorKind::Syntax, "SELECT … INTO takes the name of one table")),
    };
    let name = super::names::object_name(&parts.into())?;
    let table = CreateTable { temporary: into.temporary, source: Some(query), ..CreateTable::named(name) };
    Ok(Ast::CreateTable(Box::new(table)))
}

/// After CREATE [OR REPLACE] [TEMPORARY] TABLE.
pub(super) fn create_table(c: &mut Cursor<'_>, temporary: bool) -> Result<Ast> {
    let if_not_exists = c.words("IF NOT EXISTS");
    let name = c.object_name()?;
    if c.is_word("ON") && !c.is_word_at(1, "COMMIT") {
        return Err(c.unsupported("ON CLUSTER").with_hint("Weir runs on one machine."));
    }
    let mut table = CreateTable { temporary, if_not_exists, ..CreateTable::named(name) };
    if c.is_word("PARTITION") && c.is_word_at(1, "OF") {
        return Err(c
            .unsupported("PARTITION OF")
            .with_hint("Use PARTITION BY expression: partitions come by themselves."));
    }
    let parenthesised = c.token(&Token::LParen);
    if parenthesised {
        elements(c, &mut table)?;
    }
    layout(c, &mut table.layout)?;
    if c.words("AS") {
        if !matches!(c.peek(), Token::LParen) && !c.is_any(&["SELECT", "WITH", "VALUES", "TABLE"]) {
            return Err(c.unsupported("CREATE TABLE AS of anything but a query"));
        }
        table.source = Some(c.query()?);
        table.with_data = with_data(c);
    }
    c.expect_end()?;
    let untyped = table.columns.iter().find(|column| column.data_type.is_none());
    if let (Some(column), None) = (untyped, &table.source) {
        let message = format!("column \"{}\" has no type", column.name.name);
        return Err(Error::new(ErrorKind::Syntax, message).at(column.name.at));
    }
    if !parenthesised && table.source.is_none() {
        return Err(c.unexpected());
    }
    Ok(Ast::CreateTable(Box::new(table)))
}

/// `WITH [NO] DATA` at the end.
pub(super) fn with_data(c: &mut Cursor<'_>) -> bool {
    if c.words("WITH NO DATA") {
        return false;
    }
    c.words("WITH DATA");
    true
}

/// What stands between the parentheses.
fn elements(c: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    if c.token(&Token::RParen) {
        return Ok(());
    }
    loop {
        element(c, table)?;
        // ClickHouse lets a comma stand before the closing parenthesis.
        if c.token(&Token::RParen) || (c.token(&Token::Comma) && c.token(&Token::RParen)) {
            return Ok(());
        }
        if c.is_word("LIKE") {
            return Err(c.unsupported("CREATE TABLE … LIKE"));
        }
        if !matches!(c.peek(), Token::Word(_)) {
            return Err(c.unexpected());
        }
    }
}

fn element(c: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    let named_constraint = c.is_word("CONSTRAINT");
    if named_constraint {
        c.advance();
        c.ident()?;
    }
    if c.is_words("PRIMARY KEY") {
        let at = c.position();
        c.words("PRIMARY KEY");
        let columns = c.names()?;
        return primary_key(c, table, columns, at);
    }
    if c.is_word("UNIQUE") && matches!(c.peek_nth(1), Token::LParen) {
        return Err(no_constraint(c, "UNIQUE"));
    }
    if c.is_word("CHECK") && matches!(c.peek_nth(1), Token::LParen) {
        return Err(no_constraint(c, "CHECK"));
    }
    if c.is_words("FOREIGN KEY") {
        return Err(no_constraint(c, "FOREIGN KEY"));
    }
    if c.is_word("EXCLUDE") && (c.is_word_at(1, "USING") || matches!(c.peek_nth(1), Token::LParen)) {
        return Err(no_constraint(c, "EXCLUDE"));
    }
    if named_constraint {
        return Err(if c.is_word("ASSUME") { no_constraint(c, "ASSUME") } else { c.unexpected() });
    }
    if c.is_word("LIKE") {
        return Err(c.unsupported("CREATE TABLE … LIKE"));
    }
    if c.words("WATERMARK FOR") {
        let column = c.name()?;
        c.expect_words("AS")?;
        let expr = c.written()?;
        table.watermark = Some((column, expr));
        return Ok(());
    }
    if is_projection(c) {
        // It makes queries faster and changes no answer.
        return skip_element(c);
    }
    if is_index(c) {
        c.advance();
        table.indexes.push(index::index(c)?);
        return Ok(());
    }
    column(c, table)
}

/// `PROJECTION name (SELECT …)`, rather than a column of that name.
fn is_projection(c: &Cursor<'_>) -> bool {
    let is_query = || matches!(c.peek_nth(2), Token::LParen) && (c.is_word_at(3, "SELECT") || c.is_word_at(3, "WITH"));
    c.is_word("PROJECTION") && matches!(c.peek_nth(1), Token::Word(_)) && is_query()
}

/// `INDEX name expression TYPE kind …`, rather than a column of that name.
fn is_index(c: &Cursor<'_>) -> bool {
    if !c.is_word("INDEX") || !matches!(c.peek_nth(1), Token::Word(_)) {
        return false;
    }
    let mut depth = 0usize;
    for n in 2.. {
        match c.peek_nth(n) {
            Token::EOF => return false,
            Token::LParen => depth += 1,
            Token::RParen | Token::Comma if depth == 0 => return false,
            Token::RParen => depth -= 1,
            token if depth == 0 && is_word(token, "TYPE") => return true,
            _ => {}
        }
    }
    false
}

fn skip_element(c: &mut Cursor<'_>) -> Result<()> {
    loop {
        match c.peek() {
            Token::EOF => return Err(c.unexpected()),
            Token::Comma | Token::RParen => return Ok(()),
            Token::LParen => {
                c.parenthesised_text()?;
            }
            _ => c.advance(),
        }
    }
}

fn primary_key(c: &mut Cursor<'_>, table: &mut CreateTable, columns: Vec<Name>, at: usize) -> Result<()> {
    if table.primary_key.is_some() {
        let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name.name);
        return Err(Error::new(ErrorKind::InvalidDefinition, message).at(at));
    }
    key_checks(c);
    table.primary_key = Some(columns);
    Ok(())
}

/// Flink's, and PostgreSQL's ways to say when a key is checked.
pub(super) fn key_checks(c: &mut Cursor<'_>) {
    let _ = c.words("NOT ENFORCED") || c.words("NOT DEFERRABLE") || c.words("INITIALLY IMMEDIATE");
}

fn no_constraint(c: &Cursor<'_>, what: &str) -> Error {
    c.unsupported(&format!("{what} constraint"))
        .with_hint("Weir enforces NOT NULL and PRIMARY KEY; check other rules where the rows come from.")
}

fn column(c: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    let name = c.name()?;
    let mut fold = None;
    if c.is_word("SimpleAggregateFunction") && matches!(c.peek_nth(1), Token::LParen) {
        c.advance();
        c.expect(&Token::LParen)?;
        fold = Some(c.name()?);
        c.expect(&Token::Comma)?;
    }
    let data_type = match c.peek() {
        Token::Comma | Token::RParen => None,
        _ if c.is_word("AS") => return Err(c.unsupported("a computed column")),
        _ => Some(c.rule(|p| p.parse_data_type())?),
    };
    if fold.is_some() {
        c.expect(&Token::RParen)?;
    }
    let mut column =
        Column { name, data_type, nullable: None, default: None, codec: None, fold, collation: None, comment: None };
    while !matches!(c.peek(), Token::Comma | Token::RParen) {
        column_option(c, table, &mut column)?;
    }
    table.columns.push(column);
    Ok(())
}

fn column_option(c: &mut Cursor<'_>, table: &mut CreateTable, column: &mut Column) -> Result<()> {
    let at = c.position();
    if c.words("CONSTRAINT") {
        c.ident()?;
    }
    if c.words("NOT NULL") {
        column.nullable = Some(false);
    } else if c.words("NULL") {
        column.nullable = Some(true);
    } else if c.words("DEFAULT") {
        column.default = Some(c.written()?);
    } else if c.words("PRIMARY KEY") {
        primary_key(c, table, vec![column.name.clone()], at)?;
    } else if c.words("CODEC") {
        column.codec = Some(c.parenthesised_text()?);
    } else if c.words("COMMENT") {
        column.comment = Some(c.string()?);
    } else if c.words("COLLATE") {
        column.collation = Some(collation(c)?);
    } else if c.words("STORAGE") || c.words("COMPRESSION") || c.words("STATISTICS") {
        if matches!(c.peek(), Token::LParen) {
            c.parenthesised_text()?;
        } else {
            c.ident()?;
        }
    } else if c.is_word("UNIQUE") {
        return Err(no_constraint(c, "UNIQUE"));
    } else if c.is_word("CHECK") {
        return Err(no_constraint(c, "CHECK"));
    } else if c.is_word("REFERENCES") {
        return Err(no_constraint(c, "FOREIGN KEY"));
    } else if c.is_word("GENERATED") {
        return Err(c.unsupported("a generated column"));
    } else if c.is_any(&["MATERIALIZED", "ALIAS", "EPHEMERAL"]) {
        return Err(c.unsupported("a computed column"));
    } else if c.is_word("METADATA") {
        return Err(c.unsupported("a METADATA column"));
    } else if c.words("TTL") {
        let of = Some(column.name.name.clone());
        once(table.layout.ttl.iter().any(|rule| rule.of == of), "TTL", at)?;
        table.layout.ttl.push(column_ttl(c, of)?);
    } else {
        return Err(c.unexpected());
    }
    Ok(())
}

/// The name after COLLATE.
pub(super) fn collation(c: &mut Cursor<'_>) -> Result<Collation> {
    let at = c.position();
    let name = c.object_name()?;
    let parts: Vec<String> = name.schema.into_iter().chain([name.name]).collect();
    collation_named(&parts).map_err(|error| error.at(at))
}

/// The clauses after the columns of a table or the name of a materialized view, in any order. Ends at what is none of them.
pub(super) fn layout(c: &mut Cursor<'_>, layout: &mut Layout) -> Result<()> {
    loop {
        let at = c.position();
        if c.words("ENGINE") {
            c.token(&Token::Eq);
            layout.engine = Some(engine(c, layout)?);
        } else if c.words("PARTITION BY") || c.words("PARTITIONED BY") {
            once(layout.partition_by.is_some(), "PARTITION BY", at)?;
            if c.is_any(&["RANGE", "LIST", "HASH"]) && matches!(c.peek_nth(1), Token::LParen) {
                return Err(c
                    .unsupported("PARTITION BY RANGE, LIST or HASH")
                    .with_hint("Use PARTITION BY expression: each of its values is a partition of its own."));
            }
            layout.partition_by = Some(c.written()?);
        } else if c.words("ORDER BY") {
            once(layout.order_by.is_some(), "ORDER BY", at)?;
            layout.order_by = Some(key(c)?);
        } else if c.words("PRIMARY KEY") {
            once(layout.primary_key.is_some(), "PRIMARY KEY", at)?;
            layout.primary_key = Some(key(c)?);
            c.words("NOT ENFORCED");
        } else if c.words("SAMPLE BY") {
            c.expr()?;
        } else if c.words("TTL") {
            once(layout.ttl.iter().any(|rule| rule.of.is_none()), "TTL", at)?;
            layout.ttl.extend(ttl(c)?);
        } else if c.words("SETTINGS") {
            layout.options.extend(settings(c)?);
        } else if c.is_word("WITH") && matches!(c.peek_nth(1), Token::LParen) {
            c.advance();
            c.expect(&Token::LParen)?;
            let options = c.comma_separated(option)?;
            c.expect(&Token::RParen)?;
            layout.options.extend(options);
        } else if c.words("COMMENT") {
            c.token(&Token::Eq);
            let text = c.string()?;
            layout.options.push(("comment".to_string(), text));
        } else if c.words("WITHOUT OIDS") {
        } else if c.is_words("ON COMMIT") {
            let at = c.position();
            c.words("ON COMMIT");
            let what = match c.one_of(&["PRESERVE ROWS", "DELETE ROWS", "DROP"]) {
                Some("PRESERVE ROWS") => OnCommit::Preserve,
                Some("DELETE ROWS") => OnCommit::DeleteRows,
                Some(_) => OnCommit::Drop,
                None => return Err(c.unexpected()),
            };
            layout.on_commit = Some((what, at));
        } else if c.words("TABLESPACE") || c.words("USING") {
            c.ident()?;
        } else if c.is_word("INHERITS") {
            return Err(c.unsupported("INHERITS"));
        } else {
            return Ok(());
        }
    }
}

fn once(twice: bool, clause: &str, at: usize) -> Result<()> {
    match twice {
        true => Err(Error::new(ErrorKind::Syntax, format!("{clause} is given twice")).at(at)),
        false => Ok(()),
    }
}

fn engine(c: &mut Cursor<'_>, layout: &mut Layout) -> Result<String> {
    let mark = c.mark();
    c.name()?;
    let name = c.text_since(mark);
    if c.token(&Token::LParen) && !c.token(&Token::RParen) {
        layout.engine_args = c.comma_separated(|c| c.written().map(|arg| arg.text))?;
        c.expect(&Token::RParen)?;
    }
    Ok(name)
}

/// A key: one expression, several in parentheses or without, or `tuple()` for none.
fn key(c: &mut Cursor<'_>) -> Result<Vec<Expr>> {
    if c.is_word("TUPLE") && *c.peek_nth(1) == Token::LParen && *c.peek_nth(2) == Token::RParen {
        (0..3).for_each(|_| c.advance());
        return Ok(Vec::new());
    }
    if *c.peek() == Token::LParen && *c.peek_nth(1) == Token::RParen {
        (0..2).for_each(|_| c.advance());
        return Ok(Vec::new());
    }
    let mut keys = Vec::new();
    for expr in c.comma_separated(Cursor::expr)? {
        match expr {
            Expr::Tuple(exprs) => keys.extend(exprs),
            Expr::Nested(expr) => keys.push(*expr),
            Expr::Function(f) if f.name.0.len() == 1 && f.name.to_string().eq_ignore_ascii_case("tuple") => {
                if let FunctionArguments::List(list) = f.args {
                    keys.extend(list.args.into_iter().filter_map(|arg| match arg {
                        sqlparser::ast::FunctionArg::Unnamed(sqlparser::ast::FunctionArgExpr::Expr(expr)) => Some(expr),
                        _ => None,
                    }));
                }
            }
            expr => keys.push(expr),
        }
    }
    if c.is_any(&["ASC", "DESC"]) {
        return Err(c.unsupported("ASC or DESC in a sorting key"));
    }
    Ok(keys)
}

/// The rules of TTL, parted by commas: when rows expire, and which of them.
pub(super) fn ttl(c: &mut Cursor<'_>) -> Result<Vec<TtlRule>> {
    c.comma_separated(|c| {
        // `INTERVAL 1 DAY TO` would go on as `DAY TO SECOND`.
        let ends = |n: &usize| matches!(c.peek_nth(*n), Token::Comma | Token::EOF);
        let to = |n: usize| c.is_word_at(n, "TO") && (c.is_word_at(n + 1, "DISK") || c.is_word_at(n + 1, "VOLUME"));
        if (0..).take_while(|n| !ends(n)).any(to) {
            return Err(c.unsupported("TTL … TO DISK or VOLUME").with_hint("Weir keeps all parts in one folder."));
        }
        let time = c.written()?.text;
        let deletes = c.words("DELETE");
        if !deletes && c.is_word("RECOMPRESS") {
            return Err(c
                .unsupported("TTL … RECOMPRESS")
                .with_hint("Merges of large parts compress more by themselves."));
        }
        let mut condition = if c.words("WHERE") { Some(c.written()?.text) } else { None };
        let rollup = if !deletes && c.words("GROUP BY") { Some(rollup(c)?) } else { None };
        if condition.is_none() && c.words("WHERE") {
            condition = Some(c.written()?.text);
        }
        Ok(TtlRule { time, condition, of: None, rollup })
    })
}

/// `key, … [SET column = expression, …]`.
fn rollup(c: &mut Cursor<'_>) -> Result<Rollup> {
    let keys = c.comma_separated(|c| Ok(c.written()?.text))?;
    let mut set: Vec<(String, String)> = Vec::new();
    if c.words("SET") {
        loop {
            let at = c.position();
            let column = c.ident()?;
            once(set.iter().any(|(other, _)| *other == column), &format!("column \"{column}\""), at)?;
            c.expect(&Token::Eq)?;
            set.push((column, c.written()?.text));
            // A comma may begin the next rule.
            if !(matches!(c.peek(), Token::Comma) && matches!(c.peek_nth(2), Token::Eq)) {
                break;
            }
            c.advance();
        }
    }
    Ok(Rollup { keys, set })
}

/// The rule of a column, after the word.
pub(super) fn column_ttl(c: &mut Cursor<'_>, of: Option<String>) -> Result<TtlRule> {
    Ok(TtlRule { time: c.written()?.text, condition: None, of, rollup: None })
}

/// SETTINGS, after the word.
pub(super) fn settings(c: &mut Cursor<'_>) -> Result<Vec<(String, String)>> {
    c.comma_separated(setting)
}

/// `name = value` of SETTINGS.
fn setting(c: &mut Cursor<'_>) -> Result<(String, String)> {
    let name = c.ident()?;
    c.expect(&Token::Eq)?;
    Ok((name, option_value(c)?))
}

/// `name = value`, `'name' = 'value'`, `a.b = value` or `name` of WITH.
pub(super) fn option(c: &mut Cursor<'_>) -> Result<(String, String)> {
    let name = if c.is_string() {
        c.string()?
    } else {
        let ident = |c: &mut Cursor<'_>| match c.peek() {
            Token::Word(_) => c.rule(|p| p.parse_identifier()).map(|ident| fold(&ident)),
            _ => Err(c.unexpected()),
        };
        let mut name = ident(c)?;
        while c.token(&Token::Period) {
            name = format!("{name}.{}", ident(c)?);
        }
        name
    };
    let value = if c.token(&Token::Eq) { option_value(c)? } else { "true".to_string() };
    Ok((name.to_ascii_lowercase(), value))
}

/// A string's content, or the text of a word, number or call.
pub(super) fn option_value(c: &mut Cursor<'_>) -> Result<String> {
    if c.is_string() {
        return c.string();
    }
    let mark = c.mark();
    if matches!(c.peek(), Token::Minus | Token::Plus) {
        c.advance();
    }
    match c.peek() {
        Token::Word(_) | Token::Number(..) => c.advance(),
        _ => return Err(c.unexpected()),
    }
    // `late = side('table')`
    if *c.peek() == Token::LParen {
        c.parenthesised_text()?;
    }
    Ok(c.text_since(mark))
}
