//! DISTINCT inside a call whose one argument fits a machine word: partitions of (value, group) pairs.
//!
//! Once they are many, pairs go to one of some hundred partitions by their value's hash, unless they were seen a moment ago; a partition that has grown to twice what it
//! held when it was last rid of duplicates is rid of them again, through a hash table that stays in the cache. So a row costs a write and,
//! later, a look-up near by, where one large table costs a miss of the cache; and there is never more than about twice what is distinct. The
//! same partition of several threads has the same values, so that partitions are merged side by side ([`Parts`]). This is the partitioning of Manegold, Boncz and Kersten: "Optimizing Main-Memory Join on Modern Hardware", TKDE 2002.
//!
//! State: the list of the distinct values, as in [`super::distinct`]. Kept for other queries, where values are only counted: [`ValueSets`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::row::Rows;
use weir_sql::Type;

use super::Accumulator;
use super::distinct::divide;
use super::states::{by_group, flatten, lists, rows_that_count};
use super::value_sets::ValueSets;
use super::word_partitions::{Pair, PartWord, Partition, Parts, Settled, hash, partition_of};
use crate::error::Result;
use crate::exec::groups::ABSENT;
use crate::exec::keys::{self, Word};

/// Pairs that were seen a moment ago.
const RECENT: usize = 1 << 11;
/// A partition of fewer pairs is left alone.
const FEW: usize = 1 << 11;
/// So many are in one partition: with a table for twice as many they are near the processor, and no more is made of short queries.
const YOUNG: usize = 1 << 13;

/// Distinct values before another aggregate.
pub(super) struct DistinctWords<W> {
    pairs: Pairs<W>,
    /// Where values are only counted, sets of those that can be had as bits, which may be among the pairs too.
    sets: ValueSets,
    /// Whether they are.
    counted: bool,
    inner: Box<dyn Accumulator>,
}

struct Pairs<W> {
    ty: Type,
    /// All pairs, as long as they are few.
    young: Partition<W>,
    /// None as long as there are few pairs.
    partitions: Vec<Partition<W>>,
    recent: Vec<Pair<W>>,
    /// The groups that have a NULL: which is a value for some aggregates.
    nulls: Vec<bool>,
    words: Vec<W>,
    /// Of a partition's values while it is rid of duplicates: pairs, or no group.
    table: Vec<Pair<W>>,
}

/// Whether an argument of this type is a word, and its values are equal only if their bits are.
pub(super) fn fits<W: Word>(ty: &Type) -> bool {
    !keys::has_variants(ty)
        && !matches!(ty, Type::Float4 | Type::Float8)
        && keys::width(ty).is_some_and(|bits| bits as usize <= size_of::<W>() * 8)
}

impl<W: Word> DistinctWords<W> {
    pub(super) fn new(ty: &Type, inner: Box<dyn Accumulator>) -> DistinctWords<W> {
        let pairs = Pairs {
            ty: ty.clone(),
            young: Partition::default(),
            partitions: Vec::new(),
            recent: Vec::new(),
            nulls: Vec::new(),
            words: Vec::new(),
            table: Vec::new(),
        };
        let counted = size_of::<W>() <= size_of::<u64>() && inner.counts_values();
        DistinctWords { pairs, sets: ValueSets::default(), counted, inner }
    }
}

