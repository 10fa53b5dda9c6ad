//! One suite for every encoding: every type, every pattern of values and NULLs, every effort; read whole and by rows, with
//! every bit flipped and every byte cut off.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray,
    StringViewArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use memchr::memmem::Finder;
use proptest::prelude::*;

use super::{
    CodeRange, Effort, Encoder, Encoding, decode, decode_codes, decode_codes_within, decode_containing, decode_empty,
    decode_fields, decode_lengths, decode_nulls, decode_within,
};
use crate::codec::{Codec, Compression, Transform};
use crate::key::{Key, key_at};
use crate::prune::Numbers;

/// Numbers with a shape that some encoding likes.
fn shapes(rows: usize) -> Vec<(&'static str, Vec<i128>)> {
    let random = |i: usize| (i as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) as i128;
    let make = |f: &dyn Fn(usize) -> i128| (0..rows).map(f).collect::<Vec<_>>();
    vec![
        ("same", make(&|_| 42)),
        ("small", make(&|i| random(i).rem_euclid(200) - 100)),
        ("rising", make(&|i| 1_700_000_000_000_000 + i as i128 * 1_000 + random(i).rem_euclid(7))),
        ("few", make(&|i| random(i).rem_euclid(5) * 1_000_000_007)),
        ("runs", make(&|i| random(i / 40).rem_euclid(1 << 40))),
        ("outliers", make(&|i| if i % 50 == 7 { random(i) } else { random(i).rem_euclid(60) })),
        ("seconds", make(&|i| 1_700_000_000_000_000 + random(i).rem_euclid(1 << 20) * 1_000_000)),
        ("resets", make(&|i| i as i128 % 300 * 700_000 + random(i).rem_euclid(300))),
        ("accelerating", make(&|i| (i * i) as i128 * 1_000_003 + random(i).rem_euclid(3))),
        ("rare", make(&|i| i128::from(i % 97 == 5))),
        ("halves", make(&|i| i128::from(i * 3 > rows))),
        ("random", make(&random)),
        ("extremes", make(&|i| if i % 2 == 0 { i128::MAX } else { i128::MIN })),
    ]
}

fn nulls(rows: usize, pattern: usize) -> Option<NullBuffer> {
    let valid: Vec<bool> = match pattern {
        0 => return None,
        1 => (0..rows).map(|i| i % 3 != 0).collect(),
        2 => (0..rows).map(|i| i + 1 == rows).collect(),
        3 => (0..rows).map(|i| i == 0).collect(),
        _ => vec![false; rows],
    };
    Some(valid.into())
}

