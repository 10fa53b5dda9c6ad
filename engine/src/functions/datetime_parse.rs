//! parseDateTime and its kin: a text read by a template, of MySQL's `%Y-%m-%d` or of Joda's `yyyy-MM-dd`.
//!
//! What a template does not say is 1970-01-01 00:00:00, of a month or day without a year 2000. The whole text must be what the template says. Without a zone of its own the text is in the
//! session's, or in that of a third argument.

use arrow::datatypes::TimestampMicrosecondType as Micros;
use jiff::tz::TimeZone;
use weir_sql::Type;

use super::datetime::zone_named;
use super::declare::{DATETIME, TEXT, function, strict};
use super::rows::{primitive_rows, text};
use super::template::{DAYS, MONTHS};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil, days_in_month, is_timestamp, local_to_utc,
};

/// What a text is read by.
#[derive(Clone, Copy, PartialEq)]
enum Syntax {
    MySql,
    Joda,
}

/// What becomes of a text that is no such time.
#[derive(Clone, Copy)]
enum Otherwise {
    Error,
    Null,
    Zero,
}

pub(crate) fn functions() -> Vec<ScalarFunction> {
    macro_rules! parse {
        ($names:expr, $doc:expr, $example:expr, $syntax:expr, $otherwise:expr) => {
            function(
                $names,
                DATETIME,
                $doc,
                $example,
                vec![
                    strict([TEXT, TEXT, TEXT], Type::Timestamptz, |context, a, n, ty| {
                        parsed(context, a, n, ty, $syntax, $otherwise)
                    })
                    .optional(if $syntax == Syntax::MySql { 2 } else { 1 }),
                ],
            )
            .stable()
        };
    }
    vec![
        parse!(
            &["parseDateTime", "parseDateTime64", "str_to_date"],
            "The moment that a text is by a template of % and a letter.",
            ("parseDateTime('07.05.24 13:04', '%d.%m.%y %H:%i', 'UTC')", "2024-05-07 13:04:00+00"),
            Syntax::MySql,
            Otherwise::Error
        ),
        parse!(
            &["parseDateTimeOrNull", "parseDateTime64OrNull"],
            "As parseDateTime; NULL of what is not as the template has it.",
            ("parseDateTimeOrNull('x', '%Y')", "NULL"),
            Syntax::MySql,
            Otherwise::Null
        ),
        parse!(
            &["parseDateTimeOrZero", "parseDateTime64OrZero"],
            "As parseDateTime; the epoch for what is not as the template has it.",
            ("parseDateTimeOrZero('x', '%Y')", "1970-01-01 00:00:00+00"),
            Syntax::MySql,
            Otherwise::Zero
        ),
        parse!(
            &["parseDateTimeInJodaSyntax", "parseDateTime64InJodaSyntax"],
            "The moment that a text is by a template of Joda's letters.",
            ("parseDateTimeInJodaSyntax('07.05.2024 13:04', 'dd.MM.yyyy HH:mm', 'UTC')", "2024-05-07 13:04:00+00"),
            Syntax::Joda,
            Otherwise::Error
        ),
        parse!(
            &["parseDateTimeInJodaSyntaxOrNull", "parseDateTime64InJodaSyntaxOrNull"],
            "As parseDateTimeInJodaSyntax; NULL of what is not as the template has it.",
            ("parseDateTimeInJodaSyntaxOrNull('x', 'yyyy')", "NULL"),
            Syntax::Joda,
            Otherwise::Null
        ),
        parse!(
            &["parseDateTimeInJodaSyntaxOrZero", "parseDateTime64InJodaSyntaxOrZero"],
            "As parseDateTimeInJodaSyntax; the epoch for what is not as the template has it.",
            ("parseDateTimeInJodaSyntaxOrZero('x', 'yyyy')", "1970-01-01 00:00:00+00"),
            Syntax::Joda,
            Otherwise::Zero
        ),
    ]
}

fn parsed(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    syntax: Syntax,
    otherwise: Otherwise,
) -> Result<Datum> {
    let texts = text(args, 0)?;
    let templates = if args.len() > 1 { Some(text(args, 1)?) } else { None };
    let zones = if args.len() > 2 { Some(text(args, 2)?) } else { None };
    primitive_rows::<Micros>(args, rows, types, |row| {
        let (value, template) = (texts.at(row), templates.map_or("%Y-%m-%d %H:%i:%s", |templates| templates.at(row)));
        let zone = zones.map(|zones| zone_named(zones.at(row))).transpose()?;
        let mut reader = Reader { rest: value, found: Found::default() };
        let read = match syntax {
            Syntax::MySql => reader.mysql(template)?,
            Syntax::Joda => reader.joda(template)?,
        };
        let moment = read.filter(|()| reader.rest.is_empty());
        let moment = moment.and_then(|()| reader.found.moment(zone.as_ref().unwrap_or(&context.time_zone)));
        match (moment, otherwise) {
            (Some(moment), _) => Ok(Some(moment)),
            (None, Otherwise::Null) => Ok(None),
            (None, Otherwise::Zero) => Ok(Some(0)),
            (None, Otherwise::Error) => {
                let message = format!("\"{value}\" is not a time in the format \"{template}\"");
                Err(Error::new(ErrorKind::InvalidDatetime, message))
            }
        }
    })
}

