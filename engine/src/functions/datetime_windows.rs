//! Windows of event time: which window of a fixed size a moment is in (tumble), which overlapping ones (hop), which growing ones (cumulate).
//!
//! A window is half-open, `[start, end)`. Windows start at multiples of their size (hop: of their slide) since 1970-01-01 00:00:00 UTC, or that far
//! from an offset; those of months at the beginnings of calendar months. With a time zone they are what they are on the wall clock there, as
//! ClickHouse's are: a day is one from midnight to midnight. Moments before 1970 are in windows as all others are. Infinite moments are in the window
//! from there to there, which is all that comes after the last or before the first finite one.
//!
//! The names are ClickHouse's and Flink's. FROM's `TUMBLE(TABLE t, …)` and GROUP BY's `HOP(…)` are the binder's, which writes them with these.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use jiff::tz::TimeZone;
use weir_sql::catalog::Param;
use weir_sql::{Type, Value};

use super::datetime::constant_zone;
use super::datetime_trunc::{Unit, fixed};
use super::declare::{DATETIME, INTERVAL, TEXT, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{batch, invalid_parameter, is_valid, map_rows, nulls_of, primitive, primitive_rows};
use super::{Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, add_interval, is_infinite, is_timestamp, local_to_utc, offset_at, utc_to_local,
};

type Micros = TimestampMicrosecondType;

/// In how many windows a moment may be at the most: each is a row.
const WINDOWS_MAX: usize = 10_000;

/// Windows of one size that follow each other.
struct Tumble {
    unit: Unit,
    /// How far they are moved, in microseconds.
    offset: i64,
    /// Unless it is UTC.
    zone: Option<TimeZone>,
}

impl Tumble {
    /// As arguments say: a size, which the caller calls by `name`, at one place, and perhaps, at another, an offset or the name of a time zone.
    fn of(args: &[Datum], size: usize, name: &str, from: usize) -> Result<Tumble> {
        let unit = unit_of(constant(args, size)?, name)?;
        let (mut offset, mut zone) = (0, None);
        match args.get(from).map(|arg| arg.array().data_type()) {
            None => {}
            Some(DataType::Interval(_)) => {
                let span = constant(args, from)?;
                if span.months != 0 {
                    return Err(invalid_parameter("the offset of a window must not have months"));
                }
                offset = length_of(span)?;
            }
            Some(_) => zone = Some(constant_zone(args, from)?).filter(|zone| *zone != TimeZone::UTC),
        }
        Ok(Tumble { unit, offset, zone })
    }

    /// The window that a moment is in.
    fn around(&self, at: i64) -> Range<i64> {
        if is_infinite(at) {
            return at..at;
        }
        let of = |at: i64| {
            let window = self.unit.around(at.saturating_sub(self.offset));
            window.start.saturating_add(self.offset)..window.end.saturating_add(self.offset)
        };
        match (&self.zone, self.unit) {
            (None, _) => of(at),
            // An hour that the clock shows twice stays two.
            (Some(zone), Unit::Fixed { length, .. }) if length < MICROS_PER_DAY => {
                let shift = i64::from(offset_at(zone, at)) * MICROS_PER_SECOND;
                let window = of(at + shift);
                window.start - shift..window.end - shift
            }
            (Some(zone), _) => {
                let window = of(utc_to_local(zone, at));
                local_to_utc(zone, window.start)..local_to_utc(zone, window.end)
            }
        }
    }

    /// A moment moved by an interval, on the wall clock of the zone.
    fn moved(&self, at: i64, by: IntervalMonthDayNano) -> Result<i64> {
        add_interval(at, by, self.zone.as_ref())
    }

    /// How long they are, in microseconds, if all are equally long.
    fn length(&self) -> Option<i64> {
        match self.unit {
            Unit::Fixed { length, .. } if self.zone.is_none() => Some(length),
            _ => None,
        }
    }
}

/// The unit that an interval is, which the caller calls by `name`.
fn unit_of(span: IntervalMonthDayNano, name: &str) -> Result<Unit> {
    let refuse = |why: &str| Err(invalid_parameter(format!("the {name} of a window must {why}")));
    match span.months {
        0 => match length_of(span)? {
            length if length > 0 => Ok(fixed(length)),
            _ => refuse("be greater than zero"),
        },
        months if months < 0 => refuse("be greater than zero"),
        _ if span.days != 0 || span.nanoseconds != 0 => refuse("not have both months and shorter units"),
        months => Ok(Unit::Months(months.into())),
    }
}

/// Microseconds of an interval without months.
fn length_of(span: IntervalMonthDayNano) -> Result<i64> {
    i64::from(span.days)
        .checked_mul(MICROS_PER_DAY)
        .and_then(|days| days.checked_add(span.nanoseconds / 1000))
        .ok_or_else(|| invalid_parameter("the interval of a window is too long"))
}

fn constant(args: &[Datum], index: usize) -> Result<IntervalMonthDayNano> {
    let span = primitive::<IntervalMonthDayNanoType>(args, index)?.constant();
    span.ok_or_else(|| invalid_parameter("the intervals of a window must be constants"))
}

/// The result of a strict call that has a NULL for all its rows: its intervals need not be looked at.
fn null(args: &[Datum], types: &Types<'_>) -> Option<Datum> {
    args.iter().any(Datum::is_null_scalar).then(|| Datum::Scalar(Value::null(types.result.clone())))
}

/// A record of a window's bounds.
fn pair(time: &Type) -> Type {
    Type::Record(vec![("window_start".into(), time.clone()), ("window_end".into(), time.clone())])
}

fn list(time: &Type) -> Type {
    Type::Array(Box::new(pair(time)))
}

/// An overload for both types of time, without and with each of `last` behind the intervals.
fn overloads(intervals: usize, last: &[Param], returns: fn(&Type) -> Type, kernel: Kernel) -> Vec<Overload> {
    let mut all = Vec::new();
    for (time, ty) in [(TIMESTAMP, Type::Timestamp), (TIMESTAMPTZ, Type::Timestamptz)] {
        for last in [None].into_iter().chain(last.iter().map(Some)) {
            let mut params = vec![time.clone()];
            params.extend(std::iter::repeat_n(INTERVAL, intervals));
            params.extend(last.cloned());
            all.push(strict(params, returns(&ty), kernel));
        }
    }
    all
}

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let either = [TEXT, INTERVAL];
    vec![
        function(
            &["tumble"],
            DATETIME,
            "The window of this size that a moment is in, as a record of its start and end; counted from 1970, perhaps with an offset or in a time zone.",
            (
                "tumble(timestamp '2024-05-17 13:45:56', interval '20 minutes')",
                "(\"2024-05-17 13:40:00\",\"2024-05-17 14:00:00\")",
            ),
            overloads(1, &either, pair, |_, args, rows, ty| {
                pairs(args, rows, ty, || {
                    let windows = Tumble::of(args, 1, "size", 2)?;
                    Ok(move |at| Ok(windows.around(at)))
                })
            }),
        ),
        function(
            &["tumbleStart", "tumble_start"],
            DATETIME,
            "The start of the window of this size that a moment is in.",
            ("tumbleStart(timestamp '2024-05-17 13:45:56', interval '1 minute')", "2024-05-17 13:45:00"),
            overloads(1, &either, Type::clone, |_, args, rows, ty| bound(args, rows, ty, |window| window.start)),
        ),
        function(
            &["tumbleEnd", "tumble_end"],
            DATETIME,
            "The end of the window of this size that a moment is in: the first moment after it.",
            ("tumbleEnd(timestamp '2024-05-17 13:45:56', interval '1 minute')", "2024-05-17 13:46:00"),
            overloads(1, &either, Type::clone, |_, args, rows, ty| bound(args, rows, ty, |window| window.end)),
        ),
        function(
            &["hop"],
            DATETIME,
            "ClickHouse's: the first window that a moment is in, of those of a size (the second interval) that end at multiples of a slide (the first).",
            (
                "hop(timestamp '2024-05-17 13:45:56', interval '1 hour', interval '3 hours')",
                "(\"2024-05-17 11:00:00\",\"2024-05-17 14:00:00\")",
            ),
            overloads(2, &[TEXT], pair, |_, args, rows, ty| pairs(args, rows, ty, || first_hop(args))),
        ),
        function(
            &["hopStart"],
            DATETIME,
            "The start of the window that hop gives.",
            ("hopStart(timestamp '2024-05-17 13:45:56', interval '1 hour', interval '3 hours')", "2024-05-17 11:00:00"),
            overloads(2, &[TEXT], Type::clone, |_, args, rows, ty| hop_bound(args, rows, ty, |window| window.start)),
        ),
        function(
            &["hopEnd"],
            DATETIME,
            "The end of the window that hop gives.",
            ("hopEnd(timestamp '2024-05-17 13:45:56', interval '1 hour', interval '3 hours')", "2024-05-17 14:00:00"),
            overloads(2, &[TEXT], Type::clone, |_, args, rows, ty| hop_bound(args, rows, ty, |window| window.end)),
        ),
        function(
            &["hop_windows"],
            DATETIME,
            "The windows that a moment is in, of those of a size (the second interval) that start at multiples of a slide (the first).",
            (
                "array_length(hop_windows(timestamp '2024-05-17 13:45:56', interval '1 hour', interval '3 hours'), 1)",
                "3",
            ),
            overloads(2, &either, list, |_, args, rows, ty| lists(args, rows, ty, || all_hops(args))),
        ),
        function(
            &["cumulate_windows"],
            DATETIME,
            "The windows that a moment is in, of those that start at multiples of a size (the second interval) and grow to it by steps (the first).",
            (
                "array_length(cumulate_windows(timestamp '2024-05-17 13:45:56', interval '10 minutes', interval '1 hour'), 1)",
                "2",
            ),
            overloads(2, &either, list, |_, args, rows, ty| lists(args, rows, ty, || all_cumulated(args))),
        ),
        function(
            &["session_window_end"],
            DATETIME,
            "When a session ends whose last row is of this moment, if none comes: the gap later.",
            ("session_window_end(timestamp '2024-05-17 13:45:56', interval '30 minutes')", "2024-05-17 14:15:56"),
            overloads(1, &[], Type::clone, |_, args, rows, ty| session_end(args, rows, ty)),
        ),
    ]
}

