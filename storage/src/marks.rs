//! Marks: which rows are deleted, as a set that is cheap to copy and to change a little.
//!
//! Row numbers lie in blocks of 65,536, each a roaring bitmap, under a persistent map. Versions share what they have in common: a
//! mark copies its own block (at most 8 KiB) and a few pointers, however many rows are marked. A block that is read keeps its rows as a
//! list too, two bytes each: scans ask for them again and again.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use crate::map::Map;

/// Bits of a row number within its block.
const BLOCK_BITS: u32 = 16;

/// The low bits of row numbers that have the high ones in common.
#[derive(Debug, Default)]
struct Block {
    bitmap: RoaringBitmap,
    /// The same, ascending, once somebody asked.
    list: OnceLock<List>,
}

/// Rows of a block, ascending.
#[derive(Debug)]
struct List {
    rows: Box<[u16]>,
    /// How many of them come before each stretch, and how many there are.
    before: [u32; STRETCHES + 1],
}

/// Stretches of a block, so that a row's place in the list is not searched for in all of it: most granules begin with one.
const STRETCHES: usize = 64;
const STRETCH_BITS: u32 = BLOCK_BITS - STRETCHES.ilog2();

impl List {
    fn new(bitmap: &RoaringBitmap) -> List {
        let rows: Box<[u16]> = bitmap.iter().map(|low| low as u16).collect();
        let mut before = [0; STRETCHES + 1];
        for &row in &rows {
            before[(row >> STRETCH_BITS) as usize + 1] += 1;
        }
        for stretch in 1..=STRETCHES {
            before[stretch] += before[stretch - 1];
        }
        List { rows, before }
    }

    /// How many rows come before this one.
    fn rank(&self, row: u32) -> usize {
        let stretch = (row >> STRETCH_BITS) as usize;
        let first = self.before[stretch] as usize;
        match self.before.get(stretch + 1) {
            Some(&next) if row & ((1 << STRETCH_BITS) - 1) != 0 => {
                first + self.rows[first..next as usize].partition_point(|&low| u32::from(low) < row)
            }
            _ => first,
        }
    }
}

impl Block {
    fn new(bitmap: RoaringBitmap) -> Block {
        Block { bitmap, list: OnceLock::new() }
    }

    /// The rows in a range.
    fn list(&self, rows: Range<u32>) -> &[u16] {
        let list = self.list.get_or_init(|| List::new(&self.bitmap));
        &list.rows[list.rank(rows.start)..list.rank(rows.end)]
    }
}

