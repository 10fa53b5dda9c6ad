//! Moved rows: where a flush or merge has put each row, kept in memory for a while.
//!
//! A flush or merge works for seconds while rows that it takes may be deleted. Nobody waits for it, and it is not done again: the
//! committer, which has the exact state, translates the marks that came since it began to the new part ([`Late`]), and the log has
//! the outcome. And a commit may name rows by where they were in its snapshot: those are followed through the [`Recent`] moves.
//!
//! A flush keeps the new row number of each living row, a merge for each output row the number of the input it came from: since a merge
//! keeps each input's order, the j-th living row of input i is at the j-th output row that has i. Counts every [`BLOCK`] rows make that
//! a short search.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::def::PartId;
use crate::marks::{Marks, Ranks};

/// Rows of new parts, by part.
pub(crate) type PartRows = BTreeMap<PartId, RoaringBitmap>;

/// Output rows of a merge between two counts.
const BLOCK: usize = 4096;
/// Moves are remembered this long…
const AGE_MAX: Duration = Duration::from_secs(60);
/// …at most so many…
const MOVES_MAX: usize = 1024;
/// …and so many bytes of all tables together.
const BYTES_MAX: usize = 128 << 20;

/// What becomes of marks that come while a flush or merge runs.
#[derive(Debug, Clone)]
pub(crate) enum Late {
    /// They are these rows of the new parts: what the log has.
    Marks(PartRows),
    /// They are translated when the commit is applied.
    Moved(Arc<Moved>),
    /// There must be no more marks than so many: rows were folded, and nobody knows which were.
    Refused {
        /// Marks on the rows taken when it began.
        seen: u64,
    },
}

/// What one flush or merge moved.
#[derive(Debug)]
pub(crate) enum Moved {
    /// By partition.
    Flush(Vec<(Arc<str>, Flushed)>),
    Merge(Merged),
}

/// The rows of one partition that a flush took.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// Their sequence numbers.
    pub(crate) rows: Range<u64>,
    /// Those that were deleted before.
    deleted: Ranks,
    /// The new number of each of the others, in order; `None` when that is their order.
    to: Option<Vec<u32>>,
    /// The new part; `None` when no row was alive.
    part: Option<PartId>,
}

impl Flushed {
    /// `order` has for each new row its number among the living ones before; `None` when they are the same.
    pub(crate) fn new(rows: Range<u64>, deleted: &Marks, order: Option<&[u32]>, part: Option<PartId>) -> Flushed {
        let to = order.map(|order| {
            let mut to = vec![0; order.len()];
            for (new, &old) in order.iter().enumerate() {
                to[old as usize] = new as u32;
            }
            to
        });
        Flushed { rows, deleted: Ranks::new(deleted), to, part }
    }

    /// The sequence numbers that have been deleted since.
    pub(crate) fn late<'a>(&'a self, now: &'a Marks) -> impl Iterator<Item = u64> + 'a {
        now.since(self.deleted.marks()).skip_while(|row| *row < self.rows.start).take_while(|row| *row < self.rows.end)
    }

    /// Adds where rows of these sequence numbers are now. `None` when one of them had been deleted before.
    pub(crate) fn translate(&self, rows: impl Iterator<Item = u64>, into: &mut PartRows) -> Option<()> {
        let before = self.deleted.rank(self.rows.start);
        for row in rows {
            let living = (row - self.rows.start) - (self.deleted.rank_living(row)? - before);
            let to = self.to.as_ref().map_or(living as u32, |to| to[living as usize]);
            into.entry(self.part?).or_default().insert(to);
        }
        Some(())
    }
}

/// What a merge did.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The parts, with the rows that were deleted before.
    inputs: Vec<(PartId, Ranks)>,
    /// For each new row the number of its input; empty when there is but one.
    from: Vec<u8>,
    /// How many rows each input has given before each block of new rows: a line for a block.
    counts: Vec<u32>,
    /// The new part; `None` when no row was alive.
    part: Option<PartId>,
}

impl Merged {
    pub(crate) fn new(inputs: Vec<(PartId, Ranks)>, from: Vec<u8>, part: Option<PartId>) -> Merged {
        let from = if inputs.len() == 1 { Vec::new() } else { from };
        let mut sums = vec![0; inputs.len()];
        let mut counts = Vec::with_capacity(from.len() / BLOCK * inputs.len());
        for block in from.chunks(BLOCK) {
            counts.extend_from_slice(&sums);
            block.iter().for_each(|&input| sums[input as usize] += 1);
        }
        Merged { inputs, from, counts, part }
    }