impl<W: Word> Pairs<W> {
    /// Adds values of groups. Those that sets take are added to them, if there are some.
    fn add(
        &mut self,
        values: &ArrayRef,
        groups: impl Iterator<Item = (usize, u32)>,
        mut sets: Option<&mut ValueSets>,
    ) -> Result<()> {
        let values = keys::normalize(&self.ty, values)?;
        self.words.clear();
        self.words.resize(values.len(), W::default());
        keys::pack(&values, 0, &mut self.words)?;
        let valid = values.nulls().filter(|nulls| nulls.null_count() > 0);
        sets.iter_mut().for_each(|sets| sets.expect(values.len()));
        for (row, group) in groups {
            if valid.is_some_and(|valid| valid.is_null(row)) {
                let at = group as usize;
                self.nulls.resize(self.nulls.len().max(at + 1), false);
                self.nulls[at] = true;
                continue;
            }
            let pair = (self.words[row], group);
            if sets.as_mut().is_some_and(|sets| sets.add_row(pair.0.wide() as u64, group)) {
                continue;
            }
            if self.partitions.is_empty() {
                self.young.pairs.push(pair);
                if self.young.is_due(YOUNG) {
                    self.young.settle(&mut self.table);
                    if self.young.pairs.len() > YOUNG / 2 {
                        if let Some(sets) = &mut sets {
                            sets.begin(self.young.pairs.iter().map(|(word, _)| word.wide() as u64));
                        }
                        self.spread();
                    }
                }
                continue;
            }
            let recent = &mut self.recent[hash(pair) as usize % RECENT];
            if *recent == pair {
                continue;
            }
            *recent = pair;
            let partition = &mut self.partitions[partition_of(pair)];
            partition.pairs.push(pair);
            if partition.is_due(FEW) {
                partition.settle(&mut self.table);
            }
        }
        Ok(())
    }

    /// Begins the partitions.
    fn spread(&mut self) {
        self.recent.resize(RECENT, (W::default(), ABSENT));
        self.partitions = std::mem::take(&mut self.young).spread();
    }

    /// All values and their groups that are in none of some sets, in pieces, and forgets them.
    fn take<'a>(&'a mut self, sets: &'a ValueSets) -> impl Iterator<Item = Result<(ArrayRef, Vec<u32>)>> + use<'a, W> {
        let ty = self.ty.to_arrow();
        self.recent.fill((W::default(), ABSENT));
        let nulls = self.take_nulls();
        let null = (!nulls.is_empty()).then(|| Ok((new_null_array(&ty, nulls.len()), nulls)));
        let table = &mut self.table;
        let partitions = self.partitions.iter_mut().chain(std::iter::once(&mut self.young));
        let pieces = partitions.filter(|partition| !partition.pairs.is_empty()).map(move |partition| {
            let mut partition = std::mem::take(partition);
            partition.settle(table);
            partition.leave_out(sets);
            partition.columns(&ty)
        });
        pieces.chain(null)
    }

    /// How many pairs there are, those that are there twice among them.
    fn len(&self) -> usize {
        self.partitions.iter().chain([&self.young]).map(|partition| partition.pairs.len()).sum()
    }

    /// All groups and values, which stay.
    fn pairs(&mut self) -> Vec<(u32, u64)> {
        let partitions = self.partitions.iter_mut().chain(std::iter::once(&mut self.young));
        let mut all = Vec::new();
        for partition in partitions {
            partition.settle(&mut self.table);
            all.extend(partition.pairs());
        }
        all
    }

    /// Forgets everything.
    fn clear(&mut self) {
        self.young = Partition::default();
        self.partitions.clear();
        self.recent.clear();
        self.nulls.clear();
    }

    /// The groups that have a NULL, and forgets them.
    fn take_nulls(&mut self) -> Vec<u32> {
        let nulls = std::mem::take(&mut self.nulls).into_iter().enumerate().filter(|(_, null)| *null);
        nulls.map(|(group, _)| group as u32).collect()
    }

    fn memory(&self) -> usize {
        let pairs: usize = self.partitions.iter().map(|partition| partition.pairs.capacity()).sum();
        let pairs = pairs + self.young.pairs.capacity() + self.recent.capacity() + self.table.capacity();
        pairs * size_of::<Pair<W>>() + self.words.capacity() * size_of::<W>() + self.nulls.capacity()
    }
}

