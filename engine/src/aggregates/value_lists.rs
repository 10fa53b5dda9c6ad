//! Sets of words that are kept as sorted lists of their low 32 bits, and counted without being put together.
//!
//! Where a set has few values among many (the users of a minute), a roaring bitmap of it is dozens of containers of a few values each, and the union of
//! some of them is mostly the making of containers. A list takes up to twice the room, and several are counted by setting bits of one bitmap
//! that stays in the cache, group by group.

use std::iter;

use arrow::array::{Array, LargeBinaryArray};
use roaring::RoaringTreemap;

/// A bitmap for counting has at most so many words; values over a wider range are sorted.
const WORDS_MAX: usize = 1 << 17;

/// The first byte of a list's kept form.
const MARK: u8 = 0;

/// Lists of groups, where they were found.
#[derive(Default)]
pub(super) struct ValueLists {
    arrays: Vec<LargeBinaryArray>,
    /// By group: in which array, and where.
    places: Vec<Vec<(u32, u32)>>,
    bytes: usize,
}

/// A list: in its kept form [`MARK`], then the high 32 bits of all its values, then the low ones of each.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    high: u32,
    low: &'a [[u8; 4]],
}

impl<'a> List<'a> {
    /// Appends the kept form of ascending values.
    pub(super) fn write(high: u32, low: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
        out.push(MARK);
        iter::once(high).chain(low).for_each(|word| out.extend(word.to_le_bytes()));
    }

    /// A list, if this is the kept form of one.
    pub(super) fn of(kept: &'a [u8]) -> Option<List<'a>> {
        let (high, low) = kept.strip_prefix(&[MARK])?.as_chunks().0.split_first()?;
        Some(List { high: u32::from_le_bytes(*high), low })
    }

    #[inline]
    fn value(self, low: &[u8; 4]) -> u64 {
        u64::from(self.high) << 32 | u64::from(u32::from_le_bytes(*low))
    }

    /// Its values, ascending.
    #[inline]
    pub(super) fn values(self) -> impl Iterator<Item = u64> {
        self.low.iter().map(move |low| self.value(low))
    }

    fn ends(self) -> impl Iterator<Item = u64> {
        self.low.first().into_iter().chain(self.low.last()).map(move |low| self.value(low))
    }
}

impl ValueLists {
    pub(super) fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Behind the last group that may have some.
    pub(super) fn groups(&self) -> usize {
        self.places.len()
    }

    /// Adds those of an array that are lists; gives where the others are.
    pub(super) fn merge(&mut self, kept: &LargeBinaryArray, groups: &[u32]) -> Vec<usize> {
        let array = self.arrays.len() as u32;
        let (lists, others): (Vec<usize>, _) =
            (0..kept.len()).filter(|&at| kept.is_valid(at)).partition(|&at| List::of(kept.value(at)).is_some());
        for &at in &lists {
            self.bytes += kept.value(at).len() + size_of::<(u32, u32)>();
            self.of_group(groups[at]).push((array, at as u32));
        }
        self.arrays.extend((!lists.is_empty()).then(|| kept.clone()));
        others
    }

    fn of_group(&mut self, group: u32) -> &mut Vec<(u32, u32)> {
        let group = group as usize;
        self.places.resize_with(self.places.len().max(group + 1), Vec::new);
        &mut self.places[group]
    }

    /// Adds another thread's, whose groups have other numbers here.
    pub(super) fn append(&mut self, other: ValueLists, groups: &[u32]) {
        let before = self.arrays.len() as u32;
        self.arrays.extend(other.arrays);
        self.bytes += other.bytes;
        for (places, &group) in other.places.into_iter().zip(groups) {
            self.of_group(group).extend(places.into_iter().map(|(array, at)| (array + before, at)));
        }
    }

    /// A group's lists.
    pub(super) fn of(&self, group: usize) -> Vec<List<'_>> {
        let places = self.places.get(group).into_iter().flatten();
        places.filter_map(|&(array, at)| List::of(self.arrays[array as usize].value(at as usize))).collect()
    }
}

/// Counts what is in one of some lists at least.
#[derive(Default)]
pub(super) struct Union {
    /// All zero between two counts.
    bits: Vec<u64>,
    sorted: Vec<u64>,
}

impl Union {
    /// How many values lists and a set have together.
    pub(super) fn count(&mut self, lists: &[List<'_>], set: Option<&RoaringTreemap>) -> usize {
        let values = || lists.iter().flat_map(|list| list.values()).chain(set.into_iter().flatten());
        let ends = || {
            lists
                .iter()
                .flat_map(|list| list.ends())
                .chain(set.and_then(RoaringTreemap::min))
                .chain(set.and_then(RoaringTreemap::max))
        };
        let (Some(least), Some(greatest)) = (ends().min(), ends().max()) else { return 0 };
        let first = least / 64;
        let words = (greatest / 64 - first + 1) as usize;
        if words > WORDS_MAX {
            self.sorted.clear();
            self.sorted.extend(values());
            self.sorted.sort_unstable();
            self.sorted.dedup();
            return self.sorted.len();
        }
        self.bits.resize(self.bits.len().max(words), 0);
        let bits = &mut self.bits[..words];
        let place = |value: u64| ((value / 64 - first) as usize, 1_u64 << (value % 64));
        let mut count = 0;
        let mut set_bit = |value| {
            let (at, bit) = place(value);
            count += usize::from(bits[at] & bit == 0);
            bits[at] |= bit;
        };
        lists.iter().for_each(|list| list.values().for_each(&mut set_bit));
        set.into_iter().flatten().for_each(set_bit);
        match count < words {
            true => values().for_each(|value| bits[place(value).0] = 0),
            false => bits.fill(0),
        }
        count
    }
}
