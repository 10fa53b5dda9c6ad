//! The developer's commands: `cargo xtask ci | tidy | setup | sim | fuzz | kafka up | kafka down`.
//!
//! Everything a command needs beyond a Rust and a C toolchain it fetches itself from package registries, into `.tools` in the
//! checkout; nothing outside the checkout is relied on but Debian packages that [`setup`] installs.

mod ci;
mod fuzz;
mod kafka;
mod setup;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Weir's developer commands")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// All that a change must pass: format, clippy, tidy, the tests with a real broker, real clients and PostgreSQL.
    Ci,
    /// Check the habits of the house: module docs, file length, unfinished code.
    Tidy,
    /// Install what the outside tests need: PostgreSQL, drivers, DuckDB and chdb.
    Setup,
    /// Storage's simulation: random histories with faults and crashes against a model (`storage/tests/sim.rs`).
    Sim {
        /// Replays this seed alone.
        #[arg(long)]
        seed: Option<u64>,
        /// Runs the seeds from 0 up to this one.
        #[arg(long, conflicts_with = "seed")]
        seeds: Option<u64>,
    },
    /// Storage's fuzz targets (`storage/fuzz`), one after the other.
    Fuzz {
        /// How long each runs.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// A real Apache Kafka in KRaft mode, fetched from Maven Central.
    Kafka {
        #[command(subcommand)]
        action: kafka::Action,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run(),
        Task::Setup => setup::run(),
        Task::Fuzz { seconds } => fuzz::run(seconds),
        Task::Sim { seed, seeds } => simulate(seed, seeds),
        Task::Kafka { action } => kafka::run(action),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(seed: Option<u64>, seeds: Option<u64>) -> Done {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(["test", "--workspace", "--test", "sim", "--", "--nocapture"]);
    for (name, number) in [("WEIR_SIM_SEED", seed), ("WEIR_SIM_SEEDS", seeds)] {
        if let Some(number) = number {
            command.env(name, number.to_string());
        }
    }
    sh(&mut command)
}

/// A command's result: the error is a sentence for the developer.
type Done<T = ()> = Result<T, String>;

/// The root of the checkout.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tools/xtask is two below the root").to_path_buf()
}

/// Where fetched software and running servers' state live: in the checkout, ignored by git.
fn tools_dir() -> PathBuf {
    root().join(".tools")
}

/// Runs a command to its end, echoing it; an exit code other than 0 is an error.
fn sh(command: &mut Command) -> Done {
    eprintln!("+ {command:?}");
    let status = command.status().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed with {status}")) }
}
