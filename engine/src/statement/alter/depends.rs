//! What uses a column: clauses of the table's own definition, and the queries of views and alerts.
//!
//! Definitions are kept as text, so they are bound, and the bound form is asked which columns it reads.

use std::sync::Arc;

use weir_sql::catalog::NoStatistics;
use weir_sql::plan::Plan;
use weir_sql::statement::Statement;
use weir_sql::{ErrorKind as SqlErrorKind, walk};

use super::Work;
use crate::alerts;
use crate::catalog::{AlertDef, CatalogState, ColumnDef, Entry, RelationDef, StateCatalog, TtlDef};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::registry;
use crate::session::Severity;
use crate::statement::define::dropped;
use crate::statement::names::sql_error;
use crate::statement::table::{bind_over, output_columns};

/// Whether an expression over a definition's columns reads one of them. One that does not bind is taken to.
pub(super) fn uses(sql: &str, def: &RelationDef, column: usize) -> bool {
    let relation = Entry::new(def.clone()).relation;
    bind_over(sql, &output_columns(&relation)).map_or(true, |expr| walk::columns_read(&expr).contains(&column))
}

/// Whether a rule of TTL goes by a column.
fn rule_uses(rule: &TtlDef, def: &RelationDef, at: usize) -> bool {
    let name = &def.columns[at].name;
    let named =
        |sql: &str| weir_sql::parse::rename_column(sql, name, &format!("{name} ")).is_ok_and(|other| other != sql);
    let in_condition = rule.condition.as_deref().is_some_and(|sql| uses(sql, def, at));
    rule.column == at || in_condition || (rule.rollup && named(&rule.sql))
}

/// The clauses of a table's definition that use a column.
pub(crate) fn clauses_with(def: &RelationDef, at: usize) -> Vec<&'static str> {
    let mut clauses = Vec::new();
    let in_text = |sql: &str| uses(sql, def, at);
    if def.primary_key.contains(&at) {
        clauses.push("primary key");
    }
    if def.order_by.contains(&at) {
        clauses.push("sorting key");
    }
    if def.partition_by.as_deref().is_some_and(in_text) {
        clauses.push("partition key");
    }
    if def.ttl.iter().any(|rule| rule_uses(rule, def, at)) {
        clauses.push("TTL");
    }
    if def.watermark.as_ref().is_some_and(|(column, sql)| *column == at || in_text(sql)) {
        clauses.push("watermark");
    }
    if def.merging.as_ref().is_some_and(|merging| merging.columns().contains(&at)) {
        clauses.push("engine");
    }
    clauses
}

/// An expression's text after a column was renamed.
pub(super) fn renamed(sql: &str, before: &RelationDef, after: &[ColumnDef], at: usize) -> Result<String> {
    let old = bind_over(sql, &output_columns(&Entry::new(before.clone()).relation))?;
    if !walk::columns_read(&old).contains(&at) {
        return Ok(sql.to_string());
    }
    let name = &before.columns[at].name;
    let text = weir_sql::parse::rename_column(sql, name, &after[at].name)?;
    let relation = Entry::new(RelationDef { columns: after.to_vec(), ..before.clone() }).relation;
    match bind_over(&text, &output_columns(&relation)) {
        Ok(same) if walk::same(&same, &old) => Ok(text),
        _ => {
            let message = format!("cannot rename column \"{name}\" because the expression \"{sql}\" uses it");
            Err(sql_error(SqlErrorKind::Unsupported, message))
        }
    }
}

/// Whether a plan reads a column of a relation.
fn reads(plan: &Plan, oid: u32, column: usize) -> bool {
    if let Plan::Scan(scan) = plan
        && scan.relation.oid == oid
    {
        let filtered = scan.filters.iter().any(|filter| walk::columns_read(filter).contains(&column));
        return filtered || scan.projection.contains(&column);
    }
    let mut found = false;
    walk::inputs(plan, &mut |input, _| found |= reads(input, oid, column));
    walk::expressions(plan, &mut |expr| {
        found |= walk::any(expr, &mut |node, _| match &node.kind {
            weir_sql::plan::ExprKind::Subquery(subquery) => reads(&subquery.plan, oid, column),
            _ => false,
        });
    });
    found
}

/// Whether the query of a view or an alert reads a column. One that does not bind is taken to.
fn query_reads(state: &CatalogState, query: &str, path: &[String], oid: u32, column: usize) -> bool {
    let bound = || -> Result<Plan> {
        let parsed = weir_sql::parse::parse(query)?;
        let catalog = StateCatalog { state, path };
        let statement = parsed.first().ok_or_else(|| Error::internal("a view without a query"))?;
        match weir_sql::bind::bind(statement, &catalog, registry(), &[])?.statement {
            Statement::Query(plan) => Ok(weir_sql::rules::optimise(plan, registry(), &NoStatistics)),
            _ => Err(Error::internal("a view of no query")),
        }
    };
    bound().map_or(true, |plan| reads(&plan, oid, column))
}

