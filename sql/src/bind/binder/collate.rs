//! COLLATE, and what it means for what compares: order is bound over ICU's sort keys (`collation_key`), from which the text can be told again
//! (`collation_text`). Equality is that of the bytes.

use sqlparser::ast;

use super::resolve::Resolved;
use super::{Binder, CoercionContext};
use crate::collation::{Collating, collation_named, is_collatable};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{AggregateCall, Expr, ExprKind};
use crate::types::Type;
use crate::value::Value;

/// The function that makes keys.
const KEY: &str = "collation_key";

/// What compares: two collations that do not agree are an error there.
const COMPARISONS: [&str; 9] = ["=", "<>", "<", "<=", ">", ">=", "is_distinct_from", "greatest", "least"];

/// Of these, what asks for the order.
fn orders(symbol: &str) -> bool {
    !matches!(symbol, "=" | "<>" | "is_distinct_from")
}

/// The collation of what is made of these.
pub(super) fn together<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Collating> {
    let mut collatable = exprs.into_iter().filter(|expr| is_collatable(&expr.ty));
    collatable.try_fold(Collating::default(), |known, expr| known.with(expr.collating))
}

/// What a sort key orders, beneath the key of its collation.
pub(super) fn beneath(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Call { name, args, .. } if name == KEY && !args.is_empty() => &args[0],
        _ => expr,
    }
}

/// The same sort key over another expression of the same values.
pub(super) fn rebased(mut key: Expr, over: Expr) -> Expr {
    match &mut key.kind {
        ExprKind::Call { name, args, .. } if name == KEY && !args.is_empty() => {
            args[0] = over;
            key
        }
        _ => over,
    }
}

impl Binder<'_> {
    /// `expr COLLATE name`
    pub(super) fn bind_collate(&mut self, expr: &ast::Expr, name: &ast::ObjectName) -> Result<Expr> {
        let bound = self.bind_expr(expr)?;
        let mut bound = self.settle(bound)?;
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
        let collation = collation_named(&parts)?;
        if !is_collatable(&bound.ty) {
            let message = format!("collations are not supported by type {}", bound.ty);
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        }
        bound.collating = Collating::Explicit(collation);
        Ok(bound)
    }

    /// What orders as the expression's collation does: its key, or the expression itself where bytes do.
    pub(super) fn in_order(&mut self, expr: Expr) -> Result<Expr> {
        if !is_collatable(&expr.ty) {
            return Ok(expr);
        }
        match expr.collating.settled()?.locale() {
            Some(locale) => self.collation_key(expr, locale),
            None => Ok(expr),
        }
    }

    fn collation_key(&mut self, expr: Expr, locale: &str) -> Result<Expr> {
        // Blanks at the end of a character(n) do not count.
        let ty = if matches!(expr.ty, Type::Array(_)) { Type::Array(Box::new(Type::Text)) } else { Type::Text };
        let text = self.coerce(expr, &ty, CoercionContext::Implicit)?;
        self.operator(KEY, vec![text, Expr::literal(Value::text(locale))])
    }

    /// The call of an operator or function, with its collation; a comparison is of keys where its collation is not that of bytes.
    pub(super) fn collated_call(&mut self, name: &str, resolved: Resolved) -> Result<Expr> {
        let collating = together(&resolved.args)?;
        let symbol = name.to_ascii_lowercase();
        if COMPARISONS.contains(&symbol.as_str()) {
            let collation = collating.settled()?;
            if orders(&symbol)
                && let Some(locale) = collation.locale()
            {
                let keys = resolved.args.into_iter().map(|arg| self.collation_key(arg, locale));
                let keys = keys.collect::<Result<Vec<Expr>>>()?;
                let compared = self.operator(&symbol, keys)?;
                return match compared.ty {
                    Type::Bool => Ok(compared),
                    _ => Ok(self.operator("collation_text", vec![compared])?.collated(collating)),
                };
            }
        }
        let kind = ExprKind::Call { function: resolved.signature.id, name: name.to_string(), args: resolved.args };
        Ok(Expr::new(kind, resolved.ty).collated(collating))
    }

    /// Both sides of a comparison with each of several values, as what orders them.
    pub(super) fn in_order_both(&mut self, symbol: &str, left: Expr, right: Expr) -> Result<(Expr, Expr)> {
        let collating = together([&left, &right])?;
        match collating.settled()?.locale() {
            Some(_) if orders(symbol) && COMPARISONS.contains(&symbol) => {
                let (left, right) = (self.settle(left)?, self.settle(right)?);
                Ok((self.in_order(left.collated(collating))?, self.in_order(right.collated(collating))?))
            }
            _ => Ok((left, right)),
        }
    }

    /// The arguments of an aggregate that orders one of them.
    pub(super) fn aggregate_in_order(&mut self, name: &str, mut args: Vec<Expr>) -> Result<Vec<Expr>> {
        let by = match (name, args.len()) {
            ("min" | "max", 1) => 0,
            ("argMin" | "argMax" | "min_by" | "max_by", 2) => 1,
            _ => return Ok(args),
        };
        let arg = self.settle(args[by].clone())?;
        args[by] = self.in_order(arg)?;
        Ok(args)
    }

    /// The value of a call: of keys, the text.
    pub(super) fn aggregate_value(&mut self, call: &AggregateCall, value: Expr) -> Result<Expr> {
        let collating = together(call.args.iter().map(beneath))?;
        match call.args.first() {
            Some(arg) if call.combinator.is_none() && call.ty == Type::Bytea && beneath(arg) != arg => {
                Ok(self.operator("collation_text", vec![value])?.collated(collating))
            }
            _ => Ok(value.collated(collating)),
        }
    }
}