/// What a text said.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    /// The hour is one of twelve.
    twelve: bool,
    afternoon: bool,
    minute: i64,
    second: i64,
    micros: i64,
    /// Seconds east of UTC.
    offset: Option<i64>,
}

impl Found {
    /// `None` if there is no such day or time.
    fn moment(&self, zone: &TimeZone) -> Option<i64> {
        let fits = |value: i64, most: i64| (0..=most).contains(&value).then_some(value);
        let micros = fits(self.micros, MICROS_PER_SECOND - 1)?;
        // A month or a day without a year is of 2000, as ClickHouse has it.
        let dated = self.month.or(self.day).or(self.day_of_year).is_some();
        let year = self.year.unwrap_or(if dated { 2000 } else { 1970 });
        let days = match (self.day_of_year, self.month.unwrap_or(1), self.day.unwrap_or(1)) {
            (Some(day), ..) => {
                let year_days = days_from_civil(year + 1, 1, 1) - days_from_civil(year, 1, 1);
                days_from_civil(year, 1, 1) + fits(day - 1, year_days - 1)?
            }
            (None, month, day) => {
                fits(month - 1, 11)?;
                fits(day - 1, i64::from(days_in_month(year, month as u32)) - 1)?;
                days_from_civil(year, month, day)
            }
        };
        let hour = match self.twelve {
            true => fits(self.hour - 1, 11)?.wrapping_add(1) % 12 + if self.afternoon { 12 } else { 0 },
            false => fits(self.hour, 23)?,
        };
        let seconds = hour * 3600 + fits(self.minute, 59)? * 60 + fits(self.second, 59)?;
        let local = days.checked_mul(MICROS_PER_DAY)?.checked_add(seconds * MICROS_PER_SECOND + micros)?;
        let at = match self.offset {
            Some(offset) => local.checked_sub(offset * MICROS_PER_SECOND)?,
            None => local_to_utc(zone, local),
        };
        Some(at).filter(|at| is_timestamp(*at))
    }
}

struct Reader<'t> {
    rest: &'t str,
    found: Found,
}

fn unknown(field: impl std::fmt::Display) -> Error {
    let message = format!("a template of a time has no field \"{field}\"");
    Error::new(ErrorKind::InvalidParameter, message)
}

/// What is left of a step: `None` where the text is not as the template has it.
type Step = Option<()>;

