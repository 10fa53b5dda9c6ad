//! How many rows an operator gives: from the tables' sizes, the ranges of their columns and the usual guesses.
//!
//! Of two columns that are equated, each value of the one with fewer is taken to be among the other's (P. G. Selinger et al., Access Path
//! Selection in a Relational Database Management System, SIGMOD 1979). Conditions are taken to be independent.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNanoType};

use crate::catalog::{Statistics, numbers};
use crate::plan::{Expr, ExprKind, JoinKind, Plan};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// A relation of which nothing is known.
const ROWS: f64 = 1000.0;
/// The share of rows for which a comparison holds of which nothing is known.
const COMPARISON: f64 = 1.0 / 3.0;
/// The same of an equality with a constant.
const EQUALITY: f64 = 0.1;
/// The same of LIKE, and of a regular expression.
const PATTERN: f64 = 0.1;
/// Microseconds of a day.
const DAY: f64 = 86_400e6;
const DAYS_OF_MONTH: f64 = 365.25 / 12.0;
/// The least share that the ends of a range are taken to leave.
const LEAST: f64 = 1e-4;

/// How many rows a plan gives.
pub fn rows(plan: &Plan, statistics: &dyn Statistics) -> f64 {
    let guess = match plan {
        Plan::Scan(scan) => {
            let all = statistics.rows(scan.relation.oid).unwrap_or(ROWS);
            let column = |column: usize| (scan.relation.oid, column);
            all * share_of_all(&scan.filters, &column, statistics)
        }
        Plan::Values { rows, .. } => rows.len() as f64,
        Plan::TableFunction { .. } | Plan::WorkingTable { .. } => ROWS,
        Plan::Filter { input, predicate } => {
            let origins = input.columns();
            let column = |column: usize| {
                let origin = origins.get(column).and_then(|column| column.origin);
                origin.map_or((0, 0), |(oid, number)| (oid, number as usize - 1))
            };
            rows(input, statistics) * share(predicate, &column, statistics)
        }
        Plan::Project { input, .. } | Plan::Sort { input, .. } | Plan::Window { input, .. } => rows(input, statistics),
        Plan::ProjectSet { input, .. } => rows(input, statistics) * 10.0,
        Plan::Aggregate { input, keys, .. } => {
            let all = rows(input, statistics);
            let groups = keys.iter().map(|key| distinct(input, key, all, statistics)).product::<f64>();
            groups.min(all)
        }
        Plan::Limit { input, limit, .. } => {
            let most = limit.as_ref().and_then(|limit| match &limit.kind {
                ExprKind::Literal(value) => number(value),
                _ => None,
            });
            rows(input, statistics).min(most.unwrap_or(f64::MAX))
        }
        Plan::Distinct { input, .. } => rows(input, statistics) / 2.0,
        Plan::Sample { input, .. } => rows(input, statistics) / 10.0,
        Plan::Fill { input, .. } => rows(input, statistics) * 2.0,
        Plan::Join { kind, left, right, on, filter, .. } => {
            let (of_left, of_right) = (rows(left, statistics), rows(right, statistics));
            let values = |plan: &Plan, rows: f64, keys: &mut dyn Iterator<Item = &Expr>| {
                keys.map(|key| distinct(plan, key, rows, statistics)).product::<f64>().min(rows).max(1.0)
            };
            let from_left = values(left, of_left, &mut on.iter().map(|(key, _)| key));
            let from_right = values(right, of_right, &mut on.iter().map(|(_, key)| key));
            let mut pairs = of_left * of_right / if on.is_empty() { 1.0 } else { from_left.max(from_right) };
            if filter.is_some() {
                pairs *= COMPARISON;
            }
            match kind {
                JoinKind::Inner => pairs,
                JoinKind::Left => pairs.max(of_left),
                JoinKind::Right => pairs.max(of_right),
                JoinKind::Full => pairs.max(of_left).max(of_right),
                JoinKind::Semi => of_left * (from_right / from_left).min(0.9),
                JoinKind::Anti => of_left * (1.0 - from_right / from_left).max(0.1),
            }
        }
        Plan::NearestJoin { left, .. } => rows(left, statistics),
        Plan::SetOperation { left, right, .. } => rows(left, statistics) + rows(right, statistics),
        Plan::Recursive { base, .. } => rows(base, statistics) * 10.0,
        Plan::Cte { input, .. } | Plan::With { body: input, .. } => rows(input, statistics),
        Plan::CteScan { rows, .. } => *rows,
    };
    guess.max(1.0)
}

