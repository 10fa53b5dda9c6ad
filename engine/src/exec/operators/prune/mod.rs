//! Which conditions of a scan storage can use: comparisons of a column with a constant, IN, NULL tests and LIKE with a fixed start; what
//! skip indexes answer (`index`); and AND and OR of these.
//!
//! They are only hints: every filter is evaluated on the rows as well.

mod index;
mod pattern;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, new_empty_array};
use arrow::compute::{CastOptions, cast_with_options};
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, Value, walk};
use weir_storage::{Condition, Prune, PruneOp};

use crate::exec::context::QueryContext;
use crate::exec::expression::constant;
use crate::exec::keys;
use crate::functions::registry;

pub(crate) use index::{Indexed, indexed};
pub(super) use pattern::pieces;

/// What conditions are read with.
pub(super) struct Scope<'a> {
    /// The types of the relation's columns.
    types: &'a [Type],
    indexes: &'a [Indexed],
    context: &'a Arc<QueryContext>,
}

/// What storage can know of the rows for which all of `filters` hold.
pub(crate) fn conditions(
    filters: &[Expr],
    types: &[Type],
    indexes: &[Indexed],
    context: &Arc<QueryContext>,
) -> Vec<Condition> {
    let scope = Scope { types, indexes, context };
    filters.iter().filter_map(|filter| condition(filter, &scope)).collect()
}

/// Those of [`conditions`] that are on one column.
pub(crate) fn column_conditions(filter: &Expr, types: &[Type], context: &Arc<QueryContext>) -> Vec<Prune> {
    fn flatten(condition: Condition, found: &mut Vec<Prune>) {
        match condition {
            Condition::Column(prune) => found.push(prune),
            Condition::All(all) => all.into_iter().for_each(|one| flatten(one, found)),
            Condition::Any(_) | Condition::Index { .. } => {}
        }
    }
    let mut found = Vec::new();
    let scope = Scope { types, indexes: &[], context };
    condition(filter, &scope).into_iter().for_each(|one| flatten(one, &mut found));
    found
}

