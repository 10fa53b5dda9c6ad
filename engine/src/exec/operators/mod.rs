//! One file an operator; [`compile`] makes the tree of a plan.

mod aggregate;
mod coded;
mod contained;
mod distinct;
mod faded;
mod fetch;
mod fields;
mod fill;
mod filter;
mod granules;
mod hash_join;
mod key_lookup;
mod limit;
mod nearest_join;
mod nested_loop;
mod project;
mod project_set;
mod prune;
mod reads;
mod recursive;
mod sample;
mod scan;
mod seen;
mod set_operation;
mod sort;
mod table_function;
mod top_n;
mod values;
mod window;
mod with;

use std::cell::Cell;
use std::sync::Arc;

use weir_sql::plan::{Expr, ExprKind, JoinKind, OutputColumn, Plan, SortKey};
use weir_sql::walk;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::QueryContext;
use crate::exec::expression::constant_of;
use crate::exec::operator::Node;
use crate::exec::runtime_filter::{self, Wanted};
use crate::exec::top_bound::{self, TopBound};

use reads::Reads;

pub(crate) use aggregate::{Grouping, Groups, PartialGroups, merge_states};
pub(crate) use filter::Filter;
pub(crate) use granules::Granules;
pub(crate) use project::Project;
pub(crate) use prune::{conditions, ordered_bytes, same_order};
pub(crate) use scan::{Reader, note_pruning};

/// LIMITs up to this many rows over a sort keep only as many; larger ones sort all.
const TOP_N_MAX: usize = 100_000;
/// What a query must be allowed to hold for each of these rows, or all are sorted as well.
const TOP_N_ROW: usize = 16 << 10;

/// Of up to so many rows columns are read by their places: each may be in a granule of its own.
const FETCHED_MAX: usize = 1024;

/// Plans nested deeper than this are refused rather than overflow the stack.
const DEPTH_MAX: usize = 400;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Compiles a plan.
pub(crate) fn compile(plan: &Plan, context: &Arc<QueryContext>) -> Result<Node> {
    compile_for(plan, &[], context)
}

/// Compiles a plan whose rows may be tried with filters, where that is of use.
fn compile_for(plan: &Plan, wanted: &[Wanted], context: &Arc<QueryContext>) -> Result<Node> {
    compile_read(plan, wanted, Reads::default(), context)
}

/// The same of a plan some of whose columns need not be read as they are.
fn compile_read(plan: &Plan, wanted: &[Wanted], reads: Reads, context: &Arc<QueryContext>) -> Result<Node> {
    let depth = DEPTH.get();
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::OutOfMemory, "stack depth limit exceeded")
            .with_hint("The query is nested too deeply."));
    }
    DEPTH.set(depth + 1);
    let node = compile_one(plan, wanted, reads, context);
    DEPTH.set(depth);
    let node = node?;
    let queries = if context.statistics.is_some() { queries(plan, context)? } else { Vec::new() };
    Ok(Node { rows: estimated(plan, context).or(node.rows), queries, ..node })
}

/// The queries in a plan's own expressions, for EXPLAIN. What they read of the plan's rows has no value there.
fn queries(plan: &Plan, context: &Arc<QueryContext>) -> Result<Vec<(bool, Node)>> {
    let mut found = Vec::new();
    walk::expressions(plan, &mut |expr| walk::queries(expr, &mut |query| found.push(query)));
    found.into_iter().map(|query| Ok((walk::is_correlated(query), compile(query, context)?))).collect()
}

/// How many rows the optimiser thinks that a plan gives.
fn estimated(plan: &Plan, context: &QueryContext) -> Option<f64> {
    context.statistics.as_ref().map(|statistics| weir_sql::rules::estimated_rows(plan, &**statistics))
}