/// How many values an expression over a plan's columns has in so many rows.
pub(super) fn distinct(plan: &Plan, expr: &Expr, rows: f64, statistics: &dyn Statistics) -> f64 {
    let values = match &expr.kind {
        ExprKind::Column(column) => listed(plan, *column).or_else(|| {
            let (oid, number) = plan.columns().get(*column)?.origin?;
            statistics.distinct(oid, number as usize - 1)
        }),
        ExprKind::Cast { expr, .. } => return distinct(plan, expr, rows, statistics),
        _ => None,
    };
    values.unwrap_or(rows / 10.0).min(rows).max(1.0)
}

/// How many values a scan's conditions list of a column.
fn listed(plan: &Plan, column: usize) -> Option<f64> {
    let Plan::Scan(scan) = plan else { return None };
    let own = scan.projection.get(column)?;
    let is_own = |expr: &Expr| expr.kind == ExprKind::Column(*own);
    scan.filters.iter().find_map(|filter| match &filter.kind {
        ExprKind::InList { expr, list } if is_own(expr) => Some(list.len() as f64),
        ExprKind::Call { name, args, .. } if name == "=" && walk::columns_read(filter).len() == 1 => {
            args.iter().any(is_own).then_some(1.0)
        }
        _ => None,
    })
}

/// The share of rows for which all of these hold: those that bound one column are one condition.
fn share_of_all(list: &[Expr], column: &dyn Fn(usize) -> (u32, usize), statistics: &dyn Statistics) -> f64 {
    let mut bounds: Vec<((u32, usize), f64, f64)> = Vec::new();
    let mut all = 1.0;
    for condition in list {
        match bound(condition, column, statistics) {
            Some((of, at, is_upper)) => {
                if !bounds.iter().any(|known| known.0 == of) {
                    bounds.push((of, 0.0, 1.0));
                }
                for (_, lower, upper) in bounds.iter_mut().filter(|known| known.0 == of) {
                    (*lower, *upper) = if is_upper { (*lower, upper.min(at)) } else { (lower.max(at), *upper) };
                }
            }
            None => all *= share(condition, column, statistics),
        }
    }
    let within = bounds.into_iter().map(|(of, lower, upper)| {
        // At the least one of its values.
        (upper - lower).max(values(of, statistics).map_or(LEAST, |n| 1.0 / n))
    });
    all * within.product::<f64>()
}

/// Where in its column's range a comparison with a constant ends it, as a share of the range, and whether that is the upper end.
fn bound(
    condition: &Expr,
    column: &dyn Fn(usize) -> (u32, usize),
    statistics: &dyn Statistics,
) -> Option<((u32, usize), f64, bool)> {
    let ExprKind::Call { name, args, .. } = &condition.kind else { return None };
    let is_less = match name.as_str() {
        "<" | "<=" => true,
        ">" | ">=" => false,
        _ => return None,
    };
    let [a, b] = args.as_slice() else { return None };
    let ((at, ty), value, is_upper) = match (typed_column_of(a), typed_column_of(b)) {
        (Some(at), None) => (at, constant(b)?, is_less),
        (None, Some(at)) => (at, constant(a)?, !is_less),
        _ => return None,
    };
    let of = column(at);
    let (least, greatest) = statistics.range(of.0, of.1)?;
    let unit = if *ty == Type::Date { DAY } else { 1.0 };
    let (least, greatest) = (least * unit, greatest * unit);
    Some((of, ((value - least) / (greatest - least).max(1.0)).clamp(0.0, 1.0), is_upper))
}

