//! The outside world, for tests and benchmarks: a real Kafka, a real PostgreSQL, DuckDB, ClickHouse, and the real data.

pub mod broker;
pub mod chdb;
pub mod duckdb;
pub mod oracle;
pub mod peer;
pub mod soccer;