fn compile_one(plan: &Plan, wanted: &[Wanted], reads: Reads, context: &Arc<QueryContext>) -> Result<Node> {
    let columns = plan.columns();
    let (mut below, mut right_below) = runtime_filter::down(plan, wanted);
    let input = |from: &Plan| compile_read(from, &below, Reads::by(plan, context), context);
    Ok(match plan {
        Plan::Scan(scan) => return scan::compile(scan, wanted, reads, context),
        Plan::Values { rows, .. } => Node::new(values::Values::new(rows, columns, context)?, columns),
        Plan::TableFunction { function, name, args, named_args, ordinality, .. } => Node::new(
            table_function::TableFunction::new(*function, name, args, named_args, *ordinality, columns, context)?,
            columns,
        ),
        Plan::Filter { input: from, predicate } => {
            if let Plan::TableFunction { function, name, args, named_args, ordinality: false, columns } = &**from
                && crate::files::kind_of(name).is_some()
            {
                let types: Vec<_> = columns.iter().map(|c| c.ty.clone()).collect();
                let prune = prune::column_conditions(predicate, &types, context);
                let call =
                    table_function::TableFunction::new(*function, name, args, named_args, false, columns, context)?;
                let node = Node::new(call.with_prune(prune), columns);
                return Ok(Node::new(filter::Filter::new(node, predicate, context)?, columns));
            }
            Node::new(filter::Filter::new(input(from)?, predicate, context)?, columns)
        }
        Plan::Project { input: from, exprs, .. } => {
            return projected(input(from)?, exprs, columns, context);
        }
        Plan::ProjectSet { input: from, calls, .. } => {
            Node::new(project_set::ProjectSet::new(input(from)?, calls, columns, context)?, columns)
        }
        Plan::Window { input: from, partition_by, order_by, calls, .. } => {
            Node::new(window::Window::new(input(from)?, partition_by, order_by, calls, context)?, columns)
        }
        Plan::Aggregate { input: from, keys, aggregates, always, .. } => {
            let aggregate = aggregate::Aggregate::new(input(from)?, keys, aggregates, always, context)?;
            Node::new(
                if below.is_empty() { aggregate.remembering(from, keys, aggregates, context) } else { aggregate },
                columns,
            )
        }
        Plan::Sort { input: from, keys } => Node::new(sort::Sort::new(input(from)?, keys, context)?, columns),
        Plan::Sample { input: from, of, amount, offset, seed } => {
            let (offset, seed) = (offset.as_ref(), seed.as_ref());
            Node::new(sample::SampleScan::new(input(from)?, *of, amount, offset, seed, context)?, columns)
        }
        Plan::Fill { input: from, partition_by, ranges, values } => {
            Node::new(fill::Fill::new(input(from)?, partition_by, ranges, values, context)?, columns)
        }
        Plan::Limit { input: from, limit, offset } => {
            let limit = rows(constant_of(limit.as_ref(), context)?, "LIMIT")?;
            let offset = rows(constant_of(offset.as_ref(), context)?, "OFFSET")?;
            return limited(from, limit, offset.unwrap_or(0), context);
        }
        Plan::Distinct { input: from, on } => {
            Node::new(distinct::Distinct::new(input(from)?, on.as_deref(), context)?, columns)
        }
        Plan::Join { kind, left, right, on, filter, lateral, build_left, .. } => {
            let mut filters = Vec::new();
            if *build_left {
                filters = runtime_filter::offer(on.iter().map(|(_, key)| key), &mut right_below);
            } else if matches!(kind, JoinKind::Inner | JoinKind::Semi) && !lateral {
                filters = runtime_filter::offer(on.iter().map(|(key, _)| key), &mut below);
            }
            let from = compile_for(left, &below, context)?;
            if *lateral {
                let join = nested_loop::Lateral::new(*kind, from, right, on, filter.as_ref(), context)?;
                return Ok(Node::new(join, columns));
            }
            let with = compile_for(right, &right_below, context)?;
            if on.is_empty() && *kind == JoinKind::Inner {
                Node::new(nested_loop::NestedLoop::new(from, with, filter.as_ref(), context)?, columns)
            } else {
                let build_left = *build_left || *kind == JoinKind::Right;
                let sides = hash_join::Sides { kind: *kind, left: from, right: with, build_left };
                Node::new(hash_join::HashJoin::new(sides, on, filter.as_ref(), filters, context)?, columns)
            }
        }
        Plan::NearestJoin { kind, left, right, on, order, filter, .. } => {
            let (from, with) = (input(left)?, compile_for(right, &right_below, context)?);
            let join =
                nearest_join::NearestJoin::new(*kind, from, with, on, order.as_deref(), filter.as_ref(), context)?;
            Node::new(join, columns)
        }
        Plan::SetOperation { kind, all, left, right, .. } => Node::new(
            set_operation::SetOperation::new(*kind, *all, input(left)?, compile_for(right, &right_below, context)?)?,
            columns,
        ),
        Plan::Recursive { id, base, step, all, .. } => {
            Node::new(recursive::Recursive::new(*id, base, step, *all, context)?, columns)
        }
        Plan::WorkingTable { id, .. } => Node::new(recursive::WorkingTable::new(*id), columns),
        Plan::Cte { input: from, .. } => return input(from),
        Plan::With { ctes, body } => Node::new(with::With::new(ctes, body, context)?, columns),
        Plan::CteScan { id, name, projection, .. } => Node::new(with::CteScan::new(*id, name, projection), columns),
    })
}

