//! Numbers as the text of their bytes and bits, by ClickHouse's names: hex and bin of numbers, unbin, char, conv, the bits of a mask, and bars.
//!
//! A whole number is written from its highest byte that is not zero, as wide as its type if it is negative; a double as its eight bytes in memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::declare::{BYTEA, DATE, FLOAT8, INT4, INT8, STRING, TEXT, TIMESTAMPTZ, function, strict};
use super::encode::{decode_text, push_bits, push_upper_hex};
use super::rows::{
    batch, bool_rows, column, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows, text, text_rows,
};
use super::string::write;
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::Result;

type Write = fn(&mut String, &[u8]) -> bool;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = written();
    all.extend(masks());
    all
}

/// The overloads of `hex` and `bin` over numbers, dates and moments.
macro_rules! of_numbers {
    ($write:expr) => {
        vec![
            Overload::new(vec![Param::AnyInteger], Returns::Exact(Type::Text), |_, a, n, ty| whole(a, n, ty, $write)),
            strict([Param::Exact(Type::Float4)], Type::Text, |_, a, n, ty| {
                let values = primitive::<Float32Type>(a, 0)?;
                text_rows(a, n, ty, |row, out| Ok($write(out, &values.at(row).to_le_bytes())))
            }),
            strict([FLOAT8], Type::Text, |_, a, n, ty| {
                let values = primitive::<Float64Type>(a, 0)?;
                text_rows(a, n, ty, |row, out| Ok($write(out, &values.at(row).to_le_bytes())))
            }),
            strict([DATE], Type::Text, |_, a, n, ty| {
                let days = primitive::<Date32Type>(a, 0)?;
                text_rows(a, n, ty, |row, out| Ok($write(out, &(days.at(row) as u16).to_be_bytes())))
            }),
            strict([TIMESTAMPTZ], Type::Text, |_, a, n, ty| {
                let times = primitive::<arrow::datatypes::TimestampMicrosecondType>(a, 0)?;
                let seconds = |row| times.at(row).div_euclid(1_000_000) as u32;
                text_rows(a, n, ty, |row, out| Ok($write(out, &seconds(row).to_be_bytes())))
            }),
        ]
    };
}

fn written() -> Vec<ScalarFunction> {
    let mut bin = of_numbers!(push_bits);
    bin.push(strict([TEXT], Type::Text, |_, a, n, ty| {
        let texts = text(a, 0)?;
        text_rows(a, n, ty, |row, out| Ok(push_bits(out, texts.at(row).as_bytes())))
    }));
    bin.push(strict([BYTEA], Type::Text, |_, a, n, ty| {
        let bytes = column::<arrow::array::BinaryViewArray>(a, 0)?;
        text_rows(a, n, ty, |row, out| Ok(push_bits(out, bytes.at(row))))
    }));
    vec![
        function(
            &["hex"],
            STRING,
            "A number's bytes in upper-case hexadecimal, the highest first; a double's as they are in memory.",
            ("hex(255)", "FF"),
            of_numbers!(push_upper_hex),
        ),
        function(
            &["bin"],
            STRING,
            "The bits of a number, a text or a bytea, eight for each byte.",
            ("bin(5)", "00000101"),
            bin,
        ),
        function(
            &["unbin"],
            STRING,
            "The text whose bits are written.",
            ("unbin('0110000101100010')", "ab"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| decode_text(a, n, ty, "binary", from_bits))],
        ),
        function(
            &["char"],
            STRING,
            "The text whose bytes have these numbers.",
            ("char(72, 105)", "Hi"),
            vec![strict([FLOAT8], Type::Text, chars).variadic()],
        ),
        function(
            &["space"],
            STRING,
            "So many spaces.",
            ("'[' || space(3) || ']'", "[   ]"),
            vec![strict([INT8], Type::Text, |_, a, n, ty| {
                let counts = primitive::<Int64Type>(a, 0)?;
                text_rows(a, n, ty, |row, out| match usize::try_from(counts.at(row)).unwrap_or(0) {
                    count if count > super::string::TEXT_BYTES_MAX => Err(super::string::too_long()),
                    count => {
                        out.extend(std::iter::repeat_n(' ', count));
                        Ok(true)
                    }
                })
            })],
        ),
        function(
            &["conv"],
            STRING,
            "A whole number of one base (2 to 36) in another.",
            ("conv('ff', 16, 2)", "11111111"),
            vec![strict([TEXT, INT4, INT4], Type::Text, conv), strict([INT8, INT4, INT4], Type::Text, conv)],
        ),
        function(
            &["bar"],
            STRING,
            "A bar of up to so many characters (80), as long as the number's place between two others says.",
            ("bar(5, 0, 10, 4)", "██"),
            vec![strict([FLOAT8, FLOAT8, FLOAT8, FLOAT8], Type::Text, bar).optional(1)],
        ),
    ]
}

