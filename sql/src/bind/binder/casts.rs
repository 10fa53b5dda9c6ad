//! Which casts exist, and how freely each is applied: Postgres's `pg_cast`, and the unsigned integers that Weir adds.
//!
//! A cast that is implicit may also be an assignment, and any of those may be written explicitly. Everything has a cast to text (by assignment) and
//! from text (explicitly): Postgres's I/O conversion.

use super::CoercionContext;
use crate::types::Type;

/// Postgres's type categories (`pg_type.typcategory`), as far as they decide anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    /// B
    Boolean,
    /// N, oids included
    Number,
    /// S
    Text,
    /// D
    DateTime,
    /// T
    Timespan,
    /// A
    Array,
    /// C
    Composite,
    /// U: bytea, uuid, json
    User,
    /// X
    Unknown,
}

/// A type's category.
pub(super) fn category(ty: &Type) -> Category {
    match ty {
        Type::Bool => Category::Boolean,
        Type::Unknown => Category::Unknown,
        ty if ty.is_number() || ty.is_oid() => Category::Number,
        ty if ty.is_text() => Category::Text,
        Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz => Category::DateTime,
        Type::Interval => Category::Timespan,
        Type::Array(_) => Category::Array,
        Type::Record(_) => Category::Composite,
        _ => Category::User,
    }
}

/// Whether a type is its category's preferred one.
pub(super) fn is_preferred(ty: &Type) -> bool {
    matches!(ty, Type::Bool | Type::Float8 | Type::Oid | Type::Text | Type::Timestamptz | Type::Interval)
}

/// Whether two types are the same but for their modifiers (length, precision).
pub(super) fn same_base(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Numeric(_), Type::Numeric(_)) => true,
        (Type::Varchar(_), Type::Varchar(_)) => true,
        (Type::Bpchar(_), Type::Bpchar(_)) => true,
        (Type::Array(a), Type::Array(b)) => same_base(a, b),
        (Type::Record(a), Type::Record(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((_, a), (_, b))| same_base(a, b))
        }
        _ => a == b,
    }
}

/// The width in bits of the values of an integer type, as (magnitude, signed).
pub(super) fn integer_width(ty: &Type) -> Option<(u32, bool)> {
    Some(match ty {
        Type::Int2 => (15, true),
        Type::Int4 => (31, true),
        Type::Int8 => (63, true),
        Type::UInt8 => (8, false),
        Type::UInt16 => (16, false),
        Type::UInt32 => (32, false),
        Type::UInt64 => (64, false),
        _ => return None,
    })
}

/// The decimal digits that every value of an integer type fits in.
pub(super) fn integer_digits(ty: &Type) -> Option<u8> {
    Some(match ty {
        Type::UInt8 => 3,
        Type::Int2 | Type::UInt16 => 5,
        Type::Int4 | Type::UInt32 => 10,
        Type::Int8 => 19,
        Type::UInt64 => 20,
        _ => return None,
    })
}

/// Whether a value of one type may become another in this context. `Unknown` (a literal) may become anything.
pub(super) fn can_cast(from: &Type, to: &Type, context: CoercionContext) -> bool {
    match needed(from, to) {
        Some(least) => least <= context,
        None => false,
    }
}

