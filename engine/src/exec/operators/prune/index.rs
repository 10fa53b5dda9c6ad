//! Which tests of a table's skip indexes follow from a condition.
//!
//! An index is asked where one side of the condition is exactly its key's expression. minmax, set and bloom_filter answer comparisons;
//! n-grams, tokens and text answer what pieces a text has: equality, LIKE, hasToken, and how it starts or ends; bloom_filter over
//! an array answers what elements it has.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, walk};
use weir_storage::{Condition, IndexKind, IndexSource, IndexTest, Piece, PruneOp, TableDef};

use super::pattern::{after_all, pieces, start_of};
use super::{Scope, as_column, constant_side, list_as_column, mirrored, operator, same_order};
use crate::index_values::bound;

/// Longer lists are not asked text by text.
const LIST_MAX: usize = 100;

/// One key of an index.
pub(crate) struct Indexed {
    pub(crate) id: u32,
    pub(crate) key: usize,
    pub(crate) name: String,
    pub(crate) kind: IndexKind,
    /// Over the table's columns.
    expr: Expr,
}

/// The indexes of a table, over its columns of these types.
pub(crate) fn indexed(def: &TableDef, types: &[Type]) -> Vec<Indexed> {
    let mut found = Vec::new();
    for index in &def.indexes {
        for (key, part) in index.keys.iter().enumerate() {
            let expr = match &part.source {
                IndexSource::Column(column) => types.get(*column).map(|ty| Expr::column(*column, ty.clone())),
                IndexSource::Expression { sql, columns } => {
                    let rows = def.schema.project(columns).ok();
                    rows.and_then(|schema| bound(sql, &schema).ok()).map(|expr| {
                        let mut expr = Expr::clone(&expr);
                        walk::rename_columns(&mut expr, &|column| columns[column]);
                        expr
                    })
                }
            };
            let indexed = |expr| Indexed { id: index.id, key, name: index.name.clone(), kind: index.kind, expr };
            found.extend(expr.map(indexed));
        }
    }
    found
}

impl Indexed {
    /// Whether an expression is the key, under a cast that keeps order and loses nothing.
    fn is(&self, expr: &Expr) -> bool {
        match &expr.kind {
            _ if *expr == self.expr => true,
            ExprKind::Cast { expr: inner, .. } => **inner == self.expr && same_order(&inner.ty, &expr.ty),
            _ => false,
        }
    }

    /// Its name, and its type.
    pub(super) fn shown(&self) -> String {
        format!("{} ({})", self.name, self.kind.name())
    }

    fn is_textual(&self) -> bool {
        matches!(self.kind, IndexKind::Ngrams { .. } | IndexKind::Tokens(_) | IndexKind::Text)
    }

    fn asks(&self, test: IndexTest) -> Condition {
        Condition::Index { index: self.id, key: self.key, test }
    }

