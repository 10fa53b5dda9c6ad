//! Dates and times in whatever form Postgres reads: `Jan 8, 1999`, `8/1/1999`, `20240131T040506Z`, `today`, `04:05 PM`, zone names, BC.
//!
//! The text is cut into words, each is what it looks like, and fills [`Fields`]; month before day where digits alone do not tell
//! (DateStyle MDY).

use jiff::tz::TimeZone;

use super::datetime_parse::{digits, fraction_micros, invalid};
use super::trim;
use crate::error::{Error, ErrorKind, Result};
use crate::functions::Context;
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil, days_in_month, split_micros, utc_to_local,
};

/// A zone in a text.
#[derive(Debug, Clone)]
pub(super) enum Zone {
    /// Seconds east of Greenwich.
    Offset(i64),
    Named(TimeZone),
}

/// What a text names; a part that it does not have is `None`.
pub(super) enum Moment {
    Infinity,
    NegInfinity,
    At { days: Option<i64>, time: Option<i64>, zone: Option<Zone> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Special {
    Now,
    Today,
    Tomorrow,
    Yesterday,
    Epoch,
    Infinity,
    NegInfinity,
}

/// What the words of a text said.
#[derive(Debug, Default)]
pub(super) struct Fields {
    special: Option<Special>,
    /// Numbers of the date in the order they were written, with how many digits each had.
    numbers: Vec<(i64, usize)>,
    month: Option<i64>,
    julian: Option<i64>,
    day_of_year: Option<i64>,
    time: Option<i64>,
    zone: Option<Zone>,
    bc: bool,
    pm: Option<bool>,
}

impl Fields {
    /// Reads all words of a text.
    pub(super) fn parse(text: &str, ty: &str, ctx: &Context) -> Result<Fields> {
        let mut fields = Fields::default();
        let wrong = || invalid(ty, text);
        let words: Vec<&str> = trim(text).split([' ', '\t', '\n', '\r', '\x0b', '\x0c', ',']).collect();
        let words: Vec<&str> = words.into_iter().filter(|w| !w.is_empty()).collect();
        if words.is_empty() {
            return Err(wrong());
        }
        for word in words {
            fields.word(word, text, ty, ctx)?;
        }
        Ok(fields)
    }

    fn word(&mut self, word: &str, text: &str, ty: &str, ctx: &Context) -> Result<()> {
        let wrong = || invalid(ty, text);
        let bytes = word.as_bytes();
        match bytes[0] {
            b'+' | b'-' if word.len() > 1 && bytes[1].is_ascii_digit() => {
                let offset = offset(word).ok_or_else(wrong)?;
                self.set_zone(Zone::Offset(offset.ok_or_else(|| displacement(text))?)).ok_or_else(wrong)
            }
            b'-' if word.eq_ignore_ascii_case("-infinity") => {
                self.special = Some(Special::NegInfinity);
                Ok(())
            }
            b'0'..=b'9' => self.number_word(word, text, ty, ctx),
            b'J' | b'j' if word.len() > 1 && bytes[1..].iter().all(u8::is_ascii_digit) => {
                self.julian = Some(word[1..].parse().map_err(|_| wrong())?);
                Ok(())
            }
            b'T' | b't' if word.len() > 1 && bytes[1].is_ascii_digit() => {
                self.clock_and_rest(&word[1..], text, ty, ctx)
            }
            b if b.is_ascii_alphabetic() => self.name(word, text, ty, ctx),
            _ => Err(wrong()),
        }
    }

    /// A word that starts with a digit: a date, a clock, both with `T` between, or a number of a date.
    fn number_word(&mut self, word: &str, text: &str, ty: &str, ctx: &Context) -> Result<()> {
        let wrong = || invalid(ty, text);
        if let Some(at) = word.find(['T', 't']) {
            let (date, time) = (&word[..at], &word[at + 1..]);
            if date.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'/' | b'.'))
                && time.starts_with(|c: char| c.is_ascii_digit())
            {
                self.date_word(date, text).ok_or_else(wrong)??;
                return self.clock_and_rest(time, text, ty, ctx);
            }
        }
        // 2001-01-01+00: a date and a zone
        if let Some(at) = word.find('+')
            && word[..at].contains(['-', '/'])
        {
            self.date_word(&word[..at], text).ok_or_else(wrong)??;
            return self.word(&word[at..], text, ty, ctx);
        }
        if word.contains(':') {
            return self.clock_and_rest(word, text, ty, ctx);
        }
        if let Some(at) = word.find(|c: char| c.is_ascii_alphabetic()) {
            // 8-Jan-1999, 04PM, 1999BC
            if word.contains('-') || word.contains('/') {
                return self.date_word(word, text).ok_or_else(wrong)?;
            }
            let (number, name) = word.split_at(at);
            if name.eq_ignore_ascii_case("am") || name.eq_ignore_ascii_case("pm") {
                let hour: i64 = number.parse().map_err(|_| wrong())?;
                self.time = Some(hour * 3600 * MICROS_PER_SECOND);
            } else {
                self.date_word(number, text).ok_or_else(wrong)??;
            }
            return self.name(name, text, ty, ctx);
        }
        if self.time.is_none()
            && !self.numbers.is_empty()
            && self.date_is_whole()
            && word.bytes().all(|b| b.is_ascii_digit())
        {
            return self.clock_and_rest(word, text, ty, ctx);
        }
        if ty == "time" && word.len() >= 4 && word.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return self.clock_and_rest(word, text, ty, ctx);
        }
        self.date_word(word, text).ok_or_else(wrong)?
    }

    fn date_is_whole(&self) -> bool {
        self.numbers.len() + usize::from(self.month.is_some()) >= 3
    }

    /// `1999-01-08`, `1/8/1999`, `08-Jan-1999`, `19990108`, `990108`, `1999.008`, `8`. `None` for bad syntax.
    fn date_word(&mut self, word: &str, text: &str) -> Option<Result<()>> {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return self.date_digits(word);
        }
        if let Some((year, day)) = word.split_once('.')
            && year.len() == 4
            && day.len() == 3
            && day.bytes().all(|b| b.is_ascii_digit())
        {
            self.numbers.push((digits(year.as_bytes())?, 4));
            self.day_of_year = Some(digits(day.as_bytes())?);
            return Some(Ok(()));
        }
        let separator = word.find(['-', '/', '.'])?;
        let separator = word[separator..].chars().next()?;
        let parts: Vec<&str> = word.split(separator).collect();
        if parts.len() > 3 {
            return None;
        }
        for part in parts {
            if part.starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.month = Some(month(part)?);
            } else {
                if part.is_empty() || part.len() > 9 {
                    return if part.len() > 9 { Some(Err(field_out_of_range(text))) } else { None };
                }
                self.numbers.push((digits(part.as_bytes())?, part.len()));
            }
        }
        Some(Ok(()))
    }

    fn date_digits(&mut self, word: &str) -> Option<Result<()>> {
        let bytes = word.as_bytes();
        if self.numbers.is_empty() && self.month.is_none() {
            match word.len() {
                8 => {
                    let parts = [(0, 4), (4, 6), (6, 8)];
                    for (from, to) in parts {
                        self.numbers.push((digits(&bytes[from..to])?, to - from));
                    }
                    return Some(Ok(()));
                }
                6 => {
                    let year = two_digit_year(digits(&bytes[..2])?);
                    self.numbers = vec![(year, 4), (digits(&bytes[2..4])?, 2), (digits(&bytes[4..])?, 2)];
                    return Some(Ok(()));
                }
                _ => {}
            }
        }
        if word.len() > 9 {
            return None;
        }
        self.numbers.push((digits(bytes)?, word.len()));
        Some(Ok(()))
    }

    /// A clock and what is written against it: `04:05:06.789+02`, `040506`, `04:05PM`, `04:05:06 America/New_York`.
    fn clock_and_rest(&mut self, word: &str, text: &str, ty: &str, ctx: &Context) -> Result<()> {
        let wrong = || invalid(ty, text);
        let end = word.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(word.len());
        let (clock, rest) = word.split_at(end);
        if self.time.is_some() {
            return Err(wrong());
        }
        self.time = Some(parse_clock(clock).ok_or_else(wrong)?.ok_or_else(|| field_out_of_range(text))?);
        if rest.is_empty() { Ok(()) } else { self.word(rest, text, ty, ctx) }
    }

    fn name(&mut self, word: &str, text: &str, ty: &str, ctx: &Context) -> Result<()> {
        let wrong = || invalid(ty, text);
        let lower = word.to_ascii_lowercase();
        let special = match lower.as_str() {
            "now" => Some(Special::Now),
            "today" => Some(Special::Today),
            "tomorrow" => Some(Special::Tomorrow),
            "yesterday" => Some(Special::Yesterday),
            "epoch" => Some(Special::Epoch),
            "infinity" | "+infinity" => Some(Special::Infinity),
            "allballs" => {
                self.time = Some(0);
                self.zone = Some(Zone::Offset(0));
                return Ok(());
            }
            _ => None,
        };
        if let Some(special) = special {
            self.special = Some(special);
            return Ok(());
        }
        match lower.as_str() {
            "bc" => self.bc = true,
            "ad" | "at" | "on" | "t" => {}
            "am" => self.pm = Some(false),
            "pm" => self.pm = Some(true),
            _ => {
                if let Some(m) = month(&lower) {
                    self.month = Some(m);
                } else if is_weekday(&lower) {
                } else if let Some(offset) = abbreviation(&lower) {
                    return self.set_zone(Zone::Offset(offset)).ok_or_else(wrong);
                } else if lower.split_once(['-', '/']).is_some_and(|(first, _)| month(first).is_some()) {
                    // Jan-08-1999
                    return self.date_word(word, text).ok_or_else(wrong)?;
                } else if let Some(at) = lower.find(|c: char| c.is_ascii_digit()) {
                    // Jan8
                    let m = month(&lower[..at]).filter(|_| lower.is_char_boundary(at)).ok_or_else(wrong)?;
                    self.month = Some(m);
                    return self.number_word(&word[at..], text, ty, ctx);
                } else if word.contains('/') || word.len() > 3 && self.time.is_some() {
                    let zone = TimeZone::get(word).map_err(|_| {
                        Error::new(ErrorKind::InvalidParameter, format!("time zone \"{lower}\" not recognized"))
                    })?;
                    return self.set_zone(Zone::Named(zone)).ok_or_else(wrong);
                } else {
                    return Err(wrong());
                }
            }
        }
        Ok(())
    }

    fn set_zone(&mut self, zone: Zone) -> Option<()> {
        if self.zone.is_some() && !matches!(self.zone, Some(Zone::Offset(0))) {
            return None;
        }
        self.zone = Some(zone);
        Some(())
    }

    /// The moment that the fields name.
    pub(super) fn resolve(mut self, text: &str, ty: &str, ctx: &Context) -> Result<Moment> {
        let wrong = || invalid(ty, text);
        if let (Some(pm), Some(time)) = (self.pm, self.time) {
            let hour = time / (3600 * MICROS_PER_SECOND);
            if hour > 12 || hour == 0 && !pm && time != 0 {
                return Err(field_out_of_range(text));
            }
            let twelve = 12 * 3600 * MICROS_PER_SECOND;
            self.time = Some(match (pm, hour) {
                (true, 12) => time,
                (true, _) => time + twelve,
                (false, 12) => time - twelve,
                (false, _) => time,
            });
        } else if self.pm.is_some() {
            return Err(wrong());
        }
        let today = split_micros(utc_to_local(&ctx.time_zone, ctx.now));
        let whole = |days| Ok(Moment::At { days: Some(days), time: self.time.or(Some(0)), zone: self.zone.clone() });
        match self.special {
            Some(Special::Infinity) => return Ok(Moment::Infinity),
            Some(Special::NegInfinity) => return Ok(Moment::NegInfinity),
            Some(Special::Epoch) => {
                return Ok(Moment::At { days: Some(0), time: Some(0), zone: Some(Zone::Offset(0)) });
            }
            Some(Special::Now) => return Ok(Moment::At { days: Some(today.0), time: Some(today.1), zone: None }),
            Some(Special::Today) => return whole(today.0),
            Some(Special::Tomorrow) => return whole(today.0 + 1),
            Some(Special::Yesterday) => return whole(today.0 - 1),
            None => {}
        }
        Ok(Moment::At { days: self.days(text, ty)?, time: self.time, zone: self.zone })
    }

    /// The day; `None` if the text names none.
    fn days(&self, text: &str, ty: &str) -> Result<Option<i64>> {
        let wrong = || invalid(ty, text);
        if let Some(julian) = self.julian {
            return Ok(Some(julian - 2_440_588));
        }
        let (year, month, day) = match (self.month, self.numbers.as_slice()) {
            (None, []) => return Ok(None),
            (None, [year]) if self.day_of_year.is_some() => {
                let first = days_from_civil(year.0, 1, 1);
                return Ok(Some(first + self.day_of_year.unwrap_or(1) - 1));
            }
            (Some(month), [a, b]) => {
                // 1999 Jan 8, 8 Jan 1999, Jan 8 1999
                if a.1 >= 3 { (*a, month, b.0) } else { (*b, month, a.0) }
            }
            (None, [a, b, c]) => {
                if a.1 >= 3 {
                    (*a, b.0, c.0)
                } else {
                    (*c, a.0, b.0)
                }
            }
            _ => return Err(wrong()),
        };
        let year = match year {
            (year, 1 | 2) if !self.bc => two_digit_year(year),
            (year, _) => year,
        };
        let year = if self.bc {
            if year == 0 {
                return Err(field_out_of_range(text));
            }
            1 - year
        } else {
            year
        };
        if year == 0 && !self.bc || !(1..=12).contains(&month) {
            return Err(if (1..=12).contains(&month) {
                field_out_of_range(text)
            } else {
                field_out_of_range(text).with_hint("Perhaps you need a different \"datestyle\" setting.")
            });
        }
        if day < 1 || day > i64::from(days_in_month(year, month as u32)) {
            let error = field_out_of_range(text);
            return Err(if !(1..=31).contains(&day) {
                error.with_hint("Perhaps you need a different \"datestyle\" setting.")
            } else {
                error
            });
        }
        Ok(Some(days_from_civil(year, month, day)))
    }
}

