//! CREATE MATERIALIZED VIEW … TO: rows that come to one table bring rows of a SELECT to another, in the same commit.
//!
//! This is ClickHouse's form. INSERT, COPY and streams bring rows; what was there before does not, and UPDATE, DELETE and whole partitions change nothing
//! of what was brought. The SELECT runs over the rows that come alone, tens of megabytes at a time; other tables that it joins are read as they are. Its
//! columns are the table's by name, cast as an INSERT casts them, and others get their defaults. To be selected from, the view is a view of these
//! columns.
//!
//! A SELECT with groups gives the groups of these rows only, so the table has to be one that makes one row of what comes to a key
//! (SummingMergeTree, AggregatingMergeTree). Rows of a table may come to another in one way only, where that one has a key: what a key brings is
//! settled once a statement.

use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::catalog::{NoStatistics, Relation};
use weir_sql::plan::{Expr, ExprKind, OutputColumn, Plan};
use weir_sql::statement::{CreateMaterializedView, ObjectName};
use weir_sql::{Value, walk};

use super::bound_narrowed;
use crate::catalog::definition::TransformDef;
use crate::catalog::describe::quote;
use crate::catalog::{CatalogState, Entry, Kind, MergingDef, RelationDef};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::{self, QueryContext, RelationRows, Relations};
use crate::functions::{Context, registry};
use crate::session::Session;
use crate::session::context::TEMPORARY;
use crate::session::run::Running;
use crate::statement::define::{blank, define, dependencies, set_relation, view_columns};
use crate::statement::names::{Named, does_not_exist, look_up, sql_error};
use crate::statement::relations::StoredRelations;
use crate::statement::table::{assigned, detached_context};
use crate::statement::ttl;
use crate::statement::unique::Policy;
use crate::statement::writer::{Base, Writer};
use crate::transaction::Pending;

/// The SELECT runs when there are this many bytes of rows.
const BYTES_AT_ONCE: usize = 32 << 20;

/// Makes a view that brings rows to a table.
pub(super) fn create(
    session: &mut Session,
    running: &Running,
    create: &CreateMaterializedView,
    schema: String,
    to: &ObjectName,
) -> Result<()> {
    let state = &running.view.state;
    let into = match look_up(&running.view, to) {
        Named::User(entry) if entry.def.kind == Kind::Table => entry,
        Named::User(_) | Named::System => {
            return Err(sql_error(SqlErrorKind::WrongObjectType, format!("\"{}\" is not a table", to.name)));
        }
        Named::Nothing => return Err(does_not_exist(to)),
    };
    if into.def.schema.starts_with(TEMPORARY) {
        return Err(sql_error(SqlErrorKind::Unsupported, "materialized views must not use temporary tables"));
    }
    let from = source(&create.plan, state)?;
    let mut depends = dependencies(&running.view, &create.query)?;
    check_ways(state, &from, &into)?;
    check_groups(&create.plan, &into.def)?;
    rows_of(&create.plan, &create.columns, &into)?;
    if !depends.contains(&into.def.oid) {
        depends.push(into.def.oid);
    }
    let (names, name) = (create.columns.iter().map(|column| quote(&column.name)), into_name(&into.def));
    let def = RelationDef {
        query: Some(format!("SELECT {} FROM {name}", names.collect::<Vec<_>>().join(", "))),
        search_path: running.view.path(),
        depends,
        transform: Some(TransformDef { from: from.def.oid, into: into.def.oid, name, query: create.query.clone() }),
        ..blank(session.database.new_oid(), schema, &create.name.name, Kind::View, shown(create, &into))
    };
    define(session, running, vec![set_relation(&def)?])
}

fn into_name(def: &RelationDef) -> String {
    format!("{}.{}", quote(&def.schema), quote(&def.name))
}

