//! [`Batch`]: columns of equal length, what flows through pipelines.
//!
//! A `RecordBatch` without its schema: the plan knows the types, and a batch may have rows but no columns (`SELECT count(*)`).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, NullArray, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array,
    new_null_array,
};
use arrow::compute::{filter, take};
use arrow::datatypes::{ByteViewType, DataType, Schema, SchemaRef};
use weir_sql::Type;
use weir_sql::plan::OutputColumn;

use crate::error::{Error, Result};
use crate::exec::concat::concat;

/// Columns of `rows` rows each.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns.
    pub columns: Vec<ArrayRef>,
    /// How many rows.
    pub rows: usize,
}

impl Batch {
    /// Of these columns.
    pub fn new(columns: Vec<ArrayRef>, rows: usize) -> Batch {
        debug_assert!(columns.iter().all(|c| c.len() == rows), "columns are of one length");
        Batch { columns, rows }
    }

    /// No rows of these types.
    pub fn empty<'a>(types: impl IntoIterator<Item = &'a Type>) -> Batch {
        Batch { columns: types.into_iter().map(|ty| new_empty_array(&ty.to_arrow())).collect(), rows: 0 }
    }

    /// `rows` rows of NULLs.
    pub fn nulls<'a>(types: impl IntoIterator<Item = &'a Type>, rows: usize) -> Batch {
        Batch { columns: types.into_iter().map(|ty| new_null_array(&ty.to_arrow(), rows)).collect(), rows }
    }

    /// `rows` rows of `width` columns, of which these are there and the others only in name.
    pub(crate) fn sparse(width: usize, rows: usize, columns: impl IntoIterator<Item = (usize, ArrayRef)>) -> Batch {
        let nothing: ArrayRef = Arc::new(NullArray::new(rows));
        let mut all = vec![nothing; width];
        columns.into_iter().for_each(|(at, column)| all[at] = column);
        Batch::new(all, rows)
    }

    /// A record batch's columns.
    pub fn from_record(batch: &RecordBatch) -> Batch {
        Batch { columns: batch.columns().to_vec(), rows: batch.num_rows() }
    }

    /// With a schema again.
    pub fn into_record(self, schema: &SchemaRef) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(schema.clone(), self.columns, &options)
            .map_err(|e| Error::internal(format!("an operator put out columns of other types than its plan says: {e}")))
    }

    /// The rows at these places.
    pub fn take(&self, indices: &UInt32Array) -> Result<Batch> {
        let columns = self.columns.iter().map(|c| take(c, indices, None)).collect::<std::result::Result<_, _>>()?;
        Ok(Batch { columns, rows: indices.len() })
    }

    /// The rows for which `keep` is true.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Batch> {
        let kept = keep.true_count();
        if kept == self.rows {
            return Ok(self.clone());
        }
        let columns = self.columns.iter().map(|c| filter(c, keep)).collect::<std::result::Result<_, _>>()?;
        Ok(Batch { columns, rows: kept })
    }

    /// A run of rows, without a copy.
    pub fn slice(&self, offset: usize, rows: usize) -> Batch {
        Batch { columns: self.columns.iter().map(|c| c.slice(offset, rows)).collect(), rows }
    }

    /// All rows of several batches of the same types.
    pub fn concat(batches: &[Batch], types: &[Type]) -> Result<Batch> {
        match batches {
            [] => Ok(Batch::empty(types)),
            [one] => Ok(one.clone()),
            [first, ..] => {
                let columns = (0..first.columns.len())
                    .map(|i| concat(&batches.iter().map(|b| b.columns[i].as_ref()).collect::<Vec<_>>()))
                    .collect::<Result<_>>()?;
                Ok(Batch { columns, rows: batches.iter().map(|b| b.rows).sum() })
            }
        }
    }

    /// The left's columns, then the right's.
    pub fn beside(mut self, right: Batch) -> Batch {
        debug_assert_eq!(self.rows, right.rows, "batches side by side have the same rows");
        self.columns.extend(right.columns);
        self
    }

    /// About how many bytes its rows need. Shared buffers behind text views count by what the views show of them, so that many batches
    /// over one dictionary do not count it many times.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(array_bytes).sum()
    }
}

/// See [`Batch::bytes`].
pub(crate) fn array_bytes(array: &ArrayRef) -> usize {
    fn views<T: ByteViewType>(array: &dyn Array) -> usize {
        let long: usize =
            array.as_byte_view::<T>().views().iter().map(|v| *v as u32 as usize).filter(|n| *n > 12).sum();
        16 * array.len() + long
    }
    match array.data_type() {
        DataType::Utf8View => views::<arrow::datatypes::StringViewType>(array),
        DataType::BinaryView => views::<arrow::datatypes::BinaryViewType>(array),
        DataType::Binary => {
            let offsets = array.as_binary::<i32>().value_offsets();
            4 * array.len() + (offsets[array.len()] - offsets[0]) as usize
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[array.len()] as usize);
            4 * array.len() + array_bytes(&list.values().slice(first, last - first))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(array_bytes).sum(),
        other => other.primitive_width().unwrap_or(16) * array.len() + array.len() / 8,
    }
}

/// The Arrow schema of a plan's columns; every column may be NULL.
pub fn schema_of(columns: &[OutputColumn]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|c| c.ty.field(&c.name, true)).collect::<Vec<_>>()))
}
