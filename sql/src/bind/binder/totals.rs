//! ClickHouse's GROUP BY … WITH TOTALS: after the groups, and whatever LIMIT leaves of them, one row over all rows, whose keys are NULL.

use sqlparser::ast::{self, GroupByExpr, GroupByWithModifier, Select};

use super::Binder;
use super::query::Bounds;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::clauses::group_modifier;
use crate::plan::{Plan, SetKind};

impl Binder<'_> {
    /// The groups of a SELECT, and under them the row of totals, if it asks for one.
    pub(super) fn with_totals(&mut self, plan: Plan, select: &Select) -> Result<Plan> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(plan) };
        if !keys.iter().any(|key| group_modifier(key) == Some(GroupByWithModifier::Totals)) {
            return Ok(plan);
        }
        if select.having.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "WITH TOTALS beside HAVING is not supported"));
        }
        // The grouping set of no keys, of the two that there are.
        let written = |key: &ast::Expr| match super::query::ordinal(key, select.projection.len(), "GROUP BY") {
            Ok(Some(index)) => match &select.projection[index] {
                ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                _ => key.clone(),
            },
            _ => key.clone(),
        };
        let keys: Vec<ast::Expr> = keys.iter().filter(|key| group_modifier(key).is_none()).map(written).collect();
        if keys.len() > 31 {
            return Err(Error::new(ErrorKind::TooComplex, "WITH TOTALS takes 31 keys at the most"));
        }
        let all = (1_u64 << keys.len()) - 1;
        let list = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut totals = select.clone();
        totals.group_by = GroupByExpr::Expressions(vec![ast::Expr::GroupingSets(vec![keys, Vec::new()])], Vec::new());
        totals.having = Some(crate::parse::expr(&format!("GROUPING({list}) = {all}"))?);
        let totals = self.bind_select(&totals, None, Bounds::default(), false)?;
        let (left, right) = self.unify_columns(plan, totals, "WITH TOTALS").map_err(|(error, _)| error)?;
        let columns = left.columns().to_vec();
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Plan::SetOperation { kind: SetKind::Union, all: true, left, right, columns })
    }
}
