//! Where in the statement's text an error is, where the syntax tree does not say it.
//!
//! `sqlparser` gives spans to names and literals, and to nothing between them. PostgreSQL points at operators, at the words of special
//! forms (`substring(…)`, `CAST(…)`) and at string literals that are not of their type; the first two are found in the text around the
//! operands, the last by the literal's own value, which keeps its place until its type is known.

use std::sync::Arc;

use arrow::array::ArrayRef;
use sqlparser::ast::{self, BinaryOperator, SelectItem, SetExpr, Spanned};

use super::Binder;
use super::scope::Clause;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::Type;

/// Where literals of unknown type were written, by the address of their values, which are kept so that no other comes to have it.
#[derive(Default)]
pub(super) struct Literals(std::collections::HashMap<usize, (ArrayRef, usize)>);

fn address(array: &ArrayRef) -> usize {
    Arc::as_ptr(array).cast::<()>() as usize
}

/// Adds where an expression stands.
pub(super) fn locate(error: Error, expr: &ast::Expr) -> Error {
    match expr.span().start.column {
        0 => error,
        column => error.at(column as usize),
    }
}

/// Adds where the column `index` of a query is written.
pub(super) fn locate_column(error: Error, body: &SetExpr, index: usize) -> Error {
    match body {
        SetExpr::Select(select) => match select.projection.get(index) {
            Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => locate(error, expr),
            _ => error,
        },
        SetExpr::Query(query) => locate_column(error, &query.body, index),
        SetExpr::SetOperation { left, .. } => locate_column(error, left, index),
        SetExpr::Values(values) => match values.rows.first().and_then(|row| row.content.get(index)) {
            Some(expr) => locate(error, expr),
            None => error,
        },
        _ => error,
    }
}

impl Binder<'_> {
    /// A literal, and where it stands.
    pub(super) fn bind_literal_at(&mut self, value: &ast::ValueWithSpan) -> Result<Expr> {
        let bound = self.bind_literal(&value.value)?;
        let at = value.span.start.column as usize;
        // Rows of VALUES may be many, and are read only once, where they are stored.
        let counts = self.frames.last().is_none_or(|frame| frame.clause != Clause::Values);
        if let ExprKind::Literal(known) = &bound.kind
            && known.ty == Type::Unknown
            && !known.is_null()
            && at > 0
            && counts
        {
            self.literals.0.insert(address(&known.array), (known.array.clone(), at));
        }
        Ok(bound)
    }

    /// An error if an unknown literal that was written in this statement is no value of the type it is to have.
    pub(super) fn check_literal(&self, expr: &Expr, ty: &Type) -> Result<()> {
        let ExprKind::Literal(value) = &expr.kind else { return Ok(()) };
        let place = self.literals.0.get(&address(&value.array)).map(|(_, at)| *at);
        match (value.ty == Type::Unknown, value.as_str(), place) {
            (true, Some(text), Some(at)) => self.catalog.check_literal(text, ty).map_err(|error| error.at(at)),
            _ => Ok(()),
        }
    }

    /// The position of an operator: PostgreSQL points at it, the syntax tree only says where its left side ends.
    pub(super) fn at_operator(&self, error: Error, op: &BinaryOperator, left: &ast::Expr) -> Error {
        self.at_word_after(error, left, &op.to_string())
    }

    /// The first place after an operand where these characters stand, in any case.
    pub(super) fn at_word_after(&self, error: Error, left: &ast::Expr, word: &str) -> Error {
        let (text, end) = (self.text.unwrap_or_default(), left.span().end.column as usize);
        let rest: Vec<char> = text.chars().skip(end.saturating_sub(1)).collect();
        match (0..rest.len()).find(|&at| begins(&rest[at..], word)) {
            Some(at) if error.position.is_none() && end > 0 => error.at(end + at),
            _ => locate(error, left),
        }
    }

    /// The last place before an operand where these characters stand, in any case.
    pub(super) fn at_word_before(&self, error: Error, inner: &dyn Spanned, word: &str) -> Error {
        let start = inner.span().start.column as usize;
        let before: Vec<char> = self.text.unwrap_or_default().chars().take(start.saturating_sub(1)).collect();
        match (0..before.len()).rev().find(|&at| begins(&before[at..], word)) {
            Some(at) if error.position.is_none() => error.at(at + 1),
            _ if start > 0 => error.at(start),
            _ => error,
        }
    }

    /// Adds where an expression begins: for a special form, at its word.
    pub(super) fn at_expression(&self, error: Error, expr: &ast::Expr) -> Error {
        use ast::Expr as E;
        if error.position.is_some() {
            return error;
        }
        match expr {
            E::Substring { expr, .. } => self.at_word_before(error, expr.as_ref(), "substr"),
            E::Position { expr, .. } => self.at_word_before(error, expr.as_ref(), "position"),
            E::Trim { expr, .. } => self.at_word_before(error, expr.as_ref(), "trim"),
            E::Overlay { expr, .. } => self.at_word_before(error, expr.as_ref(), "overlay"),
            E::Extract { expr, .. } => self.at_word_before(error, expr.as_ref(), "extract"),
            E::Ceil { expr, .. } => self.at_word_before(error, expr.as_ref(), "ceil"),
            E::Floor { expr, .. } => self.at_word_before(error, expr.as_ref(), "floor"),
            E::Subquery(query) => self.at_word_before(error, query.as_ref(), "("),
            E::In { expr, .. } => self.at_word_after(error, expr, "in"),
            E::Like { expr, .. } => self.at_word_after(error, expr, "like"),
            E::ILike { expr, .. } => self.at_word_after(error, expr, "ilike"),
            E::Cast { kind: ast::CastKind::DoubleColon, expr, .. } if error.kind == ErrorKind::CannotCoerce => {
                self.at_word_after(error, expr, "::")
            }
            E::Cast { kind: ast::CastKind::Cast, expr, .. } => self.at_word_before(error, expr.as_ref(), "cast"),
            E::UnaryOp { op, expr } => self.at_word_before(error, expr.as_ref(), &op.to_string()),
            _ => locate(error, expr),
        }
    }
}

fn begins(text: &[char], word: &str) -> bool {
    let mut letters = text.iter();
    word.chars().all(|letter| letters.next().is_some_and(|found| found.eq_ignore_ascii_case(&letter)))
}
