//! Keys of fixed width, packed into one machine word; texts and bytes among them are numbers that a table of their own gave.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, UInt32Array};
use arrow::buffer::NullBuffer;
use weir_sql::Type;

use super::text::TextTable;
use super::words::{Keyed, WordTable};
use super::{ABSENT, RUN, is_text, is_view};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::keys::{self, Word};

/// Texts that have at least so many groups on average are told by their numbers.
const GROUPS_OF_TEXT: usize = 4;

/// Bits of a text's number: two of them and their NULLs are a word of 64, and beside a number of 64 bits one of 128.
const TEXT_BITS: u32 = 30;

/// Where a key column's bits are in the packed word.
#[derive(Debug, Clone)]
pub(super) struct Layout {
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
    pub(super) fn of(types: &[Type]) -> Option<(Layout, u32)> {
        if let [ty] = types
            && let Some(bits) = keys::width(ty)
        {
            let place = Place { shift: 0, bits, null: 0, text: false };
            return Some((Layout { columns: vec![place], null_apart: true }, bits));
        }
        let (mut columns, mut at) = (Vec::new(), types.len() as u32);
        for (i, ty) in types.iter().enumerate() {
            let text = is_view(ty);
            let bits = if text { TEXT_BITS } else { keys::width(ty)? };
            columns.push(Place { shift: at, bits, null: i as u32, text });
            at += bits;
        }
        (at <= 128).then_some((Layout { columns, null_apart: false }, at))
    }
}

pub(super) struct Packed<W: Keyed> {
    layout: Layout,
    table: WordTable<W>,
    texts: Vec<Option<TextTable>>,
    scratch: Vec<W>,
}

impl<W: Keyed> Packed<W> {
    pub(super) fn new(layout: Layout, types: &[Type]) -> Packed<W> {
        let table = |(place, ty): (&Place, &Type)| place.text.then(|| TextTable::new(is_text(ty)));
        let texts = layout.columns.iter().zip(types).map(table).collect();
        Packed { layout, table: WordTable::new(), texts, scratch: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// See [`GroupTable::expect`](super::GroupTable::expect).
    pub(super) fn expect(&mut self, more: usize) {
        self.table.reserve(std::iter::empty(), more);
    }

    pub(super) fn intern(&mut self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
        let mut words = std::mem::take(&mut self.scratch);
        words.clear();
        words.resize(groups.len(), W::default());
        for ((place, column), texts) in self.layout.columns.iter().zip(columns).zip(&mut self.texts) {
            match texts {
                None => keys::pack(column, place.shift, &mut words)?,
                Some(texts) => {
                    texts.intern_valid(column, groups);
                    if texts.len() >> TEXT_BITS > 0 {
                        let detail = format!("A key of several has over 2^{TEXT_BITS} different texts.");
                        return Err(Error::new(ErrorKind::OutOfMemory, "out of memory").with_detail(detail));
                    }
                    add_groups(column, place.shift, groups, &mut words);
                }
            }
            if !self.layout.null_apart {
                add_nulls(column, place.null, &mut words);
            }
        }
        let apart = columns[0].nulls().filter(|n| self.layout.null_apart && n.null_count() > 0);
        for (words, (groups, start)) in words.chunks(RUN).zip(groups.chunks_mut(RUN).zip((0..).step_by(RUN))) {
            match apart {
                None => self.table.insert_all(words, groups),
                Some(nulls) => self.table.insert_some(words, |i| nulls.is_valid(start + i), groups),
            }
        }
        self.scratch = words;
        Ok(())
    }

    pub(super) fn lookup(&self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
        let mut words = vec![W::default(); groups.len()];
        let mut missing = vec![false; if self.texts.iter().any(Option::is_some) { groups.len() } else { 0 }];
        for ((place, column), texts) in self.layout.columns.iter().zip(columns).zip(&self.texts) {
            match texts {
                None => keys::pack(column, place.shift, &mut words)?,
                Some(texts) => {
                    texts.lookup_valid(column, groups);
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
        self.table.find_all(&words, groups);
        for (row, _) in missing.iter().enumerate().filter(|(_, missing)| **missing) {
            groups[row] = ABSENT;
        }
        if self.layout.null_apart
            && let Some(nulls) = columns[0].nulls().filter(|n| n.null_count() > 0)
        {
            for row in (!nulls.inner()).set_indices() {
                groups[row] = self.table.null_group().unwrap_or(ABSENT);
            }
        }
        Ok(())
    }

    /// The keys; texts in numbers if `coded` and each has several groups.
    pub(super) fn keys(&self, types: &[Type], coded: bool) -> Result<Vec<ArrayRef>> {
        let words = self.table.words();
        let rows = words.len();
        let mut columns = Vec::with_capacity(types.len());
        for ((place, ty), texts) in self.layout.columns.iter().zip(types).zip(&self.texts) {
            let mask = if place.bits == 128 { u128::MAX } else { (1_u128 << place.bits) - 1 };
            let value = |row: usize| (words[row].wide() >> place.shift) & mask;
            let null = |row: usize| match self.layout.null_apart {
                true => self.table.null_group() == Some(row as u32),
                false => (words[row].wide() >> place.null) & 1 == 1,
            };
            columns.push(match texts {
                None => keys::unpack(&keys::normal_type(ty), rows, value, null)?,
                // Where all are NULL there is nothing that a code could stand for.
                Some(texts) if coded && (1..=rows / GROUPS_OF_TEXT).contains(&texts.len()) => {
                    let nulls = NullBuffer::from_iter((0..rows).map(|row| !null(row)));
                    let codes: Vec<u32> = (0..rows).map(|row| value(row) as u32).collect();
                    let codes = UInt32Array::new(codes.into(), Some(nulls).filter(|nulls| nulls.null_count() > 0));
                    Arc::new(DictionaryArray::try_new(codes, texts.texts())?)
                }
                Some(texts) => {
                    let views = (0..rows).map(|row| if null(row) { 0 } else { texts.views[value(row) as usize] });
                    let nulls = NullBuffer::from_iter((0..rows).map(|row| !null(row)));
                    texts.column(views.collect(), Some(nulls))
                }
            });
        }
        Ok(columns)
    }

    pub(super) fn memory(&self) -> usize {
        let texts: usize = self.texts.iter().flatten().map(TextTable::memory).sum();
        self.table.memory() + texts + self.scratch.capacity() * size_of::<W>()
    }
}

/// Adds interned texts' numbers to words; NULLs add nothing.
fn add_groups<W: Word>(column: &ArrayRef, shift: u32, groups: &[u32], words: &mut [W]) {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    for (row, (word, &group)) in words.iter_mut().zip(groups).enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
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
