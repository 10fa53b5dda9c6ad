//! Subqueries as values: scalar, EXISTS, IN and ANY/ALL.

use sqlparser::ast;

use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind, OutputColumn, Plan, Subquery, SubqueryKind};
use crate::types::Type;
use crate::walk;

impl Binder<'_> {
    /// A query one level below the innermost frame: its frames are pushed above it.
    pub(super) fn bind_subquery(&mut self, query: &ast::Query) -> Result<Plan> {
        self.bind_query_at_level(query, false)
    }

    /// A query of one column and at most one row, as a value.
    pub(super) fn scalar_subquery(&mut self, plan: Plan) -> Result<Expr> {
        let [column] = plan.columns() else {
            return Err(Error::new(ErrorKind::Syntax, "subquery must return only one column"));
        };
        let (ty, collating) = (column.ty.clone(), column.collating);
        Ok(subquery(SubqueryKind::Scalar, plan, ty).collated(collating))
    }

    pub(super) fn bind_exists(&mut self, query: &ast::Query) -> Result<Expr> {
        let plan = self.bind_subquery(query)?;
        Ok(subquery(SubqueryKind::Exists, plan, Type::Bool))
    }

    /// `(left, …) op ANY (query)`, or ALL. Operands and the query's columns are cast to what the operator takes.
    pub(super) fn compare_with_subquery(
        &mut self,
        left: Vec<Expr>,
        symbol: &str,
        query: &ast::Query,
        all: bool,
    ) -> Result<Expr> {
        let mut plan = self.bind_query_at_level(query, true)?;
        let mut columns = plan.columns().to_vec();
        if columns.len() > left.len() {
            return Err(Error::new(ErrorKind::Syntax, "subquery has too many columns"));
        }
        if columns.len() < left.len() {
            return Err(Error::new(ErrorKind::Syntax, "subquery has too few columns"));
        }
        if left.len() > 1 && !matches!(symbol, "=" | "<>") {
            let message = "row comparison with a subquery is only supported with = and <>";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut left = left;
        if let ([value], [column]) = (left.as_mut_slice(), columns.as_slice()) {
            let right = Expr::column(0, column.ty.clone()).collated(column.collating);
            let (key, right) = self.in_order_both(symbol, value.clone(), right)?;
            if !matches!(right.kind, ExprKind::Column(_)) {
                columns = vec![OutputColumn::computed(&column.name, right.ty.clone())];
                plan = Plan::Project { input: Box::new(plan), exprs: vec![right], columns: columns.clone() };
            }
            *value = key;
        }
        // a <> ALL (…) of rows is NOT (a = ANY (…)).
        let negated = left.len() > 1 && symbol == "<>";
        if left.len() > 1 && (negated != all) {
            let message = "row comparison with a subquery is only supported with = ANY and <> ALL";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (symbol, all) = if negated { ("=", false) } else { (symbol, all) };
        let (mut lefts, mut functions, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (value, column) in left.into_iter().zip(&columns) {
            let call = self.operator(symbol, vec![value, Expr::column(0, column.ty.clone())])?;
            let ExprKind::Call { function, mut args, .. } = call.kind else {
                return Err(Error::new(ErrorKind::WrongObjectType, "the operator of ANY/ALL must yield boolean"));
            };
            let (Some(right), Some(value)) = (args.pop(), args.pop()) else {
                return Err(Error::new(ErrorKind::WrongObjectType, "the operator of ANY/ALL must be binary"));
            };
            lefts.push(value);
            functions.push(function);
            targets.push(right.ty);
        }
        let plan = self.coerce_columns(plan, &targets, CoercionContext::Implicit)?;
        let kind = if all {
            SubqueryKind::All { left: lefts, functions }
        } else {
            SubqueryKind::Any { left: lefts, functions }
        };
        let bound = subquery(kind, plan, Type::Bool);
        Ok(super::expr::negate_if(bound, negated))
    }
}

fn subquery(kind: SubqueryKind, plan: Plan, ty: Type) -> Expr {
    let correlated = walk::is_correlated(&plan);
    Expr::new(ExprKind::Subquery(Box::new(Subquery { kind, plan, correlated })), ty)
}