/// Every type, made from these numbers.
fn arrays(values: &[i128], nulls: Option<NullBuffer>) -> Vec<ArrayRef> {
    macro_rules! number {
        ($array:ident, $ty:ty) => {
            Arc::new($array::new(values.iter().map(|&v| v as $ty).collect::<Vec<_>>().into(), nulls.clone()))
                as ArrayRef
        };
    }
    let text: Vec<String> = values
        .iter()
        .map(|v| match v.rem_euclid(4) {
            0 => String::new(),
            1 => format!("{v}"),
            2 => format!("ünïcödé {}", v.rem_euclid(1000)),
            _ => format!("a rather long text, whose number is {v}, and it goes on"),
        })
        .collect();
    let masked = |values: &[String]| -> Vec<Option<String>> {
        let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        values.iter().enumerate().map(|(row, value)| valid(row).then(|| value.clone())).collect()
    };
    let strings: ArrayRef = Arc::new(StringViewArray::from_iter(masked(&text)));
    let bytes: ArrayRef =
        Arc::new(BinaryViewArray::from_iter(masked(&text).into_iter().map(|text| text.map(|t| t.into_bytes()))));
    let hex: Vec<String> = values.iter().map(|v| format!("{:x}", v ^ v >> 60)).collect();
    let hex: ArrayRef = Arc::new(StringViewArray::from_iter(masked(&hex)));
    let documents: Vec<String> = values
        .iter()
        .map(|v| match v.rem_euclid(3) {
            0 => format!("[{{\"x\": {}, \"y\": \"{}\"}}]", v.rem_euclid(100), v % 7),
            1 => format!("{{\"a\\\"b\": [{v}, -0, 007, 1.50, {}], \"s\" : \"q\\\"ü\"}}", *v as i64),
            _ => "{\"open\": \"".to_string(),
        })
        .collect();
    let field = |v: i128, at: u32| (v >> at).rem_euclid(101);
    let points = values.iter().map(|&v| {
        format!(
            "[{{\"x\": {}, \"y\": {}}}, {{\"x\": {}, \"y\": {}}}]",
            field(v, 3),
            field(v, 13),
            field(v, 23),
            field(v, 33)
        )
    });
    let points: ArrayRef = Arc::new(StringViewArray::from_iter(masked(&points.collect::<Vec<_>>())));
    let documents: ArrayRef = Arc::new(StringViewArray::from_iter(masked(&documents)));
    let objects = values.iter().map(|&v| match v.rem_euclid(5) {
        0 => format!("{{\"s\": \"\\\"x\\\": {v}\", \"o\": {{\"x\": [{v}]}}, \"x\":{} }}", v.rem_euclid(1000)),
        1 => " { } ".to_string(),
        _ => format!("{{\"x\": {}.5, \"ö\": \"goes on\", \"s\": null}}", v.rem_euclid(1000)),
    });
    let objects: ArrayRef = Arc::new(StringViewArray::from_iter(masked(&objects.collect::<Vec<_>>())));
    let fixed: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    let three: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..3].to_vec()).collect();
    let lengths = values.iter().map(|v| v.rem_euclid(4) as usize);
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let children = offsets.last() as usize;
    let item = |ty: DataType| Arc::new(Field::new("item", ty, true));
    let child_text: Vec<Option<String>> =
        (0..children).map(|i| (i % 5 != 0).then(|| text[i % text.len()].clone())).collect();
    let list: ArrayRef = Arc::new(ListArray::new(
        item(DataType::Utf8View),
        offsets.clone(),
        Arc::new(StringViewArray::from_iter(child_text)),
        nulls.clone(),
    ));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..children as i64).map(|i| i * i)));
    let inner: ArrayRef = Arc::new(ListArray::new(item(DataType::Int64), offsets, numbers, None));
    let nested: ArrayRef = Arc::new(ListArray::new(
        item(inner.data_type().clone()),
        OffsetBuffer::from_lengths(std::iter::repeat_n(1, values.len())),
        inner.clone(),
        nulls.clone(),
    ));
    let fields: Vec<Field> = [("a", &strings), ("b", &inner)]
        .iter()
        .map(|(name, a)| Field::new(*name, a.data_type().clone(), true))
        .collect();
    let record: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![strings.clone(), inner], nulls.clone()));
    let decimal =
        Decimal128Array::new(values.iter().map(|&v| v % 10i128.pow(38)).collect::<Vec<_>>().into(), nulls.clone());
    let interval =
        values.iter().map(|&v| IntervalMonthDayNano::new(v as i32, (v >> 32) as i32, v as i64)).collect::<Vec<_>>();
    let noisy = values.iter().map(|&v| (v % (1 << 30)) as f64 / 1000.0 + 4096.7 - 4096.0).collect::<Vec<_>>();
    let thousandths = values.iter().map(|&v| (v % (1 << 40)) as f64 / 1000.0).collect::<Vec<_>>();
    vec![
        Arc::new(BooleanArray::new(values.iter().map(|v| v & 1 == 1).collect::<Vec<_>>().into(), nulls.clone())),
        number!(Int8Array, i8),
        number!(Int16Array, i16),
        number!(Int32Array, i32),
        number!(Int64Array, i64),
        number!(UInt8Array, u8),
        number!(UInt16Array, u16),
        number!(UInt32Array, u32),
        number!(UInt64Array, u64),
        number!(Float32Array, f32),
        number!(Float64Array, f64),
        Arc::new(Float64Array::new(thousandths.clone().into(), nulls.clone())),
        Arc::new(Float32Array::new(thousandths.iter().map(|&v| v as f32).collect::<Vec<_>>().into(), nulls.clone())),
        Arc::new(Float64Array::new(noisy.into(), nulls.clone())),
        Arc::new(Float64Array::new(
            values.iter().map(|&v| f64::from_bits(v as u64)).collect::<Vec<_>>().into(),
            nulls.clone(),
        )),
        Arc::new(decimal.with_precision_and_scale(38, 5).unwrap()),
        number!(Date32Array, i32),
        number!(Time64MicrosecondArray, i64),
        number!(TimestampMicrosecondArray, i64),
        Arc::new(
            TimestampMicrosecondArray::new(values.iter().map(|&v| v as i64).collect::<Vec<_>>().into(), nulls.clone())
                .with_timezone("UTC"),
        ),
        Arc::new(IntervalMonthDayNanoArray::new(interval.into(), nulls.clone())),
        strings,
        hex,
        documents,
        points,
        objects,
        bytes,
        Arc::new(FixedSizeBinaryArray::new(16, fixed.into(), nulls.clone())),
        Arc::new(FixedSizeBinaryArray::new(3, three.into(), nulls.clone())),
        list,
        nested,
        record,
    ]
}