/// A bound of the window that each moment is in.
fn bound(args: &[Datum], rows: usize, types: &Types<'_>, bound: fn(&Range<i64>) -> i64) -> Result<Datum> {
    if let Some(null) = null(args, types) {
        return Ok(null);
    }
    let windows = Tumble::of(args, 1, "size", 2)?;
    // Events come about in the order of time: most are in the same window as the one before.
    let mut last = 0..0;
    map_rows::<Micros, Micros>(args, 0, rows, types, |at| {
        if !last.contains(&at) {
            last = windows.around(at);
        }
        bound(&last)
    })
}

fn hop_bound(args: &[Datum], rows: usize, types: &Types<'_>, bound: fn(&Range<i64>) -> i64) -> Result<Datum> {
    if let Some(null) = null(args, types) {
        return Ok(null);
    }
    let (times, mut window) = (primitive::<Micros>(args, 0)?, first_hop(args)?);
    primitive_rows::<Micros>(args, rows, types, |row| window(times.at(row)).map(|window| Some(bound(&window))))
}

/// ClickHouse's hop: the window with the earliest end. Its windows end at multiples of the slide, even where the size is none.
fn first_hop(args: &[Datum]) -> Result<impl FnMut(i64) -> Result<Range<i64>>> {
    let (slides, size) = (Tumble::of(args, 1, "slide", 3)?, constant(args, 2)?);
    unit_of(size, "size")?;
    let back = IntervalMonthDayNano::new(-size.months, -size.days, -size.nanoseconds);
    Ok(move |at| {
        let slide = slides.around(at);
        let window = slides.moved(slide.end, back)?..slide.end;
        if window.start > slide.start {
            return Err(invalid_parameter("the slide of hop must not be greater than its size"));
        }
        Ok(window)
    })
}

