//! Random identifiers, and hashes that are not digests for security.

use std::sync::Arc;

use arrow::array::FixedSizeBinaryArray;
use arrow::datatypes::UInt64Type;
use sha1::Digest;
use weir_sql::Type;

use super::declare::{BYTEA, HASH, TEXT, function, strict};
use super::rows::{bytes_rows, column, primitive_rows, text};
use super::{Datum, ScalarFunction};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["gen_random_uuid", "generateUUIDv4", "uuid_generate_v4"],
            HASH,
            "A random UUID (version 4), another for each row.",
            ("", ""),
            vec![strict([], Type::Uuid, |_, _, rows, _| {
                let ids = (0..rows).map(|_| uuid::Uuid::new_v4().into_bytes());
                let array = match rows {
                    0 => FixedSizeBinaryArray::new(16, Vec::<u8>::new().into(), None),
                    _ => FixedSizeBinaryArray::try_from_iter(ids)?,
                };
                Ok(Datum::Array(Arc::new(array)))
            })],
        )
        .volatile(),
        function(
            &["SHA1"],
            HASH,
            "The SHA-1 digest of the bytes.",
            ("encode(SHA1('abc'), 'hex')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            vec![
                strict([TEXT], Type::Bytea, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    bytes_rows(a, n, ty, |row, out| {
                        out.extend_from_slice(&sha1::Sha1::digest(texts.at(row).as_bytes()));
                        Ok(true)
                    })
                }),
                strict([BYTEA], Type::Bytea, |_, a, n, ty| {
                    let bytes = column::<arrow::array::BinaryViewArray>(a, 0)?;
                    bytes_rows(a, n, ty, |row, out| {
                        out.extend_from_slice(&sha1::Sha1::digest(bytes.at(row)));
                        Ok(true)
                    })
                }),
            ],
        ),
        function(
            &["xxh3"],
            HASH,
            "The 64-bit XXH3 hash of the bytes.",
            ("xxh3('Hello, world!')", "17564966470555134057"),
            vec![
                strict([TEXT], Type::UInt64, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    primitive_rows::<UInt64Type>(a, n, ty, |row| {
                        Ok(Some(xxhash_rust::xxh3::xxh3_64(texts.at(row).as_bytes())))
                    })
                }),
                strict([BYTEA], Type::UInt64, |_, a, n, ty| {
                    let bytes = column::<arrow::array::BinaryViewArray>(a, 0)?;
                    primitive_rows::<UInt64Type>(a, n, ty, |row| Ok(Some(xxhash_rust::xxh3::xxh3_64(bytes.at(row)))))
                }),
            ],
        ),
    ]
}
