//! What a version shows of a part: all its rows but those that were deleted since it was written.

use std::ops::Deref;
use std::sync::Arc;

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
}

impl Deref for Shown {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}
