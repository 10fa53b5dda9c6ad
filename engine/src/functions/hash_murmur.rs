//! ClickHouse's names for MurmurHash and FarmHash. The hashes of several values are combined as it does.

use arrow::datatypes::{UInt32Type, UInt64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::declare::{HASH, TEXT, function, strict};
use super::hash::{int_hash_32, int_hash_64, of_rows};
use super::rows::{primitive_rows, text};
use super::{Kernel, Overload, ScalarFunction};
use crate::kernels::murmur::{murmur2_32, murmur2_64, murmur3_32, murmur3_128};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let of = |names, doc, example, returns: Type, kernel: Kernel| {
        let any = Overload::new(vec![Param::AnyNonArray], Returns::Exact(returns), kernel).variadic();
        function(names, HASH, doc, example, vec![any])
    };
    vec![
        of(
            &["murmurHash2_32"],
            "The 32-bit MurmurHash2 of the values.",
            ("murmurHash2_32('abc')", "324500635"),
            Type::UInt32,
            |_, a, n, ty| of_rows::<UInt32Type>(a, n, ty, murmur2_32, |a, b| int_hash_32(a.into()) ^ b),
        ),
        of(
            &["murmurHash2_64"],
            "The 64-bit MurmurHash2 of the values.",
            ("murmurHash2_64('abc')", "11297775770902552315"),
            Type::UInt64,
            |_, a, n, ty| of_rows::<UInt64Type>(a, n, ty, murmur2_64, |a, b| int_hash_64(a) ^ b),
        ),
        of(
            &["murmurHash3_32"],
            "The 32-bit MurmurHash3 of the values.",
            ("murmurHash3_32('abc')", "3017643002"),
            Type::UInt32,
            |_, a, n, ty| of_rows::<UInt32Type>(a, n, ty, murmur3_32, |a, b| int_hash_32(a.into()) ^ b),
        ),
        of(
            &["murmurHash3_64"],
            "The two halves of the 128-bit MurmurHash3 of the values, exclusive or.",
            ("murmurHash3_64('abc')", "10318955651176813877"),
            Type::UInt64,
            |_, a, n, ty| {
                let hash = |bytes: &[u8]| {
                    let (low, high) = murmur3_128(bytes);
                    low ^ high
                };
                of_rows::<UInt64Type>(a, n, ty, hash, |a, b| int_hash_64(a) ^ b)
            },
        ),
        function(
            &["farmHash64"],
            HASH,
            "The 64-bit FarmHash of a text.",
            ("farmHash64('abc')", "2640714258260161385"),
            vec![strict([TEXT], Type::UInt64, |_, a, n, ty| {
                let texts = text(a, 0)?;
                primitive_rows::<UInt64Type>(a, n, ty, |row| Ok(Some(farmhash::hash64(texts.at(row).as_bytes()))))
            })],
        ),
        function(
            &["farmFingerprint64"],
            HASH,
            "The 64-bit fingerprint of FarmHash of a text.",
            ("farmFingerprint64('abc')", "2640714258260161385"),
            vec![strict([TEXT], Type::UInt64, |_, a, n, ty| {
                let texts = text(a, 0)?;
                let hash = |row| farmhash::fingerprint64(texts.at(row).as_bytes());
                primitive_rows::<UInt64Type>(a, n, ty, |row| Ok(Some(hash(row))))
            })],
        ),
    ]
}
