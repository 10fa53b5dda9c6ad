//! Weir's benchmarks. Figures are ratios against a peer, or against another build, taken in one run on one machine.

pub mod table;

use std::path::Path;

use tempfile::TempDir;

/// A folder in memory, where the system has one.
pub fn memory() -> TempDir {
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    dir.expect("a temporary folder")
}
