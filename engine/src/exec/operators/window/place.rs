//! Window functions of a row's place: numbers, ranks, and the values of other rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, UInt32Array, new_null_array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::Int32Type;
use weir_sql::Type;

use super::frame::{Frame, Layout};
use super::season::{ewma, seasonal_lag};
use super::{Before, Beyond};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::{Expression, arrays};
use crate::functions::window::WindowFunction;

/// A compiled call.
pub(super) struct Place {
    pub(super) function: WindowFunction,
    pub(super) args: Vec<Expression>,
    pub(super) frame: Frame,
    pub(super) ignore_nulls: bool,
    pub(super) ty: Type,
}

impl Place {
    /// Its value in each row. Of `ntile` what is beyond are the arguments in the partition's first row, if that is not at hand.
    pub(super) fn over(
        &self,
        rows: &Batch,
        layout: &Layout,
        before: &Before,
        beyond: &Beyond,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        use WindowFunction as W;
        let args = match (self.function, &beyond.before) {
            (W::Ntile, Some(first)) => first.clone(),
            _ => arrays(&self.args, rows, context)?,
        };
        let mut numbers = Vec::with_capacity(rows.rows);
        let mut shares = Vec::new();
        match self.function {
            W::Ntile => return ntile(&args[0], layout, before),
            W::Lag | W::Lead => return self.beside(&args, layout),
            W::Ewma => return ewma(&args, layout, beyond.before.as_ref().map(|before| &before[0])),
            W::SeasonalLag => return seasonal_lag(&args, &self.args[1].ty, layout, context),
            W::ZScore | W::MadScore => return Err(Error::internal("a score is not of a row's place")),
            W::FirstValue | W::LastValue | W::NthValue => return self.of_frame(&args, rows, layout, beyond, context),
            W::RowNumber | W::Rank | W::DenseRank | W::PercentRank | W::CumeDist => {}
        }
        for partition in &layout.partitions {
            let (first, total) = (partition.start, before.total.unwrap_or(partition.len()));
            let nth = |row: usize| before.rows + row - first;
            let groups = before.groups as i64 - i64::from(before.group_start.is_some());
            for row in partition.clone() {
                let peers = layout.peers(row);
                let start = before.group_start.filter(|_| peers.start == first).unwrap_or_else(|| nth(peers.start));
                match self.function {
                    W::Rank => numbers.push(start as i64 + 1),
                    W::DenseRank => numbers.push(groups + i64::from(layout.group[row] - layout.group[first]) + 1),
                    W::PercentRank if total == 1 => shares.push(0.0),
                    W::PercentRank => shares.push(start as f64 / (total - 1) as f64),
                    W::CumeDist => {
                        let end = before.group_end.filter(|_| peers.end == partition.end);
                        shares.push(end.unwrap_or_else(|| nth(peers.end)) as f64 / total as f64);
                    }
                    _ => numbers.push(nth(row) as i64 + 1),
                }
            }
        }
        Ok(match self.function {
            W::PercentRank | W::CumeDist => Arc::new(Float64Array::from(shares)),
            _ => Arc::new(Int64Array::from(numbers)),
        })
    }

    /// Rows that count when NULLs do not; `None` if all do.
    fn counted(&self, values: &ArrayRef) -> Option<Vec<usize>> {
        let nulls = values.logical_nulls().filter(|nulls| self.ignore_nulls && nulls.null_count() > 0)?;
        Some(nulls.inner().set_indices().collect())
    }

    /// lag and lead.
    fn beside(&self, args: &[ArrayRef], layout: &Layout) -> Result<ArrayRef> {
        let values = &args[0];
        let offsets = args.get(1).map(|offsets| offsets.as_primitive::<Int32Type>());
        let none = new_null_array(&self.ty.to_arrow(), 1);
        let default = args.get(2).unwrap_or(&none);
        let counted = self.counted(values);
        // Pieces are the values, what stands for a row that is not there, and NULL.
        let mut places = Vec::with_capacity(values.len());
        for partition in &layout.partitions {
            for row in partition.clone() {
                let offset = match offsets {
                    Some(offsets) if offsets.is_null(row) => {
                        places.push((2, 0));
                        continue;
                    }
                    Some(offsets) => i64::from(offsets.value(row)),
                    None => 1,
                };
                let offset = if self.function == WindowFunction::Lag { -offset } else { offset };
                let there = match &counted {
                    _ if offset == 0 => Some(row),
                    None => usize::try_from(row as i64 + offset).ok(),
                    Some(counted) => {
                        // The row itself is none of those before or after it.
                        let (before, through) =
                            (counted.partition_point(|&at| at < row), counted.partition_point(|&at| at <= row));
                        let at = if offset < 0 { before as i64 + offset } else { through as i64 + offset - 1 };
                        usize::try_from(at).ok().and_then(|at| counted.get(at).copied())
                    }
                };
                places.push(match there.filter(|at| partition.contains(at)) {
                    Some(at) => (0, at),
                    None => (1, if args.len() > 2 { row } else { 0 }),
                });
            }
        }
        Ok(interleave(&[values.as_ref(), default.as_ref(), none.as_ref()], &places)?)
    }