    /// The number of the input that was this part.
    pub(crate) fn input(&self, part: PartId) -> Option<usize> {
        self.inputs.iter().position(|(id, _)| *id == part)
    }

    /// The rows of a part that have been deleted since.
    pub(crate) fn late<'a>(&'a self, part: PartId, now: &'a Marks) -> impl Iterator<Item = u32> + 'a {
        let before = self.inputs.iter().find(|(id, _)| *id == part);
        before.into_iter().flat_map(|(_, before)| now.since(before.marks())).map(|row| row as u32)
    }

    /// Adds where rows of one of the parts are now, ascending. `None` when it is none of the parts, or one row had been
    /// deleted before.
    pub(crate) fn translate(&self, part: PartId, rows: impl Iterator<Item = u32>, into: &mut PartRows) -> Option<()> {
        let input = self.input(part)?;
        let deleted = &self.inputs[input].1;
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Some(());
        }
        let to = into.entry(self.part?).or_default();
        // The block at hand: its number, and how many of the input's rows come before the output row at `at`.
        let (mut block, mut at, mut seen) = (usize::MAX, 0, 0);
        for row in rows {
            let living = u64::from(row) - deleted.rank_living(row.into())?;
            let living = living as u32;
            if self.from.is_empty() {
                to.insert(living);
                continue;
            }
            let of = self.block_of(input, living);
            if of != block {
                (block, at, seen) = (of, of * BLOCK, self.counts[of * self.inputs.len() + input]);
            }
            loop {
                let mine = *self.from.get(at)? as usize == input;
                if mine && seen == living {
                    break;
                }
                seen += u32::from(mine);
                at += 1;
            }
            to.insert(at as u32);
        }
        Some(())
    }

    /// The block of output rows with the j-th row of an input.
    fn block_of(&self, input: usize, j: u32) -> usize {
        let width = self.inputs.len();
        let (mut low, mut high) = (0, self.counts.len() / width);
        // The last block before which the input has given at most j rows.
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.counts[middle * width + input] <= j { low = middle } else { high = middle }
        }
        low
    }
}

impl Moved {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        match self {
            Moved::Flush(partitions) => {
                let of = |flushed: &Flushed| 256 + 4 * flushed.to.as_ref().map_or(0, Vec::len);
                partitions.iter().map(|(_, flushed)| of(flushed)).sum()
            }
            Moved::Merge(merged) => 256 * merged.inputs.len() + merged.from.len() + 4 * merged.counts.len(),
        }
    }
}

/// The last moves of all tables: what keeps them in memory.
#[derive(Debug, Default)]
pub(crate) struct Moves(Mutex<VecDeque<(Instant, Arc<Moved>)>>);

impl Moves {
    /// Remembers a move.
    pub(crate) fn push(&self, moved: Arc<Moved>) {
        self.0.lock().push_back((Instant::now(), moved));
        self.forget(Instant::now());
    }

    /// Forgets what is old or too much.
    pub(crate) fn forget(&self, now: Instant) {
        let mut moves = self.0.lock();
        let mut bytes: usize = moves.iter().map(|(_, moved)| moved.bytes()).sum();
        while let Some((at, oldest)) = moves.front()
            && (now.duration_since(*at) > AGE_MAX || moves.len() > MOVES_MAX || bytes > BYTES_MAX)
        {
            bytes -= oldest.bytes();
            moves.pop_front();
        }
    }
}

/// The last moves of a table, oldest first, as far as [`Moves`] keeps them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Arc<Vec<Weak<Moved>>>);

impl Recent {
    /// Adds a move.
    pub(crate) fn push(&mut self, moved: &Arc<Moved>) {
        let moves = Arc::make_mut(&mut self.0);
        moves.retain(|moved| moved.strong_count() > 0);
        moves.push(Arc::downgrade(moved));
    }

    /// Adds where rows are now that a head had, by sequence number; `None` when that is not known, or one had been deleted.
    pub(crate) fn of_head(&self, partition: &str, rows: &RoaringTreemap, into: &mut PartRows) -> Option<()> {
        let mut found = 0;
        for moved in self.0.iter().filter_map(Weak::upgrade) {
            let Moved::Flush(partitions) = &*moved else { continue };
            for (_, flushed) in partitions.iter().filter(|(name, _)| **name == *partition) {
                let mut here = RoaringTreemap::new();
                here.insert_range(flushed.rows.clone());
                here &= rows;
                found += here.len();
                flushed.translate(here.iter(), into)?;
            }
        }
        (found == rows.len()).then_some(())
    }

