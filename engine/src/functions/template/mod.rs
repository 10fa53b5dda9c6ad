//! to_char, to_date, to_timestamp and to_number: values to and from text by a template.
//!
//! A template is cut into nodes once a batch when it is a constant, which it nearly always is.

mod datetime;
mod datetime_in;
mod datetime_out;
mod number;
mod number_in;
mod number_out;

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use weir_sql::Type;
use weir_sql::catalog::Param;

pub(super) use self::datetime::{DAYS, MONTHS};
use self::datetime_out::Fields;
use self::number::Template;
use self::number_out::Shown;
use super::declare::{
    DATETIME, FLOAT8, INT4, INT8, INTERVAL, NUMERIC, STRING, TEXT, TIMESTAMP, TIMESTAMPTZ, function, strict,
};
use super::rows::{Column, batch, is_valid, nulls_of, primitive, primitive_rows, text, text_rows};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    END_DATE, MICROS_PER_DAY, MICROS_PER_SECOND, MIN_DAY, is_infinite, is_timestamp, local_to_utc,
};
use crate::kernels::numeric::{self, Numeric};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["to_char"],
            STRING,
            "A moment, interval or number as text by a template.",
            ("to_char(timestamp '2002-04-20 17:31:12', 'FMDay, DD HH12:MI:SS')", "Saturday, 20 05:31:12"),
            vec![
                strict([TIMESTAMPTZ, TEXT], Type::Text, |ctx, args, rows, ty| {
                    let moments = primitive::<Micros>(args, 0)?;
                    moment_text(args, rows, ty, |row| {
                        let at = moments.at(row);
                        (!is_infinite(at)).then(|| Fields::of_timestamptz(at, &ctx.time_zone))
                    })
                }),
                strict([TIMESTAMP, TEXT], Type::Text, |_, args, rows, ty| {
                    let moments = primitive::<Micros>(args, 0)?;
                    moment_text(args, rows, ty, |row| {
                        let at = moments.at(row);
                        (!is_infinite(at)).then(|| Fields::of_timestamp(at))
                    })
                }),
                strict([INTERVAL, TEXT], Type::Text, |_, args, rows, ty| {
                    let spans = primitive::<Intervals>(args, 0)?;
                    moment_text(args, rows, ty, |row| Some(Fields::of_interval(spans.at(row))))
                }),
                strict([INT4, TEXT], Type::Text, |_, args, rows, ty| {
                    let values = primitive::<Int32Type>(args, 0)?;
                    number_text(args, rows, ty, |row, t| Shown::integer(values.at(row).into(), &Type::Int4, t))
                }),
                strict([INT8, TEXT], Type::Text, |_, args, rows, ty| {
                    let values = primitive::<Int64Type>(args, 0)?;
                    number_text(args, rows, ty, |row, t| Shown::integer(values.at(row), &Type::Int8, t))
                }),
                strict([NUMERIC, TEXT], Type::Text, |_, args, rows, ty| {
                    let values = args[0].array().clone();
                    let constant = matches!(args[0], Datum::Scalar(_));
                    number_text(args, rows, ty, |row, template| {
                        let value = numeric::value_at(&values, if constant { 0 } else { row });
                        Shown::numeric(&value, template)
                    })
                }),
                strict([Param::Exact(Type::Float4), TEXT], Type::Text, |_, args, rows, ty| {
                    let values = primitive::<Float32Type>(args, 0)?;
                    number_text(args, rows, ty, |row, t| Ok(Shown::float(values.at(row).into(), 6, t)))
                }),
                strict([FLOAT8, TEXT], Type::Text, |_, args, rows, ty| {
                    let values = primitive::<Float64Type>(args, 0)?;
                    number_text(args, rows, ty, |row, t| Ok(Shown::float(values.at(row), 15, t)))
                }),
            ],
        )
        .stable(),
        function(
            &["to_date"],
            DATETIME,
            "A date from a text by a template.",
            ("to_date('05 Dec 2000', 'DD Mon YYYY')", "2000-12-05"),
            vec![strict([TEXT, TEXT], Type::Date, to_date)],
        ),
        function(
            &["to_timestamp"],
            DATETIME,
            "A moment from a text by a template, in the session's zone unless the text has one.",
            ("to_timestamp('2000-12-05 +02', 'YYYY-MM-DD TZH')", "2000-12-04 22:00:00+00"),
            vec![strict([TEXT, TEXT], Type::Timestamptz, to_timestamp)],
        )
        .stable(),
        function(
            &["to_number"],
            STRING,
            "A number from a text by a template.",
            ("to_number('12,454.8-', '99G999D9S')", "-12454.8"),
            vec![strict([TEXT, TEXT], Type::Numeric(None), to_number)],
        ),
    ]
}

/// The templates of a batch: cut up once for each run of rows with the same one.
struct Templates<'a, T> {
    texts: Column<'a, StringViewArray>,
    parse: fn(&str) -> Result<T>,
    last: Option<(&'a str, T)>,
}

