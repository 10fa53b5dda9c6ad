//! Conditions move towards the scans, where they prune granules and leave less for everything above.
//!
//! A condition passes an operator when the rows that it lets through are the same on either side: through projections (each column is
//! replaced by what it is computed from), sorts, DISTINCT, set operations, group keys of an aggregate, and the sides of a join that the join
//! does not fill up with NULLs. At an inner join it may also become one of the join's equalities, which turns `FROM a, b WHERE a.x = b.x`
//! into a hash join. It stops at a LIMIT, at a volatile function, and where moving it would run a query inside it twice. The order of
//! conditions stays, so that one which guards another still does. Of an OR that has to stay above an aggregation, what each branch says of the
//! group keys moves. What follows from them and a join's equalities (`imply`) moves too.

use arrow::array::{Array, AsArray};

use super::{has_subquery, imply, is_volatile, nothing, outer_joins};
use crate::bind::binder::join::split_condition;
use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind, JoinKind, Plan};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// The plan, with conditions over its columns applied as deep as they go.
pub(super) fn push(plan: Plan, conditions: Vec<Expr>, functions: &dyn Functions) -> Plan {
    match plan {
        Plan::Filter { input, predicate } => {
            let all = walk::conjuncts(predicate).into_iter().flat_map(factored).chain(conditions);
            let (stay, go) = all.partition(|condition| is_volatile(condition, functions));
            filter(push(*input, go, functions), stay)
        }
        Plan::Scan(mut scan) => {
            for mut condition in conditions {
                walk::rename_columns(&mut condition, &|column| scan.projection[column]);
                scan.filters.push(condition);
            }
            Plan::Scan(scan)
        }
        Plan::Project { input, exprs, columns } => {
            let moves = |column: usize| !is_volatile(&exprs[column], functions) && !has_subquery(&exprs[column]);
            let (go, stay) = split(conditions, moves);
            let go = substituted(go, &exprs);
            let input = Box::new(push(*input, go, functions));
            filter(Plan::Project { input, exprs, columns }, stay)
        }
        Plan::ProjectSet { input, calls, columns } => {
            let width = input.columns().len();
            let (go, stay) = split(conditions, |column| column < width);
            let input = Box::new(push(*input, go, functions));
            filter(Plan::ProjectSet { input, calls, columns }, stay)
        }
        Plan::Aggregate { input, keys, aggregates, always, columns } => {
            let moves = |column: usize| {
                always.is_empty()
                    && keys.get(column).is_some_and(|key| !is_volatile(key, functions) && !has_subquery(key))
            };
            // Without keys there is a row even over no rows.
            let (go, stay) = split(conditions, moves);
            let (mut go, mut constant): (Vec<_>, Vec<_>) =
                go.into_iter().partition(|condition| !walk::columns_read(condition).is_empty());
            go.extend(stay.iter().filter_map(|condition| said_by_all(condition, &moves)));
            constant.extend(stay);
            let go = substituted(go, &keys);
            let input = Box::new(push(*input, go, functions));
            filter(Plan::Aggregate { input, keys, aggregates, always, columns }, constant)
        }
        Plan::Sort { input, keys } => Plan::Sort { input: Box::new(push(*input, conditions, functions)), keys },
        Plan::Distinct { input, on: None } => {
            Plan::Distinct { input: Box::new(push(*input, conditions, functions)), on: None }
        }
        Plan::SetOperation { kind, all, left, right, columns } => {
            let (stay, go): (Vec<_>, Vec<_>) = conditions.into_iter().partition(has_subquery);
            let left = Box::new(push(*left, go.clone(), functions));
            let right = Box::new(push(*right, go, functions));
            filter(Plan::SetOperation { kind, all, left, right, columns }, stay)
        }
        Plan::Join { .. } => join(plan, conditions, functions),
        Plan::NearestJoin { kind, left, right, on, order, filter: own, columns } => {
            // Which row of the right is the nearest depends on all of them, and which of them none meets on all of the left.
            let outer = matches!(kind, JoinKind::Right | JoinKind::Full);
            let width = if outer { 0 } else { left.columns().len() };
            let (go, stay) = split(conditions, |column| column < width);
            let left = Box::new(push(*left, go, functions));
            let right = Box::new(push(*right, Vec::new(), functions));
            filter(Plan::NearestJoin { kind, left, right, on, order, filter: own, columns }, stay)
        }
        mut other => {
            walk::inputs_mut(&mut other, &mut |input, _| {
                let taken = std::mem::replace(input, nothing());
                *input = push(taken, Vec::new(), functions);
            });
            filter(other, conditions)
        }
    }
}

