//! Marks: which rows are deleted, as a set that is cheap to copy and to change a little.
//!
//! Row numbers lie in blocks of 65,536, each a roaring bitmap, under a persistent map. Versions share what they have in common: a
//! mark copies its own block (at most 8 KiB) and a few pointers, however many rows are marked.

use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::map::Map;

/// Bits of a row number within its block.
const BLOCK_BITS: u32 = 16;

/// A set of row numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// By the high bits, the low bits of the rows there. No block is empty.
    blocks: Map<u64, Arc<RoaringBitmap>>,
    len: u64,
}

fn split(row: u64) -> (u64, u32) {
    (row >> BLOCK_BITS, (row & ((1 << BLOCK_BITS) - 1)) as u32)
}

fn join(block: u64, low: u32) -> u64 {
    block << BLOCK_BITS | u64::from(low)
}

impl Marks {
    /// How many rows are marked.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, row: u64) -> bool {
        let (block, low) = split(row);
        self.blocks.get(&block).is_some_and(|bitmap| bitmap.contains(low))
    }

    /// Marks rows, which come in ascending order. Gives the first that was marked already, if one was; the others are marked all the
    /// same.
    pub(crate) fn insert(&mut self, rows: impl Iterator<Item = u64>) -> Option<u64> {
        let mut rows = rows.peekable();
        let mut known = None;
        while let Some(&row) = rows.peek() {
            let (block, _) = split(row);
            let mut bitmap = self.blocks.get(&block).map(|bitmap| RoaringBitmap::clone(bitmap)).unwrap_or_default();
            while let Some(row) = rows.next_if(|&row| split(row).0 == block) {
                match bitmap.insert(split(row).1) {
                    true => self.len += 1,
                    false => known = known.or(Some(row)),
                }
            }
            self.blocks.insert(block, Arc::new(bitmap));
        }
        known
    }

    /// How many rows in a range are marked.
    pub(crate) fn count(&self, rows: Range<u64>) -> u64 {
        self.pieces(rows).map(|(_, bitmap, low)| bitmap.range_cardinality(low)).sum()
    }

    /// The marked rows in a range, ascending.
    pub(crate) fn iter(&self, rows: Range<u64>) -> impl Iterator<Item = u64> {
        self.pieces(rows).flat_map(|(block, bitmap, low)| bitmap.range(low).map(move |low| join(block, low)))
    }

    /// The blocks that a range touches: number, rows, and the part of it in question.
    fn pieces(&self, rows: Range<u64>) -> impl Iterator<Item = (u64, &RoaringBitmap, Range<u32>)> {
        let (first, from) = split(rows.start);
        let (last, to) = split(rows.end.max(rows.start));
        self.blocks.range_from(&first).take_while(move |(block, _)| **block <= last).map(move |(&block, bitmap)| {
            let from = if block == first { from } else { 0 };
            let to = if block == last { to } else { 1 << BLOCK_BITS };
            (block, &**bitmap, from..to.max(from))
        })
    }

    /// The rows that are marked here and not in `before`, an older version of the same set; ascending.
    pub(crate) fn since<'a>(&'a self, before: &'a Marks) -> impl Iterator<Item = u64> + 'a {
        let changed = self.blocks.iter().filter_map(|(&block, bitmap)| match before.blocks.get(&block) {
            Some(old) if Arc::ptr_eq(old, bitmap) => None,
            Some(old) => Some((block, &**bitmap - &**old)),
            None => Some((block, RoaringBitmap::clone(bitmap))),
        });
        changed.flat_map(|(block, bitmap)| bitmap.into_iter().map(move |low| join(block, low)))
    }

    /// The set without the rows before `first`.
    pub(crate) fn without_before(&self, first: u64) -> Marks {
        let mut marks = Marks::default();
        marks.insert(self.iter(first..u64::MAX));
        marks
    }
}

/// Marks made ready for counting those before a row.
#[derive(Debug)]
pub(crate) struct Ranks {
    marks: Marks,
    /// The blocks in order: number, marks before it, its marks.
    blocks: Vec<(u64, u64, Arc<RoaringBitmap>)>,
}

impl Ranks {
    pub(crate) fn new(marks: &Marks) -> Ranks {
        let mut before = 0;
        let block = |(&block, bitmap): (&u64, &Arc<RoaringBitmap>)| {
            before += bitmap.len();
            (block, before - bitmap.len(), bitmap.clone())
        };
        let blocks = marks.blocks.iter().map(block).collect();
        Ranks { marks: marks.clone(), blocks }
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How many rows before `row` are marked.
    pub(crate) fn rank(&self, row: u64) -> u64 {
        let (block, low) = split(row);
        match self.blocks.partition_point(|(number, ..)| *number <= block).checked_sub(1) {
            None => 0,
            Some(at) => {
                let (number, before, bitmap) = &self.blocks[at];
                let here = match (*number == block, low.checked_sub(1)) {
                    (false, _) => bitmap.len(),
                    (true, None) => 0,
                    (true, Some(low)) => bitmap.rank(low),
                };
                before + here
            }
        }
    }

    /// The same; `None` when the row itself is marked.
    pub(crate) fn rank_living(&self, row: u64) -> Option<u64> {
        (!self.marks.contains(row)).then(|| self.rank(row))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set(
            steps in prop::collection::vec(prop::collection::btree_set(0u64..300_000, 0..40), 0..20),
            ranges in prop::collection::vec((0u64..300_000, 0u64..200_000), 1..10),
        ) {
            let (mut marks, mut model) = (Marks::default(), BTreeSet::new());
            for rows in steps {
                let (old, before) = (marks.clone(), model.clone());
                let known = rows.iter().copied().find(|row| model.contains(row));
                prop_assert_eq!(marks.insert(rows.iter().copied()), known);
                model.extend(rows.iter().copied());
                prop_assert_eq!(marks.len(), model.len() as u64);
                prop_assert!(old.iter(0..u64::MAX).eq(before.iter().copied()));
                prop_assert!(marks.since(&old).eq(model.difference(&before).copied()));
            }
            for (from, length) in ranges {
                let range = from..from + length;
                prop_assert!(marks.iter(range.clone()).eq(model.range(range.clone()).copied()));
                prop_assert_eq!(marks.count(range.clone()), model.range(range).count() as u64);
                prop_assert_eq!(marks.contains(from), model.contains(&from));
                prop_assert_eq!(Ranks::new(&marks).rank(from), model.range(..from).count() as u64);
                prop_assert!(marks.without_before(from).iter(0..u64::MAX).eq(model.range(from..).copied()));
            }
        }
    }
}
