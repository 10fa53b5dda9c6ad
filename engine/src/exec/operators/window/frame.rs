//! Which rows of its partition a window function sees from each row.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatchOptions};
use arrow::datatypes::{Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use weir_sql::plan::{self, Exclude, FrameBound, FrameOffset, FrameUnits, SortKey};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::kernels::compare::{Comparator, comparator};

/// Partitions and groups of peers among the rows of a morsel.
pub(super) struct Layout {
    pub(super) partitions: Vec<Range<usize>>,
    /// Groups of peers, in order.
    pub(super) peers: Vec<Range<usize>>,
    /// Which group each row is of.
    pub(super) group: Vec<u32>,
}

impl Layout {
    /// From what begins at each row.
    pub(super) fn new(begins: &[super::Begins]) -> Layout {
        let starts = |least: super::Begins| -> Vec<Range<usize>> {
            let starts: Vec<usize> =
                (0..begins.len()).filter(|&row| row == 0 || begins[row] >= least).chain([begins.len()]).collect();
            starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
        };
        let peers = starts(super::Begins::Peers);
        let group = peers.iter().zip(0u32..).flat_map(|(peers, at)| peers.clone().map(move |_| at)).collect();
        Layout { partitions: starts(super::Begins::Partition), peers, group }
    }

    /// A row's peers, itself among them.
    pub(super) fn peers(&self, row: usize) -> Range<usize> {
        self.peers[self.group[row] as usize].clone()
    }
}

/// A compiled frame.
pub(super) struct Frame {
    units: FrameUnits,
    start: Bound,
    end: Bound,
    exclude: Exclude,
    key: Option<Expression>,
    descending: bool,
}

/// How far a frame goes to one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To a row that can be told from the rows up to it.
    Near,
    /// To the end of the row's peers.
    Peers,
    /// To the end of the partition.
    Partition,
}

enum Bound {
    Unbounded,
    CurrentRow,
    Offset { precedes: bool, value: Box<plan::FrameOffset>, key: Option<Expression> },
}

/// The rows from `start` to before `end`, of each row; neither moves back from a row to the next.
pub(super) struct Frames {
    pub(super) start: Vec<u32>,
    pub(super) end: Vec<u32>,
    exclude: Exclude,
}

impl Frame {
    pub(super) fn new(frame: &plan::Frame, order_by: &[SortKey], context: &Arc<QueryContext>) -> Result<Frame> {
        let bound = |bound: &FrameBound| {
            let offset = |precedes: bool, offset: &FrameOffset| {
                let key = offset.key.as_ref().map(|key| Expression::new(key, context)).transpose()?;
                Ok::<_, Error>(Bound::Offset { precedes, value: Box::new(offset.clone()), key })
            };
            Ok::<_, Error>(match bound {
                FrameBound::Unbounded => Bound::Unbounded,
                FrameBound::CurrentRow => Bound::CurrentRow,
                FrameBound::Preceding(of) => offset(true, of)?,
                FrameBound::Following(of) => offset(false, of)?,
            })
        };
        Ok(Frame {
            units: frame.units,
            start: bound(&frame.start)?,
            end: bound(&frame.end)?,
            exclude: frame.exclude,
            key: frame.key.as_ref().map(|key| Expression::new(key, context)).transpose()?,
            descending: order_by.first().is_some_and(|key| key.descending),
        })
    }

    /// With what it begins and ends.
    pub(super) fn reach(&self) -> (Reach, Reach) {
        let reach = |bound: &Bound| match bound {
            Bound::Unbounded => Reach::Partition,
            Bound::CurrentRow if self.units != FrameUnits::Rows && !self.needs_peers() => Reach::Peers,
            Bound::CurrentRow | Bound::Offset { .. } => Reach::Near,
        };
        (reach(&self.start), reach(&self.end))
    }

    /// Whether it cannot be told from some of a row's peers: they are left out of it, or groups of them are counted.
    pub(super) fn needs_peers(&self) -> bool {
        let offset = [&self.start, &self.end].into_iter().any(|bound| matches!(bound, Bound::Offset { .. }));
        self.units != FrameUnits::Rows && offset || matches!(self.exclude, Exclude::Group | Exclude::Ties)
    }

    /// The frames of all rows.
    pub(super) fn over(&self, rows: &Batch, layout: &Layout, context: &Arc<QueryContext>) -> Result<Frames> {
        let mut frames = Frames { start: vec![0; rows.rows], end: vec![0; rows.rows], exclude: self.exclude };
        self.bound(&self.start, true, rows, layout, &mut frames.start, context)?;
        self.bound(&self.end, false, rows, layout, &mut frames.end, context)?;
        Ok(frames)
    }

