//! A part file's footer, sections and column indexes as bytes (FORMAT.md, "Part file").

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array, UInt32Array, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef, UInt8Type, UInt32Type, UInt64Type};

use crate::bytes::{Reader, Write};
use crate::checksum;
use crate::encoding::{self, Effort, Encoder};
use crate::error::{Decoded, damaged};
use crate::index::IndexKind;
use crate::schema::{DEPTH_MAX, read_ids, read_schema, read_type, write_ids, write_schema, write_type};

/// Bytes at the beginning of a part file.
pub(crate) const HEADER: &[u8; 16] = b"WEIRPART\x01\0\0\0\0\0\0\0";
/// Bytes of the tail.
pub(crate) const TAIL: usize = 32;
const TAIL_END: &[u8; 16] = b"\x01\0\0\0\0\0\0\0PARTWEIR";
/// A granule has at most this many rows.
const GRANULE_ROWS_MAX: u64 = 1 << 20;

/// A range of the file, and the checksum of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) hash: u64,
}

impl Section {
    fn write(self, out: &mut Vec<u8>) {
        out.put_varint(self.offset);
        out.put_varint(self.length);
        out.put_u64(self.hash);
    }

    fn read(reader: &mut Reader<'_>) -> Decoded<Section> {
        Ok(Section { offset: reader.varint()?, length: reader.varint()?, hash: reader.u64()? })
    }
}

/// One column, as the footer has it.
#[derive(Debug, Clone)]
pub(crate) struct ColumnFooter {
    pub(crate) index: Section,
    /// Section and entries of the dictionary.
    pub(crate) dictionary: Option<(Section, u64)>,
    pub(crate) raw_bytes: u64,
}

/// One key of an index, as the footer has it.
#[derive(Debug, Clone)]
pub(crate) struct PartIndex {
    /// The index's id, and which of its keys.
    pub(crate) id: u32,
    pub(crate) key: u32,
    pub(crate) kind: IndexKind,
    /// Granules of a block.
    pub(crate) granularity: u32,
    /// The type of its values.
    pub(crate) ty: DataType,
    /// Each segment's number of granules, and where it is.
    pub(crate) segments: Vec<(u32, Section)>,
}

impl PartIndex {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_varint(self.id.into());
        out.put_varint(self.key.into());
        self.kind.write(out);
        out.put_varint(self.granularity.into());
        write_type(&self.ty, out);
        out.put_varint(self.segments.len() as u64);
        for (granules, section) in &self.segments {
            out.put_varint((*granules).into());
            section.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>, granules: usize) -> Decoded<PartIndex> {
        let (id, key) = (reader.varint_u32()?, reader.varint_u32()?);
        let kind = IndexKind::read(reader)?;
        let granularity = reader.varint_u32()?;
        let ty = read_type(reader, DEPTH_MAX)?;
        let count = reader.count()?;
        let segments: Vec<(u32, Section)> =
            (0..count).map(|_| Ok((reader.varint_u32()?, Section::read(reader)?))).collect::<Decoded<_>>()?;
        let covered: u64 = segments.iter().map(|(granules, _)| u64::from(*granules)).sum();
        if granularity == 0 || covered != granules as u64 {
            return damaged(format!("index {id} is over {covered} of {granules} granules"));
        }
        Ok(PartIndex { id, key, kind, granularity, ty, segments })
    }
}

/// The hash index, as the footer has it.
#[derive(Debug, Clone)]
pub(crate) struct PartHashes {
    /// The columns of the unique key.
    pub(crate) key: Vec<usize>,
    /// Where the first block is.
    pub(crate) offset: u64,
    pub(crate) directory: Section,
}

/// A part's footer.
#[derive(Debug, Clone)]
pub(crate) struct Footer {
    pub(crate) partition: Arc<str>,
    pub(crate) schema: SchemaRef,
    /// The columns' ids.
    pub(crate) ids: Vec<u32>,
    pub(crate) sort_key: Vec<usize>,
    pub(crate) rows: u64,
    pub(crate) granules: Vec<u32>,
    pub(crate) columns: Vec<ColumnFooter>,
    pub(crate) key: Section,
    pub(crate) indexes: Vec<PartIndex>,
    /// There when the table has a unique key.
    pub(crate) hashes: Option<PartHashes>,
}

