//! Weir's engine: plans meet data.
//!
//! It never opens a socket and speaks no wire protocol.

pub mod aggregates;
mod alerts;
mod background;
pub mod backup;
pub mod cancel;
pub mod catalog;
pub mod copy;
pub mod database;
pub mod error;
mod evolve;
pub mod exec;
pub mod files;
pub mod format;
pub mod functions;
mod gate;
mod index_values;
pub mod ingest;
pub mod kernels;
mod replay;
pub mod session;
mod sinks;
mod statement;
mod statistics;
mod transaction;
mod views;
mod watermark;

pub use alerts::Delivery;
pub use copy::{CopyIn, CopyOut};
pub use database::{Database, Options, QueryResult};
pub use error::{Error, ErrorKind, Result};
pub use ingest::{IngestBatch, IngestTarget, Pressure, RowOrigin, SourceOffset, Subscription};
pub use replay::{Hold, Rebuild, ReplayFrom};
pub use session::{CancelHandle, Notice, Outcome, Parsed, Prepared, Rows, Session, Severity, TransactionStatus};
pub use sinks::{Sink, SinkBatch, SinkRecord};
/// Verifies every checksum of a data directory that no process has open; what `weir check` calls.
pub use weir_storage::{Findings, check};
