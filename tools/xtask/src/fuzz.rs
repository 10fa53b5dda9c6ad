//! The fuzz targets of `storage/fuzz`: readers of parts, logs, checkpoints and chunks, fed with what libFuzzer makes of real files.
//!
//! No sanitizer, since that needs a nightly compiler: what is looked for is panics, hangs and memory out of proportion, and storage's few unsafe lines
//! are not in the readers.

use std::path::Path;
use std::process::Command;

use crate::{Done, root, sh, tools_dir};

/// The pinned release of `cargo fuzz`.
const CARGO_FUZZ: &str = "0.13.2";
const TARGETS: [&str; 4] = ["part", "log", "checkpoint", "chunk"];
/// A reader may take this many megabytes for an input of at most [`INPUT_BYTES`].
const MEMORY_MB: u32 = 1024;
const INPUT_BYTES: u32 = 65536;

pub(crate) fn run(seconds: u32) -> Done {
    let program = tools_dir().join("bin/cargo-fuzz");
    if !program.exists() {
        sh(Command::new(env!("CARGO"))
            .args(["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--root"])
            .arg(tools_dir()))?;
    }
    let corpus = root().join("target/fuzz");
    sh(Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--test", "sim"])
        .env("WEIR_SIM_SEEDS", "30")
        .env("WEIR_SIM_KEEP", &corpus)
        .current_dir(root()))?;
    TARGETS.into_iter().try_for_each(|target| fuzz(&program, target, &corpus.join(target), seconds))
}

fn fuzz(program: &Path, target: &str, corpus: &Path, seconds: u32) -> Done {
    std::fs::create_dir_all(corpus).map_err(|e| format!("cannot create {}: {e}", corpus.display()))?;
    sh(Command::new(program)
        .args(["fuzz", "run", "--fuzz-dir", "storage/fuzz", "--sanitizer", "none", target])
        .arg(corpus)
        .arg("--")
        .args([format!("-max_total_time={seconds}"), format!("-rss_limit_mb={MEMORY_MB}")])
        .args([format!("-max_len={INPUT_BYTES}"), "-timeout=10".into(), "-print_final_stats=1".into()])
        .current_dir(root()))
}
