//! Which columns are documents of which expressions read only some fields: `properties ->> 'path'`, `JSONExtractInt(properties, 'latency')`.
//!
//! Such a column may be read with those fields alone, where storage can ([`weir_storage::Scan::fields`]): the functions below look at nothing
//! else, so what they give is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, Value, walk};

use super::prune::constant_side;
use crate::exec::context::QueryContext;

/// Functions that look only at the field of the first argument that the second names, or the first step of a path there.
const FIELD: [&str; 20] = [
    "->",
    "->>",
    "#>",
    "#>>",
    "json_extract_path",
    "json_extract_path_text",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "JSONExtract",
    "JSONExtractArrayRaw",
    "JSONExtractBool",
    "JSONExtractFloat",
    "JSONExtractInt",
    "JSONExtractKeysAndValuesRaw",
    "JSONExtractRaw",
    "JSONExtractString",
    "JSONExtractUInt",
    "JSONHas",
    "JSONLength",
    "JSONType",
];

/// Of each column that is read by its fields only, their names.
pub(crate) type Fields = BTreeMap<usize, Vec<String>>;

/// What these expressions read of columns by fields only.
pub(super) fn fields<'e>(exprs: impl IntoIterator<Item = &'e Expr>, context: &Arc<QueryContext>) -> Fields {
    let (mut found, mut whole) = (Fields::new(), Vec::new());
    exprs.into_iter().for_each(|expr| note(expr, context, &mut found, &mut whole));
    found.retain(|column, _| !whole.contains(column));
    found
}

fn note(expr: &Expr, context: &Arc<QueryContext>, found: &mut Fields, whole: &mut Vec<usize>) {
    match &expr.kind {
        ExprKind::Column(column) => whole.push(*column),
        // Their own parts see other columns.
        ExprKind::Lambda(_) | ExprKind::Subquery(_) => whole.extend(walk::columns_read(expr)),
        _ => match field(expr, context) {
            Some((column, name)) => {
                let names = found.entry(column).or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
                if let ExprKind::Call { args, .. } = &expr.kind {
                    args[2..].iter().for_each(|arg| note(arg, context, found, whole));
                }
            }
            None => walk::children(expr, &mut |child| note(child, context, found, whole)),
        },
    }
}

/// The column and the name, if an expression reads a field.
fn field(expr: &Expr, context: &Arc<QueryContext>) -> Option<(usize, String)> {
    let ExprKind::Call { name, args, .. } = &expr.kind else { return None };
    let [document, name_or_path, ..] = args.as_slice() else { return None };
    // Of two arguments the second of JSONExtract is a type.
    let is_type = args.len() == 2 && name.eq_ignore_ascii_case("JSONExtract");
    if is_type || !FIELD.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return None;
    }
    let document = match &document.kind {
        ExprKind::Cast { expr, .. } if matches!(document.ty, Type::Json | Type::Jsonb | Type::Text) => expr,
        _ => document,
    };
    let ExprKind::Column(column) = document.kind else { return None };
    let is_document = document.ty.is_text() || matches!(document.ty, Type::Json | Type::Jsonb);
    Some((column, first_step(&constant_side(name_or_path, context)?)?)).filter(|_| is_document)
}

/// A name, or the first of a list of steps.
fn first_step(value: &Value) -> Option<String> {
    let array = match value.array.as_list_opt::<i32>() {
        Some(list) if list.is_valid(0) => list.value(0),
        Some(_) => return None,
        None => Arc::clone(&value.array),
    };
    let texts = array.as_string_view_opt()?;
    (!texts.is_empty() && texts.is_valid(0)).then(|| texts.value(0).to_string())
}
