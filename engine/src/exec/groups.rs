//! Group tables: keys to dense group numbers.
//!
//! One algorithm with three ways to hold a key. Columns of fixed width are *packed* into one 64- or 128-bit word; a text column
//! of a packed key is first interned by a table of its own, so that its part of the word is 32 bits; a single text is hashed as what it is;
//! whatever does not fit (long keys, arrays, numerics) goes through Arrow's row encoding. Hash tables are open addressing with linear
//! probing at a load of at most a half, and hold the key (or its hash) beside the group number, so that a hit touches one line.
//!
//! Keys are normalised ([`keys::normalize`](super::keys)) and NULL equals NULL; a join leaves NULL rows out itself. Hashes are the same in
//! every run: the order of results does not change from one to the next.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::row::RowConverter;
use weir_sql::Type;

use super::keys::{self, Word, fold};
use crate::error::Result;

/// Not a group: what a lookup gives for a key that is not there.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Keys and their numbers.
pub(crate) struct GroupTable {
    types: Vec<Type>,
    kind: Kind,
}

enum Kind {
    /// No keys: one group.
    One(bool),
    Narrow(Packed<u64>),
    Wide(Packed<u128>),
    Text(TextTable),
    Rows(RowTable),
}

impl GroupTable {
    /// An empty table for keys of these types.
    pub(crate) fn new(types: &[Type]) -> Result<GroupTable> {
        let kind = if types.is_empty() {
            Kind::One(false)
        } else if types.len() == 1 && is_view_text(&types[0]) {
            Kind::Text(TextTable::default())
        } else {
            match Layout::of(types) {
                Some((layout, bits)) if bits <= 64 => Kind::Narrow(Packed::new(layout)),
                Some((layout, _)) => Kind::Wide(Packed::new(layout)),
                None => Kind::Rows(RowTable::new(types)?),
            }
        };
        Ok(GroupTable { types: types.to_vec(), kind })
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        match &self.kind {
            Kind::One(there) => usize::from(*there),
            Kind::Narrow(table) => table.table.len(),
            Kind::Wide(table) => table.table.len(),
            Kind::Text(table) => table.len(),
            Kind::Rows(table) => table.len(),
        }
    }

    /// Puts each row's group number into `groups`; new keys become new groups, numbered in the order of their first rows.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        groups.clear();
        groups.resize(rows, 0);
        match &mut self.kind {
            Kind::One(there) => *there |= rows > 0,
            Kind::Narrow(table) => table.intern(columns, groups)?,
            Kind::Wide(table) => table.intern(columns, groups)?,
            Kind::Text(table) => table.intern(columns[0].as_string_view(), groups),
            Kind::Rows(table) => table.intern(columns, groups)?,
        }
        Ok(())
    }

    /// Makes the one group of a table without keys, which is there even over no rows.
    pub(crate) fn ensure_one(&mut self) {
        if let Kind::One(there) = &mut self.kind {
            *there = true;
        }
    }

    /// Puts each row's group number into `groups`, [`ABSENT`] where the key is not there.
    pub(crate) fn lookup(&self, columns: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        groups.clear();
        groups.resize(rows, 0);
        match &self.kind {
            Kind::One(there) => groups.fill(if *there { 0 } else { ABSENT }),
            Kind::Narrow(table) => table.lookup(columns, groups)?,
            Kind::Wide(table) => table.lookup(columns, groups)?,
            Kind::Text(table) => table.lookup(columns[0].as_string_view(), groups),
            Kind::Rows(table) => table.lookup(columns, groups)?,
        }
        Ok(())
    }

    /// The (normalised) keys of all groups.
    pub(crate) fn keys(&self) -> Result<Vec<ArrayRef>> {
        match &self.kind {
            Kind::One(_) => Ok(Vec::new()),
            Kind::Narrow(table) => table.keys(&self.types),
            Kind::Wide(table) => table.keys(&self.types),
            Kind::Text(table) => Ok(vec![Arc::new(table.texts())]),
            Kind::Rows(table) => table.keys(),
        }
    }

    /// Bytes it holds.
    pub(crate) fn memory(&self) -> usize {
        match &self.kind {
            Kind::One(_) => 0,
            Kind::Narrow(table) => table.memory(),
            Kind::Wide(table) => table.memory(),
            Kind::Text(table) => table.memory(),
            Kind::Rows(table) => table.memory(),
        }
    }
}

