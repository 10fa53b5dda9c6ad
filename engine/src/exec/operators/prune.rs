//! Which conditions of a scan storage can use: comparisons of a column with a constant, IN, NULL tests and LIKE with a fixed start.
//!
//! They are only hints: every filter is evaluated on the rows as well.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, new_empty_array};
use arrow::compute::{CastOptions, cast_with_options};
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, Value, walk};
use weir_storage::{Condition, Prune, PruneOp};

use crate::exec::context::QueryContext;
use crate::exec::expression::constant;
use crate::functions::registry;

/// What storage can know of the rows for which all of `filters` hold.
pub(crate) fn conditions(filters: &[Expr], types: &[Type], context: &Arc<QueryContext>) -> Vec<Condition> {
    filters.iter().filter_map(|filter| condition(filter, types, context)).collect()
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
    condition(filter, types, context).into_iter().for_each(|one| flatten(one, &mut found));
    found
}

/// What holds for a row for which `expr` is true.
fn condition(expr: &Expr, types: &[Type], context: &Arc<QueryContext>) -> Option<Condition> {
    let on = |column: usize, op: PruneOp, values: ArrayRef| Some(Prune { column, op, values }.into());
    match &expr.kind {
        ExprKind::And(parts) => {
            let all: Vec<Condition> = parts.iter().filter_map(|part| condition(part, types, context)).collect();
            (!all.is_empty()).then_some(Condition::All(all))
        }
        // Of no use unless each branch says something.
        ExprKind::Or(parts) => {
            let any = parts.iter().map(|part| condition(part, types, context)).collect::<Option<Vec<_>>>()?;
            Some(Condition::Any(any))
        }
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
        ExprKind::Call { name, args, .. } => {
            let [left, right] = args.as_slice() else { return None };
            if name == "~~" || name.eq_ignore_ascii_case("like") {
                return starts_with(left, right, types, context);
            }
            let op = comparison(name)?;
            let (column, op, value) = match column_of(left, types) {
                Some(column) => (column, op, constant_side(right, context)?),
                None => (column_of(right, types)?, mirrored(op), constant_side(left, context)?),
            };
            if value.is_null() {
                return None;
            }
            on(column, op, as_column(&value, &types[column])?)
        }
        _ => None,
    }
}

fn comparison(name: &str) -> Option<PruneOp> {
    Some(match name {
        "=" => PruneOp::Eq,
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
            let plain = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(None)) || *ty == inner.ty;
            let widens = from.is_integer() && expr.ty.is_integer() && width(from) < width(&expr.ty);
            let same = from.is_text() && plain(&expr.ty) && !matches!(from, Type::Bpchar(_));
            (widens || same).then_some(column)
        }
        _ => None,
    }
}

/// Whether storage's order of values is SQL's.
fn ordered_bytes(ty: &Type) -> bool {
    !matches!(
        ty,
        Type::Numeric(None)
            | Type::Interval
            | Type::Bpchar(_)
            | Type::Json
            | Type::Jsonb
            | Type::Array(_)
            | Type::Record(_)
    )
}

fn width(ty: &Type) -> usize {
    ty.to_arrow().primitive_width().unwrap_or(usize::MAX)
}

/// A value that is the same for the whole statement.
fn constant_side(expr: &Expr, context: &Arc<QueryContext>) -> Option<Value> {
    let varies = walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Column(_) | ExprKind::Outer { .. } | ExprKind::Subquery(_) => true,
        ExprKind::Call { function, .. } => registry().volatility(*function) == Volatility::Volatile,
        _ => false,
    });
    if varies { None } else { constant(expr, context).ok() }
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

/// `column LIKE 'abc%'` is at least 'abc' and less than 'abd'.
fn starts_with(left: &Expr, pattern: &Expr, types: &[Type], context: &Arc<QueryContext>) -> Option<Condition> {
    let column = column_of(left, types)?;
    if !types[column].is_text() {
        return None;
    }
    let pattern = constant_side(pattern, context)?;
    let text = pattern.array.as_string_view_opt()?;
    if text.is_null(0) {
        return None;
    }
    let text = text.value(0);
    let end = text.find(['%', '_', '\\']).unwrap_or(text.len());
    let start = &text[..end];
    if start.is_empty() {
        return None;
    }
    let bound = |op: PruneOp, text: &str| -> Condition {
        Prune { column, op, values: Arc::new(StringViewArray::from(vec![text])) }.into()
    };
    let mut all = vec![bound(PruneOp::Ge, start)];
    all.extend(after_all(start).map(|upper| bound(PruneOp::Lt, &upper)));
    Some(Condition::All(all))
}

/// The least text that is after all texts with this start; `None` when there is none.
fn after_all(start: &str) -> Option<String> {
    let mut upper: Vec<char> = start.chars().collect();
    while let Some(last) = upper.pop() {
        if let Some(next) = char::from_u32(last as u32 + 1) {
            upper.push(next);
            return Some(upper.into_iter().collect());
        }
    }
    None
}