fn join(plan: Plan, conditions: Vec<Expr>, functions: &dyn Functions) -> Plan {
    let Plan::Join { kind, mut left, mut right, mut on, filter: own, lateral, columns, .. } = plan else { return plan };
    let width = left.columns().len();
    let kind = outer_joins::simplified(kind, width, width + right.columns().len(), &conditions);
    let own = own.map(walk::conjuncts).unwrap_or_default();
    // What holds for the join's rows is, at an inner join, the same as what makes them.
    let (mut made_by, above): (Vec<Expr>, Vec<Expr>) = match kind {
        JoinKind::Inner => (own.into_iter().chain(conditions).collect(), Vec::new()),
        _ => (own, conditions),
    };
    if !lateral {
        let on_left: Vec<Expr> =
            above.iter().filter(|one| reads_only(one, 0..width)).cloned().chain(holds(&left)).collect();
        made_by.extend(follows(kind, width, &on, &made_by, on_left, functions));
    }
    let (to_left, made_by) = match kind {
        // A left row that does not match is still there at a left or anti join.
        JoinKind::Inner | JoinKind::Right | JoinKind::Semi => split(made_by, |column| column < width),
        JoinKind::Left | JoinKind::Full | JoinKind::Anti => (Vec::new(), made_by),
    };
    let (to_right, made_by) = match kind {
        // The right of a lateral join is at another depth, and is small: it is filtered as it is joined.
        _ if lateral => (Vec::new(), made_by),
        JoinKind::Right | JoinKind::Full => (Vec::new(), made_by),
        _ => split(made_by, |column| column >= width),
    };
    let (above_left, above) = match kind {
        JoinKind::Left | JoinKind::Semi | JoinKind::Anti => split(above, |column| column < width),
        _ => (Vec::new(), above),
    };
    let (above_right, above) = match kind {
        JoinKind::Right if !lateral => split(above, |column| column >= width),
        _ => (Vec::new(), above),
    };
    let to_left = to_left.into_iter().chain(above_left).collect();
    let mut to_right: Vec<Expr> = to_right.into_iter().chain(above_right).collect();
    to_right.iter_mut().for_each(|condition| walk::rename_columns(condition, &|column| column - width));
    let mut rest = walk::conjunction(made_by);
    if let Some(condition) = rest.take_if(|_| !lateral) {
        let (pairs, left_over) = split_condition(condition, width);
        on.extend(pairs);
        rest = left_over;
    }
    let all: Vec<Expr> = rest.iter().cloned().flat_map(walk::conjuncts).collect();
    if matches!(kind, JoinKind::Inner | JoinKind::Right | JoinKind::Semi) {
        let keys: Vec<Expr> = on.iter().map(|(key, _)| key.clone()).collect();
        let asked = [outer_joins::not_null(&all, 0..width), outer_joins::not_null(&keys, 0..width)].concat();
        outer_joins::strengthen(&mut left, &asked);
    }
    if !lateral && !matches!(kind, JoinKind::Right | JoinKind::Full) {
        let keys: Vec<Expr> = on.iter().map(|(_, key)| key.clone()).collect();
        let own = right.columns().len();
        let asked = outer_joins::not_null(&all, width..width + own).into_iter().map(|column| column - width);
        let asked: Vec<usize> = asked.chain(outer_joins::not_null(&keys, 0..own)).collect();
        outer_joins::strengthen(&mut right, &asked);
    }
    let left = Box::new(push(*left, to_left, functions));
    let right = Box::new(push(*right, to_right, functions));
    filter(Plan::Join { kind, left, right, on, filter: rest, lateral, build_left: false, columns }, above)
}

/// What follows for a side of a join from the conditions that make it, and from those that hold for its left side's rows.
fn follows(
    kind: JoinKind,
    width: usize,
    on: &[(Expr, Expr)],
    made_by: &[Expr],
    on_left: Vec<Expr>,
    functions: &dyn Functions,
) -> Vec<Expr> {
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        return Vec::new();
    }
    let of_right = |(left, right): &(Expr, Expr)| {
        let mut right = right.clone();
        walk::rename_columns(&mut right, &|column| column + width);
        (left.clone(), right)
    };
    let equal: Vec<(Expr, Expr)> = on.iter().map(of_right).chain(made_by.iter().filter_map(imply::equated)).collect();
    let known: Vec<Expr> = made_by.iter().cloned().chain(on_left).collect();
    let mut found = imply::implied(&known, &equal, functions);
    if kind != JoinKind::Inner {
        // What a left row has to fulfil decides whether it matches, not whether it is there.
        found.retain(|condition| reads_only(condition, width..usize::MAX));
    }
    found
}

/// What holds for all rows of a plan, by conditions that are still to move into it.
fn holds(plan: &Plan) -> Vec<Expr> {
    match plan {
        Plan::Filter { input, predicate } => {
            let mut all = walk::conjuncts(predicate.clone());
            all.extend(holds(input));
            all
        }
        Plan::Sort { input, .. } | Plan::Limit { input, .. } | Plan::Distinct { input, .. } => holds(input),
        Plan::Join { kind: JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti, left, .. } => {
            holds(left)
        }
        _ => Vec::new(),
    }
}