/// The view's columns, of the table's types.
fn shown(create: &CreateMaterializedView, into: &Entry) -> Vec<crate::catalog::ColumnDef> {
    let mut columns = view_columns(&create.columns);
    for column in &mut columns {
        if let Some(own) = into.def.columns.iter().find(|own| own.name == column.name) {
            column.ty = own.ty.clone();
        }
    }
    columns
}

/// The table whose rows the SELECT is of: the first that it names.
fn source(plan: &Plan, state: &CatalogState) -> Result<Arc<Entry>> {
    let mut first = plan;
    let found = loop {
        first = match first {
            Plan::Scan(scan) => break state.entry(scan.relation.oid).filter(|entry| entry.def.kind == Kind::Table),
            Plan::Filter { input, .. }
            | Plan::Project { input, .. }
            | Plan::ProjectSet { input, .. }
            | Plan::Aggregate { input, .. }
            | Plan::Window { input, .. }
            | Plan::Sort { input, .. }
            | Plan::Limit { input, .. }
            | Plan::Distinct { input, .. }
            | Plan::Cte { input, .. }
            | Plan::Join { left: input, .. } => input,
            _ => break None,
        }
    };
    let Some(entry) = found else { return Err(refused("The first that its SELECT reads is no table.")) };
    if scans(plan, entry.def.oid) > 1 {
        return Err(refused("Its SELECT reads the table more than once, and only rows that come are there.")
            .with_hint("Leave TO out: a view that keeps its rows itself may."));
    }
    Ok(entry.clone())
}

/// How often a plan scans a relation.
fn scans(plan: &Plan, oid: u32) -> usize {
    let mut count = usize::from(matches!(plan, Plan::Scan(scan) if scan.relation.oid == oid));
    walk::plans(plan, &mut |below| count += scans(below, oid));
    count
}

fn refused(why: &str) -> Error {
    let message = "this materialized view cannot bring rows to a table";
    sql_error(SqlErrorKind::Unsupported, message).with_detail(why.to_string())
}

/// How many ways rows take from one table to another, by views that are there. There are no circles.
fn ways(state: &CatalogState, from: u32, to: u32) -> usize {
    if from == to {
        return 1;
    }
    let next = state.transforms_of(from).filter_map(|view| view.def.transform.as_ref());
    next.map(|transform| ways(state, transform.into, to)).sum()
}

/// Rows come back to no table, and to one with a key in one way.
fn check_ways(state: &CatalogState, from: &Entry, into: &Entry) -> Result<()> {
    if ways(state, into.def.oid, from.def.oid) > 0 {
        return Err(refused(&format!("Rows would come from \"{}\" to itself.", from.def.name)));
    }
    let tables = || state.entries().filter(|entry| entry.def.kind == Kind::Table);
    let (from, into) = (from.def.oid, into.def.oid);
    for keyed in tables().filter(|table| table.def.key().is_some() && ways(state, into, table.def.oid) > 0) {
        let twice =
            |table: &&Arc<Entry>| ways(state, table.def.oid, from) > 0 && ways(state, table.def.oid, keyed.def.oid) > 0;
        if let Some(table) = tables().find(twice) {
            let why = format!(
                "Rows of \"{}\" come to \"{}\" another way already, which has a key.",
                table.def.name, keyed.def.name
            );
            return Err(refused(&why));
        }
    }
    Ok(())
}