impl Reader<'_> {
    /// A number of so many digits.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let digits = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < least {
            return None;
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        number.parse().ok()
    }

    fn literal(&mut self, c: char) -> Step {
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }

    /// One of some names, or of their first letters; its place.
    fn name(&mut self, names: &[&str], letters: Option<usize>) -> Option<i64> {
        let found = names.iter().position(|name| {
            let name = &name[..letters.unwrap_or(name.len())];
            self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        })?;
        self.rest = &self.rest[letters.unwrap_or(names[found].len())..];
        Some(found as i64)
    }

    /// Letters like these in either case, as AM or PM.
    fn half(&mut self) -> Step {
        self.found.afternoon = self.name(&["AM", "PM"], None)? == 1;
        Some(())
    }

    /// `+05:30`, `+0530` or `Z`.
    fn offset(&mut self) -> Step {
        if self.literal('Z').is_some() {
            self.found.offset = Some(0);
            return Some(());
        }
        let sign = if self.literal('-').is_some() { -1 } else { self.literal('+').map(|()| 1)? };
        let hours = self.number(2, 2)?;
        let _ = self.literal(':');
        let minutes = self.number(2, 2)?;
        self.found.offset = Some(sign * (hours * 3600 + minutes * 60));
        Some(())
    }

    /// Digits of a second's fraction.
    fn fraction(&mut self, least: usize, most: usize) -> Step {
        let before = self.rest.len();
        let value = self.number(least, most)?;
        let digits = (before - self.rest.len()) as u32;
        self.found.micros = match digits {
            0..=6 => value * 10_i64.pow(6 - digits),
            _ => value / 10_i64.pow(digits - 6),
        };
        Some(())
    }

    fn mysql(&mut self, template: &str) -> Result<Step> {
        let mut chars = template.chars();
        while let Some(c) = chars.next() {
            let step = match c {
                '%' => {
                    let field = chars.next().ok_or_else(|| unknown('%'))?;
                    self.percent(field)?
                }
                c => self.literal(c),
            };
            if step.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn percent(&mut self, field: char) -> Result<Step> {
        // Fields that are several others.
        let several = match field {
            'F' => "%Y-%m-%d",
            'T' => "%H:%i:%s",
            'R' => "%H:%i",
            'D' => "%m/%d/%y",
            'r' => "%h:%i %p",
            _ => "",
        };
        if !several.is_empty() {
            return self.mysql(several);
        }
        let spaced = |reader: &mut Self| {
            reader.rest = reader.rest.trim_start_matches(' ');
            reader.number(1, 2)
        };
        let found = match field {
            'Y' => self.number(4, 4).map(|value| self.found.year = Some(value)),
            'y' => self.number(2, 2).map(|value| self.found.year = Some(value + if value < 70 { 2000 } else { 1900 })),
            'm' => self.number(2, 2).map(|value| self.found.month = Some(value)),
            'c' => self.number(1, 2).map(|value| self.found.month = Some(value)),
            'd' => self.number(2, 2).map(|value| self.found.day = Some(value)),
            'e' => spaced(self).map(|value| self.found.day = Some(value)),
            'j' => self.number(3, 3).map(|value| self.found.day_of_year = Some(value)),
            'H' => self.number(2, 2).map(|value| self.found.hour = value),
            'k' => spaced(self).map(|value| self.found.hour = value),
            'h' | 'I' => self.number(2, 2).map(|value| (self.found.hour, self.found.twelve) = (value, true)),
            'l' => spaced(self).map(|value| (self.found.hour, self.found.twelve) = (value, true)),
            'i' => self.number(2, 2).map(|value| self.found.minute = value),
            's' | 'S' => self.number(2, 2).map(|value| self.found.second = value),
            'f' => self.fraction(1, 9),
            'p' => self.half(),
            'M' => self.name(&MONTHS, None).map(|at| self.found.month = Some(at + 1)),
            'b' => self.name(&MONTHS, Some(3)).map(|at| self.found.month = Some(at + 1)),
            'W' => self.name(&DAYS, None).map(drop),
            'a' => self.name(&DAYS, Some(3)).map(drop),
            'z' => self.offset(),
            'n' => self.literal('\n'),
            't' => self.literal('\t'),
            '%' => self.literal('%'),
            other => return Err(unknown(format!("%{other}"))),
        };
        Ok(found)
    }

    fn joda(&mut self, template: &str) -> Result<Step> {
        let mut rest = template;
        while let Some(c) = rest.chars().next() {
            let step = match c {
                '\'' => {
                    // Quoted text; two quotes are one.
                    let quoted = &rest[1..];
                    if let Some(after) = quoted.strip_prefix('\'') {
                        rest = after;
                        self.literal('\'')
                    } else {
                        let end = quoted.find('\'').ok_or_else(|| unknown('\''))?;
                        rest = &quoted[end + 1..];
                        quoted[..end].chars().try_for_each(|c| self.literal(c))
                    }
                }
                c if c.is_ascii_alphabetic() => {
                    let count = rest.chars().take_while(|other| *other == c).count();
                    rest = &rest[count..];
                    let digits_follow = rest.chars().next().is_some_and(|next| "yYxMdDHhKkmsS".contains(next));
                    self.letters(c, count, digits_follow)?
                }
                c => {
                    rest = &rest[c.len_utf8()..];
                    self.literal(c)
                }
            };
            if step.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    fn letters(&mut self, letter: char, count: usize, digits_follow: bool) -> Result<Step> {
        // Before other digits a number has just its letters' length.
        let most = |usual: usize| if digits_follow { count } else { usual.max(count) };
        let found = match letter {
            'y' | 'Y' if count == 2 => {
                self.number(2, 2).map(|value| self.found.year = Some(value + if value < 70 { 2000 } else { 1900 }))
            }
            'y' | 'Y' => self.number(1, most(4)).map(|value| self.found.year = Some(value)),
            'M' if count >= 4 => self.name(&MONTHS, None).map(|at| self.found.month = Some(at + 1)),
            'M' if count == 3 => self.name(&MONTHS, Some(3)).map(|at| self.found.month = Some(at + 1)),
            'M' => self.number(1, most(2)).map(|value| self.found.month = Some(value)),
            'd' => self.number(1, most(2)).map(|value| self.found.day = Some(value)),
            'D' => self.number(1, most(3)).map(|value| self.found.day_of_year = Some(value)),
            'H' => self.number(1, most(2)).map(|value| self.found.hour = value),
            'k' => self.number(1, most(2)).map(|value| self.found.hour = value % 24),
            'h' => self.number(1, most(2)).map(|value| (self.found.hour, self.found.twelve) = (value, true)),
            // From 0 to 11.
            'K' => self.number(1, most(2)).map(|value| {
                (self.found.hour, self.found.twelve) = (if value == 0 { 12 } else { value }, true);
            }),
            'm' => self.number(1, most(2)).map(|value| self.found.minute = value),
            's' => self.number(1, most(2)).map(|value| self.found.second = value),
            'S' => self.fraction(1, count.max(1)),
            'a' => self.half(),
            'E' if count >= 4 => self.name(&DAYS, None).map(drop),
            'E' => self.name(&DAYS, Some(3)).map(drop),
            'Z' => self.offset(),
            other => return Err(unknown(other)),
        };
        Ok(found)
    }
}
