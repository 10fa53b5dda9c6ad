//! DISTINCT inside a call whose one argument fits a machine word: partitions of (value, group) pairs.
//!
//! Once they are many, pairs go to one of some hundred partitions by their value's hash, unless they were seen a moment ago; a partition that has grown to twice what it
//! held when it was last rid of duplicates is rid of them again, through a hash table that stays in the cache. So a row costs a write and,
//! later, a look-up near by, where one large table costs a miss of the cache; and there is never more than about twice what is distinct. The
//! same partition of several threads has the same values, so that partitions are merged side by side ([`Parts`]). This is the partitioning of Manegold, Boncz and Kersten: "Optimizing Main-Memory Join on Modern Hardware", TKDE 2002.
//!
//! State: the list of the distinct values, as in [`super::distinct`].

use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use arrow::row::Rows;
use weir_sql::Type;

use super::Accumulator;
use super::distinct::divide;
use super::states::{by_group, flatten, lists, rows_that_count};
use crate::error::{Error, Result};
use crate::exec::groups::ABSENT;
use crate::exec::keys::{self, SEED_1, Word, fold};

const PARTITIONS: usize = 256;
/// Pairs that were seen a moment ago.
const RECENT: usize = 1 << 11;
/// A partition of fewer pairs is left alone.
const FEW: usize = 1 << 11;

type Pair<W> = (W, u32);

/// Distinct values before another aggregate.
pub(super) struct DistinctWords<W> {
    pairs: Pairs<W>,
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

pub(super) struct Partition<W> {
    pairs: Vec<Pair<W>>,
    /// How many pairs there were when there were no duplicates; the first ones still are without.
    distinct: usize,
}

/// The same for equal pairs.
fn hash<W: Word>((value, group): Pair<W>) -> u64 {
    fold(value.hash() ^ u64::from(group), SEED_1)
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
        DistinctWords { pairs, inner }
    }
}

