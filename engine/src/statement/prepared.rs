//! PREPARE, EXECUTE, DEALLOCATE, DISCARD.

use weir_sql::plan::{Expr, ExprKind, OutputColumn, Plan};
use weir_sql::{Type, Value};

use super::query;
use crate::error::{Error, ErrorKind, Result};
use crate::session::run::Running;
use crate::session::{Outcome, PreparedText, Session};

/// PREPARE.
pub(super) fn prepare(session: &mut Session, name: &str, parameters: &[Type], text: &str) -> Result<Outcome> {
    if session.prepared.contains_key(name) {
        let message = format!("prepared statement \"{name}\" already exists");
        return Err(Error::new(ErrorKind::DuplicateStatement, message));
    }
    let parsed = session.parse(text)?.into_iter().next().ok_or_else(|| Error::internal("PREPARE has a statement"))?;
    let types: Vec<Option<Type>> =
        parameters.iter().map(|ty| Some(ty.clone()).filter(|ty| *ty != Type::Unknown)).collect();
    session.prepare(&parsed, &types)?;
    let text = text.to_string();
    session.prepared.insert(name.to_string(), PreparedText { parsed, types, text });
    Ok(Outcome::Command { tag: "PREPARE".into() })
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedStatement, format!("prepared statement \"{name}\" does not exist"))
}

/// EXECUTE.
pub(super) fn execute(session: &mut Session, running: &Running, name: &str, args: &[Expr]) -> Result<Outcome> {
    let text = session.prepared.get(name).cloned().ok_or_else(|| unknown(name))?;
    let prepared = session.prepare(&text.parsed, &text.types)?;
    let types = prepared.parameters();
    if types.len() != args.len() {
        let message = format!("wrong number of parameters for prepared statement \"{name}\"");
        let detail = format!("Expected {} parameters but got {}.", types.len(), args.len());
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Syntax), message).with_detail(detail));
    }
    let values = constants(session, running, args, types)?;
    session.run_bound(&prepared, &values, &running.cancel)
}

/// The values of constant expressions, cast to these types.
pub(crate) fn constants(session: &Session, running: &Running, args: &[Expr], types: &[Type]) -> Result<Vec<Value>> {
    if args.is_empty() {
        return Ok(Vec::new());
    }
    let cast = |(arg, ty): (&Expr, &Type)| {
        let cast = ExprKind::Cast { expr: Box::new(arg.clone()), explicit: false, lenient: false };
        if arg.ty == *ty { arg.clone() } else { Expr::new(cast, ty.clone()) }
    };
    let exprs: Vec<Expr> = args.iter().zip(types).map(cast).collect();
    let columns = types.iter().map(|ty| OutputColumn::computed("?column?", ty.clone())).collect();
    let plan = Plan::Values { rows: vec![exprs], columns };
    let batches = query::stream(session, running, &plan)?.collect()?;
    let batch = batches.first().ok_or_else(|| Error::internal("constants are one row"))?;
    Ok(types.iter().zip(batch.columns()).map(|(ty, column)| Value::new(ty.clone(), column.clone())).collect())
}

/// DEALLOCATE.
pub(super) fn deallocate(session: &mut Session, name: Option<&str>) -> Result<Outcome> {
    match name {
        None => {
            session.prepared.clear();
            Ok(Outcome::Command { tag: "DEALLOCATE ALL".into() })
        }
        Some(name) => {
            session.prepared.remove(name).ok_or_else(|| unknown(name))?;
            Ok(Outcome::Command { tag: "DEALLOCATE".into() })
        }
    }
}

/// DISCARD ALL.
pub(super) fn discard_all(session: &mut Session) -> Result<Outcome> {
    if session.in_block() {
        let message = "DISCARD ALL cannot run inside a transaction block";
        return Err(Error::new(ErrorKind::ActiveTransaction, message));
    }
    session.prepared.clear();
    session.cursors.clear();
    session.settings.reset_all();
    Ok(Outcome::Command { tag: "DISCARD ALL".into() })
}
