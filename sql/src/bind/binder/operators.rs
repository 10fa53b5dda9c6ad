//! Binary operators: the symbol of each, comparison of rows field by field, and IN over lists.

use sqlparser::ast::{self, BinaryOperator, InTarget};

use super::coerce::comparison_type;
use super::collate::together;
use super::literal::integer_value;
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    pub(super) fn bind_binary(&mut self, op: &BinaryOperator, left: &ast::Expr, right: &ast::Expr) -> Result<Expr> {
        if *op == BinaryOperator::Overlaps
            && let (ast::Expr::Tuple(a), ast::Expr::Tuple(b)) = (left, right)
        {
            let mut args = self.bind_list(a)?;
            args.extend(self.bind_list(b)?);
            return self.operator("overlaps", args);
        }
        // (a, b) = (SELECT …)
        if let (ast::Expr::Tuple(items), ast::Expr::Subquery(query)) = (left, right) {
            let symbol = symbol(op)?;
            let left = self.bind_list(items)?;
            return self.compare_with_subquery(left, &symbol, query, false);
        }
        let bound = self.bind_expr(left)?;
        self.binary(op, bound, right).map_err(|error| self.at_operator(error, op, left))
    }

    /// An operator over a bound left side.
    pub(super) fn binary(&mut self, op: &BinaryOperator, left: Expr, right: &ast::Expr) -> Result<Expr> {
        let bound = self.bind_expr(right)?;
        self.compare_or_call(op, left, bound)
    }

    fn compare_or_call(&mut self, op: &BinaryOperator, left: Expr, right: Expr) -> Result<Expr> {
        let symbol = symbol(op)?;
        if symbol == "xor" {
            let left = self.coerce_condition(left, "XOR")?;
            let right = self.coerce_condition(right, "XOR")?;
            return self.operator("<>", vec![left, right]);
        }
        let (left, right) = match symbol.as_str() {
            "=" | "<>" => as_conditions(left, right),
            _ => (left, right),
        };
        self.compare_fields(&symbol, left, right)
    }

    /// Rows compare field by field; `<` and its kin by the first field that differs.
    pub(super) fn compare_rows(&mut self, symbol: &str, a: Vec<Expr>, b: Vec<Expr>) -> Result<Expr> {
        if a.len() != b.len() {
            return Err(Error::new(ErrorKind::Syntax, "unequal number of entries in row expressions"));
        }
        if a.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "cannot compare rows of zero length"));
        }
        match symbol {
            "=" | "<>" => {
                let pairs: Result<Vec<Expr>> =
                    a.into_iter().zip(b).map(|(a, b)| self.compare_fields(symbol, a, b)).collect();
                let kind = if symbol == "=" { ExprKind::And(pairs?) } else { ExprKind::Or(pairs?) };
                Ok(Expr::new(kind, Type::Bool))
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = &symbol[..1];
                let mut result: Option<Expr> = None;
                for (a, b) in a.into_iter().zip(b).rev() {
                    result = Some(match result {
                        None => self.compare_fields(symbol, a, b)?,
                        Some(rest) => {
                            let less = self.compare_fields(strict, a.clone(), b.clone())?;
                            let equal = self.compare_fields("=", a, b)?;
                            let tie = Expr::new(ExprKind::And(vec![equal, rest]), Type::Bool);
                            Expr::new(ExprKind::Or(vec![less, tie]), Type::Bool)
                        }
                    });
                }
                result.ok_or_else(|| Error::new(ErrorKind::Unsupported, "cannot compare rows of zero length"))
            }
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!("could not determine interpretation of row comparison operator {other}"),
            )),
        }
    }

    fn compare_fields(&mut self, symbol: &str, a: Expr, b: Expr) -> Result<Expr> {
        match (a, b) {
            (Expr { kind: ExprKind::Row(x), .. }, Expr { kind: ExprKind::Row(y), .. }) => {
                self.compare_rows(symbol, x, y)
            }
            (a, b) => self.operator(symbol, vec![a, b]),
        }
    }

    /// Rows that differ in a field, NULL being a value.
    pub(super) fn rows_differ(&mut self, a: Vec<Expr>, b: Vec<Expr>) -> Result<Expr> {
        if a.len() != b.len() {
            return Err(Error::new(ErrorKind::Syntax, "unequal number of entries in row expressions"));
        }
        let pairs: Result<Vec<Expr>> =
            a.into_iter().zip(b).map(|(a, b)| self.operator("is_distinct_from", vec![a, b])).collect();
        Ok(Expr::new(ExprKind::Or(pairs?), Type::Bool))
    }

    /// `x IN (…)`.
    pub(super) fn bind_in(&mut self, expr: &ast::Expr, target: &InTarget) -> Result<Expr> {
        match target {
            InTarget::Subquery(query) => {
                let left = match expr {
                    ast::Expr::Tuple(items) => self.bind_list(items)?,
                    other => match self.bind_expr(other)? {
                        Expr { kind: ExprKind::Row(fields), .. } => fields,
                        other => vec![other],
                    },
                };
                self.compare_with_subquery(left, "=", query, false)
                    .map_err(|error| self.at_word_after(error, expr, "in"))
            }
            InTarget::List(items) => {
                let value = self.bind_expr(expr)?;
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(self.bind_expr(item)?);
                }
                self.in_list(value, list)
            }
            other => Err(Error::new(ErrorKind::Unsupported, format!("IN {other} is not supported"))),
        }
    }

    pub(super) fn in_list(&mut self, value: Expr, list: Vec<Expr>) -> Result<Expr> {
        if let ExprKind::Row(fields) = &value.kind {
            let mut rows = Vec::with_capacity(list.len());
            for item in list {
                let ExprKind::Row(items) = item.kind else {
                    return Err(Error::new(ErrorKind::Syntax, "unequal number of entries in row expressions"));
                };
                rows.push(self.compare_rows("=", fields.clone(), items)?);
            }
            return Ok(if rows.len() == 1 { rows.remove(0) } else { Expr::new(ExprKind::Or(rows), Type::Bool) });
        }
        let refs: Vec<&Expr> = std::iter::once(&value).chain(&list).collect();
        together(refs.iter().copied())?.settled()?;
        let Ok(ty) = comparison_type(&refs) else {
            // Compared one by one, which finds operators between types and words the error.
            let comparisons: Result<Vec<Expr>> =
                list.into_iter().map(|item| self.operator("=", vec![value.clone(), item])).collect();
            return Ok(Expr::new(ExprKind::Or(comparisons?), Type::Bool));
        };
        let value = self.coerce(value, &ty, CoercionContext::Implicit)?;
        let list: Result<Vec<Expr>> =
            list.into_iter().map(|item| self.coerce(item, &ty, CoercionContext::Implicit)).collect();
        Ok(Expr::new(ExprKind::InList { expr: Box::new(value), list: list? }, Type::Bool))
    }

    /// `x op ANY (…)` and `x op ALL (…)`, over an array, a list or a query.
    pub(super) fn bind_quantified(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        all: bool,
    ) -> Result<Expr> {
        let symbol = symbol(op)?;
        let mut right = right;
        while let ast::Expr::Nested(inner) = right {
            right = inner;
        }
        if let ast::Expr::Subquery(query) = right {
            let left = match left {
                ast::Expr::Tuple(items) => self.bind_list(items)?,
                other => vec![self.bind_expr(other)?],
            };
            return self.compare_with_subquery(left, &symbol, query, all);
        }
        let value = self.bind_expr(left)?;
        let array = self.bind_expr(right)?;
        self.quantified(value, &symbol, array, all).map_err(|error| self.at_operator(error, op, left))
    }

    /// `value op ANY (array)`, or ALL.
    pub(super) fn quantified(&mut self, value: Expr, symbol: &str, array: Expr, all: bool) -> Result<Expr> {
        let (value, array) = self.in_order_both(symbol, value, array)?;
        let element = match &array.ty {
            Type::Array(element) => Expr::new(ExprKind::Column(0), (**element).clone()),
            Type::Unknown => Expr::literal(Value::null(Type::Unknown)),
            _ => {
                return Err(Error::new(ErrorKind::WrongObjectType, "op ANY/ALL (array) requires array on right side"));
            }
        };
        // The operator is resolved for one element: the types that it wants are then the array's.
        let call = self.operator(symbol, vec![value, element])?;
        let ExprKind::Call { function, name, mut args } = call.kind else {
            return Err(Error::new(
                ErrorKind::WrongObjectType,
                "op ANY/ALL (array) requires operator to yield boolean",
            ));
        };
        if call.ty != Type::Bool {
            return Err(Error::new(
                ErrorKind::WrongObjectType,
                "op ANY/ALL (array) requires operator to yield boolean",
            ));
        }
        let (Some(element), Some(left)) = (args.pop(), args.pop()) else {
            return Err(Error::new(ErrorKind::WrongObjectType, "op ANY/ALL (array) requires a binary operator"));
        };
        let array = self.coerce(array, &Type::Array(Box::new(element.ty)), CoercionContext::Implicit)?;
        let kind = ExprKind::Quantified { left: Box::new(left), function, name, array: Box::new(array), all };
        Ok(Expr::new(kind, Type::Bool))
    }
}

