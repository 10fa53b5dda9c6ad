//! WITH FILL and time_bucket_gapfill: rows in order, and between them those whose key is missing.
//!
//! The input comes sorted by partition and key and is read whole. Each partition is walked along the values that its key is to have: first, first plus
//! one step, plus two … (counted from the first, so that months of different lengths do not drift). Rows are kept as they are, wherever
//! they lie; a value that no row has becomes a *made* row. What is decided first is only which rows there are and between which they
//! stand; columns are gathered morsel by morsel when they are read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringViewArray, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{
    Date32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::Type;
use weir_sql::plan::{Expr, FillRange, Gap, SortKey};

use super::sort::SortKeys;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Numbered, Reader, Source};
use crate::kernels::cast::cast_array;
use crate::kernels::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, add_interval, date_to_micros};
use crate::session::time_zone;

pub(crate) struct Fill {
    input: Node,
    partition_by: Vec<usize>,
    partitions: SortKeys,
    key: usize,
    descending: bool,
    inclusive: bool,
    from: Option<Expression>,
    to: Option<Expression>,
    step: Expression,
    zone: Option<Expression>,
    values: Vec<Gap>,
}

/// No row.
const NONE: u32 = u32::MAX;

/// A row that is put out.
#[derive(Clone, Copy)]
struct Place {
    /// The input's row, or [`NONE`] for a made one.
    row: u32,
    key: i64,
    /// A row of the partition.
    partition: u32,
    /// The rows with a key around it.
    before: u32,
    after: u32,
}

/// How far values are apart.
#[derive(Clone, Copy)]
enum Step {
    Number(i64),
    Interval(IntervalMonthDayNano),
}

/// The values of a key.
struct Values {
    ty: Type,
    step: Step,
    zone: TimeZone,
    descending: bool,
}

impl Values {
    /// `steps` after a value.
    fn after(&self, first: i64, steps: i32) -> Result<i64> {
        let out_of_range = || Error::new(ErrorKind::DatetimeOutOfRange, "a value to fill in is out of range");
        let value = match self.step {
            Step::Number(step) => {
                // ClickHouse counts times in seconds.
                let unit = if matches!(self.ty, Type::Timestamp | Type::Timestamptz) { MICROS_PER_SECOND } else { 1 };
                let all = i64::from(steps).checked_mul(step).and_then(|all| all.checked_mul(unit));
                all.and_then(|all| first.checked_add(all)).ok_or_else(out_of_range)?
            }
            Step::Interval(step) => {
                let months = step.months.checked_mul(steps).ok_or_else(out_of_range)?;
                let days = step.days.checked_mul(steps).ok_or_else(out_of_range)?;
                let nanos = step.nanoseconds.checked_mul(i64::from(steps)).ok_or_else(out_of_range)?;
                let all = IntervalMonthDayNano::new(months, days, nanos);
                match self.ty {
                    Type::Date => {
                        let first = i32::try_from(first).map_err(|_| out_of_range())?;
                        add_interval(date_to_micros(first), all, None)?.div_euclid(MICROS_PER_DAY)
                    }
                    Type::Timestamptz => add_interval(first, all, Some(&self.zone))?,
                    _ => add_interval(first, all, None)?,
                }
            }
        };
        if steps > 0 && !self.is_before(first, value) {
            let message = match self.descending {
                true => "the step of a fill must be negative where the key descends",
                false => "the step of a fill must be positive",
            };
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        }
        Ok(value)
    }

    fn is_before(&self, a: i64, b: i64) -> bool {
        if self.descending { a > b } else { a < b }
    }
}

/// A key's values as numbers.
fn numbers(array: &ArrayRef, ty: &Type, context: &Arc<QueryContext>) -> Result<Vec<Option<i64>>> {
    Ok(match ty {
        Type::Date => array.as_primitive::<Date32Type>().iter().map(|v| v.map(i64::from)).collect(),
        Type::Timestamp | Type::Timestamptz => array.as_primitive::<TimestampMicrosecondType>().iter().collect(),
        _ => {
            let wide = cast_array(&context.functions, array, ty, &Type::Int8, false)?;
            wide.as_primitive::<Int64Type>().iter().collect()
        }
    })
}

/// Numbers as a key's values.
fn column_of(values: &[i64], ty: &Type, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    let wide: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    Ok(match ty {
        Type::Date | Type::Timestamp | Type::Timestamptz => {
            let narrow =
                if *ty == Type::Date { arrow::compute::cast(&wide, &arrow::datatypes::DataType::Int32)? } else { wide };
            arrow::compute::cast(&narrow, &ty.to_arrow())?
        }
        _ => cast_array(&context.functions, &wide, &Type::Int8, ty, false)?,
    })
}

