//! Calls of aggregate functions: DISTINCT, FILTER, ORDER BY, WITHIN GROUP and ClickHouse's parameters.
//!
//! Arguments are bound over the query's input columns. The call itself becomes a placeholder column; equal calls share one. An aggregate whose
//! arguments name only columns of an outer query belongs to that query, as in Postgres.

use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
};

use super::Binder;
use super::call::{CallName, type_list};
use super::collate::beneath;
use super::combinator::{Combined, params_of, state_type};
use super::resolve::Resolved;
use super::scope::{AGGREGATES, Clause};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{AggregateCall, Combinator, Expr, ExprKind, SortKey};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

impl Binder<'_> {
    pub(super) fn bind_aggregate(
        &mut self,
        function: &ast::Function,
        name: &CallName,
        combined: &Combined<'_>,
    ) -> Result<Expr> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(Error::new(ErrorKind::Grouping, "aggregate functions are not allowed here"));
        };
        if frame.in_aggregate {
            return Err(Error::new(ErrorKind::Grouping, "aggregate function calls cannot be nested"));
        }
        frame.in_aggregate = true;
        let references = frame.references.len();
        let call = self.aggregate_parts(function, name, combined);
        if let Some(frame) = self.frames.last_mut() {
            frame.in_aggregate = false;
            frame.references.truncate(references);
        }
        let mut call = call?;

        let mut parts = Vec::new();
        walk::aggregate_parts(&call, &mut |part| parts.push(part));
        let levels = match home(parts.into_iter()) {
            // What names no column is of the query that the lambda stands in.
            None => self.frames.iter().rev().take_while(|frame| frame.clause == Clause::Lambda).count(),
            Some(levels) => levels,
        };
        let home = self.frames.len() - 1 - levels;
        if levels > 0 {
            walk::aggregate_parts_mut(&mut call, &mut |part| lower(part, levels));
        }
        let clause = self.frames[home].clause;
        if !clause.allows_aggregates() {
            let message = format!("aggregate functions are not allowed in {}", clause.name());
            return Err(Error::new(ErrorKind::Grouping, message));
        }
        let (ty, made) = (call.ty.clone(), call.clone());
        let mut parts = Vec::new();
        walk::aggregate_parts(&call, &mut |part| parts.push(part.clone()));
        let shareable = !parts.iter().any(|part| self.is_volatile(part));
        let frame = &mut self.frames[home];
        let known = frame.aggregates.iter().position(|known| shareable && *known == call);
        let index = known.unwrap_or_else(|| {
            frame.aggregates.push(call);
            frame.aggregates.len() - 1
        });
        let value = self.aggregate_value(&made, Expr::column(AGGREGATES + index, ty))?;
        Ok(walk::outward(&value, levels))
    }

    pub(super) fn aggregate_parts(
        &mut self,
        function: &ast::Function,
        name: &CallName,
        combined: &Combined<'_>,
    ) -> Result<AggregateCall> {
        let none = Vec::new();
        let (list, distinct, clauses) = match &function.args {
            FunctionArguments::List(list) => {
                let distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
                (&list.args, distinct, list.clauses.as_slice())
            }
            _ => (&none, false, [].as_slice()),
        };
        let stars = |arg: &FunctionArg| {
            let FunctionArg::Unnamed(arg) = arg else { return false };
            matches!(arg, FunctionArgExpr::Wildcard | FunctionArgExpr::Expr(ast::Expr::Wildcard(_)))
        };
        if distinct && list.iter().any(stars) {
            let error = Error::new(ErrorKind::Syntax, "syntax error at or near \"*\"");
            return Err(match function.name.0.last().and_then(|part| part.as_ident()) {
                Some(ident) => self.at_word_after(error, &ast::Expr::Identifier(ident.clone()), "*"),
                None => error,
            });
        }
        let mut args = Vec::new();
        let mut separator = None;
        let mut order_by: &[ast::OrderByExpr] = &[];
        for clause in clauses {
            match clause {
                FunctionArgumentClause::OrderBy(keys) => order_by = keys,
                FunctionArgumentClause::Separator(value) => separator = Some(value),
                FunctionArgumentClause::IgnoreOrRespectNulls(ast::NullTreatment::RespectNulls) => {}
                other => {
                    let message = format!("{other} in a call of an aggregate is not supported");
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            }
        }
        for arg in list {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Wildcard(_))) if list.len() == 1 => {}
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::QualifiedWildcard(table, _))) => {
                    args.push(self.bind_whole_row(table)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(self.bind_expr(expr)?),
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(table)) => {
                    args.push(self.bind_whole_row(table)?)
                }
                FunctionArg::Unnamed(_) if list.len() == 1 => {}
                other => {
                    let message = format!("argument {other} of aggregate function {} is not supported", name.shown);
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            }
        }
        if let Some(separator) = separator {
            args.push(self.bind_literal(&separator.value)?);
        }
        let mut params = Vec::new();
        if let FunctionArguments::List(list) = &function.parameters {
            for arg in &list.args {
                let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
                    return Err(not_constant(name));
                };
                let bound = self.bind_expr(expr)?;
                params.push(constant(&bound).ok_or_else(|| not_constant(name))?);
            }
        }
        let mut keys = Vec::new();
        for key in order_by {
            let expr = self.bind_expr(&key.expr)?;
            let expr = self.settle(expr)?;
            keys.push(self.sort_key(expr, &key.options)?);
        }
        if !function.within_group.is_empty() {
            // Direct arguments are parameters; what is ordered is what is aggregated.
            for arg in std::mem::take(&mut args) {
                params.push(constant(&arg).ok_or_else(|| not_constant(name))?);
            }
            for key in &function.within_group {
                let expr = self.bind_expr(&key.expr)?;
                let expr = self.settle(expr)?;
                let key = self.sort_key(expr, &key.options)?;
                args.push(key.expr.clone());
                keys.push(key);
            }
        }
        let described = format!("function {}({})", name.shown, type_list(&args));
        let what = |args: &[Expr]| format!("function {}({})", name.shown, type_list(args));
        let condition = if combined.condition { args.pop() } else { None };
        if let Some(signature) = combined.signatures.first() {
            args = self.aggregate_in_order(self.functions.aggregate(signature.id).0, args)?;
        }
        let mut combinator = combined.combinator.clone();
        if let Some(Combinator::Spread(spread)) = combinator {
            combinator = Some(Combinator::Spread(self.ranges(spread, &mut params)?));
        }
        let of_states = !matches!(combinator, None | Some(Combinator::Spread(_)));
        if of_states && (distinct || !keys.is_empty()) {
            let message = format!("DISTINCT and ORDER BY in {} are not supported", name.shown);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let resolved = match (&combinator, args.as_slice()) {
            (Some(Combinator::Spread(spread)), _) => self.spread(*spread, combined.signatures, args)?,
            (Some(Combinator::Merge | Combinator::MergeState), [arg]) => match self.merged(combined.signatures, arg) {
                Some((state, signature, ty)) => {
                    let own = params_of(&state)?;
                    let merges = combined.combinator == Some(Combinator::Merge);
                    if params.is_empty() {
                        params = own;
                    } else if params != own && !(merges && self.functions.parameters_last(signature.id)) {
                        let message = format!("{} has other parameters than {}", name.shown, arg.ty);
                        return Err(Error::new(ErrorKind::DatatypeMismatch, message));
                    }
                    let ty = if merges { ty } else { arg.ty.clone() };
                    Some(Resolved { signature, args, ty })
                }
                None => None,
            },
            (Some(Combinator::Merge | Combinator::MergeState), _) => None,
            _ => self.resolve(combined.signatures, args, false, &what)?,
        };
        let Some(mut resolved) = resolved else {
            return Err(self.no_such_function(&name.folded, &described));
        };
        if combined.combinator == Some(Combinator::State) {
            let types = resolved.args.iter().map(|arg| arg.ty.clone()).collect();
            resolved.ty = state_type(self.functions, &resolved.signature, &params, types)?;
        }
        if !function.within_group.is_empty() {
            // A result for each of several fractions.
            if let [one] = params.as_slice()
                && let Type::Array(_) = one.ty
            {
                resolved.ty = Type::Array(Box::new(resolved.ty));
            }
            for (key, arg) in keys.iter_mut().zip(&resolved.args) {
                key.expr = arg.clone();
            }
        }
        if distinct && keys.iter().any(|key| !resolved.args.contains(beneath(&key.expr))) {
            return Err(Error::new(
                ErrorKind::InvalidColumnReference,
                "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
            ));
        }
        if distinct && resolved.args.is_empty() {
            let message = format!("DISTINCT specified, but {} has no arguments", name.shown);
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        let mut conditions: Vec<Expr> = condition.into_iter().collect();
        if let Some(filter) = &function.filter {
            conditions.push(self.bind_expr(filter)?);
        }
        let conditions = conditions.into_iter().map(|bound| self.coerce_condition(bound, "FILTER"));
        let filter = walk::conjunction(conditions.collect::<Result<_>>()?);
        Ok(AggregateCall {
            function: resolved.signature.id,
            name: name.shown_name(),
            params,
            args: resolved.args,
            distinct,
            filter,
            order_by: keys,
            combinator,
            ty: resolved.ty,
        })
    }

    /// `GROUPING(key, …)`: a placeholder until the keys are known.
    pub(super) fn grouping_call(&mut self, mut args: Vec<Expr>) -> Result<Expr> {
        if args.len() > 31 {
            return Err(Error::new(ErrorKind::TooComplex, "GROUPING must have fewer than 32 arguments"));
        }
        // Keys of a query further out are that query's.
        let levels = home(args.iter()).unwrap_or(0);
        args.iter_mut().for_each(|arg| lower(arg, levels));
        let Some(frame) = self.frames.iter_mut().rev().nth(levels) else {
            return Err(Error::new(ErrorKind::Grouping, "grouping operations are not allowed here"));
        };
        if !frame.clause.allows_aggregates() {
            let message = format!("grouping operations are not allowed in {}", frame.clause.name());
            return Err(Error::new(ErrorKind::Grouping, message));
        }
        frame.groupings.push(args);
        let value = Expr::column(super::scope::GROUPINGS + frame.groupings.len() - 1, Type::Int4);
        Ok(walk::outward(&value, levels))
    }

    /// An ORDER BY key with Postgres's defaults: NULLs are the greatest.
    pub(super) fn sort_key(&mut self, expr: Expr, options: &ast::OrderByOptions) -> Result<SortKey> {
        let descending = match &options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(operator)) => match operator.to_string().as_str() {
                "<" | "pg_catalog.<" => false,
                ">" | "pg_catalog.>" => true,
                other => {
                    let message = format!("operator {other} is not a valid ordering operator");
                    return Err(Error::new(ErrorKind::WrongObjectType, message));
                }
            },
        };
        if matches!(expr.ty, Type::Json) {
            let error =
                Error::new(ErrorKind::UndefinedFunction, "could not identify an ordering operator for type json");
            return Err(error.with_hint("Use an explicit ordering operator or modify the query."));
        }
        expr.collating.agreed()?;
        let expr = self.in_order(expr)?;
        Ok(SortKey { expr, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
    }
}

