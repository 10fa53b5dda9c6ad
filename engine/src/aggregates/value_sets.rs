//! Sets of words whose values need only be counted, as bitmaps: those of rows as they come ([`DenseSets`]), and those that are kept for other
//! queries.
//!
//! What is kept are roaring bitmaps (Lemire et al., "Roaring Bitmaps: Implementation of an Optimized Software Library", Software: Practice and
//! Experience 48, 2018), in their portable form. Two of them become one container by container, where pairs would be looked up one by one, and the
//! values of a merged one need not be looked at to be counted. Words that are far from each other take more room so than by themselves: what is of
//! such is not kept so. A large one is not even read as long as it is only counted: what else there is of its group is, and what both have.

use std::io::{self, Cursor};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeBinaryArray, LargeBinaryBuilder};
use roaring::{RoaringBitmap, RoaringTreemap};

use super::dense_sets::DenseSets;
use crate::error::{Error, Result};

/// Bytes of a container besides its values, which are all words of the same high 48 bits.
const CONTAINER_BYTES: usize = 16;
/// Bytes of a value in it, if they are few.
const VALUE_BYTES: usize = 2;
/// A set in its kept form stays in it if it has so many bytes; and so many times as many as there are pairs to be counted with it.
const UNREAD_BYTES: usize = 512;
const UNREAD_BYTES_OF_PAIR: usize = 16;

/// Sets of values, by group.
#[derive(Default)]
pub(super) struct ValueSets {
    /// Of rows, if their values are near each other.
    rows: Option<DenseSets>,
    sets: Vec<RoaringTreemap>,
    /// One more of each group in its kept form: an array, and where in it.
    unread: Vec<Option<(LargeBinaryArray, usize)>>,
    /// About what they take: what came, as if no two had a value in common.
    bytes: usize,
}

impl ValueSets {
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.unread.is_empty() && self.rows.as_ref().is_none_or(DenseSets::is_empty)
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
        (0..kept.len()).filter(|&at| kept.is_valid(at)).try_for_each(|at| self.merge_one(kept, at, groups[at]))
    }

    fn merge_one(&mut self, kept: &LargeBinaryArray, at: usize, group: u32) -> Result<()> {
        let bytes = kept.value(at);
        self.bytes += bytes.len();
        self.unread.resize_with(self.unread.len().max(group as usize + 1), || None);
        let unread = &mut self.unread[group as usize];
        // The largest is left.
        let less = match unread {
            Some((kept, at)) if bytes.len() <= kept.value(*at).len() => Some(bytes),
            None if bytes.len() < UNREAD_BYTES => Some(bytes),
            _ => None,
        };
        let set = match less {
            Some(bytes) => read(bytes)?,
            None => match unread.replace((kept.clone(), at)) {
                Some((kept, at)) => read(kept.value(at))?,
                None => return Ok(()),
            },
        };
        self.add(set, group);
        Ok(())
    }

    /// Reads what was left unread.
    fn read_all(&mut self) -> Result<()> {
        let unread = std::mem::take(&mut self.unread).into_iter().zip(0..);
        unread.filter_map(|(unread, group)| Some((unread?, group))).try_for_each(|((kept, at), group)| {
            self.add(read(kept.value(at))?, group);
            Ok(())
        })
    }

    /// Adds another thread's, whose groups have other numbers here.
    pub(super) fn append(&mut self, other: ValueSets, groups: &[u32]) -> Result<()> {
        self.bytes += other.bytes;
        other.sets.into_iter().zip(groups).for_each(|(set, &group)| self.add(set, group));
        for (unread, &group) in other.unread.into_iter().zip(groups) {
            let Some((kept, at)) = unread else { continue };
            self.bytes -= kept.value(at).len();
            self.merge_one(&kept, at, group)?;
        }
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
        Ok(())
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
    pub(super) fn counts(&mut self, n_groups: usize) -> Result<Vec<i64>> {
        if !self.sets.is_empty() || !self.unread.is_empty() {
            self.settle_rows();
        }
        let mut counts: Vec<i64> = self.sets.iter().map(|set| set.len() as i64).collect();
        counts.resize(n_groups, 0);
        for (group, unread) in self.unread.iter().enumerate() {
            let Some((kept, at)) = unread else { continue };
            counts[group] += more_of(kept.value(*at), self.sets.get(group)).map_err(not_kept)?;
        }
        for (group, _, bits) in self.rows.iter().flat_map(DenseSets::blocks) {
            counts[group as usize] += bits.iter().map(|bits| i64::from(bits.count_ones())).sum::<i64>();
        }
        Ok(counts)
    }

    /// The values of all groups, one behind the other, and whose they are.
    pub(super) fn values(&mut self) -> Result<(Vec<u64>, Vec<u32>)> {
        self.settle_rows();
        self.read_all()?;
        let owned = self.sets.iter().zip(0..).flat_map(|(set, group)| set.iter().map(move |value| (value, group)));
        Ok(owned.unzip())
    }

    /// Adds pairs of a group and a value, if bitmaps of them are smaller than lists of the values; whether they were added.
    pub(super) fn take(&mut self, mut pairs: Vec<(u32, u64)>) -> Result<bool> {
        self.settle_rows();
        self.read_all()?;
        pairs.sort_unstable();
        let bytes = bytes_of(&pairs);
        let is_small = bytes <= size_of_val(pairs.as_slice()) / 2;
        if is_small {
            self.add_sorted(&pairs, bytes)?;
        }
        Ok(is_small)
    }

    /// Adds pairs of a group and a value to what is to be counted, if they are so few that with them there is less to be read than without;
    /// whether they were added.
    pub(super) fn take_few(&mut self, count: usize, pairs: impl FnOnce() -> Vec<(u32, u64)>) -> Result<bool> {
        if self.unread.is_empty() {
            return Ok(false);
        }
        let unread: usize = self.unread.iter().flatten().map(|(kept, at)| kept.value(*at).len()).sum();
        if count * UNREAD_BYTES_OF_PAIR > unread {
            self.read_all()?;
            return Ok(false);
        }
        let mut pairs = pairs();
        pairs.sort_unstable();
        pairs.dedup();
        self.add_sorted(&pairs, bytes_of(&pairs))?;
        Ok(true)
    }

    fn add_sorted(&mut self, pairs: &[(u32, u64)], bytes: usize) -> Result<()> {
        self.bytes += bytes;
        for pairs in pairs.chunk_by(|a, b| a.0 == b.0) {
            let set = RoaringTreemap::from_sorted_iter(pairs.iter().map(|&(_, value)| value));
            self.add(set.map_err(|error| Error::internal(error.to_string()))?, pairs[0].0);
        }
        Ok(())
    }

    /// Their kept form, all being read.
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
            for (high, bitmap) in set.bitmaps() {
                bytes.extend(high.to_le_bytes());
                bytes.extend((bitmap.serialized_size() as u32).to_le_bytes());
                bytes.extend(bitmap.len().to_le_bytes());
                bitmap.serialize_into(&mut bytes).map_err(not_kept)?;
            }
            kept.append_value(&bytes);
        }
        Ok(Arc::new(kept.finish()))
    }
}

