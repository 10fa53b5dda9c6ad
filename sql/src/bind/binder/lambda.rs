//! Lambdas: `x -> x + 1`, `(x, y) -> x > y`, DuckDB's `lambda x : x + 1`, as arguments of functions that take one.
//!
//! The parser takes `->` for the operator of json, which binds tighter than comparisons: `x -> x > 1` comes as `(x -> x) > 1`. What stands at
//! the left end of such a tree is the parameter, and the tree without it the body. It is read so only where a function takes a
//! lambda. The body is bound in a frame of its own, whose columns are the parameters: the elements of the call's arrays.

use sqlparser::ast::{self, BinaryOperator, FunctionArg, FunctionArgExpr, Ident};

use super::call::CallName;
use super::resolve::{Fit, fit};
use super::scope::{Clause, Frame, Scope, ScopeColumn, visible_columns};
use super::{Binder, CoercionContext};
use crate::catalog::{Param, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, Lambda};
use crate::types::Type;
use crate::value::Value;

/// Whether any of the overloads takes a lambda.
pub(super) fn is_taken_by(signatures: &[Signature]) -> bool {
    let is_lambda = |param: &Param| matches!(param, Param::Lambda | Param::LambdaOf(_));
    signatures.iter().any(|signature| signature.params.iter().any(is_lambda))
}

/// How well a body fits a lambda that gives `wanted`.
pub(super) fn fits(body: &Expr, wanted: &Type) -> Option<Fit> {
    let fits = fit(&Param::Exact(wanted.clone()), body);
    fits.or_else(|| (*wanted == Type::Bool && body.ty.is_number()).then_some(Fit::Cast))
}

impl Binder<'_> {
    /// The arguments of a call, if one of them is a lambda; `None` if none is.
    pub(super) fn bind_with_lambda(&mut self, list: &[&FunctionArg], name: &CallName) -> Result<Option<Vec<Expr>>> {
        let plain = |arg: &&FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        };
        let Some(exprs) = list.iter().map(plain).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let Some((at, (params, body))) = exprs.iter().enumerate().find_map(|(at, expr)| Some((at, split(expr)?)))
        else {
            return Ok(None);
        };
        let mut args = Vec::with_capacity(exprs.len());
        for expr in exprs.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, expr)| expr) {
            let bound = self.bind_expr(expr)?;
            args.push(self.settle(bound)?);
        }
        if params.len() != args.len() {
            let message = format!(
                "function {} has {} arrays for the {} parameters of its lambda",
                name.shown,
                args.len(),
                params.len()
            );
            return Err(Error::new(ErrorKind::UndefinedFunction, message));
        }
        if name.folded == "arrayfold" {
            return self.bind_fold(params, &body, args, name).map(Some);
        }
        let mut columns = Vec::with_capacity(params.len());
        for (param, arg) in params.iter().zip(&args) {
            columns.push(parameter(param, element_of(arg, name)?, arg));
        }
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let body = self.bind_body(columns, &body)?;
        args.insert(at, lambda(names, body, false));
        Ok(Some(args))
    }

    fn bind_body(&mut self, columns: Vec<ScopeColumn>, body: &ast::Expr) -> Result<Expr> {
        let visible = visible_columns(&columns);
        let mut frame = Frame::query(Scope { columns, visible, ..Scope::default() }, Clause::Lambda);
        if let Some(outer) = self.frames.last() {
            frame.in_aggregate = outer.in_aggregate;
            frame.aliases = outer.aliases.clone();
            frame.expanding = outer.expanding.clone();
        }
        self.frames.push(frame);
        let body = self.bind_expr(body).and_then(|body| self.settle(body));
        self.frames.pop();
        body
    }

    /// `arrayFold((accumulator, x, …) -> …, array, …, first)`: the accumulator is of the first value's type, or of the wider one that the body gives.
    fn bind_fold(
        &mut self,
        params: Vec<Ident>,
        body: &ast::Expr,
        mut args: Vec<Expr>,
        name: &CallName,
    ) -> Result<Vec<Expr>> {
        let Some(mut first) = args.pop() else { return Ok(args) };
        let mut columns = vec![parameter(&params[0], first.ty.clone(), &first)];
        for (param, arg) in params[1..].iter().zip(&args) {
            columns.push(parameter(param, element_of(arg, name)?, arg));
        }
        let mut bound = self.bind_body(columns.clone(), body)?;
        if bound.ty != first.ty {
            let (from, to) = (bound.ty.clone(), first.ty.clone());
            if super::casts::can_cast(&to, &from, CoercionContext::Implicit) {
                first = self.coerce(first, &from, CoercionContext::Implicit)?;
                columns[0].ty = from.clone();
                bound = self.bind_body(columns.clone(), body)?;
            }
            bound = self.coerce(bound, &first.ty, CoercionContext::Implicit).map_err(|_| {
                let message = format!("the lambda of {} gives {from}, and its accumulator is {to}", name.shown);
                Error::new(ErrorKind::DatatypeMismatch, message)
            })?;
        }
        let names = columns.iter().map(|column| column.name.clone()).collect();
        args.insert(0, lambda(names, bound, true));
        args.push(first);
        Ok(args)
    }

    /// A lambda whose body is of this type.
    pub(super) fn coerce_lambda(&mut self, arg: Expr, wanted: &Type) -> Result<Expr> {
        let ExprKind::Lambda(inner) = arg.kind else { return Ok(arg) };
        let Lambda { params, body, folds } = *inner;
        let body = match (wanted, &body.ty) {
            (Type::Bool, ty) if ty.is_number() => self.operator("<>", vec![body, Expr::literal(Value::int4(0))])?,
            _ => self.coerce(body, wanted, CoercionContext::Implicit)?,
        };
        Ok(lambda(params, body, folds))
    }
}

