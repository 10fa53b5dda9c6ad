//! Checkpoints: the whole state as operations that make it from nothing, so that older logs can go.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::def::{Change, TableId};
use crate::error::{Error, Result};
use crate::frame::{self, Kind};
use crate::io::{Io, IoFile};
use crate::log::checkpoint_path;
use crate::marks::Marks;
use crate::part::NewPart;
use crate::record::Record;
use crate::rows::Marked;
use crate::state::{Op, State, TableState};

/// Frames are cut when their records pass this.
const FRAME_BYTES: usize = 16 << 20;

/// Writes the state with which log `number` begins.
pub(crate) fn write(io: &dyn Io, dir: &Path, number: u32, state: &State, next_part: u64) -> Result<()> {
    let path = checkpoint_path(dir, number);
    let temporary = path.with_extension("checkpoint.tmp");
    let written = write_file(io, &temporary, number, state, next_part)
        .and_then(|()| io.rename(&temporary, &path).map_err(|error| Error::io("rename", &temporary, error)));
    written.inspect_err(|_| drop(io.remove(&temporary)))?;
    let parent = dir.join("log");
    io.sync_dir(&parent).map_err(|error| Error::io("sync", &parent, error))
}

/// A checkpoint file on its way: at most a frame of it is in memory.
struct Writer<'a> {
    path: &'a Path,
    file: Box<dyn IoFile>,
    length: u64,
    version: u64,
    records: Vec<Record>,
    size: usize,
}

impl Writer<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        self.file.append(bytes).map_err(|error| Error::io("write", self.path, error))
    }

    fn push(&mut self, op: Op) -> Result<()> {
        let record = Record::new(&[op])?;
        self.size += record.len();
        self.records.push(record);
        if self.size > FRAME_BYTES { self.cut() } else { Ok(()) }
    }

    fn cut(&mut self) -> Result<()> {
        let records = std::mem::take(&mut self.records);
        self.size = 0;
        let mut frame = Vec::new();
        let records = records.iter().map(Record::as_slice);
        frame::write_frame(&mut frame, self.length, self.length, self.version, records);
        self.append(&frame)
    }
}

/// The same as bytes: of a checkpoint that is to be kept elsewhere.
pub(crate) fn bytes(number: u32, state: &State, next_part: u64) -> Result<Vec<u8>> {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    write_to(Box::new(InMemory(bytes.clone())), Path::new("checkpoint"), number, state, next_part)?;
    Ok(std::mem::take(&mut *bytes.lock()))
}

/// A file that is only bytes.
struct InMemory(Arc<Mutex<Vec<u8>>>);

impl IoFile for InMemory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.lock().truncate(length as usize);
        Ok(())
    }
}

fn write_file(io: &dyn Io, path: &Path, number: u32, state: &State, next_part: u64) -> Result<()> {
    let file = io.create(path).map_err(|error| Error::io("create", path, error))?;
    write_to(file, path, number, state, next_part)
}

fn write_to(file: Box<dyn IoFile>, path: &Path, number: u32, state: &State, next_part: u64) -> Result<()> {
    let mut writer = Writer { path, file, length: 0, version: state.version, records: Vec::new(), size: 0 };
    writer.append(&frame::file_header(Kind::Checkpoint, number))?;
    writer.push(Op::Checkpoint { version: state.version, next_part })?;
    let tables = state.tables.iter().map(|(id, table)| (*id, table));
    let sets = state.keys.iter().map(|(key, value)| Change::Set { key: key.to_string(), value: Some(value.to_vec()) });
    for op in tables.flat_map(|(id, table)| table_ops(id, table)).chain(sets.map(Op::from)) {
        writer.push(op)?;
    }
    writer.push(Op::End { catalog_version: state.catalog_version })?;
    writer.cut()?;
    writer.file.sync().map_err(|error| Error::io("sync", path, error))
}

/// The operations that make one table.
fn table_ops(id: TableId, table: &TableState) -> Vec<Op> {
    let mut ops = vec![Op::from(Change::CreateTable { id, def: (**table.def()).clone() })];
    let parts: Vec<NewPart> = table.parts().iter().map(|shown| NewPart(shown.part.clone())).collect();
    if !parts.is_empty() {
        ops.push(Change::AddParts { table: id, parts }.into());
    }
    let rows = |sealed: bool| {
        let partitions = table.head.partitions.iter();
        partitions.flat_map(move |(partition, runs)| {
            let runs = if sealed { &runs.sealed } else { &runs.open };
            runs.iter().map(move |run| {
                Op::from(Change::Append { table: id, partition: partition.to_string(), rows: run.batch.clone() })
            })
        })
    };
    ops.extend(rows(true));
    if let Some(version) = table.head.sealed_at {
        ops.push(Op::SealedAt { table: id, version });
    }
    ops.extend(rows(false));
    let rows = marked(table);
    if !rows.parts.is_empty() || !rows.head.is_empty() {
        ops.push(Op::Delete { table: id, rows });
    }
    ops
}

/// All rows of a table that are marked.
fn marked(table: &TableState) -> Marked {
    let rows = |marks: &Marks, first: u64| marks.iter(first..u64::MAX).map(|row| (row - first) as u32).collect();
    let parts = table.parts().iter().filter(|shown| !shown.deleted.is_empty());
    let head = table.head.partitions.iter().filter(|(_, runs)| !runs.deleted.is_empty());
    Marked {
        parts: parts.map(|shown| (shown.id(), rows(&shown.deleted, 0))).collect(),
        head: head.map(|(partition, runs)| (partition.clone(), rows(&runs.deleted, runs.first))).collect(),
    }
}
