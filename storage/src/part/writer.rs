//! Writing a part: granules in, one file out.
//!
//! Each column has its own [`ColumnWriter`], which encodes granule after granule into memory; the [`PartWriter`] moves what they
//! hold to the file from time to time and ends it with dictionaries, indexes and footer. [`write_rows`] is the bulk path:
//! it sorts rows that are all in memory and lets threads take column after column; merges push granules one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field};
use parking_lot::Mutex;

use super::format::{ColumnFooter, ColumnIndex, Footer, HEADER, Section};
use super::hashes;
use super::{NewPart, Part, PartDir, PartName};
use crate::checksum;
use crate::codec::Codec;
use crate::def::{PartId, TableDef};
use crate::encoding::{Effort, Encoder, raw_size, row_sizes};
use crate::error::{Damage, Decoded, Error, Result};
use crate::index::{IndexSource, IndexValues, IndexWriter, key_values};
use crate::io::IoFile;
use crate::key::{extremes, is_comparable};
use crate::sort::sort_order;
use crate::unique::{Entry, hash_keys, key_columns};

/// Encoded columns are moved to the file when they hold this much.
const BUFFER_BYTES: usize = 8 << 20;
/// A file is synced after this much: one fsync of gigabytes at its end would hold up the log's.
const SYNC_BYTES: u64 = 16 << 20;
/// A granule of text has at most about this many bytes: far less than a chunk can hold.
const GRANULE_BYTES_MAX: usize = 256 << 20;

/// What a new part is of.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) dir: &'a PartDir,
    pub(crate) id: PartId,
    pub(crate) def: &'a TableDef,
    pub(crate) partition: &'a str,
    pub(crate) effort: Effort,
    /// Computes the expressions of indexes.
    pub(crate) index_values: Option<&'a Arc<dyn IndexValues>>,
}

/// Encodes the granules of one column.
struct ColumnWriter {
    ty: DataType,
    encoder: Encoder,
    index: ColumnIndex,
    raw_bytes: u64,
    /// Chunks that are not in the file yet.
    buffer: Vec<u8>,
    /// The first granule in `buffer`.
    buffered_from: usize,
    /// Values that are the least and greatest of each granule; empty when there are no zones.
    zones: Option<(Vec<ArrayRef>, Vec<ArrayRef>)>,
}

impl ColumnWriter {
    fn new(field: &Field, effort: Effort, codec: Codec) -> ColumnWriter {
        ColumnWriter {
            ty: field.data_type().clone(),
            encoder: Encoder::with_dictionary(effort).with_codec(codec),
            index: ColumnIndex::default(),
            raw_bytes: 0,
            buffer: Vec::new(),
            buffered_from: 0,
            zones: is_comparable(field).then(Default::default),
        }
    }

    fn push(&mut self, array: &ArrayRef) -> Decoded<()> {
        let start = self.buffer.len();
        let encoding = self.encoder.encode(array, &mut self.buffer)?;
        let length = self.buffer.len() - start;
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        let chunk = &self.buffer[start..];
        // Relative to the buffer until it is moved to the file.
        self.index.offsets.push(start as u64);
        self.index.lengths.push(u32::try_from(length).map_err(|_| Damage("a granule is over 4 GiB".into()))?);
        self.index.encodings.push(encoding as u8);
        self.index.nulls.push(array.null_count() as u32);
        self.index.hashes.push(checksum::of(chunk));
        if let Some((mins, maxs)) = &mut self.zones {
            let value = |row: Option<usize>| match row {
                // A copy of the one value: a slice would keep the whole granule in memory.
                Some(row) => take(array, &UInt32Array::from(vec![row as u32]), None),
                None => Ok(new_null_array(&self.ty, 1)),
            };
            let rows = extremes(array);
            mins.push(value(rows.map(|rows| rows.0))?);
            maxs.push(value(rows.map(|rows| rows.1))?);
        }
        Ok(())
    }

    fn zones(&self) -> Decoded<Option<(ArrayRef, ArrayRef)>> {
        let Some((mins, maxs)) = self.zones.as_ref().filter(|(mins, _)| !mins.is_empty()) else { return Ok(None) };
        let joined = |values: &[ArrayRef]| concat(&values.iter().map(|value| &**value).collect::<Vec<_>>());
        Ok(Some((joined(mins)?, joined(maxs)?)))
    }
}