fn two_digit_year(year: i64) -> i64 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

fn displacement(text: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("time zone displacement out of range: \"{text}\""))
}

/// `+2`, `+02`, `+0230`, `+02:30`, `+02:30:15`: seconds; `Some(None)` where a field is too large.
fn offset(word: &str) -> Option<Option<i64>> {
    let negative = word.starts_with('-');
    let body = &word[1..];
    let parts: Vec<&str> = body.split(':').collect();
    let number = |s: &str| if s.is_empty() || s.len() > 9 { None } else { digits(s.as_bytes()) };
    let (hours, minutes, seconds) = match parts.as_slice() {
        [one] if one.len() <= 2 => (number(one)?, 0, 0),
        [one] if one.len() <= 4 => (number(&one[..one.len() - 2])?, number(&one[one.len() - 2..])?, 0),
        [one] if one.len() <= 6 => {
            let (h, rest) = one.split_at(one.len() - 4);
            (number(h)?, number(&rest[..2])?, number(&rest[2..])?)
        }
        [h, m] => (number(h)?, number(m)?, 0),
        [h, m, s] => (number(h)?, number(m)?, number(s)?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Some(None);
    }
    let total = hours * 3600 + minutes * 60 + seconds;
    Some(Some(if negative { -total } else { total }))
}

/// `HH:MM[:SS[.f]]`, `HHMMSS[.f]`, `HHMM`: microseconds; `Some(None)` where a field is too large.
fn parse_clock(clock: &str) -> Option<Option<i64>> {
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let micros = fraction_micros(fraction.as_bytes())?;
    let parts: Vec<&str> = if whole.contains(':') {
        whole.split(':').collect()
    } else {
        match whole.len() {
            6 => vec![&whole[..2], &whole[2..4], &whole[4..]],
            4 => vec![&whole[..2], &whole[2..]],
            _ => return None,
        }
    };
    let mut values = [0i64; 3];
    if parts.len() > 3 || parts.len() < 2 {
        return None;
    }
    for (i, part) in parts.iter().enumerate() {
        if part.is_empty() || part.len() > 9 {
            return None;
        }
        values[i] = digits(part.as_bytes())?;
    }
    let [hours, minutes, seconds] = values;
    if minutes > 59 || seconds > 60 || hours > 24 {
        return Some(None);
    }
    let total = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros;
    Some((total <= MICROS_PER_DAY).then_some(total))
}

fn month(word: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let lower = word.to_ascii_lowercase();
    let lower = lower.trim_end_matches('.');
    if lower == "sept" {
        return Some(9);
    }
    NAMES.iter().position(|name| *name == lower || name[..3] == *lower).map(|at| at as i64 + 1)
}

fn is_weekday(word: &str) -> bool {
    const NAMES: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    NAMES.iter().any(|name| *name == word || name[..3] == *word)
        || matches!(word, "tues" | "wednes" | "weds" | "thur" | "thurs")
}

/// The fixed zone of an abbreviation such as PST.
pub(crate) fn zone_abbreviation(name: &str) -> Option<TimeZone> {
    let offset = abbreviation(&name.to_ascii_lowercase())?;
    jiff::tz::Offset::from_seconds(offset as i32).ok().map(TimeZone::fixed)
}

fn field_out_of_range(text: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("date/time field value out of range: \"{text}\""))
}