/// Equal, and floats bit by bit: NaN is what it was.
fn assert_same(read: &ArrayRef, written: &ArrayRef, what: &str) {
    assert_eq!(read.data_type(), written.data_type(), "{what}");
    read.to_data().validate_full().unwrap();
    let bits = |array: &ArrayRef| -> ArrayRef {
        let ty = match array.data_type() {
            DataType::Float32 => DataType::UInt32,
            DataType::Float64 => DataType::UInt64,
            _ => return array.clone(),
        };
        make_array(array.to_data().into_builder().data_type(ty).build().unwrap())
    };
    assert_eq!(&bits(read), &bits(written), "{what}");
}

/// Texts that some of the values have in them: inside, at their ends, next to a hole of a document, across one.
const NEEDLES: [&str; 6] = ["ö", "whose number is 4", "\": ", "x", "goes on", "open"];

/// What is read of a chunk without reading its values: none of it may panic.
fn read_otherwise(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    dictionary: Option<&ArrayRef>,
    selection: Option<&[u32]>,
) {
    let _ = decode_nulls(rows, chunk, selection);
    let _ = decode_within(ty, rows, chunk, &Numbers { range: 0..=1000, outside: false });
    let _ = decode_empty(ty, rows, chunk, false);
    let _ = decode_lengths(ty, rows, chunk, dictionary, selection);
    let _ = decode_codes(ty, rows, chunk, dictionary, selection);
    let _ = decode_codes_within(rows, chunk, dictionary, |_| Some(CodeRange { range: 0..2, outside: false }));
    let _ = decode_fields(ty, rows, chunk, selection, &["x".to_string(), "s".to_string()]);
    let _ = decode_containing(ty, rows, chunk, &Finder::new("ö"));
}

