//! Expressions that say the same throughout a window of time: moments cut to a unit, and fields of moments from a unit upwards.
//!
//! What is computed of a moment to the hour is computed as well of the hour's beginning. So an expression of a [`Grain`] can be had of moments that
//! were cut to a finer one. Wall clocks are UTC's here: of a timestamptz it holds in sessions whose zone that is.

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, Value};

use super::datetime_trunc::{Unit, bucket_unit, interval_unit, start_of};
use super::registry;
use crate::kernels::datetime::{MICROS_PER_DAY, is_infinite};

/// Windows of time throughout which something is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grain(Unit);

/// Days, from midnight to midnight.
pub(crate) const DAYS: Grain = Grain(Unit::Fixed { length: MICROS_PER_DAY, origin: 0 });

impl Grain {
    /// Whether each of these windows lies in one of the others.
    pub(crate) fn is_within(self, coarser: Grain) -> bool {
        match (self.0, coarser.0) {
            (a, b) if a == b => true,
            (Unit::Fixed { length, origin }, Unit::Fixed { length: of, origin: from }) => {
                of % length == 0 && (from - origin) % length == 0
            }
            // Months begin at midnight.
            (Unit::Fixed { .. }, _) => self.is_within(DAYS),
            (Unit::Months(months), Unit::Months(of)) => of % months == 0,
            _ => false,
        }
    }

    /// Whether a window begins at this moment or date, or none ends before it.
    pub(crate) fn begins_at(self, value: &Value) -> bool {
        micros(value).is_some_and(|at| is_infinite(at) || self.0.around(at).start == at)
    }

    /// Whether a window begins right after this moment.
    pub(crate) fn ends_at(self, value: &Value) -> bool {
        let at = micros(value).filter(|_| value.ty != Type::Date);
        at.is_some_and(|at| is_infinite(at) || self.0.around(at).end == at + 1)
    }

    /// Whether the beginnings of windows are such still when they are moved by an interval.
    pub(crate) fn moves_by(self, span: &Value) -> bool {
        let Some(span) = interval(span) else { return false };
        let by_days = span.months == 0 || self.is_within(DAYS);
        match self.0 {
            Unit::Fixed { length, .. } => {
                let rest = i64::from(span.days) * MICROS_PER_DAY + span.nanoseconds / 1000;
                by_days && span.nanoseconds % 1000 == 0 && rest % length == 0
            }
            Unit::Months(months) => i64::from(span.months) % months == 0 && span.days == 0 && span.nanoseconds == 0,
            Unit::YearsFromOne(_) => false,
        }
    }
}

/// The moment that an expression cuts to the beginning of a window, and the windows. A date is the beginning of its day.
pub(crate) fn cut(expr: &Expr) -> Option<(&Expr, Grain)> {
    if let ExprKind::Cast { expr: moment, lenient: false, .. } = &expr.kind {
        return (expr.ty == Type::Date && is_moment(moment)).then_some((&**moment, DAYS));
    }
    let (name, args) = call(expr)?;
    let (moment, unit) = match (name, args) {
        ("date_trunc", [unit, moment]) => (moment, Unit::named(literal(unit)?.as_str()?)?),
        ("date_bin", [span, moment, origin]) => (moment, fixed(interval(literal(span)?)?, micros(literal(origin)?)?)?),
        ("time_bucket", [span, moment]) => (moment, bucket_unit(interval(literal(span)?)?, None).ok()?),
        ("time_bucket", [span, moment, origin]) => {
            (moment, bucket_unit(interval(literal(span)?)?, Some(micros(literal(origin)?)?)).ok()?)
        }
        ("toStartOfInterval", [moment, span]) => (moment, interval_unit(interval(literal(span)?)?).ok()?),
        ("tumbleStart", [moment, span]) => match interval(literal(span)?)? {
            span if span.months == 0 => (moment, fixed(span, 0)?),
            _ => return None,
        },
        ("toDate", [moment]) => (moment, DAYS.0),
        (name, [moment]) => (moment, start_of(name)?),
        _ => return None,
    };
    let is_beginning = expr.ty == moment.ty || expr.ty == Type::Date;
    (is_beginning && is_moment(moment)).then_some((moment, Grain(unit)))
}

