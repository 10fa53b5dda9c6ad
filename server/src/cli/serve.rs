//! `weir serve`.

use std::process::ExitCode;
use std::time::Duration;

use weir_engine::{Database, Options};
use weir_ingest::Subscription;

use super::describe;
use crate::config::{Config, Kafka};
use crate::server::Server;

/// How long statements may run on after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn run(config: &Config) -> Result<ExitCode, String> {
    let db = Database::open_with(&config.data, options(config)).map_err(|e| describe(&e))?;
    db.register_place(crate::s3::SCHEME, crate::s3::opener());
    let ingest = weir_ingest::start(db.clone(), subscriptions(config)?);
    let server = Server::start(db.clone(), config).map_err(|e| e.to_string())?;
    println!("{}", ready_line(&server, config));
    server.wait_for_signal().map_err(|e| format!("cannot wait for signals: {e}"))?;
    tracing::info!("stopping: running statements may finish within {} s", GRACE.as_secs());
    ingest.stop();
    server.stop(GRACE);
    db.close().map_err(|e| describe(&e))?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The topics that the configuration subscribes to; the error names the entry that is wrong.
fn subscriptions(config: &Config) -> Result<Vec<Subscription>, String> {
    let subscription = |kafka: &Kafka| {
        let name = kafka.name();
        Subscription::from_options(name, &kafka.table, &kafka.with_options())
            .map_err(|e| format!("[[kafka]] \"{name}\": {e}"))
    };
    config.kafka.iter().map(subscription).collect()
}

/// The database's options that the configuration gives.
pub(super) fn options(config: &Config) -> Options {
    let mut options = Options { threads: config.threads, ..Options::default() };
    if let Some(limit) = config.memory_limit {
        options.memory_limit = limit.0;
        options.query_memory_limit = options.query_memory_limit.min(limit.0);
    }
    if let Some(limit) = config.query_memory_limit {
        options.query_memory_limit = limit.0;
    }
    options.partial_cache_size = config.partial_cache_size.map(|size| size.0);
    options
}

/// The one line on standard output that says the server is ready, and where.
fn ready_line(server: &Server, config: &Config) -> String {
    let list =
        |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut line = format!("weir is ready: postgres on {}", list(server.pg_addresses()));
    if !server.http_addresses().is_empty() {
        line.push_str(&format!("; http on {}", list(server.http_addresses())));
    }
    line.push_str(&format!("; data in {}", config.data.display()));
    line
}
