//! Parts: immutable sorted files of rows (FORMAT.md, "Part file").
//!
//! A [`Part`] is what a version of the database names: id, partition, size, and the checksum of the file's footer. The file is
//! opened when its first column is wanted. Snapshots hold parts by reference; a part that no version names any more is marked as
//! garbage, and its file goes with the last reference.

mod format;
mod hashes;
mod indexes;
mod reader;
mod view;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::def::{PartId, TableDef};
use crate::error::{Error, Result};
use crate::io::Io;
use format::Footer;
pub(crate) use format::{PartIndex, Section, nested_array};

pub use reader::ColumnInfo;
use reader::Open;
use view::View;
pub use view::widens;
pub(crate) use view::{repeat, widen};
pub(crate) use writer::{PartWriter, Target, Written, write_rows};

/// Where parts are, and by what they are read.
#[derive(Clone)]
pub(crate) struct PartDir {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) dir: PathBuf,
}

impl PartDir {
    pub(crate) fn new(io: Arc<dyn Io>, dir: &Path) -> PartDir {
        PartDir { io, dir: dir.join("parts") }
    }

    pub(crate) fn path(&self, id: PartId) -> PathBuf {
        self.dir.join(PartDir::file_name(id))
    }

    pub(crate) fn file_name(id: PartId) -> String {
        format!("{:016}.part", id.0)
    }

    /// The id in the name of a part's file.
    pub(crate) fn id_of(name: &str) -> Option<PartId> {
        name.strip_suffix(".part")?.parse().ok().map(PartId)
    }

    /// Makes the names of new files durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.io.sync_dir(&self.dir).map_err(|error| Error::io("sync", &self.dir, error))
    }
}

/// What a commit says of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    pub(crate) id: PartId,
    pub(crate) partition: Arc<str>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) footer_hash: u64,
}

/// An immutable sorted file of rows of one partition, as a table's definition sees it.
pub struct Part {
    pub(crate) name: PartName,
    file: Arc<PartFile>,
    /// The definition; without one the part is as it was written.
    view: Option<View>,
}

/// A part's file.
struct PartFile {
    path: PathBuf,
    io: Arc<dyn Io>,
    /// No version names it (any more): the file goes with this.
    garbage: AtomicBool,
    open: OnceLock<Open>,
}

impl Part {
    /// A part that a commit names, or one just written (`garbage` until a commit names it).
    pub(crate) fn new(dir: &PartDir, name: PartName, garbage: bool) -> Part {
        Part::in_file(dir, dir.path(name.id), name, garbage)
    }

    fn in_file(dir: &PartDir, path: PathBuf, name: PartName, garbage: bool) -> Part {
        let file = PartFile { path, io: dir.io.clone(), garbage: AtomicBool::new(garbage), open: OnceLock::new() };
        Part { name, file: Arc::new(file), view: None }
    }

    /// The same file, as this definition sees it.
    pub(crate) fn under(self: &Arc<Part>, def: &Arc<TableDef>) -> Arc<Part> {
        match &self.view {
            Some(view) if view.is_of(def) => self.clone(),
            _ => {
                Arc::new(Part { name: self.name.clone(), file: self.file.clone(), view: Some(View::new(def.clone())) })
            }
        }
    }

    /// The part that a whole file says it is; `None` when the file has no sound end.
    pub(crate) fn of_file(dir: &PartDir, id: PartId, path: &Path, file: &[u8]) -> Option<Part> {
        let (Footer { partition, rows, .. }, footer_hash) = Footer::read(file).ok()?;
        let name = PartName { id, partition, rows, bytes: file.len() as u64, footer_hash };
        Some(Part::in_file(dir, path.to_path_buf(), name, false))
    }

    /// Its id.
    pub fn id(&self) -> PartId {
        self.name.id
    }

    /// The partition that its rows belong to.
    pub fn partition(&self) -> &str {
        &self.name.partition
    }

    /// Its number of rows.
    pub fn rows(&self) -> u64 {
        self.name.rows
    }

    /// Its size on disk.
    pub fn bytes(&self) -> u64 {
        self.name.bytes
    }

    /// The xxh3 of its file's footer, which has the checksums of all the rest.
    pub fn footer_checksum(&self) -> u64 {
        self.name.footer_hash
    }

    /// The whole file, as the disk has it.
    pub fn file(&self) -> Result<arrow::buffer::Buffer> {
        Ok(self.open()?.file.clone())
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub(crate) fn set_garbage(&self, garbage: bool) {
        self.file.garbage.store(garbage, Ordering::Release);
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.garbage.load(Ordering::Acquire)
            && let Err(error) = self.io.remove(&self.path)
        {
            // It is found again when the directory is opened next.
            tracing::debug!(file = %self.path.display(), %error, "cannot remove a part that is garbage");
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// A part that was written and waits for the commit that names it. Dropped without, its file is removed.
#[derive(Debug, Clone)]
pub struct NewPart(pub(crate) Arc<Part>);

impl std::ops::Deref for NewPart {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.0
    }
}