/// The zero of a type; NULL where there is none.
fn zero(ty: &Type, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    let text = match ty {
        ty if ty.is_number() => "0",
        Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Name | Type::Bytea => "",
        Type::Bool => "false",
        Type::Date => "1970-01-01",
        Type::Timestamp | Type::Timestamptz => "1970-01-01 00:00:00+00",
        Type::Interval => "0",
        Type::Array(_) => "{}",
        Type::Uuid => "00000000-0000-0000-0000-000000000000",
        _ => return Ok(new_null_array(&ty.to_arrow(), 1)),
    };
    let text: ArrayRef = Arc::new(StringViewArray::from(vec![text]));
    cast_array(&context.functions, &text, &Type::Text, ty, true)
}

impl Fill {
    pub(crate) fn new(
        input: Node,
        partition_by: &[usize],
        range: &FillRange,
        values: &[Gap],
        context: &Arc<QueryContext>,
    ) -> Result<Fill> {
        let of_partition = |&column: &usize| SortKey {
            expr: Expr::column(column, input.columns[column].ty.clone()),
            descending: false,
            nulls_first: false,
        };
        let keys: Vec<SortKey> = partition_by.iter().map(of_partition).collect();
        let optional = |expr: &Option<Expr>| expr.as_ref().map(|expr| Expression::new(expr, context)).transpose();
        Ok(Fill {
            partitions: SortKeys::new(&keys, context)?,
            partition_by: partition_by.to_vec(),
            key: range.key,
            descending: range.descending,
            inclusive: range.inclusive,
            from: optional(&range.from)?,
            to: optional(&range.to)?,
            step: Expression::new(&range.step, context)?,
            zone: optional(&range.zone)?,
            values: values.to_vec(),
            input,
        })
    }

    /// The rows that are put out.
    fn places(
        &self,
        rows: &Batch,
        keys: &[Option<i64>],
        values: &Values,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<Place>> {
        let bound = |expr: &Option<Expression>| -> Result<Option<i64>> {
            let Some(expr) = expr else { return Ok(None) };
            let array = self.constant(expr, context)?;
            Ok(numbers(&array, &values.ty, context)?.into_iter().next().flatten())
        };
        let (from, to) = (bound(&self.from)?, bound(&self.to)?);
        let within = |value: i64| match to {
            Some(to) => values.is_before(value, to) || self.inclusive && value == to,
            None => true,
        };
        let encoded = self.partitions.encode(rows, context)?;
        let begins = |row: usize| row == 0 || encoded.num_rows() > 0 && encoded.row(row) != encoded.row(row - 1);
        let mut starts: Vec<usize> = (0..rows.rows).filter(|&row| begins(row)).collect();
        if starts.is_empty() && self.partition_by.is_empty() {
            // Even over no rows there is one partition.
            starts.push(0);
        }
        starts.push(rows.rows);
        let mut places: Vec<Place> = Vec::new();
        for ends in starts.windows(2) {
            let (own, partition) = (ends[0]..ends[1], ends[0] as u32);
            let made = |key: i64| Place { row: NONE, key, partition, before: NONE, after: NONE };
            let first_place = places.len();
            let first = from.or_else(|| own.clone().find_map(|row| keys[row]));
            let (mut next, mut steps) = (first, 0);
            let mut advance = |next: &mut Option<i64>| -> Result<()> {
                steps += 1;
                if steps & 0xFFF == 0 {
                    context.cancel.check()?;
                }
                *next = first.map(|first| values.after(first, steps)).transpose()?;
                Ok(())
            };
            for row in own {
                if let Some(key) = keys[row] {
                    while let Some(value) = next.filter(|value| values.is_before(*value, key) && within(*value)) {
                        places.push(made(value));
                        advance(&mut next)?;
                    }
                    while next.is_some_and(|value| !values.is_before(key, value)) {
                        advance(&mut next)?;
                    }
                }
                places.push(Place { row: row as u32, ..made(keys[row].unwrap_or(0)) });
            }
            while let Some(value) = next.filter(|value| to.is_some() && within(*value)) {
                places.push(made(value));
                advance(&mut next)?;
            }
            neighbours(&mut places[first_place..], keys);
        }
        Ok(places)
    }

    fn constant(&self, expr: &Expression, context: &Arc<QueryContext>) -> Result<ArrayRef> {
        expr.prepare(context);
        expr.array(&Batch::new(Vec::new(), 1), context)
    }

    fn key_values(&self, context: &Arc<QueryContext>) -> Result<Values> {
        let ty = self.input.columns[self.key].ty.clone();
        let array = self.constant(&self.step, context)?;
        if array.is_null(0) {
            return Err(Error::new(ErrorKind::InvalidParameter, "the step of a fill must not be NULL"));
        }
        let step = match self.step.ty {
            Type::Interval => Step::Interval(array.as_primitive::<IntervalMonthDayNanoType>().value(0)),
            _ => Step::Number(array.as_primitive::<Int64Type>().value(0)),
        };
        let zone = match &self.zone {
            Some(zone) => {
                let name = self.constant(zone, context)?;
                let name = name.as_string_view().iter().next().flatten().unwrap_or("UTC").to_string();
                time_zone(&name).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidParameter, format!("time zone \"{name}\" not recognized"))
                })?
            }
            None => TimeZone::UTC,
        };
        Ok(Values { ty, step, zone, descending: self.descending })
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

