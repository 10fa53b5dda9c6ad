//! Batches on disk: where an operator puts what it may not hold.
//!
//! A [`SpillFile`] has no name from its first moment on, so that it is gone with the query or the process. Batches are appended by any thread,
//! each a stream of Arrow's IPC format, and read back in any order by their [`Extent`]s. Nothing in it outlives the query: the file is never
//! synced.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;

/// Where a batch lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    offset: u64,
    bytes: usize,
    /// Rows of the batch.
    pub(crate) rows: usize,
}

impl Extent {
    /// Bytes on disk, about as many as the batch has in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The file of one operator, made when its first thread needs it.
#[derive(Debug, Default)]
pub(crate) struct SharedFile(Mutex<Option<Arc<SpillFile>>>);

impl SharedFile {
    /// One that is there.
    pub(crate) fn of(file: &Arc<SpillFile>) -> SharedFile {
        SharedFile(Mutex::new(Some(file.clone())))
    }

    pub(crate) fn get(&self, context: &QueryContext) -> Result<Arc<SpillFile>> {
        let mut file = self.0.lock();
        Ok(match &*file {
            Some(file) => file.clone(),
            None => file.insert(SpillFile::create(context)?).clone(),
        })
    }

    /// The file, if anyone needed it.
    pub(crate) fn used(&self) -> Option<Arc<SpillFile>> {
        self.0.lock().clone()
    }
}

/// A temporary file of batches.
#[derive(Debug)]
pub(crate) struct SpillFile {
    file: File,
    end: AtomicU64,
}

impl SpillFile {
    /// An empty file in the query's folder.
    pub(crate) fn create(context: &QueryContext) -> Result<Arc<SpillFile>> {
        let Some(folder) = context.memory.folder() else {
            return Err(Error::internal("a query without a folder does not write to disk"));
        };
        let file = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
        let file = file.map_err(|e| failed("create", &e))?;
        Ok(Arc::new(SpillFile { file, end: AtomicU64::new(0) }))
    }

    /// Writes a batch at the end.
    pub(crate) fn append(&self, batch: &Batch) -> Result<Extent> {
        let bytes = encode(batch)?;
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(&bytes, offset).map_err(|e| failed("write", &e))?;
        Ok(Extent { offset, bytes: bytes.len(), rows: batch.rows })
    }

    /// Reads a batch.
    pub(crate) fn read(&self, extent: &Extent) -> Result<Batch> {
        let mut bytes = vec![0; extent.bytes];
        self.file.read_exact_at(&mut bytes, extent.offset).map_err(|e| failed("read", &e))?;
        decode(&bytes)
    }

    /// Says in EXPLAIN ANALYZE how much was written.
    pub(crate) fn note(&self, metrics: &Metrics) {
        metrics.note("Disk", format!("{} kB", self.end.load(Ordering::Relaxed).div_ceil(1024)));
    }
}

fn failed(what: &str, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("could not {what} temporary file: {error}"))
}

/// A batch as bytes.
pub(crate) fn encode(batch: &Batch) -> Result<Vec<u8>> {
    let columns: Vec<ArrayRef> = batch.columns.iter().map(compact).collect::<Result<_>>()?;
    let fields: Vec<Field> = columns.iter().map(|c| Field::new("", c.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.rows));
    let mut writer = StreamWriter::try_new(Vec::with_capacity(batch.bytes() + 1024), &schema)?;
    writer.write(&RecordBatch::try_new_with_options(schema, columns, &options)?)?;
    Ok(writer.into_inner()?)
}

/// The batch that bytes stand for, in memory of its own.
pub(crate) fn decode(bytes: &[u8]) -> Result<Batch> {
    match StreamReader::try_new(bytes, None)?.next() {
        Some(batch) => Ok(Batch::from_record(&batch?)),
        None => Err(Error::internal("a batch on disk is empty")),
    }
}

/// The column without what its buffers hold besides its own rows: a view of text would take all its buffers along.
fn compact(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0], offsets[list.len()]);
            let values = compact(&list.values().slice(first as usize, (last - first) as usize))?;
            let offsets = OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect());
            Arc::new(ListArray::try_new(field.clone(), offsets, values, list.nulls().cloned())?)
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let record = array.as_struct();
            let columns = record.columns().iter().map(compact).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, record.nulls().cloned())?)
        }
        _ => array.clone(),
    })
}
