//! Reading a view: its states are merged by key and finished, and what is left of its plan runs over them.

use std::sync::Arc;

use weir_sql::catalog::{NoStatistics, Relation};
use weir_sql::collation::Collating;
use weir_sql::plan::{AggregateCall, Expr, OutputColumn, Plan, Scan};
use weir_sql::{Type, walk};
use weir_storage::{Condition, Snapshot, TableId};

use super::{STATES, ViewPlan, split};
use crate::error::{Error, Result};
use crate::exec::context::{QueryContext, RelationRows, Relations};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::operators::{self, Grouping};
use crate::exec::pipeline::Source;
use crate::exec::spool::Spool;
use crate::functions::registry;

/// Compiles a scan of a view.
pub(crate) fn compile_view(
    scan: &Scan,
    snapshot: &Snapshot,
    table: TableId,
    view: &Arc<ViewPlan>,
    filters: Vec<Expr>,
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
    if let Some(predicate) = walk::conjunction(filters.into_iter().chain(scan.filters.iter().cloned()).collect()) {
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
    let names: Vec<&str> = view.inputs.iter().map(|input| input.name.as_str()).collect();
    let states = States { name: names.join(", "), snapshot, table, conditions, reader, grouping };
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
