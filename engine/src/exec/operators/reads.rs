//! How a scan's columns are read where they need not be read as they are: what is above looks only at fields of documents (see `fields`), only
//! tells values apart, for which a dictionary's codes will do, only counts those that are not NULL, or only wants the least and the greatest.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use weir_sql::plan::{AggregateCall, Expr, ExprKind, Plan};
use weir_sql::{Type, walk};

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
    /// Columns of which only NULLs are looked at: what is read of them is NULL in the same rows.
    pub(super) nulls: Vec<usize>,
    /// Columns of which only the least and the greatest value are looked at, if all are such: these two may come instead of all rows.
    pub(super) extremes: Vec<usize>,
}

impl Reads {
    /// How an operator reads its input.
    pub(super) fn by(plan: &Plan, context: &Arc<QueryContext>) -> Reads {
        match plan {
            Plan::Project { exprs, .. } => Reads { fields: fields::fields(exprs, context), ..Reads::default() },
            Plan::Aggregate { keys, aggregates, .. } => {
                let mut exprs: Vec<&Expr> = keys.iter().collect();
                let mut uses: BTreeMap<usize, Vec<Use>> = BTreeMap::new();
                let mut note = |expr: &Expr, of: Use| {
                    walk::columns_read(expr).into_iter().for_each(|column| uses.entry(column).or_default().push(of));
                };
                keys.iter().for_each(|key| note(key, if is_text(key) { Use::Apart } else { Use::Value }));
                for call in aggregates {
                    let of = Use::by(call);
                    walk::aggregate_parts(call, &mut |part| {
                        note(part, of);
                        exprs.push(part);
                    });
                }
                let only = |of: Use| {
                    let only = uses.iter().filter(|(_, uses)| uses.iter().all(|other| *other == of));
                    only.map(|(column, _)| *column).collect()
                };
                let is_for_extremes = keys.is_empty() && aggregates.iter().all(|call| Use::by(call) == Use::Extreme);
                let extremes = if is_for_extremes { only(Use::Extreme) } else { Vec::new() };
                Reads {
                    fields: fields::fields(exprs, context),
                    coded: only(Use::Apart),
                    nulls: only(Use::Null),
                    extremes,
                }
            }
            _ => Reads::default(),
        }
    }

    /// The same of the columns that these stand for; those for which there is none are read as they are.
    pub(super) fn map(self, at: impl Fn(usize) -> Option<usize>) -> Reads {
        let fields = self.fields.into_iter().filter_map(|(column, names)| Some((at(column)?, names))).collect();
        let all = |columns: Vec<usize>| columns.into_iter().filter_map(&at).collect();
        Reads { fields, coded: all(self.coded), nulls: all(self.nulls), extremes: all(self.extremes) }
    }
}

/// What is looked at of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Value,
    /// Which values are the same.
    Apart,
    /// Which are NULL.
    Null,
    /// The least or the greatest.
    Extreme,
}

impl Use {
    /// How a call looks at its argument.
    fn by(call: &AggregateCall) -> Use {
        let is_plain = call.filter.is_none() && call.order_by.is_empty() && call.combinator.is_none();
        let is = |name: &str| call.name.eq_ignore_ascii_case(name);
        match call.args.as_slice() {
            [arg] if is_plain && is("count") && call.distinct && is_text(arg) => Use::Apart,
            [arg] if is_plain && is("count") && !call.distinct && is_column(arg) => Use::Null,
            [arg] if is_plain && (is("min") || is("max")) && is_bounded(arg) => Use::Extreme,
            _ => Use::Value,
        }
    }
}

/// Whether an argument is a column whose least and greatest values are kept as they are, which those of texts are not.
fn is_bounded(arg: &Expr) -> bool {
    let is_time = matches!(arg.ty, Type::Date | Type::Timestamp | Type::Timestamptz);
    is_column(arg) && (is_time || arg.ty.is_integer() || matches!(arg.ty, Type::Numeric(Some(_))))
}

/// Whether a key is a column of texts that are told apart by their bytes.
fn is_text(key: &Expr) -> bool {
    is_column(key) && keys::normal_type(&key.ty) == DataType::Utf8View && !keys::has_variants(&key.ty)
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Column(_))
}