fn is_view_text(ty: &Type) -> bool {
    ty.to_arrow() == DataType::Utf8View
}

/// Where a key column's bits are in the packed word.
#[derive(Debug, Clone)]
struct Layout {
    columns: Vec<Place>,
    /// The one column's NULL is a group of its own, because its values take all bits.
    null_apart: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    shift: u32,
    bits: u32,
    /// The bit that says NULL, where there is room for one.
    null: u32,
    text: bool,
}

impl Layout {
    /// The layout and its bits; `None` if the key does not fit 128.
    fn of(types: &[Type]) -> Option<(Layout, u32)> {
        if let [ty] = types
            && let Some(bits) = keys::width(ty)
        {
            let place = Place { shift: 0, bits, null: 0, text: false };
            return Some((Layout { columns: vec![place], null_apart: true }, bits));
        }
        let (mut columns, mut at) = (Vec::new(), types.len() as u32);
        for (i, ty) in types.iter().enumerate() {
            let text = is_view_text(ty);
            let bits = if text { 32 } else { keys::width(ty)? };
            columns.push(Place { shift: at, bits, null: i as u32, text });
            at += bits;
        }
        (at <= 128).then_some((Layout { columns, null_apart: false }, at))
    }
}

/// A table over words.
struct WordTable<W> {
    slots: Vec<(W, u32)>,
    words: Vec<W>,
    /// The group of NULL, where that is apart: its word stands for nothing and is not in the slots.
    null_group: Option<u32>,
}

impl<W: Word> WordTable<W> {
    fn new() -> WordTable<W> {
        WordTable { slots: Vec::new(), words: Vec::new(), null_group: None }
    }

    fn len(&self) -> usize {
        self.words.len()
    }

    fn reserve(&mut self, more: usize) {
        let need = (self.words.len() + more) * 2;
        if need <= self.slots.len() {
            return;
        }
        let size = need.next_power_of_two().max(64);
        let mask = size - 1;
        let mut slots = vec![(W::default(), ABSENT); size];
        for (group, &word) in self.words.iter().enumerate() {
            if self.null_group == Some(group as u32) {
                continue;
            }
            let mut at = word.hash() as usize & mask;
            while slots[at].1 != ABSENT {
                at = (at + 1) & mask;
            }
            slots[at] = (word, group as u32);
        }
        self.slots = slots;
    }

    #[inline]
    fn find(&self, word: W) -> u32 {
        if self.slots.is_empty() {
            return ABSENT;
        }
        let mask = self.slots.len() - 1;
        let mut at = word.hash() as usize & mask;
        loop {
            let (there, group) = self.slots[at];
            if group == ABSENT || there == word {
                return group;
            }
            at = (at + 1) & mask;
        }
    }

    /// There must be room: see [`WordTable::reserve`].
    #[inline]
    fn insert(&mut self, word: W) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = word.hash() as usize & mask;
        loop {
            let (there, group) = self.slots[at];
            if group == ABSENT {
                let new = self.words.len() as u32;
                self.slots[at] = (word, new);
                self.words.push(word);
                return new;
            }
            if there == word {
                return group;
            }
            at = (at + 1) & mask;
        }
    }

    /// The group of NULL.
    fn null(&mut self) -> u32 {
        *self.null_group.get_or_insert_with(|| {
            self.words.push(W::default());
            self.words.len() as u32 - 1
        })
    }

    fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<(W, u32)>() + self.words.capacity() * size_of::<W>()
    }
}

/// New words are made room for in runs of this many rows, so that a table of few groups stays small.
const RUN: usize = 1024;

struct Packed<W> {
    layout: Layout,
    table: WordTable<W>,
    texts: Vec<Option<TextTable>>,
    scratch: Vec<W>,
}

impl<W: Word> Packed<W> {
    fn new(layout: Layout) -> Packed<W> {
        let texts = layout.columns.iter().map(|c| c.text.then(TextTable::default)).collect();
        Packed { layout, table: WordTable::new(), texts, scratch: Vec::new() }
    }

