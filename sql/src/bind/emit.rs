//! EMIT, and what `WITH (late = …)` says of a materialized view.

use sqlparser::ast::Query;

use super::view::micros;
use super::{Binder, BoundAst, World, bind_ast};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast;
use crate::plan::Plan;
use crate::statement::{Emit, Late, ObjectName, Statement};

/// What EMIT says.
pub(super) fn emit(binder: &mut Binder<'_>, emit: &ast::Emit) -> Result<Emit> {
    match emit {
        ast::Emit::Changes => Ok(Emit::Changes),
        ast::Emit::OnWindowClose(_) => Ok(Emit::OnWindowClose),
        ast::Emit::Every(text) => match micros(binder, text)?.filter(|micros| *micros > 0) {
            Some(micros) => Ok(Emit::Every(micros)),
            None => Err(Error::new(ErrorKind::InvalidParameter, format!("cannot emit every \"{text}\""))
                .with_hint("Name a time in units of up to a week: EMIT EVERY '10 seconds'.")),
        },
    }
}

/// A query with EMIT: read once, its rows are as they are now, or those of closed windows.
pub(super) fn query(
    world: &World<'_>,
    binder: &mut Binder<'_>,
    query: &Query,
    written: &ast::Emit,
) -> Result<BoundAst> {
    let says = emit(binder, written)?;
    let (mut statement, columns) = bind_ast(world, binder, &ast::Ast::Query(Box::new(query.clone())))?;
    if let (Emit::OnWindowClose, Statement::Query(plan) | Statement::Formatted { plan, .. }) = (says, &mut statement) {
        let all = std::mem::replace(plan, Plan::Values { rows: Vec::new(), columns: Vec::new() });
        *plan = world.catalog.closed(all).map_err(|error| match written {
            ast::Emit::OnWindowClose(at) => error.at(*at),
            _ => error,
        })?;
    }
    Ok((statement, columns))
}

/// What the options say of late rows; `None` if nothing.
pub(super) fn late(options: &[(String, String)]) -> Result<Option<Late>> {
    let option = |name: &str| options.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let (policy, table) = (option("late"), option("late_table"));
    let Some(policy) = policy else {
        return match table {
            None => Ok(None),
            Some(_) => Err(invalid("option \"late_table\" needs late = 'side'")),
        };
    };
    let call = policy.strip_suffix(')').and_then(|call| call.split_once('('));
    let (word, argument) = call.map_or((policy, None), |(word, argument)| (word.trim(), Some(argument.trim())));
    let argument = argument.map(|text| text.trim_matches('\'').replace("''", "'"));
    let late = match word.to_ascii_lowercase().as_str() {
        "include" if argument.is_none() && table.is_none() => Late::Include,
        "drop" if argument.is_none() && table.is_none() => Late::Drop,
        "side" if argument.is_none() || table.is_none() => {
            let name = argument.or(table.map(str::to_string)).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| invalid("late = 'side' needs the name of a table"))?;
            Late::Side(match name.split_once('.') {
                Some((schema, name)) => ObjectName { schema: Some(schema.to_string()), name: name.to_string() },
                None => ObjectName { schema: None, name },
            })
        }
        _ => return Err(invalid(&format!("invalid value for option \"late\": \"{policy}\""))),
    };
    Ok(Some(late))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
        .with_hint("It is include, drop or side: WITH (late = 'side', late_table = 'late_events').")
}
