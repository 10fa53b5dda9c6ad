//! Materialized views: a SELECT split at its aggregation.
//!
//! [`ViewPlan`] knows the two halves of a view's plan. The first half runs over the rows of one commit ([`ViewPlan::partial`]) and gives
//! rows for the view's own table: the group keys, then each aggregate's partial state. Storage's merges fold equal keys
//! ([`ViewPlan::collapse`]). A read merges all states by key, finishes them, and runs what is left of the plan over the result (HAVING,
//! expressions over aggregates, and whatever the reading query adds).
//!
//! A view without aggregates stores the rows of its filter and projection; a read runs the rest.
//!
//! Filters of a reading query that name only group keys are applied to the states, before they are merged, and prune granules.

mod age;
mod answer;
mod asker;
mod changed;
mod numbered;
mod read;
mod shape;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use weir_sql::catalog::{ColumnInfo, NoStatistics, Relation, RelationKind, Statistics};
use weir_sql::plan::{AggregateCall, Expr, ExprKind, OutputColumn, Plan, Scan};
use weir_sql::{Type, walk};

use self::shape::{check_expr, check_rest, check_stage, is_linear, is_local, number_scans, stored_place, unsupported};
use super::RowStream;
use super::batch::{Batch, schema_of};
use super::context::{Given, QueryContext, RelationRows, Relations};
use super::operators::{self, Grouping, Groups, PartialGroups};
use super::pipeline::{collect, drain};
use crate::error::{Error, Result};
use crate::functions::{Implementation, registry};
pub(crate) use answer::{Answer, Asked};
pub(crate) use asker::Asker;
pub(crate) use read::{compile_states, compile_view};
pub(crate) use windows::{Bound, Traced, traced};

/// The oid by which a view's plan names its own states…
const STATES: u32 = u32::MAX;
/// …what its stage gives…
const STAGE: u32 = u32::MAX - 1;
/// …and the first of the stage's scans; the next ones count down.
const OCCURRENCES: u32 = u32::MAX - 2;

/// A view's SELECT, split.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    /// Runs over new rows. Each scan has a relation of its own, so that it can be given rows of its own.
    stage: Plan,
    /// What the stage's scans read, by number.
    inputs: Vec<Arc<Relation>>,
    /// Whether rows of tables alone say what they bring.
    linear: bool,
    core: Option<Core>,
    /// Runs over the states' results: the whole plan, with a scan of [`STATES`] in place of what is stored.
    rest: Plan,
    columns: Vec<OutputColumn>,
    /// What each of them says of time.
    times: Vec<Option<Traced>>,
}

#[derive(Debug, Clone)]
struct Core {
    keys: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
    /// Groups that are there even over no rows: see [`Plan::Aggregate`].
    always: Vec<i32>,
}

impl ViewPlan {
    /// Splits a view's plan; an error says why a view of this form cannot be kept.
    pub fn new(plan: &Plan) -> Result<ViewPlan> {
        let mut rest = plan.clone();
        weir_sql::rules::inline(&mut rest);
        let (place, aggregated) = stored_place(&mut rest)?;
        // What is stored keeps its columns: keys and states are the layout of the view's own table.
        let stored = weir_sql::rules::optimise_stored(place.clone(), registry(), &NoStatistics);
        let columns = stored.columns().to_vec();
        *place = Plan::Scan(scan_of(STATES, "states", &columns));
        let (mut stage, core) = match stored {
            Plan::Aggregate { input, keys, aggregates, always, .. } if aggregated => {
                (*input, Some(Core { keys, aggregates, always }))
            }
            other => (other, None),
        };
        check_stage(&stage)?;
        check_rest(&rest)?;
        let mut inputs = Vec::new();
        number_scans(&mut stage, &mut inputs)?;
        if inputs.is_empty() {
            return Err(unsupported("its SELECT reads no table"));
        }
        if let Some(core) = &core {
            core.keys.iter().try_for_each(check_expr)?;
            let mut result = Ok(());
            for call in &core.aggregates {
                if let Implementation::Aggregate(overload) = registry().implementation(call.function)
                    && !overload.steady
                {
                    let name = &call.name;
                    return Err(unsupported(&format!("{name}() depends on how the rows come in; topK() does not")));
                }
                walk::aggregate_parts(call, &mut |part| result = result.clone().and_then(|()| check_expr(part)));
            }
            result?;
        }
        let linear = is_linear(&stage) && inputs.iter().all(|input| input.kind == RelationKind::Table);
        let times = (0..plan.columns().len()).map(|column| windows::traced(plan, column)).collect();
        Ok(ViewPlan { stage, inputs, linear, core, rest, columns: plan.columns().to_vec(), times })
    }