    fn intern(&mut self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
        let mut words = std::mem::take(&mut self.scratch);
        words.clear();
        words.resize(groups.len(), W::default());
        for ((place, column), texts) in self.layout.columns.iter().zip(columns).zip(&mut self.texts) {
            match texts {
                None => keys::pack(column, place.shift, &mut words)?,
                Some(texts) => {
                    texts.intern_valid(column.as_string_view(), groups);
                    add_groups(column, place.shift, groups, &mut words);
                }
            }
            if !self.layout.null_apart {
                add_nulls(column, place.null, &mut words);
            }
        }
        let apart = columns[0].nulls().filter(|n| self.layout.null_apart && n.null_count() > 0);
        for (words, (groups, start)) in words.chunks(RUN).zip(groups.chunks_mut(RUN).zip((0..).step_by(RUN))) {
            self.table.reserve(words.len() + 1);
            match apart {
                None => {
                    for (group, &word) in groups.iter_mut().zip(words) {
                        *group = self.table.insert(word);
                    }
                }
                Some(nulls) => {
                    for (i, (group, &word)) in groups.iter_mut().zip(words).enumerate() {
                        *group = if nulls.is_valid(start + i) { self.table.insert(word) } else { self.table.null() };
                    }
                }
            }
        }
        self.scratch = words;
        Ok(())
    }

    fn lookup(&self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
        let mut words = vec![W::default(); groups.len()];
        let mut missing = vec![false; if self.texts.iter().any(Option::is_some) { groups.len() } else { 0 }];
        for ((place, column), texts) in self.layout.columns.iter().zip(columns).zip(&self.texts) {
            match texts {
                None => keys::pack(column, place.shift, &mut words)?,
                Some(texts) => {
                    texts.lookup_valid(column.as_string_view(), groups);
                    for (row, &group) in groups.iter().enumerate() {
                        missing[row] |= group == ABSENT && column.is_valid(row);
                    }
                    add_groups(column, place.shift, groups, &mut words);
                }
            }
            if !self.layout.null_apart {
                add_nulls(column, place.null, &mut words);
            }
        }
        for (group, &word) in groups.iter_mut().zip(&words) {
            *group = self.table.find(word);
        }
        for (row, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
            groups[row] = ABSENT;
        }
        if self.layout.null_apart
            && let Some(nulls) = columns[0].nulls().filter(|n| n.null_count() > 0)
        {
            for row in (!nulls.inner()).set_indices() {
                groups[row] = self.table.null_group.unwrap_or(ABSENT);
            }
        }
        Ok(())
    }

    fn keys(&self, types: &[Type]) -> Result<Vec<ArrayRef>> {
        let words = &self.table.words;
        let rows = words.len();
        let mut columns = Vec::with_capacity(types.len());
        for ((place, ty), texts) in self.layout.columns.iter().zip(types).zip(&self.texts) {
            let mask = if place.bits == 128 { u128::MAX } else { (1_u128 << place.bits) - 1 };
            let value = |row: usize| (words[row].wide() >> place.shift) & mask;
            let null = |row: usize| match self.layout.null_apart {
                true => self.table.null_group == Some(row as u32),
                false => (words[row].wide() >> place.null) & 1 == 1,
            };
            columns.push(match texts {
                None => keys::unpack(&keys::normal_type(ty), rows, value, null)?,
                Some(texts) => {
                    let views = (0..rows).map(|row| if null(row) { 0 } else { texts.views[value(row) as usize] });
                    let nulls = NullBuffer::from_iter((0..rows).map(|row| !null(row)));
                    Arc::new(texts.column(views.collect(), Some(nulls)))
                }
            });
        }
        Ok(columns)
    }

    fn memory(&self) -> usize {
        let texts: usize = self.texts.iter().flatten().map(TextTable::memory).sum();
        self.table.memory() + texts + self.scratch.capacity() * size_of::<W>()
    }
}

/// Adds interned texts' numbers to words; NULLs add nothing.
fn add_groups<W: Word>(column: &ArrayRef, shift: u32, groups: &[u32], words: &mut [W]) {
    for (row, (word, &group)) in words.iter_mut().zip(groups).enumerate() {
        if column.is_valid(row) {
            *word = word.with(W::of_u64(u64::from(group)).up(shift));
        }
    }
}

