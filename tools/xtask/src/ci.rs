//! The gate after `cargo test --workspace`: format, clippy, tidy, then the tests that need the outside world.
//!
//! Tests are named in the whole workspace and not in their package: with a package's own features all that they stand on would be
//! built again.

use std::process::Command;

use crate::{Done, root, setup, sh, tidy};

/// How long each of storage's fuzz targets runs.
const FUZZ_SECONDS: u32 = 15;
/// Seeds of storage's simulation, each with a dozen crash points and more.
const SIM_SEEDS: u64 = 1500;
/// Histories of concurrent changes.
const HISTORIES: u64 = 4_000;
/// Seeds of random changes under random views.
const VIEW_SEEDS: u64 = 3000;

pub(crate) fn run() -> Done {
    sh(cargo().args(["fmt", "--all", "--check"]))?;
    sh(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "weir-tests/outside,weir-benches/outside",
        "--",
        "-D",
        "warnings",
    ]))?;
    tidy::run()?;
    crate::simulate(None, Some(SIM_SEEDS))?;
    crate::fuzz::run(FUZZ_SECONDS)?;
    sh(cargo()
        .args(["test", "--workspace", "--test", "histories", "--test", "views", "--", "--nocapture"])
        .env("WEIR_HISTORIES", HISTORIES.to_string())
        .env("WEIR_VIEW_SEEDS", VIEW_SEEDS.to_string()))?;
    setup::run()?;
    sh(cargo().args(["build", "--release", "--package", "weir-server"]))?;
    // One at a time: these tests start servers, kill them, and share two cores with a broker. The server is the one that users get; the
    // tests themselves need no optimiser.
    sh(cargo()
        .args(["test", "--workspace", "--features", "weir-tests/outside", "--test", "outside", "--"])
        .args(["--test-threads", "1", "--nocapture"])
        .env("WEIR_BINARY", root().join("target/release/weir")))
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}
