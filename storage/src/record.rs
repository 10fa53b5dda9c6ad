//! Records: the operations of one commit as bytes (FORMAT.md, "Record").
//!
//! Rows are written as chunks without a schema: the table's definition, which the reader has by then, gives the types. So an
//! operation is decoded only after those before it have been applied ([`replay`]).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use roaring::RoaringBitmap;

use crate::bytes::{Reader, Write};
use crate::def::{Change, PartId, TableId};
use crate::encoding::{self, Effort, Encoder};
use crate::error::{Damage, Decoded, Error, Result, damaged};
use crate::moved::{Late, PartRows};
use crate::part::{NewPart, Part, PartDir, PartName};
use crate::rows::Marked;
use crate::schema::{read_def, write_def};
use crate::state::{Effects, Op, State};

const CREATE_TABLE: u8 = 1;
const DROP_TABLE: u8 = 2;
const ALTER_TABLE: u8 = 3;
const APPEND: u8 = 4;
const ADD_PARTS: u8 = 5;
const DROP_PARTS: u8 = 6;
const TRUNCATE: u8 = 7;
const SET: u8 = 8;
const SEAL: u8 = 9;
const FLUSH: u8 = 10;
const REPLACE: u8 = 11;
const CHECKPOINT: u8 = 12;
const SEALED_AT: u8 = 13;
const END: u8 = 14;
const DELETE: u8 = 15;
const DROP_PARTITIONS: u8 = 20;
const MOVE_PARTITION: u8 = 21;

/// Only the committer can write it.
const UNRESOLVED: &str = "an operation that was not applied yet";

/// A record being made. Some operations can be written only when they are applied; all others are before, in the thread
/// that commits.
#[derive(Debug, Default)]
pub(crate) struct Record {
    bytes: Vec<u8>,
    /// Where each operation ends in `bytes`.
    ends: Vec<usize>,
    /// About what those will take that are still to be written.
    missing: usize,
}

impl Record {
    /// The operations as a record.
    pub(crate) fn new(ops: &[Op]) -> Result<Record> {
        let mut record = Record::default();
        record.bytes.put_varint(ops.len() as u64);
        for op in ops {
            record.put(op)?;
        }
        Ok(record)
    }

