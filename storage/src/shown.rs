//! What a version shows of a part: all its rows but those that were deleted since it was written.

use std::ops::{Deref, Range};
use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::marks::Marks;
use crate::part::Part;

/// A part as one version shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub(crate) part: Arc<Part>,
    /// The rows that are deleted.
    pub(crate) deleted: Marks,
}

impl Shown {
    /// A part of which every row is alive.
    pub(crate) fn new(part: Arc<Part>) -> Shown {
        Shown { part, deleted: Marks::default() }
    }

    /// The part.
    pub fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// How many of its rows are not deleted. ([`Part::rows`] counts both.)
    pub fn living_rows(&self) -> u64 {
        self.part.rows() - self.deleted.len()
    }

    /// How many of its rows are deleted.
    pub fn deleted_rows(&self) -> u64 {
        self.deleted.len()
    }

    /// Which rows of a run of granules are deleted, ascending, counted from the run's first.
    pub fn deleted_in(&self, granules: Range<usize>) -> Result<Vec<u32>> {
        if self.deleted.is_empty() {
            return Ok(Vec::new());
        }
        let starts = self.starts()?;
        Ok(self.deleted.offsets(starts[granules.start]..starts[granules.end]))
    }

    /// How many rows each granule has, deleted ones counted.
    pub fn granule_rows(&self) -> Result<&[u32]> {
        self.granules()
    }

    /// How many values of a column are NULL in each granule, those of deleted rows counted.
    pub fn nulls(&self, column: usize) -> Result<&[u32]> {
        Ok(&self.index(column)?.nulls)
    }

    /// The least and the greatest value of a column in each granule, those of deleted rows among them; NULL where they are not known. `None` for a
    /// column without an order.
    pub fn bounds(&self, column: usize) -> Result<Option<(&ArrayRef, &ArrayRef)>> {
        Ok(self.index(column)?.zones.as_ref().map(|(min, max)| (min, max)))
    }
}

impl Deref for Shown {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}
