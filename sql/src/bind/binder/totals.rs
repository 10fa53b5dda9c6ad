//! ClickHouse's GROUP BY … WITH TOTALS: after the groups, and whatever LIMIT leaves of them, one row over all rows, whose keys are NULL; over those
//! of the groups that HAVING leaves, if there is one.

use sqlparser::ast::{self, GroupByExpr, GroupByWithModifier, Select};

use super::Binder;
use super::query::Bounds;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::clauses::group_modifier;
use crate::plan::{JoinKind, Plan, SetKind};
use crate::rules::not_distinct;

impl Binder<'_> {
    /// The groups of a SELECT, and under them the row of totals, if it asks for one.
    pub(super) fn with_totals(&mut self, plan: Plan, select: &Select) -> Result<Plan> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(plan) };
        if !keys.iter().any(|key| group_modifier(key) == Some(GroupByWithModifier::Totals)) {
            return Ok(plan);
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
        let written_keys = keys.clone();
        let all = (1_u64 << keys.len()) - 1;
        let list = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut totals = select.clone();
        totals.group_by = GroupByExpr::Expressions(vec![ast::Expr::GroupingSets(vec![keys, Vec::new()])], Vec::new());
        totals.having = Some(crate::parse::expr(&format!("GROUPING({list}) = {all}"))?);
        let mut totals = self.bind_select(&totals, None, Bounds::default(), false)?;
        if select.having.is_some() {
            let mut groups = select.clone();
            let unnamed = |key: &ast::Expr| ast::SelectItem::UnnamedExpr(ast::Expr::Nested(Box::new(key.clone())));
            groups.projection = written_keys.iter().map(unnamed).collect();
            groups.group_by = GroupByExpr::Expressions(written_keys, Vec::new());
            (groups.distinct, groups.qualify) = (None, None);
            let mut groups = self.bind_select(&groups, None, Bounds::default(), false)?;
            of_groups(&mut totals, &mut groups);
        }
        let (left, right) = self.unify_columns(plan, totals, "WITH TOTALS").map_err(|(error, _)| error)?;
        let columns = left.columns().to_vec();
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Plan::SetOperation { kind: SetKind::Union, all: true, left, right, columns })
    }
}

/// Leaves the rows of some groups only beneath the totals, whose grouping sets are over the same FROM and WHERE.
fn of_groups(totals: &mut Plan, groups: &mut Plan) {
    let Some(Plan::Aggregate { keys, .. }) = aggregate_in(groups) else { return };
    let keys = keys.clone();
    let Some(Plan::Aggregate { input, .. }) = aggregate_in(totals) else { return };
    let Plan::ProjectSet { input, .. } = input.as_mut() else { return };
    let of = |(at, key): (usize, crate::plan::Expr)| {
        let group = crate::plan::Expr::column(at, key.ty.clone());
        not_distinct(key, group, false)
    };
    let on = keys.into_iter().take(groups.columns().len()).enumerate().flat_map(of).collect();
    let nothing = Plan::Values { rows: Vec::new(), columns: Vec::new() };
    let left = std::mem::replace(input.as_mut(), nothing);
    **input = Plan::join(JoinKind::Semi, left, groups.clone(), on, None);
}

/// The aggregate of a query, beneath what is computed of it.
fn aggregate_in(plan: &mut Plan) -> Option<&mut Plan> {
    match plan {
        Plan::Aggregate { .. } => Some(plan),
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Distinct { input, .. }
        | Plan::Window { input, .. }
        | Plan::ProjectSet { input, .. } => aggregate_in(input),
        _ => None,
    }
}
