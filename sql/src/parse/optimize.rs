//! OPTIMIZE TABLE in ClickHouse's form, VACUUM in PostgreSQL's.

use sqlparser::tokenizer::Token;

use super::alter::partition_name;
use super::ast::Ast;
use super::cursor::Cursor;
use super::statement::ready;
use super::table::option_value;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{Optimize, OptimizeKind, Statement};

/// After OPTIMIZE: `TABLE t [PARTITION p | PARTITION ID 'x'] [FINAL]`.
pub(super) fn optimize(c: &mut Cursor<'_>) -> Result<Ast> {
    c.expect_words("TABLE")?;
    let name = c.object_name()?;
    if c.is_words("ON CLUSTER") {
        return Err(c.unsupported("ON CLUSTER").with_hint("Weir runs on one machine."));
    }
    let partition = if c.words("PARTITION") { Some(partition_name(c)?) } else { None };
    let kind = if c.words("FINAL") { OptimizeKind::Final } else { OptimizeKind::Merge };
    if c.is_any(&["DEDUPLICATE", "CLEANUP", "DRY"]) {
        let word = if c.is_word("DEDUPLICATE") { "DEDUPLICATE" } else { "CLEANUP" };
        return Err(c
            .unsupported(&format!("OPTIMIZE TABLE … {word}"))
            .with_hint("Rows with equal keys are one row from the start in a table with a PRIMARY KEY."));
    }
    Ok(ready(Statement::Optimize(Optimize { tables: vec![name], partition, kind, tag: "OPTIMIZE TABLE".into() })))
}

/// After VACUUM: `[(option, …)] [FULL] [FREEZE] [VERBOSE] [ANALYZE] [t [(columns)], …]`.
pub(super) fn vacuum(c: &mut Cursor<'_>) -> Result<Ast> {
    let mut full = false;
    if c.token(&Token::LParen) {
        loop {
            let at = c.position();
            let name = c.ident()?.to_ascii_lowercase();
            let value = match c.peek() {
                Token::Comma | Token::RParen => None,
                _ => Some(option_value(c)?.to_ascii_lowercase()),
            };
            match name.as_str() {
                "full" => full = !matches!(value.as_deref(), Some("off" | "false" | "0")),
                "freeze"
                | "verbose"
                | "analyze"
                | "disable_page_skipping"
                | "skip_locked"
                | "index_cleanup"
                | "process_main"
                | "process_toast"
                | "truncate"
                | "parallel"
                | "skip_database_stats"
                | "only_database_stats"
                | "buffer_usage_limit" => {}
                _ => {
                    let message = format!("unrecognized VACUUM option \"{name}\"");
                    return Err(Error::new(ErrorKind::Syntax, message).at(at));
                }
            }
            if !c.token(&Token::Comma) {
                break;
            }
        }
        c.expect(&Token::RParen)?;
    } else {
        full = c.words("FULL");
        c.words("FREEZE");
        c.words("VERBOSE");
        let _ = c.words("ANALYZE") || c.words("ANALYSE");
    }
    let mut tables = Vec::new();
    if !c.at_end() {
        tables = c.comma_separated(|c| {
            let name = c.object_name()?;
            if *c.peek() == Token::LParen {
                c.names()?;
            }
            Ok(name)
        })?;
    }
    let kind = if full { OptimizeKind::Final } else { OptimizeKind::Deleted };
    Ok(ready(Statement::Optimize(Optimize { tables, partition: None, kind, tag: "VACUUM".into() })))
}
