//! Comparing what is known of some values (their least and greatest, or all of them) with constants.

use arrow::array::{Array, ArrayRef};

use crate::key::{Key, key_at};
use crate::prune::PruneOp;

/// A comparison with constants, these in order.
pub(crate) struct Comparison<'a> {
    pub(crate) op: PruneOp,
    pub(crate) keys: Vec<Key<'a>>,
}

impl<'a> Comparison<'a> {
    /// A comparison with NULL holds for no row, and NULLs in a list match nothing: they are left out.
    pub(crate) fn new(op: PruneOp, values: &'a ArrayRef) -> Comparison<'a> {
        let mut keys: Vec<Key<'a>> = (0..values.len()).filter_map(|row| key_at(values, row)).collect();
        keys.sort_unstable();
        Comparison { op, keys }
    }

    /// Whether a value between `min` and `max` (`None` where not known) may match.
    pub(crate) fn may_match(&self, min: Option<Key<'_>>, max: Option<Key<'_>>) -> bool {
        let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) else { return false };
        let (Some(min), Some(max)) = (min, max) else { return true };
        match self.op {
            PruneOp::Eq | PruneOp::In => {
                let at = self.keys.partition_point(|key| *key < min);
                self.keys.get(at).is_some_and(|key| *key <= max)
            }
            // Bounds of texts may be cut.
            PruneOp::Ne => min != max || min != *first || !matches!(min, Key::Number(_)),
            PruneOp::Lt => min < *last,
            PruneOp::Le => min <= *last,
            PruneOp::Gt => max > *first,
            PruneOp::Ge => max >= *first,
            PruneOp::IsNull | PruneOp::IsNotNull => true,
        }
    }

    /// Whether this value matches.
    pub(crate) fn holds(&self, value: Key<'_>) -> bool {
        self.may_match(Some(value), Some(value))
    }

    /// The least value that matches, and the greatest.
    pub(crate) fn bounds(&self) -> (Option<Key<'_>>, Option<Key<'_>>) {
        let (first, last) = (self.keys.first().copied(), self.keys.last().copied());
        match self.op {
            PruneOp::Eq | PruneOp::In => (first, last),
            PruneOp::Lt | PruneOp::Le => (None, last),
            PruneOp::Gt | PruneOp::Ge => (first, None),
            PruneOp::Ne | PruneOp::IsNull | PruneOp::IsNotNull => (None, None),
        }
    }
}
