//! Texts and bytes as keys: hashed as they are, short ones by their views alone; those that come as codes of a dictionary once for each of its
//! values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, DictionaryArray, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::UInt32Type;

use super::{ABSENT, AHEAD, RUN, fold_hash, hash_bytes};
use crate::exec::keys::Word;
use crate::kernels::views::ViewMemo;

/// Texts or bytes: views into chunks of the table's own bytes.
pub(super) struct TextTable {
    is_text: bool,
    slots: Vec<(u32, u32)>,
    pub(super) views: Vec<u128>,
    hashes: Vec<u32>,
    full: Vec<Buffer>,
    chunk: Vec<u8>,
    bytes: usize,
    null_group: Option<u32>,
    /// The groups of the last dictionary's values, as far as they were met.
    coded: Option<(ArrayRef, Vec<u32>)>,
}

const CHUNK: usize = 1 << 20;

/// Of a code: its text's group is being found.
const PENDING: u32 = ABSENT - 1;

#[inline]
fn view_hash(view: u128, bytes: impl FnOnce() -> u64) -> u32 {
    let hash = if view as u32 <= 12 { view.hash() } else { bytes() };
    fold_hash(hash)
}

/// The bytes of texts, or bytes as they are.
pub(super) fn bytes_of(column: &ArrayRef) -> BinaryViewArray {
    match column.as_string_view_opt() {
        Some(texts) => texts.clone().to_binary_view(),
        None => column.as_binary_view().clone(),
    }
}