impl<'a, T> Templates<'a, T> {
    fn new(args: &'a [Datum], parse: fn(&str) -> Result<T>) -> Result<Templates<'a, T>> {
        Ok(Templates { texts: text(args, 1)?, parse, last: None })
    }

    /// The row's template; `None` if it is empty.
    fn at(&mut self, row: usize) -> Result<Option<&T>> {
        let text = self.texts.at(row);
        if text.is_empty() {
            return Ok(None);
        }
        if self.last.as_ref().is_none_or(|(last, _)| *last != text) {
            self.last = Some((text, (self.parse)(text)?));
        }
        Ok(self.last.as_ref().map(|(_, template)| template))
    }
}

/// A moment or interval by a template; infinities and an empty template give NULL.
fn moment_text(args: &[Datum], rows: usize, ty: &Type, fields: impl Fn(usize) -> Option<Fields>) -> Result<Datum> {
    let mut templates = Templates::new(args, |text| Ok(datetime::parse(text)))?;
    text_rows(args, rows, ty, |row, out| {
        let (Some(template), Some(fields)) = (templates.at(row)?, fields(row)) else { return Ok(false) };
        datetime_out::write(template, &fields, out)?;
        Ok(true)
    })
}

/// A number by a template; an empty template gives an empty text.
fn number_text(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    shown: impl Fn(usize, &Template) -> Result<Shown>,
) -> Result<Datum> {
    let mut templates = Templates::new(args, Template::parse)?;
    text_rows(args, rows, ty, |row, out| {
        if let Some(template) = templates.at(row)? {
            number_out::write(template, &shown(row, template)?, out);
        }
        Ok(true)
    })
}

/// What a text is by a template under the SQL standard's rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Since 1970, if it is dated.
    pub(crate) days: i64,
    /// Microseconds of the day.
    pub(crate) time: i64,
    /// Seconds east of UTC, if the text says it.
    pub(crate) offset: Option<i64>,
    /// Whether the template has a field of a date, of a time of day, of a zone.
    pub(crate) dated: bool,
    pub(crate) timed: bool,
    pub(crate) zoned: bool,
}

/// Reads a text by a template as the SQL standard has it, for JSON paths.
pub(crate) fn read_standard(template: &str, text: &str) -> Result<Moment> {
    let nodes = datetime::parse_standard(template)?;
    let datetime_in::Parsed { days, time, offset } = datetime_in::parse_standard(&nodes, text)?;
    let (mut dated, mut timed, mut zoned) = (false, false, false);
    for node in &nodes {
        if let datetime::Node::Field { pattern, .. } = node {
            let field = pattern.field;
            timed |= field.is_timed();
            zoned |= field.is_zoned();
            dated |= !(field.is_timed() || field.is_zoned() || field == datetime::Field::Exact);
        }
    }
    if dated && !(MIN_DAY..END_DATE).contains(&days) {
        return Err(Error::new(ErrorKind::DatetimeOutOfRange, format!("date out of range: \"{text}\"")));
    }
    Ok(Moment { days, time, offset, dated, timed, zoned })
}

fn to_date(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut templates = Templates::new(args, |text| Ok(datetime::parse(text)))?;
    primitive_rows::<Date32Type>(args, rows, ty, |row| {
        let days = datetime_in::parse(templates.at(row)?.map_or(&[], Vec::as_slice), texts.at(row))?.days;
        if !(MIN_DAY..END_DATE).contains(&days) {
            let message = format!("date out of range: \"{}\"", texts.at(row));
            return Err(Error::new(ErrorKind::DatetimeOutOfRange, message));
        }
        Ok(Some(days as i32))
    })
}

fn to_timestamp(context: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut templates = Templates::new(args, |text| Ok(datetime::parse(text)))?;
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let parsed = datetime_in::parse(templates.at(row)?.map_or(&[], Vec::as_slice), texts.at(row))?;
        let local = parsed.days.checked_mul(MICROS_PER_DAY).and_then(|day| day.checked_add(parsed.time));
        let at = local.map(|local| match parsed.offset {
            Some(offset) => local.saturating_sub(offset * MICROS_PER_SECOND),
            None => local_to_utc(&context.time_zone, local),
        });
        let at = at.filter(|at| is_timestamp(*at));
        at.map(Some).ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range"))
    })
}

fn to_number(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut templates = Templates::new(args, Template::parse)?;
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let mut value = |row: usize| -> Result<Option<Numeric>> {
            if !is_valid(&nulls, row) {
                return Ok(None);
            }
            templates.at(row)?.map(|template| number_in::parse(template, texts.at(row))).transpose()
        };
        let values: Vec<Option<Numeric>> = (0..rows).map(&mut value).collect::<Result<_>>()?;
        Ok(Arc::new(numeric::from_values(values)) as ArrayRef)
    })
}
