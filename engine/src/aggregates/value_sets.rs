//! Sets of words whose values need only be counted, as bitmaps: those of rows as they come ([`DenseSets`]), and those that are kept for other
//! queries.
//!
//! What is kept are roaring bitmaps (Lemire et al., "Roaring Bitmaps: Implementation of an Optimized Software Library", Software: Practice and
//! Experience 48, 2018), in their portable form. Two of them become one container by container, where pairs would be looked up one by one, and the
//! values of a merged one need not be looked at to be counted. Words that are far from each other take more room so than by themselves: what is of
//! such is not kept so.

use std::sync::Arc;

use arrow::array::{ArrayRef, LargeBinaryArray, LargeBinaryBuilder};
use roaring::{RoaringBitmap, RoaringTreemap};

use super::dense_sets::DenseSets;
use crate::error::{Error, Result};

/// Bytes of a container besides its values, which are all words of the same high 48 bits.
const CONTAINER_BYTES: usize = 16;
/// Bytes of a value in it, if they are few.
const VALUE_BYTES: usize = 2;

/// Sets of values, by group.
#[derive(Default)]
pub(super) struct ValueSets {
    /// Of rows, if their values are near each other.
    rows: Option<DenseSets>,
    sets: Vec<RoaringTreemap>,
    /// About what they take: what came, as if no two had a value in common.
    bytes: usize,
}

impl ValueSets {
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.rows.as_ref().is_none_or(DenseSets::is_empty)
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes + self.rows.as_ref().map_or(0, DenseSets::memory)
    }

    /// Takes rows' values from now on, where they are like these.
    pub(super) fn begin(&mut self, values: impl Iterator<Item = u64> + Clone) {
        self.rows = self.rows.take().or_else(|| DenseSets::for_words(values));
    }

    /// Says that the values of so many rows come.
    pub(super) fn expect(&mut self, count: usize) {
        self.rows.iter_mut().for_each(|rows| rows.expect(count));
    }

    /// Adds a row's value; false if it is not taken.
    #[inline]
    pub(super) fn add_row(&mut self, value: u64, group: u32) -> bool {
        self.rows.as_mut().is_some_and(|rows| rows.add(value, group))
    }

    pub(super) fn has(&self, value: u64, group: u32) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.has(value, group))
            || self.sets.get(group as usize).is_some_and(|set| set.contains(value))
    }

    /// Adds sets in their kept form to groups.
    pub(super) fn merge(&mut self, kept: &LargeBinaryArray, groups: &[u32]) -> Result<()> {
        for (&group, bytes) in groups.iter().zip(kept).filter_map(|(group, bytes)| Some((group, bytes?))) {
            let set = RoaringTreemap::deserialize_unchecked_from(bytes);
            let set = set.map_err(|error| Error::internal(format!("a kept set of values is not one: {error}")))?;
            self.bytes += bytes.len();
            self.add(set, group);
        }
        Ok(())
    }

    /// Adds another thread's, whose groups have other numbers here.
    pub(super) fn append(&mut self, other: ValueSets, groups: &[u32]) {
        self.bytes += other.bytes;
        other.sets.into_iter().zip(groups).for_each(|(set, &group)| self.add(set, group));
        match (&mut self.rows, other.rows) {
            (_, None) => {}
            (Some(rows), Some(others)) => {
                let blocks = others.blocks().map(|(group, first, bits)| (groups[group as usize], first, bits));
                let far: Vec<_> = blocks.filter(|&(group, first, bits)| !rows.merge(group, first, bits)).collect();
                far.into_iter().for_each(|(group, first, bits)| self.add_bits(group, first, bits));
            }
            (None, Some(others)) => {
                others.blocks().for_each(|(group, first, bits)| self.add_bits(groups[group as usize], first, bits));
            }
        }
    }

    /// Has what came of rows in bitmaps that can be kept.
    fn settle_rows(&mut self) {
        if let Some(rows) = self.rows.take() {
            rows.blocks().for_each(|(group, first, bits)| self.add_bits(group, first, bits));
        }
    }

    fn add_bits(&mut self, group: u32, first: u64, bits: &[u64]) {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let set = RoaringBitmap::from_lsb0_bytes(first as u32, &bytes);
        self.bytes += set.serialized_size();
        self.add(RoaringTreemap::from_bitmaps([((first >> 32) as u32, set)]), group);
    }

    fn add(&mut self, set: RoaringTreemap, group: u32) {
        let at = group as usize;
        self.sets.resize_with(self.sets.len().max(at + 1), RoaringTreemap::new);
        match self.sets[at].is_empty() {
            true => self.sets[at] = set,
            false => self.sets[at] |= set,
        }
    }

    /// How many values each group has.
    pub(super) fn counts(&mut self, n_groups: usize) -> Vec<i64> {
        if !self.sets.is_empty() {
            self.settle_rows();
        }
        let mut counts: Vec<i64> = self.sets.iter().map(|set| set.len() as i64).collect();
        counts.resize(n_groups, 0);
        for (group, _, bits) in self.rows.iter().flat_map(DenseSets::blocks) {
            counts[group as usize] += bits.iter().map(|bits| i64::from(bits.count_ones())).sum::<i64>();
        }
        counts
    }

    /// The values of all groups, one behind the other, and whose they are.
    pub(super) fn values(&mut self) -> (Vec<u64>, Vec<u32>) {
        self.settle_rows();
        let owned = self.sets.iter().zip(0..).flat_map(|(set, group)| set.iter().map(move |value| (value, group)));
        owned.unzip()
    }

    /// Adds pairs of a group and a value, if bitmaps of them are smaller than lists of the values; whether they were added.
    pub(super) fn take(&mut self, mut pairs: Vec<(u32, u64)>) -> Result<bool> {
        self.settle_rows();
        pairs.sort_unstable();
        let containers = pairs.chunk_by(|a, b| a.0 == b.0 && a.1 >> 16 == b.1 >> 16).count();
        let bytes = containers * CONTAINER_BYTES + pairs.len() * VALUE_BYTES;
        if bytes > size_of_val(pairs.as_slice()) / 2 {
            return Ok(false);
        }
        self.bytes += bytes;
        for pairs in pairs.chunk_by(|a, b| a.0 == b.0) {
            let set = RoaringTreemap::from_sorted_iter(pairs.iter().map(|&(_, value)| value));
            self.add(set.map_err(|error| Error::internal(error.to_string()))?, pairs[0].0);
        }
        Ok(true)
    }

    /// Their kept form.
    pub(super) fn kept(&self, n_groups: usize) -> Result<ArrayRef> {
        let sizes = self.sets.iter().map(RoaringTreemap::serialized_size);
        let mut kept = LargeBinaryBuilder::with_capacity(n_groups, sizes.sum());
        let mut bytes = Vec::new();
        for group in 0..n_groups {
            let Some(set) = self.sets.get(group).filter(|set| !set.is_empty()) else {
                kept.append_null();
                continue;
            };
            bytes.clear();
            let written = set.serialize_into(&mut bytes);
            written.map_err(|error| Error::internal(format!("a set of values cannot be kept: {error}")))?;
            kept.append_value(&bytes);
        }
        Ok(Arc::new(kept.finish()))
    }
}
