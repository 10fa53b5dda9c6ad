//! The bound of a top-n: the first key of the n-th best row so far, for all threads and for the scan below.
//!
//! A row whose first key is worse cannot be among the best, whatever its other keys are: it is dropped before these are computed, a scan drops
//! it before it reads other columns, and skips granules all of whose rows are worse. Rows as good as the bound stay.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use parking_lot::RwLock;
use weir_sql::plan::{Expr, ExprKind, Plan, SortKey};
use weir_sql::{Type, Value, walk};
use weir_storage::Zone;

use super::operators::{ordered_bytes, same_order};
use super::runtime_filter::Wanted;
use crate::error::Result;
use crate::functions::Datum;
use crate::kernels::compare::{Comparison, compare, compare_rows};

/// What the best rows have in common. There is no bound before there are n rows, nor while the n-th best is NULL.
pub(crate) struct TopBound {
    ty: Type,
    descending: bool,
    nulls_first: bool,
    nth: RwLock<Option<Value>>,
}

impl TopBound {
    /// The bound of rows in the order of `keys`. `None` if a row that is dropped might have failed instead: then all are computed.
    pub(crate) fn new(keys: &[SortKey]) -> Option<Arc<TopBound>> {
        let first = keys.first().filter(|_| keys.iter().all(|key| cannot_fail(&key.expr)))?;
        let (descending, nulls_first) = (first.descending, first.nulls_first);
        Some(Arc::new(TopBound { ty: first.expr.ty.clone(), descending, nulls_first, nth: RwLock::new(None) }))
    }

    /// Forgets what an earlier run found.
    pub(crate) fn reset(&self) {
        *self.nth.write() = None;
    }

    /// What a scan below may try its rows with.
    pub(crate) fn offer(self: &Arc<TopBound>, keys: &[SortKey], input: &Plan) -> Option<Wanted> {
        Wanted::top(self, &keys.first()?.expr).filter(|_| is_plain(input))
    }

    /// Some thread's n-th best row has this first key. A NULL says nothing.
    pub(crate) fn tighten(&self, key: ArrayRef) {
        if key.is_null(0) {
            return;
        }
        let mut nth = self.nth.write();
        if nth.as_ref().is_none_or(|nth| self.rank(&key, &nth.array).is_lt()) {
            *nth = Some(Value { ty: self.ty.clone(), array: key });
        }
    }

    /// The order of two keys, neither NULL: the better one is less.
    fn rank(&self, key: &ArrayRef, other: &ArrayRef) -> Ordering {
        let order = compare_rows(&self.ty, key, 0, other, 0);
        if self.descending { order.reverse() } else { order }
    }

    /// The rows with these first keys that may be among the best, unless it is all.
    pub(crate) fn passing(&self, keys: &ArrayRef) -> Result<Option<UInt32Array>> {
        let Some(nth) = self.nth.read().clone() else { return Ok(None) };
        let test = if self.descending { Comparison::Ge } else { Comparison::Le };
        let answer = compare(test, &self.ty, &Datum::Array(keys.clone()), &Datum::Scalar(nth), keys.len())?;
        let answer = answer.into_array(keys.len())?;
        let answer = answer.as_boolean();
        let keep = match answer.nulls() {
            None => answer.values().clone(),
            Some(valid) if self.nulls_first => &(answer.values() & valid.inner()) | &!valid.inner(),
            Some(valid) => answer.values() & valid.inner(),
        };
        Ok((keep.count_set_bits() < keys.len()).then(|| keep.set_indices_u32().collect::<Vec<_>>().into()))
    }

    /// Whether no row of a granule can be among the best.
    pub(crate) fn excludes(&self, zone: &Zone) -> bool {
        let Some(nth) = self.nth.read().clone() else { return false };
        let best = self.best(zone);
        self.is_ordered()
            && !(self.nulls_first && zone.null_count > 0)
            && (best.is_null(0) || self.rank(best, &nth.array).is_gt())
    }

    /// The best key of a granule.
    fn best<'z>(&self, zone: &'z Zone) -> &'z ArrayRef {
        if self.descending { &zone.max } else { &zone.min }
    }

    /// Whether storage's order of values is that of the keys. That of floats is not where there is a NaN.
    fn is_ordered(&self) -> bool {
        ordered_bytes(&self.ty) && !matches!(self.ty, Type::Float4 | Type::Float8)
    }

    /// The granules of a scan, those first that have the best keys: the bound is then tight early. It is always the same order.
    pub(crate) fn order(&self, scan: &weir_storage::Scan, column: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..scan.len()).collect();
        if self.is_ordered() {
            let zones: Vec<Option<Zone>> = order.iter().map(|&i| scan.zone(i, column)).collect();
            // What is not known may be anything: it is read first; what has no values, last.
            let place = |zone: &Option<Zone>| zone.as_ref().map_or(0, |zone| 1 + u8::from(self.best(zone).is_null(0)));
            order.sort_by(|&a, &b| match (&zones[a], &zones[b]) {
                (Some(a), Some(b)) if self.best(a).is_valid(0) && self.best(b).is_valid(0) => {
                    self.rank(self.best(a), self.best(b))
                }
                (a, b) => place(a).cmp(&place(b)),
            });
        }
        order
    }
}

/// Whether a plan gives the columns of one scan, and computes nothing for a row that may fail.
fn is_plain(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(scan) => scan.filters.iter().all(cannot_fail),
        Plan::Filter { input, predicate } => cannot_fail(predicate) && is_plain(input),
        Plan::Project { input, exprs, .. } => exprs.iter().all(cannot_fail) && is_plain(input),
        _ => false,
    }
}

/// Whether a cast writes values of one part as text, which every one has.
fn is_written(from: &Type, to: &Type) -> bool {
    matches!(to, Type::Text | Type::Varchar(None)) && !matches!(from, Type::Array(_) | Type::Record(_) | Type::Map(_))
}

/// Whether an expression has a value for every row: columns and constants, comparisons of these, and their texts.
pub(crate) fn cannot_fail(expr: &Expr) -> bool {
    !walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Column(_)
        | ExprKind::Literal(_)
        | ExprKind::And(_)
        | ExprKind::Or(_)
        | ExprKind::Not(_)
        | ExprKind::IsNull(_)
        | ExprKind::InList { .. } => false,
        ExprKind::Cast { expr: inner, .. } => !same_order(&inner.ty, &node.ty) && !is_written(&inner.ty, &node.ty),
        ExprKind::Call { name, .. } => !matches!(name.as_str(), "=" | "<>" | "<" | "<=" | ">" | ">=" | "~~" | "!~~"),
        _ => true,
    })
}