/// The same says what the values say.
fn check_otherwise(array: &ArrayRef, chunk: &Buffer, dictionary: Option<&ArrayRef>, what: &str) {
    let (ty, rows) = (array.data_type(), array.len());
    let some: Vec<u32> = (0..rows as u32).step_by(3).collect();
    for selection in [None, Some(some.as_slice())] {
        let found: Vec<bool> = decode_nulls(rows, chunk, selection).unwrap().iter().collect();
        let wanted =
            selection.map_or((0..rows).collect(), |some| some.iter().map(|&row| row as usize).collect::<Vec<_>>());
        assert_eq!(found, wanted.iter().map(|&row| array.is_valid(row)).collect::<Vec<_>>(), "{what}");
        let lengths = decode_lengths(ty, rows, chunk, dictionary, selection).unwrap();
        let is_text = matches!(ty, DataType::Utf8View | DataType::BinaryView);
        let is_all_null = array.null_count() == rows;
        assert_eq!(lengths.is_some(), is_text && !is_all_null && chunk[0] != Encoding::Json as u8, "{what}");
        if let Some(lengths) = lengths {
            let length = |&row: &usize| match key_at(array, row) {
                Some(Key::Bytes(bytes)) => Some(bytes.len() as i32),
                _ => None,
            };
            assert_eq!(lengths.iter().collect::<Vec<_>>(), wanted.iter().map(length).collect::<Vec<_>>(), "{what}");
        }
    }
    if let Some(coded) = decode_codes(ty, rows, chunk, dictionary, None).unwrap() {
        let column = coded.into_array();
        assert_same(&cast(&column, array.data_type()).unwrap(), array, what);
    }
    for (range, outside) in [(0..0, false), (0..1, true), (1..3, false), (2..u32::MAX, true)] {
        let wanted = CodeRange { range, outside };
        let found = decode_codes_within(rows, chunk, dictionary, |_| Some(wanted.clone())).unwrap();
        let Some(found) = found else { continue };
        let coded = decode_codes(ty, rows, chunk, dictionary, None).unwrap().unwrap();
        let is_valid = |row: usize| coded.nulls().is_none_or(|nulls| nulls.is_valid(row));
        let passes = |row: usize| wanted.range.contains(&coded.codes()[row]) != outside && is_valid(row);
        assert_eq!(found.iter().collect::<Vec<_>>(), (0..rows).map(passes).collect::<Vec<_>>(), "{wanted:?} in {what}");
    }
    let numbers: Vec<Option<i128>> = (0..rows)
        .map(|row| match key_at(array, row) {
            Some(Key::Number(number)) => Some(number),
            _ => None,
        })
        .collect();
    for (low, high) in [(0, 99), (3, 2), (7, 7), (1 << 40, i128::MAX), (i128::MIN, -1), (i128::MIN, i128::MAX)]
        .into_iter()
        .chain(numbers.iter().flatten().take(3).flat_map(|&number| [(number, number), (number + 1, i128::MAX)]))
    {
        for outside in [false, true] {
            let wanted = Numbers { range: low..=high, outside };
            if let Some(found) = decode_within(ty, rows, chunk, &wanted).unwrap() {
                let is_wanted = |number: i128| wanted.range.contains(&number) != outside;
                let expected: Vec<bool> = numbers.iter().map(|number| number.is_some_and(is_wanted)).collect();
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{wanted:?} in {what}");
            }
        }
    }
    for is_empty in [true, false] {
        let found = decode_empty(ty, rows, chunk, is_empty).unwrap();
        let is_text = matches!(ty, DataType::Utf8View | DataType::BinaryView);
        let is_known = is_text && [Encoding::Plain, Encoding::Fsst].iter().any(|&known| known as u8 == chunk[0]);
        assert_eq!(found.is_some(), is_known, "{what}");
        if let Some(found) = found {
            let passes = |row| array.is_valid(row) && matches!(key_at(array, row), Some(Key::Bytes([]))) == is_empty;
            let expected: Vec<bool> = (0..rows).map(passes).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{is_empty} in {what}");
        }
    }
    let Some(texts) = array.as_any().downcast_ref::<StringViewArray>() else { return };
    for needle in NEEDLES {
        if let Some(found) = decode_containing(ty, rows, chunk, &Finder::new(needle)).unwrap() {
            let expected: Vec<bool> = texts.iter().map(|text| text.is_some_and(|text| text.contains(needle))).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{needle:?} in {what}");
        }
    }
    let names = ["x".to_string(), "s".to_string()];
    if let Some(read) = decode_fields(ty, rows, chunk, None, &names).unwrap() {
        for (read, text) in read.as_string_view().iter().zip(texts) {
            let object = |text: Option<&str>| match serde_json::from_str(text?).ok()? {
                serde_json::Value::Object(fields) => Some(names.clone().map(|name| fields.get(&name).cloned())),
                _ => None,
            };
            assert_eq!(object(read), object(text), "{what}");
            assert!(read == text || object(text).is_some(), "{what}");
        }
    }
}

