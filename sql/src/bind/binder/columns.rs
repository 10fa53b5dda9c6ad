//! DuckDB's COLUMNS(…): an item of a SELECT list that stands for several columns, by itself or inside of an expression.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident};

use crate::error::{Error, ErrorKind, Result};

/// The columns that a call of COLUMNS stands for, of those that there are: all, all but some, or those whose names a regular expression
/// matches.
pub(super) fn chosen(call: &ast::Function, names: &[String]) -> Result<Vec<String>> {
    let unsupported = || Error::new(ErrorKind::Unsupported, format!("{call} is not supported"));
    let FunctionArguments::List(list) = &call.args else { return Err(unsupported()) };
    let [FunctionArg::Unnamed(arg)] = list.args.as_slice() else { return Err(unsupported()) };
    let found: Vec<String> = match arg {
        FunctionArgExpr::Wildcard => names.to_vec(),
        FunctionArgExpr::WildcardWithOptions(options) => {
            let excluded = super::select::excluded(options);
            names.iter().filter(|name| !excluded.contains(name)).cloned().collect()
        }
        FunctionArgExpr::Expr(ast::Expr::Value(value)) => {
            let ast::Value::SingleQuotedString(pattern) = &value.value else { return Err(unsupported()) };
            let pattern = regex::Regex::new(pattern).map_err(|error| {
                Error::new(ErrorKind::InvalidParameter, format!("invalid regular expression: {error}"))
            })?;
            names.iter().filter(|name| pattern.is_match(name)).cloned().collect()
        }
        _ => return Err(unsupported()),
    };
    match found.is_empty() {
        true => Err(Error::new(ErrorKind::UndefinedColumn, format!("no column matches {call}"))),
        false => Ok(found),
    }
}

/// The call of COLUMNS in an expression, if there is one.
pub(super) fn call_in(expr: &ast::Expr) -> Option<&ast::Function> {
    use ast::Expr as E;
    match expr {
        E::Function(call) if call.name.to_string().eq_ignore_ascii_case("columns") => Some(call),
        E::Function(call) => match &call.args {
            FunctionArguments::List(list) => list.args.iter().find_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => call_in(expr),
                _ => None,
            }),
            _ => None,
        },
        E::Nested(inner) | E::UnaryOp { expr: inner, .. } | E::Cast { expr: inner, .. } => call_in(inner),
        E::BinaryOp { left, right, .. } => call_in(left).or_else(|| call_in(right)),
        _ => None,
    }
}

/// An expression with a column in the place of each call of COLUMNS.
pub(super) fn with_column(expr: &ast::Expr, name: &str) -> ast::Expr {
    use ast::Expr as E;
    let inside = |inner: &ast::Expr| Box::new(with_column(inner, name));
    match expr {
        E::Function(call) if call.name.to_string().eq_ignore_ascii_case("columns") => {
            E::Identifier(Ident::with_quote('"', name))
        }
        E::Function(call) => {
            let mut call = call.clone();
            if let FunctionArguments::List(list) = &mut call.args {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                        *expr = with_column(expr, name);
                    }
                }
            }
            E::Function(call)
        }
        E::Nested(inner) => E::Nested(inside(inner)),
        E::UnaryOp { op, expr } => E::UnaryOp { op: *op, expr: inside(expr) },
        E::Cast { kind, expr, data_type, format, .. } => {
            E::Cast { kind: kind.clone(), expr: inside(expr), data_type: data_type.clone(), format: format.clone() }
        }
        E::BinaryOp { left, op, right } => E::BinaryOp { left: inside(left), op: op.clone(), right: inside(right) },
        other => other.clone(),
    }
}