fn masks() -> Vec<ScalarFunction> {
    let list = || Type::Array(Box::new(Type::Int8));
    let tested = |names, doc, example, kernel: Kernel| {
        let overload = strict([INT8, INT4], Type::Bool, kernel).variadic();
        function(names, "arithmetic", doc, example, vec![overload])
    };
    let swap: Kernel = |_, a, n, ty| {
        let values = wide(&a[0])?;
        let width = width(&ty.args[0]);
        let swapped = batch(a, n, ty, |_| {
            let swapped: Int64Array =
                values.unary(|value| (value as u64).swap_bytes().wrapping_shr(64 - 8 * width) as i64);
            // Of a type with a sign, the highest bit is one.
            let signed = |value: i64| value << (64 - 8 * width) >> (64 - 8 * width);
            let swapped = if is_unsigned(&ty.args[0]) { swapped } else { swapped.unary::<_, Int64Type>(signed) };
            unwide(swapped, ty.result)
        })?;
        Ok(swapped)
    };
    let same = |kernel: Kernel| vec![Overload::new(vec![Param::AnyInteger], Returns::Argument(0), kernel)];
    let turned = |kernel: Kernel| vec![Overload::new(vec![Param::AnyInteger, INT4], Returns::Argument(0), kernel)];
    vec![
        function(
            &["bitmaskToList"],
            STRING,
            "The powers of two that a number is the sum of, with commas between them.",
            ("bitmaskToList(50)", "2,16,32"),
            vec![strict([INT8], Type::Text, |_, a, n, ty| {
                let masks = primitive::<Int64Type>(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    for (at, bit) in bits(masks.at(row)).enumerate() {
                        write(out, format_args!("{}{}", if at > 0 { "," } else { "" }, 1_u64 << bit))?;
                    }
                    Ok(true)
                })
            })],
        ),
        function(
            &["bitmaskToArray"],
            "arithmetic",
            "The powers of two that a number is the sum of.",
            ("bitmaskToArray(50)", "{2,16,32}"),
            vec![strict([INT8], list(), |_, a, n, ty| bit_lists(a, n, ty, |bit| 1_i64.wrapping_shl(bit)))],
        ),
        function(
            &["bitPositionsToArray"],
            "arithmetic",
            "The places of the bits that are set, counted from 0.",
            ("bitPositionsToArray(50)", "{1,4,5}"),
            vec![strict([INT8], list(), |_, a, n, ty| bit_lists(a, n, ty, i64::from))],
        ),
        tested(
            &["bitTestAll"],
            "Whether all bits at these places, counted from 0, are set.",
            ("bitTestAll(5, 0, 2)", "t"),
            |_, a, n, ty| test(a, n, ty, true),
        ),
        tested(
            &["bitTestAny"],
            "Whether any bit at these places, counted from 0, is set.",
            ("bitTestAny(5, 1, 2)", "t"),
            |_, a, n, ty| test(a, n, ty, false),
        ),
        function(
            &["byteSwap"],
            "arithmetic",
            "The number with its bytes in the opposite order.",
            ("byteSwap(1)", "16777216"),
            same(swap),
        ),
        function(
            &["bitRotateLeft"],
            "arithmetic",
            "The number's bits moved to the left, those that fall off coming in at the right.",
            ("bitRotateLeft(99::UInt8, 2)", "141"),
            turned(|_, a, n, ty| rotate(a, n, ty, 1)),
        ),
        function(
            &["bitRotateRight"],
            "arithmetic",
            "The number's bits moved to the right, those that fall off coming in at the left.",
            ("bitRotateRight(99::UInt8, 2)", "216"),
            turned(|_, a, n, ty| rotate(a, n, ty, -1)),
        ),
    ]
}

