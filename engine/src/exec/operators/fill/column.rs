//! The columns of filled rows: what a made row has in each.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt32Array, new_null_array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::Float64Type;
use weir_sql::Type;
use weir_sql::plan::{Expr, ExprKind, Gap};

use super::values::{Axis, column_of, numbers, zero};
use super::{NONE, Place, Places};
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::exec::memory::Reservation;
use crate::kernels::cast::cast_array;

/// A column's rule for made rows, with what it needs.
pub(super) struct Column(Rule);

enum Rule {
    /// The input's row, or NULL.
    Row,
    /// The key of this number.
    Key(usize),
    Partition,
    Zero(ArrayRef),
    /// The row whose value each place has; where there is none, what the partition has in a column, or else what stands here.
    Last(Vec<u32>, Option<usize>, ArrayRef),
    Linear(Box<Line>),
    /// What was computed, and each place's row in it.
    Made(ArrayRef, Vec<u32>),
}

/// The input's values, and points before and after them.
struct Line {
    values: Float64Array,
    before: Option<Points>,
    after: Option<Points>,
}

/// For each row a key and a value.
type Points = (Vec<Option<i64>>, Float64Array);

/// The input's rows and what they are filled up with.
pub(super) struct Filled {
    pub(super) rows: Batch,
    pub(super) types: Vec<Type>,
    pub(super) axes: Vec<Axis>,
    pub(super) places: Places,
    pub(super) columns: Vec<Column>,
}

impl Column {
    pub(super) fn key(number: usize) -> Column {
        Column(Rule::Key(number))
    }

    pub(super) fn partition() -> Column {
        Column(Rule::Partition)
    }

    pub(super) fn new(
        gap: &Gap,
        index: usize,
        rows: &Batch,
        types: &[Type],
        places: &Places,
        context: &Arc<QueryContext>,
    ) -> Result<Column> {
        let (column, ty) = (&rows.columns[index], &types[index]);
        let doubles = |index: usize| -> Result<Float64Array> {
            let floats = cast_array(&context.functions, &rows.columns[index], &types[index], &Type::Float8, true)?;
            Ok(floats.as_primitive::<Float64Type>().clone())
        };
        let points = |point: &Option<(usize, usize)>| -> Result<Option<Points>> {
            let Some((key, value)) = *point else { return Ok(None) };
            Ok(Some((numbers(&rows.columns[key], &types[key], context)?, doubles(value)?)))
        };
        let last = |over_nulls: bool| {
            let (mut last, mut partition) = (NONE, NONE);
            let mut rows = Vec::with_capacity(places.rows.len());
            for place in &places.rows {
                if place.partition != partition {
                    (last, partition) = (NONE, place.partition);
                }
                if place.row != NONE && !(over_nulls && column.is_null(place.row as usize)) {
                    last = place.row;
                }
                rows.push(last);
            }
            rows
        };
        Ok(Column(match gap {
            Gap::Null => Rule::Row,
            Gap::Last { over_nulls, first } => Rule::Last(last(*over_nulls), *first, new_null_array(&ty.to_arrow(), 1)),
            Gap::Before(expr) if expr.kind == ExprKind::Column(index) => {
                Rule::Last(last(false), None, zero(ty, context)?)
            }
            // What the row before gives comes in later.
            Gap::Zero | Gap::Before(_) => Rule::Zero(zero(ty, context)?),
            Gap::Linear { before, after } => {
                let (values, before, after) = (doubles(index)?, points(before)?, points(after)?);
                Rule::Linear(Box::new(Line { values, before, after }))
            }
        }))
    }
}

impl Filled {
    /// The rows at these places.
    pub(super) fn batch(&self, places: &[usize], context: &Arc<QueryContext>) -> Result<Batch> {
        let columns = (0..self.columns.len()).map(|column| self.gather(column, places, context));
        Ok(Batch::new(columns.collect::<Result<_>>()?, places.len()))
    }