/// The windows of HOP, from the first.
fn all_hops(args: &[Datum]) -> Result<impl FnMut(i64, &mut Vec<Range<i64>>) -> Result<()>> {
    let (slides, size) = (Tumble::of(args, 1, "slide", 3)?, constant(args, 2)?);
    let lengths = match unit_of(size, "size")? {
        Unit::Fixed { length, .. } => slides.length().map(|slide| (slide, length)),
        _ => None,
    };
    Ok(move |at: i64, windows: &mut Vec<Range<i64>>| {
        if is_infinite(at) {
            windows.push(at..at);
            return Ok(());
        }
        let last = slides.around(at).start;
        if let Some((slide, length)) = lengths {
            // Those that start in (at - length, last].
            let before = length.saturating_sub(at - last) - 1;
            let count = if before < 0 { 0 } else { before / slide + 1 };
            few(count as usize)?;
            for back in (0..count).rev() {
                windows.push(within(last.checked_sub(back * slide), length)?);
            }
            return Ok(());
        }
        let (first, mut start) = (windows.len(), last);
        loop {
            let end = slides.moved(start, size)?;
            if end <= at {
                break;
            }
            windows.push(start..end);
            few(windows.len() - first)?;
            start = slides.around(start - 1).start;
        }
        windows[first..].reverse();
        Ok(())
    })
}

