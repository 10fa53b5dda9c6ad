//! Each operator puts out only the columns that something above it uses, down to the scans, which then read no others.
//!
//! [`prune`] changes a plan in place and says where each of its columns went. What may fail or differ from call to call is treated as
//! Postgres does: an unused expression of a subquery is dropped, unless it is volatile.

use super::{is_volatile, nothing};
use crate::catalog::{FunctionId, Functions, Returns};
use crate::plan::{AggregateCall, Expr, ExprKind, JoinKind, OutputColumn, Plan, SetKind};
use crate::types::Type;
use crate::walk;

/// The new place of each old column; [`GONE`] for those that are no more.
type Places = Vec<usize>;

const GONE: usize = usize::MAX;

/// Drops columns of a plan that are not used; used ones stay, in order. If all are used, none changes its place.
pub(super) fn prune(plan: &mut Plan, used: &[bool], functions: &dyn Functions) -> Places {
    match plan {
        Plan::Scan(scan) => {
            keep(&mut scan.projection, used);
            keep(&mut scan.columns, used)
        }
        Plan::Project { input, exprs, columns } => {
            let used: Vec<bool> =
                used.iter().zip(&*exprs).map(|(used, e)| *used || is_volatile(e, functions)).collect();
            keep(exprs, &used);
            let places = keep(columns, &used);
            let below = prune(input, &reads(exprs.iter(), input.columns().len()), functions);
            exprs.iter_mut().for_each(|expr| rename(expr, &below));
            places
        }
        Plan::Filter { input, predicate } => {
            let places = prune(input, &or(used, &reads([&*predicate], used.len())), functions);
            rename(predicate, &places);
            places
        }
        Plan::Sort { input, keys } => {
            let own = reads(keys.iter().map(|key| &key.expr), used.len());
            let places = prune(input, &or(used, &own), functions);
            keys.iter_mut().for_each(|key| rename(&mut key.expr, &places));
            places
        }
        Plan::Limit { input, .. } | Plan::Sample { input, .. } => prune(input, used, functions),
        Plan::Distinct { input, on: None } => prune(input, &vec![true; used.len()], functions),
        Plan::Distinct { input, on: Some(on) } => {
            let places = prune(input, &or(used, &reads(on.iter(), used.len())), functions);
            on.iter_mut().for_each(|expr| rename(expr, &places));
            places
        }
        Plan::ProjectSet { input, calls, columns } => {
            let width = input.columns().len();
            let own = reads(calls.iter().flat_map(|(_, args)| args), width);
            let mut places = prune(input, &or(&used[..width], &own), functions);
            calls.iter_mut().flat_map(|(_, args)| args).for_each(|expr| rename(expr, &places));
            // The calls stay, since they make rows.
            let kept: Vec<bool> = places.iter().map(|place| *place != GONE).chain(calls.iter().map(|_| true)).collect();
            places = keep(columns, &kept);
            places
        }
        Plan::Window { input, partition_by, order_by, calls, columns } => {
            let width = input.columns().len();
            keep(calls, &used[width..]);
            let mut own = reads(partition_by.iter().chain(order_by.iter().map(|key| &key.expr)), width);
            let mut read = |expr: &Expr| walk::columns_read(expr).into_iter().for_each(|column| own[column] = true);
            calls.iter().for_each(|call| walk::window_parts(call, &mut |part| read(part)));
            let below = prune(input, &or(&used[..width], &own), functions);
            partition_by.iter_mut().for_each(|expr| rename(expr, &below));
            order_by.iter_mut().for_each(|key| rename(&mut key.expr, &below));
            calls.iter_mut().for_each(|call| walk::window_parts_mut(call, &mut |part| rename(part, &below)));
            let kept: Vec<bool> =
                below.iter().map(|place| *place != GONE).chain(used[width..].iter().copied()).collect();
            keep(columns, &kept)
        }
        Plan::Aggregate { input, keys, aggregates, columns, .. } => {
            let volatile = |call: &AggregateCall| {
                let mut found = false;
                walk::aggregate_parts(call, &mut |part| found = found || is_volatile(part, functions));
                found
            };
            let (of_keys, of_calls) = used.split_at(keys.len());
            let calls: Vec<bool> = of_calls.iter().zip(&*aggregates).map(|(used, c)| *used || volatile(c)).collect();
            keep(aggregates, &calls);
            let kept: Vec<bool> = of_keys.iter().map(|_| true).chain(calls).collect();
            let places = keep(columns, &kept);
            let mut own = vec![false; input.columns().len()];
            let mut read = |expr: &Expr| walk::columns_read(expr).into_iter().for_each(|column| own[column] = true);
            keys.iter().for_each(&mut read);
            aggregates.iter().for_each(|call| walk::aggregate_parts(call, &mut |part| read(part)));
            let below = prune(input, &own, functions);
            keys.iter_mut().for_each(|key| rename(key, &below));
            aggregates.iter_mut().for_each(|call| walk::aggregate_parts_mut(call, &mut |part| rename(part, &below)));
            places
        }
        Plan::Join { .. } => join(plan, used, functions),
        Plan::NearestJoin { .. } => nearest_join(plan, used, functions),
        Plan::TableFunction { function, name, ordinality: false, columns, .. }
            if names_its_columns(*function, name, functions) =>
        {
            keep(columns, used)
        }
        Plan::SetOperation { kind: SetKind::Union, all: true, left, right, columns } => {
            for side in [left, right] {
                let places = prune(side, used, functions);
                only(side, used, &places);
            }
            keep(columns, used)
        }
        Plan::CteScan { projection, columns, .. } => {
            keep(projection, used);
            keep(columns, used)
        }
        Plan::Cte { input, .. } => prune(input, used, functions),
        // Rows of these are compared as a whole, or made elsewhere.
        Plan::SetOperation { .. }
        | Plan::Fill { .. }
        | Plan::Recursive { .. }
        | Plan::Values { .. }
        | Plan::TableFunction { .. }
        | Plan::WorkingTable { .. }
        | Plan::With { .. } => {
            walk::inputs_mut(plan, &mut |input, _| {
                let every = vec![true; input.columns().len()];
                prune(input, &every, functions);
            });
            (0..used.len()).collect()
        }
    }
}