    /// The relations that its stage scans, by number: one that is scanned twice is there twice.
    pub fn inputs(&self) -> &[Arc<Relation>] {
        &self.inputs
    }

    /// Whether rows that come to a table say by themselves what they bring, whatever other rows there are.
    pub fn is_linear(&self) -> bool {
        self.linear
    }

    /// Whether it is empty when this table is, and nothing else is asked.
    pub fn is_emptied_with(&self, table: u32) -> bool {
        self.linear && self.inputs.iter().all(|input| input.oid == table)
    }

    /// Whether each of its rows comes from one group of states, or one stored row, alone: then it can be an input of another.
    pub fn is_local(&self) -> bool {
        is_local(&self.rest)
    }

    /// Whether rows that come to an input only add rows to the stage.
    pub fn adds(&self, input: usize) -> bool {
        changed::adds(&self.stage, occurrence(input))
    }

    /// What each of its columns says of time, if anything.
    pub(crate) fn times(&self) -> &[Option<Traced>] {
        &self.times
    }

    /// What a read puts out.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// How many of the first columns of its own table are the group's key: what storage collapses by. `None` if it has no groups (each
    /// row stays as it is).
    pub fn key_columns(&self) -> Option<usize> {
        self.core.as_ref().map(|core| core.keys.len())
    }

    /// For each of the view's columns, the column of its own table that holds the same values: for a sort key or a partition given by
    /// name.
    pub fn key_of_column(&self) -> Vec<Option<usize>> {
        let keys = self.core.as_ref().map_or(self.stage.columns().len(), |core| core.keys.len());
        origins(&self.rest, keys)
    }

    /// The keys over the stage's columns: all of them, if it has no groups.
    pub fn keys(&self) -> Vec<Expr> {
        match &self.core {
            Some(core) => core.keys.clone(),
            None => {
                let columns = self.stage.columns().iter().enumerate();
                columns.map(|(at, column)| Expr::column(at, column.ty.clone())).collect()
            }
        }
    }