impl Footer {
    /// Appends footer and tail; gives the footer's checksum.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> u64 {
        let start = out.len();
        out.put_bytes(self.partition.as_bytes());
        write_schema(&self.schema, out);
        write_ids(&self.ids, out);
        out.put_list(&self.sort_key);
        out.put_varint(self.rows);
        out.put_varint(self.granules.len() as u64);
        self.granules.iter().for_each(|&rows| out.put_varint(rows.into()));
        for column in &self.columns {
            column.index.write(out);
            out.put_u8(u8::from(column.dictionary.is_some()));
            if let Some((section, entries)) = column.dictionary {
                section.write(out);
                out.put_varint(entries);
            }
            out.put_varint(column.raw_bytes);
        }
        self.key.write(out);
        out.put_varint(self.indexes.len() as u64);
        self.indexes.iter().for_each(|index| index.write(out));
        out.put_u8(u8::from(self.hashes.is_some()));
        if let Some(hashes) = &self.hashes {
            out.put_list(&hashes.key);
            out.put_varint(hashes.offset);
            hashes.directory.write(out);
        }
        let (length, hash) = ((out.len() - start) as u64, checksum::of(&out[start..]));
        out.put_u64(length);
        out.put_u64(hash);
        out.extend_from_slice(TAIL_END);
        hash
    }

    /// Reads the footer of a whole file; gives its checksum too.
    pub(crate) fn read(file: &[u8]) -> Decoded<(Footer, u64)> {
        if file.len() < HEADER.len() + TAIL || file[..HEADER.len()] != HEADER[..] {
            return damaged("the file does not begin like a part of this format");
        }
        let (body, tail) = file.split_at(file.len() - TAIL);
        let mut reader = Reader::new(tail);
        let (length, hash) = (reader.u64()?, reader.u64()?);
        if tail[16..] != TAIL_END[..] || length > (body.len() - HEADER.len()) as u64 {
            return damaged("the file does not end like a part of this format");
        }
        let footer = &body[body.len() - length as usize..];
        if !checksum::matches(footer, hash) {
            return damaged("the footer's checksum does not match");
        }
        Ok((Footer::parse(&mut Reader::new(footer))?, hash))
    }

    /// The length of a whole file's footer.
    pub(crate) fn length(file: &[u8]) -> u64 {
        let tail = file.len().checked_sub(TAIL).and_then(|at| file.get(at..at + 8));
        tail.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    fn parse(reader: &mut Reader<'_>) -> Decoded<Footer> {
        let partition = reader.str()?.into();
        let schema = read_schema(reader)?;
        let ids = read_ids(reader, schema.fields().len())?;
        let sort_key = reader.list()?;
        if sort_key.iter().any(|&column| column >= schema.fields().len()) {
            return damaged("a sort column that is not there");
        }
        let rows = reader.varint()?;
        let count = reader.count()?;
        let granules: Vec<u32> = (0..count).map(|_| reader.varint_u32()).collect::<Decoded<_>>()?;
        let fits = granules.iter().all(|&rows| (1..=GRANULE_ROWS_MAX).contains(&rows.into()));
        if !fits || granules.iter().map(|&rows| u64::from(rows)).sum::<u64>() != rows {
            return damaged(format!("granules do not make {rows} rows"));
        }
        let columns = (0..schema.fields().len())
            .map(|_| {
                Ok(ColumnFooter {
                    index: Section::read(reader)?,
                    dictionary: if reader.bool()? { Some((Section::read(reader)?, reader.varint()?)) } else { None },
                    raw_bytes: reader.varint()?,
                })
            })
            .collect::<Decoded<_>>()?;
        let key = Section::read(reader)?;
        let count = reader.count()?;
        let indexes = (0..count).map(|_| PartIndex::read(reader, granules.len())).collect::<Decoded<_>>()?;
        let hashes = match reader.bool()? {
            true => {
                let (key, offset) = (reader.list()?, reader.varint()?);
                Some(PartHashes { key, offset, directory: Section::read(reader)? })
            }
            false => None,
        };
        if hashes.iter().flat_map(|hashes| &hashes.key).any(|&column| column >= schema.fields().len()) {
            return damaged("a key column that is not there");
        }
        reader.end()?;
        Ok(Footer { partition, schema, ids, sort_key, rows, granules, columns, key, indexes, hashes })
    }
}

/// Where the chunks of one column are and what is known of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColumnIndex {
    pub(crate) offsets: Vec<u64>,
    pub(crate) lengths: Vec<u32>,
    pub(crate) encodings: Vec<u8>,
    pub(crate) nulls: Vec<u32>,
    pub(crate) hashes: Vec<u64>,
    /// Least and greatest values, one row a granule.
    pub(crate) zones: Option<(ArrayRef, ArrayRef)>,
}

impl ColumnIndex {
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Decoded<()> {
        let mut put = |array: &dyn Array| Encoder::new(Effort::Fast).encode_nested(array, out);
        put(&UInt64Array::from(self.offsets.clone()))?;
        put(&UInt32Array::from(self.lengths.clone()))?;
        put(&UInt8Array::from(self.encodings.clone()))?;
        put(&UInt32Array::from(self.nulls.clone()))?;
        put(&UInt64Array::from(self.hashes.clone()))?;
        out.put_u8(u8::from(self.zones.is_some()));
        if let Some((min, max)) = &self.zones {
            Encoder::new(Effort::Fast).encode_nested(min, out)?;
            Encoder::new(Effort::Fast).encode_nested(max, out)?;
        }
        Ok(())
    }

    pub(crate) fn read(section: &Buffer, ty: &DataType, granules: usize) -> Decoded<ColumnIndex> {
        let mut reader = Reader::new(section);
        let mut array = |ty: &DataType| nested_array(&mut reader, section, ty, granules);
        let plain = |array: ArrayRef| if array.null_count() > 0 { damaged("a NULL in an index") } else { Ok(array) };
        let offsets = plain(array(&DataType::UInt64)?)?.as_primitive::<UInt64Type>().values().to_vec();
        let lengths = plain(array(&DataType::UInt32)?)?.as_primitive::<UInt32Type>().values().to_vec();
        let encodings = plain(array(&DataType::UInt8)?)?.as_primitive::<UInt8Type>().values().to_vec();
        let nulls = plain(array(&DataType::UInt32)?)?.as_primitive::<UInt32Type>().values().to_vec();
        let hashes = plain(array(&DataType::UInt64)?)?.as_primitive::<UInt64Type>().values().to_vec();
        let zones = match reader.bool()? {
            true => {
                let min = nested_array(&mut reader, section, ty, granules)?;
                Some((min, nested_array(&mut reader, section, ty, granules)?))
            }
            false => None,
        };
        Ok(ColumnIndex { offsets, lengths, encodings, nulls, hashes, zones })
    }
}

/// Reads a nested chunk of a section.
pub(crate) fn nested_array(reader: &mut Reader<'_>, section: &Buffer, ty: &DataType, rows: usize) -> Decoded<ArrayRef> {
    let length = reader.bytes()?.len();
    let chunk = section.slice_with_length(reader.position() - length, length);
    encoding::decode(ty, rows, &chunk, None, None)
}
