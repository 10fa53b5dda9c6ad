//! Forms with a syntax of their own that are functions underneath: LIKE, SIMILAR TO, SUBSTRING, TRIM, CEIL, subscripts.

use sqlparser::ast::{self, AccessExpr, CeilFloorKind, Subscript, TrimWhereField};

use super::expr::{negate_if, not};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    /// LIKE and ILIKE, by their operators; a pattern with another escape character is rewritten to the usual one.
    pub(super) fn bind_like(
        &mut self,
        symbol: &str,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        any: bool,
        negated: bool,
    ) -> Result<Expr> {
        let value = self.bind_expr(expr)?;
        let marked = |symbol: &str| if negated { format!("!{symbol}") } else { symbol.to_string() };
        // LIKE ALL is read as a call of a function, NOT LIKE ANY as well.
        if let ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. }) = pattern
            && let Some(quantifier @ ("any" | "all" | "some")) = Some(name.to_string().to_lowercase().as_str())
            && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(array))] = list.args.as_slice()
        {
            let array = self.bind_expr(array)?;
            return self.quantified(value, &marked(symbol), array, quantifier == "all");
        }
        // LIKE ANY of an array, which a list of one item may be.
        if any && let ast::Expr::Nested(inner) = pattern {
            let bound = self.bind_expr(inner)?;
            if matches!(bound.ty, Type::Array(_)) {
                return self.quantified(value, &marked(symbol), bound, false);
            }
        }
        if any {
            let patterns = match pattern {
                ast::Expr::Tuple(items) => items.as_slice(),
                ast::Expr::Nested(inner) => std::slice::from_ref(inner.as_ref()),
                _ => return Err(Error::new(ErrorKind::Unsupported, "LIKE ANY takes a list of patterns")),
            };
            let mut list = Vec::new();
            for pattern in patterns {
                let pattern = self.bind_expr(pattern)?;
                list.push(self.operator(symbol, vec![value.clone(), pattern])?);
            }
            return Ok(negate_if(Expr::new(ExprKind::Or(list), Type::Bool), negated));
        }
        let mut pattern = self.bind_expr(pattern)?;
        if let Some(escape) = escape {
            let escape = self.bind_expr(escape)?;
            pattern = match (text_of(&pattern), text_of(&escape)) {
                (Some(pattern), Some(escape)) => Expr::literal(Value::text(&usual_escape(&pattern, &escape)?)),
                _ => self.operator("like_escape", vec![pattern, escape])?,
            };
        }
        if negated {
            return self.operator(&format!("!{symbol}"), vec![value, pattern]);
        }
        self.operator(symbol, vec![value, pattern])
    }

    /// SIMILAR TO: a regular expression in SQL's own notation.
    pub(super) fn bind_similar(
        &mut self,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
    ) -> Result<Expr> {
        let value = self.bind_expr(expr)?;
        let pattern = self.bind_expr(pattern)?;
        let escape = match escape {
            Some(escape) => Some(self.bind_expr(escape)?),
            None => None,
        };
        let escape_text = match &escape {
            Some(escape) => text_of(escape),
            None => Some("\\".to_string()),
        };
        let regex = match (text_of(&pattern), escape_text) {
            (Some(pattern), Some(escape)) => Expr::literal(Value::text(&similar_to_regex(&pattern, &escape))),
            _ => self.operator("similar_to_escape", std::iter::once(pattern).chain(escape).collect())?,
        };
        self.operator("~", vec![value, regex])
    }

    pub(super) fn bind_rounding(&mut self, name: &str, expr: &ast::Expr, field: &CeilFloorKind) -> Result<Expr> {
        let mut args = vec![self.bind_expr(expr)?];
        match field {
            CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {}
            CeilFloorKind::DateTimeField(field) => {
                return Err(Error::new(ErrorKind::Unsupported, format!("{name} to {field} is not supported")));
            }
            CeilFloorKind::Scale(value) => args.push(self.bind_literal(&value.value)?),
        }
        self.operator(name, args)
    }

    /// `SUBSTRING(x FROM a FOR b)`, `substring(x, a, b)`, `substring(x FROM pattern)`.
    pub(super) fn bind_substring(
        &mut self,
        expr: &ast::Expr,
        from: Option<&ast::Expr>,
        length: Option<&ast::Expr>,
    ) -> Result<Expr> {
        let mut args = vec![self.bind_expr(expr)?];
        match (from, length) {
            (None, Some(_)) => args.push(Expr::literal(Value::int4(1))),
            (None, None) => {}
            (Some(from), _) => args.push(self.bind_expr(from)?),
        }
        if let Some(length) = length {
            args.push(self.bind_expr(length)?);
        }
        self.operator("substring", args)
    }

    pub(super) fn bind_trim(
        &mut self,
        expr: &ast::Expr,
        side: Option<&TrimWhereField>,
        what: Option<&ast::Expr>,
        characters: Option<&[ast::Expr]>,
    ) -> Result<Expr> {
        let mut args = vec![self.bind_expr(expr)?];
        if let Some(what) = what {
            args.push(self.bind_expr(what)?);
        }
        for characters in characters.unwrap_or_default() {
            args.push(self.bind_expr(characters)?);
        }
        let name = match side {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        };
        self.operator(name, args)
    }

    /// `a.b[1].c`, `(row).field`, `array[2:3]`, `json['key']`.
    pub(super) fn bind_access(&mut self, root: &ast::Expr, chain: &[AccessExpr]) -> Result<Expr> {
        // The parser keeps `t.a[1]` as t, .a, [1]: names before the first subscript are one compound name.
        let dots: Vec<&ast::Ident> = chain
            .iter()
            .map_while(|access| match access {
                AccessExpr::Dot(ast::Expr::Identifier(ident)) => Some(ident),
                _ => None,
            })
            .collect();
        let (mut value, rest) = match root {
            ast::Expr::Identifier(first) if !dots.is_empty() => {
                let parts: Vec<ast::Ident> = std::iter::once(first).chain(dots.iter().copied()).cloned().collect();
                (self.bind_compound(&parts)?, &chain[dots.len()..])
            }
            other => (self.bind_expr(other)?, chain),
        };
        for access in rest {
            value = match access {
                AccessExpr::Dot(ast::Expr::Identifier(ident)) => self.bind_field(value, ident)?,
                AccessExpr::Dot(other) => {
                    return Err(Error::new(ErrorKind::Syntax, format!("syntax error at or near \"{other}\"")));
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let index = self.bind_expr(index)?;
                    self.subscript(value, index)?
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    let mut args = vec![value];
                    for bound in [lower_bound, upper_bound] {
                        args.push(match bound {
                            Some(bound) => {
                                let bound = self.bind_expr(bound)?;
                                self.coerce(bound, &Type::Int4, CoercionContext::Assignment)?
                            }
                            None => Expr::literal(Value::null(Type::Int4)),
                        });
                    }
                    self.operator("array_slice", args)?
                }
                AccessExpr::Subscript(other) => {
                    return Err(Error::new(ErrorKind::Unsupported, format!("subscript [{other}] is not supported")));
                }
            };
        }
        Ok(value)
    }

    fn subscript(&mut self, value: Expr, index: Expr) -> Result<Expr> {
        match &value.ty {
            // As `#>` with one step: text or number, whichever the value takes.
            Type::Jsonb => {
                let index = self.settle(index)?;
                let index = self.coerce(index, &Type::Text, CoercionContext::Assignment)?;
                self.operator("jsonb_extract_path", vec![value, index])
            }
            Type::Map(map) => {
                let key = self.coerce(index, &map.key.clone(), CoercionContext::Assignment)?;
                self.operator("map_extract_value", vec![value, key])
            }
            Type::Array(_) => {
                let index =
                    self.coerce(index, &Type::Int4, CoercionContext::Assignment).map_err(|error| match error.kind {
                        ErrorKind::InvalidText => error,
                        _ => Error::new(ErrorKind::DatatypeMismatch, "array subscript must have type integer"),
                    })?;
                self.operator("array_get", vec![value, index])
            }
            ty => {
                let message = format!("cannot subscript type {ty} because it does not support subscripting");
                Err(Error::new(ErrorKind::DatatypeMismatch, message))
            }
        }
    }

    /// `a IS DISTINCT FROM b`; against NULL it is a plain test.
    pub(super) fn bind_distinct(&mut self, left: &ast::Expr, right: &ast::Expr) -> Result<Expr> {
        let (left, right) = (self.bind_expr(left)?, self.bind_expr(right)?);
        let null = |expr: &Expr| matches!(&expr.kind, ExprKind::Literal(value) if value.is_null());
        if null(&left) || null(&right) {
            let other = self.settle(if null(&left) { right } else { left })?;
            return Ok(not(Expr::new(ExprKind::IsNull(Box::new(other)), Type::Bool)));
        }
        if let (ExprKind::Row(a), ExprKind::Row(b)) = (&left.kind, &right.kind) {
            let (a, b) = (a.clone(), b.clone());
            return self.rows_differ(a, b);
        }
        self.operator("is_distinct_from", vec![left, right])
    }
}

