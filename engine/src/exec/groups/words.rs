//! A table of words and their numbers: by hash, or, where the words are integers that lie close together, by what they are.
//!
//! The hash table has linear probing and is at most half full. One that would take more bytes than a number for each integer of the words'
//! range is such an array instead ([`WordTable::direct`]): a look-up is one read then, and nothing is compared. Which of the two it is
//! is asked whenever the table has to grow.

use super::{ABSENT, AHEAD};
use crate::exec::keys::Word;

/// What a slot holds of a word: all of it beside the group's number, or of a long one some bits of its hash, so that a table of many groups
/// is small.
pub(super) trait Slot<W>: Copy {
    const EMPTY: Self;
    fn new(word: W, hash: u64, group: u32) -> Self;
    fn group(self) -> u32;
    fn is(self, word: W, hash: u64, words: &[W]) -> bool;
    /// The word of the slot's group; of an empty slot any.
    fn word(self, words: &[W]) -> W;
}

impl Slot<u64> for (u64, u32) {
    const EMPTY: (u64, u32) = (0, ABSENT);
    #[inline]
    fn new(word: u64, _: u64, group: u32) -> (u64, u32) {
        (word, group)
    }
    #[inline]
    fn group(self) -> u32 {
        self.1
    }
    #[inline]
    fn is(self, word: u64, _: u64, _: &[u64]) -> bool {
        self.1 != ABSENT && self.0 == word
    }
    #[inline]
    fn word(self, _: &[u64]) -> u64 {
        self.0
    }
}

impl Slot<u128> for (u32, u32) {
    const EMPTY: (u32, u32) = (0, ABSENT);
    #[inline]
    fn new(_: u128, hash: u64, group: u32) -> (u32, u32) {
        ((hash >> 32) as u32, group)
    }
    #[inline]
    fn group(self) -> u32 {
        self.1
    }
    #[inline]
    fn is(self, word: u128, hash: u64, words: &[u128]) -> bool {
        self.1 != ABSENT && self.0 == (hash >> 32) as u32 && words[self.1 as usize] == word
    }
    #[inline]
    fn word(self, words: &[u128]) -> u128 {
        words.get((self.1 as usize).min(words.len().wrapping_sub(1))).copied().unwrap_or_default()
    }
}

/// A word that a table may be over.
#[allow(private_interfaces, private_bounds)]
pub(super) trait Keyed: Word {
    type Slot: Slot<Self>;

    /// The word as an integer, if it is one of a kind that may lie close together.
    fn integer(self) -> Option<u64>;
}

impl Keyed for u64 {
    type Slot = (u64, u32);

    #[inline]
    fn integer(self) -> Option<u64> {
        Some(self)
    }
}

impl Keyed for u128 {
    type Slot = (u32, u32);

    #[inline]
    fn integer(self) -> Option<u64> {
        None
    }
}

/// A table over words.
pub(super) struct WordTable<W: Keyed> {
    slots: Vec<W::Slot>,
    /// Instead of the slots the groups of the integers from `base` on; empty where the table is by hash.
    direct: Vec<u32>,
    base: u64,
    /// The least and the greatest word that there may be.
    range: Option<(u64, u64)>,
    words: Vec<W>,
    /// The group of NULL, where that is apart: its word stands for nothing and is in no slot.
    null_group: Option<u32>,
}

impl<W: Keyed> WordTable<W> {
    pub(super) fn new() -> WordTable<W> {
        WordTable { slots: Vec::new(), direct: Vec::new(), base: 0, range: None, words: Vec::new(), null_group: None }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The words of all groups.
    pub(super) fn words(&self) -> &[W] {
        &self.words
    }

    /// The group of NULL, if there is one apart.
    pub(super) fn null_group(&self) -> Option<u32> {
        self.null_group
    }

    /// Makes room for words, so many at the most, and one NULL.
    pub(super) fn reserve(&mut self, words: impl Iterator<Item = W>, most: usize) {
        let own = words.filter_map(W::integer).fold(self.range, |range, word| {
            Some(range.map_or((word, word), |(least, greatest)| (least.min(word), greatest.max(word))))
        });
        let grows = own != self.range;
        self.range = own;
        let slots = ((self.words.len() + most + 1) * 2).next_power_of_two().max(64);
        let is_in_place = match self.direct.is_empty() {
            true => slots <= self.slots.len(),
            false => {
                !grows
                    || own.is_some_and(|(least, greatest)| {
                        self.place(least).max(self.place(greatest)) < self.direct.len()
                    })
            }
        };
        if is_in_place {
            return;
        }
        // Room for as many again beyond the end that moved.
        let span = own.and_then(|(least, greatest)| (greatest - least).checked_add(1)?.checked_next_power_of_two());
        match own.zip(span).filter(|(_, span)| *span <= (slots * size_of::<W::Slot>() / size_of::<u32>()) as u64) {
            Some(((least, greatest), span)) => {
                let moved_down = !self.direct.is_empty() && least < self.base;
                self.base = if moved_down { greatest.saturating_sub(span - 1) } else { least };
                self.fill_direct(span as usize);
            }
            None => self.fill_slots(slots),
        }
    }

    /// Where an integer stands in the array; beyond its end if it has no place.
    #[inline]
    fn place(&self, word: u64) -> usize {
        usize::try_from(word.wrapping_sub(self.base)).unwrap_or(usize::MAX)
    }

    fn fill_direct(&mut self, span: usize) {
        let mut direct = vec![ABSENT; span];
        for (group, word) in (0..).zip(&self.words) {
            if let Some(word) = word.integer().filter(|_| self.null_group != Some(group)) {
                direct[self.place(word)] = group;
            }
        }
        (self.direct, self.slots) = (direct, Vec::new());
    }

    fn fill_slots(&mut self, size: usize) {
        let mask = size - 1;
        let mut slots = vec![W::Slot::EMPTY; size];
        for (group, &word) in (0..).zip(&self.words) {
            if self.null_group == Some(group) {
                continue;
            }
            let hash = word.hash();
            let mut at = hash as usize & mask;
            while slots[at].group() != ABSENT {
                at = (at + 1) & mask;
            }
            slots[at] = W::Slot::new(word, hash, group);
        }
        (self.direct, self.slots) = (Vec::new(), slots);
    }

    /// Of a table by hash.
    #[inline]
    fn find(&self, word: W) -> u32 {
        let (mask, hash) = (self.slots.len() - 1, word.hash());
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.group() == ABSENT || slot.is(word, hash, &self.words) {
                return slot.group();
            }
            at = (at + 1) & mask;
        }
    }

