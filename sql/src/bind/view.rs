//! CREATE VIEW and CREATE MATERIALIZED VIEW: the query, its columns' names, and how a materialized view's states are kept.

use arrow::array::AsArray;
use arrow::datatypes::IntervalMonthDayNanoType;

use super::{Binder, emit, layout};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::{CreateView, Layout};
use crate::plan::{Expr, ExprKind, OutputColumn, Plan};
use crate::statement::{CreateMaterializedView, Statement};
use crate::types::Type;

/// CREATE VIEW and CREATE MATERIALIZED VIEW.
pub(super) fn create_view(binder: &mut Binder<'_>, view: &CreateView) -> Result<Statement> {
    let plan = binder.bind_query(&view.query)?;
    let mut columns: Vec<OutputColumn> =
        plan.columns().iter().map(|column| OutputColumn { origin: None, ..column.clone() }).collect();
    if view.columns.len() > columns.len() {
        let at = view.columns[columns.len()].at;
        return Err(Error::new(ErrorKind::Syntax, "CREATE VIEW specifies more column names than columns").at(at));
    }
    for (column, name) in columns.iter_mut().zip(&view.columns) {
        column.name = name.name.clone();
    }
    check_columns(&columns)?;
    if !view.materialized {
        return Ok(Statement::CreateView {
            name: view.name.clone(),
            or_replace: view.or_replace,
            if_not_exists: view.if_not_exists,
            query: view.text.clone(),
            columns,
        });
    }
    check_engine(view.layout.engine.as_deref())?;
    if view.to.is_some() && (view.refresh.is_some() || !is_empty(&view.layout)) {
        let message = "a materialized view TO a table keeps no rows, so no clause says how";
        return Err(Error::new(ErrorKind::InvalidDefinition, message)
            .with_hint("ENGINE, PARTITION BY, ORDER BY and TTL are the table's."));
    }
    let refresh = view.refresh.as_deref().map(|text| every(binder, text)).transpose()?;
    let emit = view.emit.as_ref().map(|written| emit::emit(binder, written)).transpose()?;
    let layout = layout::layout(binder, &view.layout, &columns, &[])?;
    Ok(Statement::CreateMaterializedView(CreateMaterializedView {
        name: view.name.clone(),
        if_not_exists: view.if_not_exists,
        query: view.text.clone(),
        plan,
        columns,
        layout,
        with_data: view.with_data,
        alters: view.alters,
        refresh,
        emit,
        late: emit::late(&view.layout.options)?,
        to: view.to.clone(),
    }))
}

/// Refuses columns that a definition cannot keep.
pub(super) fn check_columns(columns: &[OutputColumn]) -> Result<()> {
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].iter().any(|other| other.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
        // A record has no name that its fields could be read back from.
        if has_record(&column.ty) {
            let message = format!("column \"{}\" has pseudo-type {}", column.name, column.ty);
            return Err(Error::new(ErrorKind::InvalidDefinition, message));
        }
    }
    Ok(())
}

/// Whether nothing stands between the name and AS.
fn is_empty(layout: &Layout) -> bool {
    let Layout { engine, engine_args, partition_by, order_by, primary_key, ttl, on_commit: _, options } = layout;
    let (engine, keys) = (engine.is_none() && engine_args.is_empty(), order_by.is_none() && primary_key.is_none());
    engine && keys && partition_by.is_none() && ttl.is_empty() && options.is_empty()
}

/// The interval of REFRESH EVERY, in microseconds.
fn every(binder: &mut Binder<'_>, text: &str) -> Result<i64> {
    micros(binder, text)?.filter(|micros| *micros >= 1_000_000).ok_or_else(|| {
        Error::new(ErrorKind::InvalidParameter, format!("cannot refresh every \"{text}\""))
            .with_hint("Name a time of a second or more, in units of up to a week: REFRESH EVERY '5 minutes'.")
    })
}

/// An interval's text in microseconds; `None` if it has months, or none could be so long.
pub(super) fn micros(binder: &mut Binder<'_>, text: &str) -> Result<Option<i64>> {
    let interval =
        binder.bind_expr_over(&crate::parse::expr(&format!("INTERVAL '{}'", text.replace('\'', "''")))?, &[])?;
    let value = match &interval.kind {
        ExprKind::Literal(value) if !value.is_null() => value.array.as_primitive_opt::<IntervalMonthDayNanoType>(),
        _ => None,
    };
    Ok(value.map(|interval| interval.value(0)).and_then(|interval| {
        let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
        (interval.months == 0).then_some(days.checked_add(interval.nanoseconds / 1000)?)
    }))
}

fn has_record(ty: &Type) -> bool {
    match ty {
        Type::Record(_) => true,
        Type::Array(element) => has_record(element),
        _ => false,
    }
}

/// Whatever the MergeTree, a view is kept equal to its query: SummingMergeTree does not sum what is no sum.
fn check_engine(engine: Option<&str>) -> Result<()> {
    match engine {
        Some(engine) if !engine.to_ascii_lowercase().ends_with("mergetree") => Err(Error::new(
            ErrorKind::Unsupported,
            format!("ENGINE = {engine} is not supported for a materialized view"),
        )
        .with_hint("Leave ENGINE out, or use one of the MergeTree family.")),
        _ => Ok(()),
    }
}

/// A view's plan with the columns that the view was defined with: tables that its `*` stands for may have got more since.
pub fn narrowed(plan: Plan, names: &[&str]) -> Plan {
    if plan.columns().len() <= names.len() {
        return plan;
    }
    let all = plan.columns();
    let by_name: Option<Vec<usize>> =
        names.iter().map(|name| all.iter().position(|column| column.name == *name)).collect();
    // A list of names of the view's own: they are the first.
    let kept = by_name.unwrap_or_else(|| (0..names.len()).collect());
    let exprs = kept.iter().map(|&column| Expr::column(column, all[column].ty.clone())).collect();
    let columns = kept.iter().map(|&column| all[column].clone()).collect();
    Plan::Project { input: Box::new(plan), exprs, columns }
}