/// What is computed of each row.
fn projected(mut input: Node, exprs: &[Expr], columns: &[OutputColumn], context: &Arc<QueryContext>) -> Result<Node> {
    let same = |(i, e): (usize, &Expr)| e.kind == ExprKind::Column(i);
    if exprs.len() == input.columns.len() && exprs.iter().enumerate().all(same) {
        // Nothing is computed: only names change.
        input.columns = columns.to_vec();
        return Ok(input);
    }
    Ok(Node::new(project::Project::new(input, exprs, context)?, columns))
}

/// LIMIT over a sort keeps only the rows it needs; a projection between the two stays above. Any other input is told how many it needs.
fn limited(plan: &Plan, limit: Option<usize>, offset: usize, context: &Arc<QueryContext>) -> Result<Node> {
    let rows = limit.and_then(|n| n.checked_add(offset));
    let few = rows.filter(|n| *n <= TOP_N_MAX.min(context.memory.limit() / TOP_N_ROW));
    if let (Some(rows), Some(limit)) = (few, limit) {
        match plan {
            Plan::Sort { input, keys } => {
                return Ok(Node::new(
                    limit::Limit::new(top(input, keys, rows, context)?, Some(limit), offset),
                    plan.columns(),
                ));
            }
            Plan::Project { input, exprs, columns } if matches!(**input, Plan::Sort { .. }) => {
                let node = limited(input, Some(limit), offset, context)?;
                return Ok(Node::new(project::Project::new(node, exprs, context)?, columns));
            }
            _ => {}
        }
    }
    let mut node = compile(plan, context)?;
    if let Some(rows) = rows {
        node.operator.want_first(rows);
    }
    Ok(Node::new(limit::Limit::new(node, limit, offset), plan.columns()))
}

/// The first rows of a plan in an order. What is computed of each row, and cannot fail, is computed of these only.
fn top(input: &Plan, keys: &[SortKey], rows: usize, context: &Arc<QueryContext>) -> Result<Node> {
    if let Plan::Project { input: below, exprs, columns } = input
        && exprs.iter().all(top_bound::cannot_fail)
    {
        let mut keys = keys.to_vec();
        keys.iter_mut().for_each(|key| walk::substitute(&mut key.expr, exprs));
        return projected(top(below, &keys, rows, context)?, exprs, columns, context);
    }
    if let Plan::Scan(scan) = input
        && rows <= FETCHED_MAX
        && let Some(late) = fetch::Late::new(scan, keys, context)?
    {
        let node = top(&Plan::Scan(late.scan.clone()), &late.keys, rows, context)?;
        return Ok(late.fetch(node, input.columns()));
    }
    let bound = TopBound::new(keys);
    let wanted: Vec<Wanted> = bound.iter().filter_map(|bound| bound.offer(keys, input)).collect();
    let node = top_n::TopN::new(compile_for(input, &wanted, context)?, keys, rows, bound, context)?;
    let estimate = estimated(input, context).map(|estimate| estimate.min(rows as f64));
    Ok(Node { rows: estimate, ..Node::new(node, input.columns()) })
}

/// A number of rows.
fn rows(value: Option<i64>, what: &str) -> Result<Option<usize>> {
    value
        .map(|n| {
            usize::try_from(n).map_err(|_| {
                let kind = if what == "LIMIT" { ErrorKind::InvalidLimit } else { ErrorKind::InvalidOffset };
                Error::new(kind, format!("{what} must not be negative"))
            })
        })
        .transpose()
}