    /// The group of a word, maybe a new one. There must be room: see [`WordTable::reserve`].
    #[inline]
    fn insert(&mut self, word: W) -> u32 {
        let new = self.words.len() as u32;
        if let Some(integer) = word.integer().filter(|_| !self.direct.is_empty()) {
            let place = self.place(integer);
            let group = &mut self.direct[place];
            if *group == ABSENT {
                *group = new;
                self.words.push(word);
            }
            return *group;
        }
        let (mask, hash) = (self.slots.len() - 1, word.hash());
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.group() == ABSENT {
                self.slots[at] = W::Slot::new(word, hash, new);
                self.words.push(word);
                return new;
            }
            if slot.is(word, hash, &self.words) {
                return slot.group();
            }
            at = (at + 1) & mask;
        }
    }

    /// Puts the groups of words into `groups`.
    pub(super) fn insert_all(&mut self, words: &[W], groups: &mut [u32]) {
        self.reserve(words.iter().copied(), words.len());
        let mut last: Option<(W, u32)> = None;
        for (words, groups) in words.chunks(AHEAD).zip(groups.chunks_mut(AHEAD)) {
            // Rows come in the order of the sort key: many in a row may have the same.
            if let Some((word, group)) = last
                && words.iter().all(|other| *other == word)
            {
                groups.fill(group);
                continue;
            }
            match self.direct.is_empty() {
                true => {
                    let first = self.first_slots(words);
                    for ((&word, group), (found, known)) in words.iter().zip(&mut *groups).zip(first) {
                        *group = if found != ABSENT && known == word { found } else { self.insert(word) };
                    }
                }
                false => words.iter().zip(&mut *groups).for_each(|(&word, group)| *group = self.insert(word)),
            }
            last = words.last().copied().zip(groups.last().copied());
        }
    }

    /// The same of the words that stand for a value; the others are NULL.
    pub(super) fn insert_some(&mut self, words: &[W], is_valid: impl Fn(usize) -> bool, groups: &mut [u32]) {
        let valid = words.iter().enumerate().filter(|(i, _)| is_valid(*i)).map(|(_, &word)| word);
        self.reserve(valid, words.len());
        for (i, (group, &word)) in groups.iter_mut().zip(words).enumerate() {
            *group = if is_valid(i) { self.insert(word) } else { self.null() };
        }
    }

    /// Puts the groups of words into `groups`, [`ABSENT`] for those that are not there.
    pub(super) fn find_all(&self, words: &[W], groups: &mut [u32]) {
        if !self.direct.is_empty() {
            for (&word, group) in words.iter().zip(groups) {
                let found = word.integer().and_then(|word| self.direct.get(self.place(word)));
                *group = found.copied().unwrap_or(ABSENT);
            }
            return;
        }
        if self.slots.is_empty() {
            return groups.fill(ABSENT);
        }
        for (words, groups) in words.chunks(AHEAD).zip(groups.chunks_mut(AHEAD)) {
            let first = self.first_slots(words);
            for ((&word, group), (found, known)) in words.iter().zip(groups).zip(first) {
                *group = if found == ABSENT || known == word { found } else { self.find(word) };
            }
        }
    }

    /// The groups and words in the first slots where words may be. All are read before any is decided upon, and without a branch that depends on
    /// one: so the misses of the cache overlap.
    fn first_slots(&self, words: &[W]) -> [(u32, W); AHEAD] {
        let mask = self.slots.len() - 1;
        let mut slots = [W::Slot::EMPTY; AHEAD];
        slots.iter_mut().zip(words).for_each(|(slot, word)| *slot = self.slots[word.hash() as usize & mask]);
        slots.map(|slot| (slot.group(), slot.word(&self.words)))
    }

    /// The group of NULL.
    fn null(&mut self) -> u32 {
        *self.null_group.get_or_insert_with(|| {
            self.words.push(W::default());
            self.words.len() as u32 - 1
        })
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<W::Slot>()
            + self.direct.capacity() * size_of::<u32>()
            + self.words.capacity() * size_of::<W>()
    }
}
