//! Asking an index: a segment's blocks against a test.

use arrow::buffer::Buffer;

use super::bloom::OpenFilters;
use super::minmax::OpenExtremes;
use super::set::OpenSets;
use super::text::OpenPostings;
use super::{IndexKind, IndexTest};
use crate::error::Decoded;
use crate::part::PartIndex;

/// The summaries of a segment's blocks.
pub(crate) trait Probe: Send + Sync {
    /// Of each block, whether a row in it may pass.
    fn blocks(&self, test: &IndexTest) -> Vec<bool>;
}

/// A segment, open.
pub(crate) enum Segment {
    /// A summary for each block, of so many granules.
    Blocks { granularity: u32, probe: Box<dyn Probe> },
    /// Rows by word.
    Text(OpenPostings),
}

impl Segment {
    /// Reads a segment of so many granules.
    pub(crate) fn read(index: &PartIndex, section: &Buffer, granules: u32) -> Decoded<Segment> {
        let blocks = granules.div_ceil(index.granularity) as usize;
        let probe: Box<dyn Probe> = match &index.kind {
            IndexKind::MinMax => Box::new(OpenExtremes::read(&index.ty, section, blocks)?),
            IndexKind::Set(_) => Box::new(OpenSets::read(&index.ty, section, blocks)?),
            IndexKind::Text => return Ok(Segment::Text(OpenPostings::read(section)?)),
            kind => Box::new(OpenFilters::read(kind, &index.ty, section, blocks)?),
        };
        Ok(Segment::Blocks { granularity: index.granularity, probe })
    }

    /// Of each granule, whether a row in it may pass; `rows` is how many each has.
    pub(crate) fn may_match(&self, test: &IndexTest, rows: &[u32]) -> Decoded<Vec<bool>> {
        match self {
            Segment::Text(postings) => postings.may_match(test, rows),
            Segment::Blocks { granularity, probe } => {
                let blocks = probe.blocks(test);
                Ok((0..rows.len()).map(|granule| blocks[granule / *granularity as usize]).collect())
            }
        }
    }

    /// Reads what is only read when it is asked for, to find damage.
    pub(crate) fn verify(&self) -> Decoded<()> {
        match self {
            Segment::Text(postings) => postings.verify(),
            Segment::Blocks { .. } => Ok(()),
        }
    }
}
