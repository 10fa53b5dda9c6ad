//! Templates of dates and times (`YYYY-MM-DD HH24:MI:SS`): their patterns, and cutting a template into nodes.
//!
//! The patterns, their upper-case, capitalised and lower-case forms, the modifiers (FM, TM before a pattern, TH and SP after it) and the
//! order of the rules are those of PostgreSQL's formatting.c.

use crate::error::{Error, ErrorKind, Result};

/// What a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    AmPm,
    Era,
    Century,
    DayName,
    DayShort,
    DayOfYear,
    Day,
    DayOfWeek,
    Fraction(u8),
    Exact,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    IsoYear(u8),
    Julian,
    Minute,
    Month,
    MonthName,
    MonthShort,
    MonthRoman,
    Millisecond,
    Offset,
    Quarter,
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    ZoneName,
    Microsecond,
    WeekOfYear,
    WeekOfMonth,
    YearWithComma,
    Year(u8),
}

/// How a pattern is written, and so what it puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

/// Which calendar a pattern counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calendar {
    Any,
    Gregorian,
    IsoWeek,
}

/// A pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As written.
    pub(super) name: &'static str,
    pub(super) field: Field,
    pub(super) case: Case,
    /// Whether it stands for digits: the pattern before it then ends after its own number of characters.
    pub(super) digits: bool,
    pub(super) calendar: Calendar,
    /// With points: `A.M.`, `B.C.`.
    pub(super) dotted: bool,
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// A pattern with its modifiers.
    Field {
        pattern: Pattern,
        /// FM: without padding.
        fill: bool,
        /// TH (`Some(true)`) or th: with the ordinal's ending.
        ordinal: Option<bool>,
        /// TM: names without padding.
        translated: bool,
    },
    /// White space.
    Space(char),
    /// Punctuation.
    Separator(char),
    /// Any other character, and whatever was quoted.
    Text(char),
}

/// Patterns in upper case, the longer before those they begin with. The lower-case forms are the same in lower case, except for zones.
const UPPER: &[(&str, Field, bool, Calendar)] = {
    use Calendar::{Any, Gregorian, IsoWeek as Iso};
    &[
        ("A.D.", Field::Era, false, Any),
        ("A.M.", Field::AmPm, false, Any),
        ("AD", Field::Era, false, Any),
        ("AM", Field::AmPm, false, Any),
        ("B.C.", Field::Era, false, Any),
        ("BC", Field::Era, false, Any),
        ("CC", Field::Century, true, Any),
        ("DAY", Field::DayName, false, Any),
        ("DDD", Field::DayOfYear, true, Gregorian),
        ("DD", Field::Day, true, Gregorian),
        ("DY", Field::DayShort, false, Any),
        ("D", Field::DayOfWeek, true, Gregorian),
        ("FF1", Field::Fraction(1), false, Any),
        ("FF2", Field::Fraction(2), false, Any),
        ("FF3", Field::Fraction(3), false, Any),
        ("FF4", Field::Fraction(4), false, Any),
        ("FF5", Field::Fraction(5), false, Any),
        ("FF6", Field::Fraction(6), false, Any),
        ("FX", Field::Exact, false, Any),
        ("HH24", Field::Hour24, true, Any),
        ("HH12", Field::Hour12, true, Any),
        ("HH", Field::Hour12, true, Any),
        ("IDDD", Field::IsoDayOfYear, true, Iso),
        ("ID", Field::IsoDayOfWeek, true, Iso),
        ("IW", Field::IsoWeek, true, Iso),
        ("IYYY", Field::IsoYear(4), true, Iso),
        ("IYY", Field::IsoYear(3), true, Iso),
        ("IY", Field::IsoYear(2), true, Iso),
        ("I", Field::IsoYear(1), true, Iso),
        ("J", Field::Julian, true, Any),
        ("MI", Field::Minute, true, Any),
        ("MM", Field::Month, true, Gregorian),
        ("MONTH", Field::MonthName, false, Gregorian),
        ("MON", Field::MonthShort, false, Gregorian),
        ("MS", Field::Millisecond, true, Any),
        ("OF", Field::Offset, false, Any),
        ("P.M.", Field::AmPm, false, Any),
        ("PM", Field::AmPm, false, Any),
        ("Q", Field::Quarter, true, Any),
        ("RM", Field::MonthRoman, false, Gregorian),
        ("SSSSS", Field::SecondOfDay, true, Any),
        ("SSSS", Field::SecondOfDay, true, Any),
        ("SS", Field::Second, true, Any),
        ("TZH", Field::ZoneHour, false, Any),
        ("TZM", Field::ZoneMinute, true, Any),
        ("TZ", Field::ZoneName, false, Any),
        ("US", Field::Microsecond, true, Any),
        ("WW", Field::WeekOfYear, true, Gregorian),
        ("W", Field::WeekOfMonth, true, Gregorian),
        ("Y,YYY", Field::YearWithComma, true, Gregorian),
        ("YYYY", Field::Year(4), true, Gregorian),
        ("YYY", Field::Year(3), true, Gregorian),
        ("YY", Field::Year(2), true, Gregorian),
        ("Y", Field::Year(1), true, Gregorian),
    ]
};