fn check(array: &ArrayRef, effort: Effort, what: &str) -> Encoding {
    check_encoder(array, Encoder::with_dictionary(effort), what)
}

fn check_encoder(array: &ArrayRef, mut encoder: Encoder, what: &str) -> Encoding {
    let mut first = Vec::new();
    // A chunk of other rows before: dictionaries and memories are shared.
    encoder.encode(&array.slice(array.len() / 3, array.len() / 2), &mut first).unwrap();
    let mut chunk = Vec::new();
    let encoding = encoder.encode(array, &mut chunk).unwrap();
    let dictionary = encoder.dictionary(array.data_type()).unwrap();
    let chunk = Buffer::from(chunk);
    let read = |selection: Option<&[u32]>| {
        decode(array.data_type(), array.len(), &chunk, dictionary.as_ref(), selection).unwrap()
    };
    assert_same(&read(None), array, what);
    check_otherwise(array, &chunk, dictionary.as_ref(), what);
    let selections: [Vec<u32>; 4] = [
        vec![],
        (0..array.len() as u32).collect(),
        (0..array.len() as u32).step_by(3).collect(),
        (0..array.len() as u32).skip(array.len() / 2).take(5).collect(),
    ];
    for selection in selections {
        let expected = take(array, &UInt32Array::from(selection.clone()), None).unwrap();
        assert_same(&read(Some(&selection)), &expected, what);
    }
    encoding
}

#[test]
fn every_type_shape_and_null_pattern_comes_back() {
    let mut seen = BTreeSet::new();
    for rows in [0, 1, 9, 100, 2500] {
        for (shape, values) in shapes(rows) {
            // Large chunks take their time; there is nothing that only they and rare patterns show together.
            for pattern in 0..if rows > 1000 { 2 } else { 5 } {
                for array in arrays(&values, nulls(rows, pattern)) {
                    for effort in [Effort::Log, if pattern == 0 { Effort::Fast } else { Effort::Dense }] {
                        let what = format!("{} {shape} of {rows}, NULLs {pattern}, {effort:?}", array.data_type());
                        seen.insert(check(&array, effort, &what));
                    }
                }
            }
        }
    }
    for encoding in (0..).map_while(|code| Encoding::from_code(code).ok()) {
        // Codecs ask for Gorilla; data never does.
        let chosen = seen.contains(&encoding) || matches!(encoding, Encoding::Dictionary | Encoding::Gorilla);
        assert!(chosen, "{encoding} was never chosen");
    }
}

