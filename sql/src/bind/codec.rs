//! `CODEC(…)`: a list of codecs as ClickHouse spells it, checked as ClickHouse checks it.
//!
//! Delta, DoubleDelta, GCD, T64, Gorilla, FPC and ALP prepare values; NONE, LZ4, LZ4HC and ZSTD compress what they leave. A codec that
//! prepares may stand alone, since what Weir makes of it is smaller already. `Default` says what no codec says.

use crate::error::{Error, ErrorKind, Result};
use crate::types::Type;

/// One codec of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// What is chosen without a codec.
    Default,
    /// As values are.
    None,
    /// LZ4.
    Lz4,
    /// LZ4 with a level, which is smaller and as quickly read.
    Lz4Hc,
    /// zstd of a level, 1 to 22.
    Zstd(u8),
    /// Differences.
    Delta,
    /// Differences of differences.
    DoubleDelta,
    /// Multiples of a common factor.
    Gcd,
    /// The bits that values need.
    T64,
    /// The bits in which floats differ from the one before.
    Gorilla,
    /// A predictor of floats.
    Fpc,
    /// Floats as decimals.
    Alp,
}

impl Codec {
    fn compresses(self) -> bool {
        matches!(self, Codec::None | Codec::Lz4 | Codec::Lz4Hc | Codec::Zstd(_) | Codec::Default)
    }
}

/// zstd's level when none is written, and the one that 0 stands for.
const ZSTD_LEVELS: (u8, u8) = (1, 3);

/// The codecs that the text between `CODEC(` and `)` asks for on a column of this type.
///
/// # Errors
/// What ClickHouse says of an unknown codec, a wrong argument, a codec that the type cannot have, or a list without sense.
pub fn codecs(text: &str, ty: &Type) -> Result<Vec<Codec>> {
    let codecs = split(text).map(|written| codec(written, ty)).collect::<Result<Vec<_>>>()?;
    let list = || split(text).collect::<Vec<_>>().join(", ");
    let wrong = |message: String| Err(Error::new(ErrorKind::InvalidDefinition, message));
    if codecs.len() > 1 && codecs.contains(&Codec::None) {
        return wrong(format!(
            "It does not make sense to have codec NONE along with other compression codecs: {}.",
            list()
        ));
    }
    if codecs.iter().rev().skip(1).any(|codec| codec.compresses()) {
        return wrong(format!(
            "The combination of compression codecs {} is meaningless, because it does not make sense to apply any transformations after \
             generic compression algorithm.",
            list()
        ));
    }
    Ok(codecs)
}

/// The list's parts: commas within parentheses belong to one.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    text.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
}

fn codec(written: &str, ty: &Type) -> Result<Codec> {
    let (name, arguments) = match written.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest.trim_end().trim_end_matches(')').trim())),
        None => (written, None),
    };
    let bare = |codec: Codec| match arguments {
        None => Ok(codec),
        Some(_) => Err(invalid(format!("Compression codec {name} cannot have arguments."))),
    };
    match name.to_ascii_uppercase().as_str() {
        "DEFAULT" => bare(Codec::Default),
        "NONE" => bare(Codec::None),
        "LZ4" => bare(Codec::Lz4),
        "LZ4HC" => number(name, arguments).map(|_| Codec::Lz4Hc),
        "ZSTD" => match number(name, arguments)? {
            None => Ok(Codec::Zstd(ZSTD_LEVELS.0)),
            Some(0) => Ok(Codec::Zstd(ZSTD_LEVELS.1)),
            Some(level @ 1..=22) => Ok(Codec::Zstd(level as u8)),
            Some(level) => Err(invalid(format!("ZSTD codec can't have level more than 22, given {level}."))),
        },
        "DELTA" => fixed(name, ty).and_then(|()| width(name, arguments)).map(|()| Codec::Delta),
        "DOUBLEDELTA" => numeric(name, ty).and_then(|()| width(name, arguments)).map(|()| Codec::DoubleDelta),
        "GCD" => numeric(name, ty).and_then(|()| width(name, arguments)).map(|()| Codec::Gcd),
        "T64" => t64(ty).map(|()| Codec::T64),
        "GORILLA" => fixed(name, ty)
            .and_then(|()| series(name, ty))
            .and_then(|()| width(name, arguments))
            .map(|()| Codec::Gorilla),
        "FPC" => float(name, ty).and_then(|()| number(name, arguments)).map(|_| Codec::Fpc),
        "ALP" => float(name, ty).and_then(|()| number(name, arguments)).map(|_| Codec::Alp),
        _ => Err(Error::new(ErrorKind::UndefinedObject, format!("Unknown codec family: {name}."))),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

/// The one argument, a number, if there is one.
fn number(name: &str, arguments: Option<&str>) -> Result<Option<u32>> {
    let Some(text) = arguments.filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(invalid(format!("{name} codec argument must be unsigned integer, given {text}."))),
    }
}

