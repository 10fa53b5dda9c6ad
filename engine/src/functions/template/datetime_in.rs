//! to_timestamp and to_date: a text read by a template.
//!
//! Each pattern takes its field from the text; the fields together give the moment, as PostgreSQL's do_to_timestamp puts them together.
//! Without FX, white space is passed over before fields and a separator matches at most one separator or space.

use super::datetime::{Calendar, DAYS, Field, MONTHS, Node, Pattern, ROMAN, is_separator, is_space};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, days_in_month};

/// What was read: a wall-clock time and, if the text said it, its zone's offset in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Days since 1970.
    pub(super) days: i64,
    /// Microseconds of the day.
    pub(super) time: i64,
    /// Seconds east of UTC.
    pub(super) offset: Option<i64>,
}

/// The fields that a template read. As in Postgres, 0 is a field that was not given.
#[derive(Debug, Default)]
struct Found {
    calendar: Option<Calendar>,
    hour: i64,
    afternoon: i64,
    twelve_hours: bool,
    minute: i64,
    second: i64,
    second_of_day: i64,
    /// From Sunday, 1.
    weekday: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    millisecond: i64,
    microsecond: i64,
    year: i64,
    /// How many digits of the year the pattern has.
    year_digits: u8,
    before_christ: i64,
    week: i64,
    week_of_month: i64,
    century: i64,
    julian: i64,
    zone_sign: i64,
    zone_hour: i64,
    zone_minute: i64,
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidDatetime, message)
}