/// The least explicit context in which a cast is applied; `None` if there is no such cast.
fn needed(from: &Type, to: &Type) -> Option<CoercionContext> {
    use CoercionContext::{Assignment, Explicit, Implicit};
    use Type as T;
    if same_base(from, to) || *from == T::Unknown {
        return Some(Implicit);
    }
    if let (Some((from_bits, from_signed)), Some((to_bits, to_signed))) = (integer_width(from), integer_width(to)) {
        let widens = from_bits <= to_bits && (to_signed || !from_signed);
        return Some(if widens { Implicit } else { Assignment });
    }
    let integer = from.is_integer();
    Some(match (from, to) {
        (_, T::Numeric(_) | T::Float4 | T::Float8) if integer => Implicit,
        (T::Numeric(_), T::Float4 | T::Float8) | (T::Float4, T::Float8) => Implicit,
        (T::Float8, T::Float4) | (T::Float4 | T::Float8, T::Numeric(_)) => Assignment,
        (T::Numeric(_) | T::Float4 | T::Float8, to) if to.is_integer() => Assignment,
        (T::Bool, T::Int4) | (T::Int4, T::Bool) => Explicit,
        // ClickHouse's conditions are UInt8.
        (T::Bool, T::UInt8) | (T::UInt8, T::Bool) => Assignment,

        (_, to) if integer && to.is_oid() => Implicit,
        (from, T::Int4 | T::Int8) if from.is_oid() => Assignment,
        (from, to) if from.is_oid() && to.is_oid() && (*from == T::Oid || *to == T::Oid) => Implicit,
        (from, to) if from.is_oid() && to.is_oid() => return None,
        (T::Text | T::Varchar(_), T::Regclass) => Implicit,

        (T::Varchar(_), T::Text | T::Bpchar(_)) | (T::Text, T::Varchar(_) | T::Bpchar(_)) => Implicit,
        (T::Bpchar(_), T::Text | T::Varchar(_)) => Implicit,
        (T::Name, T::Text) | (T::Char, T::Text) => Implicit,
        (T::Name, T::Varchar(_) | T::Bpchar(_)) => Assignment,
        (T::Text | T::Varchar(_) | T::Bpchar(_), T::Name) => Implicit,
        (T::Char, T::Varchar(_) | T::Bpchar(_)) => Assignment,
        (T::Text | T::Varchar(_) | T::Bpchar(_), T::Char) => Assignment,
        (T::Char, T::Int4) | (T::Int4, T::Char) => Explicit,

        (T::Date, T::Timestamp | T::Timestamptz) | (T::Timestamp, T::Timestamptz) => Implicit,
        (T::Timestamp, T::Date | T::Time) | (T::Timestamptz, T::Date | T::Timestamp | T::Time) => Assignment,
        (T::Time, T::Interval) => Implicit,
        (T::Interval, T::Time) => Assignment,

        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => Assignment,
        (T::Map(_), T::Jsonb) => Implicit,
        (T::Map(from), T::Map(to)) => match (needed(&from.key, &to.key), needed(&from.value, &to.value)) {
            (Some(key), Some(value)) => key.max(value),
            _ => Assignment,
        },
        (T::Map(_), T::Json) | (T::Json | T::Jsonb, T::Map(_)) => Assignment,
        (T::Jsonb, to) if to.is_number() || *to == T::Bool => Explicit,

        // ClickHouse counts days and seconds from the epoch.
        (T::Bytea, T::Uuid) | (T::Uuid, T::Bytea) => Explicit,

        (T::Array(from), T::Array(to)) => needed(from, to)?,
        (T::Record(from), T::Record(to)) if from.len() == to.len() => {
            let fields: Option<Vec<CoercionContext>> =
                from.iter().zip(to).map(|((_, from), (_, to))| needed(from, to)).collect();
            fields?.into_iter().max().unwrap_or(Implicit)
        }

        (T::State(_), T::Bytea) => Explicit,

        // I/O conversion. Void and states have neither.
        (T::Void | T::State(_), _) | (_, T::Void | T::State(_)) => return None,
        (_, to) if to.is_text() => Assignment,
        (from, _) if from.is_text() => Explicit,
        _ => return None,
    })
}

/// The numeric type that holds every value of both, by digits before the point and scale, capped at 38 digits in all.
pub(super) fn wider_numeric(a: (u8, i8), b: (u8, i8)) -> (u8, i8) {
    let scale = a.1.max(b.1);
    let whole = (i32::from(a.0) - i32::from(a.1)).max(i32::from(b.0) - i32::from(b.1));
    let precision = (whole + i32::from(scale)).clamp(1, 38);
    (precision as u8, scale)
}
