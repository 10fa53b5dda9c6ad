//! Checkpoints: the whole state as operations that make it from nothing, so that older logs can go.

use std::path::Path;

use crate::def::{Change, TableId};
use crate::error::{Error, Result};
use crate::frame::{self, Kind};
use crate::io::Io;
use crate::log::{checkpoint_path, create_durable};
use crate::part::NewPart;
use crate::record;
use crate::state::{Op, State, TableState};

/// Frames are cut when their records pass this.
const FRAME_BYTES: usize = 16 << 20;

/// Writes the state with which log `number` begins.
pub(crate) fn write(io: &dyn Io, dir: &Path, number: u32, state: &State, next_part: u64) -> Result<()> {
    let mut bytes = frame::file_header(Kind::Checkpoint, number);
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut cut = |records: &mut Vec<Vec<u8>>| {
        let offset = bytes.len() as u64;
        frame::write_frame(&mut bytes, offset, offset, state.version, records.iter().map(Vec::as_slice));
        records.clear();
    };
    records.push(record::encode(&[Op::Checkpoint { version: state.version, next_part }])?);
    let tables = state.tables.iter().map(|(id, table)| (*id, table));
    let sets = state.keys.iter().map(|(key, value)| Change::Set { key: key.to_string(), value: Some(value.to_vec()) });
    let mut size = 0;
    for op in tables.flat_map(|(id, table)| table_ops(id, table)).chain(sets.map(Op::from)) {
        let record = record::encode(&[op])?;
        size += record.len();
        records.push(record);
        if size > FRAME_BYTES {
            cut(&mut records);
            size = 0;
        }
    }
    records.push(record::encode(&[Op::End { catalog_version: state.catalog_version }])?);
    cut(&mut records);

    let path = checkpoint_path(dir, number);
    let temporary = path.with_extension("checkpoint.tmp");
    create_durable(io, &temporary, &bytes).inspect_err(|_| drop(io.remove(&temporary)))?;
    io.rename(&temporary, &path).map_err(|error| Error::io("rename", &temporary, error))?;
    let parent = dir.join("log");
    io.sync_dir(&parent).map_err(|error| Error::io("sync", &parent, error))
}

/// The operations that make one table.
fn table_ops(id: TableId, table: &TableState) -> Vec<Op> {
    let mut ops = vec![Op::from(Change::CreateTable { id, def: (**table.def()).clone() })];
    let parts: Vec<NewPart> = table.parts().iter().map(|part| NewPart(part.clone())).collect();
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
    ops
}
