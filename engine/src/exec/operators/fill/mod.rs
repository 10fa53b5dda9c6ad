//! WITH FILL and time_bucket_gapfill: rows in order, and between them those whose key is missing.
//!
//! The input comes sorted by partition and keys and is read whole. Each partition is walked along the values that its key is to have: first, first plus
//! one step, plus two … (counted from the first, so that months of different lengths do not drift); with several keys, along those of the
//! second for each of the first, and so on. Rows are kept as they are, wherever they lie; a value that no row has becomes a *made* row.
//! What is decided first is only which rows there are and between which they stand; columns are gathered morsel by morsel when they are
//! read.

mod column;
mod values;

use std::sync::Arc;

use weir_sql::plan::{Expr, FillRange, Gap, SortKey};

use self::column::Column;
use self::values::{Axis, Range, Walk};
use super::sort::SortKeys;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Numbered, Source};
use crate::exec::reader::Reader;

pub(crate) struct Fill {
    input: Node,
    partition_by: Vec<usize>,
    partitions: SortKeys,
    ranges: Vec<Range>,
    gaps: Vec<Gap>,
}

/// No row.
const NONE: u32 = u32::MAX;

/// A row that is put out.
#[derive(Clone, Copy)]
struct Place {
    /// The input's row, or [`NONE`] for a made one.
    row: u32,
    /// A row of the partition.
    partition: u32,
    /// The rows with a key around it.
    before: u32,
    after: u32,
}

/// The rows that are put out, and their keys, column by column.
struct Places {
    rows: Vec<Place>,
    keys: Vec<Vec<i64>>,
}

impl Places {
    fn push(&mut self, row: u32, partition: u32, keys: impl Iterator<Item = i64>) {
        self.rows.push(Place { row, partition, before: NONE, after: NONE });
        self.keys.iter_mut().zip(keys).for_each(|(column, key)| column.push(key));
    }
}

/// The walk along the values of all keys.
struct Filler<'a> {
    axes: &'a [Axis],
    partition: u32,
    places: Places,
    context: &'a Arc<QueryContext>,
}

impl Filler<'_> {
    /// Rows that are equal in the keys before this one, whose values are `outer`.
    fn fill(&mut self, rows: std::ops::Range<usize>, outer: &mut Vec<i64>) -> Result<()> {
        let axes = self.axes;
        let Some(axis) = axes.get(outer.len()) else {
            rows.for_each(|row| self.keep(row));
            return Ok(());
        };
        let innermost = outer.len() + 1 == axes.len();
        let mut walk = Walk::new(axis, axis.from.or_else(|| rows.clone().find_map(|row| axis.keys[row])));
        let mut start = rows.start;
        while start < rows.end {
            let key = axis.keys[start];
            let same = |row: &usize| !innermost && axis.keys[*row] == key;
            let end = (start + 1..rows.end).find(|row| !same(row)).unwrap_or(rows.end);
            let mut is_value = false;
            if let Some(key) = key {
                while let Some(value) = walk.next.filter(|value| axis.is_before(*value, key)) {
                    self.make(value, outer)?;
                    walk.advance(self.context)?;
                }
                is_value = walk.next == Some(key);
                if is_value {
                    walk.advance(self.context)?;
                }
            }
            match key.filter(|_| is_value) {
                Some(key) => {
                    outer.push(key);
                    self.fill(start..end, outer)?;
                    outer.pop();
                }
                // A row beside all values is left as it is.
                None => (start..end).for_each(|row| self.keep(row)),
            }
            start = end;
        }
        while let Some(value) = walk.next.filter(|_| axis.to.is_some()) {
            self.make(value, outer)?;
            walk.advance(self.context)?;
        }
        Ok(())
    }

    /// A value of a key that no row has: all values of the keys within it, or one row where they have no bounds.
    fn make(&mut self, value: i64, outer: &mut Vec<i64>) -> Result<()> {
        outer.push(value);
        let made = self.places.rows.len();
        if outer.len() < self.axes.len() {
            self.fill(0..0, outer)?;
        }
        if self.places.rows.len() == made {
            let inner = self.axes[outer.len()..].iter().map(|axis| axis.from.unwrap_or(0));
            self.places.push(NONE, self.partition, outer.iter().copied().chain(inner));
        }
        outer.pop();
        Ok(())
    }

    fn keep(&mut self, row: usize) {
        let keys = self.axes.iter().map(|axis| axis.keys[row].unwrap_or(0));
        self.places.push(row as u32, self.partition, keys);
    }
}