    /// Adds where rows are now that were in a part; `None` when that is not known, or one had been deleted.
    pub(crate) fn of_part(&self, part: PartId, rows: &RoaringBitmap, into: &mut PartRows) -> Option<()> {
        self.0.iter().rev().filter_map(Weak::upgrade).find_map(|moved| match &*moved {
            Moved::Merge(merged) if merged.input(part).is_some() => Some(merged.translate(part, rows.iter(), into)),
            _ => None,
        })?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks(rows: impl Iterator<Item = u64>) -> Marks {
        let mut marks = Marks::default();
        marks.insert(rows);
        marks
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_row_of_a_merge_is_found(
            // For each new row its input, and for each old row whether it had been deleted.
            from in prop::collection::vec(0u8..3, 1..10_000),
            dead in prop::collection::vec(any::<bool>(), 1..50),
        ) {
            let ids = [PartId(5), PartId(9), PartId(2)];
            let mut inputs = Vec::new();
            let mut old_rows: Vec<Vec<u32>> = Vec::new();
            for input in 0..3u8 {
                let (mut old, mut gone, mut row) = (Vec::new(), Vec::new(), 0u32);
                let living = from.iter().filter(|&&other| other == input).count();
                while old.len() < living {
                    if dead[(row as usize + input as usize) % dead.len()] && row % 7 != 0 { gone.push(row) } else { old.push(row) }
                    row += 1;
                }
                inputs.push((ids[input as usize], Ranks::new(&marks(gone.into_iter().map(u64::from)))));
                old_rows.push(old);
            }
            let merged = Merged::new(inputs, from.clone(), Some(PartId(77)));
            for input in 0..3usize {
                let expected: Vec<u32> = (0..from.len() as u32).filter(|&new| from[new as usize] as usize == input).collect();
                let mut all = PartRows::new();
                prop_assert!(merged.translate(ids[input], old_rows[input].iter().copied(), &mut all).is_some());
                prop_assert!(all[&PartId(77)].iter().eq(expected.iter().copied()));
                // One by one, from behind.
                for (&old, &new) in old_rows[input].iter().zip(&expected).rev().step_by(97) {
                    let mut one = PartRows::new();
                    merged.translate(ids[input], [old].into_iter(), &mut one).unwrap();
                    prop_assert_eq!(one[&PartId(77)].min(), Some(new));
                }
            }
            prop_assert!(merged.translate(PartId(1), [0].into_iter(), &mut PartRows::new()).is_none());
        }
    }

    #[test]
    fn rows_of_a_flush_are_found() {
        // Sequence numbers 100..106; 101 was deleted, 90 too, but that is another flush's.
        let deleted = marks([90, 101].into_iter());
        let flushed = Flushed::new(100..106, &deleted, Some(&[4, 2, 0, 1, 3]), Some(PartId(3)));
        let mut into = PartRows::new();
        flushed.translate([100, 103, 105].into_iter(), &mut into).unwrap();
        assert_eq!(into[&PartId(3)].iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(flushed.translate([101].into_iter(), &mut into).is_none());
        let now = marks([90, 101, 104, 106].into_iter());
        assert_eq!(flushed.late(&now).collect::<Vec<_>>(), [104]);
        let moved = Arc::new(Moved::Flush(vec![("p".into(), flushed)]));
        let mut recent = Recent::default();
        recent.push(&moved);
        let rows = |rows: &[u64]| rows.iter().copied().collect::<RoaringTreemap>();
        assert!(recent.of_head("p", &rows(&[100, 105]), &mut into).is_some());
        assert!(recent.of_head("p", &rows(&[99]), &mut into).is_none(), "moved too long ago");
        assert!(recent.of_head("q", &rows(&[100]), &mut into).is_none());
    }

    #[test]
    fn old_moves_are_forgotten() {
        let (moves, mut recent) = (Moves::default(), Recent::default());
        for id in 0..MOVES_MAX as u64 + 5 {
            let merged =
                Merged::new(vec![(PartId(id), Ranks::new(&Marks::default()))], Vec::new(), Some(PartId(id + 1)));
            let moved = Arc::new(Moved::Merge(merged));
            recent.push(&moved);
            moves.push(moved);
        }
        let one = RoaringBitmap::from_iter([0]);
        let knows = |recent: &Recent, id| recent.of_part(PartId(id), &one, &mut PartRows::new()).is_some();
        assert!(!knows(&recent, 4) && knows(&recent, 5));
        moves.forget(Instant::now() + AGE_MAX + Duration::from_secs(1));
        assert!(!knows(&recent, MOVES_MAX as u64));
    }
}
