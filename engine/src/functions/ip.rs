//! ClickHouse's functions of IP addresses. An address is a text here, as IPv4 and IPv6 columns are; IPv4StringToNum and its kin give numbers and
//! bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, StringViewBuilder, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int64Type, UInt32Type};
use weir_sql::Type;

use super::declare::{BYTEA, INT8, TEXT, function, strict};
use super::rows::{
    batch, bool_rows, bytes_rows, column, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows, text,
    text_rows,
};
use super::{Datum, Kernel, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

const FAMILY: &str = "network addresses";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = numbers();
    all.extend(questions());
    all.extend(conversions());
    all
}

/// What stands for a text that is no address.
#[derive(Clone, Copy)]
enum Otherwise {
    Fails,
    Null,
    Zero,
}

fn v4(text: &str, otherwise: Otherwise) -> Result<Option<Ipv4Addr>> {
    address(text, "IPv4", otherwise, Ipv4Addr::UNSPECIFIED)
}

/// An IPv4 address is also one of IPv6.
fn v6(text: &str, otherwise: Otherwise) -> Result<Option<Ipv6Addr>> {
    match text.parse::<Ipv4Addr>() {
        Ok(short) => Ok(Some(short.to_ipv6_mapped())),
        Err(_) => address(text, "IPv6", otherwise, Ipv6Addr::UNSPECIFIED),
    }
}

fn address<A: std::str::FromStr>(text: &str, kind: &str, otherwise: Otherwise, zero: A) -> Result<Option<A>> {
    match (text.parse(), otherwise) {
        (Ok(address), _) => Ok(Some(address)),
        (Err(_), Otherwise::Null) => Ok(None),
        (Err(_), Otherwise::Zero) => Ok(Some(zero)),
        (Err(_), Otherwise::Fails) => {
            Err(Error::new(ErrorKind::InvalidText, format!("invalid {kind} address: \"{text}\"")))
        }
    }
}

fn numbers() -> Vec<ScalarFunction> {
    macro_rules! to_number {
        ($names:expr, $doc:expr, $example:expr, $otherwise:expr) => {
            function(
                $names,
                FAMILY,
                $doc,
                $example,
                vec![strict([TEXT], Type::UInt32, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    primitive_rows::<UInt32Type>(a, n, ty, |row| Ok(v4(texts.at(row), $otherwise)?.map(u32::from)))
                })],
            )
        };
    }
    macro_rules! to_bytes {
        ($names:expr, $doc:expr, $example:expr, $otherwise:expr) => {
            function(
                $names,
                FAMILY,
                $doc,
                $example,
                vec![strict([TEXT], Type::Bytea, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    bytes_rows(a, n, ty, |row, out| {
                        let address = v6(texts.at(row), $otherwise)?;
                        out.extend(address.iter().flat_map(Ipv6Addr::octets));
                        Ok(address.is_some())
                    })
                })],
            )
        };
    }
    vec![
        to_number!(
            &["IPv4StringToNum", "INET_ATON"],
            "An IPv4 address as a number.",
            ("IPv4StringToNum('192.168.1.1')", "3232235777"),
            Otherwise::Fails
        ),
        to_number!(
            &["IPv4StringToNumOrNull"],
            "An IPv4 address as a number; NULL if it is none.",
            ("IPv4StringToNumOrNull('x')", "NULL"),
            Otherwise::Null
        ),
        to_number!(
            &["IPv4StringToNumOrDefault"],
            "An IPv4 address as a number; 0 if it is none.",
            ("IPv4StringToNumOrDefault('x')", "0"),
            Otherwise::Zero
        ),
        to_bytes!(
            &["IPv6StringToNum", "INET6_ATON"],
            "An IPv6 or IPv4 address as 16 bytes.",
            ("IPv6StringToNum('::1')", "\\x00000000000000000000000000000001"),
            Otherwise::Fails
        ),
        to_bytes!(
            &["IPv6StringToNumOrNull"],
            "An IPv6 or IPv4 address as 16 bytes; NULL if it is none.",
            ("IPv6StringToNumOrNull('x')", "NULL"),
            Otherwise::Null
        ),
        to_bytes!(
            &["IPv6StringToNumOrDefault"],
            "An IPv6 or IPv4 address as 16 bytes; zeros if it is none.",
            ("IPv6StringToNumOrDefault('x')", "\\x00000000000000000000000000000000"),
            Otherwise::Zero
        ),
        function(
            &["IPv4NumToString", "INET_NTOA"],
            FAMILY,
            "The IPv4 address that a number stands for.",
            ("IPv4NumToString(3232235777)", "192.168.1.1"),
            vec![strict([INT8], Type::Text, |_, a, n, ty| from_number(a, n, ty, |address| address.to_string()))],
        ),
        function(
            &["IPv4NumToStringClassC"],
            FAMILY,
            "The IPv4 address that a number stands for, with xxx in place of its last byte.",
            ("IPv4NumToStringClassC(3232235777)", "192.168.1.xxx"),
            vec![strict([INT8], Type::Text, |_, a, n, ty| {
                from_number(a, n, ty, |address| {
                    let [a, b, c, _] = address.octets();
                    format!("{a}.{b}.{c}.xxx")
                })
            })],
        ),
        function(
            &["IPv6NumToString", "INET6_NTOA"],
            FAMILY,
            "The IPv6 address that 16 bytes stand for.",
            ("IPv6NumToString('\\x2a0206b8000000000000000000000011')", "2a02:6b8::11"),
            vec![strict([BYTEA], Type::Text, |_, a, n, ty| {
                let bytes = column::<BinaryViewArray>(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    let octets: [u8; 16] =
                        bytes.at(row).try_into().map_err(|_| invalid_parameter("an IPv6 address has 16 bytes"))?;
                    out.push_str(&Ipv6Addr::from(octets).to_string());
                    Ok(true)
                })
            })],
        ),
    ]
}