#[test]
fn codecs_are_obeyed_and_lose_nothing() {
    // What whole seconds are as integers and as floats.
    let transforms = [
        (Transform::Plain, Encoding::Plain, Encoding::Plain),
        (Transform::Delta(1), Encoding::Delta, Encoding::Alp),
        (Transform::Delta(3), Encoding::Delta, Encoding::Alp),
        (Transform::Packed, Encoding::Packed, Encoding::Alp),
        (Transform::Scaled, Encoding::Scaled, Encoding::Alp),
        (Transform::Gorilla, Encoding::Scaled, Encoding::Gorilla),
        (Transform::Alp, Encoding::Scaled, Encoding::Alp),
    ];
    for (transform, integers, floats) in transforms {
        for compression in [Compression::Auto, Compression::Off, Compression::Lz4, Compression::Zstd(3)] {
            let codec = Codec { transform, compression };
            for (shape, values) in shapes(300) {
                for array in arrays(&values, nulls(300, 1)) {
                    let what = format!("{} {shape} by {codec:?}", array.data_type());
                    check_encoder(&array, Encoder::with_dictionary(Effort::Fast).with_codec(codec), &what);
                }
            }
            let seconds = shapes(300).into_iter().find(|(shape, _)| *shape == "seconds").unwrap().1;
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(seconds.iter().map(|&v| v as i64)));
            let reals: ArrayRef = Arc::new(Float64Array::from_iter_values(seconds.iter().map(|&v| v as f64 / 1e6)));
            for (array, expected) in [(numbers, integers), (reals, floats)] {
                let encoder = Encoder::new(Effort::Fast).with_codec(codec);
                assert_eq!(check_encoder(&array, encoder, "seconds"), expected, "{codec:?}");
            }
        }
    }
}

#[test]
fn chunks_have_their_own_dictionary_when_the_part_has_none() {
    for array in arrays(&shapes(2500)[3].1, None) {
        let mut chunk = Vec::new();
        let encoding = Encoder::new(Effort::Fast).encode(&array, &mut chunk).unwrap();
        let read = decode(array.data_type(), array.len(), &chunk.clone().into(), None, None).unwrap();
        assert_same(&read, &array, "few");
        if matches!(array.data_type(), DataType::Utf8View | DataType::FixedSizeBinary(16)) {
            assert_eq!(encoding, Encoding::Dictionary, "{}", array.data_type());
        }
    }
}

#[test]
fn fields_of_documents_are_read_alone() {
    let rows = 3000;
    let of = |document: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter((0..rows).map(|i| (i % 7 > 0).then(|| document(i)))))
    };
    let fields = |array: &ArrayRef, selection: Option<&[u32]>| {
        let mut chunk = Vec::new();
        assert_eq!(Encoder::new(Effort::Fast).encode(array, &mut chunk).unwrap(), Encoding::Json);
        decode_fields(array.data_type(), rows, &chunk.into(), selection, &["n".into(), "t".into()]).unwrap()
    };
    // What makes documents worth cutting.
    let more = |i: usize| {
        let random = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let field = |at: u32| format!("\"field {at}\": {}", (random >> (7 * at)) % 128);
        (0..8).map(field).collect::<Vec<_>>().join(", ")
    };
    let sound = of(&|i| match i % 3 {
        0 => format!(" {{{}, \"n\": {i}, \"m\": {{\"n\": [{i}]}}, \"t\": \"\\\"{i}\"}}", more(i)),
        1 => format!("{{ \"m\" :\"{i}\",{}, \"n\": {i}.25 }}", more(i)),
        _ => format!("[{{{}}}]", more(i)),
    });
    let expected = of(&|i| match i % 3 {
        0 => format!("{{\"n\": {i},\"t\": \"\\\"{i}\"}}"),
        1 => format!("{{\"n\": {i}.25 }}"),
        _ => format!("[{{{}}}]", more(i)),
    });
    assert_same(&fields(&sound, None).unwrap(), &expected, "all rows");
    let some = [2, 3, 8, 2999];
    let expected = take(&expected, &UInt32Array::from(some.to_vec()), None).unwrap();
    assert_same(&fields(&sound, Some(&some)).unwrap(), &expected, "some rows");
    // One that a reader may refuse, and all are read whole.
    for odd in ["\\u0000", "\\x", "\t"] {
        let unsound = of(&|i| format!("{{{}, \"t\": \"{}\"}}", more(i), if i == 2000 { odd } else { "sound" }));
        assert!(fields(&unsound, None).is_none(), "{odd}");
    }
    for odd in ["1e999999", "\"sound\"1.5", "\"sound\" 1.5", "1.5\"sound\""] {
        let unsound = of(&|i| format!("{{{}, \"t\": {}}}", more(i), if i == 2000 { odd } else { "17.5" }));
        assert!(fields(&unsound, None).is_none(), "{odd}");
    }
}