/// Writes one part file. Dropped without [`PartWriter::finish`], it removes what it wrote.
pub(crate) struct PartWriter {
    part: Arc<Part>,
    file: Box<dyn IoFile>,
    offset: u64,
    /// Up to where the file is known to be synced.
    synced: u64,
    footer: Footer,
    columns: Vec<ColumnWriter>,
    /// First values of each granule, by key column.
    keys: Vec<Vec<ArrayRef>>,
    def: TableDef,
    indexes: Vec<IndexWriter>,
    index_values: Option<Arc<dyn IndexValues>>,
    /// Hashes of the unique keys, by row; nothing when there is none.
    hashes: Vec<Entry>,
}

impl PartWriter {
    pub(crate) fn create(target: Target<'_>) -> Result<PartWriter> {
        let partition: Arc<str> = target.partition.into();
        let name = PartName { id: target.id, partition: partition.clone(), rows: 0, bytes: 0, footer_hash: 0 };
        let part = Part::new(target.dir, name, true);
        let mut file = target.dir.io.create(part.path()).map_err(|error| Error::io("create", part.path(), error))?;
        file.append(HEADER).map_err(|error| Error::io("write", part.path(), error))?;
        let sort_key = target.def.order();
        let schema = target.def.schema.clone();
        let codecs = target.def.codecs.iter().copied().chain(std::iter::repeat(Codec::default()));
        let columns = schema.fields().iter().zip(codecs);
        let columns = columns.map(|(field, codec)| ColumnWriter::new(field, target.effort, codec));
        Ok(PartWriter {
            part: Arc::new(part),
            file,
            offset: HEADER.len() as u64,
            synced: 0,
            columns: columns.collect(),
            keys: vec![Vec::new(); sort_key.len()],
            def: target.def.clone(),
            indexes: index_writers(target.def),
            index_values: target.index_values.cloned(),
            hashes: Vec::new(),
            footer: Footer {
                partition,
                schema,
                ids: target.def.ids.clone(),
                sort_key,
                rows: 0,
                granules: Vec::new(),
                columns: Vec::new(),
                key: Section { offset: 0, length: 0, hash: 0 },
                indexes: Vec::new(),
                hashes: None,
            },
        })
    }

    /// Adds a granule, whose rows follow those before in the table's order.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        for (at, &column) in self.footer.sort_key.iter().enumerate() {
            self.keys[at].push(first_value(batch.column(column))?);
        }
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.raw_bytes += raw_size(array) as u64;
            column.push(array).map_err(|damage| Error::invalid(damage.0))?;
        }
        for index in &mut self.indexes {
            let column = |column: usize| Ok(batch.column(column).clone());
            push_values(index, self.index_values.as_deref(), &self.def, batch.num_rows(), &column)?;
        }
        if let Some(key) = &self.def.key {
            let first = self.footer.rows as u32;
            self.hashes.extend(hash_keys(&key_columns(key, batch)).into_iter().zip(first..));
        }
        self.count(batch.num_rows());
        if self.columns.iter().map(|column| column.buffer.len()).sum::<usize>() > BUFFER_BYTES {
            self.drain()?;
        }
        Ok(())
    }

    fn count(&mut self, rows: usize) {
        self.footer.granules.push(rows as u32);
        self.footer.rows += rows as u64;
    }

    /// Moves what columns and indexes hold to the file.
    fn drain(&mut self) -> Result<()> {
        let path = self.part.path();
        let mut append = |bytes: &[u8]| -> Result<u64> {
            let from = self.offset;
            self.file.append(bytes).map_err(|error| Error::io("write", path, error))?;
            self.offset += bytes.len() as u64;
            if self.offset - self.synced >= SYNC_BYTES {
                self.file.sync().map_err(|error| Error::io("sync", path, error))?;
                self.synced = self.offset;
            }
            Ok(from)
        };
        for column in &mut self.columns {
            let from = append(&column.buffer)?;
            column.index.offsets[column.buffered_from..].iter_mut().for_each(|offset| *offset += from);
            column.buffered_from = column.index.offsets.len();
            column.buffer.clear();
        }
        for index in &mut self.indexes {
            let from = append(&index.buffer)?;
            index.moved(from);
        }
        Ok(())
    }

    /// Ends the file and makes it durable. The directory is for the caller to sync.
    pub(crate) fn finish(mut self) -> Result<NewPart> {
        self.indexes.iter_mut().try_for_each(IndexWriter::end).map_err(|damage| Error::invalid(damage.0))?;
        self.drain()?;
        self.footer.indexes = std::mem::take(&mut self.indexes).into_iter().map(IndexWriter::into_index).collect();
        let mut out = Vec::new();
        let mut lines = Vec::new();
        let hashes_at = self.offset;
        for (block, line) in hashes::blocks(std::mem::take(&mut self.hashes)) {
            self.file.append(&block).map_err(|error| Error::io("write", self.part.path(), error))?;
            self.offset += block.len() as u64;
            lines.extend_from_slice(&line);
        }
        let start = self.offset;
        let section = |out: &mut Vec<u8>, from: usize| {
            let length = (out.len() - from) as u64;
            out.resize(out.len().next_multiple_of(8), 0);
            Section { offset: start + from as u64, length, hash: checksum::of(&out[from..]) }
        };
        let mut write = || -> Decoded<()> {
            let mut dictionaries = Vec::new();
            for column in &self.columns {
                let from = out.len();
                dictionaries.push(match column.encoder.dictionary(&column.ty)? {
                    None => None,
                    Some(entries) => {
                        Encoder::new(Effort::Fast).encode(&entries, &mut out)?;
                        Some((section(&mut out, from), entries.len() as u64))
                    }
                });
            }
            for (column, dictionary) in self.columns.iter_mut().zip(dictionaries) {
                let from = out.len();
                column.index.zones = column.zones()?;
                column.index.write(&mut out)?;
                let index = section(&mut out, from);
                self.footer.columns.push(ColumnFooter { index, dictionary, raw_bytes: column.raw_bytes });
            }
            let from = out.len();
            for values in &self.keys {
                let values: Vec<&dyn Array> = values.iter().map(|value| &**value).collect();
                Encoder::new(Effort::Fast).encode_nested(&concat(&values)?, &mut out)?;
            }
            self.footer.key = section(&mut out, from);
            if let Some(key) = &self.def.key {
                let from = out.len();
                out.extend_from_slice(&lines);
                self.footer.hashes = Some(hashes::footer(key, hashes_at, section(&mut out, from)));
            }
            Ok(())
        };
        write().map_err(|damage| Error::invalid(damage.0))?;
        let footer_hash = self.footer.write(&mut out);
        let path = self.part.path();
        self.file.append(&out).map_err(|error| Error::io("write", path, error))?;
        self.file.sync().map_err(|error| Error::io("sync", path, error))?;
        let bytes = self.offset + out.len() as u64;
        // Nobody else has seen the part yet.
        if let Some(part) = Arc::get_mut(&mut self.part) {
            part.name = PartName { rows: self.footer.rows, bytes, footer_hash, ..part.name.clone() };
        }
        Ok(NewPart(self.part))
    }
}

