//! The partial states of groups, as columns: what goes from thread to thread, into partitions, and to disk.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::{UInt32Type, UInt64Type};

use super::groups::{Grouping, Groups};
use crate::error::{Error, Result};
use crate::exec::batch::{Batch, array_bytes};
use crate::exec::groups::hash_keys;
use crate::exec::keys;
use crate::exec::spill::{decode, encode};

/// Partitions of groups by hash: 64 take six bits of it.
pub(super) const PARTITIONS: usize = 64;

/// Partial states of groups, as columns; texts among the keys may be in codes of a dictionary.
pub(crate) struct PartialGroups {
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) first: Vec<u64>,
    pub(crate) states: Vec<Vec<ArrayRef>>,
}

impl PartialGroups {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    /// Bytes they hold.
    pub(super) fn bytes(&self) -> usize {
        let arrays = self.keys.iter().chain(self.states.iter().flatten());
        arrays.map(array_bytes).sum::<usize>() + self.first.capacity() * size_of::<u64>()
    }

    /// The same with texts of their own, rather than views of what they were read from.
    pub(super) fn compacted(mut self) -> PartialGroups {
        for key in &mut self.keys {
            if let Some(texts) = key.as_string_view_opt() {
                *key = Arc::new(texts.gc());
            }
        }
        self
    }

    /// The groups of each partition, by bits of the hash of their keys: other bits at every level.
    pub(super) fn by_partition(&self, level: usize, grouping: &Grouping) -> Result<Vec<PartialGroups>> {
        let hashes = hash_keys(&grouping.key_types, &self.keys, self.len())?;
        let partition = |hash: &u64| (hash >> (32 + 6 * level)) as usize % PARTITIONS;
        let mut ends = [0; PARTITIONS];
        hashes.iter().for_each(|hash| ends[partition(hash)] += 1);
        let mut starts = [0; PARTITIONS];
        for at in 1..PARTITIONS {
            starts[at] = starts[at - 1] + ends[at - 1];
        }
        let mut next = starts;
        let mut order = vec![0; self.len()];
        for (row, hash) in (0..).zip(&hashes) {
            let place = &mut next[partition(hash)];
            order[*place] = row;
            *place += 1;
        }
        // All of one partition side by side, so that each is a slice.
        let sorted = self.take(&UInt32Array::from(order))?;
        Ok(starts.iter().zip(ends).map(|(&start, rows)| sorted.slice(start, rows)).collect())
    }

    fn slice(&self, start: usize, rows: usize) -> PartialGroups {
        let all = |columns: &[ArrayRef]| columns.iter().map(|column| column.slice(start, rows)).collect();
        PartialGroups {
            keys: all(&self.keys),
            first: self.first[start..start + rows].to_vec(),
            states: self.states.iter().map(|states| all(states)).collect(),
        }
    }

    /// With keys in no codes.
    pub(super) fn decoded(self) -> Result<PartialGroups> {
        Ok(PartialGroups { keys: keys::decoded(&self.keys)?, ..self })
    }

    /// With keys in no codes but those of dictionaries that were met last.
    pub(super) fn decoded_unless(mut self, last: &mut Vec<ArrayRef>) -> Result<PartialGroups> {
        let is_last = |values: &ArrayRef| last.iter().any(|last| Arc::ptr_eq(last, values));
        let mut met = Vec::new();
        for key in &mut self.keys {
            let Some(coded) = key.as_dictionary_opt::<UInt32Type>() else { continue };
            met.push(coded.values().clone());
            if !is_last(coded.values()) {
                *key = take(coded.values(), coded.keys(), None)?;
            }
        }
        *last = met;
        Ok(self)
    }

    /// Whether keys are in codes of the same dictionaries.
    pub(super) fn is_coded_as(&self, other: &PartialGroups) -> bool {
        self.keys.iter().zip(&other.keys).all(|(own, other)| {
            match (own.as_dictionary_opt::<UInt32Type>(), other.as_dictionary_opt::<UInt32Type>()) {
                (Some(own), Some(other)) => Arc::ptr_eq(own.values(), other.values()),
                (own, other) => own.is_none() && other.is_none(),
            }
        })
    }

    /// Whether the columns of their states are of the same types: what is kept has others.
    pub(super) fn is_typed_as(&self, other: &PartialGroups) -> bool {
        let mut columns = self.states.iter().flatten().zip(other.states.iter().flatten());
        columns.all(|(own, other)| own.data_type() == other.data_type())
    }