/// A set of row numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// By the high bits, the low bits of the rows there. No block is empty.
    blocks: Map<u64, Arc<Block>>,
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
        self.blocks.get(&block).is_some_and(|marked| marked.bitmap.contains(low))
    }

    /// Marks rows, which come in ascending order. Gives the first that was marked already, if one was; the others are marked all the
    /// same.
    pub(crate) fn insert(&mut self, rows: impl Iterator<Item = u64>) -> Option<u64> {
        let mut rows = rows.peekable();
        let mut known = None;
        while let Some(&row) = rows.peek() {
            let (block, _) = split(row);
            let mut bitmap = self.blocks.get(&block).map(|marked| marked.bitmap.clone()).unwrap_or_default();
            while let Some(row) = rows.next_if(|&row| split(row).0 == block) {
                match bitmap.insert(split(row).1) {
                    true => self.len += 1,
                    false => known = known.or(Some(row)),
                }
            }
            self.blocks.insert(block, Arc::new(Block::new(bitmap)));
        }
        known
    }

    /// Marks all rows of a range but some of them, ascending.
    pub(crate) fn all_but(rows: Range<u64>, kept: impl Iterator<Item = u64>) -> Marks {
        let (mut kept, mut marks) = (kept.peekable(), Marks::default());
        let full = Arc::new(Block::new(RoaringBitmap::from_iter(0..1 << BLOCK_BITS)));
        let mut from = rows.start;
        while from < rows.end {
            let (block, low) = split(from);
            let until = rows.end.min(join(block + 1, 0));
            let whole = low == 0 && until == join(block + 1, 0);
            if whole && kept.peek().is_none_or(|&row| row >= until) {
                marks.len += until - from;
                marks.blocks.insert(block, full.clone());
            } else {
                let mut bitmap = RoaringBitmap::new();
                bitmap.insert_range(low..low + (until - from) as u32);
                while let Some(row) = kept.next_if(|&row| row < until) {
                    bitmap.remove(split(row).1);
                }
                if !bitmap.is_empty() {
                    marks.len += bitmap.len();
                    marks.blocks.insert(block, Arc::new(Block::new(bitmap)));
                }
            }
            from = until;
        }
        marks
    }

    /// How many rows in a range are marked.
    pub(crate) fn count(&self, rows: Range<u64>) -> u64 {
        self.pieces(rows).map(|(_, marked, low)| marked.list(low).len() as u64).sum()
    }

    /// The marked rows in a range, ascending.
    pub(crate) fn iter(&self, rows: Range<u64>) -> impl Iterator<Item = u64> {
        self.pieces(rows)
            .flat_map(|(block, marked, low)| marked.list(low).iter().map(move |&low| join(block, low.into())))
    }

    /// The same, counted from the range's start, which is shorter than 2^32.
    pub(crate) fn offsets(&self, rows: Range<u64>) -> Vec<u32> {
        let mut offsets = Vec::new();
        for (block, marked, low) in self.pieces(rows.clone()) {
            // Wraps below zero and back where the block begins before the range.
            let base = join(block, 0).wrapping_sub(rows.start) as u32;
            offsets.extend(marked.list(low).iter().map(|&low| base.wrapping_add(low.into())));
        }
        offsets
    }

    /// The blocks that a range touches: number, rows, and the part of it in question.
    fn pieces(&self, rows: Range<u64>) -> impl Iterator<Item = (u64, &Block, Range<u32>)> {
        let (first, from) = split(rows.start);
        let (last, to) = split(rows.end.max(rows.start));
        self.blocks.range_from(&first).take_while(move |(block, _)| **block <= last).map(move |(&block, marked)| {
            let from = if block == first { from } else { 0 };
            let to = if block == last { to } else { 1 << BLOCK_BITS };
            (block, &**marked, from..to.max(from))
        })
    }

    /// The rows that are marked here and not in `before`, an older version of the same set; ascending.
    pub(crate) fn since<'a>(&'a self, before: &'a Marks) -> impl Iterator<Item = u64> + 'a {
        let changed = self.blocks.iter().filter_map(|(&block, marked)| match before.blocks.get(&block) {
            Some(old) if Arc::ptr_eq(old, marked) => None,
            Some(old) => Some((block, &marked.bitmap - &old.bitmap)),
            None => Some((block, marked.bitmap.clone())),
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
    blocks: Vec<(u64, u64, Arc<Block>)>,
}

impl Ranks {
    pub(crate) fn new(marks: &Marks) -> Ranks {
        let mut before = 0;
        let block = |(&block, marked): (&u64, &Arc<Block>)| {
            before += marked.bitmap.len();
            (block, before - marked.bitmap.len(), marked.clone())
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
                let (number, before, marked) = &self.blocks[at];
                let here = match (*number == block, low.checked_sub(1)) {
                    (false, _) => marked.bitmap.len(),
                    (true, None) => 0,
                    (true, Some(low)) => marked.bitmap.rank(low),
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
                let offsets = marks.offsets(range.clone());
                prop_assert!(offsets.iter().map(|&at| from + u64::from(at)).eq(marks.iter(range.clone())));
                prop_assert_eq!(marks.count(range.clone()), model.range(range).count() as u64);
                prop_assert_eq!(marks.contains(from), model.contains(&from));
                prop_assert_eq!(Ranks::new(&marks).rank(from), model.range(..from).count() as u64);
                prop_assert!(marks.without_before(from).iter(0..u64::MAX).eq(model.range(from..).copied()));
            }
        }
    }
}
