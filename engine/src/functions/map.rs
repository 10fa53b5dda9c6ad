//! Functions of maps: ClickHouse's, and DuckDB's names for them.
//!
//! A map is the text of a jsonb object whose keys and values are of the map's types (see [`crate::format::map`]): a key is found by scanning, and
//! a value is read where it is written.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, ListArray, StringViewArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::nullif;
use arrow::datatypes::Int64Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use weir_sql::types::MapType;

use super::declare::function;
use super::json::values;
use super::rows::{batch, bool_rows, is_valid, nulls_of, primitive_rows, text};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, Result};
use crate::format::{FormatSettings, map};
use crate::kernels::cast::{cast, cast_array};
use crate::kernels::json::encode::JsonEncoder;
use crate::kernels::json::{Fields, field, string};
use crate::kernels::numeric::Numeric;

const MAP: &str = "map";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = reading();
    all.extend(making());
    all
}

fn over(params: Vec<Param>, returns: Returns, kernel: Kernel) -> Vec<Overload> {
    vec![Overload::new(params, returns, kernel)]
}

fn reading() -> Vec<ScalarFunction> {
    let one = || vec![Param::AnyMap];
    let with_key = || vec![Param::AnyMap, Param::Any];
    vec![
        function(
            &["map_extract_value"],
            MAP,
            "The value of a key, as `m['k']`: what is not there is NULL in a map of Nullable values, and their type's zero in others.",
            ("map_extract_value(map('a', 1, 'b', 2), 'b')", "2"),
            over(with_key(), Returns::Computed(|args| of(args).map_or(Type::Text, |map| map.value.clone())), get),
        ),
        function(
            &["mapContains", "mapContainsKey", "map_contains"],
            MAP,
            "Whether a map has a key.",
            ("mapContains(map('a', 1), 'b')", "f"),
            over(with_key(), Returns::Exact(Type::Bool), |ctx, a, n, ty| {
                let (maps, keys) = (text(a, 0)?, texts_of(ctx, a, ty)?);
                bool_rows(a, n, ty, |row| Ok(Some(field(maps.at(row), keys.at(row), false).is_some())))
            }),
        ),
        function(
            &["mapKeys", "map_keys"],
            MAP,
            "The keys of a map, shorter ones first.",
            ("mapKeys(map('a', 1, 'b', 2))", "{a,b}"),
            over(one(), Returns::Computed(|args| list(args, |map| &map.key)), |ctx, a, n, ty| {
                parts(ctx, a, n, ty, true)
            }),
        ),
        function(
            &["mapValues", "map_values"],
            MAP,
            "The values of a map, in the order of its keys.",
            ("mapValues(map('a', 1, 'b', 2))", "{1,2}"),
            over(one(), Returns::Computed(|args| list(args, |map| &map.value)), |ctx, a, n, ty| {
                parts(ctx, a, n, ty, false)
            }),
        ),
        function(
            &["map_entries"],
            MAP,
            "The keys and values of a map as records.",
            ("map_entries(map('a', 1))", "{\"(a,1)\"}"),
            over(one(), Returns::Computed(entries_type), entries),
        ),
        function(
            &["length", "cardinality", "len"],
            MAP,
            "The number of keys of a map.",
            ("length(map('a', 1, 'b', 2))", "2"),
            over(one(), Returns::Exact(Type::Int8), |_, a, n, ty| {
                let maps = text(a, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| Ok(Some(Fields::of(maps.at(row)).count() as i64)))
            }),
        ),
        function(
            &["empty"],
            MAP,
            "Whether the map has no keys.",
            ("empty(map('a', 1))", "f"),
            over(one(), Returns::Exact(Type::Bool), |_, a, n, ty| {
                let maps = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(Fields::of(maps.at(row)).next().is_none())))
            }),
        ),
        function(
            &["notEmpty"],
            MAP,
            "Whether the map has any keys.",
            ("notEmpty(map('a', 1))", "t"),
            over(one(), Returns::Exact(Type::Bool), |_, a, n, ty| {
                let maps = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(Fields::of(maps.at(row)).next().is_some())))
            }),
        ),
    ]
}