/// Bytes of a value, which the type says too.
fn width(name: &str, arguments: Option<&str>) -> Result<()> {
    match number(name, arguments)? {
        None | Some(1 | 2 | 4 | 8) => Ok(()),
        Some(given) => {
            let codec = name.to_ascii_lowercase();
            Err(invalid(format!("{name} value for {codec} codec can be 1, 2, 4 or 8, given {given}.")))
        }
    }
}

/// What a codec sees of a column: the elements of arrays.
fn element(ty: &Type) -> &Type {
    match ty {
        Type::Array(element) => self::element(element),
        other => other,
    }
}

fn refuse(name: &str, ty: &Type, why: &str) -> Error {
    let message = format!("Codec {name} is not applicable for {} because the data type is not {why}.", element(ty));
    Error::new(ErrorKind::InvalidDefinition, message)
}

fn is_float(ty: &Type) -> bool {
    matches!(element(ty), Type::Float4 | Type::Float8)
}

fn is_time(ty: &Type) -> bool {
    matches!(element(ty), Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz)
}

fn fixed(name: &str, ty: &Type) -> Result<()> {
    match element(ty).is_number() || is_time(ty) || matches!(element(ty), Type::Bool) {
        true => Ok(()),
        false => Err(refuse(name, ty, "of fixed size")),
    }
}

fn numeric(name: &str, ty: &Type) -> Result<()> {
    match element(ty).is_number() || is_time(ty) {
        true => Ok(()),
        false => Err(refuse(name, ty, "numeric")),
    }
}

fn float(name: &str, ty: &Type) -> Result<()> {
    if is_float(ty) { Ok(()) } else { Err(refuse(&format!("'{name}'"), ty, "Float*")) }
}

fn series(name: &str, ty: &Type) -> Result<()> {
    if is_float(ty) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidDefinition,
        format!(
            "The combination of compression codecs {name} is meaningless, because it does not make sense to apply a floating-point time \
             series codec to non-floating-point columns"
        ),
    ))
}

fn t64(ty: &Type) -> Result<()> {
    if is_float(ty) || numeric("T64", ty).is_err() {
        let message = format!("T64 codec is not supported for specified type {}.", element(ty));
        return Err(Error::new(ErrorKind::InvalidDefinition, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_clickhouse_reads_them() {
        let read = |text: &str| codecs(text, &Type::Int8);
        assert_eq!(read("Delta(2), zstd(3)").unwrap(), [Codec::Delta, Codec::Zstd(3)]);
        assert_eq!(read("ZSTD").unwrap(), [Codec::Zstd(1)]);
        assert_eq!(read("T64('bit'), LZ4HC(9)").unwrap(), [Codec::T64, Codec::Lz4Hc]);
        assert_eq!(
            codecs("Gorilla(8), LZ4", &Type::Array(Box::new(Type::Float8))).unwrap(),
            [Codec::Gorilla, Codec::Lz4]
        );
        for nonsense in
            ["Delta(3)", "NONE, LZ4", "LZ4, ZSTD", "ZSTD, Delta", "ZSTD(99)", "LZ4(3)", "Foo", "", "FPC", "Gorilla"]
        {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
        for codec in ["Gorilla", "Delta", "DoubleDelta", "T64", "ALP"] {
            assert!(codecs(codec, &Type::Text).is_err(), "{codec}");
        }
    }
}
