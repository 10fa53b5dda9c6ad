//! Druid's granularities: names, ISO 8601 periods in a time zone, and durations in milliseconds. Those without a zone are in UTC.

use super::document::{Node, Result};
use super::sql::literal;

/// How time is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Granularity {
    /// Not at all: to the millisecond, in which Druid counts.
    None,
    /// All time is one.
    All,
    /// To a unit of the calendar, as `date_trunc` names it, in a time zone.
    Unit(&'static str, String),
    /// To spans of so many milliseconds since an origin.
    Span(u64, String),
}

const EPOCH: &str = "1970-01-01T00:00:00Z";
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl Granularity {
    pub(super) fn read(node: &Node<'_>) -> Result<Granularity> {
        if let Ok(name) = node.text() {
            return named(name).map_or_else(|| node.refuse(format!("{name:?} is no granularity")), Ok);
        }
        let mut object = node.object()?;
        let kind = object.need("type")?;
        let granularity = match kind.text()? {
            "period" => {
                let zone = object.text("timeZone")?.unwrap_or("UTC").to_string();
                let origin = object.text("origin")?;
                let period = object.need("period")?;
                match of_period(period.text()?, zone, origin) {
                    Some(granularity) => granularity,
                    None => return period.refuse("this period, zone and origin together cannot be converted"),
                }
            }
            "duration" => {
                let duration = object.need("duration")?;
                match duration.scalar()?.parse() {
                    Ok(millis) if millis > 0 => {
                        Granularity::Span(millis, object.text("origin")?.unwrap_or(EPOCH).to_string())
                    }
                    _ => return duration.refuse("this must be a number of milliseconds above 0"),
                }
            }
            name => match named(name) {
                Some(granularity) => granularity,
                None => return kind.refuse(format!("{name:?} is no granularity")),
            },
        };
        object.end()?;
        Ok(granularity)
    }

    /// The beginning of what a moment is in; `None` if all time is one.
    pub(super) fn bucket(&self, moment: &str) -> Option<String> {
        let cut = |unit: &str, zone: &str| format!("date_trunc('{unit}', {moment}, {})", literal(zone));
        match self {
            Granularity::None => Some(cut("milliseconds", "UTC")),
            Granularity::All => None,
            Granularity::Unit(unit, zone) => Some(cut(unit, zone)),
            Granularity::Span(millis, origin) => {
                let span = match millis {
                    millis if millis % HOUR == 0 => format!("{} hours", millis / HOUR),
                    millis if millis % MINUTE == 0 => format!("{} minutes", millis / MINUTE),
                    millis if millis % SECOND == 0 => format!("{} seconds", millis / SECOND),
                    millis => format!("{millis} milliseconds"),
                };
                Some(format!("date_bin(interval '{span}', {moment}, timestamptz {})", literal(origin)))
            }
        }
    }
}

fn named(name: &str) -> Option<Granularity> {
    let unit = |unit| Some(Granularity::Unit(unit, "UTC".into()));
    let span = |millis| Some(Granularity::Span(millis, EPOCH.into()));
    match name.to_ascii_lowercase().as_str() {
        "none" => Some(Granularity::None),
        "all" => Some(Granularity::All),
        "second" => unit("second"),
        "minute" => unit("minute"),
        "five_minute" => span(5 * MINUTE),
        "ten_minute" => span(10 * MINUTE),
        "fifteen_minute" => span(15 * MINUTE),
        "thirty_minute" => span(30 * MINUTE),
        "hour" => unit("hour"),
        "six_hour" => span(6 * HOUR),
        "eight_hour" => span(8 * HOUR),
        "day" => unit("day"),
        "week" => unit("week"),
        "month" => unit("month"),
        "quarter" => unit("quarter"),
        "year" => unit("year"),
        _ => None,
    }
}

/// Of one unit of the calendar in any zone; of several hours or less in UTC, or from an origin.
fn of_period(period: &str, zone: String, origin: Option<&str>) -> Option<Granularity> {
    let unit = match period {
        "PT1S" => Some("second"),
        "PT1M" => Some("minute"),
        "PT1H" | "PT60M" => Some("hour"),
        "P1D" | "PT24H" => Some("day"),
        "P1W" | "P7D" => Some("week"),
        "P1M" => Some("month"),
        "P3M" => Some("quarter"),
        "P1Y" | "P12M" => Some("year"),
        _ => None,
    };
    if let (Some(unit), None) = (unit, origin) {
        return Some(Granularity::Unit(unit, zone));
    }
    if !matches!(zone.as_str(), "UTC" | "Etc/UTC" | "Z") {
        return None;
    }
    let time = period.strip_prefix("PT")?;
    let (count, unit) = time.split_at_checked(time.len().checked_sub(1)?)?;
    let count: u64 = count.parse().ok().filter(|count| *count > 0)?;
    let millis = match unit {
        "S" => SECOND,
        "M" => MINUTE,
        "H" => HOUR,
        _ => return None,
    };
    Some(Granularity::Span(count.checked_mul(millis)?, origin.unwrap_or(EPOCH).to_string()))
}