    /// All groups of several, with keys in codes of the same dictionaries.
    pub(super) fn concat<P: Borrow<PartialGroups>>(pieces: &[P]) -> Result<PartialGroups> {
        let pieces: Vec<&PartialGroups> = pieces.iter().map(Borrow::borrow).collect();
        let [first, ..] = pieces.as_slice() else { return Err(Error::internal("no groups to put together")) };
        let all = |of: &dyn Fn(&PartialGroups) -> &ArrayRef| -> Result<ArrayRef> {
            let arrays: Vec<&dyn Array> = pieces.iter().map(|piece| of(piece).as_ref()).collect();
            Ok(concat(&arrays)?)
        };
        let key = |at: usize| -> Result<ArrayRef> {
            let Some(coded) = first.keys[at].as_dictionary_opt::<UInt32Type>() else {
                return all(&move |piece| &piece.keys[at]);
            };
            let codes = pieces.iter().map(|piece| piece.keys[at].as_dictionary::<UInt32Type>().keys() as &dyn Array);
            let codes = concat(&codes.collect::<Vec<_>>())?;
            let coded = DictionaryArray::try_new(codes.as_primitive::<UInt32Type>().clone(), coded.values().clone())?;
            Ok(Arc::new(coded))
        };
        let states = |call: usize| -> Result<Vec<ArrayRef>> {
            (0..first.states[call].len()).map(|at| all(&move |piece| &piece.states[call][at])).collect()
        };
        Ok(PartialGroups {
            keys: (0..first.keys.len()).map(key).collect::<Result<_>>()?,
            first: pieces.iter().flat_map(|piece| &piece.first).copied().collect(),
            states: (0..first.states.len()).map(states).collect::<Result<_>>()?,
        })
    }

    /// The groups with parts of their sets.
    pub(super) fn divide(self, parts: usize, groups: &Groups) -> Result<Vec<PartialGroups>> {
        let mut divided: Vec<Vec<Vec<ArrayRef>>> = vec![Vec::new(); parts];
        for (states, accumulator) in self.states.into_iter().zip(&groups.accumulators) {
            if accumulator.is_set() {
                divided.iter_mut().zip(accumulator.divide(&states, parts)?).for_each(|(part, set)| part.push(set));
            } else {
                let nothing = states.iter().map(|s| new_null_array(s.data_type(), s.len())).collect::<Vec<_>>();
                divided.iter_mut().for_each(|part| part.push(nothing.clone()));
            }
        }
        let part = |states| PartialGroups { keys: self.keys.clone(), first: self.first.clone(), states };
        Ok(divided.into_iter().map(part).collect())
    }

    /// All columns, side by side.
    pub(super) fn into_batch(self) -> Batch {
        let rows = self.first.len();
        let mut columns = self.keys;
        columns.push(Arc::new(UInt64Array::from(self.first)));
        columns.extend(self.states.into_iter().flatten());
        Batch::new(columns, rows)
    }

    /// The inverse of [`PartialGroups::into_batch`].
    pub(super) fn from_batch(batch: Batch, grouping: &Grouping) -> Result<PartialGroups> {
        let mut columns = batch.columns.into_iter();
        let keys = columns.by_ref().take(grouping.key_types.len()).collect();
        let Some(first) = columns.next() else { return Err(Error::internal("states on disk lack their positions")) };
        let first = first.as_primitive::<UInt64Type>().values().to_vec();
        let states = grouping.calls.iter().map(|c| columns.by_ref().take(c.state_types().len()).collect()).collect();
        Ok(PartialGroups { keys, first, states })
    }

    /// A copy that shares memory with nothing, its positions counted from `at`; and how many bytes it takes.
    pub(super) fn detached(self, at: u64, grouping: &Grouping) -> Result<(PartialGroups, usize)> {
        let first = self.first.iter().map(|first| first - at).collect();
        let bytes = encode(&PartialGroups { first, ..self }.into_batch())?;
        let copy = PartialGroups::from_batch(decode(&bytes)?, grouping)?;
        let size = bytes.len() + copy.first.len() * size_of::<u64>();
        Ok((copy, size))
    }

    pub(super) fn take(&self, rows: &UInt32Array) -> Result<PartialGroups> {
        let all = |columns: &[ArrayRef]| {
            columns.iter().map(|c| take(c, rows, None)).collect::<std::result::Result<Vec<_>, _>>()
        };
        Ok(PartialGroups {
            keys: all(&self.keys)?,
            first: rows.values().iter().map(|&row| self.first[row as usize]).collect(),
            states: self.states.iter().map(|s| all(s)).collect::<std::result::Result<_, _>>()?,
        })
    }
}