/// The text of a literal.
pub(super) fn text_of(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Literal(value) => value.as_str().map(str::to_string),
        _ => None,
    }
}

/// A LIKE pattern with its own escape character, written with the backslash.
fn usual_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut chars = escape.chars();
    let escape = match (chars.next(), chars.next()) {
        (escape, None) => escape,
        _ => {
            let error = Error::new(ErrorKind::InvalidEscape, "invalid escape string");
            return Err(error.with_hint("Escape string must be empty or one character."));
        }
    };
    if escape == Some('\\') {
        return Ok(pattern.to_string());
    }
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                Some(next) => out.extend(['\\', next]),
                None => {
                    return Err(Error::new(
                        ErrorKind::InvalidEscape,
                        "LIKE pattern must not end with escape character",
                    ));
                }
            }
        } else if c == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(c);
        }
    }
    Ok(out)
}

/// SQL's SIMILAR TO pattern as a regular expression that must match the whole.
fn similar_to_regex(pattern: &str, escape: &str) -> String {
    let escape = escape.chars().next();
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                if let Some(next) = chars.next() {
                    out.push('\\');
                    out.push(next);
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            c if in_class => {
                if c == '\\' {
                    out.push('\\');
                }
                out.push(c);
            }
            '[' => {
                in_class = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    out
}
