//! Weir's doors: the Postgres wire, HTTP, configuration, and the `weir` binary.
//!
//! This crate never evaluates an expression and never decides a right: it carries text and parameters to a `weir_engine::Session` and rows back.

pub mod cli;
pub mod config;
mod druid;
mod http;
mod pg;
mod render;
mod s3;
mod server;
mod statements;
mod values;
mod webhooks;

pub use render::Form;
pub use server::{Server, StartError};
