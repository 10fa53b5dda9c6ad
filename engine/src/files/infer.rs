//! What type a column of text has: the narrowest that all values of a sample read as.
//!
//! The ladder is boolean, bigint, numeric (integers beyond bigint), double precision; date, timestamp, timestamptz; and text, which everything
//! is. Only forms that leave no doubt count: `t` is no boolean, `1/2/2020` is no date.

use weir_sql::Type;

/// What a value may be, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    /// Nothing was seen but NULL.
    Null,
    Bool,
    Integer,
    /// Too long for a bigint.
    Long,
    Double,
    Date,
    Timestamp,
    Timestamptz,
    Text,
}

impl Guess {
    /// Of one text.
    pub(super) fn of(text: &str) -> Guess {
        let bytes = text.as_bytes();
        match bytes.first() {
            None => Guess::Text,
            Some(b't' | b'T' | b'f' | b'F')
                if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") =>
            {
                Guess::Bool
            }
            Some(b'0'..=b'9' | b'-' | b'+' | b'.') => number(text).unwrap_or_else(|| datetime(bytes)),
            _ => Guess::Text,
        }
    }

    /// What holds for both.
    pub(super) fn and(self, other: Guess) -> Guess {
        use Guess::*;
        match (self, other) {
            (a, b) if a == b => a,
            (Null, other) | (other, Null) => other,
            (Integer, Long) | (Long, Integer) => Long,
            (Integer | Long, Double) | (Double, Integer | Long) => Double,
            (Date, Timestamp) | (Timestamp, Date) => Timestamp,
            (Date | Timestamp, Timestamptz) | (Timestamptz, Date | Timestamp) => Timestamptz,
            _ => Text,
        }
    }

    pub(super) fn ty(self) -> Type {
        match self {
            Guess::Bool => Type::Bool,
            Guess::Integer => Type::Int8,
            Guess::Long => Type::Numeric(None),
            Guess::Double => Type::Float8,
            Guess::Date => Type::Date,
            Guess::Timestamp => Type::Timestamp,
            Guess::Timestamptz => Type::Timestamptz,
            Guess::Null | Guess::Text => Type::Text,
        }
    }
}

fn number(text: &str) -> Option<Guess> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some(if text.parse::<i64>().is_ok() { Guess::Integer } else { Guess::Long });
    }
    let exponent = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    (digits.bytes().all(exponent) && text.parse::<f64>().is_ok()).then_some(Guess::Double)
}

/// `2020-01-31`, then perhaps a time after a space or T, then perhaps a zone: `Z` or `+02`, `+02:00`.
fn datetime(text: &[u8]) -> Guess {
    let shape = |text: &[u8], pattern: &[u8]| {
        text.len() >= pattern.len()
            && text.iter().zip(pattern).all(|(byte, like)| match like {
                b'9' => byte.is_ascii_digit(),
                like => byte == like,
            })
    };
    if !shape(text, b"9999-99-99") {
        return Guess::Text;
    }
    let two = |at: usize| (text[at] - b'0') * 10 + (text[at + 1] - b'0');
    if !(1..=12).contains(&two(5)) || !(1..=31).contains(&two(8)) {
        return Guess::Text;
    }
    let time = match text.get(10) {
        None => return Guess::Date,
        Some(b' ' | b'T') => &text[11..],
        Some(_) => return Guess::Text,
    };
    if !shape(time, b"99:99") {
        return Guess::Text;
    }
    let mut rest = &time[5..];
    if shape(rest, b":99") {
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return Guess::Text;
            }
            rest = &rest[1 + digits..];
        }
    }
    match rest {
        [] => Guess::Timestamp,
        b"Z" | b"z" => Guess::Timestamptz,
        [b'+' | b'-', zone @ ..] if shape(zone, b"99") => match &zone[2..] {
            [] => Guess::Timestamptz,
            minutes if minutes.len() == 2 && shape(minutes, b"99") => Guess::Timestamptz,
            minutes if minutes.len() == 3 && shape(minutes, b":99") => Guess::Timestamptz,
            _ => Guess::Text,
        },
        _ => Guess::Text,
    }
}

/// A type for columns of the same name in several files.
pub(super) fn common(a: &Type, b: &Type) -> Type {
    use Type::*;
    let rank = |ty: &Type| match ty {
        Int2 | UInt8 => Some(1),
        Int4 | UInt16 => Some(2),
        Int8 | UInt32 => Some(3),
        UInt64 | Numeric(_) => Some(4),
        Float4 | Float8 => Some(5),
        _ => None,
    };
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        (Date | Timestamp, Timestamptz) | (Timestamptz, Date | Timestamp) => Timestamptz,
        (Jsonb | Json, _) | (_, Jsonb | Json) => Jsonb,
        _ => match (rank(a), rank(b)) {
            (Some(x), Some(y)) => match x.max(y) {
                1 => Int2,
                2 => Int4,
                3 => Int8,
                4 => Numeric(None),
                _ => Float8,
            },
            _ => Text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value() {
        for (text, guess) in [
            ("", Guess::Text),
            ("true", Guess::Bool),
            ("t", Guess::Text),
            ("-12", Guess::Integer),
            ("9223372036854775808", Guess::Long),
            ("1.5e3", Guess::Double),
            (".5", Guess::Double),
            ("1-2", Guess::Text),
            ("inf", Guess::Text),
            ("2020-01-31", Guess::Date),
            ("2020-13-31", Guess::Text),
            ("2020-01-31T10:20", Guess::Timestamp),
            ("2020-01-31 10:20:30.5", Guess::Timestamp),
            ("2020-01-31T10:20:30Z", Guess::Timestamptz),
            ("2020-01-31 10:20:30+02:30", Guess::Timestamptz),
            ("2020-01-31 10:20:30 CET", Guess::Text),
        ] {
            assert_eq!(Guess::of(text), guess, "{text}");
        }
    }

    #[test]
    fn several_values() {
        assert_eq!(Guess::Null.and(Guess::Integer).and(Guess::Double), Guess::Double);
        assert_eq!(Guess::Date.and(Guess::Timestamp), Guess::Timestamp);
        assert_eq!(Guess::Bool.and(Guess::Integer), Guess::Text);
    }
}
