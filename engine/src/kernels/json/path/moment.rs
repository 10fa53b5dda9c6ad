//! What `.datetime()` makes of a text: a date, a time or both, with a zone or without. Rules and words are PostgreSQL's.

use std::cmp::Ordering;
use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, JsonPath, Result};
use crate::functions::template::{Moment as Read, read_standard};
use crate::kernels::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, local_to_utc, offset_at};

/// The templates that a text is tried with that comes without one.
const TEMPLATES: [&str; 19] = [
    "yyyy-mm-dd",
    "HH24:MI:SS.USTZH:TZM",
    "HH24:MI:SS.USTZH",
    "HH24:MI:SSTZH:TZM",
    "HH24:MI:SSTZH",
    "HH24:MI:SS.US",
    "HH24:MI:SS",
    "yyyy-mm-dd HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd HH24:MI:SS.USTZH",
    "yyyy-mm-dd HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd HH24:MI:SSTZH",
    "yyyy-mm-dd HH24:MI:SS.US",
    "yyyy-mm-dd HH24:MI:SS",
    "yyyy-mm-dd\"T\"HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd\"T\"HH24:MI:SS.USTZH",
    "yyyy-mm-dd\"T\"HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd\"T\"HH24:MI:SSTZH",
    "yyyy-mm-dd\"T\"HH24:MI:SS.US",
    "yyyy-mm-dd\"T\"HH24:MI:SS",
];

/// Which of Postgres's types it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Date,
    Time,
    Timetz,
    Timestamp,
    Timestamptz,
}

/// A date or time among the items of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    kind: Kind,
    read: Read,
}

/// The session's zone and the present, for the functions that may use them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone<'z> {
    /// The zone.
    pub(crate) zone: &'z TimeZone,
    /// Microseconds since the epoch.
    pub(crate) now: i64,
}

impl Moment {
    /// What a text is by a template, or by the first that fits.
    pub(super) fn parse(text: &str, template: Option<&str>) -> Result<Moment> {
        let read = match template {
            Some(template) => read_standard(template, text)?,
            None => TEMPLATES.iter().find_map(|template| read_standard(template, text).ok()).ok_or_else(|| {
                let message = format!("datetime format is not recognized: \"{text}\"");
                Error::new(ErrorKind::JsonPath(JsonPath::Datetime), message)
                    .with_hint("Use a datetime template argument to specify the input data format.")
            })?,
        };
        let wrong = |message: &str| Err(Error::new(ErrorKind::InvalidDatetime, message));
        let kind = match (read.dated, read.timed, read.zoned) {
            (true, true, true) if read.offset.is_none() => {
                return wrong("missing time zone in input string for type timestamptz");
            }
            (false, true, true) if read.offset.is_none() => {
                return wrong("missing time zone in input string for type timetz");
            }
            (true, true, true) => Kind::Timestamptz,
            (true, true, false) => Kind::Timestamp,
            (true, false, true) => return wrong("datetime format is zoned but not timed"),
            (true, false, false) => Kind::Date,
            (false, true, true) => Kind::Timetz,
            (false, true, false) => Kind::Time,
            (false, false, _) => return wrong("datetime format is not dated and not timed"),
        };
        Ok(Moment { kind, read })
    }

    /// What `.type()` says.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Date => "date",
            Kind::Time => "time without time zone",
            Kind::Timetz => "time with time zone",
            Kind::Timestamp => "timestamp without time zone",
            Kind::Timestamptz => "timestamp with time zone",
        }
    }

    /// As ISO 8601 writes it, which is how it is shown.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let (dated, timed) = (self.kind.is_dated(), self.kind != Kind::Date);
        let (year, month, day) = civil_from_days(self.read.days);
        if dated {
            let shown = if year > 0 { year } else { 1 - year };
            let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
        }
        if dated && timed {
            out.push('T');
        }
        if timed {
            let (seconds, micros) = (self.read.time / MICROS_PER_SECOND, self.read.time % MICROS_PER_SECOND);
            let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            if micros > 0 {
                out.push_str(format!(".{micros:06}").trim_end_matches('0'));
            }
        }
        if let (true, Some(offset)) = (self.kind.is_zoned(), self.read.offset) {
            let sign = if offset < 0 { '-' } else { '+' };
            let _ = write!(out, "{sign}{:02}:{:02}", offset.abs() / 3600, offset.abs() / 60 % 60);
        }
        if dated && year <= 0 {
            out.push_str(" BC");
        }
        out
    }

    /// Microseconds since the epoch of a date and time, in UTC if it has a zone.
    fn micros(&self) -> i64 {
        let time = if self.kind == Kind::Date { 0 } else { self.read.time };
        let local = self.read.days.saturating_mul(MICROS_PER_DAY).saturating_add(time);
        local.saturating_sub(self.read.offset.unwrap_or(0) * MICROS_PER_SECOND)
    }

    /// How two are ordered; `None` for a date and a time of day. What has no zone is compared with what has one in the session's, if there is one.
    pub(super) fn compare(&self, other: &Moment, zone: Option<Zone<'_>>) -> Result<Option<Ordering>> {
        if self.kind.is_dated() != other.kind.is_dated() {
            return Ok(None);
        }
        let zoned = self.kind.is_zoned() || other.kind.is_zoned();
        let zone_of = |moment: &Moment| match zone {
            Some(zone) => Ok(zone),
            None => {
                let to = if moment.kind.is_dated() { "timestamptz" } else { "timetz" };
                let from = moment.kind.short_name();
                let message = format!("cannot convert value from {from} to {to} without time zone usage");
                let kind = ErrorKind::Sql(weir_sql::ErrorKind::Unsupported);
                Err(Error::new(kind, message).with_hint("Use *_tz() function for time zone support."))
            }
        };
        if self.kind.is_dated() {
            let micros = |moment: &Moment| match zoned && !moment.kind.is_zoned() {
                true => zone_of(moment).map(|zone| local_to_utc(zone.zone, moment.micros())),
                false => Ok(moment.micros()),
            };
            return Ok(Some(micros(self)?.cmp(&micros(other)?)));
        }
        // Of one moment of the day, that is less whose zone is further to the east.
        let key = |moment: &Moment| {
            let offset = match (zoned, moment.read.offset) {
                (false, _) => 0,
                (true, Some(offset)) if moment.kind.is_zoned() => offset,
                _ => zone_of(moment).map(|zone| i64::from(offset_at(zone.zone, zone.now)))?,
            };
            Ok::<_, Error>((moment.read.time - offset * MICROS_PER_SECOND, -offset))
        };
        Ok(Some(key(self)?.cmp(&key(other)?)))
    }
}

impl Kind {
    fn is_dated(self) -> bool {
        matches!(self, Kind::Date | Kind::Timestamp | Kind::Timestamptz)
    }

    fn is_zoned(self) -> bool {
        matches!(self, Kind::Timetz | Kind::Timestamptz)
    }

    fn short_name(self) -> &'static str {
        match self {
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::Timetz => "timetz",
            Kind::Timestamp => "timestamp",
            Kind::Timestamptz => "timestamptz",
        }
    }
}
