//! Weir's SQL: text to a bound logical plan.
//!
//! [`parse`] makes syntax trees of text, [`types`] is the type system, [`plan`] what the binder makes, [`catalog`] what it asks of the engine.
//! This crate never touches a file, a thread or a batch of data.

pub mod bind;
pub mod catalog;
pub mod collation;
pub mod error;
pub mod parse;
pub mod plan;
pub mod rules;
pub mod statement;
pub mod types;
pub mod value;
pub mod walk;

pub use error::{Error, ErrorKind, Result};
pub use types::Type;
pub use value::Value;
