//! Doors for the fuzzer (`storage/fuzz`): bytes of any kind into the readers of parts, logs, checkpoints and chunks. None may panic, or take memory
//! out of proportion. Only a fuzzing build has them, in which every checksum matches, and tests.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::def::PartId;
use crate::encoding;
use crate::frame::{Frames, Kind};
use crate::io::{Io, IoFile, LockError};
use crate::part::{Part, PartDir};
use crate::prune::Numbers;
use crate::record::Replay;

/// A disk of one file, which can only be read.
struct OneFile(Buffer);

impl Io for OneFile {
    fn read(&self, _: &Path) -> io::Result<Buffer> {
        Ok(self.0.clone())
    }
    fn create(&self, _: &Path) -> io::Result<Box<dyn IoFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn append(&self, _: &Path, _: u64) -> io::Result<Box<dyn IoFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, _: &Path, _: bool) -> Result<Box<dyn Send + Sync>, LockError> {
        Ok(Box::new(()))
    }
}

fn dir_of(file: &[u8]) -> PartDir {
    PartDir::new(Arc::new(OneFile(file.to_vec().into())), Path::new("/nowhere"))
}

/// Reads and verifies a whole part file.
pub fn part(file: &[u8]) {
    if let Some(part) = Part::of_file(&dir_of(file), PartId(1), Path::new("1.part"), file) {
        let _ = part.verify();
    }
}

/// Replays a log file as the first of a database.
pub fn log(file: &[u8]) {
    replay(file, Kind::Log);
}

/// Replays a checkpoint.
pub fn checkpoint(file: &[u8]) {
    replay(file, Kind::Checkpoint);
}

fn replay(file: &[u8], kind: Kind) {
    let mut replay = Replay::new(dir_of(&[]));
    let Ok(Some(mut frames)) = Frames::open(Path::new("fuzzed"), file, kind, 1, true) else { return };
    while let Ok(Some(frame)) = frames.next() {
        for (index, (_, record)) in frame.records.iter().enumerate() {
            if replay.record(record, frame.first.wrapping_add(index as u64)).is_err() {
                return;
            }
        }
    }
}

/// Decodes a chunk: a byte for its type, two for its number of rows, then the chunk.
pub fn chunk(bytes: &[u8]) {
    let [ty, low, high, chunk @ ..] = bytes else { return };
    let types = types();
    let ty = &types[usize::from(*ty) % types.len()];
    let (rows, chunk) = (usize::from(u16::from_le_bytes([*low, *high])), Buffer::from(chunk.to_vec()));
    let all = encoding::decode(ty, rows, &chunk, None, None);
    let every_third: Vec<u32> = (0..rows as u32).step_by(3).collect();
    let some = encoding::decode(ty, rows, &chunk, None, Some(&every_third));
    if let (Ok(all), Ok(some)) = (all, some) {
        assert_eq!((all.len(), some.len()), (rows, every_third.len()));
    }
    let _ = encoding::decode_nulls(rows, &chunk, Some(&every_third));
    let _ = encoding::decode_within(ty, rows, &chunk, &Numbers { range: -3..=500, outside: false });
    let _ = encoding::decode_empty(ty, rows, &chunk, true);
    let _ = encoding::decode_lengths(ty, rows, &chunk, None, Some(&every_third));
    let _ = encoding::decode_codes(ty, rows, &chunk, None, Some(&every_third));
    let _ = encoding::decode_fields(ty, rows, &chunk, Some(&every_third), &["a".to_string()]);
    let _ = encoding::decode_containing(ty, rows, &chunk, &memchr::memmem::Finder::new("a"));
}

fn types() -> Vec<DataType> {
    let item = |ty: DataType| Arc::new(Field::new("item", ty, true));
    vec![
        DataType::Boolean,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(38, 2),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Utf8View,
        DataType::BinaryView,
        DataType::FixedSizeBinary(16),
        DataType::List(item(DataType::Int64)),
        DataType::List(item(DataType::Utf8View)),
        DataType::Struct(
            vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8View, true)].into(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn doors_take_nonsense() {
        for bytes in [&b""[..], &[0; 100], &[255; 100], b"WEIRPART\x01\0\0\0\0\0\0\0", b"WEIRLOG\n\x01\0\0\0"] {
            super::part(bytes);
            super::log(bytes);
            super::checkpoint(bytes);
            super::chunk(bytes);
        }
    }
}
