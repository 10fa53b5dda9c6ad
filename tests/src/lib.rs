//! What black-box tests share: a `weir serve` process to start, kill and stop, a plain SQL client, and the SQL script runner.

#[cfg(feature = "outside")]
pub mod outside;
pub mod process;
pub mod script;