/// Zones by the abbreviations that Postgres's default set has and that name one offset, in seconds east.
fn abbreviation(word: &str) -> Option<i64> {
    let hours = match word {
        "z" | "utc" | "gmt" | "ut" | "zulu" | "wet" | "uct" => 0.0,
        "bst" | "cet" | "met" | "west" | "wat" => 1.0,
        "cest" | "eet" | "sast" | "mest" => 2.0,
        "eest" | "msk" | "eat" => 3.0,
        "ist" => return Some(2 * 3600),
        "pkt" => 5.0,
        "hkt" | "sgt" | "awst" => 8.0,
        "jst" | "kst" => 9.0,
        "acst" => 9.5,
        "aest" => 10.0,
        "acdt" => 10.5,
        "aedt" => 11.0,
        "nzst" => 12.0,
        "nzdt" => 13.0,
        "brt" | "art" => -3.0,
        "nst" => -3.5,
        "adt" => -3.0,
        "ndt" => -2.5,
        "ast" | "edt" => -4.0,
        "est" | "cdt" => -5.0,
        "cst" | "mdt" => -6.0,
        "mst" | "pdt" => -7.0,
        "pst" | "akdt" => -8.0,
        "akst" => -9.0,
        "hst" => -10.0,
        _ => return None,
    };
    Some((hours * 3600.0) as i64)
}
