//! Keys that others determine are not grouped by: of `GROUP BY a, a - 1` the second is computed of each group instead of each row, as is a constant.

use super::{has_subquery, is_immutable, nothing};
use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind, Plan};
use crate::types::Type;
use crate::walk;

/// The plan grouped by fewer keys.
pub(super) fn derive(mut plan: Plan, functions: &dyn Functions) -> Plan {
    walk::plans_mut(&mut plan, &mut |below| {
        let taken = std::mem::replace(below, nothing());
        *below = derive(taken, functions);
    });
    let Plan::Aggregate { input, keys, aggregates, always, columns } = plan else { return plan };
    let own: Vec<usize> = keys.iter().filter_map(determining).collect();
    let is_derived = |key: &Expr| {
        determining(key).is_none()
            && walk::columns_read(key).iter().all(|column| own.contains(column))
            && is_immutable(key, functions)
            && !has_subquery(key)
    };
    let (derived, left): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|&at| is_derived(&keys[at]));
    if derived.is_empty() || left.is_empty() || !always.is_empty() {
        return Plan::Aggregate { input, keys, aggregates, always, columns };
    }
    // Where the groups have a column of the input.
    let of_group = |column: usize| {
        let is_it = |&at: &usize| determining(&keys[at]) == Some(column);
        left.iter().position(is_it).unwrap_or(usize::MAX)
    };
    let mut kept = 0;
    let exprs = (0..columns.len()).map(|at| {
        if derived.contains(&at) {
            let mut value = keys[at].clone();
            walk::rename_columns(&mut value, &of_group);
            return value;
        }
        kept += 1;
        Expr::column(kept - 1, columns[at].ty.clone())
    });
    let exprs: Vec<Expr> = exprs.collect();
    let kept = |at: &usize| !derived.contains(at);
    let groups = Plan::Aggregate {
        input,
        keys: left.iter().map(|&at| keys[at].clone()).collect(),
        aggregates,
        always,
        columns: (0..columns.len()).filter(kept).map(|at| columns[at].clone()).collect(),
    };
    Plan::Project { input: Box::new(groups), exprs, columns }
}

/// The column that a key is, if values of it that are equal are the same whoever looks: 1.0 and 1.00 are not, nor 0 and -0.
fn determining(key: &Expr) -> Option<usize> {
    let ExprKind::Column(column) = key.kind else { return None };
    let is_plain = key.ty.is_integer()
        || matches!(
            key.ty,
            Type::Bool | Type::Date | Type::Timestamp | Type::Timestamptz | Type::Text | Type::Varchar(_)
        );
    is_plain.then_some(column)
}