/// Whether a table function is asked for columns by name, as those that read files are: their columns come from the catalogue.
fn names_its_columns(function: FunctionId, name: &str, functions: &dyn Functions) -> bool {
    let asked = |returns: &Returns| matches!(returns, Returns::Exact(Type::Record(fields)) if fields.is_empty());
    functions.overloads(name).iter().any(|signature| signature.id == function && asked(&signature.returns))
}

/// Whether no two rows of a plan are equal in these columns.
fn is_unique(plan: &Plan, columns: &[usize]) -> bool {
    match plan {
        Plan::Project { input, exprs, .. } => {
            let below = columns.iter().filter_map(|&column| match exprs.get(column)?.kind {
                ExprKind::Column(below) => Some(below),
                _ => None,
            });
            is_unique(input, &below.collect::<Vec<usize>>())
        }
        Plan::Filter { input, .. } => is_unique(input, columns),
        Plan::Aggregate { keys, .. } => (0..keys.len()).all(|key| columns.contains(&key)),
        _ => false,
    }
}

/// Of a left join that only repeats its left rows once each, the left side.
fn left_alone(plan: &mut Plan, used: &[bool]) -> Option<Plan> {
    let Plan::Join { kind: JoinKind::Left, left, right, on, lateral: false, .. } = plan else { return None };
    let tells_nulls =
        |value: &Expr| on.iter().any(|(_, key)| matches!(&key.kind, ExprKind::IsNull(of) if **of == *value));
    let keys = on.iter().filter_map(|(_, key)| match &key.kind {
        ExprKind::Column(column) => Some(*column),
        // As keys in which NULL is equal to NULL are.
        ExprKind::Coalesce(list) => match &list[0].kind {
            ExprKind::Column(column) if list.len() == 2 && tells_nulls(&list[0]) => Some(*column),
            _ => None,
        },
        _ => None,
    });
    let keys: Vec<usize> = keys.collect();
    let needed = used[left.columns().len()..].contains(&true) || !is_unique(right, &keys);
    (!needed).then(|| std::mem::replace(&mut **left, nothing()))
}

