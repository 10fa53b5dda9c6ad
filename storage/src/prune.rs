//! Pruning: which granules cannot hold a row that matches.
//!
//! First the sparse index over the sort key narrows a part to one run of granules, then the zones (least and greatest value, number of
//! NULLs) of each condition's column drop single granules. A condition that cannot be used (another type, a column without
//! an order) prunes nothing.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, ArrayRef};

use crate::error::Result;
use crate::key::{Key, is_comparable, key_at};
use crate::part::Part;

/// A condition on one column. All conditions of a scan hold for the rows that are wanted; they are hints: rows for which they do
/// not hold may still come.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The column.
    pub column: usize,
    /// The comparison.
    pub op: PruneOp,
    /// What is compared with, in the column's type: one value; any number for [`PruneOp::In`]; none for the NULL tests.
    pub values: ArrayRef,
}

/// The comparison of a [`Prune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneOp {
    /// column = value
    Eq,
    /// column < value
    Lt,
    /// column <= value
    Le,
    /// column > value
    Gt,
    /// column >= value
    Ge,
    /// column is one of the values
    In,
    /// column is NULL
    IsNull,
    /// column is not NULL
    IsNotNull,
}

/// A condition made ready: its values in order.
struct Condition<'a> {
    column: usize,
    op: PruneOp,
    keys: Vec<Key<'a>>,
}

/// What pruning left of a part.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    /// The granules that are left.
    pub(crate) granules: Vec<u32>,
    pub(crate) by_key: usize,
    pub(crate) by_zone: usize,
}

/// The granules of `part` that may hold rows for which all conditions hold.
pub(crate) fn prune(part: &Part, prunes: &[Prune]) -> Result<Pruned> {
    let granules = part.granules()?.len();
    let conditions = conditions(part, prunes)?;
    let by_key = prune_by_key(part, &conditions, granules)?;
    let mut pruned = Pruned { by_key: granules - by_key.len(), ..Pruned::default() };
    pruned.granules = by_key.map(|granule| granule as u32).collect();
    for condition in &conditions {
        let index = part.index(condition.column)?;
        let rows = part.granules()?;
        pruned.granules.retain(|&granule| {
            let at = granule as usize;
            let (nulls, rows) = (index.nulls[at], rows[at]);
            match condition.op {
                PruneOp::IsNull => nulls > 0,
                PruneOp::IsNotNull => nulls < rows,
                _ if nulls == rows => false,
                _ => match &index.zones {
                    Some((min, max)) => condition.may_match(key_at(min, at), key_at(max, at)),
                    None => true,
                },
            }
        });
    }
    pruned.by_zone = granules - pruned.by_key - pruned.granules.len();
    Ok(pruned)
}

/// The conditions that can prune this part.
fn conditions<'a>(part: &Part, prunes: &'a [Prune]) -> Result<Vec<Condition<'a>>> {
    let schema = &part.open()?.footer.schema;
    let mut conditions = Vec::new();
    for prune in prunes {
        let Some(field) = schema.fields().get(prune.column) else { continue };
        let needs_values = !matches!(prune.op, PruneOp::IsNull | PruneOp::IsNotNull);
        if needs_values && (!is_comparable(field) || prune.values.data_type() != field.data_type()) {
            continue;
        }
        // A comparison with NULL holds for no row; NULLs in a list match nothing.
        let values = if needs_values { prune.values.len() } else { 0 };
        let mut keys: Vec<Key<'a>> = (0..values).filter_map(|row| key_at(&prune.values, row)).collect();
        keys.sort_unstable();
        conditions.push(Condition { column: prune.column, op: prune.op, keys });
    }
    Ok(conditions)
}

impl Condition<'_> {
    /// Whether a value between `min` and `max` (`None` where not known) may match.
    fn may_match(&self, min: Option<Key<'_>>, max: Option<Key<'_>>) -> bool {
        let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) else { return false };
        let (Some(min), Some(max)) = (min, max) else { return true };
        match self.op {
            PruneOp::Eq | PruneOp::In => {
                let at = self.keys.partition_point(|key| *key < min);
                self.keys.get(at).is_some_and(|key| *key <= max)
            }
            PruneOp::Lt => min < *last,
            PruneOp::Le => min <= *last,
            PruneOp::Gt => max > *first,
            PruneOp::Ge => max >= *first,
            PruneOp::IsNull | PruneOp::IsNotNull => true,
        }
    }

    /// The least value that matches, and the greatest.
    fn bounds(&self) -> (Option<Key<'_>>, Option<Key<'_>>) {
        let (first, last) = (self.keys.first().copied(), self.keys.last().copied());
        match self.op {
            PruneOp::Eq | PruneOp::In => (first, last),
            PruneOp::Lt | PruneOp::Le => (None, last),
            PruneOp::Gt | PruneOp::Ge => (first, None),
            PruneOp::IsNull | PruneOp::IsNotNull => (None, None),
        }
    }
}

/// The run of granules that the sparse key index leaves. Granule g holds keys from its first key to the first key of g + 1, so
/// two binary searches with the lowest and the highest key prefix that may match give the run.
fn prune_by_key(part: &Part, conditions: &[Condition<'_>], granules: usize) -> Result<Range<usize>> {
    let footer = &part.open()?.footer;
    let (mut low, mut high): (Vec<Key<'_>>, Vec<Key<'_>>) = (Vec::new(), Vec::new());
    for &column in &footer.sort_key {
        if !is_comparable(footer.schema.field(column)) {
            break;
        }
        let bounds = conditions.iter().filter(|condition| condition.column == column).map(Condition::bounds);
        let (from, to) = bounds.fold((None, None), |(from, to): (Option<Key<'_>>, Option<Key<'_>>), (low, high)| {
            (from.max(low), [to, high].into_iter().flatten().min())
        });
        low.extend(from);
        high.extend(to);
        if from.is_none() || from != to {
            break;
        }
    }
    if low.is_empty() && high.is_empty() {
        return Ok(0..granules);
    }
    let keys = part.keys()?;
    // NULL is after every value.
    let compare = |granule: usize, bound: &[Key<'_>]| {
        let parts = bound.iter().zip(keys).map(|(bound, keys)| match key_at(keys, granule) {
            Some(key) => key.cmp(bound),
            None => Ordering::Greater,
        });
        parts.fold(Ordering::Equal, Ordering::then)
    };
    let find = |matches: &dyn Fn(usize) -> bool| {
        let (mut from, mut to) = (0, granules);
        while from < to {
            let middle = (from + to) / 2;
            if matches(middle) { from = middle + 1 } else { to = middle }
        }
        from
    };
    // The first granule whose successor begins at or after the low bound; the first that begins after the high one.
    let from = find(&|granule| granule + 1 < granules && compare(granule + 1, &low) == Ordering::Less);
    let to = find(&|granule| compare(granule, &high) != Ordering::Greater);
    Ok(from.min(to)..to)
}