/// A column's rule for made rows, with what it needs.
enum Column {
    /// The input's row, or NULL.
    Row,
    Key,
    Partition,
    Zero(ArrayRef),
    /// The row whose value each place has.
    Last(Vec<u32>),
    /// The input's values as doubles.
    Linear(Float64Array),
}

impl Column {
    fn new(gap: Gap, column: &ArrayRef, ty: &Type, places: &[Place], context: &Arc<QueryContext>) -> Result<Column> {
        Ok(match gap {
            Gap::Null => Column::Row,
            Gap::Zero => Column::Zero(zero(ty, context)?),
            Gap::Last { over_nulls } => {
                let (mut last, mut partition) = (NONE, NONE);
                let mut rows = Vec::with_capacity(places.len());
                for place in places {
                    if place.partition != partition {
                        (last, partition) = (NONE, place.partition);
                    }
                    if place.row != NONE && !(over_nulls && column.is_null(place.row as usize)) {
                        last = place.row;
                    }
                    rows.push(last);
                }
                Column::Last(rows)
            }
            Gap::Linear => {
                let floats = cast_array(&context.functions, column, ty, &Type::Float8, true)?;
                Column::Linear(floats.as_primitive::<Float64Type>().clone())
            }
        })
    }

    fn gather(
        &self,
        column: &ArrayRef,
        ty: &Type,
        keys: &[Option<i64>],
        run: &[Place],
        at: usize,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let some = |row: u32| (row != NONE).then_some(row);
        let rows = |rows: &mut dyn Iterator<Item = u32>| UInt32Array::from_iter(rows.map(some));
        // Real rows from the input, made ones from another array.
        let mixed = |made: &ArrayRef, of: &dyn Fn(usize) -> usize| -> Result<ArrayRef> {
            let indices: Vec<(usize, usize)> = run
                .iter()
                .enumerate()
                .map(|(place, p)| if p.row == NONE { (1, of(place)) } else { (0, p.row as usize) })
                .collect();
            Ok(interleave(&[column.as_ref(), made.as_ref()], &indices)?)
        };
        match self {
            Column::Row => Ok(take(column, &rows(&mut run.iter().map(|place| place.row)), None)?),
            Column::Partition => Ok(take(column, &rows(&mut run.iter().map(|place| place.partition)), None)?),
            Column::Last(last) => Ok(take(column, &rows(&mut last[at..at + run.len()].iter().copied()), None)?),
            Column::Zero(zero) => mixed(zero, &|_| 0),
            Column::Key => {
                let values: Vec<i64> = run.iter().map(|place| place.key).collect();
                mixed(&column_of(&values, ty, context)?, &|place| place)
            }
            Column::Linear(floats) => {
                let value = |place: &Place| {
                    let known = |row: u32| {
                        let row = row as usize;
                        (row < floats.len() && floats.is_valid(row)).then(|| Some((keys[row]?, floats.value(row))))?
                    };
                    let ((x0, y0), (x1, y1)) = (known(place.before)?, known(place.after)?);
                    let far = |a: i64, b: i64| (i128::from(b) - i128::from(a)) as f64;
                    let y = (y0 * far(place.key, x1) + y1 * far(x0, place.key)) / far(x0, x1);
                    Some(if ty.is_integer() { y.trunc() } else { y })
                };
                let made: ArrayRef = Arc::new(run.iter().map(value).collect::<Float64Array>());
                mixed(&cast_array(&context.functions, &made, &Type::Float8, ty, true)?, &|place| place)
            }
        }
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
        let values = self.key_values(context)?;
        let keys = numbers(&rows.columns[self.key], &values.ty, context)?;
        let places = self.places(&rows, &keys, &values, context)?;
        held.grow(places.len() * size_of::<Place>() + keys.len() * size_of::<Option<i64>>())?;
        let mut columns = Vec::with_capacity(types.len());
        for (index, (column, ty)) in rows.columns.iter().zip(&types).enumerate() {
            columns.push(match self.values[index] {
                _ if index == self.key => Column::Key,
                _ if self.partition_by.contains(&index) => Column::Partition,
                gap => Column::new(gap, column, ty, &places, context)?,
            });
        }
        metrics.held(&held);
        let (size, own) = (context.batch_rows.max(1), context.clone());
        Ok(Arc::new(Numbered::new(places.len().div_ceil(size), move |i, emit| {
            let _ = &held;
            let at = i * size;
            let run = &places[at..(at + size).min(places.len())];
            let gathered = columns
                .iter()
                .enumerate()
                .map(|(index, column)| column.gather(&rows.columns[index], &types[index], &keys, run, at, &own))
                .collect::<Result<Vec<_>>>()?;
            emit(Batch::new(gathered, run.len()))
        })))
    }

    fn estimate(&self) -> f64 {
        self.input.operator.estimate() * 2.0
    }
}
