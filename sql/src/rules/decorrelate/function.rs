//! A lateral call of a table function as a call for each row of its left side.

use super::build::filtered;
use super::has_subquery;
use super::pull::over_join;
use crate::plan::{Expr, ExprKind, JoinKind, OutputColumn, Plan};
use crate::types::Type;

/// The one column that a call in a SELECT list gives: the function's own, or a record of its columns. `None` if it has none.
pub(super) fn call_column(name: String, columns: &[OutputColumn]) -> Option<OutputColumn> {
    match columns {
        [] => None,
        [one] => Some(one.clone()),
        many => {
            let fields = many.iter().map(|column| (column.name.clone(), column.ty.clone())).collect();
            Some(OutputColumn::computed(name, Type::Record(fields)))
        }
    }
}

/// The function's columns of what a call gives.
pub(super) fn columns_of_call(value: Expr, columns: &[OutputColumn]) -> Vec<Expr> {
    match columns {
        [_] => vec![value],
        many => {
            let field = |(at, column): (usize, &OutputColumn)| {
                Expr::new(ExprKind::Field(Box::new(value.clone()), at), column.ty.clone())
            };
            many.iter().enumerate().map(field).collect()
        }
    }
}

/// `left, function(left's columns)`; anything else comes back as it is.
pub(super) fn per_row(plan: Plan) -> Result<Plan, Box<Plan>> {
    let Plan::Join { kind: JoinKind::Inner, left, right, on, filter, columns, lateral: true, .. } = &plan else {
        return Err(Box::new(plan));
    };
    let Plan::TableFunction { function, name, args, named_args, columns: given, ordinality: false } = &**right else {
        return Err(Box::new(plan));
    };
    let Some(call) = call_column(name.clone(), given) else { return Err(Box::new(plan)) };
    if !on.is_empty() || !named_args.is_empty() || args.iter().chain(filter).any(has_subquery) {
        return Err(Box::new(plan));
    }
    let own = left.columns();
    let args = args.iter().map(|arg| over_join(arg.clone(), own.len())).collect();
    let mut exprs: Vec<Expr> = own.iter().enumerate().map(|(at, c)| Expr::column(at, c.ty.clone())).collect();
    exprs.extend(columns_of_call(Expr::column(own.len(), call.ty.clone()), given));
    let columns_of_set = own.iter().cloned().chain([call]).collect();
    let set = Plan::ProjectSet { input: left.clone(), calls: vec![(*function, args)], columns: columns_of_set };
    let rows = Plan::Project { input: Box::new(set), exprs, columns: columns.clone() };
    Ok(filtered(rows, filter.iter().cloned().collect()))
}
