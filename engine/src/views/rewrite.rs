//! Queries on a table that are answered from a view on it.
//!
//! Each aggregation over one table is held against the views on that table ([`ViewPlan::answer`](crate::exec::ViewPlan)), before other rules see it. Of
//! several that can answer it the one with the fewest rows does, if it is less to read than the table. `weir.view_rewrite` says whether.
//!
//! A view equals its SELECT over all rows that its table has had since the view began; what a table shows may be less. So only such views are asked
//! that are *in step* (kept in the definition, `in_step`): filled when they were made, on a table of which no partition was dropped, detached,
//! attached or moved since. What ends that ends it for good, until ALTER MATERIALIZED VIEW … AS fills the view anew. Where the table has, or had, a TTL
//! a view is in step as far as rows are younger than that (`whole`), and is asked where the query says that it wants no others.

use std::sync::Arc;

use weir_sql::plan::{ExprKind, Plan};
use weir_sql::walk;
use weir_storage::{Change, TableId};

use super::plan_of;
use crate::cancel::Cancel;
use crate::catalog::definition::WholeDef;
use crate::catalog::{CatalogState, Entry, Kind, RelationDef};
use crate::error::Result;
use crate::exec::partial::{Answer, Asked, Asker};
use crate::kernels::datetime::MICROS_PER_DAY;
use crate::session::settings::SessionSettings;
use crate::session::{View, now_micros};
use crate::statement::define::set_relation;
use crate::statement::table::detached_context;

/// A table of so few rows is read as fast as a view: there it is not asked what is less.
const FEW_ROWS: u64 = 8192;

/// A row's age is taken for less than it is by so much: clocks differ by zones, and a transaction's stands still.
const SLACK: i64 = 2 * MICROS_PER_DAY;

/// Whether a view shows what its SELECT gives over the rows that its table shows; of some, only where they are young (`whole`).
fn answers_exactly(entry: &Entry) -> bool {
    let def = &entry.def;
    // One that leaves rows out shows something else.
    let shows_all = !def.shows_closed() && def.late.is_none();
    def.keeps_states() && !def.building && def.in_step && def.ttl.is_empty() && shows_all
}

/// Says of a view that is about to be made whether it starts in step.
pub(super) fn start_in_step(def: &mut RelationDef, with_data: bool, state: &CatalogState) {
    def.in_step = with_data;
    for input in &def.depends.clone() {
        match state.entry(*input) {
            Some(entry) => keep_whole(def, &entry.def),
            None => def.in_step = false,
        }
    }
}

/// Says of a view what its input's TTL leaves in step.
fn keep_whole(def: &mut RelationDef, input: &RelationDef) {
    for rule in &input.ttl {
        let column = input.ids()[rule.column];
        let days = i64::from(rule.months) * 28 + i64::from(rule.days);
        // Where days are counted, a row goes up to one before its time.
        let micros = days.saturating_sub(1).saturating_mul(MICROS_PER_DAY).saturating_add(rule.micros);
        match &mut def.whole {
            None => def.whole = Some(WholeDef { column, micros }),
            Some(whole) if whole.column == column => whole.micros = whole.micros.min(micros),
            Some(_) => def.in_step = false,
        }
    }
}

/// The changes which say that the views on a table, whose definition will be this one, keep what its TTL takes.
pub(crate) fn under_ttl(state: &CatalogState, def: &RelationDef) -> Result<Vec<Change>> {
    let views = state.fed_by(def.oid).filter(|entry| entry.def.in_step).map(|entry| {
        let mut view = entry.def.clone();
        keep_whole(&mut view, def);
        (entry, view)
    });
    views.filter(|(entry, view)| entry.def != *view).map(|(_, view)| set_relation(&view)).collect()
}

/// The changes which say that views keep what this table, or view, no longer shows, or lack what it does.
pub(crate) fn out_of_step(state: &CatalogState, relation: u32) -> Result<Vec<Change>> {
    let own = state.entry(relation).filter(|entry| entry.def.kind == Kind::Materialized);
    let views = state.fed_by(relation).chain(own).filter(|entry| entry.def.in_step);
    views.map(|entry| set_relation(&RelationDef { in_step: false, ..entry.def.clone() })).collect()
}

