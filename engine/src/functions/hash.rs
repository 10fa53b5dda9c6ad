//! ClickHouse's hashes of texts and integers. Where several values are hashed, their hashes are combined as it does.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt32Type, UInt64Type};
use md5::Digest;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::declare::{HASH, TEXT, function, strict};
use super::rows::{primitive_rows, text};
use super::{Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cityhash;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = of_values();
    all.extend(of_texts());
    all.extend(of_integers());
    all
}

fn of_values() -> Vec<ScalarFunction> {
    let of = |names, doc, example, kernel: Kernel| {
        let any = Overload::new(vec![Param::AnyNonArray], Returns::Exact(Type::UInt64), kernel).variadic();
        function(names, HASH, doc, example, vec![any])
    };
    vec![
        of(
            &["cityHash64"],
            "CityHash of the values, as ClickHouse has it.",
            ("cityHash64('Moscow')", "12507901496292878638"),
            |_, a, n, ty| combined(a, n, ty, cityhash::hash, Some(int_hash_64)),
        ),
        of(
            &["xxHash64"],
            "The 64-bit xxHash of the values.",
            ("xxHash64('abc')", "4952883123889572249"),
            |_, a, n, ty| combined(a, n, ty, |bytes| xxhash_rust::xxh64::xxh64(bytes, 0), None),
        ),
        function(
            &["sipHash64"],
            HASH,
            "SipHash-2-4 of a value.",
            ("sipHash64('abc')", "4596069200710135518"),
            vec![Overload::new(vec![Param::AnyNonArray], Returns::Exact(Type::UInt64), |_, a, n, ty| {
                primitive_of_bytes::<UInt64Type>(a, n, ty, |values| {
                    let mut hasher = SipHasher24::new();
                    values.iter().for_each(|value| hasher.write(value));
                    hasher.finish()
                })
            })],
        ),
    ]
}

/// One column's values as bytes: texts as they are, integers in their own width, little endian.
fn bytes_of(ty: &Type, datum: &Datum) -> Result<Vec<Vec<u8>>> {
    let array = datum.array();
    let integer = |width: usize| -> Result<Vec<Vec<u8>>> {
        let wide = match array.data_type() {
            DataType::UInt64 => array.as_primitive::<UInt64Type>().values().iter().map(|v| *v as i64).collect(),
            _ => arrow_cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec(),
        };
        Ok(wide.iter().map(|value: &i64| value.to_le_bytes()[..width].to_vec()).collect())
    };
    match array.data_type() {
        DataType::Utf8View => {
            let texts = array.as_string_view();
            Ok((0..texts.len()).map(|row| texts.value(row).as_bytes().to_vec()).collect())
        }
        DataType::BinaryView => {
            let bytes = array.as_binary_view();
            Ok((0..bytes.len()).map(|row| bytes.value(row).to_vec()).collect())
        }
        DataType::UInt8 => integer(1),
        DataType::Int16 | DataType::UInt16 => integer(2),
        DataType::Int32 | DataType::UInt32 => integer(4),
        DataType::Int64 | DataType::UInt64 => integer(8),
        _ => {
            let message = format!("values of type {ty} are not hashed");
            Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message).with_hint("Cast them to text."))
        }
    }
}

/// A hash of each row's values, each as bytes.
fn primitive_of_bytes<T: ArrowPrimitiveType>(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    hash: impl Fn(&[&[u8]]) -> T::Native,
) -> Result<Datum> {
    let columns = args.iter().zip(types.args).map(|(arg, ty)| bytes_of(ty, arg)).collect::<Result<Vec<_>>>()?;
    let constant: Vec<bool> = args.iter().map(|arg| matches!(arg, Datum::Scalar(_))).collect();
    primitive_rows::<T>(args, rows, types, |row| {
        let values =
            columns.iter().zip(&constant).map(|(column, constant)| column[if *constant { 0 } else { row }].as_slice());
        Ok(Some(hash(&values.collect::<Vec<_>>())))
    })
}

/// The hashes of a row's values, combined.
pub(super) fn of_rows<T: ArrowPrimitiveType>(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of_bytes: impl Fn(&[u8]) -> T::Native,
    combine: impl Fn(T::Native, T::Native) -> T::Native,
) -> Result<Datum> {
    primitive_of_bytes::<T>(args, rows, types, |values| {
        values.iter().map(|value| of_bytes(value)).reduce(&combine).unwrap_or_default()
    })
}

