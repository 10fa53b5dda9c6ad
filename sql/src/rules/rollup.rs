//! Grouping sets of which one has all keys: it is aggregated once, to partial states, and the others come from its groups.
//!
//! The binder repeats each row for each set, with the set's number, and keys that are NULL where a set leaves them out. Here it is the finest
//! set's groups that are repeated, of which there are fewer; their states are merged. That needs aggregates whose states say all, whatever the
//! order of rows: DISTINCT and ORDER BY within a call keep the plan as it is.

use super::nothing;
use crate::bind::binder::combinator::{state_overload, state_type};
use crate::catalog::Functions;
use crate::plan::{AggregateCall, Combinator, Expr, ExprKind, OutputColumn, Plan};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// Aggregates that the order of rows makes no difference to.
const UNORDERED: [&str; 24] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "variance",
    "var_samp",
    "var_pop",
    "bool_and",
    "bool_or",
    "every",
    "bit_and",
    "bit_or",
    "bit_xor",
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_slope",
    "regr_intercept",
    "regr_r2",
    "uniqexact",
];

/// The plan with coarser groups from finer ones.
pub(super) fn rollup(mut plan: Plan, functions: &dyn Functions) -> Plan {
    walk::plans_mut(&mut plan, &mut |below| {
        let taken = std::mem::replace(below, nothing());
        *below = rollup(taken, functions);
    });
    stepped(&plan, functions).unwrap_or(plan)
}

/// A key as the sets have it.
struct Key<'p> {
    value: &'p Expr,
    /// The sets that it is of; all, if it does not say.
    sets: Option<&'p [Expr]>,
}

fn key<'p>(expr: &'p Expr, set: &Expr) -> Option<Key<'p>> {
    if let ExprKind::Case { branches, otherwise: Some(otherwise) } = &expr.kind
        && let [(condition, value)] = branches.as_slice()
        && let ExprKind::InList { expr: number, list } = &condition.kind
        && **number == *set
        && matches!(&otherwise.kind, ExprKind::Literal(null) if null.is_null())
    {
        return Some(Key { value, sets: Some(list) });
    }
    let ExprKind::Column(number) = set.kind else { return None };
    (!walk::columns_read(expr).contains(&number)).then_some(Key { value: expr, sets: None })
}

fn stepped(plan: &Plan, functions: &dyn Functions) -> Option<Plan> {
    let Plan::Aggregate { input, keys, aggregates, always, columns } = plan else { return None };
    let Plan::ProjectSet { input, calls, .. } = &**input else { return None };
    let [(repeat, args)] = calls.as_slice() else { return None };
    let [Expr { kind: ExprKind::Array(numbers), .. }] = args.as_slice() else { return None };
    let (set, own) = keys.split_last()?;
    if numbers.len() < 2 || *set != Expr::column(input.columns().len(), Type::Int4) {
        return None;
    }
    let own: Vec<Key<'_>> = own.iter().map(|one| key(one, set)).collect::<Option<_>>()?;
    let has_all = |number: &&Expr| own.iter().all(|key| key.sets.is_none_or(|sets| sets.contains(number)));
    numbers.iter().find(has_all)?;
    let volatile = own.iter().any(|key| super::is_volatile(key.value, functions));
    let states: Vec<AggregateCall> =
        aggregates.iter().map(|call| state(call, set, functions)).collect::<Option<_>>()?;
    if volatile || own.is_empty() {
        return None;
    }
    // The finest groups.
    let mut finest: Vec<OutputColumn> = columns[..own.len()].to_vec();
    finest.extend(states.iter().map(|call| OutputColumn::computed("?column?", call.ty.clone())));
    let first = own.len();
    let groups = Plan::Aggregate {
        input: input.clone(),
        keys: own.iter().map(|key| key.value.clone()).collect(),
        aggregates: states.clone(),
        always: Vec::new(),
        columns: finest.clone(),
    };
    // Each of them once for each set.
    let set = Expr::column(finest.len(), Type::Int4);
    finest.push(columns[first].clone());
    let calls = vec![(*repeat, args.clone())];
    let repeated = Plan::ProjectSet { input: Box::new(groups), calls, columns: finest };
    let of_sets = own.iter().enumerate().map(|(at, key)| {
        let ty = key.value.ty.clone();
        let value = Expr::column(at, ty.clone());
        let Some(sets) = key.sets else { return value };
        let list = ExprKind::InList { expr: Box::new(set.clone()), list: sets.to_vec() };
        let branches = vec![(Expr::new(list, Type::Bool), value)];
        let otherwise = Some(Box::new(Expr::literal(Value::null(ty.clone()))));
        Expr::new(ExprKind::Case { branches, otherwise }, ty)
    });
    let keys = of_sets.chain([set.clone()]).collect();
    let merged = states.into_iter().zip(aggregates).enumerate().map(|(at, (state, call))| AggregateCall {
        args: vec![Expr::column(first + at, state.ty)],
        filter: None,
        combinator: Some(Combinator::Merge),
        ..call.clone()
    });
    let (aggregates, always, columns) = (merged.collect(), always.clone(), columns.clone());
    Some(Plan::Aggregate { input: Box::new(repeated), keys, aggregates, always, columns })
}

/// A call that gives its state, if states make the same result.
fn state(call: &AggregateCall, set: &Expr, functions: &dyn Functions) -> Option<AggregateCall> {
    let signature = functions.overloads(&call.name).iter().find(|signature| signature.id == call.function)?;
    let (name, has_condition) = functions.aggregate(call.function);
    let ExprKind::Column(number) = set.kind else { return None };
    let mut plain = !call.distinct && call.order_by.is_empty() && call.combinator.is_none() && !has_condition;
    plain &= UNORDERED.contains(&name.to_lowercase().as_str());
    walk::aggregate_parts(call, &mut |part| {
        plain &= !walk::columns_read(part).contains(&number) && !super::is_volatile(part, functions);
    });
    if !plain {
        return None;
    }
    let types: Vec<Type> = call.args.iter().map(|arg| arg.ty.clone()).collect();
    let ty = state_type(functions, signature, &call.params, types).ok()?;
    let Type::State(of) = &ty else { return None };
    let (_, _, result) = state_overload(functions, of)?;
    (result == call.ty).then(|| AggregateCall { combinator: Some(Combinator::State), ty: ty.clone(), ..call.clone() })
}
