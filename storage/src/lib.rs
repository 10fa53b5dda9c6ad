//! Weir's storage: bytes to columns and back.
//!
//! A [`Store`] is a data directory. Rows come in by [`Store::commit`] through one log with group commit and stay in the *head* until
//! a flush sorts them into *parts*, immutable files of encoded columns; bulk rows are written as parts first
//! ([`Store::write_parts`]) and a commit only names them. Every commit makes a *version*; a [`Snapshot`] shows one version for as
//! long as it is held, and [`Snapshot::scan`] reads its granules. FORMAT.md has the bytes.
//!
//! The way of a commit: [`Store::commit`] encodes its record ([`mod@record`]), the committer applies it to the newest state
//! ([`mod@state`]), writes and fsyncs it with all others that wait ([`mod@log`], [`mod@frame`]), and publishes the new state.
//!
//! In the background ([`mod@maintain`]) heads are flushed ([`mod@flush`]), parts merged ([`mod@merge`]) and dropped when they have expired,
//! and the log is cut by checkpoints ([`mod@checkpoint`]); what is due is decided by pure functions ([`mod@policy`]). [`check()`] verifies
//! every byte of a directory.

mod added;
pub mod bits;
mod bytes;
mod check;
mod checkpoint;
mod checksum;
mod closed_up;
mod codec;
mod committer;
mod compare;
mod def;
mod encoding;
mod error;
mod expire;
mod find;
mod flush;
mod fold;
mod frame;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod head;
mod image;
mod index;
mod io;
mod key;
mod log;
mod maintain;
mod map;
mod marks;
mod merge;
mod moved;
mod optimize;
mod part;
mod partition;
mod policy;
mod priority;
mod prune;
mod recent;
mod record;
mod recovery;
mod rows;
mod scan;
mod schema;
mod shown;
mod snapshot;
mod sort;
mod state;
mod statistics;
mod store;
mod tally;
mod unique;

pub use check::{Findings, check, check_with};
pub use codec::{Codec, Compression, Transform};
pub use def::{
    Change, Collapse, Commit, Committed, Durability, PartId, Pressure, Retain, StoreOptions, TableDef, TableId, Tally,
    TtlDef,
};
pub use encoding::{CodeRange, Coded, Encoding};
pub use error::{Error, Result};
pub use head::Run;
pub use image::{Image, Restoring, RestoringPart};
pub use index::{FilterSize, IndexDef, IndexKey, IndexKind, IndexSource, IndexTest, IndexValues, Piece};
pub use io::{DiskIo, Io, IoFile, LockError};
pub use optimize::Optimize;
pub use part::{ColumnInfo, NewPart, Part, widens};
pub use partition::DetachedPart;
pub use prune::{Condition, Prune, PruneOp};
pub use rows::RowSet;
pub use scan::{Scan, ScanStats, Zone};
pub use shown::Shown;
pub use snapshot::Snapshot;
pub use state::TableState;
pub use statistics::ColumnStatistics;
pub use store::Store;
pub use tally::numbers;
