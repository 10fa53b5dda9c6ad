//! Schemas and table definitions as bytes (FORMAT.md, "Record").

use std::collections::HashMap;
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Metadata, Schema, SchemaRef, TimeUnit};

use crate::bytes::{Reader, Write};
use crate::codec::Codec;
use crate::def::{Durability, TableDef, TtlDef};
use crate::encoding::{self, Effort, Encoder};
use crate::error::{Decoded, Error, Result, damaged};
use crate::index::{IndexDef, IndexKey, IndexKind, IndexSource};

/// How deep types may nest: far more than any table needs, and little enough that reading never runs out of stack.
pub(crate) const DEPTH_MAX: usize = 32;

/// Fails for a type that storage cannot keep.
pub(crate) fn check_schema(schema: &Schema) -> Result<()> {
    fn check(ty: &DataType, depth: usize) -> bool {
        match ty {
            DataType::List(item) => depth > 0 && check(item.data_type(), depth - 1),
            DataType::Struct(fields) => depth > 0 && fields.iter().all(|field| check(field.data_type(), depth - 1)),
            DataType::FixedSizeBinary(width) => (1..=1 << 16).contains(width),
            other => code(other).is_some(),
        }
    }
    match schema.fields().iter().find(|field| !check(field.data_type(), DEPTH_MAX)) {
        Some(field) => Err(Error::invalid(format!(
            "column {} has type {}, which cannot be stored",
            field.name(),
            field.data_type()
        ))),
        None => Ok(()),
    }
}

fn code(ty: &DataType) -> Option<u8> {
    Some(match ty {
        DataType::Boolean => 1,
        DataType::Int8 => 2,
        DataType::Int16 => 3,
        DataType::Int32 => 4,
        DataType::Int64 => 5,
        DataType::UInt8 => 6,
        DataType::UInt16 => 7,
        DataType::UInt32 => 8,
        DataType::UInt64 => 9,
        DataType::Float32 => 10,
        DataType::Float64 => 11,
        DataType::Decimal128(..) => 12,
        DataType::Date32 => 13,
        DataType::Time64(TimeUnit::Microsecond) => 14,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 15,
        DataType::Interval(IntervalUnit::MonthDayNano) => 16,
        DataType::Utf8View => 17,
        DataType::BinaryView => 18,
        DataType::FixedSizeBinary(_) => 19,
        DataType::List(_) => 20,
        DataType::Struct(_) => 21,
        _ => return None,
    })
}

pub(crate) fn write_type(ty: &DataType, out: &mut Vec<u8>) {
    // Definitions pass `check_schema` before they get here; 0 is no type and would be found on reading.
    out.put_u8(code(ty).unwrap_or(0));
    match ty {
        DataType::Decimal128(precision, scale) => {
            out.put_u8(*precision);
            out.put_u8(*scale as u8);
        }
        DataType::Timestamp(_, zone) => {
            out.put_u8(u8::from(zone.is_some()));
            if let Some(zone) = zone {
                out.put_bytes(zone.as_bytes());
            }
        }
        DataType::FixedSizeBinary(width) => out.put_varint(*width as u64),
        DataType::List(item) => write_field(item, out),
        DataType::Struct(fields) => write_fields(fields, out),
        _ => {}
    }
}

pub(crate) fn read_type(reader: &mut Reader<'_>, depth: usize) -> Decoded<DataType> {
    Ok(match reader.u8()? {
        1 => DataType::Boolean,
        2 => DataType::Int8,
        3 => DataType::Int16,
        4 => DataType::Int32,
        5 => DataType::Int64,
        6 => DataType::UInt8,
        7 => DataType::UInt16,
        8 => DataType::UInt32,
        9 => DataType::UInt64,
        10 => DataType::Float32,
        11 => DataType::Float64,
        12 => match (reader.u8()?, reader.u8()? as i8) {
            (precision @ 1..=38, scale) => DataType::Decimal128(precision, scale),
            (precision, _) => return damaged(format!("a decimal of {precision} digits")),
        },
        13 => DataType::Date32,
        14 => DataType::Time64(TimeUnit::Microsecond),
        15 => {
            let zone = if reader.bool()? { Some(Arc::from(reader.str()?)) } else { None };
            DataType::Timestamp(TimeUnit::Microsecond, zone)
        }
        16 => DataType::Interval(IntervalUnit::MonthDayNano),
        17 => DataType::Utf8View,
        18 => DataType::BinaryView,
        19 => match reader.varint()? {
            width @ 1..=0x10000 => DataType::FixedSizeBinary(width as i32),
            width => return damaged(format!("a fixed width of {width}")),
        },
        20 | 21 if depth == 0 => return damaged("types nest too deeply"),
        20 => DataType::List(Arc::new(read_field(reader, depth - 1)?)),
        21 => DataType::Struct(read_fields(reader, depth - 1)?),
        other => return damaged(format!("there is no type {other}")),
    })
}