fn join(plan: &mut Plan, used: &[bool], functions: &dyn Functions) -> Places {
    if let Some(left) = left_alone(plan, used) {
        let width = left.columns().len();
        *plan = left;
        let mut places = prune(plan, &used[..width], functions);
        places.resize(used.len(), GONE);
        return places;
    }
    let Plan::Join { kind, left, right, on, filter, lateral, columns, .. } = plan else { return Vec::new() };
    let (width, both) = (left.columns().len(), left.columns().len() + right.columns().len());
    let mut wanted = used.to_vec();
    wanted.resize(both, false);
    filter.iter().for_each(|filter| walk::columns_read(filter).into_iter().for_each(|column| wanted[column] = true));
    for (key, other) in &*on {
        walk::columns_read(key).into_iter().for_each(|column| wanted[column] = true);
        walk::columns_read(other).into_iter().for_each(|column| wanted[width + column] = true);
    }
    if *lateral {
        walk::visit_plan(right, 1, &mut |node, depth| {
            if let ExprKind::Outer { depth: out, column } = node.kind
                && out == depth
            {
                wanted[column] = true;
            }
        });
    }
    let of_left = prune(left, &wanted[..width], functions);
    let of_right = prune(right, &wanted[width..], functions);
    if *lateral {
        walk::rename_outer_columns(right, &|column| of_left[column]);
    }
    for (key, other) in on {
        rename(key, &of_left);
        rename(other, &of_right);
    }
    let new_width = left.columns().len();
    let moved = of_right.iter().map(|&place| if place == GONE { GONE } else { new_width + place });
    let all: Places = of_left.iter().copied().chain(moved).collect();
    filter.iter_mut().for_each(|filter| rename(filter, &all));
    let shown = if matches!(kind, JoinKind::Semi | JoinKind::Anti) { width } else { both };
    let kept: Vec<bool> = all[..shown].iter().map(|place| *place != GONE).collect();
    keep(columns, &kept)
}

fn nearest_join(plan: &mut Plan, used: &[bool], functions: &dyn Functions) -> Places {
    let Plan::NearestJoin { left, right, on, order, filter, columns, .. } = plan else { return Vec::new() };
    let wanted = or(used, &reads(filter.as_ref(), used.len()));
    let (of_left, of_right) = wanted.split_at(left.columns().len());
    let of_order = order.iter_mut().map(|order| (&mut order.left, &mut order.right));
    let (mut lefts, mut rights): (Vec<&mut Expr>, Vec<&mut Expr>) =
        on.iter_mut().map(|(left, right)| (left, right)).chain(of_order).unzip();
    let mut places = Places::new();
    for (side, used, keys) in [(left, of_left, &mut lefts), (right, of_right, &mut rights)] {
        let read = reads(keys.iter().map(|key| &**key), used.len());
        let below = prune(side, &or(used, &read), functions);
        keys.iter_mut().for_each(|key| rename(key, &below));
        let first = places.iter().filter(|place| **place != GONE).count();
        places.extend(below.into_iter().map(|place| if place == GONE { GONE } else { first + place }));
    }
    filter.iter_mut().for_each(|filter| rename(filter, &places));
    let kept: Vec<bool> = places.iter().map(|place| *place != GONE).collect();
    keep(columns, &kept)
}

/// Keeps what is used; where each went.
fn keep<T>(list: &mut Vec<T>, used: &[bool]) -> Places {
    let mut flags = used.iter();
    list.retain(|_| flags.next().copied().unwrap_or(true));
    let mut next = 0..;
    used.iter().map(|used| if *used { next.next().unwrap_or(GONE) } else { GONE }).collect()
}

/// Puts a projection over a plan that kept more than is used, so that it has exactly the used columns.
fn only(plan: &mut Plan, used: &[bool], places: &[usize]) {
    let wanted: Vec<usize> = used.iter().zip(places).filter(|(used, _)| **used).map(|(_, place)| *place).collect();
    if wanted.len() == plan.columns().len() {
        return;
    }
    let columns: Vec<OutputColumn> = wanted.iter().map(|&column| plan.columns()[column].clone()).collect();
    let exprs = wanted.iter().zip(&columns).map(|(&at, column)| Expr::column(at, column.ty.clone())).collect();
    let input = std::mem::replace(plan, nothing());
    *plan = Plan::Project { input: Box::new(input), exprs, columns };
}

fn rename(expr: &mut Expr, places: &[usize]) {
    walk::rename_columns(expr, &|column| places[column]);
}

/// Which of `width` columns the expressions read.
fn reads<'e>(exprs: impl IntoIterator<Item = &'e Expr>, width: usize) -> Vec<bool> {
    let mut read = vec![false; width];
    exprs.into_iter().flat_map(walk::columns_read).for_each(|column| read[column] = true);
    read
}

fn or(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}
