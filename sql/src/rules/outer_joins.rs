//! Outer joins whose filled-up rows a condition above drops anyway are none: they run in any order then, and conditions pass them.
//!
//! A condition drops a row of NULLs if it compares a column of it, or asks that one is not NULL (C. Galindo-Legaria and A. Rosenthal, Outerjoin
//! Simplification and Reordering for Query Optimization, TODS 1997). [`simplified`] looks at those above a join, [`strengthen`] at what
//! another join, further up, asks of its rows.

use std::ops::Range;

use crate::plan::{Expr, ExprKind, JoinKind, Plan};

/// Comparisons and arithmetic that give NULL for a NULL.
const STRICT: [&str; 12] = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "+", "-", "*", "/"];

/// The kind of a join of which only rows are wanted that fulfil conditions; the left side has `width` columns of `all`.
pub(super) fn simplified(kind: JoinKind, width: usize, all: usize, conditions: &[Expr]) -> JoinKind {
    let drops = |side: Range<usize>| conditions.iter().any(|condition| rejects(condition, &side));
    match kind {
        JoinKind::Left if drops(width..all) => JoinKind::Inner,
        JoinKind::Right if drops(0..width) => JoinKind::Inner,
        JoinKind::Full => match (drops(0..width), drops(width..all)) {
            (true, true) => JoinKind::Inner,
            (true, false) => JoinKind::Left,
            (false, true) => JoinKind::Right,
            (false, false) => JoinKind::Full,
        },
        kind => kind,
    }
}

/// The columns of a range of which one that is NULL makes a condition not true.
pub(super) fn not_null(conditions: &[Expr], columns: Range<usize>) -> Vec<usize> {
    let drops = |column: &usize| conditions.iter().any(|condition| rejects(condition, &(*column..*column + 1)));
    columns.filter(drops).collect()
}

/// Makes the outer joins inner ones in a plan of which only rows are wanted that have no NULL in these columns.
pub(super) fn strengthen(plan: &mut Plan, not_null: &[usize]) {
    if not_null.is_empty() {
        return;
    }
    match plan {
        Plan::Filter { input, .. } | Plan::Sort { input, .. } => strengthen(input, not_null),
        Plan::Project { input, exprs, .. } => {
            let wanted = |column: &usize| not_null.iter().any(|&at| is_null(&exprs[at], &(*column..*column + 1)));
            let below: Vec<usize> = (0..input.columns().len()).filter(wanted).collect();
            strengthen(input, &below);
        }
        Plan::Join { kind, left, right, .. } => {
            let width = left.columns().len();
            let of_left: Vec<usize> = not_null.iter().copied().filter(|column| *column < width).collect();
            let of_right: Vec<usize> = not_null.iter().filter_map(|column| column.checked_sub(width)).collect();
            *kind = match (*kind, of_left.is_empty(), of_right.is_empty()) {
                (JoinKind::Left, _, false) | (JoinKind::Right, false, _) | (JoinKind::Full, false, false) => {
                    JoinKind::Inner
                }
                (JoinKind::Full, false, true) => JoinKind::Left,
                (JoinKind::Full, true, false) => JoinKind::Right,
                (kind, ..) => kind,
            };
            if matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti) {
                strengthen(left, &of_left);
            }
            if matches!(kind, JoinKind::Inner | JoinKind::Right) {
                strengthen(right, &of_right);
            }
        }
        _ => {}
    }
}

/// Whether a condition is not true where these columns are all NULL.
fn rejects(condition: &Expr, nulls: &Range<usize>) -> bool {
    match &condition.kind {
        ExprKind::And(list) => list.iter().any(|part| rejects(part, nulls)),
        ExprKind::Or(list) => list.iter().all(|part| rejects(part, nulls)),
        ExprKind::Not(inner) => match &inner.kind {
            ExprKind::IsNull(value) => is_null(value, nulls),
            _ => is_null(inner, nulls),
        },
        _ => is_null(condition, nulls),
    }
}

/// Whether an expression is NULL where these columns are.
fn is_null(expr: &Expr, nulls: &Range<usize>) -> bool {
    match &expr.kind {
        ExprKind::Column(column) => nulls.contains(column),
        ExprKind::Cast { expr: inner, .. } => is_null(inner, nulls),
        ExprKind::InList { expr: inner, .. } => is_null(inner, nulls),
        ExprKind::Call { name, args, .. } => {
            STRICT.contains(&name.as_str()) && args.iter().any(|arg| is_null(arg, nulls))
        }
        _ => false,
    }
}