/// Bytes of a whole number of this type.
fn width(ty: &Type) -> u32 {
    match ty {
        Type::UInt8 => 1,
        Type::Int2 | Type::UInt16 => 2,
        Type::Int4 | Type::UInt32 => 4,
        _ => 8,
    }
}

fn is_unsigned(ty: &Type) -> bool {
    matches!(ty, Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64)
}

/// Whole numbers as bigints; those of UInt64 keep their bits.
fn wide(datum: &Datum) -> Result<Int64Array> {
    Ok(match datum.array().data_type() {
        DataType::UInt64 => datum.array().as_primitive::<UInt64Type>().unary(|value| value as i64),
        _ => arrow_cast(datum.array(), &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
    })
}

/// Back from [`wide`].
fn unwide(values: Int64Array, ty: &Type) -> Result<ArrayRef> {
    Ok(match ty {
        Type::UInt64 => Arc::new(values.unary::<_, UInt64Type>(|value| value as u64)),
        ty => arrow_cast(&values, &ty.to_arrow())?,
    })
}

fn whole(args: &[Datum], rows: usize, types: &Types<'_>, write: Write) -> Result<Datum> {
    let (values, width) = (wide(&args[0])?, width(&types.args[0]) as usize);
    let constant = matches!(args[0], Datum::Scalar(_));
    text_rows(args, rows, types, |row, out| {
        let bytes = values.value(if constant { 0 } else { row }).to_be_bytes();
        let bytes = &bytes[8 - width..];
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(width - 1);
        Ok(write(out, &bytes[first..]))
    })
}

/// Bits as bytes; those before the first whole byte are a byte of their own. `None` if a character is no bit.
fn from_bits(bits: &str) -> Option<Vec<u8>> {
    let bytes = bits.as_bytes().rchunks(8).rev();
    bytes
        .map(|byte| byte.iter().try_fold(0, |byte, bit| matches!(bit, b'0' | b'1').then(|| byte << 1 | (bit - b'0'))))
        .collect()
}

fn chars(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let codes = (0..args.len()).map(|at| primitive::<Float64Type>(args, at)).collect::<Result<Vec<_>>>()?;
    text_rows(args, rows, types, |row, out| {
        let bytes = codes.iter().map(|code| code.at(row) as i64 as u8).collect();
        out.push_str(&String::from_utf8(bytes).map_err(|_| invalid_parameter("the bytes of char() are not UTF-8"))?);
        Ok(true)
    })
}

fn conv(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts = if types.args[0] == Type::Int8 { None } else { Some(text(args, 0)?) };
    let numbers = if texts.is_none() { Some(primitive::<Int64Type>(args, 0)?) } else { None };
    let bases = [primitive::<Int32Type>(args, 1)?, primitive::<Int32Type>(args, 2)?];
    text_rows(args, rows, types, |row, out| {
        let base = |at: usize| {
            let base = bases[at].at(row);
            u32::try_from(base)
                .ok()
                .filter(|base| (2..=36).contains(base))
                .ok_or_else(|| invalid_parameter(format!("a base is between 2 and 36, not {base}")))
        };
        let (from, to) = (base(0)?, base(1)?);
        let number = match (texts, numbers) {
            (Some(texts), _) => texts.at(row).trim().to_owned(),
            (_, Some(numbers)) => numbers.at(row).to_string(),
            _ => String::new(),
        };
        let (negative, digits) = number.strip_prefix('-').map_or((false, number.as_str()), |digits| (true, digits));
        // Up to what is no digit, and no more than fits.
        let mut value = 0_u64;
        for digit in digits.chars().map_while(|c| c.to_digit(from)) {
            value = value.checked_mul(from.into()).and_then(|v| v.checked_add(digit.into())).unwrap_or(u64::MAX);
        }
        let mut value = if negative { value.wrapping_neg() } else { value };
        let mut reversed = Vec::new();
        loop {
            reversed.extend(char::from_digit((value % u64::from(to)) as u32, to));
            value /= u64::from(to);
            if value == 0 {
                break;
            }
        }
        out.extend(reversed.into_iter().rev().map(|c| c.to_ascii_uppercase()));
        Ok(true)
    })
}

fn bar(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    const WIDTH_MAX: f64 = 1000.0;
    let all = (0..args.len()).map(|at| primitive::<Float64Type>(args, at)).collect::<Result<Vec<_>>>()?;
    text_rows(args, rows, types, |row, out| {
        let [value, least, most] = [0, 1, 2].map(|at: usize| all[at].at(row));
        let width = all.get(3).map_or(80.0, |width| width.at(row));
        if !(1.0..=WIDTH_MAX).contains(&width) {
            return Err(invalid_parameter(format!("a bar is 1 to {WIDTH_MAX} characters wide, not {width}")));
        }
        let part = if value.is_nan() || value <= least { 0.0 } else { ((value - least) / (most - least)).min(1.0) };
        // A bar of nearly so many eighths has them.
        let eighths = (part * width * 8.0 + 1e-9) as usize;
        out.extend(std::iter::repeat_n('█', eighths / 8));
        out.push_str(EIGHTHS[eighths % 8]);
        Ok(true)
    })
}

/// The places of the bits that are set.
fn bits(mask: i64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| mask >> bit & 1 == 1)
}

