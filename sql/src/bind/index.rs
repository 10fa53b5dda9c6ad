//! Skip indexes: their type and its parameters, checked as ClickHouse checks them, and the expressions that they are over.
//!
//! PostgreSQL's access methods stand for the type that answers the same questions: btree and brin for minmax, hash and bloom for
//! bloom_filter, gin for text over texts and for bloom_filter over arrays.

use sqlparser::ast::{self as syntax, Expr as Syntax};

use super::Binder;
use super::utility;
use super::{BoundAst, World};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::{Index, IndexAction, IndexType, Written};
use crate::plan::OutputColumn;
use crate::statement::{AlterIndexes, FilterSize, IndexChange, IndexDef, IndexKind, ObjectName, SqlExpr, Statement};
use crate::types::Type;

/// Bytes of a filter, at most.
const FILTER_BYTES_MAX: u64 = 1 << 24;

/// Several indexes of one table that is being defined.
pub(super) fn indexes(binder: &mut Binder<'_>, written: &[Index], columns: &[OutputColumn]) -> Result<Vec<IndexDef>> {
    let mut indexes: Vec<IndexDef> = Vec::new();
    for index in written {
        let bound = define(binder, index, columns, false)?;
        if indexes.iter().any(|other| other.name == bound.name) {
            let name = bound.name.unwrap_or_default();
            return Err(Error::new(ErrorKind::DuplicateObject, format!("index \"{name}\" is given twice")));
        }
        indexes.push(bound);
    }
    Ok(indexes)
}

/// ALTER TABLE … INDEX, and CREATE INDEX.
pub(super) fn alter(
    world: &World<'_>,
    binder: &mut Binder<'_>,
    name: &ObjectName,
    at: usize,
    if_exists: bool,
    actions: &[IndexAction],
    tag: &str,
) -> Result<BoundAst> {
    if if_exists && world.catalog.relation(name.schema.as_deref(), &name.name)?.is_none() {
        return Ok((Statement::NoOp { tag: tag.to_string() }, Vec::new()));
    }
    let relation = utility::relation(world, name, at)?;
    let columns: Vec<OutputColumn> =
        relation.columns.iter().map(|column| utility::column(&column.name, column.ty.clone())).collect();
    let change = |action: &IndexAction| {
        Ok(match action {
            IndexAction::Add { index, if_not_exists, everywhere } => {
                let index = define(binder, index, &columns, *everywhere)?;
                IndexChange::Add { index, if_not_exists: *if_not_exists }
            }
            IndexAction::Drop { name, if_exists } => {
                IndexChange::Drop { name: name.name.clone(), if_exists: *if_exists }
            }
            IndexAction::Materialize { name, if_exists } => {
                IndexChange::Materialize { name: name.name.clone(), if_exists: *if_exists }
            }
        })
    };
    let changes = actions.iter().map(change).collect::<Result<_>>()?;
    let table = ObjectName { schema: Some(relation.schema.clone()), name: relation.name.clone() };
    Ok((Statement::AlterIndexes(AlterIndexes { table, changes, tag: tag.to_string() }), Vec::new()))
}

fn define(binder: &mut Binder<'_>, index: &Index, columns: &[OutputColumn], everywhere: bool) -> Result<IndexDef> {
    let mut keys = Vec::with_capacity(index.keys.len());
    for key in &index.keys {
        keys.push(SqlExpr { sql: key.text.clone(), expr: binder.bind_expr_over(&key.expr, columns)? });
    }
    let granularity = match index.granularity {
        None => 1,
        Some(granularity @ 1..=1_048_576) => granularity as u32,
        Some(granularity) => {
            let message = format!("index granularity {granularity} is not between 1 and 1048576");
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        }
    };
    let over_lists = keys.iter().any(|key| matches!(key.expr.ty, Type::Array(_)));
    let kind = kind(&index.kind, over_lists).map_err(|error| error.at(index.kind.at))?;
    let name = index.name.as_ref().map(|name| name.name.clone());
    Ok(IndexDef { name, kind, granularity, keys, everywhere })
}