impl Fill {
    pub(crate) fn new(
        input: Node,
        partition_by: &[usize],
        ranges: &[FillRange],
        gaps: &[Gap],
        context: &Arc<QueryContext>,
    ) -> Result<Fill> {
        let of_partition = |&column: &usize| SortKey {
            expr: Expr::column(column, input.columns[column].ty.clone()),
            descending: false,
            nulls_first: false,
        };
        let keys: Vec<SortKey> = partition_by.iter().map(of_partition).collect();
        Ok(Fill {
            partitions: SortKeys::new(&keys, context)?,
            partition_by: partition_by.to_vec(),
            ranges: ranges.iter().map(|range| Range::new(range, context)).collect::<Result<_>>()?,
            gaps: gaps.to_vec(),
            input,
        })
    }

    /// The rows that are put out.
    fn places(&self, rows: &Batch, axes: &[Axis], context: &Arc<QueryContext>) -> Result<Places> {
        let encoded = self.partitions.encode(rows, context)?;
        let begins = |row: usize| row == 0 || encoded.num_rows() > 0 && encoded.row(row) != encoded.row(row - 1);
        let mut starts: Vec<usize> = (0..rows.rows).filter(|&row| begins(row)).collect();
        if starts.is_empty() && self.partition_by.is_empty() {
            // Even over no rows there is one partition.
            starts.push(0);
        }
        starts.push(rows.rows);
        let places = Places { rows: Vec::new(), keys: vec![Vec::new(); axes.len()] };
        let mut filler = Filler { axes, partition: NONE, places, context };
        for ends in starts.windows(2) {
            let first = filler.places.rows.len();
            filler.partition = ends[0] as u32;
            filler.fill(ends[0]..ends[1], &mut Vec::new())?;
            neighbours(&mut filler.places.rows[first..], &axes[0].keys);
        }
        Ok(filler.places)
    }
}

/// Tells each row between which it stands.
fn neighbours(places: &mut [Place], keys: &[Option<i64>]) {
    let real = |place: &Place| place.row != NONE && keys[place.row as usize].is_some();
    let mut last = NONE;
    for place in places.iter_mut() {
        place.before = last;
        last = if real(place) { place.row } else { last };
    }
    last = NONE;
    for place in places.iter_mut().rev() {
        place.after = last;
        last = if real(place) { place.row } else { last };
    }
}

impl Operator for Fill {
    fn describe(&self) -> Description {
        Description::new("Fill")
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let types = self.input.types();
        let mut held = context.memory.reservation("Fill");
        let mut reader = Reader::new(context, self.input.open(context)?);
        let mut batches = Vec::new();
        while let Some(batch) = reader.next()? {
            held.grow(batch.bytes())?;
            batches.push(batch);
        }
        let rows = Batch::concat(&batches, &types)?;
        drop(batches);
        self.partitions.prepare(context);
        let axis = |range: &Range| range.axis(&rows.columns[range.key], &types[range.key], context);
        let axes = self.ranges.iter().map(axis).collect::<Result<Vec<Axis>>>()?;
        let places = self.places(&rows, &axes, context)?;
        let count = places.rows.len();
        let keys = axes.len() * size_of::<Option<i64>>();
        held.grow(count * (size_of::<Place>() + axes.len() * size_of::<i64>()) + rows.rows * keys)?;
        let mut columns = Vec::with_capacity(types.len());
        for (index, gap) in self.gaps.iter().enumerate() {
            columns.push(match self.ranges.iter().position(|range| range.key == index) {
                Some(key) => Column::key(key),
                None if self.partition_by.contains(&index) => Column::partition(),
                None => Column::new(gap, index, &rows, &types, &places, context)?,
            });
        }
        let filled = column::Filled { rows, types, axes, places, columns };
        let filled = filled.interpolated(&self.gaps, &mut held, context)?;
        metrics.held(&held);
        let (size, own) = (context.batch_rows.max(1), context.clone());
        Ok(Arc::new(Numbered::new(count.div_ceil(size), move |i, emit| {
            let _ = &held;
            let run: Vec<usize> = (i * size..((i + 1) * size).min(count)).collect();
            emit(filled.batch(&run, &own)?)
        })))
    }

    fn estimate(&self) -> f64 {
        self.input.operator.estimate() * 2.0
    }
}
