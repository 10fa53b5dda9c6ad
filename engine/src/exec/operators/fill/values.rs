//! The values that a filled key is to have: a first one, and steps from it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, new_null_array};
use arrow::datatypes::{
    Date32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::Type;
use weir_sql::plan::FillRange;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::kernels::cast::cast_array;
use crate::kernels::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, add_interval, date_to_micros};
use crate::session::time_zone;

/// A [`FillRange`] whose expressions can be computed.
pub(super) struct Range {
    pub(super) key: usize,
    descending: bool,
    inclusive: bool,
    from: Option<Expression>,
    to: Option<Expression>,
    step: Expression,
    zone: Option<Expression>,
}

/// A range as it is for these rows.
pub(super) struct Axis {
    /// The rows' keys.
    pub(super) keys: Vec<Option<i64>>,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    inclusive: bool,
    values: Values,
}

impl Range {
    pub(super) fn new(range: &FillRange, context: &Arc<QueryContext>) -> Result<Range> {
        let optional = |expr: &Option<_>| expr.as_ref().map(|expr| Expression::new(expr, context)).transpose();
        Ok(Range {
            key: range.key,
            descending: range.descending,
            inclusive: range.inclusive,
            from: optional(&range.from)?,
            to: optional(&range.to)?,
            step: Expression::new(&range.step, context)?,
            zone: optional(&range.zone)?,
        })
    }

    /// For rows whose key is this column.
    pub(super) fn axis(&self, column: &ArrayRef, ty: &Type, context: &Arc<QueryContext>) -> Result<Axis> {
        let step = constant(&self.step, context)?;
        if step.is_null(0) {
            return Err(Error::new(ErrorKind::InvalidParameter, "the step of a fill must not be NULL"));
        }
        let step = match self.step.ty {
            Type::Interval => Step::Interval(step.as_primitive::<IntervalMonthDayNanoType>().value(0)),
            _ => Step::Number(step.as_primitive::<Int64Type>().value(0)),
        };
        let zone = match &self.zone {
            Some(zone) => {
                let name = constant(zone, context)?;
                let name = name.as_string_view().iter().next().flatten().unwrap_or("UTC").to_string();
                time_zone(&name).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidParameter, format!("time zone \"{name}\" not recognized"))
                })?
            }
            None => TimeZone::UTC,
        };
        let bound = |expr: &Option<Expression>| -> Result<Option<i64>> {
            let Some(expr) = expr else { return Ok(None) };
            Ok(numbers(&constant(expr, context)?, ty, context)?.into_iter().next().flatten())
        };
        Ok(Axis {
            keys: numbers(column, ty, context)?,
            from: bound(&self.from)?,
            to: bound(&self.to)?,
            inclusive: self.inclusive,
            values: Values { ty: ty.clone(), step, zone, descending: self.descending },
        })
    }
}

fn constant(expr: &Expression, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    expr.prepare(context);
    expr.array(&Batch::new(Vec::new(), 1), context)
}

impl Axis {
    /// Whether a value is not past the end.
    pub(super) fn within(&self, value: i64) -> bool {
        self.to.is_none_or(|to| self.is_before(value, to) || self.inclusive && value == to)
    }

    pub(super) fn is_before(&self, a: i64, b: i64) -> bool {
        self.values.is_before(a, b)
    }
}

/// The values from a first one on.
pub(super) struct Walk<'a> {
    axis: &'a Axis,
    first: i64,
    steps: i32,
    /// The value that is next; `None` past the end.
    pub(super) next: Option<i64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(axis: &'a Axis, first: Option<i64>) -> Walk<'a> {
        let next = first.filter(|first| axis.within(*first));
        Walk { axis, first: first.unwrap_or(0), steps: 0, next }
    }

    pub(super) fn advance(&mut self, context: &Arc<QueryContext>) -> Result<()> {
        let out_of_range = || Error::new(ErrorKind::DatetimeOutOfRange, "a value to fill in is out of range");
        self.steps = self.steps.checked_add(1).ok_or_else(out_of_range)?;
        if self.steps & 0xFFF == 0 {
            context.cancel.check()?;
        }
        self.next = Some(self.axis.values.after(self.first, self.steps)?).filter(|value| self.axis.within(*value));
        Ok(())
    }
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
pub(super) fn numbers(array: &ArrayRef, ty: &Type, context: &Arc<QueryContext>) -> Result<Vec<Option<i64>>> {
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
pub(super) fn column_of(values: &[i64], ty: &Type, context: &Arc<QueryContext>) -> Result<ArrayRef> {
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
pub(super) fn zero(ty: &Type, context: &Arc<QueryContext>) -> Result<ArrayRef> {
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