/// `has(tags, 'a') = 1`: beside a condition, the integers 0 and 1 are the conditions that they are in ClickHouse.
fn as_conditions(left: Expr, right: Expr) -> (Expr, Expr) {
    let condition = |other: &Expr, expr: Expr| match integer_value(&expr) {
        Some(value @ (0 | 1)) if other.ty == Type::Bool => Expr::literal(Value::bool(value == 1)),
        _ => expr,
    };
    let left = condition(&right, left);
    let right = condition(&left, right);
    (left, right)
}

/// The name under which an operator's function is registered.
pub(super) fn symbol(op: &BinaryOperator) -> Result<String> {
    use BinaryOperator as O;
    Ok(match op {
        O::NotEq => "<>".into(),
        O::Xor => "xor".into(),
        O::PGExp | O::BitwiseXor => "^".into(),
        O::PGBitwiseXor => "#".into(),
        O::DuckIntegerDivide | O::MyIntegerDivide => "div".into(),
        O::Regexp => "~".into(),
        O::PGCustomBinaryOperator(parts) => match parts.last() {
            Some(last) => unalias(last).to_string(),
            None => return Err(Error::new(ErrorKind::Syntax, "OPERATOR() names no operator")),
        },
        O::Custom(text) => unalias(text).to_string(),
        O::Match | O::Glob | O::Spaceship | O::Assignment | O::Is | O::IsNot | O::And | O::Or => {
            return Err(Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {op}")));
        }
        other => other.to_string(),
    })
}

fn unalias(symbol: &str) -> &str {
    match symbol {
        "==" => "=",
        "!=" => "<>",
        other => other,
    }
}
