//! The database's one log, as its writer sees it: frames are appended to the newest file and fsynced; a file that has grown
//! long is followed by the next.
//!
//! What was written but not yet fsynced is also kept in memory. When a write or an fsync fails (a full disk, say), the failed
//! frame is taken out again: the file is cut back to what is durable, and what was acknowledged without an fsync is written
//! anew. Until that succeeds nothing else is written, so the file never has a hole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frame::{self, FILE_HEADER, Kind};
use crate::io::{Io, IoFile};

/// Where the log file of this number is.
pub(crate) fn log_path(dir: &Path, number: u32) -> PathBuf {
    dir.join("log").join(format!("{number:08}.log"))
}

/// Where the checkpoint of this number is.
pub(crate) fn checkpoint_path(dir: &Path, number: u32) -> PathBuf {
    dir.join("log").join(format!("{number:08}.checkpoint"))
}

/// The number in the name of a log or checkpoint file.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let (number, suffix) = name.split_once('.')?;
    number.parse().ok().filter(|_| matches!(suffix, "log" | "checkpoint"))
}

/// The log's writer.
pub(crate) struct Log {
    io: Arc<dyn Io>,
    dir: PathBuf,
    number: u32,
    path: PathBuf,
    file: Box<dyn IoFile>,
    /// Length that is fsynced.
    durable: u64,
    /// What was written after that.
    pending: Vec<u8>,
    /// A write failed and was not taken back yet.
    broken: bool,
}

impl Log {
    /// Starts log `number`, empty and durable.
    pub(crate) fn create(io: Arc<dyn Io>, dir: &Path, number: u32) -> Result<Log> {
        let path = log_path(dir, number);
        let file = create_durable(&*io, &path, &frame::file_header(Kind::Log, number));
        let file = file.inspect_err(|_| drop(io.remove(&path)))?;
        let durable = FILE_HEADER as u64;
        Ok(Log { io, dir: dir.to_path_buf(), number, path, file, durable, pending: Vec::new(), broken: false })
    }

    /// Goes on with log `number` after its first `length` bytes.
    pub(crate) fn resume(io: Arc<dyn Io>, dir: &Path, number: u32, length: u64) -> Result<Log> {
        let path = log_path(dir, number);
        let mut file = io.append(&path, length).map_err(|error| Error::io("open", &path, error))?;
        file.sync().map_err(|error| Error::io("sync", &path, error))?;
        Ok(Log { io, dir: dir.to_path_buf(), number, path, file, durable: length, pending: Vec::new(), broken: false })
    }

    /// Length of the newest file.
    pub(crate) fn len(&self) -> u64 {
        self.durable + self.pending.len() as u64
    }

    /// Whether something written is not fsynced yet.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes the records as one frame, and fsyncs it if asked to. When this fails, the frame is not in the log.
    pub(crate) fn write<'a>(
        &mut self,
        first: u64,
        records: impl ExactSizeIterator<Item = &'a [u8]>,
        sync: bool,
    ) -> Result<()> {
        self.heal()?;
        let mark = self.pending.len();
        frame::write_frame(&mut self.pending, self.durable + mark as u64, self.durable, first, records);
        let written = self.file.append(&self.pending[mark..]).map_err(|error| Error::io("write", &self.path, error));
        let result = written.and_then(|()| if sync { self.flush() } else { Ok(()) });
        if result.is_err() {
            self.pending.truncate(mark);
            self.broken = true;
            // If this fails too, the next write tries again.
            let _ = self.heal();
        }
        result
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.heal()?;
        if self.is_dirty() {
            self.flush().inspect_err(|_| self.broken = true)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.sync().map_err(|error| Error::io("sync", &self.path, error))?;
        self.durable += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn heal(&mut self) -> Result<()> {
        if !self.broken {
            return Ok(());
        }
        self.file.truncate(self.durable).map_err(|error| Error::io("truncate", &self.path, error))?;
        self.file.append(&self.pending).map_err(|error| Error::io("write", &self.path, error))?;
        self.flush()?;
        self.broken = false;
        Ok(())
    }

    /// Ends this file and starts the next; gives the number of the new one.
    pub(crate) fn rotate(&mut self) -> Result<u32> {
        self.sync()?;
        *self = Log::create(self.io.clone(), &self.dir, self.number + 1)?;
        Ok(self.number)
    }
}

/// Writes a whole file and makes it and its name durable.
pub(crate) fn create_durable(io: &dyn Io, path: &Path, bytes: &[u8]) -> Result<Box<dyn IoFile>> {
    let mut file = io.create(path).map_err(|error| Error::io("create", path, error))?;
    file.append(bytes).map_err(|error| Error::io("write", path, error))?;
    file.sync().map_err(|error| Error::io("sync", path, error))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    io.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
    Ok(file)
}