fn write_field(field: &Field, out: &mut Vec<u8>) {
    out.put_bytes(field.name().as_bytes());
    write_type(field.data_type(), out);
    out.put_u8(u8::from(field.is_nullable()));
    write_metadata(field.metadata(), out);
}

fn read_field(reader: &mut Reader<'_>, depth: usize) -> Decoded<Field> {
    let name = reader.str()?;
    let ty = read_type(reader, depth)?;
    let nullable = reader.bool()?;
    Ok(Field::new(name, ty, nullable).with_metadata(read_metadata(reader)?))
}

fn write_fields(fields: &Fields, out: &mut Vec<u8>) {
    out.put_varint(fields.len() as u64);
    fields.iter().for_each(|field| write_field(field, out));
}

fn read_fields(reader: &mut Reader<'_>, depth: usize) -> Decoded<Fields> {
    let count = reader.count()?;
    (0..count).map(|_| read_field(reader, depth)).collect()
}

fn write_metadata(metadata: &Metadata, out: &mut Vec<u8>) {
    let mut entries: Vec<_> = metadata.iter().collect();
    entries.sort();
    out.put_varint(entries.len() as u64);
    for (key, value) in entries {
        out.put_bytes(key.as_bytes());
        out.put_bytes(value.as_bytes());
    }
}

fn read_metadata(reader: &mut Reader<'_>) -> Decoded<HashMap<String, String>> {
    let count = reader.count()?;
    (0..count).map(|_| Ok((reader.str()?.to_string(), reader.str()?.to_string()))).collect()
}

pub(crate) fn write_schema(schema: &Schema, out: &mut Vec<u8>) {
    write_fields(schema.fields(), out);
    write_metadata(schema.metadata(), out);
}

pub(crate) fn read_schema(reader: &mut Reader<'_>) -> Decoded<SchemaRef> {
    let fields = read_fields(reader, DEPTH_MAX)?;
    Ok(Arc::new(Schema::new_with_metadata(fields, read_metadata(reader)?)))
}

/// Ids of columns.
pub(crate) fn write_ids(ids: &[u32], out: &mut Vec<u8>) {
    ids.iter().for_each(|&id| out.put_varint(id.into()));
}

pub(crate) fn read_ids(reader: &mut Reader<'_>, columns: usize) -> Decoded<Vec<u32>> {
    (0..columns).map(|_| reader.varint_u32()).collect()
}

pub(crate) fn write_def(def: &TableDef, out: &mut Vec<u8>) -> Decoded<()> {
    out.put_bytes(def.name.as_bytes());
    write_schema(&def.schema, out);
    write_ids(&def.ids, out);
    for missing in &def.missing {
        out.put_u8(u8::from(missing.is_some()));
        if let Some(value) = missing {
            Encoder::new(Effort::Log).encode_nested(value, out)?;
        }
    }
    out.put_list(&def.sort_key);
    out.put_u8(u8::from(def.durability == Durability::Async));
    out.put_u8(u8::from(def.collapse.is_some()));
    if let Some(collapse) = &def.collapse {
        out.put_list(collapse);
    }
    out.put_varint(def.ttl.len() as u64);
    for ttl in &def.ttl {
        out.put_varint(ttl.column as u64);
        out.put_zigzag(ttl.months.into());
        out.put_zigzag(ttl.days.into());
        out.put_zigzag(ttl.micros);
        out.put_u8(u8::from(ttl.conditional));
    }
    out.put_varint(def.indexes.len() as u64);
    def.indexes.iter().for_each(|index| write_index(index, out));
    out.put_varint(def.codecs.len() as u64);
    def.codecs.iter().for_each(|codec| codec.write(out));
    out.put_u8(u8::from(def.key.is_some()));
    if let Some(key) = &def.key {
        out.put_list(key);
    }
    Ok(())
}

fn write_index(index: &IndexDef, out: &mut Vec<u8>) {
    out.put_varint(index.id.into());
    out.put_bytes(index.name.as_bytes());
    index.kind.write(out);
    out.put_varint(index.granularity.into());
    out.put_varint(index.keys.len() as u64);
    for key in &index.keys {
        match &key.source {
            IndexSource::Column(column) => {
                out.put_u8(0);
                out.put_varint(*column as u64);
            }
            IndexSource::Expression { sql, columns } => {
                out.put_u8(1);
                out.put_bytes(sql.as_bytes());
                out.put_list(columns);
            }
        }
        write_type(&key.ty, out);
    }
    out.put_u8(u8::from(index.everywhere));
}

