//! CREATE ALERT: the query, its times, and the tables that its rows go to.

use super::{Binder, World, insert, view};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::Ast;
use crate::parse::ast::{CreateAlert, WrittenAction};
use crate::plan::OutputColumn;
use crate::statement::{self, AlertAction, AlertStatement, Statement, alert_insert};

/// The least EVERY, in microseconds.
const EVERY_LEAST: i64 = 1_000_000;

/// CREATE ALERT. All that it names is bound, so that what is wrong is refused here.
pub(super) fn create(world: &World<'_>, binder: &mut Binder<'_>, alert: &CreateAlert) -> Result<Statement> {
    if let Some((name, _)) = crate::parse::first_parameter(&alert.text) {
        return Err(Error::new(ErrorKind::UndefinedParameter, format!("there is no parameter {name}")));
    }
    let plan = binder.bind_query(&alert.query)?;
    let columns: Vec<OutputColumn> = plan.columns().to_vec();
    view::check_columns(&columns)?;
    let every = time(binder, &alert.every, EVERY_LEAST, "cannot evaluate an alert every")?;
    let hold = alert.hold.as_deref().map(|text| time(binder, text, 0, "an alert cannot be pending for")).transpose()?;
    for WrittenAction { action, at } in &alert.actions {
        let AlertAction::Insert(target) = action else { continue };
        check_insert(world, &alert_insert(target, &alert.text))
            .map_err(|error| Error { position: Some(*at), ..error })?;
    }
    Ok(Statement::Alert(Box::new(AlertStatement::Create(statement::CreateAlert {
        name: alert.name.clone(),
        if_not_exists: alert.if_not_exists,
        query: alert.text.clone(),
        every,
        hold: hold.unwrap_or(0),
        actions: alert.actions.iter().map(|written| written.action.clone()).collect(),
    }))))
}

fn check_insert(world: &World<'_>, text: &str) -> Result<()> {
    let parsed = crate::parse::parse(text)?;
    let [parsed] = parsed.as_slice() else { return Err(not_one(text)) };
    let Ast::Insert(insert, _) = parsed.ast.as_ref() else { return Err(not_one(text)) };
    insert::insert(world, &mut world.binder(), insert, None).map(drop)
}

fn not_one(text: &str) -> Error {
    Error::new(ErrorKind::Syntax, format!("not an INSERT: {text}"))
}

/// An interval in microseconds.
fn time(binder: &mut Binder<'_>, text: &str, least: i64, wrong: &str) -> Result<i64> {
    view::micros(binder, text)?.filter(|micros| *micros >= least).ok_or_else(|| {
        Error::new(ErrorKind::InvalidParameter, format!("{wrong} \"{text}\"")).with_hint(
            "EVERY is a second or more, FOR may be nothing, both in units of up to a week: EVERY '1 minute'.",
        )
    })
}