impl Work<'_> {
    /// The views whose queries read a column of the new definition, those on such views too.
    fn readers(&self, at: usize) -> Vec<Arc<Entry>> {
        let Some(old) = self.origins[at].old else { return Vec::new() };
        let state = &self.running.view.state;
        let mut found: Vec<Arc<Entry>> = Vec::new();
        for view in state.dependents(self.def.oid) {
            let transform = view.def.transform.as_ref().map(|transform| &transform.query);
            let mut queries = view.def.query.iter().chain(transform);
            if queries.any(|query| query_reads(state, query, &view.def.search_path, self.def.oid, old)) {
                found.push(view.clone());
            }
        }
        found
    }

    /// The alerts whose queries do.
    fn alerts(&self, at: usize) -> Vec<Arc<AlertDef>> {
        let Some(old) = self.origins[at].old else { return Vec::new() };
        let (state, oid) = (&self.running.view.state, self.def.oid);
        let reads = |alert: &&Arc<AlertDef>| query_reads(state, &alert.query, &alert.search_path, oid, old);
        state.alerts_on(oid).filter(reads).cloned().collect()
    }

    /// Refuses to change a column that a view's query names.
    pub(super) fn refuse_if_read(&self, at: usize, what: &str) -> Result<()> {
        let (column, table) = (&self.def.columns[at].name, &self.def.name);
        let (noun, reader) = match (self.readers(at).first(), self.alerts(at).first()) {
            (Some(view), _) => ("a view", format!("{} {}", view.def.kind.noun(), view.def.name)),
            (None, Some(alert)) => ("an alert", format!("alert {}", alert.name)),
            (None, None) => return Ok(()),
        };
        let message = match (what, noun) {
            ("alter type of", "a view") => "cannot alter type of a column used by a view or rule".to_string(),
            (what, noun) => format!("cannot {what} column \"{column}\" of table \"{table}\" used by {noun}"),
        };
        let detail = format!("{reader} depends on column {column} of table {table}");
        Err(sql_error(SqlErrorKind::Unsupported, message).with_detail(detail))
    }

    /// What uses a column that is to go: with CASCADE it goes too, otherwise it forbids it.
    pub(super) fn drop_dependents(&mut self, at: usize, cascade: bool) -> Result<()> {
        let (column, table) = (self.def.columns[at].name.clone(), self.def.name.clone());
        let clauses = clauses_with(&self.def, at);
        let (views, alerts) = (self.readers(at), self.alerts(at));
        let kept: Vec<&str> = clauses.iter().copied().filter(|clause| !cascade || *clause != "TTL").collect();
        let is_read = !views.is_empty() || !alerts.is_empty();
        if !kept.is_empty() || (is_read && !cascade) {
            let what = format!("column {column} of table {table}");
            let own = kept.iter().map(|clause| format!("{clause} of table {table} depends on {what}"));
            let others = views.iter().map(|v| format!("{} {} depends on {what}", v.def.kind.noun(), v.def.name));
            let alerts = alerts.iter().map(|alert| format!("alert {} depends on {what}", alert.name));
            let lines: Vec<String> = own.chain(others).chain(alerts).collect();
            let message = format!("cannot drop {what} because other objects depend on it");
            let error = Error::new(ErrorKind::DependentObjects, message).with_detail(lines.join("\n"));
            return Err(match kept.iter().any(|clause| *clause != "TTL") {
                true => error,
                false => error.with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
            });
        }
        if clauses.contains(&"TTL") {
            let def = self.def.clone();
            self.def.ttl.retain(|rule| !rule_uses(rule, &def, at));
        }
        self.drop_readers(views, alerts);
        Ok(())
    }

    fn drop_readers(&mut self, views: Vec<Arc<Entry>>, alerts: Vec<Arc<AlertDef>>) {
        let names = views.iter().map(|view| format!("{} {}", view.def.kind.noun(), view.def.name));
        let names: Vec<String> = names.chain(alerts.iter().map(|alert| format!("alert {}", alert.name))).collect();
        let message = match names.as_slice() {
            [] => return,
            [one] => format!("drop cascades to {one}"),
            many => format!("drop cascades to {} other objects", many.len()),
        };
        self.session.notice(Severity::Notice, "00000", message);
        let state = self.running.view.state.clone();
        let mut gone: Vec<u32> = Vec::new();
        let mut next: Vec<u32> = views.iter().map(|view| view.def.oid).collect();
        while let Some(oid) = next.pop() {
            if !gone.contains(&oid) {
                gone.push(oid);
                next.extend(state.dependents(oid).map(|view| view.def.oid));
            }
        }
        let on_gone = state.alerts().filter(|alert| alert.depends.iter().any(|input| gone.contains(input)));
        let mut alerts: Vec<&Arc<AlertDef>> = alerts.iter().chain(on_gone).collect();
        alerts.sort_by_key(|alert| alert.oid);
        alerts.dedup_by_key(|alert| alert.oid);
        self.others.extend(alerts.into_iter().map(|alert| alerts::dropped(alert)));
        for oid in gone {
            self.others.extend(state.entry(oid).into_iter().flat_map(|entry| dropped(&entry.def)));
        }
    }
}
