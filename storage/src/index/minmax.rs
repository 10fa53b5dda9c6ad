//! `minmax`: the least and the greatest value of each block.

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array, UInt32Array, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, UInt8Type};

use super::IndexTest;
use super::build::Blocks;
use super::open::Probe;
use crate::bytes::Reader;
use crate::compare::Comparison;
use crate::encoding::{Effort, Encoder};
use crate::error::Decoded;
use crate::key::{extremes, key_at};
use crate::part::nested_array;

/// What a block's state says of its two values.
const UNKNOWN: u8 = 0;
const KNOWN: u8 = 1;
const NO_VALUES: u8 = 2;

/// Builds the index.
pub(super) struct Extremes {
    ty: DataType,
    /// The open block's least and greatest value, one row each.
    block: Option<(ArrayRef, ArrayRef)>,
    unknown: bool,
    states: Vec<u8>,
    mins: Vec<ArrayRef>,
    maxs: Vec<ArrayRef>,
}

impl Extremes {
    pub(super) fn new(ty: &DataType) -> Extremes {
        let lists = (Vec::new(), Vec::new(), Vec::new());
        Extremes { ty: ty.clone(), block: None, unknown: false, states: lists.0, mins: lists.1, maxs: lists.2 }
    }
}

impl Blocks for Extremes {
    fn add(&mut self, values: Option<&ArrayRef>, _: usize) -> Decoded<()> {
        let Some(values) = values else {
            self.unknown = true;
            return Ok(());
        };
        let one = |row: usize| take(values, &UInt32Array::from(vec![row as u32]), None);
        let (min, max) = match extremes(values) {
            Some((min, max)) => (one(min)?, one(max)?),
            None => {
                // No values, or values too long to keep.
                self.unknown |= values.null_count() < values.len();
                return Ok(());
            }
        };
        self.block = Some(match self.block.take() {
            None => (min, max),
            Some((least, greatest)) => (
                if key_at(&min, 0) < key_at(&least, 0) { min } else { least },
                if key_at(&max, 0) > key_at(&greatest, 0) { max } else { greatest },
            ),
        });
        Ok(())
    }

    fn end_block(&mut self) -> Decoded<()> {
        let block = self.block.take().filter(|_| !self.unknown);
        self.states.push(match (self.unknown, &block) {
            (true, _) => UNKNOWN,
            (false, Some(_)) => KNOWN,
            (false, None) => NO_VALUES,
        });
        let (min, max) = block.unwrap_or_else(|| (new_null_array(&self.ty, 1), new_null_array(&self.ty, 1)));
        self.mins.push(min);
        self.maxs.push(max);
        self.unknown = false;
        Ok(())
    }

    fn held(&self) -> usize {
        self.states.len() * 64
    }

    fn end_segment(&mut self, out: &mut Vec<u8>) -> Decoded<()> {
        Encoder::new(Effort::Fast).encode_nested(&UInt8Array::from(std::mem::take(&mut self.states)), out)?;
        for values in [&mut self.mins, &mut self.maxs] {
            let values = std::mem::take(values);
            let joined = concat(&values.iter().map(|value| &**value).collect::<Vec<_>>())?;
            Encoder::new(Effort::Fast).encode_nested(&joined, out)?;
        }
        Ok(())
    }
}

/// The extremes of a segment's blocks.
pub(super) struct OpenExtremes {
    ty: DataType,
    states: ArrayRef,
    min: ArrayRef,
    max: ArrayRef,
}

impl OpenExtremes {
    pub(super) fn read(ty: &DataType, section: &Buffer, blocks: usize) -> Decoded<OpenExtremes> {
        let mut reader = Reader::new(section);
        let states = nested_array(&mut reader, section, &DataType::UInt8, blocks)?;
        let min = nested_array(&mut reader, section, ty, blocks)?;
        let max = nested_array(&mut reader, section, ty, blocks)?;
        reader.end()?;
        Ok(OpenExtremes { ty: ty.clone(), states, min, max })
    }
}

impl Probe for OpenExtremes {
    fn blocks(&self, test: &IndexTest) -> Vec<bool> {
        let states = self.states.as_primitive::<UInt8Type>().values();
        let IndexTest::Compare { op, values } = test else { return vec![true; states.len()] };
        if *values.data_type() != self.ty {
            return vec![true; states.len()];
        }
        let comparison = Comparison::new(*op, values);
        let passes = |(block, &state): (usize, &u8)| match state {
            NO_VALUES => false,
            KNOWN => comparison.may_match(key_at(&self.min, block), key_at(&self.max, block)),
            _ => true,
        };
        states.iter().enumerate().map(passes).collect()
    }
}
