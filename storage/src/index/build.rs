//! Building an index while a part is written: granules in, segments out.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};

use super::bloom::Filters;
use super::minmax::Extremes;
use super::set::Sets;
use super::text::Postings;
use super::{IndexDef, IndexKind, IndexSource, IndexValues};
use crate::checksum;
use crate::def::TableDef;
use crate::error::Decoded;
use crate::part::{PartIndex, Section};

/// A segment is ended when its blocks take this much.
const SEGMENT_BYTES: usize = 256 << 10;
/// One of a text index, whose words and rows are gathered first, takes more.
const TEXT_SEGMENT_BYTES: usize = 32 << 20;

/// Builds the blocks of one kind of index.
pub(super) trait Blocks: Send {
    /// A granule's values, of so many rows; `None` when they are not known.
    fn add(&mut self, values: Option<&ArrayRef>, rows: usize) -> Decoded<()>;
    /// The granules since the last call are a block.
    fn end_block(&mut self) -> Decoded<()>;
    /// About the bytes that the blocks since the last segment take.
    fn held(&self) -> usize;
    /// Writes the blocks since the last call.
    fn end_segment(&mut self, out: &mut Vec<u8>) -> Decoded<()>;
}

/// Builds one key of an index for one part.
pub(crate) struct IndexWriter {
    index: PartIndex,
    blocks: Box<dyn Blocks>,
    segment_bytes: usize,
    /// Granules of the open block, and of the open segment.
    in_block: u32,
    in_segment: u32,
    /// Segments that are not in the file yet.
    pub(crate) buffer: Vec<u8>,
    /// The first segment in `buffer`.
    buffered_from: usize,
}

impl IndexWriter {
    /// For the key of this number.
    pub(crate) fn new(def: &IndexDef, key: usize) -> IndexWriter {
        let ty = &def.keys[key].ty;
        let blocks: Box<dyn Blocks> = match (&def.kind, Filters::new(&def.kind)) {
            (_, Some(filters)) => Box::new(filters),
            (IndexKind::MinMax, _) => Box::new(Extremes::new(ty)),
            (IndexKind::Set(values_max), _) => Box::new(Sets::new(*values_max, ty)),
            _ => Box::new(Postings::default()),
        };
        let is_text = def.kind == IndexKind::Text;
        let (granularity, segment_bytes) =
            if is_text { (1, TEXT_SEGMENT_BYTES) } else { (def.granularity, SEGMENT_BYTES) };
        let index = PartIndex {
            id: def.id,
            key: key as u32,
            kind: def.kind,
            granularity,
            ty: ty.clone(),
            segments: Vec::new(),
        };
        IndexWriter { index, blocks, segment_bytes, in_block: 0, in_segment: 0, buffer: Vec::new(), buffered_from: 0 }
    }

    /// The next granule's values, of so many rows; `None` when they are not known.
    pub(crate) fn push(&mut self, values: Option<&ArrayRef>, rows: usize) -> Decoded<()> {
        self.blocks.add(values, rows)?;
        self.in_block += 1;
        self.in_segment += 1;
        if self.in_block == self.index.granularity {
            self.end_block()?;
            if self.blocks.held() >= self.segment_bytes {
                self.end_segment()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> Decoded<()> {
        self.in_block = 0;
        self.blocks.end_block()
    }

    fn end_segment(&mut self) -> Decoded<()> {
        let from = self.buffer.len();
        self.blocks.end_segment(&mut self.buffer)?;
        let length = (self.buffer.len() - from) as u64;
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        // Relative to the buffer until it is moved to the file.
        let section = Section { offset: from as u64, length, hash: checksum::of(&self.buffer[from..]) };
        self.index.segments.push((self.in_segment, section));
        self.in_segment = 0;
        Ok(())
    }

    /// `buffer` is in the file, from this offset on.
    pub(crate) fn moved(&mut self, offset: u64) {
        for (_, section) in &mut self.index.segments[self.buffered_from..] {
            section.offset += offset;
        }
        self.buffered_from = self.index.segments.len();
        self.buffer.clear();
    }

    /// Ends the last segment.
    pub(crate) fn end(&mut self) -> Decoded<()> {
        if self.in_block > 0 {
            self.end_block()?;
        }
        if self.in_segment > 0 { self.end_segment() } else { Ok(()) }
    }

    /// What the footer says of it.
    pub(crate) fn into_index(self) -> PartIndex {
        self.index
    }

    /// Its definition, and the key it is of.
    pub(crate) fn key<'a>(&self, def: &'a TableDef) -> Option<&'a IndexSource> {
        super::find(def, self.index.id).map(|index| &index.keys[self.index.key as usize].source)
    }
}

/// The values of an index's key over rows; `column` gives the table's columns. `None` when they are not known.
pub(crate) fn key_values<E>(
    values: Option<&dyn IndexValues>,
    def: &TableDef,
    source: &IndexSource,
    rows: usize,
    column: &dyn Fn(usize) -> Result<ArrayRef, E>,
) -> Result<Option<ArrayRef>, E> {
    let (sql, columns) = match source {
        IndexSource::Column(at) => return column(*at).map(Some),
        IndexSource::Expression { sql, columns } => (sql, columns),
    };
    let Some(values) = values else { return Ok(None) };
    let arrays: Vec<ArrayRef> = columns.iter().map(|&at| column(at)).collect::<Result<_, E>>()?;
    let computed = def
        .schema
        .project(columns)
        .and_then(|schema| {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(schema.into(), arrays, &options)
        })
        .map_err(|error| error.to_string())
        .and_then(|batch| values.values(sql, &batch));
    Ok(match computed {
        Ok(array) if array.len() == rows => Some(array),
        Ok(array) => {
            tracing::warn!(table = %def.name, sql, "an index got {} values for {rows} rows", array.len());
            None
        }
        Err(error) => {
            tracing::debug!(table = %def.name, sql, error, "values of an index are not known");
            None
        }
    })
}