/// A field set, unless it was set to something else before.
fn set(field: &mut i64, value: i64, pattern: Pattern) -> Result<()> {
    if *field != 0 && *field != value {
        return Err(wrong(format!("conflicting values for \"{}\" field in formatting string", pattern.name))
            .with_detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// Reads a text by a template.
pub(super) fn parse(template: &[Node], text: &str) -> Result<Parsed> {
    Reader { text, at: 0, exact: false, standard: false, skipped: 0 }.read(template)?.finish(text)
}

/// As [`parse`], with the SQL standard's rules: each separator is the template's, and nothing is left over on either side.
pub(super) fn parse_standard(template: &[Node], text: &str) -> Result<Parsed> {
    Reader { text, at: 0, exact: true, standard: true, skipped: 0 }.read(template)?.finish(text)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// FX was seen.
    exact: bool,
    /// The SQL standard's rules.
    standard: bool,
    /// How many characters of white space were passed over beyond what the template has.
    skipped: i32,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_char(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.skip_char();
            self.skipped += 1;
        }
    }

    fn read(mut self, template: &[Node]) -> Result<Found> {
        let mut found = Found::default();
        for (i, node) in template.iter().enumerate() {
            if self.at == self.text.len() {
                match self.standard {
                    true => return Err(wrong("input string is too short for datetime format".into())),
                    false => break,
                }
            }
            let field = matches!(node, Node::Field { .. });
            let is_exact = matches!(node, Node::Field { pattern, .. } if pattern.field == Field::Exact);
            if !self.exact && !is_exact && (field || i == 0) {
                self.skip_spaces();
            }
            match *node {
                Node::Space(c) | Node::Separator(c) | Node::Text(c) if self.standard => {
                    if self.peek() != Some(c) {
                        let what = if matches!(node, Node::Text(_)) { "character" } else { "separator" };
                        return Err(wrong(format!("unmatched format {what} \"{c}\"")));
                    }
                    self.skip_char();
                }
                Node::Space(_) | Node::Separator(_) if self.exact => self.skip_char(),
                Node::Space(_) | Node::Separator(_) => {
                    self.skipped -= 1;
                    if self.peek().is_some_and(|c| is_space(c) || is_separator(c)) {
                        self.skip_char();
                        self.skipped += 1;
                    }
                }
                // What was passed over in excess may be what the template's character stands for.
                Node::Text(_) if !self.exact && self.skipped > 0 => self.skipped -= 1,
                Node::Text(_) => self.skip_char(),
                Node::Field { pattern, fill, ordinal, .. } => {
                    self.field(&mut found, pattern, fill, ordinal.is_some(), template.get(i + 1))?;
                    if !self.exact {
                        self.skipped = 0;
                        self.skip_spaces();
                    }
                }
            }
        }
        if self.standard && !self.rest().chars().all(is_space) {
            let message = "trailing characters remain in input string after datetime format";
            return Err(wrong(message.into()));
        }
        Ok(found)
    }

    /// One of some words, whatever the case; its index.
    fn word(&mut self, words: &[&str], pattern: Pattern) -> Result<i64> {
        let rest = self.rest();
        let found = words.iter().position(|word| rest.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word)));
        match found {
            Some(index) => {
                self.at += words[index].len();
                Ok(index as i64)
            }
            None => {
                let shown: String = rest.chars().take_while(|c| !is_space(*c)).collect();
                Err(wrong(format!("invalid value \"{shown}\" for \"{}\"", pattern.name))
                    .with_detail("The given value did not match any of the allowed values for this field."))
            }
        }
    }

    /// An integer of at most `length` characters, or of any number if the template's next node ends it. The value and how many characters
    /// were taken.
    fn integer(&mut self, length: usize, pattern: Pattern, open: bool) -> Result<(i64, usize)> {
        let start = self.at;
        let spaces = self.rest().chars().take_while(|c| is_space(*c)).count();
        let shown: String = self.text[start + spaces..].chars().take(length).collect();
        let (value, used) = match open {
            true => leading_integer(self.rest()),
            false => {
                let remain = shown.chars().count();
                if remain < length {
                    return Err(wrong(format!("source string too short for \"{}\" formatting field", pattern.name))
                        .with_detail(format!("Field requires {length} characters, but only {remain} remain."))
                        .with_hint("If your source string is not fixed-width, try using the \"FM\" modifier."));
                }
                let (value, used) = leading_integer(&shown);
                if used > 0 && used < length {
                    return Err(wrong(format!("invalid value \"{shown}\" for \"{}\"", pattern.name))
                        .with_detail(format!("Field requires {length} characters, but only {used} could be parsed."))
                        .with_hint("If your source string is not fixed-width, try using the \"FM\" modifier."));
                }
                (value, if used == 0 { 0 } else { spaces + used })
            }
        };
        if used == 0 {
            return Err(wrong(format!("invalid value \"{shown}\" for \"{}\"", pattern.name))
                .with_detail("Value must be an integer."));
        }
        self.at += used;
        match value.filter(|v| i32::try_from(*v).is_ok()) {
            Some(value) => Ok((value, used)),
            None => {
                let message = format!("value for \"{}\" in source string is out of range", pattern.name);
                Err(Error::new(ErrorKind::DatetimeOutOfRange, message).with_detail(format!(
                    "Value must be in the range {} to {}.",
                    i32::MIN,
                    i32::MAX
                )))
            }
        }
    }

    fn field(
        &mut self,
        found: &mut Found,
        pattern: Pattern,
        fill: bool,
        ordinal: bool,
        next: Option<&Node>,
    ) -> Result<()> {
        if pattern.calendar != Calendar::Any {
            match found.calendar {
                Some(before) if before != pattern.calendar => {
                    return Err(wrong("invalid combination of date conventions".into())
                        .with_hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
                }
                _ => found.calendar = Some(pattern.calendar),
            }
        }
        // Digits run on unless a digit may follow.
        let open = fill
            || ordinal
            || match next {
                None => true,
                Some(Node::Field { pattern, .. }) => !pattern.digits,
                Some(Node::Text(c)) => !c.is_ascii_digit(),
                Some(_) => true,
            };
        let width = pattern.name.len();
        let mut number = |target: &mut i64, length: usize| -> Result<usize> {
            let (value, used) = self.integer(length, pattern, open)?;
            set(target, value, pattern)?;
            Ok(used)
        };
        match pattern.field {
            Field::Exact => {
                self.exact = true;
                return Ok(());
            }
            Field::AmPm => {
                let words = if pattern.dotted { ["a.m.", "p.m."] } else { ["am", "pm"] };
                let value = self.word(&words, pattern)?;
                set(&mut found.afternoon, value, pattern)?;
                found.twelve_hours = true;
                return Ok(());
            }
            Field::Era => {
                let words = if pattern.dotted { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                let value = self.word(&words, pattern)?;
                return set(&mut found.before_christ, value, pattern);
            }
            Field::MonthName | Field::MonthShort => {
                let short = MONTHS.map(|name| &name[..3]);
                let words = if pattern.field == Field::MonthName { MONTHS } else { short };
                let value = self.word(&words, pattern)?;
                return set(&mut found.month, value + 1, pattern);
            }
            Field::MonthRoman => {
                let value = self.word(&ROMAN, pattern)?;
                return set(&mut found.month, 12 - value, pattern);
            }
            Field::DayName | Field::DayShort => {
                let short = DAYS.map(|name| &name[..3]);
                let words = if pattern.field == Field::DayName { DAYS } else { short };
                let value = self.word(&words, pattern)?;
                // Postgres compares a second day's name with the first one's number, which counts from 1.
                set(&mut found.weekday, value, pattern)?;
                found.weekday += 1;
                return Ok(());
            }
            Field::ZoneName | Field::Offset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", pattern.name);
                return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
            }
            Field::ZoneHour => {
                found.zone_sign = match self.peek() {
                    Some(sign @ ('+' | '-' | ' ')) => {
                        self.at += 1;
                        if sign == '-' { -1 } else { 1 }
                    }
                    // A separator of the template may have taken the sign.
                    _ if self.skipped > 0 && self.text[..self.at].ends_with('-') => -1,
                    _ => 1,
                };
                let (value, _) = self.integer(2, pattern, open)?;
                return set(&mut found.zone_hour, value, pattern);
            }
            Field::ZoneMinute => {
                if found.zone_sign == 0 {
                    found.zone_sign = 1;
                }
                number(&mut found.zone_minute, 2)?;
                return Ok(());
            }
            Field::Hour12 => {
                number(&mut found.hour, 2)?;
                found.twelve_hours = true;
            }
            Field::Hour24 => {
                number(&mut found.hour, 2)?;
            }
            Field::Minute => {
                number(&mut found.minute, width)?;
            }
            Field::Second => {
                number(&mut found.second, width)?;
            }
            Field::SecondOfDay => {
                number(&mut found.second_of_day, width)?;
            }
            Field::Millisecond => {
                let used = number(&mut found.millisecond, 3)?;
                found.millisecond *= 10_i64.pow(3_u32.saturating_sub(used as u32));
            }
            Field::Microsecond | Field::Fraction(_) => {
                let digits = if let Field::Fraction(digits) = pattern.field { digits.into() } else { 6 };
                let used = number(&mut found.microsecond, digits)?;
                found.microsecond *= 10_i64.pow(6_u32.saturating_sub(used as u32));
            }
            Field::Month => {
                number(&mut found.month, width)?;
            }
            Field::Day => {
                number(&mut found.day, width)?;
            }
            Field::DayOfYear | Field::IsoDayOfYear => {
                number(&mut found.day_of_year, 3)?;
            }
            Field::DayOfWeek => {
                number(&mut found.weekday, width)?;
            }
            Field::IsoDayOfWeek => {
                number(&mut found.weekday, 1)?;
                found.weekday = if found.weekday + 1 > 7 { 1 } else { found.weekday + 1 };
            }
            Field::WeekOfYear | Field::IsoWeek => {
                number(&mut found.week, width)?;
            }
            Field::WeekOfMonth => {
                number(&mut found.week_of_month, width)?;
            }
            // Read, but of no use: which date of the quarter it means is not known.
            Field::Quarter => {
                self.integer(width, pattern, open)?;
            }
            Field::Century => {
                number(&mut found.century, width)?;
            }
            Field::Julian => {
                number(&mut found.julian, width)?;
            }
            Field::YearWithComma => {
                let value = self.year_with_comma()?;
                set(&mut found.year, value, pattern)?;
                found.year_digits = 4;
            }
            Field::Year(digits) | Field::IsoYear(digits) => {
                let used = number(&mut found.year, width)?;
                if digits < 4 && used < 4 {
                    found.year = full_year(found.year);
                }
                found.year_digits = digits;
            }
        }
        if ordinal {
            self.skip_char();
            self.skip_char();
        }
        Ok(())
    }

    fn year_with_comma(&mut self) -> Result<i64> {
        let invalid = || wrong("invalid input string for \"Y,YYY\"".into());
        let (millennia, used) = leading_integer(self.rest());
        let millennia = millennia.filter(|_| used > 0).ok_or_else(invalid)?;
        let rest = self.rest()[used..].strip_prefix(',').ok_or_else(invalid)?;
        let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let years: i64 = rest[..digits].parse().map_err(|_| invalid())?;
        self.at += used + 1 + digits;
        Ok(years + millennia * 1000)
    }
}

/// C's strtol: white space, a sign and digits at the start of a text. The value (`None` if it is far too large) and how many bytes it has.
fn leading_integer(text: &str) -> (Option<i64>, usize) {
    let spaces = text.bytes().take_while(|b| is_space(char::from(*b))).count();
    let body = &text[spaces..];
    let sign = usize::from(body.starts_with(['+', '-']));
    let digits = body[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (None, 0);
    }
    let end = sign + digits;
    (body[..end].strip_prefix('+').unwrap_or(&body[..end]).parse().ok(), spaces + end)
}

/// A year of two or three digits: the one nearest to 2020.
fn full_year(year: i64) -> i64 {
    match year {
        year if year < 70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        year => year,
    }
}

/// The Monday of an ISO year's week, as days since 1970.
fn iso_monday(year: i64, week: i64) -> i64 {
    let fourth = days_from_civil(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7) + (week - 1) * 7
}

/// The moment as it is being put together.
struct Date {
    year: i64,
    month: i64,
    day: i64,
    has_year: bool,
    has_month: bool,
    has_day: bool,
}

impl Date {
    fn set_days(&mut self, days: i64) {
        let (year, month, day) = civil_from_days(days);
        (self.year, self.month, self.day) = (year, month.into(), day.into());
        (self.has_year, self.has_month, self.has_day) = (true, true, true);
    }
}

impl Found {
    fn finish(mut self, text: &str) -> Result<Parsed> {
        let overflow =
            || Error::new(ErrorKind::DatetimeOutOfRange, format!("date/time field value out of range: \"{text}\""));
        let time = self.time().and_then(|time| time.ok_or_else(overflow))?;
        let date = self.date()?;
        let month_fits = !date.has_month || (1..=12).contains(&date.month);
        let day_fits = !date.has_day || (1..=31).contains(&date.day);
        let whole = date.has_year && date.has_month && date.has_day;
        if !month_fits
            || !day_fits
            || (whole && date.day > i64::from(days_in_month(date.year, date.month as u32)))
            || date.year.abs() > 10_000_000
        {
            return Err(overflow());
        }
        let offset = match self.zone_sign {
            0 => None,
            sign => {
                if !(0..=15).contains(&self.zone_hour) || !(0..60).contains(&self.zone_minute) {
                    let message = format!("time zone displacement out of range: \"{text}\"");
                    return Err(Error::new(ErrorKind::DatetimeOutOfRange, message));
                }
                Some(sign * (self.zone_hour * 3600 + self.zone_minute * 60))
            }
        };
        Ok(Parsed { days: days_from_civil(date.year, date.month, date.day), time, offset })
    }

    /// Microseconds of the day; `None` out of range.
    fn time(&self) -> Result<Option<i64>> {
        let seconds = self.second_of_day;
        let given = |value: i64, other: i64| if value != 0 { value } else { other };
        let mut hour = given(self.hour, seconds / 3600);
        let minute = given(self.minute, seconds % 3600 / 60);
        let second = given(self.second, seconds % 60);
        if self.twelve_hours {
            if !(1..=12).contains(&hour) {
                return Err(wrong(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.afternoon != 0 { 12 } else { 0 };
        }
        let micros = self.millisecond * 1000 + self.microsecond;
        let fits = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..MICROS_PER_SECOND).contains(&micros);
        let total = (hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + micros;
        Ok((fits && total < MICROS_PER_DAY).then_some(total))
    }

    fn date(&mut self) -> Result<Date> {
        let mut date = Date { year: 0, month: 1, day: 1, has_year: false, has_month: false, has_day: false };
        if self.before_christ != 0 {
            self.century = -self.century;
        }
        let century = self.century;
        if self.year != 0 {
            date.has_year = true;
            date.year = if century != 0 && self.year_digits <= 2 {
                // The low digits in the given century: the 21st runs from 2001 to 2100, the 6th BC from 600 to 501.
                match self.year % 100 {
                    0 => century * 100 + i64::from(century < 0),
                    year if century >= 0 => year + (century - 1) * 100,
                    year => (century + 1) * 100 - year + 1,
                }
            } else {
                let year = if self.before_christ != 0 { -self.year } else { self.year };
                if year < 0 { year + 1 } else { year }
            };
        } else if century != 0 {
            date.has_year = true;
            date.year = if century >= 0 { (century - 1) * 100 + 1 } else { century * 100 + 1 };
        }
        if self.julian != 0 {
            date.set_days(self.julian - 2_440_588);
        }
        if self.week != 0 {
            if self.calendar == Some(Calendar::IsoWeek) {
                let monday = iso_monday(date.year, self.week);
                date.set_days(match self.weekday {
                    0 => monday,
                    1 => monday + 6,
                    day => monday + day - 2,
                });
            } else {
                self.day_of_year = (self.week - 1) * 7 + 1;
            }
        }
        if self.week_of_month != 0 {
            self.day = (self.week_of_month - 1) * 7 + 1;
        }
        if self.day != 0 {
            (date.day, date.has_day) = (self.day, true);
        }
        if self.month != 0 {
            (date.month, date.has_month) = (self.month, true);
        }
        if self.day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
            if date.year == 0 && self.before_christ == 0 {
                return Err(wrong("cannot calculate day of year without year information".into()));
            }
            if self.calendar == Some(Calendar::IsoWeek) {
                date.set_days(iso_monday(date.year, 1) + self.day_of_year - 1);
            } else {
                self.set_day_of_year(&mut date);
            }
        }
        Ok(date)
    }

    /// Month and day of the day of the year, where they were not given. A day past the year's end is of a thirteenth month, which is refused.
    fn set_day_of_year(&self, date: &mut Date) {
        let (mut month, mut before) = (1, 0);
        while month <= 12 {
            let length = i64::from(days_in_month(date.year, month as u32));
            if self.day_of_year <= before + length {
                break;
            }
            before += length;
            month += 1;
        }
        if date.month <= 1 {
            date.month = month;
        }
        if date.day <= 1 {
            date.day = self.day_of_year - before;
        }
        (date.has_month, date.has_day) = (true, true);
    }
}