fn read_index(reader: &mut Reader<'_>) -> Decoded<IndexDef> {
    let id = reader.varint_u32()?;
    let name = reader.str()?.to_string();
    let kind = IndexKind::read(reader)?;
    let granularity = reader.varint_u32()?;
    let count = reader.count()?;
    let keys = (0..count).map(|_| {
        let source = match reader.bool()? {
            false => IndexSource::Column(reader.varint_u32()? as usize),
            true => IndexSource::Expression { sql: reader.str()?.to_string(), columns: reader.list()? },
        };
        Ok(IndexKey { source, ty: read_type(reader, DEPTH_MAX)? })
    });
    let keys = keys.collect::<Decoded<_>>()?;
    Ok(IndexDef { id, name, kind, granularity, keys, everywhere: reader.bool()? })
}

fn read_ttl(reader: &mut Reader<'_>) -> Decoded<TtlDef> {
    Ok(TtlDef {
        column: reader.varint_u32()? as usize,
        months: reader.zigzag()?.try_into().or_else(|_| damaged("a TTL's months"))?,
        days: reader.zigzag()?.try_into().or_else(|_| damaged("a TTL's days"))?,
        micros: reader.zigzag()?,
        conditional: reader.bool()?,
    })
}

pub(crate) fn read_def(reader: &mut Reader<'_>) -> Decoded<TableDef> {
    let name = reader.str()?.to_string();
    let schema = read_schema(reader)?;
    let ids = read_ids(reader, schema.fields().len())?;
    let missing = schema.fields().iter().map(|field| {
        let value = if reader.bool()? { Some(Buffer::from(reader.bytes()?.to_vec())) } else { None };
        value.map(|chunk| encoding::decode(field.data_type(), 1, &chunk, None, None)).transpose()
    });
    let missing = missing.collect::<Decoded<_>>()?;
    let sort_key = reader.list()?;
    let durability = if reader.bool()? { Durability::Async } else { Durability::Fsync };
    let collapse = if reader.bool()? { Some(reader.list()?) } else { None };
    let count = reader.count()?;
    let ttl = (0..count).map(|_| read_ttl(reader)).collect::<Decoded<_>>()?;
    let count = reader.count()?;
    let indexes = (0..count).map(|_| read_index(reader)).collect::<Decoded<_>>()?;
    let count = reader.count()?;
    let codecs = (0..count).map(|_| Codec::read(reader)).collect::<Decoded<_>>()?;
    let key = if reader.bool()? { Some(reader.list()?) } else { None };
    Ok(TableDef { name, schema, ids, missing, sort_key, durability, collapse, ttl, indexes, codecs, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Compression, Transform};
    use crate::index::FilterSize;

    #[test]
    fn a_definition_comes_back() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Decimal128(20, -3), true)));
        let fields = vec![
            Field::new("a", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            Field::new("b", DataType::Struct(vec![Field::new("x", list, true)].into()), true)
                .with_metadata(HashMap::from([("weir.type".into(), "jsonb".into()), ("a".into(), "b".into())])),
            Field::new("c", DataType::FixedSizeBinary(16), true),
        ];
        let filter = FilterSize { bytes: 512, hashes: 2, seed: u64::MAX };
        let index = |kind: IndexKind| IndexDef {
            id: 7,
            name: "i".into(),
            kind,
            granularity: 4,
            keys: vec![
                IndexKey { source: IndexSource::Column(0), ty: DataType::Date32 },
                IndexKey {
                    source: IndexSource::Expression { sql: "lower(x)".into(), columns: vec![2, 1] },
                    ty: DataType::Utf8View,
                },
            ],
            everywhere: true,
        };
        let def = TableDef {
            name: "t".into(),
            schema: Arc::new(Schema::new_with_metadata(fields, HashMap::from([("k".into(), "v".into())]))),
            ids: vec![9, 1, 4],
            missing: vec![None, None, Some(arrow::array::new_null_array(&DataType::FixedSizeBinary(16), 1))],
            sort_key: vec![2, 0],
            durability: Durability::Async,
            collapse: Some(vec![1]),
            ttl: vec![TtlDef { column: 0, months: -1, days: 7, micros: i64::MIN, conditional: true }],
            codecs: vec![Codec::default(), Codec { transform: Transform::Delta(2), compression: Compression::Zstd(9) }],
            indexes: vec![index(IndexKind::Bloom(0.01)), index(IndexKind::Ngrams { n: 3, filter })],
            key: Some(vec![2, 0]),
        };
        let mut out = Vec::new();
        write_def(&def, &mut out).unwrap();
        assert_eq!(read_def(&mut Reader::new(&out)).unwrap(), def);
        for length in 0..out.len() {
            assert!(read_def(&mut Reader::new(&out[..length])).is_err());
        }
    }
}