#[test]
fn damaged_chunks_are_errors_or_other_values_but_never_panics() {
    for (_, values) in shapes(70) {
        for array in arrays(&values, nulls(70, 1)) {
            for effort in [Effort::Log, Effort::Fast] {
                let mut encoder = Encoder::with_dictionary(effort);
                let mut chunk = Vec::new();
                encoder.encode(&array, &mut chunk).unwrap();
                let dictionary = encoder.dictionary(array.data_type()).unwrap();
                let read = |bytes: &[u8]| {
                    let bytes = Buffer::from(bytes.to_vec());
                    read_otherwise(array.data_type(), 70, &bytes, dictionary.as_ref(), None);
                    if let Ok(read) = decode(array.data_type(), 70, &bytes, dictionary.as_ref(), None) {
                        read.to_data().validate_full().unwrap();
                    }
                };
                for at in 0..chunk.len().min(200) {
                    read(&chunk[..at]);
                    for value in [0, 1, 0x7f, 0x80, 0xff, chunk[at] ^ 4] {
                        let mut bytes = chunk.clone();
                        bytes[at] = value;
                        read(&bytes);
                    }
                }
            }
        }
    }
}

/// Larger chunks, for the encodings that small ones do not get: each byte of their beginning is damaged once, and some of the others.
#[test]
fn damaged_large_chunks_are_errors_or_other_values_but_never_panics() {
    let mut seen = BTreeSet::new();
    for (_, values) in shapes(600) {
        for array in arrays(&values, nulls(600, 1)) {
            let mut encoder = Encoder::with_dictionary(Effort::Fast);
            let mut chunk = Vec::new();
            if !seen.insert((encoder.encode(&array, &mut chunk).unwrap(), array.data_type().clone())) {
                continue;
            }
            let dictionary = encoder.dictionary(array.data_type()).unwrap();
            for at in (0..chunk.len()).filter(|at| *at < 120 || at % 61 == 0) {
                for value in [0, 0x7f, 0xff, chunk[at] ^ 1, chunk[at] ^ 0x40] {
                    let mut bytes = chunk.clone();
                    bytes[at] = value;
                    for selection in [None, Some(&[3, 77, 599][..])] {
                        let bytes = Buffer::from(bytes.clone());
                        read_otherwise(array.data_type(), 600, &bytes, dictionary.as_ref(), selection);
                        if let Ok(read) = decode(array.data_type(), 600, &bytes, dictionary.as_ref(), selection) {
                            read.to_data().validate_full().unwrap();
                        }
                    }
                }
            }
        }
    }
    assert!(seen.iter().any(|(encoding, _)| *encoding == Encoding::Fsst));
    assert!(seen.iter().any(|(encoding, _)| *encoding == Encoding::Split));
}

proptest! {
    #[test]
    fn random_integers_come_back(
        values in prop::collection::vec(prop::option::of(any::<i64>()), 1..300),
        shift in 0u32..64,
    ) {
        let array: ArrayRef = Arc::new(Int64Array::from_iter(values.into_iter().map(|v| v.map(|v| v >> shift))));
        for effort in [Effort::Log, Effort::Fast] {
            check(&array, effort, "integers");
        }
    }

    #[test]
    fn random_text_comes_back(values in prop::collection::vec(prop::option::of("\\PC{0,30}"), 1..200)) {
        let array: ArrayRef = Arc::new(StringViewArray::from_iter(values));
        for effort in [Effort::Log, Effort::Dense] {
            check(&array, effort, "text");
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), rows in 0usize..100) {
        for array in arrays(&[1], None) {
            let bytes = Buffer::from(bytes.clone());
            let _ = decode(array.data_type(), rows, &bytes, None, None);
            read_otherwise(array.data_type(), rows, &bytes, None, None);
        }
    }
}
