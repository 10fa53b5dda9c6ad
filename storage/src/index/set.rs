//! `set(n)`: the distinct values of each block, unless there are more than `n`.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, UInt32Type};
use hashbrown::HashSet;

use super::IndexTest;
use super::build::Blocks;
use super::open::Probe;
use crate::bytes::Reader;
use crate::compare::Comparison;
use crate::encoding::{Effort, Encoder, raw_size};
use crate::error::{Decoded, damaged};
use crate::key::{Key, key_at};
use crate::part::nested_array;

/// In place of a number of values: nothing is known of the block.
const UNKNOWN: u32 = u32::MAX;

/// A value that outlives the array it came from.
#[derive(PartialEq, Eq, Hash)]
enum Value {
    Number(i128),
    Bytes(Box<[u8]>),
}

impl From<Key<'_>> for Value {
    fn from(key: Key<'_>) -> Value {
        match key {
            Key::Number(number) => Value::Number(number),
            Key::Bytes(bytes) => Value::Bytes(bytes.into()),
        }
    }
}

/// Builds the index.
pub(super) struct Sets {
    /// The most values of a block; 0 is no limit.
    values_max: usize,
    ty: DataType,
    seen: HashSet<Value>,
    /// The open block's values, each once.
    block: Vec<ArrayRef>,
    unknown: bool,
    counts: Vec<u32>,
    values: Vec<ArrayRef>,
    bytes: usize,
}

impl Sets {
    pub(super) fn new(values_max: u32, ty: &DataType) -> Sets {
        Sets {
            values_max: values_max as usize,
            ty: ty.clone(),
            seen: HashSet::new(),
            block: Vec::new(),
            unknown: false,
            counts: Vec::new(),
            values: Vec::new(),
            bytes: 0,
        }
    }
}

impl Blocks for Sets {
    fn add(&mut self, values: Option<&ArrayRef>, _: usize) -> Decoded<()> {
        let Some(values) = values.filter(|_| !self.unknown) else {
            self.unknown = true;
            return Ok(());
        };
        let mut new: Vec<u32> = Vec::new();
        for row in 0..values.len() {
            if let Some(key) = key_at(values, row)
                && self.seen.insert(key.into())
            {
                new.push(row as u32);
                if self.values_max > 0 && self.seen.len() > self.values_max {
                    self.unknown = true;
                    return Ok(());
                }
            }
        }
        if !new.is_empty() {
            self.block.push(take(values, &UInt32Array::from(new), None)?);
        }
        Ok(())
    }

    fn end_block(&mut self) -> Decoded<()> {
        let block = std::mem::take(&mut self.block);
        if self.unknown {
            self.counts.push(UNKNOWN);
        } else {
            self.counts.push(self.seen.len() as u32);
            self.bytes += block.iter().map(|values| raw_size(values) + values.len() * 8).sum::<usize>();
            self.values.extend(block);
        }
        self.seen.clear();
        self.unknown = false;
        Ok(())
    }

    fn held(&self) -> usize {
        self.bytes + self.counts.len() * 4
    }

    fn end_segment(&mut self, out: &mut Vec<u8>) -> Decoded<()> {
        Encoder::new(Effort::Fast).encode_nested(&UInt32Array::from(std::mem::take(&mut self.counts)), out)?;
        let values = std::mem::take(&mut self.values);
        let joined = match values.is_empty() {
            true => arrow::array::new_empty_array(&self.ty),
            false => concat(&values.iter().map(|value| &**value).collect::<Vec<_>>())?,
        };
        Encoder::new(Effort::Fast).encode_nested(&joined, out)?;
        self.bytes = 0;
        Ok(())
    }
}

/// The sets of a segment's blocks.
pub(super) struct OpenSets {
    ty: DataType,
    counts: Vec<u32>,
    values: ArrayRef,
}

impl OpenSets {
    pub(super) fn read(ty: &DataType, section: &Buffer, blocks: usize) -> Decoded<OpenSets> {
        let mut reader = Reader::new(section);
        let counts = nested_array(&mut reader, section, &DataType::UInt32, blocks)?;
        let counts = counts.as_primitive::<UInt32Type>().values().to_vec();
        let total: u64 = counts.iter().filter(|&&count| count != UNKNOWN).map(|&count| u64::from(count)).sum();
        let Ok(total) = u32::try_from(total) else { return damaged(format!("sets of {total} values")) };
        let values = nested_array(&mut reader, section, ty, total as usize)?;
        reader.end()?;
        Ok(OpenSets { ty: ty.clone(), counts, values })
    }
}

impl Probe for OpenSets {
    fn blocks(&self, test: &IndexTest) -> Vec<bool> {
        let IndexTest::Compare { op, values } = test else { return vec![true; self.counts.len()] };
        if *values.data_type() != self.ty {
            return vec![true; self.counts.len()];
        }
        let comparison = Comparison::new(*op, values);
        let mut at = 0;
        let passes = |&count: &u32| {
            if count == UNKNOWN {
                return true;
            }
            let block = at..at + count as usize;
            at = block.end;
            block.into_iter().any(|row| key_at(&self.values, row).is_some_and(|value| comparison.holds(value)))
        };
        self.counts.iter().map(passes).collect()
    }
}