/// Sets the NULL bit of words.
fn add_nulls<W: Word>(column: &ArrayRef, bit: u32, words: &mut [W]) {
    if let Some(nulls) = column.nulls().filter(|n| n.null_count() > 0) {
        for row in (!nulls.inner()).set_indices() {
            words[row] = words[row].with(W::of_u64(1).up(bit));
        }
    }
}

/// Texts: views into chunks of the table's own bytes.
#[derive(Default)]
pub(crate) struct TextTable {
    slots: Vec<(u32, u32)>,
    views: Vec<u128>,
    hashes: Vec<u32>,
    full: Vec<Buffer>,
    chunk: Vec<u8>,
    bytes: usize,
    null_group: Option<u32>,
}

const CHUNK: usize = 1 << 20;

#[inline]
fn view_hash(view: u128, bytes: impl FnOnce() -> u64) -> u32 {
    let hash = if view as u32 <= 12 { view.hash() } else { bytes() };
    (hash >> 32) as u32 ^ hash as u32
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

impl TextTable {
    fn len(&self) -> usize {
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

    /// Groups of the rows that are not NULL; the others' are not touched.
    fn intern_valid(&mut self, texts: &StringViewArray, groups: &mut [u32]) {
        self.intern_rows(texts, groups, false);
    }

    fn intern(&mut self, texts: &StringViewArray, groups: &mut [u32]) {
        self.intern_rows(texts, groups, true);
    }

    fn intern_rows(&mut self, texts: &StringViewArray, groups: &mut [u32], null_too: bool) {
        let views = texts.views();
        let nulls = texts.nulls().filter(|n| n.null_count() > 0);
        let mut last: Option<(u128, u32)> = None;
        for row in 0..texts.len() {
            if row % RUN == 0 {
                self.reserve(RUN + 1);
            }
            if nulls.is_some_and(|n| n.is_null(row)) {
                if null_too {
                    groups[row] = self.null();
                }
                continue;
            }
            let view = views[row];
            // Equal views are equal texts; sorted data comes in runs.
            if let Some((seen, group)) = last
                && seen == view
            {
                groups[row] = group;
                continue;
            }
            let bytes = if view as u32 > 12 { texts.value(row).as_bytes() } else { &[] };
            let hash = view_hash(view, || hash_bytes(bytes));
            let (at, mut group) = self.find(hash, view, bytes);
            if group == ABSENT {
                group = self.views.len() as u32;
                self.slots[at] = (hash, group);
                let own = self.store(view, bytes);
                self.views.push(own);
                self.hashes.push(hash);
            }
            groups[row] = group;
            last = Some((view, group));
        }
    }

    /// The group of NULL.
    fn null(&mut self) -> u32 {
        *self.null_group.get_or_insert_with(|| {
            self.views.push(0);
            self.hashes.push(0);
            self.views.len() as u32 - 1
        })
    }

    fn lookup_valid(&self, texts: &StringViewArray, groups: &mut [u32]) {
        let views = texts.views();
        for row in 0..texts.len() {
            if self.slots.is_empty() || texts.is_null(row) {
                groups[row] = ABSENT;
                continue;
            }
            let view = views[row];
            let bytes = if view as u32 > 12 { texts.value(row).as_bytes() } else { &[] };
            groups[row] = self.find(view_hash(view, || hash_bytes(bytes)), view, bytes).1;
        }
    }

    fn lookup(&self, texts: &StringViewArray, groups: &mut [u32]) {
        self.lookup_valid(texts, groups);
        if let (Some(group), Some(nulls)) = (self.null_group, texts.nulls()) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = group);
        }
    }

    fn column(&self, views: Vec<u128>, nulls: Option<NullBuffer>) -> StringViewArray {
        let mut buffers = self.full.clone();
        buffers.push(Buffer::from_slice_ref(&self.chunk));
        let nulls = nulls.filter(|n| n.null_count() > 0);
        // SAFETY: every view is inline or was made by `store`, which points it into one of these buffers at bytes of a valid
        // `str`; this skips a UTF-8 check of all keys.
        unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), buffers.into(), nulls) }
    }

    fn texts(&self) -> StringViewArray {
        let nulls =
            self.null_group.map(|group| NullBuffer::from_iter((0..self.views.len()).map(|i| i as u32 != group)));
        self.column(self.views.clone(), nulls)
    }

    fn memory(&self) -> usize {
        self.slots.capacity() * 8 + self.views.capacity() * 20 + self.bytes
    }
}