fn from_number(args: &[Datum], rows: usize, types: &Types<'_>, show: fn(Ipv4Addr) -> String) -> Result<Datum> {
    let numbers = primitive::<Int64Type>(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        let number = u32::try_from(numbers.at(row))
            .map_err(|_| invalid_parameter(format!("{} is not the number of an IPv4 address", numbers.at(row))))?;
        out.push_str(&show(Ipv4Addr::from(number)));
        Ok(true)
    })
}

fn questions() -> Vec<ScalarFunction> {
    let is = |names, doc, example, kernel: Kernel| {
        function(names, FAMILY, doc, example, vec![strict([TEXT], Type::Bool, kernel)])
    };
    vec![
        is(
            &["isIPv4String"],
            "Whether a text is an IPv4 address.",
            ("isIPv4String('127.0.0.1')", "t"),
            |_, a, n, ty| {
                let texts = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(texts.at(row).parse::<Ipv4Addr>().is_ok())))
            },
        ),
        is(
            &["isIPv6String"],
            "Whether a text is an IPv6 address.",
            ("isIPv6String('::ffff:127.0.0.1')", "t"),
            |_, a, n, ty| {
                let texts = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(texts.at(row).parse::<Ipv6Addr>().is_ok())))
            },
        ),
        function(
            &["isIPAddressInRange"],
            FAMILY,
            "Whether an address is in a range, given as an address and a number of bits.",
            ("isIPAddressInRange('127.0.0.1', '127.0.0.0/8')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (addresses, ranges) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(in_range(addresses.at(row), ranges.at(row))?)))
            })],
        ),
    ]
}

fn any(text: &str) -> Result<IpAddr> {
    let wrong = || Error::new(ErrorKind::InvalidText, format!("neither an IPv4 nor an IPv6 address: \"{text}\""));
    text.parse().map_err(|_| wrong())
}

fn in_range(address: &str, range: &str) -> Result<bool> {
    let wrong = || Error::new(ErrorKind::InvalidText, format!("not an address and a number of bits: \"{range}\""));
    let (start, bits) = range.split_once('/').ok_or_else(wrong)?;
    let bits: u32 = bits.parse().map_err(|_| wrong())?;
    Ok(match (any(address)?, any(start)?) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V4(_)) if bits > 32 => return Err(wrong()),
        (_, IpAddr::V6(_)) if bits > 128 => return Err(wrong()),
        (IpAddr::V4(address), IpAddr::V4(start)) => {
            let (address, start) = (u32::from(address), u32::from(start));
            (address ^ start) & upper_bits(bits, 32) as u32 == 0
        }
        (IpAddr::V6(address), IpAddr::V6(start)) => {
            (u128::from(address) ^ u128::from(start)) & upper_bits(bits, 128) == 0
        }
        _ => false,
    })
}

/// The first `bits` of `width` bits.
fn upper_bits(bits: u32, width: u32) -> u128 {
    let all = u128::MAX >> (128 - width);
    match bits {
        0 => 0,
        bits => all << (width - bits.min(width)) & all,
    }
}