/// The moment that an expression is of, and windows throughout which it is the same.
pub(crate) fn grain(expr: &Expr) -> Option<(&Expr, Grain)> {
    if let Some(found) = cut(expr) {
        return Some(found);
    }
    let (name, args) = call(expr)?;
    let (field, moment) = match (name, args) {
        ("extract" | "date_part", [field, moment]) => (literal(field)?.as_str()?.to_ascii_lowercase(), moment),
        (name, [moment]) => (name.to_string(), moment),
        _ => return None,
    };
    let unit = match field.as_str() {
        "toYear" | "year" => Unit::Months(12),
        "toQuarter" | "quarter" => Unit::Months(3),
        "toMonth" | "month" | "toYYYYMM" => Unit::Months(1),
        "toDayOfMonth" | "toDayOfWeek" | "toDayOfYear" | "toISOWeek" | "toYYYYMMDD" | "day" | "dow" | "isodow"
        | "doy" | "week" | "isoyear" => DAYS.0,
        "toHour" | "hour" => Unit::named("hour")?,
        "toMinute" | "minute" => Unit::named("minute")?,
        "toSecond" => Unit::named("second")?,
        _ => return None,
    };
    is_moment(moment).then_some((moment, Grain(unit)))
}

/// The most microseconds that windows are long.
pub(crate) fn grain_length(windows: Grain) -> i64 {
    match windows.0 {
        Unit::Fixed { length, .. } => length,
        Unit::Months(months) => months.saturating_mul(31 * MICROS_PER_DAY),
        Unit::YearsFromOne(years) => years.saturating_mul(366 * MICROS_PER_DAY),
    }
}

/// The most microseconds that an interval can be long; `None` of one that goes back.
pub(crate) fn longest(span: &Value) -> Option<i64> {
    let span = interval(span).filter(|span| span.months >= 0 && span.days >= 0 && span.nanoseconds >= 0)?;
    let days = i64::from(span.months) * 31 + i64::from(span.days);
    days.checked_mul(MICROS_PER_DAY)?.checked_add(span.nanoseconds / 1000)
}

/// The first name of a function that is called.
pub(crate) fn shown_name(expr: &Expr) -> Option<&'static str> {
    call(expr).map(|(name, _)| name)
}

/// The first name of a function that is called, and its arguments.
fn call(expr: &Expr) -> Option<(&'static str, &[Expr])> {
    let ExprKind::Call { function, args, .. } = &expr.kind else { return None };
    let info = registry().functions().iter().find(|info| info.ids.contains(&function.0))?;
    Some((info.names[0], args))
}

fn literal(expr: &Expr) -> Option<&Value> {
    match &expr.kind {
        ExprKind::Literal(value) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn is_moment(expr: &Expr) -> bool {
    matches!(expr.ty, Type::Date | Type::Timestamp | Type::Timestamptz)
}

/// A moment or date as microseconds since 1970.
pub(crate) fn micros(value: &Value) -> Option<i64> {
    match value.ty {
        _ if value.is_null() => None,
        Type::Timestamp | Type::Timestamptz => Some(value.array.as_primitive::<TimestampMicrosecondType>().value(0)),
        Type::Date => i64::from(value.array.as_primitive::<Date32Type>().value(0)).checked_mul(MICROS_PER_DAY),
        _ => None,
    }
}

fn interval(value: &Value) -> Option<IntervalMonthDayNano> {
    let is_one = value.ty == Type::Interval && !value.is_null();
    is_one.then(|| value.array.as_primitive::<IntervalMonthDayNanoType>().value(0))
}

/// Windows of a length without months.
fn fixed(span: IntervalMonthDayNano, origin: i64) -> Option<Unit> {
    let length = i64::from(span.days).checked_mul(MICROS_PER_DAY)?.checked_add(span.nanoseconds / 1000)?;
    (span.months == 0 && length > 0).then_some(Unit::Fixed { length, origin })
}