/// Names whose first letter alone may be a capital.
const CAPITAL: &[(&str, Field, Calendar)] = &[
    ("Day", Field::DayName, Calendar::Any),
    ("Dy", Field::DayShort, Calendar::Any),
    ("Month", Field::MonthName, Calendar::Gregorian),
    ("Mon", Field::MonthShort, Calendar::Gregorian),
];

/// [`UPPER`] in lower case; a pattern's name is shown in messages, so each is a constant of its own.
const LOWER: &[&str] = &[
    "a.d.", "a.m.", "ad", "am", "b.c.", "bc", "cc", "day", "ddd", "dd", "dy", "d", "ff1", "ff2", "ff3", "ff4", "ff5",
    "ff6", "fx", "hh24", "hh12", "hh", "iddd", "id", "iw", "iyyy", "iyy", "iy", "i", "j", "mi", "mm", "month", "mon",
    "ms", "of", "p.m.", "pm", "q", "rm", "sssss", "ssss", "ss", "tzh", "tzm", "tz", "us", "ww", "w", "y,yyy", "yyyy",
    "yyy", "yy", "y",
];

/// The pattern that a template's rest begins with.
fn pattern_at(rest: &str) -> Option<Pattern> {
    let of = |name: &'static str, entry: &(&'static str, Field, bool, Calendar), case| Pattern {
        name,
        field: entry.1,
        case,
        digits: entry.2,
        calendar: entry.3,
        dotted: name.contains('.'),
    };
    let capital = CAPITAL.iter().find(|entry| rest.starts_with(entry.0)).map(|&(name, field, calendar)| Pattern {
        name,
        field,
        case: Case::Capital,
        digits: false,
        calendar,
        dotted: false,
    });
    // "Day" before "D".
    capital
        .or_else(|| UPPER.iter().find(|entry| rest.starts_with(entry.0)).map(|entry| of(entry.0, entry, Case::Upper)))
        .or_else(|| {
            let at = LOWER.iter().position(|name| rest.starts_with(name))?;
            Some(of(LOWER[at], &UPPER[at], Case::Lower))
        })
}

/// Whether Postgres takes a character for a separator: ASCII that is neither a letter, a digit nor white space.
pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

/// C's isspace.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Cuts a template into nodes.
pub(super) fn parse(template: &str) -> Vec<Node> {
    cut(template, |_| Ok::<(), std::convert::Infallible>(())).unwrap_or_else(|never| match never {})
}

/// As [`parse`], where characters outside of quotes must be among the SQL standard's separators.
pub(super) fn parse_standard(template: &str) -> Result<Vec<Node>> {
    cut(template, |c| match "-./,':; ".contains(c) {
        true => Ok(()),
        false => {
            let message = format!("invalid datetime format separator: \"{c}\"");
            Err(Error::new(ErrorKind::InvalidDatetime, message))
        }
    })
}