fn reads_only(condition: &Expr, columns: std::ops::Range<usize>) -> bool {
    walk::columns_read(condition).into_iter().all(|column| columns.contains(&column))
}

/// What all branches of an OR have in common, and the OR of the rest.
fn factored(condition: Expr) -> Vec<Expr> {
    let ExprKind::Or(list) = &condition.kind else { return vec![condition] };
    let branches: Vec<Vec<Expr>> = list.iter().cloned().map(walk::conjuncts).collect();
    let in_all = |conjunct: &&Expr| branches[1..].iter().all(|branch| branch.contains(conjunct));
    let mut common: Vec<Expr> = branches[0].iter().filter(in_all).cloned().collect();
    if common.is_empty() {
        return vec![condition];
    }
    let rest = branches
        .into_iter()
        .map(|branch| walk::conjunction(branch.into_iter().filter(|conjunct| !common.contains(conjunct)).collect()));
    // Where a branch says no more than what all say, the rest makes no difference.
    if let Some(rest) = rest.collect::<Option<Vec<Expr>>>() {
        common.push(Expr::new(ExprKind::Or(rest), Type::Bool));
    }
    common
}

/// Conditions that read only columns for which `moves` holds, and the others.
fn split(conditions: Vec<Expr>, moves: impl Fn(usize) -> bool) -> (Vec<Expr>, Vec<Expr>) {
    conditions.into_iter().partition(|condition| walk::columns_read(condition).into_iter().all(&moves))
}

/// What every branch of an OR says of columns for which `moves` holds.
fn said_by_all(condition: &Expr, moves: &dyn Fn(usize) -> bool) -> Option<Expr> {
    let ExprKind::Or(list) = &condition.kind else { return None };
    let moves = |conjunct: &Expr| {
        let reads = walk::columns_read(conjunct);
        !reads.is_empty() && reads.into_iter().all(moves) && !has_subquery(conjunct)
    };
    let said = list.iter().map(|branch| {
        let all = walk::conjuncts(branch.clone());
        walk::conjunction(all.into_iter().filter(moves).collect())
    });
    Some(Expr::new(ExprKind::Or(said.collect::<Option<Vec<Expr>>>()?), Type::Bool))
}

fn substituted(mut conditions: Vec<Expr>, with: &[Expr]) -> Vec<Expr> {
    for condition in &mut conditions {
        walk::substitute(condition, with);
        walk::visit_mut_shallow(condition, &mut simplify);
    }
    // Of an OR with one branch left, each part goes its own way.
    conditions.into_iter().flat_map(walk::conjuncts).filter(|condition| truth(condition) != Some(true)).collect()
}

fn truth(condition: &Expr) -> Option<bool> {
    let ExprKind::Literal(value) = &condition.kind else { return None };
    let value = value.array.as_boolean_opt()?;
    value.is_valid(0).then(|| value.value(0))
}

/// Settles the equality of two texts, and takes what is settled out of AND and OR: what a side of a UNION is called decides which branches
/// are about it.
fn simplify(node: &mut Expr) {
    let settled = match &mut node.kind {
        ExprKind::Call { name, args, .. } if name == "=" => match args.as_slice() {
            [Expr { kind: ExprKind::Literal(a), ty, .. }, Expr { kind: ExprKind::Literal(b), .. }]
                if *ty == Type::Text =>
            {
                a.as_str().zip(b.as_str()).map(|(a, b)| a == b)
            }
            _ => None,
        },
        ExprKind::And(list) | ExprKind::Or(list) if list.iter().any(|part| truth(part).is_some()) => {
            let is_and = matches!(node.kind, ExprKind::And(_));
            let (ExprKind::And(list) | ExprKind::Or(list)) = &mut node.kind else { return };
            // One that decides does so whatever the others are, as in PostgreSQL; the rest make no difference.
            let decides = list.iter().any(|part| truth(part) == Some(!is_and));
            list.retain(|part| truth(part) != Some(is_and));
            match (decides, list.len()) {
                (true, _) => Some(!is_and),
                (_, 0) => Some(is_and),
                (_, 1) => {
                    *node = list.swap_remove(0);
                    None
                }
                _ => None,
            }
        }
        _ => None,
    };
    if let Some(settled) = settled {
        *node = Expr::literal(Value::bool(settled));
    }
}

fn filter(plan: Plan, conditions: Vec<Expr>) -> Plan {
    match walk::conjunction(conditions) {
        Some(predicate) => Plan::Filter { input: Box::new(plan), predicate },
        None => plan,
    }
}