/// The hashes of a row's values, combined. `of_integer` is the hash of an integer, where it is not that of its bytes.
fn combined(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of_bytes: fn(&[u8]) -> u64,
    of_integer: Option<fn(u64) -> u64>,
) -> Result<Datum> {
    let integers: Vec<bool> = types.args.iter().map(Type::is_integer).collect();
    primitive_of_bytes::<UInt64Type>(args, rows, types, |values| {
        let one = |(value, integer): (&&[u8], &bool)| match of_integer {
            Some(of_integer) if *integer => {
                let mut word = [0; 8];
                word[..value.len()].copy_from_slice(value);
                of_integer(u64::from_le_bytes(word))
            }
            _ => of_bytes(value),
        };
        values.iter().zip(&integers).map(one).reduce(cityhash::combine).unwrap_or_default()
    })
}

fn of_texts() -> Vec<ScalarFunction> {
    macro_rules! of_bytes {
        ($names:expr, $doc:expr, $example:expr, $returns:expr, $out:ty, $hash:expr) => {
            function(
                $names,
                HASH,
                $doc,
                $example,
                vec![strict([TEXT], $returns, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    primitive_rows::<$out>(a, n, ty, |row| Ok(Some($hash(texts.at(row).as_bytes()))))
                })],
            )
        };
    }
    vec![
        of_bytes!(
            &["xxHash32"],
            "The 32-bit xxHash.",
            ("xxHash32('abc')", "852579327"),
            Type::UInt32,
            UInt32Type,
            |bytes| { xxhash_rust::xxh32::xxh32(bytes, 0) }
        ),
        of_bytes!(
            &["CRC32"],
            "The CRC-32 checksum, as zlib has it.",
            ("CRC32('abc')", "891568578"),
            Type::UInt32,
            UInt32Type,
            crc32fast::hash
        ),
        of_bytes!(
            &["halfMD5"],
            "The first eight bytes of the MD5 digest as a number.",
            ("halfMD5('abc')", "10376663631224000432"),
            Type::UInt64,
            UInt64Type,
            |bytes: &[u8]| {
                let digest = md5::Md5::digest(bytes);
                digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        ),
        of_bytes!(
            &["javaHash"],
            "The hash that Java's String.hashCode gives of ASCII.",
            ("javaHash('abc')", "96354"),
            Type::Int4,
            Int32Type,
            |bytes: &[u8]| bytes
                .iter()
                .fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(*byte as i8)))
        ),
        of_bytes!(
            &["hiveHash"],
            "As javaHash, without its sign.",
            ("hiveHash('abc')", "96354"),
            Type::Int4,
            Int32Type,
            |bytes: &[u8]| {
                let hash =
                    bytes.iter().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(*byte as i8)));
                hash & i32::MAX
            }
        ),
    ]
}

fn of_integers() -> Vec<ScalarFunction> {
    let of = |names, doc, example, returns: Type, kernel: Kernel| {
        let any = Overload::new(vec![Param::AnyInteger], Returns::Exact(returns), kernel);
        function(names, HASH, doc, example, vec![any])
    };
    vec![
        of(
            &["intHash64"],
            "A hash of an integer.",
            ("intHash64(1)", "10577349846663553072"),
            Type::UInt64,
            |_, a, n, ty| combined(a, n, ty, cityhash::hash, Some(int_hash_64)),
        ),
        of(
            &["intHash32"],
            "A 32-bit hash of an integer.",
            ("intHash32(1)", "1343103100"),
            Type::UInt32,
            |_, a, n, ty| {
                let values: ArrayRef = arrow_cast(a[0].array(), &DataType::Int64)?;
                let values = values.as_primitive::<Int64Type>();
                let constant = matches!(a[0], Datum::Scalar(_));
                primitive_rows::<UInt32Type>(a, n, ty, |row| {
                    Ok(Some(int_hash_32(values.value(if constant { 0 } else { row }) as u64)))
                })
            },
        ),
    ]
}

/// The finaliser of MurmurHash3, salted as ClickHouse does.
pub(super) fn int_hash_64(x: u64) -> u64 {
    let mut x = x ^ 0x4cf2_d2ba_ae6d_a887;
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

/// Thomas Wang's hash of 64 bits to 32, salted as ClickHouse does.
pub(super) fn int_hash_32(key: u64) -> u32 {
    let key = key ^ 0x75d9_543d_e018_bf45;
    let mut key = (!key).wrapping_add(key << 18);
    key ^= key.rotate_right(31);
    key = key.wrapping_mul(21);
    key ^= key.rotate_right(11);
    key = key.wrapping_add(key << 6);
    key ^= key.rotate_right(22);
    key as u32
}
