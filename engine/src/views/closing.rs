//! When the windows of a view close: once the watermark of what it reads has come to their end.
//!
//! A view that is made with EMIT ON WINDOW CLOSE shows closed windows alone. That is a filter on what a read gives, and no commit: so no other view can
//! follow it.

use std::collections::BTreeSet;

use weir_sql::bind::Binder;
use weir_sql::plan::{Expr, OutputColumn, Plan};
use weir_sql::{ErrorKind as SqlErrorKind, Type, walk};
use weir_storage::Snapshot;

use super::plan_of;
use crate::catalog::{CatalogState, Entry};
use crate::error::{Error, Result};
use crate::exec::{self, Bound, Traced, ViewPlan};
use crate::format::datetime::write_timestamp;
use crate::format::{IntervalStyle, interval};
use crate::functions::registry;
use crate::functions::watermark::WATERMARK;
use crate::statement::table::{NoRelations, bind_over, output_columns};
use crate::watermark;

/// The windows of rows.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    /// The column that says when a row's window ends; or when it begins, where the windows are times that are cut to a unit.
    pub(crate) column: usize,
    /// The end of a row's window, in UTC: SQL of type timestamp over the columns, which are called as [`numbered`] calls them.
    end: String,
}

/// The windows that rows of these columns have, if they are of times with a WATERMARK; otherwise the reason why there are none.
fn windows(
    state: &CatalogState,
    columns: &[OutputColumn],
    times: &[Option<Traced>],
) -> std::result::Result<Windows, String> {
    let bounds: Vec<(usize, Traced)> =
        times.iter().enumerate().filter_map(|(at, traced)| Some((at, through_views(state, traced.clone()?)))).collect();
    let ends = bounds.iter().filter(|(_, traced)| traced.bound == Bound::End);
    let starts = bounds.iter().filter(|(_, traced)| matches!(traced.bound, Bound::Start(Some(_))));
    let Some((column, traced)) = ends.chain(starts).next() else {
        return Err("no column is the end of a window of time, nor a time that is cut to a unit".to_string());
    };
    for (oid, column) in &traced.times {
        is_event_time(state, *oid, *column)?;
    }
    let mut end = format!("c{column}");
    if columns[*column].ty == Type::Timestamptz {
        // Views cut days in UTC, whatever the reader's zone.
        end = format!("timezone('UTC', {end})");
    }
    if let Bound::Start(Some(length)) = traced.bound {
        let mut text = Vec::new();
        interval::write(length, IntervalStyle::default(), &mut text);
        end = format!("{end} + INTERVAL '{}'", String::from_utf8_lossy(&text));
    }
    Ok(Windows { column: *column, end })
}

/// What a column says of time which may be one of a view that says it.
fn through_views(state: &CatalogState, traced: Traced) -> Traced {
    let ([(oid, column)], Bound::Time) = (traced.times.as_slice(), traced.bound) else { return traced };
    let view = state.entry(*oid).filter(|entry| entry.def.keeps_states());
    let plan = view.and_then(|view| plan_of(state, view).ok());
    match plan.and_then(|plan| plan.times().get(*column).cloned().flatten()) {
        Some(below) => through_views(state, below),
        None => traced,
    }
}

/// The columns by names that stand for their places.
fn numbered(columns: &[OutputColumn]) -> Vec<OutputColumn> {
    let column = |(at, column): (usize, &OutputColumn)| OutputColumn { name: format!("c{at}"), ..column.clone() };
    columns.iter().enumerate().map(column).collect()
}

/// Whether a column is what the WATERMARK of its table is for, or comes from that in a view; otherwise the reason why not.
fn is_event_time(state: &CatalogState, oid: u32, column: usize) -> std::result::Result<(), String> {
    let Some(entry) = state.entry(oid) else { return Err("its windows are not of a table".to_string()) };
    let name = entry.def.columns.get(column).map_or("", |column| &column.name);
    if entry.def.keeps_states() {
        let plan = plan_of(state, entry).map_err(|error| error.message)?;
        return match plan.times().get(column).and_then(Option::as_ref) {
            Some(traced) => traced.times.iter().try_for_each(|(oid, column)| is_event_time(state, *oid, *column)),
            None => Err(format!("\"{name}\" of \"{}\" is no time of a table with WATERMARK", entry.def.name)),
        };
    }
    match &entry.def.watermark {
        Some((time, _)) if *time == column => Ok(()),
        Some(_) => {
            Err(format!("its windows are over \"{name}\", which the WATERMARK of \"{}\" is not for", entry.def.name))
        }
        None => Err(format!("\"{}\" has no WATERMARK", entry.def.name)),
    }
}

