//! Tests that need the outside world: PostgreSQL, ClickHouse, Kafka, drivers. `cargo xtask setup` installs it; one binary, run one test at a time.

mod clients;
mod copy;
mod differential;
mod engines;
mod errors;
mod events;
mod guide;
mod kafka;
mod s3;
mod scripts;
mod soccer;
mod tpcds;
mod tpch;