fn bit_lists(args: &[Datum], rows: usize, types: &Types<'_>, of: fn(u32) -> i64) -> Result<Datum> {
    let masks = primitive::<Int64Type>(args, 0)?;
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut out, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let before = out.len();
            if is_valid(&nulls, row) {
                out.extend(bits(masks.at(row)).map(of));
            }
            lengths.push(out.len() - before);
        }
        let values: ArrayRef = Arc::new(Int64Array::from(out));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Type::Int8.element_field(), offsets, values, nulls)?))
    })
}

fn test(args: &[Datum], rows: usize, types: &Types<'_>, all: bool) -> Result<Datum> {
    let values = primitive::<Int64Type>(args, 0)?;
    let places = (1..args.len()).map(|at| primitive::<Int32Type>(args, at)).collect::<Result<Vec<_>>>()?;
    bool_rows(args, rows, types, |row| {
        let mut tests = places.iter().map(|place| {
            let place = place.at(row);
            values
                .at(row)
                .checked_shr(place as u32)
                .map(|shifted| shifted & 1 == 1)
                .ok_or_else(|| invalid_parameter(format!("a number has no bit at place {place}")))
        });
        // Every place is looked at, so that a wrong one is an error whatever the others say.
        let set = tests.try_fold(0, |set, test| test.map(|test| set + usize::from(test)))?;
        Ok(Some(if all { set == places.len() } else { set > 0 }))
    })
}

fn rotate(args: &[Datum], rows: usize, types: &Types<'_>, direction: i32) -> Result<Datum> {
    let (values, steps) = (wide(&args[0])?, primitive::<Int32Type>(args, 1)?);
    let width = 8 * width(&types.args[0]);
    let constant = matches!(args[0], Datum::Scalar(_));
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let turned = primitive_rows::<Int64Type>(args, rows, &Type::Int8, |row| {
        let value = values.value(if constant { 0 } else { row }) as u64 & mask;
        let step = (direction * (steps.at(row) % width as i32)).rem_euclid(width as i32) as u32;
        let turned = if step == 0 { value } else { (value << step | value >> (width - step)) & mask };
        Ok(Some(match is_unsigned(&types.args[0]) {
            true => turned as i64,
            false => (turned as i64) << (64 - width) >> (64 - width),
        }))
    })?;
    let array = unwide(turned.array().as_primitive::<Int64Type>().clone(), types.result)?;
    Ok(match turned {
        Datum::Array(_) => Datum::Array(array),
        Datum::Scalar(_) => Datum::Scalar(weir_sql::Value::new(types.result.clone(), array)),
    })
}