/// The names of the indexes that conditions ask, each once, with their types.
pub(crate) fn index_names(conditions: &[Condition], indexes: &[Indexed]) -> String {
    fn ids(condition: &Condition, found: &mut Vec<u32>) {
        match condition {
            Condition::Index { index, .. } if !found.contains(index) => found.push(*index),
            Condition::All(list) | Condition::Any(list) => list.iter().for_each(|one| ids(one, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    conditions.iter().for_each(|condition| ids(condition, &mut found));
    let name = |id: &u32| indexes.iter().find(|index| index.id == *id).map(Indexed::shown);
    found.iter().filter_map(name).collect::<Vec<_>>().join(", ")
}

/// What holds for a row for which `expr` is true.
fn condition(expr: &Expr, scope: &Scope<'_>) -> Option<Condition> {
    match &expr.kind {
        ExprKind::And(parts) => all(parts.iter().filter_map(|part| condition(part, scope)).collect()),
        // Of no use unless each branch says something.
        ExprKind::Or(parts) => {
            let any = parts.iter().map(|part| condition(part, scope)).collect::<Option<Vec<_>>>()?;
            Some(Condition::Any(any))
        }
        _ => {
            let mut found = index::conditions(expr, scope);
            found.extend(on_column(expr, scope));
            all(found)
        }
    }
}

fn all(mut conditions: Vec<Condition>) -> Option<Condition> {
    match conditions.len() {
        0 => None,
        1 => conditions.pop(),
        _ => Some(Condition::All(conditions)),
    }
}

/// The same, of one column.
fn on_column(expr: &Expr, scope: &Scope<'_>) -> Option<Condition> {
    let Scope { types, context, .. } = scope;
    let on = |column: usize, op: PruneOp, values: ArrayRef| Some(Prune { column, op, values }.into());
    match &expr.kind {
        ExprKind::Column(column) if expr.ty == Type::Bool => on(*column, PruneOp::Eq, Value::bool(true).array),
        ExprKind::Not(input) => match &input.kind {
            ExprKind::IsNull(input) => {
                let column = column_of(input, types)?;
                on(column, PruneOp::IsNotNull, new_empty_array(&types[column].to_arrow()))
            }
            ExprKind::Column(column) if input.ty == Type::Bool => on(*column, PruneOp::Eq, Value::bool(false).array),
            _ => None,
        },
        ExprKind::IsNull(input) => {
            let column = column_of(input, types)?;
            on(column, PruneOp::IsNull, new_empty_array(&types[column].to_arrow()))
        }
        ExprKind::InList { expr, list } => {
            let column = column_of(expr, types)?;
            on(column, PruneOp::In, list_as_column(list, &types[column], context)?)
        }
        ExprKind::Call { name, args, .. } => match (operator(name), args.as_slice()) {
            (Some(op), [left, right]) => compared(op, left, right, types, context)
                .or_else(|| of_window(op, left, right, types, context))
                .map(|(prune, _)| prune.into()),
            (None, [left, right]) => starts_with(name, left, right, scope),
            _ => None,
        },
        _ => None,
    }
}

/// A filter as a comparison of a column with a constant, if it is one.
pub(super) fn comparison(filter: &Expr, types: &[Type], context: &Arc<QueryContext>) -> Option<Prune> {
    let ExprKind::Call { name, args, .. } = &filter.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let (prune, is_exact) = compared(operator(name)?, left, right, types, context)?;
    is_exact.then_some(prune)
}

/// A comparison of a column with a constant, and whether it says the same rather than what follows from it.
fn compared(
    op: PruneOp,
    left: &Expr,
    right: &Expr,
    types: &[Type],
    context: &Arc<QueryContext>,
) -> Option<(Prune, bool)> {
    let (column, op, value) = match column_of(left, types) {
        Some(column) => (column, op, constant_side(right, context)?),
        None => (column_of(right, types)?, mirrored(op), constant_side(left, context)?),
    };
    if value.is_null() {
        return None;
    }
    let (values, is_exact) = near_column(&value, &types[column], context)?;
    let op = match op {
        PruneOp::Gt if !is_exact => PruneOp::Ge,
        PruneOp::Lt if !is_exact => PruneOp::Le,
        // Of values beside one that no row has all may be wanted.
        PruneOp::Ne if !is_exact => return None,
        // The empty text is the least.
        PruneOp::Ne if is_empty_text(&values) => PruneOp::Gt,
        op => op,
    };
    Some((Prune { column, op, values }, is_exact))
}

/// What a comparison of the start or the end of a window of time with a constant says of the column of the time: that is not before its start, and
/// not after its end.
fn of_window(
    op: PruneOp,
    left: &Expr,
    right: &Expr,
    types: &[Type],
    context: &Arc<QueryContext>,
) -> Option<(Prune, bool)> {
    let is_call = |expr: &Expr| matches!(expr.kind, ExprKind::Call { .. });
    let (call, op, value) = if is_call(left) { (left, op, right) } else { (right, mirrored(op), left) };
    let ExprKind::Call { name, args, .. } = &call.kind else { return None };
    // On the wall clock of a zone a day may begin twice.
    if args.get(2).is_some_and(|zone| zone.ty != Type::Interval) {
        return None;
    }
    let op = match (name.to_ascii_lowercase().as_str(), op) {
        ("tumblestart" | "tumble_start", PruneOp::Ge | PruneOp::Gt | PruneOp::Eq) => PruneOp::Ge,
        ("tumbleend" | "tumble_end", PruneOp::Le | PruneOp::Lt | PruneOp::Eq) => PruneOp::Le,
        _ => return None,
    };
    compared(op, args.first()?, value, types, context)
}

fn is_empty_text(value: &ArrayRef) -> bool {
    value.as_string_view_opt().is_some_and(|text| text.value(0).is_empty())
}

fn operator(name: &str) -> Option<PruneOp> {
    Some(match name {
        "=" => PruneOp::Eq,
        "<>" | "!=" => PruneOp::Ne,
        "<" => PruneOp::Lt,
        "<=" => PruneOp::Le,
        ">" => PruneOp::Gt,
        ">=" => PruneOp::Ge,
        _ => return None,
    })
}

/// Constants in a column's form; NULLs match nothing and are left out.
fn list_as_column(list: &[Expr], ty: &Type, context: &Arc<QueryContext>) -> Option<ArrayRef> {
    let mut values: Vec<ArrayRef> = Vec::with_capacity(list.len());
    for value in list {
        let value = constant_side(value, context)?;
        if !value.is_null() {
            values.push(as_column(&value, ty)?);
        }
    }
    match values.is_empty() {
        true => Some(new_empty_array(&ty.to_arrow())),
        false => arrow::compute::concat(&values.iter().map(|v| v.as_ref()).collect::<Vec<_>>()).ok(),
    }
}

fn mirrored(op: PruneOp) -> PruneOp {
    match op {
        PruneOp::Lt => PruneOp::Gt,
        PruneOp::Le => PruneOp::Ge,
        PruneOp::Gt => PruneOp::Lt,
        PruneOp::Ge => PruneOp::Le,
        other => other,
    }
}

/// The column that an expression is, under a cast that keeps order and loses nothing.
fn column_of(expr: &Expr, types: &[Type]) -> Option<usize> {
    match &expr.kind {
        ExprKind::Column(column) => ordered_bytes(types.get(*column)?).then_some(*column),
        ExprKind::Cast { expr: inner, .. } => {
            let ExprKind::Column(column) = inner.kind else { return None };
            let from = types.get(column)?;
            (same_order(from, &expr.ty) || widens(from, &expr.ty)).then_some(column)
        }
        _ => None,
    }
}

/// Whether every value of a type is one of another, where the order is the same.
fn widens(from: &Type, to: &Type) -> bool {
    match to {
        Type::Numeric(None) => from.is_integer() || matches!(from, Type::Numeric(Some(_))),
        Type::Float8 => matches!(from, Type::Int2 | Type::Int4 | Type::Float4),
        Type::Timestamp => matches!(from, Type::Date),
        _ => false,
    }
}

/// Whether a cast keeps the order of values, and loses nothing.
pub(crate) fn same_order(from: &Type, to: &Type) -> bool {
    let plain = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(None)) || ty == from;
    let widens = from.is_integer() && to.is_integer() && width(from) < width(to);
    widens || (from.is_text() && plain(to) && !matches!(from, Type::Bpchar(_)))
}

/// Whether storage's order of values is SQL's.
pub(crate) fn ordered_bytes(ty: &Type) -> bool {
    !matches!(
        ty,
        Type::Numeric(None)
            | Type::Interval
            | Type::Bpchar(_)
            | Type::Json
            | Type::Jsonb
            | Type::Map(_)
            | Type::Array(_)
            | Type::Record(_)
    )
}

fn width(ty: &Type) -> usize {
    ty.to_arrow().primitive_width().unwrap_or(usize::MAX)
}

/// A value that is the same for the whole statement.
pub(super) fn constant_side(expr: &Expr, context: &Arc<QueryContext>) -> Option<Value> {
    let varies = walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Column(_) | ExprKind::Outer { .. } | ExprKind::Subquery(_) => true,
        ExprKind::Call { function, .. } => registry().volatility(*function) == Volatility::Volatile,
        _ => false,
    });
    if varies { None } else { constant(expr, context).ok() }
}

/// The value in the form of a column that it is compared with, and whether it is still the same value: midnight as a date is. One that is not is the
/// nearest: the casts below keep the order and every value that the column can have, so that no row is lost by comparing with `<=` instead of `<`.
fn near_column(value: &Value, ty: &Type, context: &Arc<QueryContext>) -> Option<(ArrayRef, bool)> {
    if let Some(same) = as_column(value, ty) {
        return Some((same, true));
    }
    // A comparison of a moment with a local time is by definition one with the moment that the local time is.
    let moment = matches!((ty, &value.ty), (Type::Timestamptz, Type::Timestamp | Type::Date));
    let nearest = match ty {
        Type::Timestamp => matches!(value.ty, Type::Date),
        Type::Date => matches!(value.ty, Type::Timestamp),
        Type::Numeric(Some(_)) | Type::Float8 => value.ty.is_integer() || matches!(value.ty, Type::Numeric(_)),
        Type::Int2 | Type::Int4 => matches!(value.ty, Type::Numeric(_) | Type::Float8),
        Type::Int8 | Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => matches!(value.ty, Type::Numeric(_)),
        Type::Float4 => matches!(value.ty, Type::Float8),
        _ => false,
    };
    if !moment && !nearest {
        return None;
    }
    let near = cast(value, ty, context)?;
    let is_same = |back: Value| keys::equal(&value.ty, &back.array, &value.array).is_ok_and(|same| same.value(0));
    let is_exact = moment || cast(&near, &value.ty, context).is_some_and(is_same);
    Some((near.array, is_exact))
}

fn cast(value: &Value, ty: &Type, context: &Arc<QueryContext>) -> Option<Value> {
    let literal = Expr::new(ExprKind::Literal(value.clone()), value.ty.clone());
    let cast = ExprKind::Cast { expr: Box::new(literal), explicit: true, lenient: false };
    constant(&Expr::new(cast, ty.clone()), context).ok()
}

/// The value in the column's own form, if it has one there.
fn as_column(value: &Value, ty: &Type) -> Option<ArrayRef> {
    let arrow = ty.to_arrow();
    if value.array.data_type() == &arrow {
        return Some(value.array.clone());
    }
    if !value.ty.is_integer() || !ty.is_integer() {
        return None;
    }
    cast_with_options(&value.array, &arrow, &CastOptions { safe: false, ..Default::default() }).ok()
}

/// `column LIKE 'abc%'`, and the functions that say so, is at least 'abc' and less than 'abd'.
fn starts_with(function: &str, left: &Expr, other: &Expr, scope: &Scope<'_>) -> Option<Condition> {
    let column = column_of(left, scope.types)?;
    if !scope.types[column].is_text() {
        return None;
    }
    let value = constant_side(other, scope.context).filter(|value| !value.is_null())?;
    let text = value.array.as_string_view_opt()?.value(0);
    let start = match function.to_ascii_lowercase().as_str() {
        "~~" | "like" => pattern::start_of(text),
        "starts_with" | "startswith" | "startswithutf8" | "^@" => text.to_string(),
        _ => return None,
    };
    if start.is_empty() {
        return None;
    }
    let bound = |op: PruneOp, text: &str| -> Condition {
        Prune { column, op, values: Arc::new(StringViewArray::from(vec![text])) }.into()
    };
    let mut found = vec![bound(PruneOp::Ge, &start)];
    found.extend(pattern::after_all(&start).map(|upper| bound(PruneOp::Lt, &upper)));
    all(found)
}
