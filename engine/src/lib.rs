//! Weir's engine: plans meet data.
//!
//! It never opens a socket and speaks no wire protocol.

pub mod error;
pub mod functions;

pub use error::{Error, ErrorKind, Result};
