//! Images: a version of the database as files, to be kept elsewhere and made a data directory again.
//!
//! An image is the parts that the version shows and a checkpoint of everything else (FORMAT.md, "Log and checkpoint files"). [`Restoring`]
//! writes a directory that opens only when it is whole: parts first, then the checkpoint, and last the log that goes on from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::frame::{self, Kind};
use crate::io::{Io, IoFile};
use crate::log::{checkpoint_path, create_durable, log_path};
use crate::part::{Part, PartDir};
use crate::snapshot::Snapshot;
use crate::store::{Store, lock_dir};

/// The number of a restored directory's first log.
const FIRST: u32 = 1;

/// A version as files.
#[derive(Debug)]
pub struct Image {
    /// The checkpoint file's bytes.
    pub checkpoint: Vec<u8>,
    /// The parts; their files stay while these are held.
    pub parts: Vec<Arc<Part>>,
}

impl Store {
    /// What a snapshot shows, as files.
    pub fn image(&self, snapshot: &Snapshot) -> Result<Image> {
        let next_part = self.shared().next_part.load(Ordering::Relaxed);
        let checkpoint = checkpoint::bytes(FIRST, &snapshot.state, next_part)?;
        let parts = snapshot.tables().flat_map(|table| table.parts().iter().map(|shown| shown.part().clone()));
        Ok(Image { checkpoint, parts: parts.collect() })
    }
}

/// A data directory that is being written from an image.
pub struct Restoring {
    io: Arc<dyn Io>,
    dir: PathBuf,
    parts: PathBuf,
    _lock: Box<dyn Send + Sync>,
}

impl Restoring {
    /// Takes a directory, which must have no data in it.
    pub fn begin(io: Arc<dyn Io>, dir: &Path) -> Result<Restoring> {
        let parts = dir.join("parts");
        for dir in [dir.to_path_buf(), dir.join("log"), parts.clone()] {
            io.create_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        }
        let lock = lock_dir(&*io, dir, true)?;
        for dir in [dir.join("log"), parts.clone()] {
            if !io.list(&dir).map_err(|error| Error::io("list", &dir, error))?.is_empty() {
                return Err(Error::NotEmpty { dir });
            }
        }
        Ok(Restoring { io, dir: dir.to_path_buf(), parts, _lock: lock })
    }

    /// A new part file.
    pub fn part(&self, id: u64) -> Result<RestoringPart> {
        let path = self.parts.join(PartDir::file_name(crate::PartId(id)));
        let file = self.io.create(&path).map_err(|error| Error::io("create", &path, error))?;
        Ok(RestoringPart { file, path })
    }

    /// Puts the checkpoint there, and the log that goes on from it: from here on the directory opens.
    pub fn finish(self, checkpoint: &[u8]) -> Result<()> {
        let sync = |dir: &Path| self.io.sync_dir(dir).map_err(|error| Error::io("sync", dir, error));
        sync(&self.parts)?;
        create_durable(&*self.io, &checkpoint_path(&self.dir, FIRST), checkpoint)?;
        create_durable(&*self.io, &log_path(&self.dir, FIRST), &frame::file_header(Kind::Log, FIRST))?;
        sync(&self.dir)
    }
}

/// A part file that is being written.
pub struct RestoringPart {
    file: Box<dyn IoFile>,
    path: PathBuf,
}

impl RestoringPart {
    /// Writes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.append(bytes).map_err(|error| Error::io("write", &self.path, error))
    }

    /// Makes it durable.
    pub fn finish(mut self) -> Result<()> {
        self.file.sync().map_err(|error| Error::io("sync", &self.path, error))
    }
}