/// Groups are of the rows that come at one time: the table has to fold those of other times into them.
fn check_groups(plan: &Plan, into: &RelationDef) -> Result<()> {
    let mut place = plan;
    while let Plan::Project { input, .. } | Plan::Filter { input, .. } | Plan::Sort { input, .. } = place {
        place = input;
    }
    let has_groups = |plan: &Plan| {
        fn any(plan: &Plan) -> bool {
            let mut found = matches!(plan, Plan::Aggregate { .. } | Plan::Distinct { .. } | Plan::Window { .. });
            walk::inputs(plan, &mut |input, _| found = found || any(input));
            found
        }
        any(plan)
    };
    if !has_groups(plan) {
        return Ok(());
    }
    let hint = "Leave TO out: the view keeps its groups itself, and is right after deletes too.";
    let refuse = |why: String| Err(refused(&why).with_hint(hint));
    let Plan::Aggregate { input, keys, aggregates, .. } = place else {
        return refuse("DISTINCT and window functions would see the rows of one INSERT only.".into());
    };
    if has_groups(input) || !folds_pass(plan) {
        return refuse("Groups of groups, and those that HAVING leaves, cannot be added to others.".into());
    }
    for (at, column) in plan.columns().iter().enumerate() {
        let Some(own) = into.columns.iter().position(|own| own.name == column.name) else { continue };
        let Some(origin) = origin(plan, at) else {
            return refuse(format!("Column \"{}\" is made of aggregates; what is added up are these.", column.name));
        };
        if origin < keys.len() {
            if into.merging.is_some() && !into.order_by.contains(&own) {
                return refuse(format!(
                    "Column \"{}\" is a group key, and no part of the table's ORDER BY.",
                    column.name
                ));
            }
            continue;
        }
        let call = &aggregates[origin - keys.len()];
        let (name, _) = weir_sql::catalog::Functions::aggregate(registry(), call.function);
        let adds_up = matches!(name, "sum" | "count") && !call.distinct && call.combinator.is_none();
        let is_folded = match &into.merging {
            Some(MergingDef::Summing(columns)) if columns.contains(&own) => adds_up,
            Some(MergingDef::Summing(_) | MergingDef::Aggregating) => {
                into.columns[own].fold.is_some() || matches!(into.columns[own].ty, weir_sql::Type::State(_))
            }
            _ => false,
        };
        if !is_folded {
            return refuse(format!(
                "The table does not fold what {}() gives for \"{}\" at one time with what it gives at another.",
                call.name, column.name
            ));
        }
    }
    Ok(())
}

/// Whether nothing but projections stands above the groups.
fn folds_pass(plan: &Plan) -> bool {
    match plan {
        Plan::Aggregate { .. } => true,
        Plan::Project { input, .. } | Plan::Sort { input, .. } => folds_pass(input),
        _ => false,
    }
}