impl<W: PartWord> Accumulator for DistinctWords<W> {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let sets = self.counted.then_some(&mut self.sets);
        match rows_that_count(None, filter) {
            None => self.pairs.add(&args[0], groups.iter().copied().enumerate(), sets),
            Some(mask) => self.pairs.add(&args[0], mask.set_indices().map(|row| (row, groups[row])), sets),
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        if let Some(kept) = states[0].as_binary_opt::<i64>() {
            return self.sets.merge(kept, groups);
        }
        let (values, owners) = flatten(states, groups)?;
        let sets = self.counted.then_some(&mut self.sets);
        self.pairs.add(&values[0], owners.into_iter().enumerate(), sets)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let mut sets = std::mem::take(&mut self.sets);
        let (values, mut groups) = sets.values()?;
        let ty = self.pairs.ty.to_arrow();
        let mut pieces = vec![keys::unpack(&ty, values.len(), |row| values[row].into(), |_| false)?];
        for piece in self.pairs.take(&sets) {
            let (values, owners) = piece?;
            pieces.push(values);
            groups.extend(owners);
        }
        let values = concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        let (order, lengths) = by_group(&groups, n_groups);
        let values = take(&values, &order, None)?;
        Ok(vec![lists(self.pairs.ty.element_field(), values, &lengths, false)?])
    }