/// The type of an index, with its parameters.
fn kind(written: &IndexType, over_lists: bool) -> Result<IndexKind> {
    let args = &written.args;
    let none = |kind: IndexKind| match args.as_slice() {
        [] => Ok(kind),
        _ => Err(wrong(written, "takes no parameters")),
    };
    Ok(match written.name.as_str() {
        "minmax" | "btree" | "brin" => none(IndexKind::MinMax)?,
        "hash" | "bloom" => none(IndexKind::Bloom(0.025))?,
        "gin" if over_lists => none(IndexKind::Bloom(0.025))?,
        "gin" => none(IndexKind::Text)?,
        "set" => match args.as_slice() {
            [values] => IndexKind::Set(number(written, values, u32::MAX.into())? as u32),
            _ => return Err(wrong(written, "takes one parameter, the most values it keeps of a block (0 for all)")),
        },
        "bloom_filter" => match args.as_slice() {
            [] => IndexKind::Bloom(0.025),
            [rate] => IndexKind::Bloom(share(written, rate)?),
            _ => return Err(wrong(written, "takes at most one parameter, the share of false positives")),
        },
        "ngrambf_v1" => match args.as_slice() {
            [n, size @ ..] if size.len() == 3 => {
                IndexKind::Ngrams { n: positive(written, n, 1 << 10)? as u32, filter: filter(written, size)? }
            }
            _ => return Err(wrong(written, "takes four parameters: n, bytes of the filter, hashes, seed")),
        },
        "tokenbf_v1" => match args.as_slice() {
            size if size.len() == 3 => IndexKind::Tokens(filter(written, size)?),
            _ => return Err(wrong(written, "takes three parameters: bytes of the filter, hashes, seed")),
        },
        "text" | "inverted" | "full_text" => {
            text(written)?;
            IndexKind::Text
        }
        other => {
            let message = format!("index type \"{other}\" does not exist");
            return Err(Error::new(ErrorKind::UndefinedObject, message).with_hint(
                "There are minmax, set, bloom_filter, ngrambf_v1, tokenbf_v1 and text; btree, brin, hash, bloom and gin stand for these.",
            ));
        }
    })
}

/// The parameters of a text index: a tokenizer, which can only be the one that it has.
fn text(written: &IndexType) -> Result<()> {
    for arg in &written.args {
        let (key, value) = match &arg.expr {
            Syntax::BinaryOp { left, op: syntax::BinaryOperator::Eq, right } => (left.to_string(), right.to_string()),
            _ => ("tokenizer".to_string(), arg.expr.to_string()),
        };
        let value = value.trim_matches('\'').trim_end_matches("()").to_ascii_lowercase();
        match (key.to_ascii_lowercase().as_str(), value.as_str()) {
            ("tokenizer", "default" | "splitbynonalpha" | "0") => {}
            _ => {
                let message = format!("parameter {} of a text index is not supported", arg.text);
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .with_hint("Its tokenizer is splitByNonAlpha; for lower case, index lower(column)."));
            }
        }
    }
    Ok(())
}

fn filter(written: &IndexType, size: &[Written]) -> Result<FilterSize> {
    Ok(FilterSize {
        bytes: positive(written, &size[0], FILTER_BYTES_MAX)? as u32,
        hashes: positive(written, &size[1], 20)? as u32,
        seed: number(written, &size[2], u64::MAX)?,
    })
}

fn wrong(written: &IndexType, what: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("index type {} {what}", written.name))
}

fn literal(arg: &Written) -> Option<&str> {
    match &arg.expr {
        Syntax::Value(value) => match &value.value {
            syntax::Value::Number(number, _) => Some(number),
            _ => None,
        },
        _ => None,
    }
}

fn number(written: &IndexType, arg: &Written, max: u64) -> Result<u64> {
    let number = literal(arg).and_then(|text| text.parse().ok()).filter(|&number| number <= max);
    number.ok_or_else(|| wrong(written, &format!("takes a whole number up to {max}, not {}", arg.text)))
}

fn positive(written: &IndexType, arg: &Written, max: u64) -> Result<u64> {
    match number(written, arg, max)? {
        0 => Err(wrong(written, "takes no 0 here")),
        number => Ok(number),
    }
}

fn share(written: &IndexType, arg: &Written) -> Result<f64> {
    let share = literal(arg).and_then(|text| text.parse().ok()).filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| wrong(written, &format!("takes a share between 0 and 1, not {}", arg.text)))
}