fn conversions() -> Vec<ScalarFunction> {
    macro_rules! convert {
        ($names:expr, $doc:expr, $example:expr, $parse:ident, $otherwise:expr) => {
            function(
                $names,
                FAMILY,
                $doc,
                $example,
                vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    text_rows(a, n, ty, |row, out| {
                        let address = $parse(texts.at(row), $otherwise)?;
                        out.extend(address.map(|address| address.to_string()));
                        Ok(address.is_some())
                    })
                })],
            )
        };
    }
    let range = |names, doc, example, kernel: Kernel| {
        let pair = Type::Record(vec![("lower".into(), Type::Text), ("upper".into(), Type::Text)]);
        function(names, FAMILY, doc, example, vec![strict([TEXT, INT8], pair, kernel)])
    };
    vec![
        convert!(
            &["toIPv4"],
            "An IPv4 address in its usual form.",
            ("toIPv4('10.0.0.1')", "10.0.0.1"),
            v4,
            Otherwise::Fails
        ),
        convert!(
            &["toIPv4OrNull"],
            "An IPv4 address; NULL if it is none.",
            ("toIPv4OrNull('x')", "NULL"),
            v4,
            Otherwise::Null
        ),
        convert!(
            &["toIPv4OrDefault", "toIPv4OrZero"],
            "An IPv4 address; 0.0.0.0 if it is none.",
            ("toIPv4OrDefault('x')", "0.0.0.0"),
            v4,
            Otherwise::Zero
        ),
        convert!(
            &["toIPv6", "IPv4ToIPv6"],
            "An IPv6 or IPv4 address in the usual form of IPv6.",
            ("toIPv6('1.2.3.4')", "::ffff:1.2.3.4"),
            v6,
            Otherwise::Fails
        ),
        convert!(
            &["toIPv6OrNull"],
            "An IPv6 address; NULL if it is none.",
            ("toIPv6OrNull('x')", "NULL"),
            v6,
            Otherwise::Null
        ),
        convert!(
            &["toIPv6OrDefault", "toIPv6OrZero"],
            "An IPv6 address; :: if it is none.",
            ("toIPv6OrDefault('x')", "::"),
            v6,
            Otherwise::Zero
        ),
        range(
            &["IPv4CIDRToRange"],
            "The first and the last address with the first so many bits of an IPv4 address.",
            ("IPv4CIDRToRange('192.168.5.2', 16)", "(192.168.0.0,192.168.255.255)"),
            |_, a, n, ty| {
                let (texts, bits) = (text(a, 0)?, primitive::<Int64Type>(a, 1)?);
                ranges(a, n, ty, |row| {
                    let address = v4(texts.at(row), Otherwise::Fails)?.map_or(0, u32::from);
                    let upper = upper_bits(checked_bits(bits.at(row), 32)?, 32) as u32;
                    let ends = [address & upper, address | !upper].map(|end| Ipv4Addr::from(end).to_string());
                    Ok(ends)
                })
            },
        ),
        range(
            &["IPv6CIDRToRange"],
            "The first and the last address with the first so many bits of an IPv6 address.",
            ("IPv6CIDRToRange('2001:db8::1', 32)", "(2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff)"),
            |_, a, n, ty| {
                let (texts, bits) = (text(a, 0)?, primitive::<Int64Type>(a, 1)?);
                ranges(a, n, ty, |row| {
                    let address = v6(texts.at(row), Otherwise::Fails)?.map_or(0, u128::from);
                    let upper = upper_bits(checked_bits(bits.at(row), 128)?, 128);
                    Ok([address & upper, address | !upper].map(|end| Ipv6Addr::from(end).to_string()))
                })
            },
        ),
    ]
}

fn checked_bits(bits: i64, width: u32) -> Result<u32> {
    u32::try_from(bits)
        .ok()
        .filter(|bits| *bits <= width)
        .ok_or_else(|| invalid_parameter(format!("{bits} is not a number of bits from 0 to {width}")))
}

/// A record of two texts a row.
fn ranges(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    mut ends: impl FnMut(usize) -> Result<[String; 2]>,
) -> Result<Datum> {
    batch(args, rows, types, |rows| {
        let nulls: Option<NullBuffer> = nulls_of(args, rows);
        let mut columns = [StringViewBuilder::new(), StringViewBuilder::new()];
        for row in 0..rows {
            match is_valid(&nulls, row) {
                true => columns.iter_mut().zip(ends(row)?).for_each(|(column, end)| column.append_value(end)),
                false => columns.iter_mut().for_each(StringViewBuilder::append_null),
            }
        }
        let DataType::Struct(fields) = types.result.to_arrow() else {
            return Err(Error::internal("a range is a record"));
        };
        let columns = columns.map(|mut column| Arc::new(column.finish()) as ArrayRef).to_vec();
        Ok(Arc::new(StructArray::try_new(fields, columns, nulls)?))
    })
}