    fn kept_state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        if !self.counted {
            return self.state(n_groups);
        }
        let pairs = self.pairs.pairs();
        if !self.sets.take(pairs)? {
            return self.state(n_groups);
        }
        self.pairs.clear();
        Ok(vec![std::mem::take(&mut self.sets).kept(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.settle(n_groups)?;
        self.inner.finish(n_groups)
    }

    fn is_set(&self) -> bool {
        true
    }

    fn divide(&self, states: &[ArrayRef], parts: usize) -> Result<Vec<Vec<ArrayRef>>> {
        divide(std::slice::from_ref(&self.pairs.ty), states, parts)
    }

    fn take_parts(&mut self) -> Option<Parts> {
        let partitions = match self.pairs.partitions.is_empty() {
            true => vec![std::mem::take(&mut self.pairs.young)],
            false => std::mem::take(&mut self.pairs.partitions),
        };
        let (ty, nulls) = (self.pairs.ty.to_arrow(), self.pairs.take_nulls());
        Some(Parts { partitions: W::partitions(partitions), ty, nulls, sets: std::mem::take(&mut self.sets) })
    }

    fn settled(&mut self, settled: Settled, n_groups: usize) -> Result<()> {
        match settled {
            Settled::Values(values, groups) => self.inner.update(&[values], &groups, n_groups, None),
            Settled::Counts(counts) => {
                let groups: Vec<u32> = (0..n_groups as u32).collect();
                self.inner.merge(&[Arc::new(Int64Array::from(counts))], &groups, n_groups)
            }
        }
    }

    fn settle(&mut self, n_groups: usize) -> Result<()> {
        let mut sets = std::mem::take(&mut self.sets);
        if sets.take_few(self.pairs.len(), || self.pairs.pairs())? {
            self.pairs.clear();
        }
        if !sets.is_empty() {
            self.settled(Settled::Counts(sets.counts(n_groups)?), n_groups)?;
        }
        self.pairs.take(&sets).try_for_each(|piece| {
            let (values, groups) = piece?;
            self.inner.update(&[values], &groups, n_groups, None)
        })
    }

    fn is_sorted(&self) -> bool {
        self.inner.is_sorted()
    }

    fn sort_keys(&self, rows: &[ArrayRef]) -> Result<Rows> {
        self.inner.sort_keys(rows)
    }

    fn in_order(&mut self, rows: &[ArrayRef], groups: &[u32], counts: &[usize]) -> Result<()> {
        self.inner.in_order(rows, groups, counts)
    }

    fn settled_rows(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.inner.state(n_groups)
    }

    fn memory(&self) -> usize {
        self.pairs.memory() + self.sets.memory() + self.inner.memory()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::aggregates::count::Count;

    const GROUPS: usize = 3;

    fn set() -> DistinctWords<u64> {
        DistinctWords::new(&Type::Int8, Box::new(Count::default()))
    }

    /// Adds a run of values so far apart, many of them twice, so often that partitions are rid of duplicates on the way; and some that are far
    /// from all others.
    fn add(set: &mut DistinctWords<u64>, seed: i64, apart: i64, model: &mut HashSet<(u32, i64)>) {
        for batch in 0..60_i64 {
            let near = |row: i64| (batch * 10_000 + row * 7 + seed) % 271_003 * apart;
            let value = |row: i64| if row % 1009 == 0 { -near(row) << 30 } else { near(row) };
            let values: Int64Array = (0..10_000).map(|row| (row % 11 != 0).then(|| value(row))).collect();
            let groups: Vec<u32> = (0..10_000).map(|row| (row % GROUPS) as u32).collect();
            model.extend(groups.iter().zip(&values).filter_map(|(&group, value)| Some((group, value?))));
            set.update(&[Arc::new(values)], &groups, GROUPS, None).expect("it adds");
        }
    }

    #[test]
    fn threads_states_and_parts_count_what_a_set_counts() {
        // As bits, as bits where there is room, and as pairs.
        [1, 97, 1_000_003].into_iter().for_each(check);
    }

    fn counts(set: &mut DistinctWords<u64>) -> Vec<i64> {
        set.finish(GROUPS).expect("it counts").as_primitive::<Int64Type>().values().to_vec()
    }

    fn of(model: &HashSet<(u32, i64)>) -> Vec<i64> {
        (0..GROUPS as u32).map(|group| model.iter().filter(|(g, _)| *g == group).count() as i64).collect()
    }

    fn check(apart: i64) {
        let groups = [2, 0, 1];
        type State = fn(&mut DistinctWords<u64>, usize) -> Result<Vec<ArrayRef>>;
        let states: [State; 2] = [|set, n_groups| set.state(n_groups), |set, n_groups| set.kept_state(n_groups)];
        for state in states {
            let (mut one, mut model) = (set(), HashSet::new());
            add(&mut one, 0, apart, &mut model);
            assert!(one.memory() < 600_000 * size_of::<Pair<u64>>(), "duplicates are not kept");
            let state = state(&mut one, GROUPS).expect("a state");
            let mut merged = set();
            let mut whole: HashSet<(u32, i64)> = model.iter().map(|&(g, v)| (groups[g as usize], v)).collect();
            add(&mut merged, 13, apart, &mut whole);
            merged.merge(&state, &groups, GROUPS).expect("it merges");
            assert_eq!(counts(&mut merged), of(&whole), "{apart}");
        }

        // Another thread may have begun with values that are elsewhere; either may have kept ones too, unread while rows are few.
        check_threads(apart, 50_000, true);
        check_threads(apart, 150_000, false);
    }

    /// Two threads, of which one merges what was kept of others' rows, and may have its own.
    fn check_threads(apart: i64, seed: i64, rows: bool) {
        let groups = [2, 0, 1];
        let (mut own, mut other, mut kept) = (set(), set(), set());
        let (mut whole, mut more) = (HashSet::new(), HashSet::new());
        add(&mut own, 0, apart, &mut whole);
        if !rows {
            let state = own.kept_state(GROUPS).expect("a state");
            own.merge(&state, &[0, 1, 2], GROUPS).expect("it merges");
            let few: Int64Array = (0..50).map(|row| row * 999 * apart).collect();
            whole.extend(few.iter().flatten().map(|value| (1, value)));
            own.update(&[Arc::new(few)], &[1; 50], GROUPS, None).expect("it adds");
        }
        add(&mut kept, seed, apart, &mut more);
        let state = kept.kept_state(GROUPS).expect("a state");
        other.merge(&state, &[0, 1, 2], GROUPS).expect("it merges");
        if rows {
            add(&mut other, 100_000, apart, &mut more);
        }
        whole.extend(more.iter().map(|&(g, v)| (groups[g as usize], v)));
        let mut parts = own.take_parts().expect("parts");
        parts.append(other.take_parts().expect("parts"), &groups).expect("they are of one kind");
        for task in parts.split(GROUPS).expect("tasks") {
            own.settled(task().expect("it settles"), GROUPS).expect("it counts");
        }
        assert_eq!(counts(&mut own), of(&whole), "{apart}");
    }
}
