//! Partitions of (value, group) pairs, for [`super::distinct_words`]: what each thread has, how duplicates go, and how those of several threads
//! are merged side by side.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;

use super::value_sets::ValueSets;
use crate::error::{Error, Result};
use crate::exec::groups::ABSENT;
use crate::exec::keys::{self, SEED_1, Word, fold};

const PARTITIONS: usize = 256;
/// More young pairs of several threads are merged side by side.
const YOUNG_TOGETHER: usize = 1 << 15;

pub(super) type Pair<W> = (W, u32);

pub(super) struct Partition<W> {
    pub(super) pairs: Vec<Pair<W>>,
    /// How many pairs there were when there were no duplicates; the first ones still are without.
    distinct: usize,
}

/// The same for equal pairs.
pub(super) fn hash<W: Word>((value, group): Pair<W>) -> u64 {
    fold(value.hash() ^ u64::from(group), SEED_1)
}

/// The partition of a pair's value.
pub(super) fn partition_of<W: Word>((value, _): Pair<W>) -> usize {
    (value.hash() >> 56) as usize
}

impl<W> Default for Partition<W> {
    fn default() -> Partition<W> {
        Partition { pairs: Vec::new(), distinct: 0 }
    }
}

impl<W: Word> Partition<W> {
    /// Whether it has grown so much that duplicates are worth looking for, as they are not among few.
    pub(super) fn is_due(&self, few: usize) -> bool {
        self.pairs.len() >= few.max(2 * self.distinct) && self.pairs.len() == self.pairs.capacity()
    }

    /// Its pairs in partitions.
    pub(super) fn spread(self) -> Vec<Partition<W>> {
        let mut partitions = Vec::new();
        partitions.resize_with(PARTITIONS, Partition::default);
        for pair in self.pairs {
            partitions[partition_of(pair)].pairs.push(pair);
        }
        partitions
    }

    /// Drops what is there twice.
    pub(super) fn settle(&mut self, table: &mut Vec<Pair<W>>) {
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

    /// The values and their groups.
    pub(super) fn columns(self, ty: &DataType) -> Result<(ArrayRef, Vec<u32>)> {
        let values = keys::unpack(ty, self.pairs.len(), |row| self.pairs[row].0.wide(), |_| false)?;
        Ok((values, self.pairs.into_iter().map(|(_, group)| group).collect()))
    }

    /// Groups and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u64)> {
        self.pairs.iter().map(|&(value, group)| (group, value.wide() as u64))
    }

    /// Drops what is in sets.
    pub(super) fn leave_out(&mut self, sets: &ValueSets) {
        if !sets.is_empty() {
            self.pairs.retain(|&(value, group)| !sets.has(value.wide() as u64, group));
            self.distinct = self.pairs.len();
        }
    }

    /// Adds the pairs of another thread, whose groups have other numbers here, behind what is without duplicates.
    fn append(&mut self, other: Partition<W>, groups: &[u32]) {
        self.pairs.extend(other.pairs.into_iter().map(|(value, group)| (value, groups[group as usize])));
    }
}

/// What several threads found for one call, in parts that are merged side by side.
pub struct Parts {
    /// One of young pairs, or all.
    pub(super) partitions: Partitions,
    pub(super) ty: DataType,
    /// The groups that have a NULL.
    pub(super) nulls: Vec<u32>,
    pub(super) sets: ValueSets,
}

pub(super) enum Partitions {
    Narrow(Vec<Partition<u64>>),
    Wide(Vec<Partition<u128>>),
}

/// What a part comes to.
pub enum Settled {
    /// Distinct values, and whose they are.
    Values(ArrayRef, Vec<u32>),
    /// How many other values each group has.
    Counts(Vec<i64>),
}

/// Merges a part.
type Settle = Box<dyn FnOnce() -> Result<Settled> + Send>;

impl Parts {
    /// Adds the parts of another thread; `groups` are the numbers here of its groups.
    pub(crate) fn append(&mut self, other: Parts, groups: &[u32]) -> Result<()> {
        fn append<W: Word>(own: &mut Vec<Partition<W>>, mut others: Vec<Partition<W>>, groups: &[u32]) {
            let young = match own.len().cmp(&others.len()) {
                Ordering::Less => Some(&mut *own),
                Ordering::Equal => None,
                Ordering::Greater => Some(&mut others),
            };
            if let Some(young) = young {
                *young = std::mem::take(&mut young[0]).spread();
            }
            own.iter_mut().zip(others).for_each(|(own, other)| own.append(other, groups));
        }
        match (&mut self.partitions, other.partitions) {
            (Partitions::Narrow(own), Partitions::Narrow(others)) => append(own, others, groups),
            (Partitions::Wide(own), Partitions::Wide(others)) => append(own, others, groups),
            _ => return Err(Error::internal("one call has one kind of parts")),
        }
        self.nulls.extend(other.nulls.into_iter().map(|group| groups[group as usize]));
        self.sets.append(other.sets, groups)
    }

    /// What merges each part.
    pub(crate) fn split(mut self, n_groups: usize) -> Result<Vec<Settle>> {
        fn tasks<W: Word>(partitions: Vec<Partition<W>>, ty: &DataType, sets: &Arc<ValueSets>) -> Vec<Settle> {
            let task = |mut partition: Partition<W>| -> Settle {
                let (ty, sets) = (ty.clone(), sets.clone());
                Box::new(move || {
                    partition.settle(&mut Vec::new());
                    partition.leave_out(&sets);
                    let (values, groups) = partition.columns(&ty)?;
                    Ok(Settled::Values(values, groups))
                })
            };
            let partitions = match partitions.as_slice() {
                [young] if young.pairs.len() > YOUNG_TOGETHER => {
                    partitions.into_iter().flat_map(Partition::spread).collect()
                }
                _ => partitions,
            };
            partitions.into_iter().filter(|partition| !partition.pairs.is_empty()).map(task).collect()
        }
        if let Partitions::Narrow(partitions) = &mut self.partitions {
            let count = partitions.iter().map(|partition| partition.pairs.len()).sum();
            if self.sets.take_few(count, || partitions.iter().flat_map(Partition::pairs).collect())? {
                partitions.clear();
            }
        }
        let counts = (!self.sets.is_empty()).then(|| self.sets.counts(n_groups)).transpose()?;
        let sets = Arc::new(self.sets);
        let mut tasks = match self.partitions {
            Partitions::Narrow(partitions) => tasks(partitions, &self.ty, &sets),
            Partitions::Wide(partitions) => tasks(partitions, &self.ty, &sets),
        };
        tasks.extend(counts.map(|counts| -> Settle { Box::new(move || Ok(Settled::Counts(counts))) }));
        if !self.nulls.is_empty() {
            self.nulls.sort_unstable();
            self.nulls.dedup();
            tasks.push(Box::new(move || Ok(Settled::Values(new_null_array(&self.ty, self.nulls.len()), self.nulls))));
        }
        Ok(tasks)
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