/// The column of the groups that a plan's column is, under casts.
fn origin(plan: &Plan, column: usize) -> Option<usize> {
    match plan {
        Plan::Aggregate { .. } => Some(column),
        Plan::Sort { input, .. } => origin(input, column),
        Plan::Project { input, exprs, .. } => {
            let mut expr = exprs.get(column)?;
            while let ExprKind::Cast { expr: inner, .. } = &expr.kind {
                expr = inner;
            }
            match expr.kind {
                ExprKind::Column(column) => origin(input, column),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A SELECT's rows as those of a table, by the columns' names.
fn rows_of(plan: &Plan, columns: &[OutputColumn], into: &Entry) -> Result<Plan> {
    for column in columns {
        if !into.def.columns.iter().any(|own| own.name == column.name) {
            let message = format!("column \"{}\" of relation \"{}\" does not exist", column.name, into.def.name);
            let error = sql_error(SqlErrorKind::UndefinedColumn, message);
            return Err(error.with_hint("Columns of the SELECT go to the table's by name: give them names with AS."));
        }
    }
    let value = |own: &crate::catalog::ColumnDef| match columns.iter().position(|column| column.name == own.name) {
        Some(at) => assigned(Expr::column(at, plan.columns()[at].ty.clone()), &own.ty),
        None => match ttl::default(own)? {
            Some(default) => Ok(default),
            None if own.nullable => Ok(Expr::literal(Value::null(own.ty.clone()))),
            None => {
                let message = format!("column \"{}\" of relation \"{}\" gets no value", own.name, into.def.name);
                let error = sql_error(SqlErrorKind::InvalidDefinition, message);
                Err(error.with_detail("The SELECT does not give it, it has no default and does not admit NULL."))
            }
        },
    };
    let exprs = into.def.columns.iter().map(value).collect::<Result<_>>()?;
    let of = |own: &crate::catalog::ColumnDef| OutputColumn::computed(&own.name, own.ty.clone());
    let columns = into.def.columns.iter().map(of).collect();
    Ok(Plan::Project { input: Box::new(plan.clone()), exprs, columns })
}

/// What a view computes of rows, as rows of its table; made once a version of the catalogue.
fn plan_of(state: &CatalogState, view: &Entry, transform: &TransformDef, into: &Entry) -> Result<Arc<Plan>> {
    if let Some(plan) = view.plan.get() {
        return Ok(plan.clone());
    }
    let names: Vec<&str> = view.def.columns.iter().map(|column| column.name.as_str()).collect();
    let plan = bound_narrowed(state, &transform.query, &view.def.search_path, &names)?;
    let mut columns = plan.columns().to_vec();
    columns.iter_mut().zip(&names).for_each(|(column, name)| column.name = name.to_string());
    let plan = rows_of(&plan, &columns, into)?;
    let plan = Arc::new(weir_sql::rules::optimise(plan, registry(), &NoStatistics));
    Ok(view.plan.get_or_init(|| plan).clone())
}

/// What the rows that come to a table bring to others.
#[derive(Default)]
pub(crate) struct Transforms {
    all: Vec<Transform>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
}

struct Transform {
    from: u32,
    plan: Arc<Plan>,
    context: Arc<QueryContext>,
    base: Base,
    writer: Writer,
}

impl Transforms {
    /// Of a table, in a statement that sees this.
    pub(crate) fn of(base: &Base, table: u32) -> Result<Transforms> {
        let mut all = Vec::new();
        for view in base.state.transforms_of(table) {
            let Some(transform) = &view.def.transform else { continue };
            let into = base.state.entry(transform.into).ok_or_else(|| Error::internal("a view's table is gone"))?;
            let detached = detached_context(&base.database, &base.cancel);
            let functions =
                Arc::new(Context { now: base.now, statement_start: base.now, ..Context::clone(&detached.functions) });
            all.push(Transform {
                from: table,
                plan: plan_of(&base.state, view, transform, into)?,
                context: Arc::new(QueryContext { functions, ..detached }),
                base: base.clone(),
                writer: Writer::new(base.clone(), into, Policy::of_table(&into.def))?,
            });
        }
        Ok(Transforms { all, waiting: Vec::new(), waiting_bytes: 0 })
    }

    /// Takes rows, which have all of the table's columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.all.is_empty() || rows.num_rows() == 0 {
            return Ok(());
        }
        self.waiting_bytes += Batch::from_record(rows).bytes();
        self.waiting.push(rows.clone());
        if self.waiting_bytes > BYTES_AT_ONCE { self.run() } else { Ok(()) }
    }

    fn run(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        for transform in &mut self.all {
            let Base { state, snapshot, now, .. } = transform.base.clone();
            let others = StoredRelations { state, snapshot, now };
            let come = Come { from: transform.from, rows: rows.clone(), others };
            let context = Arc::new(transform.context.with_relations(Arc::new(come)));
            let mut brought = exec::run(&transform.plan, &context)?;
            while let Some(rows) = brought.next()? {
                transform.writer.push(&rows)?;
            }
        }
        Ok(())
    }

    /// Adds all that was brought to a transaction's changes.
    pub(crate) fn finish(&mut self, pending: &mut Pending) -> Result<()> {
        self.run()?;
        for transform in &mut self.all {
            transform.writer.finish(pending)?;
        }
        Ok(())
    }
}

/// The rows that come, and other tables as they are.
struct Come {
    from: u32,
    rows: Vec<RecordBatch>,
    others: StoredRelations,
}

impl Relations for Come {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        if relation.oid == self.from {
            return Ok(RelationRows::Batches(self.rows.clone()));
        }
        self.others.rows(relation)
    }
}