/// About what bitmaps of sorted pairs take.
fn bytes_of(pairs: &[(u32, u64)]) -> usize {
    let containers = pairs.chunk_by(|a, b| a.0 == b.0 && a.1 >> 16 == b.1 >> 16).count();
    containers * CONTAINER_BYTES + pairs.len() * VALUE_BYTES
}

fn not_kept(error: io::Error) -> Error {
    Error::internal(format!("a kept set of values is not one: {error}"))
}

/// A set's bitmaps in its kept form: the high 32 bits of what is in one, how many values that are, and the bitmap's portable form.
fn bitmaps(mut kept: &[u8]) -> impl Iterator<Item = io::Result<(u32, u64, &[u8])>> {
    std::iter::from_fn(move || {
        let (high, rest) = kept.split_first_chunk()?;
        let mut next = || {
            let (length, rest) = rest.split_first_chunk()?;
            let (count, rest) = rest.split_first_chunk()?;
            let (bitmap, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            kept = rest;
            Some((u32::from_le_bytes(*high), u64::from_le_bytes(*count), bitmap))
        };
        Some(next().ok_or_else(|| {
            kept = &[];
            io::ErrorKind::UnexpectedEof.into()
        }))
    })
}

fn read(kept: &[u8]) -> Result<RoaringTreemap> {
    let bitmap = |found: io::Result<(u32, u64, &[u8])>| {
        let (high, _, bytes) = found?;
        Ok((high, RoaringBitmap::deserialize_unchecked_from(bytes)?))
    };
    let bitmaps = bitmaps(kept).map(bitmap).collect::<io::Result<Vec<_>>>().map_err(not_kept)?;
    Ok(RoaringTreemap::from_bitmaps(bitmaps))
}

/// How many values a set in its kept form has that another lacks.
fn more_of(kept: &[u8], other: Option<&RoaringTreemap>) -> io::Result<i64> {
    let mut more = 0;
    for found in bitmaps(kept) {
        let (high, count, bytes) = found?;
        let same = other.into_iter().flat_map(RoaringTreemap::bitmaps).find(|(key, _)| *key == high);
        let both = match same {
            Some((_, bitmap)) => bitmap.intersection_with_serialized_unchecked(Cursor::new(bytes))?.len(),
            None => 0,
        };
        more += count as i64 - both as i64;
    }
    Ok(more)
}