impl TextTable {
    /// An empty table for texts, or for bytes.
    pub(super) fn new(is_text: bool) -> TextTable {
        TextTable {
            is_text,
            slots: Vec::new(),
            views: Vec::new(),
            hashes: Vec::new(),
            full: Vec::new(),
            chunk: Vec::new(),
            bytes: 0,
            null_group: None,
            coded: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    fn reserve(&mut self, more: usize) {
        let need = (self.views.len() + more) * 2;
        if need <= self.slots.len() {
            return;
        }
        let size = need.next_power_of_two().max(64);
        let mask = size - 1;
        let mut slots = vec![(0, ABSENT); size];
        for (group, &hash) in self.hashes.iter().enumerate() {
            if self.null_group == Some(group as u32) {
                continue;
            }
            let mut at = hash as usize & mask;
            while slots[at].1 != ABSENT {
                at = (at + 1) & mask;
            }
            slots[at] = (hash, group as u32);
        }
        self.slots = slots;
    }

    /// The bytes of a view that is not inline.
    fn bytes_of(&self, view: u128) -> &[u8] {
        let (buffer, offset, len) = ((view >> 64) as u32 as usize, (view >> 96) as usize, view as u32 as usize);
        let bytes: &[u8] = self.full.get(buffer).map_or(&self.chunk, |b| b.as_slice());
        &bytes[offset..offset + len]
    }

    #[inline]
    fn same(&self, group: u32, view: u128, bytes: &[u8]) -> bool {
        let own = self.views[group as usize];
        if own as u64 != view as u64 {
            return false; // length and first four bytes
        }
        if view as u32 <= 12 { own == view } else { self.bytes_of(own) == bytes }
    }

    #[inline]
    fn find(&self, hash: u32, view: u128, bytes: &[u8]) -> (usize, u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (tag, group) = self.slots[at];
            if group == ABSENT || (tag == hash && self.same(group, view, bytes)) {
                return (at, group);
            }
            at = (at + 1) & mask;
        }
    }

    fn store(&mut self, view: u128, bytes: &[u8]) -> u128 {
        if view as u32 <= 12 {
            return view;
        }
        if self.chunk.len() + bytes.len() > CHUNK && !self.chunk.is_empty() {
            self.full.push(Buffer::from_vec(std::mem::take(&mut self.chunk)));
        }
        let offset = self.chunk.len() as u128;
        self.chunk.extend_from_slice(bytes);
        self.bytes += bytes.len();
        (view as u64 as u128) | ((self.full.len() as u128) << 64) | (offset << 96)
    }

    /// Groups of the rows that are not NULL; those of others mean nothing.
    pub(super) fn intern_valid(&mut self, texts: &ArrayRef, groups: &mut [u32]) {
        self.intern_column(texts, groups, false);
    }

    pub(super) fn intern(&mut self, texts: &ArrayRef, groups: &mut [u32]) {
        self.intern_column(texts, groups, true);
    }

    fn intern_column(&mut self, texts: &ArrayRef, groups: &mut [u32], null_too: bool) {
        match texts.as_dictionary_opt() {
            Some(coded) => self.intern_codes(coded, groups, null_too),
            None => self.intern_rows(&bytes_of(texts), groups, null_too),
        }
    }

    fn intern_codes(&mut self, coded: &DictionaryArray<UInt32Type>, groups: &mut [u32], null_too: bool) {
        let (entries, codes) = (coded.values(), coded.keys().values());
        let texts = bytes_of(entries);
        let nulls = coded.nulls().filter(|n| n.null_count() > 0);
        let (dictionary, mut known) = match self.coded.take() {
            Some((dictionary, known)) if Arc::ptr_eq(&dictionary, entries) => (dictionary, known),
            _ => (entries.clone(), vec![ABSENT; entries.len()]),
        };
        for ((codes, groups), start) in codes.chunks(RUN).zip(groups.chunks_mut(RUN)).zip((0..).step_by(RUN)) {
            let mut all_known = true;
            for (group, &code) in groups.iter_mut().zip(codes) {
                *group = known[code as usize];
                all_known &= *group != ABSENT;
            }
            if all_known && (!null_too || nulls.is_none() || self.null_group.is_some()) {
                continue;
            }
            // New groups are numbered in the order of their first rows.
            self.reserve(RUN.min(entries.len()) + 1);
            let mut fresh = Vec::new();
            let number = |table: &mut TextTable, fresh: &mut Vec<u32>, known: &mut Vec<u32>| {
                table.number(&texts, fresh, |code, group| known[code as usize] = group);
                fresh.clear();
            };
            let is_null = |i: usize| nulls.is_some_and(|n| n.is_null(start + i));
            for (i, &code) in codes.iter().enumerate() {
                if is_null(i) {
                    if null_too && self.null_group.is_none() {
                        number(self, &mut fresh, &mut known);
                        self.null();
                    }
                } else if known[code as usize] == ABSENT {
                    known[code as usize] = PENDING;
                    fresh.push(code);
                }
            }
            number(self, &mut fresh, &mut known);
            groups.iter_mut().zip(codes).for_each(|(group, &code)| *group = known[code as usize]);
        }
        if let (Some(group), Some(nulls), true) = (self.null_group, nulls, null_too) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = group);
        }
        self.coded = Some((dictionary, known));
    }

    fn intern_rows(&mut self, texts: &BinaryViewArray, groups: &mut [u32], null_too: bool) {
        let (views, rows) = (texts.views(), texts.len());
        let nulls = texts.nulls().filter(|n| n.null_count() > 0);
        let is_null = |row: usize| nulls.is_some_and(|n| n.is_null(row));
        // For each view the row that it was first met in: equal views are equal texts.
        let mut memo = ViewMemo::new();
        let (mut firsts, mut fresh) = (Vec::with_capacity(RUN), Vec::with_capacity(RUN));
        for run in (0..rows).step_by(RUN).map(|start| start..rows.min(start + RUN)) {
            self.reserve(RUN + 1);
            firsts.clear();
            for row in run.clone() {
                let mut first = row as u32;
                if !is_null(row) {
                    first = memo.get(views[row], || row as u32);
                    if first == row as u32 {
                        fresh.push(first);
                    }
                } else if null_too && self.null_group.is_none() {
                    self.number(texts, &fresh, |row, group| groups[row as usize] = group);
                    fresh.clear();
                    self.null();
                }
                firsts.push(first);
            }
            self.number(texts, &fresh, |row, group| groups[row as usize] = group);
            fresh.clear();
            for (row, &first) in run.zip(&firsts) {
                groups[row] = groups[first as usize];
            }
        }
        if let (Some(group), Some(nulls), true) = (self.null_group, nulls, null_too) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = group);
        }
    }

    /// Says the groups of the texts in these rows, none of them NULL. There must be room for them.
    fn number(&mut self, texts: &BinaryViewArray, rows: &[u32], mut say: impl FnMut(u32, u32)) {
        let text = |row: u32| {
            let view = texts.views()[row as usize];
            (view, if view as u32 > 12 { texts.value(row as usize) } else { &[] })
        };
        let mut hashes = [0; AHEAD];
        for rows in rows.chunks(AHEAD) {
            for (hash, &row) in hashes.iter_mut().zip(rows) {
                let (view, bytes) = text(row);
                *hash = view_hash(view, || hash_bytes(bytes));
            }
            self.read_ahead(&hashes[..rows.len()]);
            for (&hash, &row) in hashes.iter().zip(rows) {
                let (view, bytes) = text(row);
                say(row, self.group(hash, view, bytes));
            }
        }
    }

    /// Reads what tells whether texts of these hashes are there, so that the misses of the cache overlap which each look-up alone would wait for.
    fn read_ahead(&self, hashes: &[u32]) {
        let mask = self.slots.len() - 1;
        let mut groups = [0; AHEAD];
        for (group, &hash) in groups.iter_mut().zip(hashes) {
            let (tag, found) = self.slots[hash as usize & mask];
            *group = if tag == hash { found } else { ABSENT };
        }
        let mut views = [0; AHEAD];
        for (view, &group) in views.iter_mut().zip(&groups) {
            // Without a branch: whether it is there is not foreseen.
            let last = self.views.len().wrapping_sub(1);
            let known = self.views.get(last.min(group as usize)).copied().unwrap_or_default();
            *view = if group == ABSENT { 0 } else { known };
        }
        let ends = |bytes: &[u8]| bytes[0] ^ bytes[bytes.len() - 1];
        let read =
            views.iter().filter(|view| **view as u32 > 12).fold(0, |read, &view| read ^ ends(self.bytes_of(view)));
        std::hint::black_box(read);
    }

    /// The group of a text. There must be room for it.
    fn group(&mut self, hash: u32, view: u128, bytes: &[u8]) -> u32 {
        let (at, group) = self.find(hash, view, bytes);
        if group != ABSENT {
            return group;
        }
        let group = self.views.len() as u32;
        self.slots[at] = (hash, group);
        let own = self.store(view, bytes);
        self.views.push(own);
        self.hashes.push(hash);
        group
    }

    /// The group of NULL.
    fn null(&mut self) -> u32 {
        *self.null_group.get_or_insert_with(|| {
            self.views.push(0);
            self.hashes.push(0);
            self.views.len() as u32 - 1
        })
    }

    pub(super) fn lookup_valid(&self, texts: &ArrayRef, groups: &mut [u32]) {
        let texts = bytes_of(texts);
        let views = texts.views();
        let mut memo = ViewMemo::new();
        for row in 0..texts.len() {
            if self.slots.is_empty() || texts.is_null(row) {
                groups[row] = ABSENT;
                continue;
            }
            let view = views[row];
            groups[row] = memo.get(view, || {
                let bytes = if view as u32 > 12 { texts.value(row) } else { &[] };
                self.find(view_hash(view, || hash_bytes(bytes)), view, bytes).1
            });
        }
    }

    pub(super) fn lookup(&self, texts: &ArrayRef, groups: &mut [u32]) {
        self.lookup_valid(texts, groups);
        if let (Some(group), Some(nulls)) = (self.null_group, texts.nulls()) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = group);
        }
    }

    /// Texts, or bytes, by views of this table.
    pub(super) fn column(&self, views: Vec<u128>, nulls: Option<NullBuffer>) -> ArrayRef {
        let mut buffers = self.full.clone();
        buffers.push(Buffer::from_slice_ref(&self.chunk));
        let (views, nulls) = (ScalarBuffer::from(views), nulls.filter(|n| n.null_count() > 0));
        // SAFETY: every view is inline or was made by `store`, which points it into one of these buffers at bytes that in a table of texts are
        // those of a valid `str`; this skips a UTF-8 check of all keys.
        unsafe {
            match self.is_text {
                true => Arc::new(StringViewArray::new_unchecked(views, buffers.into(), nulls)),
                false => Arc::new(BinaryViewArray::new_unchecked(views, buffers.into(), nulls)),
            }
        }
    }

    pub(super) fn texts(&self) -> ArrayRef {
        let nulls =
            self.null_group.map(|group| NullBuffer::from_iter((0..self.views.len()).map(|i| i as u32 != group)));
        self.column(self.views.clone(), nulls)
    }

    pub(super) fn memory(&self) -> usize {
        let coded = self.coded.as_ref().map_or(0, |(_, known)| known.capacity() * 4);
        self.slots.capacity() * 8 + self.views.capacity() * 20 + self.bytes + coded
    }
}