    /// The columns of its own table: keys named as the SELECT names them, states after them.
    pub fn schema(&self, context: &Arc<QueryContext>) -> Result<SchemaRef> {
        let Some(core) = &self.core else { return Ok(schema_of(self.stage.columns())) };
        let grouping = Grouping::new(&core.keys, &core.aggregates, context)?;
        let mut fields = Vec::new();
        for (i, ty) in grouping.key_types.iter().enumerate() {
            fields.push(ty.field(&format!("key_{i}"), true));
        }
        for (i, types) in grouping.state_types().iter().enumerate() {
            for (j, ty) in types.iter().enumerate() {
                fields.push(ty.field(&format!("state_{i}_{j}"), true));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The states that new rows of a table bring to a linear view; rows have all of its columns, in order.
    pub fn partial(&self, table: u32, rows: &[RecordBatch], context: &Arc<QueryContext>) -> Result<RecordBatch> {
        let of = |input: &Arc<Relation>| if input.oid == table { rows.to_vec() } else { Vec::new() };
        let inputs = self.inputs.iter().map(|input| RelationRows::Batches(of(input))).collect();
        self.states(&self.stage, &over(inputs, context))
    }

    /// The rows of the stage over these inputs, or, if one is `changed` and gives what came or went, all rows of the stage that came or went with it
    /// and perhaps others ([`ViewPlan::adds`]: no others). Those alone for which the condition holds.
    pub(crate) fn stage_rows(
        &self,
        changed: Option<usize>,
        condition: Option<Expr>,
        inputs: Vec<RelationRows>,
        context: &Arc<QueryContext>,
    ) -> Result<RowStream> {
        let mut plan = match changed {
            None => self.stage.clone(),
            Some(input) => changed::reached(&self.stage, occurrence(input)),
        };
        if let Some(predicate) = condition {
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }
        let sizes = Sizes(inputs.iter().map(RelationRows::count).collect());
        super::run(&weir_sql::rules::optimise_stored(plan, registry(), &sizes), &over(inputs, context))
    }

    /// Of a view over one table: the numbers of rows, which are their last column, each as often as it is in a row of the stage, and whether the condition,
    /// over the keys, holds there.
    pub(crate) fn numbered(
        &self,
        rows: RecordBatch,
        condition: &Expr,
        context: &Arc<QueryContext>,
    ) -> Result<RowStream> {
        let stage = numbered::numbered(&self.stage).ok_or_else(|| Error::internal("a view's rows have no number"))?;
        let number = Expr::column(self.stage.columns().len(), Type::Int8);
        let mut condition = condition.clone();
        walk::substitute(&mut condition, &self.keys());
        let columns = vec![OutputColumn::computed("number", Type::Int8), OutputColumn::computed("holds", Type::Bool)];
        let plan = Plan::Project { input: Box::new(stage), exprs: vec![number, condition], columns };
        let inputs = vec![RelationRows::Batches(vec![rows])];
        super::run(&weir_sql::rules::optimise_stored(plan, registry(), &NoStatistics), &over(inputs, context))
    }

    /// The states that rows of the stage come to.
    pub(crate) fn states_of(&self, rows: Vec<RecordBatch>, context: &Arc<QueryContext>) -> Result<RecordBatch> {
        let scan = Plan::Scan(scan_of(STAGE, "stage", self.stage.columns()));
        let given = Given(HashMap::from([(STAGE, rows)]));
        self.states(&scan, &Arc::new(context.with_relations(Arc::new(given))))
    }

    /// The keys of rows of the stage, each at least once: the first columns of states.
    pub(crate) fn keys_of(&self, rows: Vec<RecordBatch>, context: &Arc<QueryContext>) -> Result<RecordBatch> {
        match &self.core {
            None => self.states_of(rows, context),
            Some(core) => {
                let core = Core { aggregates: Vec::new(), ..core.clone() };
                ViewPlan { core: Some(core), ..self.clone() }.states_of(rows, context)
            }
        }
    }

    /// The states that the rows of a plan come to, which has the stage's columns.
    fn states(&self, plan: &Plan, context: &Arc<QueryContext>) -> Result<RecordBatch> {
        let schema = self.schema(context)?;
        let node = operators::compile(plan, context)?;
        let types = node.types();
        let source = node.open(context)?;
        let Some(core) = &self.core else {
            let (batches, _held) = collect(context, source, "View")?;
            return Batch::concat(&batches, &types)?.into_record(&schema);
        };
        let grouping = Grouping::new(&core.keys, &core.aggregates, context)?;
        let mut locals = drain(
            context,
            source.as_ref(),
            || Ok((Groups::new(&grouping, &context.functions)?, context.memory.reservation("View"))),
            |(groups, held), at, batch| {
                groups.update(&grouping, at, &batch, context)?;
                held.resize(groups.memory())
            },
        )?;
        let Some((mut all, _held)) = locals.pop() else { return Ok(RecordBatch::new_empty(schema)) };
        for (other, _held) in locals {
            all.merge(&grouping, &other.states(&grouping)?)?;
        }
        record(all.states(&grouping)?, &schema)
    }

    /// Folds rows of equal keys of its own table into one each, in the order of their first rows.
    pub fn collapse(&self, rows: &RecordBatch, context: &Arc<QueryContext>) -> Result<RecordBatch> {
        let Some(core) = &self.core else { return Ok(rows.clone()) };
        let grouping = Grouping::new(&core.keys, &core.aggregates, context)?;
        let mut groups = Groups::new(&grouping, &context.functions)?;
        groups.merge(&grouping, &split(&grouping, rows.columns().to_vec(), 0))?;
        record(groups.states(&grouping)?, &rows.schema())
    }
}

/// The oid of the n-th scan of a stage.
fn occurrence(input: usize) -> u32 {
    OCCURRENCES - input as u32
}

/// A context in which the scans of a stage find these rows.
fn over(inputs: Vec<RelationRows>, context: &Arc<QueryContext>) -> Arc<QueryContext> {
    let relations = Inputs { rows: inputs, others: context.relations.clone() };
    Arc::new(context.with_relations(Arc::new(relations)))
}

/// The scans of a stage, and all other relations.
struct Inputs {
    rows: Vec<RelationRows>,
    others: Arc<dyn Relations>,
}

impl Relations for Inputs {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        match OCCURRENCES.checked_sub(relation.oid).and_then(|input| self.rows.get(input as usize)) {
            Some(rows) => Ok(rows.clone()),
            None => self.others.rows(relation),
        }
    }
}

/// How many rows the scans of a stage have.
struct Sizes(Vec<Option<u64>>);

impl Statistics for Sizes {
    fn rows(&self, oid: u32) -> Option<f64> {
        let rows = OCCURRENCES.checked_sub(oid).and_then(|input| self.0.get(input as usize).copied().flatten());
        rows.map(|rows| rows as f64)
    }

    fn distinct(&self, _oid: u32, _column: usize) -> Option<f64> {
        None
    }

    fn range(&self, _oid: u32, _column: usize) -> Option<(f64, f64)> {
        None
    }
}

/// State columns as a batch of the view's own table. Groups are in the order in which they first appeared.
fn record(partial: PartialGroups, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = partial.first.len();
    let columns: Vec<ArrayRef> = partial.keys.into_iter().chain(partial.states.into_iter().flatten()).collect();
    let batch = Batch::new(columns, rows);
    if partial.first.is_sorted() {
        return batch.into_record(schema);
    }
    let mut order: Vec<u32> = (0..rows as u32).collect();
    order.sort_unstable_by_key(|&row| partial.first[row as usize]);
    batch.take(&order.into())?.into_record(schema)
}

/// Columns of a view's own table as keys and states.
fn split(grouping: &Grouping, columns: Vec<ArrayRef>, at: u64) -> PartialGroups {
    let rows = columns.first().map_or(0, |c| c.len()) as u64;
    let mut columns = columns.into_iter();
    let keys = columns.by_ref().take(grouping.key_types.len()).collect();
    let states = grouping.state_types().iter().map(|types| columns.by_ref().take(types.len()).collect()).collect();
    PartialGroups { keys, first: (at..at + rows).collect(), states }
}

/// A scan of rows that are not a relation's.
fn scan_of(oid: u32, name: &str, columns: &[OutputColumn]) -> Scan {
    let relation = Relation {
        oid,
        schema: String::new(),
        name: name.into(),
        kind: RelationKind::System,
        columns: columns.iter().map(|c| ColumnInfo::new(&c.name, c.ty.clone())).collect(),
        primary_key: Vec::new(),
    };
    Scan {
        relation: Arc::new(relation),
        projection: (0..columns.len()).collect(),
        filters: Vec::new(),
        columns: columns.to_vec(),
    }
}

/// For each column of a plan over [`STATES`], the stored column (below `keys`) that it is.
fn origins(plan: &Plan, keys: usize) -> Vec<Option<usize>> {
    match plan {
        Plan::Scan(scan) => scan.projection.iter().map(|&c| (c < keys).then_some(c)).collect(),
        Plan::Project { input, exprs, .. } => {
            let below = origins(input, keys);
            let column = |e: &Expr| match e.kind {
                ExprKind::Column(column) => below[column],
                _ => None,
            };
            exprs.iter().map(column).collect()
        }
        Plan::Filter { input, .. } | Plan::Sort { input, .. } => origins(input, keys),
        other => vec![None; other.columns().len()],
    }
}