fn index_writers(def: &TableDef) -> Vec<IndexWriter> {
    let of = |index| move |key| IndexWriter::new(index, key);
    def.indexes.iter().flat_map(|index| (0..index.keys.len()).map(of(index))).collect()
}

/// Adds a granule to an index.
fn push_values(
    index: &mut IndexWriter,
    values: Option<&dyn IndexValues>,
    def: &TableDef,
    rows: usize,
    column: &dyn Fn(usize) -> Result<ArrayRef>,
) -> Result<()> {
    let values = match index.key(def) {
        Some(source) => key_values(values, def, source, rows, column)?,
        None => None,
    };
    index.push(values.as_ref(), rows).map_err(|damage| Error::invalid(damage.0))
}

fn first_value(array: &ArrayRef) -> Result<ArrayRef> {
    take(array, &UInt32Array::from(vec![0]), None).map_err(|error| Error::invalid(error.to_string()))
}

/// A part made of rows that were not in order.
pub(crate) struct Written {
    pub(crate) part: NewPart,
    /// For each of its rows the number of the row before; `None` when they were in order.
    pub(crate) order: Option<UInt32Array>,
}

/// Writes rows, in any order, as one part with up to `threads` threads. `None` when there are no rows. Batches have the
/// table's schema. The directory is for the caller to sync.
pub(crate) fn write_rows(
    target: Target<'_>,
    batches: &[RecordBatch],
    granule_rows: usize,
    threads: usize,
) -> Result<Option<Written>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows == 0 {
        return Ok(None);
    }
    if rows > u32::MAX as usize {
        return Err(Error::invalid("over 4294967295 rows in one part"));
    }
    let column = |column: usize| -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| &**batch.column(column)).collect();
        match arrays.len() {
            1 => Ok(batches[0].column(column).clone()),
            _ => concat(&arrays).map_err(|error| Error::invalid(error.to_string())),
        }
    };
    let keys: Vec<ArrayRef> = target.def.order().into_iter().map(column).collect::<Result<_>>()?;
    let order = sort_order(&keys).map_err(|error| Error::invalid(error.to_string()))?.map(UInt32Array::from);
    let sizes: Vec<usize> = (0..target.def.schema.fields().len())
        .map(|column| batches.iter().map(|batch| raw_size(batch.column(column))).sum())
        .collect();
    let granules = granule_bounds(batches, sizes.iter().sum(), order.as_ref(), granule_rows);

    let mut writer = PartWriter::create(target)?;
    for (at, key) in keys.iter().enumerate() {
        let first = |&(from, _): &(usize, usize)| {
            let row = order.as_ref().map_or(from, |order| order.value(from) as usize);
            first_value(&key.slice(row, 1))
        };
        writer.keys[at] = granules.iter().map(first).collect::<Result<_>>()?;
    }
    if let Some(key) = &target.def.key {
        let keys: Vec<ArrayRef> = key.iter().map(|&at| column(at)).collect::<Result<_>>()?;
        let hashes = hash_keys(&keys);
        writer.hashes = match &order {
            Some(order) => order.values().iter().map(|&row| hashes[row as usize]).zip(0..).collect(),
            None => hashes.into_iter().zip(0..).collect(),
        };
    }
    let next = AtomicUsize::new(0);
    let mut columns: Vec<(usize, Mutex<&mut ColumnWriter>)> =
        writer.columns.iter_mut().map(Mutex::new).enumerate().collect();
    // The largest first, so that no thread begins with it when the others are done; but indexes cost more than columns.
    columns.sort_by_key(|&(at, _)| std::cmp::Reverse(sizes[at]));
    let indexes: Vec<Mutex<&mut IndexWriter>> = writer.indexes.iter_mut().map(Mutex::new).collect();
    let slice = |array: &ArrayRef, from: usize, to: usize| match &order {
        None => Ok(array.slice(from, to - from)),
        Some(order) => take(array, &order.slice(from, to - from), None),
    };
    let granule = |array: &ArrayRef, from: usize, to: usize| -> Result<ArrayRef> {
        slice(array, from, to).map_err(|error| Error::invalid(error.to_string()))
    };
    let values = target.index_values.map(|values| &**values);
    let index = |writer: &mut IndexWriter| -> Result<()> {
        // Gathered once for all granules.
        let mut inputs: Vec<Option<ArrayRef>> = vec![None; target.def.schema.fields().len()];
        for at in writer.key(target.def).map(IndexSource::columns).unwrap_or_default() {
            inputs[at] = Some(column(at)?);
        }
        for &(from, to) in &granules {
            let input = |at: usize| match inputs.get(at) {
                Some(Some(array)) => granule(array, from, to),
                _ => Err(Error::invalid(format!("an index reads column {at}"))),
            };
            push_values(writer, values, target.def, to - from, &input)?;
        }
        Ok(())
    };
    let work = || -> Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if let Some(writer) = indexes.get(at) {
                index(&mut writer.lock())?;
                continue;
            }
            let Some((at, writer)) = columns.get(at - indexes.len()) else { return Ok(()) };
            let (array, mut writer) = (column(*at)?, writer.lock());
            writer.raw_bytes = sizes[*at] as u64;
            for &(from, to) in &granules {
                writer.push(&granule(&array, from, to)?).map_err(|damage| Error::invalid(damage.0))?;
            }
        }
    };
    let threads = if rows < 4096 { 1 } else { threads.clamp(1, (columns.len() + indexes.len()).max(1)) };
    std::thread::scope(|scope| -> Result<()> {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let joined = others.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Closed)));
        joined.fold(mine, |result, other| result.and(other))
    })?;
    granules.iter().for_each(|(from, to)| writer.count(to - from));
    let part = writer.finish()?;
    Ok(Some(Written { part, order }))
}

/// Where granules begin and end. They are cut shorter only where values are huge.
fn granule_bounds(
    batches: &[RecordBatch],
    bytes: usize,
    order: Option<&UInt32Array>,
    granule_rows: usize,
) -> Vec<(usize, usize)> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let uniform = |rows_max: usize| (0..rows).step_by(rows_max).map(|from| (from, rows.min(from + rows_max))).collect();
    if bytes <= GRANULE_BYTES_MAX {
        return uniform(granule_rows);
    }
    let sizes: Vec<usize> = batches.iter().flat_map(|batch| row_sizes(batch.columns())).collect();
    if sizes.iter().max().is_none_or(|&size| size.saturating_mul(granule_rows) <= GRANULE_BYTES_MAX) {
        return uniform(granule_rows);
    }
    let mut bounds = Vec::new();
    let (mut from, mut size) = (0, 0);
    for at in 0..rows {
        let row_size = sizes[order.map_or(at, |order| order.value(at) as usize)];
        if at - from == granule_rows || (at > from && size + row_size > GRANULE_BYTES_MAX) {
            bounds.push((from, at));
            (from, size) = (at, 0);
        }
        size += row_size;
    }
    bounds.push((from, rows));
    bounds
}