    /// first_value, last_value and nth_value.
    fn of_frame(
        &self,
        args: &[ArrayRef],
        rows: &Batch,
        layout: &Layout,
        beyond: &Beyond,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let values = &args[0];
        let none_beyond = values.slice(0, 0);
        let of = |beyond: &Option<Vec<ArrayRef>>| beyond.as_ref().map_or(&none_beyond, |values| &values[0]).clone();
        let (earlier, later) = (of(&beyond.before), of(&beyond.after));
        let frames = self.frame.over(rows, layout, context)?;
        let counted = self.counted(values);
        let none = new_null_array(&self.ty.to_arrow(), 1);
        let nth = args.get(1).map(|nth| nth.as_primitive::<Int32Type>());
        let mut places = Vec::with_capacity(rows.rows);
        for row in 0..rows.rows {
            let mut left = match (self.function, nth) {
                (_, Some(nth)) if nth.is_null(row) => {
                    places.push((1, 0));
                    continue;
                }
                (_, Some(nth)) if nth.value(row) <= 0 => {
                    let message = "argument of nth_value must be greater than zero";
                    return Err(Error::new(ErrorKind::InvalidNthValue, message));
                }
                (_, Some(nth)) => nth.value(row) as usize - 1,
                _ => 0,
            };
            let ranges = frames.ranges(row, layout).map(|range| match &counted {
                None => range,
                Some(counted) => {
                    counted.partition_point(|&at| at < range.start)..counted.partition_point(|&at| at < range.end)
                }
            });
            let sees = beyond.seen_from(row, layout);
            let seen = [if sees.0 { earlier.len() } else { 0 }, if sees.1 { later.len() } else { 0 }];
            // The frame as runs of places: of the values before, at hand and after.
            let [first, second, third] = ranges;
            let runs = [(2, 0..seen[0]), (0, first), (0, second), (0, third), (3, 0..seen[1])];
            let at = if self.function == WindowFunction::LastValue {
                runs.iter().rev().find(|(_, run)| !run.is_empty()).map(|(of, run)| (*of, run.end - 1))
            } else {
                runs.iter().find_map(|(of, run)| {
                    let at = run.start + left;
                    left = left.saturating_sub(run.len());
                    (at < run.end).then_some((*of, at))
                })
            };
            places.push(match (at, &counted) {
                (Some((0, at)), Some(counted)) => (0, counted[at]),
                (Some(at), _) => at,
                (None, _) => (1, 0),
            });
        }
        Ok(interleave(&[values.as_ref(), none.as_ref(), earlier.as_ref(), later.as_ref()], &places)?)
    }

    /// How many values of the rows before or after others `first_value` and the like may ask for; `None` if that is not the same in all rows.
    pub(super) fn depth(&self) -> Option<usize> {
        let Some(nth) = self.args.get(1) else { return Some(1) };
        let nth = nth.constant_value()?.array.as_primitive_opt::<Int32Type>()?;
        Some(if nth.is_null(0) { 0 } else { usize::try_from(nth.value(0)).unwrap_or(0) })
    }

    /// The values that matter of some rows and of others before and after them, of which those are given that matter.
    pub(super) fn joined(
        &self,
        before: Option<&ArrayRef>,
        rows: &ArrayRef,
        after: Option<&ArrayRef>,
    ) -> Result<ArrayRef> {
        let counted = match self.counted(rows) {
            Some(counted) => take(rows, &UInt32Array::from_iter_values(counted.into_iter().map(|at| at as u32)), None)?,
            None => rows.clone(),
        };
        let all: Vec<&dyn Array> = before.into_iter().chain([&counted]).chain(after).map(AsRef::as_ref).collect();
        let all = concat(&all)?;
        let few = all.len().min(self.depth().unwrap_or(1));
        let from = if self.function == WindowFunction::LastValue { all.len() - few } else { 0 };
        Ok(take(&all, &UInt32Array::from_iter_values((from..from + few).map(|at| at as u32)), None)?)
    }
}

fn ntile(buckets: &ArrayRef, layout: &Layout, before: &Before) -> Result<ArrayRef> {
    let buckets = buckets.as_primitive::<Int32Type>();
    let mut numbers: Vec<Option<i32>> = Vec::with_capacity(buckets.len());
    for partition in &layout.partitions {
        // The number is what it is in the partition's first row, as in PostgreSQL.
        if buckets.is_null(partition.start) {
            numbers.extend(partition.clone().map(|_| None));
            continue;
        }
        let count = buckets.value(partition.start);
        if count <= 0 {
            let message = "argument of ntile must be greater than zero";
            return Err(Error::new(ErrorKind::InvalidNtile, message));
        }
        let total = before.total.unwrap_or(partition.len());
        let (least, more) = (total / count as usize, total % count as usize);
        let long = more * (least + 1);
        numbers.extend((before.rows..before.rows + partition.len()).map(|row| {
            let bucket = if row < long { row / (least + 1) } else { more + (row - long) / least.max(1) };
            Some(bucket as i32 + 1)
        }));
    }
    Ok(Arc::new(Int32Array::from(numbers)))
}