fn not_constant(name: &CallName) -> Error {
    Error::new(
        ErrorKind::InvalidParameter,
        format!("parameters of aggregate function {} must be constants", name.shown),
    )
}

/// How many levels out a call of these parts belongs: 0 unless it names outer columns and none of its own query's. `None` if it names no column
/// at all.
fn home<'e>(parts: impl Iterator<Item = &'e Expr>) -> Option<usize> {
    let (mut own, mut nearest) = (false, None::<usize>);
    for part in parts {
        walk::visit(part, 0, &mut |node, depth| match node.kind {
            ExprKind::Column(_) if depth == 0 => own = true,
            ExprKind::Outer { depth: out, .. } if out == depth && depth > 0 => own = true,
            ExprKind::Outer { depth: out, .. } if out > depth => {
                let reach = out - depth;
                nearest = Some(nearest.map_or(reach, |nearest| nearest.min(reach)));
            }
            _ => {}
        });
    }
    if own { Some(0) } else { nearest }
}

/// An expression as it is written `levels` further out, where it names nothing nearer.
fn lower(expr: &mut Expr, levels: usize) {
    walk::visit_mut(expr, 0, &mut |node, depth| {
        if let ExprKind::Outer { depth: out, column } = node.kind
            && out > depth
        {
            node.kind = match out - levels {
                0 => ExprKind::Column(column),
                depth => ExprKind::Outer { depth, column },
            };
        }
    });
}