/// Keys of any type, as row bytes.
struct RowTable {
    converter: RowConverter,
    slots: Vec<(u32, u32)>,
    hashes: Vec<u32>,
    offsets: Vec<usize>,
    bytes: Vec<u8>,
}

impl RowTable {
    fn new(types: &[Type]) -> Result<RowTable> {
        let converter = keys::row_converter(types, &vec![Default::default(); types.len()])?;
        Ok(RowTable { converter, slots: Vec::new(), hashes: Vec::new(), offsets: vec![0], bytes: Vec::new() })
    }

    fn len(&self) -> usize {
        self.hashes.len()
    }

    fn reserve(&mut self, more: usize) {
        let need = (self.len() + more) * 2;
        if need <= self.slots.len() {
            return;
        }
        let size = need.next_power_of_two().max(64);
        let mask = size - 1;
        let mut slots = vec![(0, ABSENT); size];
        for (group, &hash) in self.hashes.iter().enumerate() {
            let mut at = hash as usize & mask;
            while slots[at].1 != ABSENT {
                at = (at + 1) & mask;
            }
            slots[at] = (hash, group as u32);
        }
        self.slots = slots;
    }

    fn find(&self, hash: u32, key: &[u8]) -> (usize, u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (tag, group) = self.slots[at];
            if group == ABSENT || (tag == hash && self.key(group) == key) {
                return (at, group);
            }
            at = (at + 1) & mask;
        }
    }

    fn key(&self, group: u32) -> &[u8] {
        &self.bytes[self.offsets[group as usize]..self.offsets[group as usize + 1]]
    }

    fn intern(&mut self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
        let rows = self.converter.convert_columns(columns)?;
        for (i, group) in groups.iter_mut().enumerate() {
            if i % RUN == 0 {
                self.reserve(RUN);
            }
            let row = rows.row(i);
            let key = row.as_ref();
            let hash = fold_hash(hash_bytes(key));
            let (at, found) = self.find(hash, key);
            *group = found;
            if found == ABSENT {
                *group = self.hashes.len() as u32;
                self.slots[at] = (hash, *group);
                self.hashes.push(hash);
                self.bytes.extend_from_slice(key);
                self.offsets.push(self.bytes.len());
            }
        }
        Ok(())
    }

    fn lookup(&self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
        if self.slots.is_empty() {
            groups.fill(ABSENT);
            return Ok(());
        }
        let rows = self.converter.convert_columns(columns)?;
        for (i, group) in groups.iter_mut().enumerate() {
            let row = rows.row(i);
            *group = self.find(fold_hash(hash_bytes(row.as_ref())), row.as_ref()).1;
        }
        Ok(())
    }

    fn keys(&self) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows((0..self.len() as u32).map(|group| parser.parse(self.key(group))))?)
    }

    fn memory(&self) -> usize {
        self.slots.capacity() * 8 + self.hashes.capacity() * 4 + self.offsets.capacity() * 8 + self.bytes.capacity()
    }
}

fn fold_hash(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}