/// `separator` is asked about each character that is neither quoted nor a pattern's.
fn cut<E>(template: &str, separator: impl Fn(char) -> std::result::Result<(), E>) -> std::result::Result<Vec<Node>, E> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (mut fill, mut translated) = (false, false);
        match rest.get(..2) {
            Some("FM" | "fm") => fill = true,
            Some("TM" | "tm") => translated = true,
            _ => {}
        }
        if fill || translated {
            rest = &rest[2..];
        }
        if let Some(pattern) = pattern_at(rest) {
            rest = &rest[pattern.name.len()..];
            let ordinal = match rest.get(..2) {
                Some("TH") => Some(true),
                Some("th") => Some(false),
                _ => None,
            };
            if ordinal.is_some() || rest.starts_with("SP") {
                rest = &rest[2..];
            }
            nodes.push(Node::Field { pattern, fill, ordinal, translated });
            continue;
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => break,
            Some('"') => {
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => nodes.push(Node::Text(chars.next().unwrap_or('\\'))),
                        c => nodes.push(Node::Text(c)),
                    }
                }
            }
            Some(c) => {
                separator(c)?;
                // Outside of quotes a backslash matters only before a quote.
                let c = if c == '\\' && chars.as_str().starts_with('"') { chars.next().unwrap_or(c) } else { c };
                nodes.push(match c {
                    c if is_separator(c) => Node::Separator(c),
                    c if is_space(c) => Node::Space(c),
                    c => Node::Text(c),
                });
            }
        }
        rest = chars.as_str();
    }
    Ok(nodes)
}

impl Field {
    /// Whether it is of a time of day.
    pub(super) fn is_timed(self) -> bool {
        use Field::{AmPm, Fraction, Hour12, Hour24, Microsecond, Millisecond, Minute, Second, SecondOfDay};
        matches!(self, AmPm | Hour24 | Hour12 | Minute | Second | SecondOfDay | Millisecond | Microsecond | Fraction(_))
    }

    /// Whether it is of a zone.
    pub(super) fn is_zoned(self) -> bool {
        matches!(self, Field::Offset | Field::ZoneHour | Field::ZoneMinute | Field::ZoneName)
    }
}

/// Full names of months.
pub(in crate::functions) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Full names of days, from Sunday.
pub(in crate::functions) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Roman numbers of months from December down: in this order a longer one is found before its beginning.
pub(super) const ROMAN: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

/// The ending of an ordinal number: `st`, `nd`, `rd`, `th`.
pub(super) fn ordinal_ending(number: &str, upper: bool) -> &'static str {
    let digits = number.as_bytes();
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match (digits.last().filter(|_| !teen), upper) {
        (Some(b'1'), true) => "ST",
        (Some(b'2'), true) => "ND",
        (Some(b'3'), true) => "RD",
        (_, true) => "TH",
        (Some(b'1'), false) => "st",
        (Some(b'2'), false) => "nd",
        (Some(b'3'), false) => "rd",
        (_, false) => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_case_patterns_are_the_upper_ones() {
        assert_eq!(UPPER.len(), LOWER.len());
        for (upper, lower) in UPPER.iter().zip(LOWER) {
            assert_eq!(upper.0.to_ascii_lowercase(), *lower);
        }
        // No pattern hides a later one.
        for (i, (name, ..)) in UPPER.iter().enumerate() {
            assert!(!UPPER[i + 1..].iter().any(|(later, ..)| later.starts_with(name)), "{name} hides a longer one");
        }
    }

    #[test]
    fn a_template_is_cut_at_patterns_quotes_and_separators() {
        let nodes = parse("FMDDth \"of\" Month,x");
        assert!(matches!(nodes[0], Node::Field { fill: true, ordinal: Some(false), .. }));
        assert_eq!(nodes[1..5], [Node::Space(' '), Node::Text('o'), Node::Text('f'), Node::Space(' ')]);
        assert!(matches!(nodes[5], Node::Field { pattern: Pattern { case: Case::Capital, .. }, .. }));
        assert_eq!(nodes[6..], [Node::Separator(','), Node::Text('x')]);
    }
}