/// The share of rows for which a predicate holds. `column` says which relation's column one is.
fn share(predicate: &Expr, column: &dyn Fn(usize) -> (u32, usize), statistics: &dyn Statistics) -> f64 {
    let of = |expr: &Expr| share(expr, column, statistics);
    match &predicate.kind {
        ExprKind::And(list) => share_of_all(list, column, statistics),
        ExprKind::Or(list) => 1.0 - list.iter().map(|expr| 1.0 - of(expr)).product::<f64>(),
        ExprKind::Not(inner) => (1.0 - of(inner)).max(0.1),
        ExprKind::IsNull(_) => 0.05,
        ExprKind::InList { expr, list } => {
            let one = column_of(expr).and_then(|at| values(column(at), statistics)).map_or(EQUALITY, |n| 1.0 / n);
            (one * list.len() as f64).min(0.9)
        }
        ExprKind::Call { name, args, .. } if name.contains('~') => PATTERN.max(if args.is_empty() { 1.0 } else { 0.0 }),
        ExprKind::Call { name, args, .. } => match (name.as_str(), args.as_slice()) {
            ("=", [a, b]) => match (column_of(a), column_of(b)) {
                (Some(at), None) | (None, Some(at)) => values(column(at), statistics).map_or(EQUALITY, |n| 1.0 / n),
                _ => EQUALITY,
            },
            ("<>" | "!=", _) => 0.9,
            ("<" | "<=" | ">" | ">=", _) => match bound(predicate, column, statistics) {
                Some((_, at, true)) => at.max(LEAST),
                Some((_, at, false)) => (1.0 - at).max(LEAST),
                None => COMPARISON,
            },
            ("like" | "ilike", _) => PATTERN,
            _ => COMPARISON,
        },
        _ => COMPARISON,
    }
}

fn values((oid, column): (u32, usize), statistics: &dyn Statistics) -> Option<f64> {
    statistics.distinct(oid, column).map(|n| n.max(1.0))
}

fn column_of(expr: &Expr) -> Option<usize> {
    typed_column_of(expr).map(|(column, _)| column)
}

/// The column that an expression is under casts, and its type.
fn typed_column_of(expr: &Expr) -> Option<(usize, &Type)> {
    match &expr.kind {
        ExprKind::Column(column) => Some((*column, &expr.ty)),
        ExprKind::Cast { expr, .. } => typed_column_of(expr),
        _ => None,
    }
}

/// The number that an expression without columns is.
fn constant(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        ExprKind::Literal(value) => number(value),
        ExprKind::Cast { expr: inner, .. } => match &inner.kind {
            ExprKind::Literal(text) if matches!(text.array.data_type(), DataType::Utf8 | DataType::Utf8View) => {
                let array = arrow::compute::cast(&text.array, &expr.ty.to_arrow()).ok()?;
                number(&Value { ty: expr.ty.clone(), array })
            }
            _ => constant(inner),
        },
        ExprKind::Call { name, args, .. } => match (name.as_str(), args.as_slice()) {
            ("+", [a, b]) => Some(constant(a)? + constant(b)?),
            ("-", [a, b]) => Some(constant(a)? - constant(b)?),
            _ => None,
        },
        _ => None,
    }
}

/// A number; of a date, a time or an interval that of its microseconds.
fn number(value: &Value) -> Option<f64> {
    if value.is_null() {
        return None;
    }
    if value.ty == Type::Interval {
        let interval = value.array.as_primitive::<IntervalMonthDayNanoType>().value(0);
        let days = f64::from(interval.months) * DAYS_OF_MONTH + f64::from(interval.days);
        return Some(days * DAY + interval.nanoseconds as f64 / 1000.0);
    }
    let number = numbers(&value.array)?.as_primitive::<Float64Type>().value(0);
    Some(if value.ty == Type::Date { number * DAY } else { number })
}
