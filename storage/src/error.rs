//! The one error type of storage, sorted by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What went wrong, by what the caller can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Bytes on disk are not what was written. Restore the file; nothing else is affected.
    #[error("{} is damaged at offset {offset}: {detail}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// The disk is full. Nothing was lost; the same call succeeds once there is room.
    #[error("disk full: cannot write {}", file.display())]
    Full {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// The operating system refused something else.
    #[error("cannot {what} {}: {source}", file.display())]
    Io {
        /// The operation, as a verb.
        what: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// The system's own error.
        source: Arc<io::Error>,
    },
    /// The catalogue changed since the version that the commit expected. Plan again and retry.
    #[error("the catalogue changed while the statement ran")]
    CatalogChanged,
    /// Parts that the commit drops are no longer there (a merge replaced them). Take a new snapshot and retry.
    #[error("parts of table {table} changed while the statement ran")]
    PartsChanged {
        /// The table's id.
        table: u32,
    },
    /// Rows that the commit deletes are no longer there: another commit deleted them, or they have moved further than storage
    /// remembers. Take a new snapshot and retry.
    #[error("rows of table {table} changed while the statement ran")]
    RowsChanged {
        /// The table's id.
        table: u32,
    },
    /// A part file is of other columns, or in another order, than the table that it was offered to.
    #[error("{} does not have the columns and order of table {table}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The table's name.
        table: String,
    },
    /// A directory that was to be restored into has files in it.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no such table (any more).
    #[error("there is no table with id {table}")]
    NoTable {
        /// The table's id.
        table: u32,
    },
    /// The data directory is held by another process.
    #[error("{} is in use by {}", dir.display(), match pid { Some(pid) => format!("process {pid}"), None => "another process".into() })]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The holder, when its name could be read.
        pid: Option<u32>,
    },
    /// The caller broke the rules of the call (wrong schema, unknown column, a table created twice).
    #[error("{0}")]
    Invalid(String),
    /// The caller said stop before the work was done.
    #[error("the work was told to stop")]
    Stopped,
    /// The store is closed.
    #[error("the database is closed")]
    Closed,
}

/// The result of storage's calls.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error for a failed system call on `file`: [`Error::Full`] when the disk is full.
    pub(crate) fn io(what: &'static str, file: &Path, source: io::Error) -> Error {
        let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match full {
            true => Error::Full { file: file.to_path_buf() },
            false => Error::Io { what, file: file.to_path_buf(), source: Arc::new(source) },
        }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corrupt { file: file.to_path_buf(), offset, detail: detail.into() }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Error {
        Error::Invalid(detail.into())
    }
}

/// Bytes that do not decode: what is wrong with them. The caller knows the file and offset and makes an
/// [`Error::Corrupt`] of it.
#[derive(Debug, Clone)]
pub(crate) struct Damage(pub(crate) String);

impl Damage {
    pub(crate) fn at(self, file: &Path, offset: u64) -> Error {
        Error::corrupt(file, offset, self.0)
    }
}

impl From<arrow::error::ArrowError> for Damage {
    fn from(error: arrow::error::ArrowError) -> Damage {
        Damage(error.to_string())
    }
}

/// The result of decoding.
pub(crate) type Decoded<T> = std::result::Result<T, Damage>;

/// Fails with this damage.
pub(crate) fn damaged<T>(detail: impl Into<String>) -> Decoded<T> {
    Err(Damage(detail.into()))
}