    fn gather(&self, index: usize, places: &[usize], context: &Arc<QueryContext>) -> Result<ArrayRef> {
        let (column, ty) = (&self.rows.columns[index], &self.types[index]);
        let run = || places.iter().map(|&at| &self.places.rows[at]);
        let rows = |row: &dyn Fn(&Place) -> u32| {
            UInt32Array::from_iter(run().map(|place| Some(row(place)).filter(|row| *row != NONE)))
        };
        // Real rows from the input, made ones from another array.
        let mixed = |made: &ArrayRef, of: &dyn Fn(usize) -> usize| -> Result<ArrayRef> {
            let index =
                |(at, place): (usize, &Place)| if place.row == NONE { (1, of(at)) } else { (0, place.row as usize) };
            let indices: Vec<(usize, usize)> = run().enumerate().map(index).collect();
            Ok(interleave(&[column.as_ref(), made.as_ref()], &indices)?)
        };
        match &self.columns[index].0 {
            Rule::Row => Ok(take(column, &rows(&|place| place.row), None)?),
            Rule::Partition => Ok(take(column, &rows(&|place| place.partition), None)?),
            Rule::Last(last, first, nothing) => {
                let first = first.map(|first| &self.rows.columns[first]);
                let index = |&at: &usize| match (last[at], self.places.rows[at].partition as usize) {
                    (NONE, partition) if first.is_some_and(|first| partition < first.len()) => (2, partition),
                    (NONE, _) => (1, 0),
                    (row, _) => (0, row as usize),
                };
                let indices: Vec<(usize, usize)> = places.iter().map(index).collect();
                let arrays = [column.as_ref(), nothing.as_ref(), first.unwrap_or(nothing).as_ref()];
                Ok(interleave(&arrays, &indices)?)
            }
            Rule::Zero(zero) => mixed(zero, &|_| 0),
            Rule::Key(number) => {
                let values: Vec<i64> = places.iter().map(|&at| self.places.keys[*number][at]).collect();
                mixed(&column_of(&values, ty, context)?, &|at| at)
            }
            Rule::Made(made, of) => mixed(made, &|at| of[places[at]] as usize),
            Rule::Linear(line) => {
                let keys = &self.axes[0].keys;
                let value = |at: &usize| {
                    let (place, key) = (&self.places.rows[*at], self.places.keys[0][*at]);
                    let known = |row: u32, outside: &Option<Points>| {
                        let (keys, floats, row) = match (row, outside) {
                            (NONE, Some((keys, floats))) => (keys, floats, place.partition as usize),
                            (row, _) => (keys, &line.values, row as usize),
                        };
                        (row < floats.len() && floats.is_valid(row)).then(|| Some((keys[row]?, floats.value(row))))?
                    };
                    let ((x0, y0), (x1, y1)) = (known(place.before, &line.before)?, known(place.after, &line.after)?);
                    let far = |a: i64, b: i64| (i128::from(b) - i128::from(a)) as f64;
                    let y = (y0 * far(key, x1) + y1 * far(x0, key)) / far(x0, x1);
                    Some(if ty.is_integer() { y.trunc() } else { y })
                };
                let made: ArrayRef = Arc::new(places.iter().map(value).collect::<Float64Array>());
                mixed(&cast_array(&context.functions, &made, &Type::Float8, ty, true)?, &|at| at)
            }
        }
    }

    /// With what columns have of the row before: the first made row of every gap at once, then the second of those that have one, ….
    pub(super) fn interpolated(
        mut self,
        gaps: &[Gap],
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<Filled> {
        let computed = |(index, gap): (usize, &Gap)| match gap {
            Gap::Before(expr) if matches!(self.columns[index].0, Rule::Zero(_)) => Some((index, expr.clone())),
            _ => None,
        };
        let wanted: Vec<(usize, Expr)> = gaps.iter().enumerate().filter_map(computed).collect();
        if wanted.is_empty() {
            return Ok(self);
        }
        let exprs = wanted.iter().map(|(_, expr)| Expression::new(expr, context)).collect::<Result<Vec<_>>>()?;
        exprs.iter().for_each(|expr| expr.prepare(context));
        let mut runs = self.gaps();
        runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
        let mut before = self.rows_before(&runs, context)?;
        let mut made: Vec<Vec<ArrayRef>> = vec![Vec::new(); wanted.len()];
        let (mut of, mut count) = (vec![NONE; self.places.rows.len()], 0_u32);
        for round in 0..runs.first().map_or(0, |run| run.len()) {
            context.cancel.check()?;
            let open = runs.partition_point(|run| run.len() > round);
            before = before.slice(0, open);
            let places: Vec<usize> = runs[..open].iter().map(|run| run.start + round).collect();
            let values = exprs.iter().map(|expr| expr.array(&before, context)).collect::<Result<Vec<ArrayRef>>>()?;
            for &at in &places {
                of[at] = count;
                count += 1;
            }
            let mut rows = self.batch(&places, context)?;
            for (((index, _), value), made) in wanted.iter().zip(values).zip(&mut made) {
                held.grow(value.get_array_memory_size())?;
                made.push(value.clone());
                rows.columns[*index] = value;
            }
            before = rows;
        }
        for ((index, _), made) in wanted.iter().zip(made) {
            if !made.is_empty() {
                let parts: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
                self.columns[*index] = Column(Rule::Made(concat(&parts)?, of.clone()));
            }
        }
        Ok(self)
    }

    /// The places of made rows that follow each other.
    fn gaps(&self) -> Vec<std::ops::Range<usize>> {
        let mut gaps: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, place) in self.places.rows.iter().enumerate().filter(|(_, place)| place.row == NONE) {
            match gaps.last_mut() {
                Some(gap) if gap.end == at && self.places.rows[gap.start].partition == place.partition => gap.end += 1,
                _ => gaps.push(at..at + 1),
            }
        }
        gaps
    }

    /// The row before each gap, and a row of zeros where it has none.
    fn rows_before(&self, gaps: &[std::ops::Range<usize>], context: &Arc<QueryContext>) -> Result<Batch> {
        let row = |gap: &std::ops::Range<usize>| match gap.start.checked_sub(1).map(|before| self.places.rows[before]) {
            Some(before) if before.partition == self.places.rows[gap.start].partition => (0, before.row as usize),
            _ => (1, 0),
        };
        let indices: Vec<(usize, usize)> = gaps.iter().map(row).collect();
        let column = |(column, ty): (&ArrayRef, &Type)| -> Result<ArrayRef> {
            Ok(interleave(&[column.as_ref(), zero(ty, context)?.as_ref()], &indices)?)
        };
        let columns = self.rows.columns.iter().zip(&self.types).map(column).collect::<Result<_>>()?;
        Ok(Batch::new(columns, gaps.len()))
    }
}
