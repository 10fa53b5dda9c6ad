//! Conditions that follow from others: where `a = b` and `a < 5`, also `b < 5`, which prunes the other side of a join.
//!
//! Values that are equal need not be the same (`1.0` and `1.00`), so only comparisons of a column with what is the same for all rows, and AND and OR
//! of these, say of one what they say of the other.

use super::{has_subquery, is_volatile};
use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind};
use crate::walk;

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// What follows from conditions by way of equalities, and is not among them.
pub(super) fn implied(conditions: &[Expr], equal: &[(Expr, Expr)], functions: &dyn Functions) -> Vec<Expr> {
    let pairs: Vec<(usize, usize)> = equal.iter().filter_map(|(a, b)| columns(a, b)).collect();
    let mut found: Vec<Expr> = Vec::new();
    for condition in conditions {
        let Some(column) = compared(condition, functions) else { continue };
        let mut same = vec![column];
        let mut next = 0;
        while let Some(&from) = same.get(next) {
            next += 1;
            for &(a, b) in &pairs {
                let to = if a == from { b } else { a };
                if (a == from || b == from) && !same.contains(&to) {
                    same.push(to);
                }
            }
        }
        for to in same.into_iter().skip(1) {
            let mut said = condition.clone();
            walk::rename_columns(&mut said, &|_| to);
            if !conditions.contains(&said) && !found.contains(&said) {
                found.push(said);
            }
        }
    }
    found
}

/// The columns that a condition equates.
pub(super) fn equated(condition: &Expr) -> Option<(Expr, Expr)> {
    match &condition.kind {
        ExprKind::Call { name, args, .. } if name == "=" && args.len() == 2 => {
            columns(&args[0], &args[1])?;
            Some((args[0].clone(), args[1].clone()))
        }
        _ => None,
    }
}

fn columns(a: &Expr, b: &Expr) -> Option<(usize, usize)> {
    match (&a.kind, &b.kind) {
        (ExprKind::Column(one), ExprKind::Column(other)) if a.ty == b.ty => Some((*one, *other)),
        _ => None,
    }
}

/// The one column that a condition compares with what is the same for all rows.
fn compared(condition: &Expr, functions: &dyn Functions) -> Option<usize> {
    let fixed =
        |expr: &Expr| walk::columns_read(expr).is_empty() && !has_subquery(expr) && !is_volatile(expr, functions);
    match &condition.kind {
        ExprKind::And(list) | ExprKind::Or(list) => {
            let column = compared(list.first()?, functions)?;
            list.iter().all(|part| compared(part, functions) == Some(column)).then_some(column)
        }
        ExprKind::InList { expr, list } => match expr.kind {
            ExprKind::Column(column) if list.iter().all(fixed) => Some(column),
            _ => None,
        },
        ExprKind::Call { name, args, .. } if COMPARISONS.contains(&name.as_str()) => match args.as_slice() {
            [Expr { kind: ExprKind::Column(column), .. }, other]
            | [other, Expr { kind: ExprKind::Column(column), .. }]
                if fixed(other) =>
            {
                Some(*column)
            }
            _ => None,
        },
        _ => None,
    }
}