    /// One end of each row's frame: its first row, or the one after its last.
    fn bound(
        &self,
        bound: &Bound,
        is_start: bool,
        rows: &Batch,
        layout: &Layout,
        out: &mut [u32],
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let end_of = |range: &Range<usize>| if is_start { range.start } else { range.end };
        let (precedes, value, bound_key) = match bound {
            Bound::Unbounded => {
                for partition in &layout.partitions {
                    out[partition.clone()].fill(end_of(partition) as u32);
                }
                return Ok(());
            }
            Bound::CurrentRow => {
                for (row, out) in out.iter_mut().enumerate() {
                    *out = match self.units {
                        FrameUnits::Rows => row + usize::from(!is_start),
                        FrameUnits::Range | FrameUnits::Groups => end_of(&layout.peers(row)),
                    } as u32;
                }
                return Ok(());
            }
            Bound::Offset { precedes, value, key } => (*precedes, value, key),
        };
        let offset = evaluated(value, is_start, context)?;
        if let (Some(key), Some(bound)) = (&self.key, bound_key) {
            let (keys, bounds) = (key.array(rows, context)?, bound.array(rows, context)?);
            let order = comparator(&key.ty, &keys, &bounds);
            by_key(is_start, self.descending, &keys, &order, layout, out);
            return Ok(());
        }
        let offset = offset.as_primitive::<Int64Type>().value(0);
        let moved = |at: usize, from: usize, to: usize| -> usize {
            // Where the offset leads, within the partition.
            let at = at as i128 + if precedes { -i128::from(offset) } else { i128::from(offset) };
            at.clamp(from as i128, to as i128) as usize
        };
        for partition in &layout.partitions {
            let groups = layout.group[partition.start] as usize..layout.group[partition.end - 1] as usize + 1;
            for row in partition.clone() {
                out[row] = match self.units {
                    FrameUnits::Groups => {
                        let beyond = usize::from(!is_start);
                        let at = moved(layout.group[row] as usize + beyond, groups.start, groups.end);
                        if at == groups.end { partition.end } else { layout.peers[at].start }
                    }
                    _ => moved(row + usize::from(!is_start), partition.start, partition.end),
                } as u32;
            }
        }
        Ok(())
    }
}

/// An offset's value, checked.
fn evaluated(offset: &FrameOffset, is_start: bool, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let value = crate::exec::evaluate(&offset.value, &one, context)?;
    let which = if is_start { "starting" } else { "ending" };
    if value.is_null(0) {
        return Err(Error::new(ErrorKind::NullNotAllowed, format!("frame {which} offset must not be null")));
    }
    if crate::exec::evaluate(&offset.negative, &one, context)?.as_boolean().value(0) {
        return Err(Error::new(ErrorKind::InvalidFrameOffset, format!("frame {which} offset must not be negative")));
    }
    Ok(value)
}

/// One end of each row's frame by the distance of keys. Rows whose key is NULL see their peers.
fn by_key(is_start: bool, descending: bool, keys: &ArrayRef, order: &Comparator<'_>, layout: &Layout, out: &mut [u32]) {
    for partition in &layout.partitions {
        let valid = |row: &usize| keys.is_valid(*row);
        let first = partition.clone().find(valid).unwrap_or(partition.end);
        let last = partition.clone().rev().find(valid).map_or(first, |row| row + 1);
        for row in partition.clone() {
            if keys.is_null(row) {
                let peers = layout.peers(row);
                out[row] = if is_start { peers.start } else { peers.end } as u32;
                continue;
            }
            // Whether a row comes before the frame's first, or up to its last.
            let before = |at: usize| {
                let order = order(at, row);
                let order = if descending { order.reverse() } else { order };
                if is_start { order.is_lt() } else { order.is_le() }
            };
            let (mut low, mut high) = (first, last);
            while low < high {
                let middle = low + (high - low) / 2;
                if before(middle) { low = middle + 1 } else { high = middle }
            }
            out[row] = low as u32;
        }
    }
}

impl Frames {
    /// The runs of rows that a row sees, in order; some may be empty.
    pub(super) fn ranges(&self, row: usize, layout: &Layout) -> [Range<usize>; 3] {
        let (start, end) = (self.start[row] as usize, self.end[row] as usize);
        let end = end.max(start);
        let cut = |from: usize, to: usize| from.clamp(start, end)..to.clamp(start, end);
        let peers = || layout.peers(row);
        match self.exclude {
            Exclude::NoOthers => [start..end, end..end, end..end],
            Exclude::CurrentRow => [cut(start, row), cut(row + 1, end), end..end],
            Exclude::Group => [cut(start, peers().start), cut(peers().end, end), end..end],
            Exclude::Ties => [cut(start, peers().start), cut(row, row + 1), cut(peers().end, end)],
        }
    }
}
