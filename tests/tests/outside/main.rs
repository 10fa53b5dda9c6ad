//! Tests that need the outside world: PostgreSQL, Kafka, drivers. `cargo xtask setup` installs it; one binary, run one test at a time.

mod broker;
mod clients;
mod duckdb;
mod guide;
mod oracle;
mod scripts;
mod soccer;
