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

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use weir_sql::catalog::{ColumnInfo, NoStatistics, Relation, RelationKind, Volatility};
use weir_sql::collation::Collating;
use weir_sql::plan::{AggregateCall, Expr, ExprKind, OutputColumn, Plan, Scan};
use weir_sql::{ErrorKind as SqlErrorKind, Type, walk};
use weir_storage::{Condition, Snapshot, TableId};

use super::batch::{Batch, schema_of};
use super::context::{QueryContext, RelationRows, Relations, Substituted};
use super::operator::{Description, Metrics, Node, Operator};
use super::operators::{self, Grouping, Groups, PartialGroups};
use super::pipeline::{Source, drain};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::spool::Spool;
use crate::functions::{Implementation, registry};

/// The oid by which a view's plan names its own states.
const STATES: u32 = u32::MAX;

/// A view's SELECT, split.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    /// Runs over new rows.
    stage: Plan,
    core: Option<Core>,
    /// Runs over the states' results: the whole plan, with a scan of [`STATES`] in place of what is stored.
    rest: Plan,
    input: Arc<Relation>,
    columns: Vec<OutputColumn>,
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
        *place = Plan::Scan(states_scan(&columns));
        let (stage, core) = match stored {
            Plan::Aggregate { input, keys, aggregates, always, .. } if aggregated => {
                (*input, Some(Core { keys, aggregates, always }))
            }
            other => (other, None),
        };
        let input = input_of(&stage)?.clone();
        check_stage(&stage)?;
        check_rest(&rest)?;
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
        Ok(ViewPlan { stage, core, rest, input, columns: plan.columns().to_vec() })
    }

    /// The relation whose rows feed it.
    pub fn input(&self) -> &Arc<Relation> {
        &self.input
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

    /// For each key column of its own table (each column, if it has no groups), the input's column that it is, unchanged.
    pub fn input_of_keys(&self) -> Vec<Option<usize>> {
        let stage = inputs(&self.stage);
        match &self.core {
            None => stage,
            Some(core) => core.keys.iter().map(|key| column_of(key, &stage)).collect(),
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

    /// The states that new rows of the input bring; rows have all of its columns, in order.
    pub fn partial(&self, rows: Vec<RecordBatch>, context: &Arc<QueryContext>) -> Result<RecordBatch> {
        let schema = self.schema(context)?;
        let relations =
            Substituted { rows: HashMap::from([(self.input.oid, rows)]), others: Some(context.relations.clone()) };
        let context = Arc::new(context.with_relations(Arc::new(relations)));
        let node = operators::compile(&self.stage, &context)?;
        let types = node.types();
        let source = node.open(&context)?;
        let Some(core) = &self.core else {
            let (batches, _held) = super::pipeline::collect(&context, source, "View")?;
            return Batch::concat(&batches, &types)?.into_record(&schema);
        };
        let grouping = Grouping::new(&core.keys, &core.aggregates, &context)?;
        let mut locals = drain(
            &context,
            source.as_ref(),
            || Ok((Groups::new(&grouping, &context.functions)?, context.memory.reservation("View"))),
            |(groups, held), at, batch| {
                groups.update(&grouping, at, &batch, &context)?;
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

/// The node below which everything is stored: the lowest aggregate, or else the lowest run of filters and projections. And whether it is
/// an aggregate.
fn stored_place(plan: &mut Plan) -> Result<(&mut Plan, bool)> {
    if !has_aggregate(plan)? {
        let mut place = plan;
        while !is_stage(place) {
            place = input_mut(place).ok_or_else(|| unsupported("its SELECT reads no table"))?;
        }
        return Ok((place, false));
    }
    let mut place = plan;
    loop {
        let lowest = match &*place {
            Plan::Aggregate { input, .. } => !has_aggregate(input)?,
            _ => false,
        };
        if lowest {
            return Ok((place, true));
        }
        place = input_mut(place).ok_or_else(|| unsupported("its SELECT reads no table"))?;
    }
}

fn has_aggregate(plan: &Plan) -> Result<bool> {
    match plan {
        Plan::Aggregate { .. } => Ok(true),
        Plan::Scan(_) => Ok(false),
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Distinct { input, .. } => has_aggregate(input),
        Plan::Window { .. } => Err(unsupported("a new row changes the window functions of others")),
        Plan::Sample { .. } | Plan::Fill { .. } => Err(unsupported("samples and fills are made when they are read")),
        Plan::Join { .. } | Plan::NearestJoin { .. } => {
            Err(unsupported("joins in materialized views are not supported yet"))
        }
        Plan::SetOperation { .. } => {
            Err(unsupported("UNION, INTERSECT and EXCEPT in materialized views are not supported yet"))
        }
        Plan::Cte { input, .. } | Plan::With { body: input, .. } => has_aggregate(input),
        Plan::Recursive { .. } | Plan::WorkingTable { .. } | Plan::CteScan { .. } => {
            Err(unsupported("WITH RECURSIVE is not supported in a materialized view"))
        }
        Plan::Values { .. } | Plan::TableFunction { .. } => Err(unsupported("its SELECT must read a table")),
    }
}

fn input_mut(plan: &mut Plan) -> Option<&mut Plan> {
    match plan {
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Aggregate { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Distinct { input, .. } => Some(input),
        _ => None,
    }
}

/// Whether a plan works row by row.
fn is_stage(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(_) => true,
        Plan::Filter { input, .. } | Plan::Project { input, .. } | Plan::ProjectSet { input, .. } => is_stage(input),
        _ => false,
    }
}

fn check_stage(plan: &Plan) -> Result<()> {
    if !is_stage(plan) {
        return Err(unsupported("an aggregate over DISTINCT or LIMIT cannot be kept up to date row by row"));
    }
    let mut result = Ok(());
    walk::visit_plan(plan, 0, &mut |node, _| {
        if result.is_ok() {
            result = check_node(node);
        }
    });
    result
}

fn check_expr(expr: &Expr) -> Result<()> {
    let mut result = Ok(());
    walk::visit(expr, 0, &mut |node, _| {
        if result.is_ok() {
            result = check_node(node);
        }
    });
    result
}

fn check_node(expr: &Expr) -> Result<()> {
    const CLOCKS: &[&str] = &[
        "now",
        "current_timestamp",
        "transaction_timestamp",
        "statement_timestamp",
        "clock_timestamp",
        "localtimestamp",
        "current_date",
        "current_time",
        "localtime",
        "today",
        "yesterday",
        "timeofday",
        "now64",
    ];
    match &expr.kind {
        ExprKind::Subquery(_) => {
            Err(unsupported("a subquery below the aggregation cannot be kept up to date row by row"))
        }
        ExprKind::Parameter(_) => Err(unsupported("it may not have parameters")),
        ExprKind::Call { function, name, .. }
            if registry().volatility(*function) == Volatility::Volatile
                || CLOCKS.contains(&name.to_ascii_lowercase().as_str()) =>
        {
            Err(unsupported(&format!("{name}() gives another answer at another time")))
        }
        _ => Ok(()),
    }
}

/// What is above the stored place sees its rows only: no relation in a query of an expression.
fn check_rest(plan: &Plan) -> Result<()> {
    fn scans(plan: &Plan) -> bool {
        let mut found = matches!(plan, Plan::Scan(_));
        walk::plans(plan, &mut |below| found = found || scans(below));
        found
    }
    let mut found = false;
    walk::expressions(plan, &mut |expr| walk::queries(expr, &mut |query| found = found || scans(query)));
    if found {
        return Err(unsupported("a subquery reads a table whose changes the view does not see"));
    }
    let mut result = Ok(());
    walk::inputs(plan, &mut |input, _| result = result.clone().and_then(|()| check_rest(input)));
    result
}

fn input_of(plan: &Plan) -> Result<&Arc<Relation>> {
    match plan {
        Plan::Scan(scan) if scan.relation.kind == RelationKind::Table => Ok(&scan.relation),
        Plan::Scan(scan) => Err(unsupported(&format!("\"{}\" is not a table", scan.relation.name))),
        Plan::Filter { input, .. } | Plan::Project { input, .. } | Plan::ProjectSet { input, .. } => input_of(input),
        Plan::Join { .. } | Plan::NearestJoin { .. } => Err(unsupported("it reads more than one relation")),
        _ => Err(unsupported("an aggregate over DISTINCT or LIMIT cannot be kept up to date row by row")),
    }
}

fn unsupported(why: &str) -> Error {
    Error::new(ErrorKind::Sql(SqlErrorKind::Unsupported), "this materialized view cannot be kept up to date")
        .with_detail(format!("The reason: {why}."))
}

/// A scan of the view's own results, in its rest of a plan.
fn states_scan(columns: &[OutputColumn]) -> Scan {
    let relation = Relation {
        oid: STATES,
        schema: String::new(),
        name: "states".into(),
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

/// For each column of a stage, the input's column that it is, unchanged.
fn inputs(stage: &Plan) -> Vec<Option<usize>> {
    match stage {
        Plan::Scan(scan) => scan.projection.iter().map(|&column| Some(column)).collect(),
        Plan::Filter { input, .. } => inputs(input),
        Plan::Project { input, exprs, .. } => {
            let below = inputs(input);
            exprs.iter().map(|expr| column_of(expr, &below)).collect()
        }
        other => vec![None; other.columns().len()],
    }
}

fn column_of(expr: &Expr, below: &[Option<usize>]) -> Option<usize> {
    match expr.kind {
        ExprKind::Column(column) => below.get(column).copied().flatten(),
        _ => None,
    }
}

/// Compiles a scan of a view.
pub(crate) fn compile_view(
    scan: &Scan,
    snapshot: &Snapshot,
    table: TableId,
    view: &Arc<ViewPlan>,
    context: &Arc<QueryContext>,
) -> Result<Node> {
    let relations = OverStates {
        rows: RelationRows::States { snapshot: snapshot.clone(), table, view: view.clone() },
        others: context.relations.clone(),
    };
    // Of states nobody keeps statistics.
    let inner = Arc::new(QueryContext { statistics: None, ..context.with_relations(Arc::new(relations)) });
    // The reading query's filters and projection, over the view's columns.
    let mut plan = view.rest.clone();
    if let Some(predicate) = walk::conjunction(scan.filters.clone()) {
        plan = Plan::Filter { input: Box::new(plan), predicate };
    }
    let exprs = scan.projection.iter().map(|&c| Expr::column(c, view.columns[c].ty.clone())).collect();
    let plan = Plan::Project { input: Box::new(plan), exprs, columns: scan.columns.clone() };
    operators::compile(&weir_sql::rules::optimise(plan, registry(), &NoStatistics), &inner)
}

/// [`STATES`], and all other relations.
struct OverStates {
    rows: RelationRows,
    others: Arc<dyn Relations>,
}

impl Relations for OverStates {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        if relation.oid == STATES { Ok(self.rows.clone()) } else { self.others.rows(relation) }
    }

    fn working(&self, id: usize) -> Option<Arc<Spool>> {
        self.others.working(id)
    }

    fn shared(&self, id: usize) -> Option<Result<Arc<Spool>>> {
        self.others.shared(id)
    }
}

/// Compiles the scan of [`STATES`]: conditions on keys are applied to the stored rows, those on aggregates to the finished ones; states of
/// aggregates that nobody asks for are not read.
pub(crate) fn compile_states(
    scan: &Scan,
    snapshot: Snapshot,
    table: TableId,
    view: &ViewPlan,
    context: &Arc<QueryContext>,
) -> Result<Node> {
    let types: Vec<Type> = view
        .schema(context)?
        .fields()
        .iter()
        .map(|f| Type::from_field(f).ok_or_else(|| Error::internal("a state's column has no type")))
        .collect::<Result<_>>()?;
    let all = scan.relation.columns.len();
    let keys = view.key_columns().unwrap_or(all);
    // A group that is there in any case must meet the conditions too.
    let always = view.core.as_ref().map_or(&[][..], |core| &core.always);
    let (before, after): (Vec<Expr>, Vec<Expr>) =
        scan.filters.iter().cloned().flat_map(walk::conjuncts).partition(|filter| {
            keys > 0 && always.is_empty() && walk::columns_read(filter).iter().all(|&column| column < keys)
        });
    let conditions = operators::conditions(&before, &types, &[], context);

    // The results that are wanted, and where each is among them.
    let read_after: Vec<usize> = after.iter().flat_map(walk::columns_read).collect();
    let wanted = |column: &usize| {
        *column < view.key_columns().unwrap_or(0) || scan.projection.contains(column) || read_after.contains(column)
    };
    let results: Vec<usize> = (0..all).filter(wanted).collect();
    let place = |column: usize| results.binary_search(&column).unwrap_or(usize::MAX);
    let (grouping, stored) = match &view.core {
        None => (None, results.clone()),
        Some(core) => {
            let calls: Vec<AggregateCall> =
                results.iter().filter(|&&r| r >= keys).map(|&r| core.aggregates[r - keys].clone()).collect();
            let whole = Grouping::new(&core.keys, &core.aggregates, context)?;
            let mut stored: Vec<usize> = (0..keys).collect();
            let mut at = keys;
            for (i, states) in whole.state_types().iter().enumerate() {
                if results.contains(&(keys + i)) {
                    stored.extend(at..at + states.len());
                }
                at += states.len();
            }
            let grouping = Grouping::new(&core.keys, &calls, context)?.with_always(always);
            (Some(Arc::new(grouping)), stored)
        }
    };
    let columns: Vec<OutputColumn> = results
        .iter()
        .map(|&column| {
            let column = &scan.relation.columns[column];
            OutputColumn {
                name: column.name.clone(),
                ty: column.ty.clone(),
                typmod: -1,
                origin: None,
                collating: Collating::Implicit(column.collation),
            }
        })
        .collect();
    let reader = Arc::new(operators::Reader::new(&before, &stored, &types, &[], context)?);
    let states = States { name: view.input.name.clone(), snapshot, table, conditions, reader, grouping };
    let mut node = Node::new(states, &columns);
    if let Some(mut predicate) = walk::conjunction(after) {
        walk::rename_columns(&mut predicate, &place);
        node = Node::new(operators::Filter::new(node, &predicate, context)?, &columns);
    }
    let places: Vec<usize> = scan.projection.iter().map(|&column| place(column)).collect();
    if places.iter().copied().eq(0..results.len()) {
        node.columns = scan.columns.clone();
        return Ok(node);
    }
    let exprs: Vec<Expr> = places.iter().map(|&at| Expr::column(at, columns[at].ty.clone())).collect();
    Ok(Node::new(operators::Project::new(node, &exprs, context)?, &scan.columns))
}

/// Reads states, merges them by key and finishes them.
struct States {
    name: String,
    snapshot: Snapshot,
    table: TableId,
    conditions: Vec<Condition>,
    reader: Arc<operators::Reader>,
    grouping: Option<Arc<Grouping>>,
}

impl Operator for States {
    fn describe(&self) -> Description {
        Description::new(format!("State Scan over {}", self.name))
    }

    fn children(&self) -> Vec<&Node> {
        Vec::new()
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.reader.prepare(context);
        let scan = self.snapshot.scan(self.table, &self.conditions)?;
        operators::note_pruning(&scan, metrics);
        let source = operators::Granules::new(scan, self.reader.clone(), Vec::new(), context.clone());
        let Some(grouping) = &self.grouping else { return Ok(Arc::new(source)) };
        operators::merge_states(grouping, &source, context, metrics, |at, batch| split(grouping, batch.columns, at))
    }

    fn estimate(&self) -> f64 {
        self.snapshot.table(self.table).map_or(0, |t| t.rows()) as f64
    }
}