/// The value of a constant parameter: a literal, or an array of literals, numerics as double precision.
pub(super) fn constant(expr: &Expr) -> Option<Value> {
    match &expr.kind {
        ExprKind::Literal(value) => match &value.ty {
            Type::Numeric(_) => match super::literal::convert(expr, &Type::Float8)?.kind {
                ExprKind::Literal(value) => Some(value),
                _ => None,
            },
            Type::Unknown => Some(match value.as_str() {
                Some(text) => Value::text(text),
                None => Value::null(Type::Text),
            }),
            _ => Some(value.clone()),
        },
        ExprKind::Array(elements) => {
            let mut values: Vec<Value> = elements.iter().map(constant).collect::<Option<_>>()?;
            // Among numbers NULL is one.
            if let Some(known) = values.iter().find(|value| !value.is_null()).map(|value| value.ty.clone()) {
                values.iter_mut().filter(|value| value.is_null()).for_each(|value| *value = Value::null(known.clone()));
            }
            let first = values.first()?.ty.clone();
            if values.iter().any(|value| value.ty != first) {
                return None;
            }
            let arrays: Vec<&dyn arrow::array::Array> = values.iter().map(|value| value.array.as_ref()).collect();
            let items = arrow::compute::concat(&arrays).ok()?;
            let list = arrow::array::ListArray::new(
                first.element_field(),
                arrow::buffer::OffsetBuffer::from_lengths([items.len()]),
                items,
                None,
            );
            Some(Value::new(Type::Array(Box::new(first)), std::sync::Arc::new(list)))
        }
        ExprKind::Cast { expr: inner, .. } => match (&expr.ty, &inner.kind) {
            (Type::Array(element), ExprKind::Literal(value)) => {
                // '{0.5,0.9}': fractions need no quotes.
                let items = value.as_str()?.trim().strip_prefix('{')?.strip_suffix('}')?.split(',');
                let item = |item: &str| match item.trim() {
                    null if null.eq_ignore_ascii_case("null") => Some(Expr::literal(Value::null((**element).clone()))),
                    item => super::literal::convert(&super::literal::number(item).ok()?, element),
                };
                let items = items.map(item).collect::<Option<Vec<_>>>()?;
                constant(&Expr::new(ExprKind::Array(items), expr.ty.clone()))
            }
            // As double precision, whatever the scale.
            (Type::Numeric(_), ExprKind::Literal(value)) if value.ty.is_number() => {
                constant(&super::literal::convert(inner, &Type::Float8)?)
            }
            _ => constant(&super::literal::convert(inner, &expr.ty)?),
        },
        _ => None,
    }
}
