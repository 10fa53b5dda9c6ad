//! How a scan's columns are read where they need not be read as they are: what is above looks only at fields of documents (see `fields`), or
//! only tells values apart, for which a dictionary's codes will do.

use std::sync::Arc;

use arrow::datatypes::DataType;
use weir_sql::Type;
use weir_sql::plan::{Expr, ExprKind, Plan};
use weir_sql::walk;

use super::fields::{self, Fields};
use crate::exec::context::QueryContext;
use crate::exec::keys;

/// Columns that may be read otherwise than as they are, by number.
#[derive(Default)]
pub(super) struct Reads {
    /// Documents of which these fields are enough.
    pub(super) fields: Fields,
    /// Texts that may come as a dictionary's values and codes, where they are kept so.
    pub(super) coded: Vec<usize>,
}

impl Reads {
    /// How an operator reads its input.
    pub(super) fn by(plan: &Plan, context: &Arc<QueryContext>) -> Reads {
        match plan {
            Plan::Project { exprs, .. } => Reads { fields: fields::fields(exprs, context), coded: Vec::new() },
            Plan::Aggregate { keys, aggregates, .. } => {
                let mut exprs: Vec<&Expr> = keys.iter().collect();
                aggregates.iter().for_each(|call| walk::aggregate_parts(call, &mut |part| exprs.push(part)));
                let fields = fields::fields(exprs.iter().copied(), context);
                exprs.retain(|expr| !is_key(expr, keys));
                let read: Vec<usize> = exprs.into_iter().flat_map(walk::columns_read).collect();
                let coded = keys.iter().filter(|key| is_text(&key.ty)).filter_map(column);
                Reads { fields, coded: coded.filter(|column| !read.contains(column)).collect() }
            }
            _ => Reads::default(),
        }
    }

    /// The same of the columns that these stand for; those for which there is none are read as they are.
    pub(super) fn map(self, at: impl Fn(usize) -> Option<usize>) -> Reads {
        let fields = self.fields.into_iter().filter_map(|(column, names)| Some((at(column)?, names)));
        Reads { fields: fields.collect(), coded: self.coded.into_iter().filter_map(at).collect() }
    }
}

/// Whether this is one of the keys and nothing but a column.
fn is_key(expr: &Expr, keys: &[Expr]) -> bool {
    column(expr).is_some() && keys.iter().any(|key| std::ptr::eq(key, expr))
}

fn column(expr: &Expr) -> Option<usize> {
    match expr.kind {
        ExprKind::Column(column) => Some(column),
        _ => None,
    }
}

/// Whether values are texts that are told apart by their bytes.
fn is_text(ty: &Type) -> bool {
    keys::normal_type(ty) == DataType::Utf8View && !keys::has_variants(ty)
}
