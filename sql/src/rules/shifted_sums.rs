//! Sums that a constant tells apart are one: `sum(x + c)` is `sum(x) + c * count(x)`.
//!
//! Where an aggregation has several sums of one `x` under one filter, `x` is added up and counted once, and a projection above makes the others.
//! The addition is left out only if it cannot fail: `x` is an integer of a smaller type that was widened for it, and the constant leaves room
//! for all values of that type. A sum of no values stays NULL, since `sum(x)` is.

use super::decorrelate::{aggregate, call as scalar};
use super::{is_volatile, nothing};
use crate::bind::binder::literal::{cast, integer_value};
use crate::catalog::{FunctionId, Functions};
use crate::plan::{AggregateCall, Expr, ExprKind, OutputColumn, Plan};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// Digits of a bigint: the product of two such numerics has the 38 digits of a sum.
const BIGINT_DIGITS: u8 = 19;

/// The plan with one sum for those that a constant tells apart.
pub(super) fn shifted_sums(mut plan: Plan, functions: &dyn Functions) -> Plan {
    walk::plans_mut(&mut plan, &mut |below| {
        let taken = std::mem::replace(below, nothing());
        *below = shifted_sums(taken, functions);
    });
    summed_once(&plan, functions).unwrap_or(plan)
}

/// A call of sum over `value + shift`.
struct Sum<'p> {
    value: &'p Expr,
    shift: i128,
    filter: &'p Option<Expr>,
}

impl Sum<'_> {
    fn is_over_the_same(&self, other: &Sum<'_>) -> bool {
        self.value == other.value && self.filter == other.filter
    }

    /// What is shifted: this function over the value.
    fn over_value(&self, name: &str, functions: &dyn Functions) -> Option<AggregateCall> {
        Some(AggregateCall { filter: self.filter.clone(), ..aggregate(name, vec![self.value.clone()], functions)? })
    }
}

fn summed_once(plan: &Plan, functions: &dyn Functions) -> Option<Plan> {
    let Plan::Aggregate { input, keys, aggregates, always, columns } = plan else { return None };
    let sums: Vec<Option<Sum<'_>>> = aggregates.iter().map(|call| sum(call, functions)).collect();
    let pays = |sum: &&Sum<'_>| {
        let alike = || sums.iter().flatten().filter(|other| sum.is_over_the_same(other));
        alike().count() > 1 && alike().any(|other| other.shift != 0)
    };
    let replaced: Vec<Option<&Sum<'_>>> = sums.iter().map(|sum| sum.as_ref().filter(pays)).collect();
    if replaced.iter().all(Option::is_none) {
        return None;
    }
    let kept = aggregates.iter().zip(&replaced).filter(|(_, sum)| sum.is_none());
    let mut calls: Vec<AggregateCall> = kept.map(|(call, _)| call.clone()).collect();
    let mut next_kept = keys.len()..;
    let mut shared = |call: AggregateCall| {
        let ty = call.ty.clone();
        let at = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Expr::column(keys.len() + at, ty)
    };
    let mut exprs: Vec<Expr> = keys.iter().enumerate().map(|(at, key)| Expr::column(at, key.ty.clone())).collect();
    for (call, sum) in aggregates.iter().zip(replaced) {
        exprs.push(match sum {
            None => Expr::column(next_kept.next()?, call.ty.clone()),
            Some(sum) => {
                let total = shared(sum.over_value("sum", functions)?);
                match sum.shift {
                    0 => total,
                    shift => shifted(total, shift, shared(sum.over_value("count", functions)?), functions)?,
                }
            }
        });
    }
    let mut grouped = columns[..keys.len()].to_vec();
    grouped.extend(calls.iter().map(|call| OutputColumn::computed(&call.name, call.ty.clone())));
    let (input, keys, always) = (input.clone(), keys.clone(), always.clone());
    let input = Box::new(Plan::Aggregate { input, keys, aggregates: calls, always, columns: grouped });
    Some(Plan::Project { input, exprs, columns: columns.clone() })
}

/// A call as a sum whose addition cannot fail.
fn sum<'p>(call: &'p AggregateCall, functions: &dyn Functions) -> Option<Sum<'p>> {
    let is_plain = !call.distinct && call.order_by.is_empty() && call.combinator.is_none();
    let (true, ("sum", false), [arg]) = (is_plain, functions.aggregate(call.function), call.args.as_slice()) else {
        return None;
    };
    let (value, shift) = shift_of(arg, functions).unwrap_or((arg, 0));
    if is_volatile(value, functions) || call.filter.iter().any(|filter| is_volatile(filter, functions)) {
        return None;
    }
    Some(Sum { value: narrow(value), shift, filter: &call.filter })
}

/// `x + c`, `c + x` or `x - c` as x and what is added to it, if no x of its type makes that fail.
fn shift_of<'p>(expr: &'p Expr, functions: &dyn Functions) -> Option<(&'p Expr, i128)> {
    let ExprKind::Call { function, args, .. } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let (value, shift) = match (integer_value(left), integer_value(right)) {
        (None, Some(constant)) if is_operator(*function, "+", functions) => (left, constant),
        (Some(constant), None) if is_operator(*function, "+", functions) => (right, constant),
        (None, Some(constant)) if is_operator(*function, "-", functions) => (left, -constant),
        _ => return None,
    };
    let ExprKind::Cast { expr: narrow, lenient: false, .. } = &value.kind else { return None };
    // The least value of a type is one further from zero than the greatest.
    let furthest = shift.abs() + greatest(&narrow.ty)? + 1;
    (furthest <= greatest(&expr.ty)?).then_some((value, shift))
}

fn is_operator(function: FunctionId, symbol: &str, functions: &dyn Functions) -> bool {
    functions.overloads(symbol).iter().any(|signature| signature.id == function)
}

fn greatest(ty: &Type) -> Option<i128> {
    Some(match ty {
        Type::Int2 => i16::MAX.into(),
        Type::Int4 => i32::MAX.into(),
        Type::Int8 => i64::MAX.into(),
        _ => return None,
    })
}

/// A value whose sum is the same number of the same type, so that `sum(x)` is one with what `sum(x + c)` needs.
fn narrow(value: &Expr) -> &Expr {
    match &value.kind {
        ExprKind::Cast { expr, lenient: false, .. } if expr.ty == Type::Int2 && value.ty == Type::Int4 => expr,
        _ => value,
    }
}

/// `total + shift * count`, in the type of the total. Of bigints only more than 2^32 rows make the product too large, of which the sum would be as well.
fn shifted(total: Expr, shift: i128, count: Expr, functions: &dyn Functions) -> Option<Expr> {
    let ty = total.ty.clone();
    let factors = match &ty {
        Type::Int8 => vec![Expr::literal(Value::int8(i64::try_from(shift).ok()?)), count],
        _ => {
            let shift = Expr::literal(Value::decimal(shift, BIGINT_DIGITS, 0));
            vec![shift, cast(count, Type::Numeric(Some((BIGINT_DIGITS, 0))), false)]
        }
    };
    let sum = scalar("+", vec![total, scalar("*", factors, functions)?], functions)?;
    Some(if sum.ty == ty { sum } else { cast(sum, ty, false) })
}