impl<W: Word> Pairs<W> {
    fn add(&mut self, values: &ArrayRef, groups: impl Iterator<Item = (usize, u32)>) -> Result<()> {
        let values = keys::normalize(&self.ty, values)?;
        self.words.clear();
        self.words.resize(values.len(), W::default());
        keys::pack(&values, 0, &mut self.words)?;
        let valid = values.nulls().filter(|nulls| nulls.null_count() > 0);
        for (row, group) in groups {
            if valid.is_some_and(|valid| valid.is_null(row)) {
                let at = group as usize;
                self.nulls.resize(self.nulls.len().max(at + 1), false);
                self.nulls[at] = true;
                continue;
            }
            let pair = (self.words[row], group);
            if self.partitions.is_empty() {
                self.young.pairs.push(pair);
                if self.young.is_due() {
                    self.young.settle(&mut self.table);
                    if self.young.pairs.len() > FEW / 2 {
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
            let partition = &mut self.partitions[(pair.0.hash() >> 56) as usize];
            partition.pairs.push(pair);
            if partition.is_due() {
                partition.settle(&mut self.table);
            }
        }
        Ok(())
    }

    /// Begins the partitions.
    fn spread(&mut self) {
        self.recent.resize(RECENT, (W::default(), ABSENT));
        self.partitions.resize_with(PARTITIONS, Partition::default);
        for pair in std::mem::take(&mut self.young).pairs {
            self.partitions[(pair.0.hash() >> 56) as usize].pairs.push(pair);
        }
    }

    /// All values and their groups, in pieces, and forgets them.
    fn take(&mut self) -> impl Iterator<Item = Result<(ArrayRef, Vec<u32>)>> + use<'_, W> {
        let ty = self.ty.to_arrow();
        let nulls = self.take_nulls();
        let null = (!nulls.is_empty()).then(|| Ok((new_null_array(&ty, nulls.len()), nulls)));
        let table = &mut self.table;
        let partitions = self.partitions.iter_mut().chain(std::iter::once(&mut self.young));
        let pieces = partitions.filter(|partition| !partition.pairs.is_empty()).map(move |partition| {
            partition.settle(table);
            std::mem::take(partition).columns(&ty)
        });
        pieces.chain(null)
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

impl<W> Default for Partition<W> {
    fn default() -> Partition<W> {
        Partition { pairs: Vec::new(), distinct: 0 }
    }
}

impl<W: Word> Partition<W> {
    /// Whether it has grown so much that duplicates are worth looking for.
    fn is_due(&self) -> bool {
        self.pairs.len() >= FEW.max(2 * self.distinct) && self.pairs.len() == self.pairs.capacity()
    }

    /// Drops what is there twice.
    fn settle(&mut self, table: &mut Vec<Pair<W>>) {
        if self.pairs.len() == self.distinct {
            return;
        }
        let size = (self.pairs.len() * 2).next_power_of_two();
        table.clear();
        table.resize(size, (W::default(), ABSENT));
        let mut nth = 0;
        let distinct = self.distinct;
        self.pairs.retain(|&pair| {
            let known = nth < distinct;
            nth += 1;
            let mut at = hash(pair) as usize & (size - 1);
            while table[at].1 != ABSENT {
                if !known && table[at] == pair {
                    return false;
                }
                at = (at + 1) & (size - 1);
            }
            table[at] = pair;
            true
        });
        self.distinct = self.pairs.len();
    }
}

impl<W: Word> Partition<W> {
    /// The values and their groups.
    fn columns(self, ty: &DataType) -> Result<(ArrayRef, Vec<u32>)> {
        let values = keys::unpack(ty, self.pairs.len(), |row| self.pairs[row].0.wide(), |_| false)?;
        Ok((values, self.pairs.into_iter().map(|(_, group)| group).collect()))
    }

    /// Adds the pairs of another thread, whose groups have other numbers here, behind what is without duplicates.
    fn append(&mut self, other: Partition<W>, groups: &[u32]) {
        self.pairs.extend(other.pairs.into_iter().map(|(value, group)| (value, groups[group as usize])));
    }
}

/// What several threads found for one call, in parts that are merged side by side.
pub struct Parts {
    partitions: Partitions,
    ty: DataType,
    /// The groups that have a NULL.
    nulls: Vec<u32>,
}

pub(super) enum Partitions {
    Narrow(Vec<Partition<u64>>),
    Wide(Vec<Partition<u128>>),
}

/// Gives a part's distinct values and their groups.
type Settle = Box<dyn FnOnce() -> Result<(ArrayRef, Vec<u32>)> + Send>;

impl Parts {
    /// Adds the parts of another thread; `groups` are the numbers here of its groups.
    pub(crate) fn append(&mut self, other: Parts, groups: &[u32]) -> Result<()> {
        fn append<W: Word>(own: &mut [Partition<W>], others: Vec<Partition<W>>, groups: &[u32]) {
            own.iter_mut().zip(others).for_each(|(own, other)| own.append(other, groups));
        }
        match (&mut self.partitions, other.partitions) {
            (Partitions::Narrow(own), Partitions::Narrow(others)) => append(own, others, groups),
            (Partitions::Wide(own), Partitions::Wide(others)) => append(own, others, groups),
            _ => return Err(Error::internal("one call has one kind of parts")),
        }
        self.nulls.extend(other.nulls.into_iter().map(|group| groups[group as usize]));
        Ok(())
    }

    /// What merges each part.
    pub(crate) fn split(mut self) -> Vec<Settle> {
        fn tasks<W: Word>(partitions: Vec<Partition<W>>, ty: &DataType) -> Vec<Settle> {
            let task = |mut partition: Partition<W>| -> Settle {
                let ty = ty.clone();
                Box::new(move || {
                    partition.settle(&mut Vec::new());
                    partition.columns(&ty)
                })
            };
            partitions.into_iter().filter(|partition| !partition.pairs.is_empty()).map(task).collect()
        }
        let mut tasks = match self.partitions {
            Partitions::Narrow(partitions) => tasks(partitions, &self.ty),
            Partitions::Wide(partitions) => tasks(partitions, &self.ty),
        };
        if !self.nulls.is_empty() {
            self.nulls.sort_unstable();
            self.nulls.dedup();
            tasks.push(Box::new(move || Ok((new_null_array(&self.ty, self.nulls.len()), self.nulls))));
        }
        tasks
    }
}

/// Words that parts are of.
pub(super) trait PartWord: Word {
    fn partitions(partitions: Vec<Partition<Self>>) -> Partitions;
}

impl PartWord for u64 {
    fn partitions(partitions: Vec<Partition<u64>>) -> Partitions {
        Partitions::Narrow(partitions)
    }
}

impl PartWord for u128 {
    fn partitions(partitions: Vec<Partition<u128>>) -> Partitions {
        Partitions::Wide(partitions)
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
        match rows_that_count(None, filter) {
            None => self.pairs.add(&args[0], groups.iter().copied().enumerate()),
            Some(mask) => self.pairs.add(&args[0], mask.set_indices().map(|row| (row, groups[row]))),
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        let (values, owners) = flatten(states, groups)?;
        self.pairs.add(&values[0], owners.into_iter().enumerate())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (mut pieces, mut groups) = (vec![new_empty_array(&self.pairs.ty.to_arrow())], Vec::new());
        for piece in self.pairs.take() {
            let (values, owners) = piece?;
            pieces.push(values);
            groups.extend(owners);
        }
        let values = concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        let (order, lengths) = by_group(&groups, n_groups);
        let values = take(&values, &order, None)?;
        Ok(vec![lists(self.pairs.ty.element_field(), values, &lengths, false)?])
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
        if self.pairs.partitions.is_empty() {
            self.pairs.spread();
        }
        let partitions = std::mem::take(&mut self.pairs.partitions);
        let (ty, nulls) = (self.pairs.ty.to_arrow(), self.pairs.take_nulls());
        Some(Parts { partitions: W::partitions(partitions), ty, nulls })
    }

    fn settled(&mut self, values: ArrayRef, groups: &[u32], n_groups: usize) -> Result<()> {
        self.inner.update(&[values], groups, n_groups, None)
    }

    fn settle(&mut self, n_groups: usize) -> Result<()> {
        self.pairs.take().try_for_each(|piece| {
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
        self.pairs.memory() + self.inner.memory()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::aggregates::count::Count;

    const GROUPS: usize = 3;

    fn set() -> DistinctWords<u64> {
        DistinctWords::new(&Type::Int8, Box::new(Count::default()))
    }

    /// Adds a run of values, many of them twice, so often that partitions are rid of duplicates on the way.
    fn add(set: &mut DistinctWords<u64>, seed: i64, model: &mut HashSet<(u32, i64)>) {
        for batch in 0..60_i64 {
            let value = |row: i64| (batch * 10_000 + row * 7 + seed) % 271_003 * 1_000_003;
            let values: Int64Array = (0..10_000).map(|row| (row % 11 != 0).then(|| value(row))).collect();
            let groups: Vec<u32> = (0..10_000).map(|row| (row % GROUPS) as u32).collect();
            model.extend(groups.iter().zip(&values).filter_map(|(&group, value)| Some((group, value?))));
            set.update(&[Arc::new(values)], &groups, GROUPS, None).expect("it adds");
        }
    }

    #[test]
    fn threads_states_and_parts_count_what_a_set_counts() {
        let counts = |set: &mut DistinctWords<u64>| -> Vec<i64> {
            set.finish(GROUPS).expect("it counts").as_primitive::<Int64Type>().values().to_vec()
        };
        let of = |model: &HashSet<(u32, i64)>| -> Vec<i64> {
            (0..GROUPS as u32).map(|group| model.iter().filter(|(g, _)| *g == group).count() as i64).collect()
        };
        let (mut one, mut model) = (set(), HashSet::new());
        add(&mut one, 0, &mut model);
        assert!(one.memory() < 600_000 * size_of::<Pair<u64>>(), "duplicates are not kept");
        let state = one.state(GROUPS).expect("a state");
        let (mut merged, groups) = (set(), [2, 0, 1]);
        let mut whole: HashSet<(u32, i64)> = model.iter().map(|&(g, v)| (groups[g as usize], v)).collect();
        add(&mut merged, 13, &mut whole);
        merged.merge(&state, &groups, GROUPS).expect("it merges");
        assert_eq!(counts(&mut merged), of(&whole));

        let (mut own, mut other) = (set(), set());
        let (mut whole, mut more) = (HashSet::new(), HashSet::new());
        add(&mut own, 0, &mut whole);
        add(&mut other, 29, &mut more);
        whole.extend(more.iter().map(|&(g, v)| (groups[g as usize], v)));
        let mut parts = own.take_parts().expect("parts");
        parts.append(other.take_parts().expect("parts"), &groups).expect("they are of one kind");
        for task in parts.split() {
            let (values, groups) = task().expect("it settles");
            own.settled(values, &groups, GROUPS).expect("it counts");
        }
        assert_eq!(counts(&mut own), of(&whole));
    }
}