/// A view's windows; `None` if it has none that close.
pub(crate) fn windows_of(state: &CatalogState, view: &Entry) -> Result<Option<Windows>> {
    match view.def.keeps_states() {
        true => Ok(windows(state, &output_columns(&view.relation), plan_of(state, view)?.times()).ok()),
        false => Ok(None),
    }
}

impl Windows {
    /// Whether a row's window is closed at a watermark: a condition over the view's columns.
    pub(crate) fn closed(&self, view: &Entry, watermark: i64) -> Result<Expr> {
        let mut text = Vec::new();
        write_timestamp(watermark, b' ', &mut text);
        let sql = format!("{} <= timestamp '{}'", self.end, String::from_utf8_lossy(&text));
        bind_over(&sql, &numbered(&output_columns(&view.relation)))
    }
}

/// What a read of a view shows of its rows besides what is asked: with EMIT ON WINDOW CLOSE, closed windows.
pub(crate) fn shown(state: &CatalogState, snapshot: &Snapshot, view: &Entry) -> Result<Option<Expr>> {
    if !view.def.shows_closed() {
        return Ok(None);
    }
    let windows = windows_of(state, view)?.ok_or_else(|| Error::internal("a view's windows are gone"))?;
    match watermark::of_view(state, snapshot, view) {
        Some(watermark) => windows.closed(view, watermark).map(Some),
        None => bind_over("false", &[]).map(Some),
    }
}

/// The rows of a query whose windows are closed when it runs: before LIMIT counts them.
pub(crate) fn closed(state: &CatalogState, mut plan: Plan) -> weir_sql::Result<Plan> {
    if let Plan::Limit { input, .. } | Plan::Sort { input, .. } = &mut plan {
        let below = std::mem::replace(&mut **input, Plan::Values { rows: Vec::new(), columns: Vec::new() });
        **input = closed(state, below)?;
        return Ok(plan);
    }
    let columns = plan.columns().to_vec();
    let times: Vec<Option<Traced>> = (0..columns.len()).map(|column| exec::traced(&plan, column)).collect();
    let windows = match windows(state, &columns, &times) {
        Err(why) => Err(unclosed("EMIT ON WINDOW CLOSE", &why)),
        Ok(_) if has_limit(&plan) => Err(unclosed("EMIT ON WINDOW CLOSE", "LIMIT counts windows that are not closed")),
        Ok(windows) => Ok(windows),
    }?;
    let mut oids = BTreeSet::new();
    scanned(&plan, &mut oids);
    let reads = |oid: &u32| state.entry(*oid).is_some_and(|entry| !watermark::tables_read(state, entry).is_empty());
    let passed = |oid| format!("{} <= timezone('UTC', {WATERMARK}({oid}::oid::regclass))", windows.end);
    let sql: Vec<String> = oids.into_iter().filter(reads).map(passed).collect();
    let parsed = weir_sql::parse::expr(&sql.join(" AND "))?;
    let predicate = Binder::new(&NoRelations, registry(), &[]).bind_expr_over(&parsed, &numbered(&columns))?;
    Ok(Plan::Filter { input: Box::new(plan), predicate })
}

fn has_limit(plan: &Plan) -> bool {
    match plan {
        Plan::Limit { .. } => true,
        Plan::Project { input, .. } | Plan::Sort { input, .. } | Plan::Filter { input, .. } => has_limit(input),
        _ => false,
    }
}

/// The relations that a plan scans.
fn scanned(plan: &Plan, oids: &mut BTreeSet<u32>) {
    if let Plan::Scan(scan) = plan {
        oids.insert(scan.relation.oid);
    }
    walk::inputs(plan, &mut |input, _| scanned(input, oids));
}

/// The windows of a view that is about to be made.
pub(super) fn windows_for(state: &CatalogState, view: &Entry, plan: &ViewPlan) -> std::result::Result<Windows, String> {
    windows(state, &output_columns(&view.relation), plan.times())
}

/// Whether a view that is about to be made can do what EMIT asks.
pub(super) fn check(state: &CatalogState, view: &Entry, plan: &ViewPlan) -> Result<()> {
    match windows_for(state, view, plan) {
        Err(why) if view.def.shows_closed() => Err(unclosed("EMIT ON WINDOW CLOSE", &why).into()),
        _ => Ok(()),
    }
}

pub(super) fn unclosed(what: &str, why: &str) -> weir_sql::Error {
    weir_sql::Error::new(SqlErrorKind::Unsupported, format!("{what} needs windows that close"))
        .with_detail(format!("The reason: {why}."))
        .with_hint("Give the table WATERMARK FOR time AS time - INTERVAL '5 seconds', and show window_end of a window of that time.")
}