/// The windows of CUMULATE, from the shortest.
fn all_cumulated(args: &[Datum]) -> Result<impl FnMut(i64, &mut Vec<Range<i64>>) -> Result<()>> {
    let (whole, step) = (Tumble::of(args, 2, "size", 3)?, constant(args, 1)?);
    let divides = match (unit_of(step, "step")?, whole.unit) {
        (Unit::Fixed { length: step, .. }, Unit::Fixed { length, .. }) => length % step == 0,
        (Unit::Months(step), Unit::Months(months)) => months % step == 0,
        // Months have whole days.
        (Unit::Fixed { length: step, .. }, _) => MICROS_PER_DAY % step == 0,
        _ => false,
    };
    if !divides {
        return Err(invalid_parameter("the size of a window must be a multiple of its step"));
    }
    let fixed_step = (step.months == 0 && whole.zone.is_none()).then(|| length_of(step)).transpose()?;
    Ok(move |at: i64, windows: &mut Vec<Range<i64>>| {
        let Range { start, end } = whole.around(at);
        if is_infinite(at) {
            windows.push(start..end);
            return Ok(());
        }
        let first = windows.len();
        let mut next = match fixed_step {
            Some(step) => start + (at - start) / step * step,
            None => start,
        };
        while next < end {
            next = whole.moved(next, step)?;
            if next > at {
                windows.push(start..next);
                few(windows.len() - first)?;
            }
        }
        Ok(())
    })
}

fn session_end(args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    if let Some(null) = null(args, types) {
        return Ok(null);
    }
    let (times, gap) = (primitive::<Micros>(args, 0)?, constant(args, 1)?);
    let Unit::Fixed { length, .. } = unit_of(gap, "gap")? else {
        return Err(invalid_parameter("the gap of a window must not have months"));
    };
    primitive_rows::<Micros>(args, rows, types, |row| match times.at(row) {
        at if is_infinite(at) => Ok(Some(at)),
        at => Ok(Some(within(Some(at), length)?.end)),
    })
}

/// A window by its start and length, if there are such moments.
fn within(start: Option<i64>, length: i64) -> Result<Range<i64>> {
    let window = start.and_then(|start| Some(start..start.checked_add(length)?));
    window
        .filter(|window| is_timestamp(window.start) && is_timestamp(window.end))
        .ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range"))
}

fn few(windows: usize) -> Result<()> {
    match windows <= WINDOWS_MAX {
        true => Ok(()),
        false => Err(invalid_parameter(format!("a moment would be in more than {WINDOWS_MAX} windows"))),
    }
}

/// A record a row. `make` gives what finds it.
fn pairs<F: FnMut(i64) -> Result<Range<i64>>>(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    make: impl FnOnce() -> Result<F>,
) -> Result<Datum> {
    if let Some(null) = null(args, types) {
        return Ok(null);
    }
    let (times, mut window) = (primitive::<Micros>(args, 0)?, make()?);
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let mut windows = Vec::with_capacity(rows);
        for row in 0..rows {
            windows.push(if is_valid(&nulls, row) { window(times.at(row))? } else { 0..0 });
        }
        Ok(Arc::new(records(types.result, &windows, nulls)?))
    })
}

/// A list of records a row. `make` gives what finds it.
fn lists<F: FnMut(i64, &mut Vec<Range<i64>>) -> Result<()>>(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    make: impl FnOnce() -> Result<F>,
) -> Result<Datum> {
    if let Some(null) = null(args, types) {
        return Ok(null);
    }
    let Type::Array(element) = types.result else { return Err(Error::internal("windows are an array")) };
    let (times, mut find) = (primitive::<Micros>(args, 0)?, make()?);
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut windows, mut lengths) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let before = windows.len();
            if is_valid(&nulls, row) {
                find(times.at(row), &mut windows)?;
            }
            lengths.push(windows.len() - before);
        }
        let records = Arc::new(records(element, &windows, None)?);
        Ok(Arc::new(ListArray::try_new(element.element_field(), OffsetBuffer::from_lengths(lengths), records, nulls)?))
    })
}

/// Windows as records of this type.
fn records(ty: &Type, windows: &[Range<i64>], nulls: Option<NullBuffer>) -> Result<StructArray> {
    let DataType::Struct(fields) = ty.to_arrow() else { return Err(Error::internal("a window is a record")) };
    let column = |at: usize, bound: fn(&Range<i64>) -> i64| -> ArrayRef {
        let values = TimestampMicrosecondArray::from_iter_values(windows.iter().map(bound));
        Arc::new(values.with_data_type(fields[at].data_type().clone()))
    };
    let columns = vec![column(0, |window| window.start), column(1, |window| window.end)];
    Ok(StructArray::try_new(fields, columns, nulls)?)
}