/// What decides how a session's queries are rewritten; `None` if they are not. What is young enough today is not so next month.
pub(crate) fn rewrites_under(settings: &SessionSettings) -> Option<(bool, bool, i64)> {
    let (utc, styled) = Asker::clock_and_styles(settings);
    settings.is_on("weir.view_rewrite").then(|| (utc, styled, now_micros() / MICROS_PER_DAY))
}

/// Lets views answer what they can of a plan.
pub(crate) fn rewrite(plan: &mut Plan, view: &View) {
    let settings = &view.session.settings;
    if !view.state.entries().any(|entry| answers_exactly(entry)) || !settings.is_on("weir.view_rewrite") {
        return;
    }
    let context = Arc::new(detached_context(&view.database, &Cancel::default()));
    Rewriter { view, asker: Asker::new(settings, context) }.rewrite(plan);
}

struct Rewriter<'a> {
    view: &'a View,
    asker: Asker,
}

impl Rewriter<'_> {
    fn rewrite(&self, plan: &mut Plan) {
        if let Plan::Aggregate { .. } = plan
            && let Some(answer) = self.answer(plan)
        {
            *plan = answer;
            return;
        }
        walk::expressions_mut(plan, &mut |expr| {
            walk::visit_mut_shallow(expr, &mut |node| {
                if let ExprKind::Subquery(subquery) = &mut node.kind
                    && !subquery.correlated
                {
                    self.rewrite(&mut subquery.plan);
                }
            });
        });
        // What reads the row beside it is taken apart by other rules.
        walk::inputs_mut(plan, &mut |input, is_lateral| {
            if !is_lateral {
                self.rewrite(input);
            }
        });
    }

    /// The same from a view.
    fn answer(&self, plan: &Plan) -> Option<Plan> {
        let state = &self.view.state;
        let table = state.entry(scanned(plan)?)?;
        if table.def.kind != Kind::Table {
            return None;
        }
        let mut views = state.fed_by(table.def.oid).filter(|entry| answers_exactly(entry)).peekable();
        views.peek()?;
        let asked = Asked::of(plan, &self.asker)?;
        let answers = views.filter(|entry| is_whole(entry, table, &asked)).filter_map(|entry| {
            let answer = plan_of(state, entry).ok()?.answer(&asked, &entry.relation, &self.asker)?;
            Some((self.rows(entry), answer))
        });
        let (rows, answer) = answers.min_by_key(|(rows, _)| *rows)?;
        self.pays(table, &asked, rows, &answer).then_some(answer.plan)
    }

    fn rows(&self, entry: &Entry) -> u64 {
        self.view.snapshot.table(TableId(entry.def.oid)).map_or(0, |table| table.rows())
    }

    fn pays(&self, table: &Entry, asked: &Asked, rows: u64, answer: &Answer) -> bool {
        let of_table = self.rows(table);
        of_table <= FEW_ROWS || rows.saturating_mul(answer.width as u64) < of_table.saturating_mul(asked.width() as u64)
    }
}

/// Whether the table has all rows that a query is about and the view keeps.
fn is_whole(view: &Entry, table: &Entry, asked: &Asked) -> bool {
    let Some(whole) = &view.def.whole else { return table.def.ttl.is_empty() };
    let column = table.def.ids().iter().position(|id| *id == whole.column);
    let age = column.and_then(|column| asked.age_max(column, now_micros()));
    age.is_some_and(|age| age.saturating_add(SLACK) <= whole.micros)
}

/// The relation that an aggregation over filters and projections reads.
fn scanned(plan: &Plan) -> Option<u32> {
    match plan {
        Plan::Scan(scan) => Some(scan.relation.oid),
        Plan::Aggregate { input, .. }
        | Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::Cte { input, .. } => scanned(input),
        _ => None,
    }
}
