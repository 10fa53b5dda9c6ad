//! The outside world, for tests and benchmarks: a real Kafka, a real PostgreSQL, DuckDB, and the real data.

pub mod broker;
pub mod duckdb;
pub mod oracle;
pub mod soccer;
