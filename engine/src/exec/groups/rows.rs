//! Keys of any type, as Arrow's row bytes.

use arrow::array::ArrayRef;
use arrow::row::RowConverter;
use weir_sql::Type;

use super::{ABSENT, RUN, fold_hash, hash_bytes};
use crate::error::Result;
use crate::exec::keys;

/// See the module.
pub(super) struct RowTable {
    converter: RowConverter,
    slots: Vec<(u32, u32)>,
    hashes: Vec<u32>,
    offsets: Vec<usize>,
    bytes: Vec<u8>,
}

impl RowTable {
    pub(super) fn new(types: &[Type]) -> Result<RowTable> {
        let converter = keys::row_converter(types, &vec![Default::default(); types.len()])?;
        Ok(RowTable { converter, slots: Vec::new(), hashes: Vec::new(), offsets: vec![0], bytes: Vec::new() })
    }

    pub(super) fn len(&self) -> usize {
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

    pub(super) fn intern(&mut self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
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

    pub(super) fn lookup(&self, columns: &[ArrayRef], groups: &mut [u32]) -> Result<()> {
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

    pub(super) fn keys(&self) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows((0..self.len() as u32).map(|group| parser.parse(self.key(group))))?)
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * 8 + self.hashes.capacity() * 4 + self.offsets.capacity() * 8 + self.bytes.capacity()
    }
}
