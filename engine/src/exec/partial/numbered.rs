//! A stage that keeps each row's number: what it makes of a row of its one input can be told from what it makes of others.

use std::sync::Arc;

use weir_sql::Type;
use weir_sql::catalog::{ColumnInfo, Relation};
use weir_sql::plan::{Expr, OutputColumn, Plan, Scan};

fn number() -> OutputColumn {
    OutputColumn::computed("number", Type::Int8)
}

/// The plan with the number of the input's row as its last column, which the input has as its last; `None` if rows of it do not come from one
/// row each.
pub(super) fn numbered(plan: &Plan) -> Option<Plan> {
    let with_number = |columns: &[OutputColumn]| columns.iter().cloned().chain([number()]).collect::<Vec<_>>();
    Some(match plan {
        Plan::Scan(scan) => {
            let mut relation = Relation::clone(&scan.relation);
            let projection = scan.projection.iter().copied().chain([relation.columns.len()]).collect();
            relation.columns.push(ColumnInfo::new("number", Type::Int8));
            let (filters, columns) = (scan.filters.clone(), with_number(&scan.columns));
            Plan::Scan(Scan { relation: Arc::new(relation), projection, filters, columns })
        }
        Plan::Filter { input, predicate } => {
            Plan::Filter { input: Box::new(numbered(input)?), predicate: predicate.clone() }
        }
        Plan::Project { input, exprs, columns } => {
            let own = Expr::column(input.columns().len(), Type::Int8);
            let exprs = exprs.iter().cloned().chain([own]).collect();
            Plan::Project { input: Box::new(numbered(input)?), exprs, columns: with_number(columns) }
        }
        Plan::ProjectSet { input, calls, columns } => {
            // The number stands between the input's columns and the calls'.
            let width = input.columns().len();
            let mut inner = columns.clone();
            inner.insert(width, number());
            let at = |column: usize| if column < width { column } else { column + 1 };
            let kept = columns.iter().enumerate().map(|(place, column)| Expr::column(at(place), column.ty.clone()));
            let exprs = kept.chain([Expr::column(width, Type::Int8)]).collect();
            let input = Plan::ProjectSet { input: Box::new(numbered(input)?), calls: calls.clone(), columns: inner };
            Plan::Project { input: Box::new(input), exprs, columns: with_number(columns) }
        }
        _ => return None,
    })
}