/// A hash of each row's (normalised) key, the same for equal keys whatever table they come from.
pub(crate) fn hash_rows(types: &[Type], columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![0_u64; rows];
    for (ty, column) in types.iter().zip(columns) {
        if keys::width(ty).is_some() {
            let mut words = vec![0_u128; rows];
            keys::pack(column, 0, &mut words)?;
            hashes.iter_mut().zip(&words).for_each(|(h, w)| *h = fold(*h ^ w.hash(), 0x9E37_79B9_7F4A_7C15));
        } else if is_view_text(ty) {
            let texts = column.as_string_view();
            for (row, hash) in hashes.iter_mut().enumerate() {
                let own = if texts.is_valid(row) { hash_bytes(texts.value(row).as_bytes()) } else { 0 };
                *hash = fold(*hash ^ own, 0x9E37_79B9_7F4A_7C15);
            }
        } else {
            let converter = keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?;
            let encoded = converter.convert_columns(std::slice::from_ref(column))?;
            for (row, hash) in hashes.iter_mut().enumerate() {
                *hash = fold(*hash ^ hash_bytes(encoded.row(row).as_ref()), 0x9E37_79B9_7F4A_7C15);
            }
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Decimal128Array, Int16Array, Int64Array};
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Columns of each type, all drawn from a few values and NULL.
    fn column(ty: &Type, picks: &[u8]) -> ArrayRef {
        let pick = |i: usize| (picks[i] % 5 != 4).then_some(picks[i] % 5);
        let rows = 0..picks.len();
        let text =
            |v: u8| ["", "a", "exactly 12 b", "longer than twelve bytes", "longer than twelve byteS"][v as usize];
        match ty {
            Type::Bool => Arc::new(rows.map(|i| pick(i).map(|v| v > 1)).collect::<BooleanArray>()),
            Type::Int2 => Arc::new(rows.map(|i| pick(i).map(|v| i16::from(v) - 2)).collect::<Int16Array>()),
            Type::Int8 => Arc::new(rows.map(|i| pick(i).map(|v| i64::from(v) << 60)).collect::<Int64Array>()),
            Type::Text => Arc::new(rows.map(|i| pick(i).map(text)).collect::<StringViewArray>()),
            Type::Numeric(Some(_)) => {
                let values: Decimal128Array = rows.map(|i| pick(i).map(|v| i128::from(v) - 2)).collect();
                Arc::new(values.with_precision_and_scale(38, 2).expect("it fits"))
            }
            other => panic!("no column of {other}"),
        }
    }

    fn row(columns: &[ArrayRef], row: usize) -> Vec<Option<String>> {
        let text = |c: &ArrayRef| arrow::util::display::array_value_to_string(c, row).expect("it has a text");
        columns.iter().map(|c| c.is_valid(row).then(|| text(c))).collect()
    }

    fn check(types: &[Type], batches: &[Vec<Vec<u8>>]) {
        let mut table = GroupTable::new(types).expect("a table");
        let mut model: HashMap<Vec<Option<String>>, u32> = HashMap::new();
        let mut groups = Vec::new();
        for picks in batches {
            let columns: Vec<ArrayRef> = types.iter().zip(picks).map(|(ty, p)| column(ty, p)).collect();
            let rows = picks[0].len();
            table.lookup(&columns, rows, &mut groups).expect("it looks up");
            for (i, &group) in groups.iter().enumerate() {
                assert_eq!(group, model.get(&row(&columns, i)).copied().unwrap_or(ABSENT), "{types:?}");
            }
            table.intern(&columns, rows, &mut groups).expect("it interns");
            for (i, &group) in groups.iter().enumerate() {
                let next = model.len() as u32;
                assert_eq!(group, *model.entry(row(&columns, i)).or_insert(next), "{types:?}");
            }
            assert_eq!(table.len(), model.len());
        }
        let keys = table.keys().expect("keys");
        for (key, group) in &model {
            assert_eq!(&row(&keys, *group as usize), key, "{types:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_form_of_table_agrees_with_a_map(
            batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 20), 4), 1..4),
        ) {
            let decimal = Type::Numeric(Some((38, 2)));
            for types in [
                vec![Type::Bool],
                vec![Type::Int8],
                vec![Type::Text],
                vec![decimal.clone()],
                vec![Type::Int2, Type::Bool],
                vec![Type::Text, Type::Int2],
                vec![Type::Int8, Type::Text],
                vec![Type::Text, Type::Text, Type::Bool],
                vec![decimal, Type::Bool],
                vec![Type::Int8, Type::Text, Type::Int8, Type::Text],
            ] {
                check(&types, &batches);
            }
        }
    }

    #[test]
    fn tables_grow() {
        let ids = Int64Array::from_iter_values((0..20_000).map(|i| i % 7_000));
        let texts: StringViewArray = ids.values().iter().map(|i| Some(format!("the text of {i}"))).collect();
        let mut groups = Vec::new();
        for (types, column) in
            [(vec![Type::Int8], Arc::new(ids.clone()) as ArrayRef), (vec![Type::Text], Arc::new(texts))]
        {
            let mut table = GroupTable::new(&types).expect("a table");
            table.intern(&[column], 20_000, &mut groups).expect("it interns");
            assert_eq!(table.len(), 7_000);
            assert!(groups.iter().zip(ids.values()).all(|(&group, &id)| i64::from(group) == id));
        }
    }
}