    fn put(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Change(Change::Delete { rows, .. }) => self.missing += rows.record_bytes(),
            Op::Change(Change::Tally { key, numbers, .. }) => self.missing += key.len() + 24 * numbers.len(),
            Op::Flush { late: Late::Moved(_) | Late::Refused { .. }, .. }
            | Op::Replace { late: Late::Moved(_) | Late::Refused { .. }, .. } => {}
            op => encode_op(op, &mut self.bytes).map_err(|damage| Error::Invalid(damage.0))?,
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Writes operations, by their numbers, ascending, as they were applied.
    pub(crate) fn resolve(&mut self, resolved: &[(usize, Op)]) -> Result<()> {
        if resolved.is_empty() {
            return Ok(());
        }
        let old = std::mem::take(self);
        let mut from = 0;
        let mut resolved = resolved.iter().peekable();
        for (at, &end) in old.ends.iter().enumerate() {
            match resolved.next_if(|(number, _)| *number == at) {
                Some((_, op)) => {
                    if at == 0 {
                        self.bytes.put_varint(old.ends.len() as u64);
                    }
                    self.put(op)?;
                }
                None => {
                    self.bytes.extend_from_slice(&old.bytes[from..end]);
                    self.ends.push(self.bytes.len());
                }
            }
            from = end;
        }
        Ok(())
    }

    /// About its length in the end.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.missing
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

fn encode_op(op: &Op, out: &mut Vec<u8>) -> Decoded<()> {
    let mut head = |tag: u8, table: &TableId| {
        out.put_u8(tag);
        out.put_varint(table.0.into());
    };
    match op {
        Op::Change(Change::CreateTable { id, def }) => {
            head(CREATE_TABLE, id);
            write_def(def, out)?;
        }
        Op::Change(Change::DropTable { id }) => head(DROP_TABLE, id),
        Op::Change(Change::AlterTable { id, def }) => {
            head(ALTER_TABLE, id);
            write_def(def, out)?;
        }
        Op::Change(Change::Append { table, partition, rows }) => {
            head(APPEND, table);
            out.put_bytes(partition.as_bytes());
            out.put_varint(rows.num_rows() as u64);
            out.put_varint(rows.num_columns() as u64);
            for column in rows.columns() {
                Encoder::new(Effort::Log).encode_nested(column, out)?;
            }
        }
        Op::Change(Change::AddParts { table, parts }) => {
            head(ADD_PARTS, table);
            put_parts(parts, out);
        }
        Op::Change(Change::DropParts { table, parts }) => {
            head(DROP_PARTS, table);
            put_ids(parts, out);
        }
        // They are written when they have been applied, as `Op::Delete` and `Change::Set`.
        Op::Change(Change::Delete { .. } | Change::Tally { .. }) => return damaged(UNRESOLVED),
        Op::Delete { table, rows } => {
            head(DELETE, table);
            put_part_rows(&rows.parts, out)?;
            out.put_varint(rows.head.len() as u64);
            for (partition, rows) in &rows.head {
                out.put_bytes(partition.as_bytes());
                put_rows(rows, out)?;
            }
        }
        Op::Change(Change::Truncate { table }) => head(TRUNCATE, table),
        Op::Change(Change::Set { key, value }) => {
            out.put_u8(SET);
            out.put_bytes(key.as_bytes());
            out.put_u8(u8::from(value.is_some()));
            if let Some(value) = value {
                out.put_bytes(value);
            }
        }
        Op::Change(Change::DropPartitions { table, partitions }) => {
            head(DROP_PARTITIONS, table);
            out.put_varint(partitions.len() as u64);
            partitions.iter().for_each(|partition| out.put_bytes(partition.as_bytes()));
        }
        Op::Change(Change::MovePartition { from, to, partition }) => {
            head(MOVE_PARTITION, from);
            out.put_varint(to.0.into());
            out.put_bytes(partition.as_bytes());
        }
        Op::Seal { table } => head(SEAL, table),
        Op::Flush { table, sealed_at, parts, late } => {
            head(FLUSH, table);
            out.put_varint(*sealed_at);
            put_parts(parts, out);
            put_late(late, out)?;
        }
        Op::Replace { table, old, new, late } => {
            head(REPLACE, table);
            put_ids(old, out);
            put_parts(new, out);
            put_late(late, out)?;
        }
        Op::Checkpoint { version, next_part } => {
            out.put_u8(CHECKPOINT);
            out.put_varint(*version);
            out.put_varint(*next_part);
        }
        Op::SealedAt { table, version } => {
            head(SEALED_AT, table);
            out.put_varint(*version);
        }
        Op::End { catalog_version } => {
            out.put_u8(END);
            out.put_varint(*catalog_version);
        }
    }
    Ok(())
}

fn put_ids(ids: &[PartId], out: &mut Vec<u8>) {
    out.put_varint(ids.len() as u64);
    ids.iter().for_each(|id| out.put_varint(id.0));
}

fn put_rows(rows: &RoaringBitmap, out: &mut Vec<u8>) -> Decoded<()> {
    out.put_varint(rows.serialized_size() as u64);
    rows.serialize_into(out).or_else(|error| damaged(error.to_string()))
}

fn rows_of(reader: &mut Reader<'_>) -> Decoded<RoaringBitmap> {
    let bytes = reader.bytes()?;
    let rows = RoaringBitmap::deserialize_from(bytes).or_else(|error| damaged(format!("a bitmap: {error}")))?;
    match rows.serialized_size() == bytes.len() {
        true => Ok(rows),
        false => damaged("a bitmap of another length"),
    }
}

fn put_part_rows(rows: &PartRows, out: &mut Vec<u8>) -> Decoded<()> {
    out.put_varint(rows.len() as u64);
    for (part, rows) in rows {
        out.put_varint(part.0);
        put_rows(rows, out)?;
    }
    Ok(())
}

fn part_rows(reader: &mut Reader<'_>) -> Decoded<PartRows> {
    let count = reader.count()?;
    (0..count).map(|_| Ok((PartId(reader.varint()?), rows_of(reader)?))).collect()
}

fn put_late(late: &Late, out: &mut Vec<u8>) -> Decoded<()> {
    match late {
        Late::Marks(rows) => put_part_rows(rows, out),
        Late::Moved(_) | Late::Refused { .. } => damaged(UNRESOLVED),
    }
}

fn marked(reader: &mut Reader<'_>) -> Decoded<Marked> {
    let parts = part_rows(reader)?;
    let count = reader.count()?;
    let head = (0..count).map(|_| Ok((reader.str()?.into(), rows_of(reader)?))).collect::<Decoded<_>>()?;
    Ok(Marked { parts, head })
}

fn put_parts(parts: &[NewPart], out: &mut Vec<u8>) {
    out.put_varint(parts.len() as u64);
    for part in parts {
        out.put_varint(part.name.id.0);
        out.put_bytes(part.name.partition.as_bytes());
        out.put_varint(part.name.rows);
        out.put_varint(part.name.bytes);
        out.put_u64(part.name.footer_hash);
    }
}

/// What reading the log builds up.
pub(crate) struct Replay {
    pub(crate) state: State,
    /// Every part id below this has been used.
    pub(crate) next_part: u64,
    /// The last record of a checkpoint was seen.
    pub(crate) ended: bool,
    dir: PartDir,
}

impl Replay {
    pub(crate) fn new(dir: PartDir) -> Replay {
        Replay { state: State::default(), next_part: 1, ended: false, dir }
    }

    /// Decodes a record and applies it as `version`.
    pub(crate) fn record(&mut self, record: &[u8], version: u64) -> Decoded<()> {
        let mut reader = Reader::new(record);
        let count = reader.count()?;
        for _ in 0..count {
            let op = self.decode(&mut reader)?;
            match op {
                Op::Checkpoint { next_part, .. } => self.next_part = self.next_part.max(next_part),
                Op::End { .. } => self.ended = true,
                _ => {}
            }
            // Parts that go are garbage, but it is for the sweep after the replay to remove them.
            let applied = self.state.apply(&op, version, &mut Effects::default());
            applied.map_err(|error| Damage(format!("a record does not apply: {error}")))?;
        }
        self.state.version = version;
        reader.end()
    }

    fn decode(&mut self, reader: &mut Reader<'_>) -> Decoded<Op> {
        let tag = reader.u8()?;
        let table = match tag {
            SET | CHECKPOINT | END => TableId(0),
            _ => TableId(reader.varint_u32()?),
        };
        Ok(match tag {
            CREATE_TABLE => Change::CreateTable { id: table, def: read_def(reader)? }.into(),
            DROP_TABLE => Change::DropTable { id: table }.into(),
            ALTER_TABLE => Change::AlterTable { id: table, def: read_def(reader)? }.into(),
            APPEND => {
                let partition = reader.str()?.to_string();
                Change::Append { table, partition, rows: self.rows(table, reader)? }.into()
            }
            ADD_PARTS => Change::AddParts { table, parts: self.parts(reader)? }.into(),
            DROP_PARTS => Change::DropParts { table, parts: ids(reader)? }.into(),
            TRUNCATE => Change::Truncate { table }.into(),
            SET => {
                let key = reader.str()?.to_string();
                let value = if reader.bool()? { Some(reader.bytes()?.to_vec()) } else { None };
                Change::Set { key, value }.into()
            }
            DROP_PARTITIONS => {
                let count = reader.count()?;
                let partitions = (0..count).map(|_| Ok(reader.str()?.to_string())).collect::<Decoded<_>>()?;
                Change::DropPartitions { table, partitions }.into()
            }
            MOVE_PARTITION => {
                let to = TableId(reader.varint_u32()?);
                Change::MovePartition { from: table, to, partition: reader.str()?.to_string() }.into()
            }
            SEAL => Op::Seal { table },
            FLUSH => {
                let (sealed_at, parts) = (reader.varint()?, self.parts(reader)?);
                Op::Flush { table, sealed_at, parts, late: Late::Marks(part_rows(reader)?) }
            }
            REPLACE => {
                let (old, new) = (ids(reader)?, self.parts(reader)?);
                Op::Replace { table, old, new, late: Late::Marks(part_rows(reader)?) }
            }
            DELETE => Op::Delete { table, rows: marked(reader)? },
            CHECKPOINT => Op::Checkpoint { version: reader.varint()?, next_part: reader.varint()? },
            SEALED_AT => Op::SealedAt { table, version: reader.varint()? },
            END => Op::End { catalog_version: reader.varint()? },
            other => return damaged(format!("there is no change {other}")),
        })
    }

    fn rows(&self, table: TableId, reader: &mut Reader<'_>) -> Decoded<RecordBatch> {
        let Some(table) = self.state.tables.get(&table) else { return damaged(format!("rows of no table ({table})")) };
        let (rows, columns) = (reader.varint()? as usize, reader.count()?);
        let schema = &table.def().schema;
        if columns != schema.fields().len() {
            return damaged(format!("{columns} columns instead of {}", schema.fields().len()));
        }
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| {
                // A copy, so that rows do not hold the whole log in memory.
                let chunk = Buffer::from(reader.bytes()?.to_vec());
                encoding::decode(field.data_type(), rows, &chunk, None, None)
            })
            .collect::<Decoded<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }

    fn parts(&mut self, reader: &mut Reader<'_>) -> Decoded<Vec<NewPart>> {
        let count = reader.count()?;
        (0..count)
            .map(|_| {
                let name = PartName {
                    id: PartId(reader.varint()?),
                    partition: reader.str()?.into(),
                    rows: reader.varint()?,
                    bytes: reader.varint()?,
                    footer_hash: reader.u64()?,
                };
                self.next_part = self.next_part.max(name.id.0.saturating_add(1));
                Ok(NewPart(Arc::new(Part::new(&self.dir, name, false))))
            })
            .collect()
    }
}

fn ids(reader: &mut Reader<'_>) -> Decoded<Vec<PartId>> {
    let count = reader.count()?;
    (0..count).map(|_| Ok(PartId(reader.varint()?))).collect()
}