/// The elements that a lambda is over.
fn element_of(arg: &Expr, name: &CallName) -> Result<Type> {
    match &arg.ty {
        Type::Array(element) => Ok((**element).clone()),
        other => {
            let message = format!("function {} applies its lambda to arrays, not to {other}", name.shown);
            Err(Error::new(ErrorKind::DatatypeMismatch, message))
        }
    }
}

/// A parameter that stands for values of an argument.
fn parameter(name: &Ident, ty: Type, of: &Expr) -> ScopeColumn {
    ScopeColumn { name: fold(name), ty, typmod: -1, origin: None, collating: of.collating }
}

fn lambda(params: Vec<String>, body: Expr, folds: bool) -> Expr {
    let ty = Type::Array(Box::new(body.ty.clone()));
    Expr::new(ExprKind::Lambda(Box::new(Lambda { params, body, folds })), ty)
}

/// The parameters and the body of an argument that is a lambda.
pub(super) fn split(expr: &ast::Expr) -> Option<(Vec<Ident>, ast::Expr)> {
    use ast::Expr as E;
    if let E::Lambda(function) = expr {
        let params = match &function.params {
            ast::OneOrManyWithParens::One(one) => vec![one.name.clone()],
            ast::OneOrManyWithParens::Many(many) => many.iter().map(|param| param.name.clone()).collect(),
        };
        return Some((params, (*function.body).clone()));
    }
    if let E::Nested(inner) = expr {
        return split(inner);
    }
    let mut body = expr.clone();
    let left = left_end(&mut body)?;
    if let Some((params, inner)) = split(left) {
        *left = inner;
        return Some((params, body));
    }
    match expr {
        E::BinaryOp { left, op: BinaryOperator::Arrow, right } => Some((parameters(left)?, (**right).clone())),
        _ => None,
    }
}

/// `x`, `(x)` or `(x, y)`.
fn parameters(expr: &ast::Expr) -> Option<Vec<Ident>> {
    let name = |expr: &ast::Expr| match expr {
        ast::Expr::Identifier(name) => Some(name.clone()),
        _ => None,
    };
    match expr {
        ast::Expr::Nested(inner) => Some(vec![name(inner)?]),
        ast::Expr::Tuple(items) => items.iter().map(name).collect(),
        expr => Some(vec![name(expr)?]),
    }
}

/// The operand with which the text of an expression begins.
fn left_end(expr: &mut ast::Expr) -> Option<&mut ast::Expr> {
    use ast::Expr as E;
    match expr {
        E::BinaryOp { left, .. }
        | E::AnyOp { left, .. }
        | E::AllOp { left, .. }
        | E::IsDistinctFrom(left, _)
        | E::IsNotDistinctFrom(left, _)
        | E::IsNull(left)
        | E::IsNotNull(left)
        | E::IsTrue(left)
        | E::IsNotTrue(left)
        | E::IsFalse(left)
        | E::IsNotFalse(left)
        | E::IsUnknown(left)
        | E::IsNotUnknown(left)
        | E::In { expr: left, .. }
        | E::Between { expr: left, .. }
        | E::Like { expr: left, .. }
        | E::ILike { expr: left, .. }
        | E::SimilarTo { expr: left, .. }
        | E::RLike { expr: left, .. }
        | E::AtTimeZone { timestamp: left, .. }
        | E::Cast { kind: ast::CastKind::DoubleColon, expr: left, .. } => Some(left),
        _ => None,
    }
}
