//! ClickHouse's table engines: which rows of equal sorting keys are one.

use sqlparser::ast::Expr;

use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::CreateTable;
use crate::parse::names::fold;
use crate::plan::OutputColumn;
use crate::statement::Merging;
use crate::types::Type;

/// Engines whose tables keep every row as it came, which is what Weir's tables do by themselves.
const PLAIN: [&str; 4] = ["memory", "log", "tinylog", "stripelog"];
/// What may stand before `MergeTree` and changes nothing here.
const PREFIXES: [&str; 2] = ["replicated", "shared"];

/// What the engine makes of rows with equal keys; `key` is the sorting key, of the table's columns.
pub(super) fn merging(table: &CreateTable, columns: &[OutputColumn], key: &[usize]) -> Result<Option<Merging>> {
    let Some(engine) = &table.layout.engine else { return Ok(None) };
    let name = engine.to_ascii_lowercase();
    if PLAIN.contains(&name.as_str()) {
        return Ok(None);
    }
    let prefix = PREFIXES.iter().find(|prefix| name.starts_with(**prefix));
    let family = prefix.map_or(name.as_str(), |prefix| &name[prefix.len()..]);
    // Replicas have a path and a name, as texts.
    let args: Vec<&str> =
        table.layout.engine_args.iter().map(String::as_str).filter(|arg| !arg.starts_with('\'')).collect();
    let merging = match family {
        "mergetree" => return Ok(None),
        "replacingmergetree" => replacing(engine, &args, columns)?,
        "summingmergetree" => summing(&args, columns, key)?,
        _ => {
            return Err(Error::new(ErrorKind::Unsupported, format!("ENGINE = {engine} is not supported for a table"))
                .with_hint(
                    "MergeTree, ReplacingMergeTree and SummingMergeTree are; CREATE MATERIALIZED VIEW keeps any aggregate up to date.",
                ));
        }
    };
    let plain = |expr: &Expr| matches!(expr, Expr::Identifier(_));
    let written = table.layout.order_by.as_deref().unwrap_or_default();
    if key.is_empty() || !written.iter().all(plain) {
        let message = format!("ENGINE = {engine} needs a sorting key of plain columns");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("Rows that are equal in the columns of ORDER BY are one."));
    }
    Ok(Some(merging))
}

fn replacing(engine: &str, args: &[&str], columns: &[OutputColumn]) -> Result<Merging> {
    let (version, is_deleted) = match args {
        [] => (None, None),
        [version] => (Some(column(version, columns)?), None),
        [version, is_deleted] => (Some(column(version, columns)?), Some(column(is_deleted, columns)?)),
        _ => {
            let message = format!("ENGINE = {engine} takes a version and is_deleted");
            return Err(Error::new(ErrorKind::Syntax, message));
        }
    };
    if let Some(at) = version
        && !(columns[at].ty.is_integer() || matches!(columns[at].ty, Type::Date | Type::Timestamp | Type::Timestamptz))
    {
        return Err(wrong_type(&columns[at], "a version is an integer, a date or a time"));
    }
    if let Some(at) = is_deleted
        && !(columns[at].ty.is_integer() || columns[at].ty == Type::Bool)
    {
        return Err(wrong_type(&columns[at], "is_deleted is 0 or 1"));
    }
    Ok(Merging::Replacing { version, is_deleted })
}

/// The columns to sum: those that are named, or all numbers outside of the key.
fn summing(args: &[&str], columns: &[OutputColumn], key: &[usize]) -> Result<Merging> {
    let mut named = Vec::new();
    for arg in args {
        let list = arg.trim().trim_start_matches("tuple").trim().trim_start_matches('(').trim_end_matches(')');
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let at = column(name, columns)?;
            if !columns[at].ty.is_number() {
                return Err(wrong_type(&columns[at], "only numbers are summed"));
            }
            if key.contains(&at) {
                let message = format!("column \"{}\" is of the sorting key and cannot be summed", columns[at].name);
                return Err(Error::new(ErrorKind::InvalidDefinition, message));
            }
            named.push(at);
        }
    }
    if named.is_empty() {
        named = (0..columns.len()).filter(|at| columns[*at].ty.is_number() && !key.contains(at)).collect();
    }
    Ok(Merging::Summing(named))
}

fn wrong_type(column: &OutputColumn, why: &str) -> Error {
    let message = format!("column \"{}\" is of type {}", column.name, column.ty);
    Error::new(ErrorKind::DatatypeMismatch, message).with_detail(format!("In ENGINE, {why}."))
}

fn column(text: &str, columns: &[OutputColumn]) -> Result<usize> {
    let name = match crate::parse::expr(text)? {
        Expr::Identifier(ident) => fold(&ident),
        _ => text.to_string(),
    };
    columns
        .iter()
        .position(|column| column.name == name)
        .ok_or_else(|| Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist")))
}