fn making() -> Vec<ScalarFunction> {
    let maps = |returns, kernel| vec![Overload::new(vec![Param::AnyMap], returns, kernel).variadic()];
    vec![
        function(
            &["mapFromArrays", "map_from_arrays"],
            MAP,
            "The map of an array of keys and one of their values.",
            ("mapFromArrays(ARRAY['a', 'b'], ARRAY[1, 2])", "{\"a\": 1, \"b\": 2}"),
            over(vec![Param::Any, Param::Any], Returns::Computed(from_arrays_type), from_arrays),
        ),
        function(
            &["mapConcat", "map_concat", "mapUpdate"],
            MAP,
            "The keys of all maps; of one that several have, the value of the last.",
            ("mapConcat(map('a', 1, 'b', 2), map('b', 3))", "{\"a\": 1, \"b\": 3}"),
            maps(Returns::Argument(0), |ctx, a, n, ty| {
                let first = ty.result;
                let alike = a.iter().zip(ty.args).map(|(arg, ty)| match ty == first {
                    true => Ok(arg.clone()),
                    false => cast(ctx, arg, ty, first, true, false),
                });
                let alike = alike.collect::<Result<Vec<_>>>()?;
                object_rows(&alike, n, ty, |_, entries, key, value| {
                    entries.push((key, value.to_string()));
                    Ok(())
                })
            }),
        ),
        function(
            &["mapAdd"],
            MAP,
            "For each key of the maps, the sum of its values.",
            ("mapAdd(map('a', 1, 'b', 2), map('b', 3))", "{\"a\": 1, \"b\": 5}"),
            maps(Returns::Computed(sum_type), |_, a, n, ty| sums(a, n, ty, false)),
        ),
        function(
            &["mapSubtract"],
            MAP,
            "For each key of the maps, its value in the first less those in the others.",
            ("mapSubtract(map('a', 1, 'b', 2), map('b', 3))", "{\"a\": 1, \"b\": -1}"),
            maps(Returns::Computed(sum_type), |_, a, n, ty| sums(a, n, ty, true)),
        ),
    ]
}

/// The type of the first argument, which is a map.
fn of(args: &[Type]) -> Option<&MapType> {
    match args.first() {
        Some(Type::Map(map)) => Some(map),
        _ => None,
    }
}

fn map_type<'a>(types: &Types<'a>) -> Result<&'a MapType> {
    of(types.args).ok_or_else(|| Error::internal("an argument that must be a map is none"))
}

fn list(args: &[Type], part: fn(&MapType) -> &Type) -> Type {
    Type::Array(Box::new(of(args).map_or(Type::Text, |map| part(map).clone())))
}

fn entries_type(args: &[Type]) -> Type {
    let (key, value) = of(args).map_or((Type::Text, Type::Text), |map| (map.key.clone(), map.value.clone()));
    Type::Array(Box::new(Type::Record(vec![("key".into(), key), ("value".into(), value)])))
}

fn from_arrays_type(args: &[Type]) -> Type {
    let element = |at: usize| match args.get(at) {
        Some(Type::Array(element)) => (**element).clone(),
        _ => Type::Text,
    };
    Type::Map(Box::new(MapType { key: element(0), value: element(1), nullable: false }))
}

/// Sums are of ClickHouse's widest type of the values' kind.
fn sum_type(args: &[Type]) -> Type {
    let Some(map) = of(args) else { return Type::Text };
    let all = |is: fn(&Type) -> bool| args.iter().all(|ty| matches!(ty, Type::Map(map) if is(&map.value)));
    let value = match () {
        () if all(|ty| matches!(ty, Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64)) => Type::UInt64,
        () if all(|ty| ty.is_integer() && *ty != Type::UInt64) => Type::Int8,
        () if !all(|ty| !matches!(ty, Type::Float4 | Type::Float8)) => Type::Float8,
        () => Type::Numeric(None),
    };
    Type::Map(Box::new(MapType { key: map.key.clone(), value, nullable: false }))
}

/// The second argument's values as the texts of keys.
fn texts_of(context: &Context, args: &[Datum], types: &Types<'_>) -> Result<Keys> {
    let (array, stride) = match &args[1] {
        Datum::Array(array) => (array.clone(), 1),
        Datum::Scalar(value) => (value.array.clone(), 0),
    };
    Ok(Keys { texts: cast_array(context, &array, &types.args[1], &Type::Text, true)?.as_string_view().clone(), stride })
}

struct Keys {
    texts: StringViewArray,
    stride: usize,
}

impl Keys {
    fn at(&self, row: usize) -> &str {
        self.texts.value(row * self.stride)
    }
}

fn get(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let map = map_type(types)?;
    let (maps, keys) = (text(args, 0)?, texts_of(context, args, types)?);
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let find = |row| is_valid(&nulls, row).then(|| field(maps.at(row), keys.at(row), false)).flatten();
        let found: Vec<Option<&str>> = (0..rows).map(find).collect();
        let column = values::column(context, &found, &map.value, map.nullable)?;
        // Of no map there is no value, whatever the type.
        Ok(match nulls {
            Some(nulls) => nullif(&column, &BooleanArray::new(!nulls.inner(), None))?,
            None => column,
        })
    })
}

/// Keys or values of each row, and how many each row has.
fn found<'a>(args: &'a [Datum], rows: usize, mut each: impl FnMut(&'a str, &'a str)) -> Result<OffsetBuffer<i32>> {
    let (maps, nulls) = (text(args, 0)?, nulls_of(args, rows));
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let before = Fields::of(if is_valid(&nulls, row) { maps.at(row) } else { "" });
        lengths.push(before.map(|(key, value)| each(key, value)).count());
    }
    Ok(OffsetBuffer::from_lengths(lengths))
}

