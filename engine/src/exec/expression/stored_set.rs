//! Sets of a query's values that do not fit in memory, for IN.
//!
//! The values are on disk in the order of their bytes, in blocks; memory has the first value of each block. The values that are looked up together are
//! sorted too, so that a block is read once for all of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::row::{RowConverter, Rows};
use weir_sql::Type;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::runs::{Run, RunWriter, merge};
use crate::exec::spill::{Extent, SpillFile};

/// Bytes of a block.
const BLOCK_BYTES: usize = 64 << 10;

/// Distinct values of one type, and whether NULL is among them.
pub(super) struct StoredSet {
    ty: Type,
    converter: RowConverter,
    file: Arc<SpillFile>,
    /// Blocks, and the first value of each.
    blocks: Vec<(Box<[u8]>, Extent)>,
    has_null: bool,
    _held: Reservation,
}

/// Values on their way into a set.
pub(super) struct Filling {
    ty: Type,
    converter: RowConverter,
    file: Arc<SpillFile>,
    runs: Vec<Run>,
    has_null: bool,
}

impl Filling {
    pub(super) fn new(ty: &Type, context: &QueryContext) -> Result<Filling> {
        let converter = keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?;
        let file = SpillFile::create(context)?;
        Ok(Filling { ty: ty.clone(), converter, file, runs: Vec::new(), has_null: false })
    }

    /// Adds a column's values.
    pub(super) fn push(&mut self, column: &ArrayRef) -> Result<()> {
        let (rows, nulls) = encode(&self.ty, &self.converter, column)?;
        self.has_null |= nulls.is_some();
        let mut order: Vec<usize> = valid(column.len(), nulls.as_ref()).collect();
        order.sort_unstable_by(|&a, &b| rows.row(a).cmp(&rows.row(b)));
        order.dedup_by(|a, b| rows.row(*a) == rows.row(*b));
        let keys = BinaryArray::from_iter_values(order.iter().map(|&row| rows.row(row)));
        let mut writer = RunWriter::new(&self.file);
        writer.push(Batch::new(vec![Arc::new(keys.clone())], keys.len()), keys)?;
        self.runs.extend(writer.finish()?);
        Ok(())
    }

    /// The set.
    pub(super) fn finish(self, context: &Arc<QueryContext>) -> Result<StoredSet> {
        let file = SpillFile::create(context)?;
        let mut held = context.memory.reservation("Subquery");
        let mut blocks: Vec<(Box<[u8]>, Extent)> = Vec::new();
        let (mut pending, mut bytes) = (Vec::new(), 0);
        let mut last: Option<Box<[u8]>> = None;
        let mut write = |pending: &mut Vec<Box<[u8]>>| -> Result<()> {
            let Some(first) = pending.first().cloned() else { return Ok(()) };
            held.grow(first.len() + size_of::<(Box<[u8]>, Extent)>())?;
            let values = BinaryArray::from_iter_values(pending.drain(..));
            let rows = values.len();
            blocks.push((first, file.append(&Batch::new(vec![Arc::new(values)], rows))?));
            Ok(())
        };
        let all = merge(context, self.file, self.runs)?;
        while let Some(piece) = all.claim()? {
            context.cancel.check()?;
            piece(&mut |batch| {
                for value in batch.columns[0].as_binary::<i32>().iter().flatten() {
                    if last.as_deref() == Some(value) {
                        continue;
                    }
                    bytes += value.len();
                    pending.push(value.into());
                    last = Some(value.into());
                    if bytes >= BLOCK_BYTES {
                        bytes = 0;
                        write(&mut pending)?;
                    }
                }
                Ok(())
            })?;
        }
        write(&mut pending)?;
        Ok(StoredSet { ty: self.ty, converter: self.converter, file, blocks, has_null: self.has_null, _held: held })
    }
}

impl StoredSet {
    /// `x IN set` for each row: NULL where x is, and where it is not found but NULL is in the set.
    pub(super) fn contains(&self, column: &ArrayRef) -> Result<BooleanArray> {
        let (rows, nulls) = encode(&self.ty, &self.converter, column)?;
        let mut order: Vec<usize> = valid(column.len(), nulls.as_ref()).collect();
        order.sort_unstable_by(|&a, &b| rows.row(a).cmp(&rows.row(b)));
        let mut found = BooleanBufferBuilder::new(column.len());
        found.append_n(column.len(), false);
        let mut at_hand: Option<(usize, Batch)> = None;
        for row in order {
            let value = rows.row(row);
            let value = value.as_ref();
            let Some(nth) = self.blocks.partition_point(|(first, _)| **first <= *value).checked_sub(1) else {
                continue;
            };
            let block = match &at_hand {
                Some((at, block)) if *at == nth => block,
                _ => &at_hand.insert((nth, self.file.read(&self.blocks[nth].1)?)).1,
            };
            let values = block.columns[0].as_binary_opt::<i32>().ok_or_else(|| Error::internal("a block has bytes"))?;
            let (mut low, mut high) = (0, values.len());
            while low < high {
                let middle = low + (high - low) / 2;
                if values.value(middle) < value { low = middle + 1 } else { high = middle }
            }
            found.set_bit(row, low < values.len() && values.value(low) == value);
        }
        let found = found.finish();
        let known = self.has_null.then(|| NullBuffer::new(found.clone()));
        Ok(BooleanArray::new(found, NullBuffer::union(nulls.as_ref(), known.as_ref())))
    }
}

/// Values as bytes, and which are NULL, if any is.
fn encode(ty: &Type, converter: &RowConverter, column: &ArrayRef) -> Result<(Rows, Option<NullBuffer>)> {
    let column = keys::normalize(ty, column)?;
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    Ok((converter.convert_columns(&[column])?, nulls))
}

fn valid(rows: usize, nulls: Option<&NullBuffer>) -> impl Iterator<Item = usize> {
    (0..rows).filter(move |&row| nulls.is_none_or(|nulls| nulls.is_valid(row)))
}