    fn compares(&self, op: PruneOp, values: ArrayRef) -> Option<Condition> {
        let equality = matches!(op, PruneOp::Eq | PruneOp::In);
        let answers = match self.kind {
            IndexKind::MinMax | IndexKind::Set(_) => true,
            IndexKind::Bloom(_) => equality && !matches!(self.expr.ty, Type::Array(_)),
            _ => false,
        };
        if answers {
            return Some(self.asks(IndexTest::Compare { op, values }));
        }
        if !self.is_textual() || !equality || values.len() > LIST_MAX {
            return None;
        }
        let whole = |text: &str| {
            self.asks(IndexTest::Contains(vec![Piece { text: text.to_string(), starts: true, ends: true }]))
        };
        let mut any: Vec<Condition> = values.as_string_view_opt()?.iter().flatten().map(whole).collect();
        Some(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
    }

    /// The text has this start.
    fn starts(&self, start: &str) -> Option<Condition> {
        if self.is_textual() {
            let piece = Piece { text: start.to_string(), starts: true, ends: false };
            return Some(self.asks(IndexTest::Contains(vec![piece])));
        }
        let text = |text: &str| -> ArrayRef { Arc::new(arrow::array::StringViewArray::from(vec![text])) };
        let least = self.compares(PruneOp::Ge, text(start));
        let greatest = after_all(start).and_then(|end| self.compares(PruneOp::Lt, text(&end)));
        let all: Vec<Condition> = least.into_iter().chain(greatest).collect();
        (!all.is_empty()).then_some(Condition::All(all))
    }

    /// The text has all of these pieces.
    fn contains(&self, pieces: Vec<Piece>) -> Option<Condition> {
        (self.is_textual() && !pieces.is_empty()).then(|| self.asks(IndexTest::Contains(pieces)))
    }

    /// The array has one of these elements, or each of them.
    fn has(&self, elements: &ArrayRef, all: bool) -> Option<Condition> {
        let Type::Array(_) = self.expr.ty else { return None };
        let IndexKind::Bloom(_) = self.kind else { return None };
        let one = |elements: ArrayRef| self.asks(IndexTest::Compare { op: PruneOp::In, values: elements });
        if !all {
            return Some(one(elements.clone()));
        }
        let each = (0..elements.len()).filter(|&at| elements.is_valid(at));
        Some(Condition::All(each.map(|at| one(elements.slice(at, 1))).collect()))
    }
}

/// What the indexes can be asked about rows for which `expr` is true.
pub(super) fn conditions(expr: &Expr, scope: &Scope<'_>) -> Vec<Condition> {
    if scope.indexes.is_empty() {
        return Vec::new();
    }
    let of = |side: &Expr, condition: &dyn Fn(&Indexed) -> Option<Condition>| {
        scope.indexes.iter().filter(|index| index.is(side)).filter_map(condition).collect::<Vec<_>>()
    };
    match &expr.kind {
        ExprKind::InList { expr, list } => {
            of(expr, &|index| index.compares(PruneOp::In, list_as_column(list, &index.expr.ty, scope.context)?))
        }
        ExprKind::Column(_) if expr.ty == Type::Bool => {
            of(expr, &|index| index.compares(PruneOp::Eq, weir_sql::Value::bool(true).array))
        }
        ExprKind::Quantified { left, name, array, all: false, .. } if name == "=" => {
            let elements = |expr: &Expr| elements_of(expr, scope);
            let mut found = of(array, &|index| {
                let value = constant_side(left, scope.context).filter(|value| !value.is_null())?;
                index.has(&value.array, false)
            });
            if let Some(values) = elements(array).filter(|values| values.len() <= LIST_MAX) {
                found.extend(of(left, &|index| {
                    let same = index.expr.ty.to_arrow() == *values.data_type();
                    if same { index.compares(PruneOp::In, values.clone()) } else { None }
                }));
            }
            found
        }
        ExprKind::Call { name, args, .. } => match args.as_slice() {
            [left, right] => {
                let mut found = of(left, &|index| ask(index, name, right, scope));
                if let Some(op) = operator(name) {
                    found.extend(of(right, &|index| compare(index, mirrored(op), left, scope)));
                }
                found
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The elements of a constant array.
fn elements_of(expr: &Expr, scope: &Scope<'_>) -> Option<ArrayRef> {
    let value = constant_side(expr, scope.context).filter(|value| !value.is_null())?;
    Some(value.array.as_list_opt::<i32>()?.value(0))
}

fn compare(index: &Indexed, op: PruneOp, other: &Expr, scope: &Scope<'_>) -> Option<Condition> {
    let value = constant_side(other, scope.context).filter(|value| !value.is_null())?;
    index.compares(op, as_column(&value, &index.expr.ty)?)
}

/// What `index function other` says.
fn ask(index: &Indexed, function: &str, other: &Expr, scope: &Scope<'_>) -> Option<Condition> {
    if let Some(op) = operator(function) {
        return compare(index, op, other, scope);
    }
    let text = || -> Option<String> {
        let value = constant_side(other, scope.context).filter(|value| !value.is_null())?;
        Some(value.array.as_string_view_opt()?.value(0).to_string())
    };
    let piece = |text: String, starts, ends| index.contains(vec![Piece { text, starts, ends }]);
    let elements = || elements_of(other, scope);
    match function.to_ascii_lowercase().as_str() {
        "~~" | "like" => {
            let pattern = text()?;
            let start = start_of(&pattern);
            let known = index.contains(pieces(&pattern)?);
            if index.is_textual() || start.is_empty() { known } else { index.starts(&start) }
        }
        "hastoken" => piece(text()?, true, true),
        "starts_with" | "startswith" | "startswithutf8" | "^@" => index.starts(&text()?),
        "ends_with" | "endswith" | "endswithutf8" => piece(text()?, false, true),
        "has" => {
            let value = constant_side(other, scope.context).filter(|value| !value.is_null())?;
            index.has(&value.array, false)
        }
        "@>" | "arraycontains" | "hasall" => index.has(&elements()?, true),
        "&&" | "arrayoverlap" | "hasany" => index.has(&elements()?, false),
        _ => None,
    }
}