fn parts(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, keys: bool) -> Result<Datum> {
    let map = map_type(types)?;
    let part = if keys { &map.key } else { &map.value };
    if matches!(part, Type::Array(_)) {
        return Err(super::rows::invalid_parameter(format!("there are no arrays of {part}")));
    }
    batch(args, rows, types, |rows| {
        let mut texts = Vec::new();
        let offsets = found(args, rows, |key, value| texts.push(Some(if keys { key } else { value })))?;
        let column = values::column(context, &texts, part, map.nullable && !keys)?;
        Ok(Arc::new(ListArray::try_new(part.element_field(), offsets, column, nulls_of(args, rows))?))
    })
}

fn entries(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let map = map_type(types)?;
    batch(args, rows, types, |rows| {
        let (mut keys, mut texts) = (Vec::new(), Vec::new());
        let offsets = found(args, rows, |key, value| {
            keys.push(Some(key));
            texts.push(Some(value));
        })?;
        let columns: Vec<ArrayRef> = vec![
            values::column(context, &keys, &map.key, false)?,
            values::column(context, &texts, &map.value, map.nullable)?,
        ];
        let Type::Array(element) = types.result else { return Err(Error::internal("entries are an array")) };
        let arrow::datatypes::DataType::Struct(fields) = element.to_arrow() else {
            return Err(Error::internal("an entry is a record"));
        };
        let records = StructArray::try_new(fields, columns, None)?;
        Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, Arc::new(records), nulls_of(args, rows))?))
    })
}

fn from_arrays(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (Type::Array(key), Type::Array(value)) = (&types.args[0], &types.args[1]) else {
        return Err(super::rows::invalid_parameter("a map is made of an array of keys and one of values"));
    };
    let (keys, items) = (super::rows::column::<ListArray>(args, 0)?, super::rows::column::<ListArray>(args, 1)?);
    let texts = cast_array(context, keys.values(), key, &Type::Text, true)?;
    let (texts, settings) = (texts.as_string_view(), FormatSettings::of(context));
    let encoder = JsonEncoder::new(value, items.values(), &settings);
    super::rows::text_rows(args, rows, types, |row, out| {
        let (keys, items) = (keys.range(row), items.range(row));
        if keys.len() != items.len() {
            return Err(super::rows::invalid_parameter(
                "the arrays of keys and values of a map must have equal lengths",
            ));
        }
        let mut entries = Vec::with_capacity(keys.len());
        for (at, item) in keys.zip(items) {
            if arrow::array::Array::is_null(texts, at) {
                return Err(super::rows::invalid_parameter("a key of a map cannot be NULL"));
            }
            let mut text = String::new();
            encoder.write_normal(item, &mut text)?;
            entries.push((texts.value(at).to_string(), text));
        }
        out.push_str(&map::write(entries));
        Ok(true)
    })
}

/// A map from what `each` makes of the entries of all arguments, by argument, key and value.
fn object_rows(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    mut each: impl FnMut(usize, &mut Vec<(String, String)>, String, &str) -> Result<()>,
) -> Result<Datum> {
    let maps = (0..args.len()).map(|at| text(args, at)).collect::<Result<Vec<_>>>()?;
    super::rows::text_rows(args, rows, types, |row, out| {
        let mut entries = Vec::new();
        for (at, map) in maps.iter().enumerate() {
            for (key, value) in Fields::of(map.at(row)) {
                each(at, &mut entries, string(key)?.into_owned(), value)?;
            }
        }
        out.push_str(&map::write(entries));
        Ok(true)
    })
}

fn sums(args: &[Datum], rows: usize, types: &Types<'_>, subtract: bool) -> Result<Datum> {
    let map = map_type(types)?;
    let alike = |ty: &Type| matches!(ty, Type::Map(other) if other.key == map.key && other.value.is_number());
    if !types.args.iter().take(args.len()).all(alike) {
        return Err(super::rows::invalid_parameter("only maps of one type of keys, and of numbers, have a sum"));
    }
    let Type::Map(result) = types.result else { return Err(Error::internal("the sum of maps is a map")) };
    let float = result.value == Type::Float8;
    object_rows(args, rows, types, |at, entries, key, value| {
        if value == "null" {
            return Ok(());
        }
        let value: Numeric = value.trim_matches('"').parse()?;
        let value = if subtract && at > 0 { value.neg() } else { value };
        let known = entries.iter_mut().find(|(known, _)| *known == key);
        let sum = match &known {
            Some((_, sum)) if float => Numeric::from_f64(sum.parse::<Numeric>()?.to_f64() + value.to_f64()),
            Some((_, sum)) => sum.parse::<Numeric>()?.add(&value)?,
            None => value,
        };
        let fits = |range: std::ops::RangeInclusive<i128>| sum.to_i128().is_some_and(|sum| range.contains(&sum));
        let inside = match result.value {
            Type::UInt64 => fits(0..=i128::from(u64::MAX)),
            Type::Int8 => fits(i128::from(i64::MIN)..=i128::from(i64::MAX)),
            _ => true,
        };
        if !inside {
            let message = format!("{} out of range", result.value);
            return Err(Error::new(crate::error::ErrorKind::NumericOutOfRange, message));
        }
        match known {
            Some((_, text)) => *text = sum.to_string(),
            None => entries.push((key, sum.to_string())),
        }
        Ok(())
    })
}
