//! `weir check`: every byte of a data directory against its checksum.
//!
//! The directory is locked as for opening (so one in use is refused), read, and left as it was. All frames of the newest checkpoint
//! and of the logs after it are verified and replayed; every section and chunk of every part that they name is verified and
//! decoded. Where a damaged log hides which parts there are, the remaining logs' frames and every part file that has an end are
//! still looked at. Files that nothing names are what a crash left, and are only counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::frame::{Frames, Kind};
use crate::io::{self, Io};
use crate::log;
use crate::part::{Part, PartDir};
use crate::recovery::{self, Recovered};
use crate::store::lock_dir;

/// What [`check`] found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Damage: each [`Error::Corrupt`] names the file, the offset and the reason; other errors are files that could not be read.
    pub damage: Vec<Error>,
    /// Files that were verified.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Parts among them.
    pub parts: usize,
    /// Rows in parts and in the log.
    pub rows: u64,
    /// The newest version; `None` when the log could not be read to its end.
    pub version: Option<u64>,
    /// Files that nothing names; the next opening removes them.
    pub garbage: usize,
}

/// Verifies a data directory that no process has open. Fails with [`Error::Locked`] when one has.
pub fn check(dir: impl AsRef<Path>) -> Result<Findings> {
    check_with(Arc::new(io::DiskIo), dir.as_ref())
}

/// The same by other means of access.
pub fn check_with(io: Arc<dyn Io>, dir: &Path) -> Result<Findings> {
    let names = io.list(dir).map_err(|error| Error::io("read", dir, error))?;
    let is_ours = |name: &String| matches!(name.as_str(), "log" | "parts" | "LOCK");
    if !names.iter().any(is_ours) {
        return Err(Error::invalid(format!("{} is not a data directory", dir.display())));
    }
    let _lock = lock_dir(&*io, dir, false)?;
    let mut findings = Findings::default();
    if names.iter().any(|name| name == "LOCK") {
        check_lock(&*io, dir, &mut findings);
    }
    if !names.iter().any(|name| name == "log") {
        let file = dir.join("log");
        findings.damage.push(Error::corrupt(&file, 0, "the directory is missing"));
        return Ok(findings);
    }
    match recovery::recover(&io, dir) {
        Ok(recovered) => check_state(&io, dir, recovered, &mut findings)?,
        Err(error) => {
            findings.damage.push(error);
            check_logs(&io, dir, &mut findings)?;
            check_finished_parts(&io, dir, &mut findings)?;
        }
    }
    Ok(findings)
}

fn check_lock(io: &dyn Io, dir: &Path, findings: &mut Findings) {
    let path = dir.join("LOCK");
    match io.read(&path) {
        Ok(bytes) => {
            findings.files += 1;
            findings.bytes += bytes.len() as u64;
            if std::str::from_utf8(&bytes).ok().and_then(io::parse_lock).is_none() {
                findings.damage.push(Error::corrupt(&path, 0, "the process id does not match its checksum"));
            }
        }
        Err(error) => findings.damage.push(Error::io("read", &path, error)),
    }
}

/// The logs were replayed: what they name is what must be sound.
fn check_state(io: &Arc<dyn Io>, dir: &Path, recovered: Recovered, findings: &mut Findings) -> Result<()> {
    let log_dir = dir.join("log");
    for name in list(&**io, &log_dir)? {
        let path = log_dir.join(&name);
        if log::number_of(&name).is_some() && !recovered.garbage.contains(&path) {
            let bytes = io.read(&path).map_err(|error| Error::io("read", &path, error))?;
            findings.files += 1;
            findings.bytes += bytes.len() as u64;
        }
    }
    findings.version = Some(recovered.state.version);
    findings.garbage = recovered.garbage.len();
    findings.rows = recovered.state.tables.iter().map(|(_, table)| table.rows()).sum();
    let parts: Vec<Arc<Part>> = recovered
        .state
        .tables
        .iter()
        .flat_map(|(_, table)| table.parts().iter().map(|shown| shown.part.clone()))
        .collect();
    verify(&parts, findings);
    Ok(())
}

/// Every frame of every log file, without knowing what it says: damage after the first.
fn check_logs(io: &Arc<dyn Io>, dir: &Path, findings: &mut Findings) -> Result<()> {
    let log_dir = dir.join("log");
    let names = list(&**io, &log_dir)?;
    let numbers = |suffix: &str| -> BTreeSet<u32> {
        names.iter().filter(|name| name.ends_with(suffix)).filter_map(|name| log::number_of(name)).collect()
    };
    let (checkpoints, logs) = (numbers(".checkpoint"), numbers(".log"));
    let first = checkpoints.last().copied().unwrap_or(1);
    let checkpoint = checkpoints.last().map(|&number| (Kind::Checkpoint, number, log::checkpoint_path(dir, number)));
    let logs = logs.range(first..).map(|&number| (Kind::Log, number, log::log_path(dir, number)));
    let files: Vec<(Kind, u32, PathBuf)> = checkpoint.into_iter().chain(logs).collect();
    let last = files.last().map(|(_, number, _)| *number);
    for (kind, number, path) in files {
        let bytes = match io.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                findings.damage.push(Error::io("read", &path, error));
                continue;
            }
        };
        findings.files += 1;
        findings.bytes += bytes.len() as u64;
        let forgiving = kind == Kind::Log && Some(number) == last;
        if let Err(error) = read_frames(&path, &bytes, kind, number, forgiving) {
            push_new(&mut findings.damage, error);
        }
    }
    Ok(())
}

fn read_frames(path: &Path, bytes: &[u8], kind: Kind, number: u32, forgiving: bool) -> Result<()> {
    if let Some(mut frames) = Frames::open(path, bytes, kind, number, forgiving)? {
        while frames.next()?.is_some() {}
    }
    Ok(())
}

/// Adds damage that is not known yet.
fn push_new(damage: &mut Vec<Error>, error: Error) {
    let place = |error: &Error| match error {
        Error::Corrupt { file, offset, .. } => Some((file.clone(), *offset)),
        _ => None,
    };
    if !damage.iter().any(|known| place(known) == place(&error)) {
        damage.push(error);
    }
}

/// Part files that were written to their end: which of them are named is not known.
fn check_finished_parts(io: &Arc<dyn Io>, dir: &Path, findings: &mut Findings) -> Result<()> {
    let parts = PartDir::new(io.clone(), dir);
    let mut found = Vec::new();
    for name in list(&**io, &parts.dir)? {
        let path = parts.dir.join(&name);
        if let Ok(file) = io.read(&path)
            && let Some(id) = PartDir::id_of(&name)
            && let Some(part) = Part::of_file(&parts, id, &path, &file)
        {
            found.push(Arc::new(part));
        }
    }
    findings.rows = found.iter().map(|part| part.rows()).sum();
    verify(&found, findings);
    Ok(())
}

/// Verifies parts on all cores.
fn verify(parts: &[Arc<Part>], findings: &mut Findings) {
    let (next, damage) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            damage.lock().extend(part.verify());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(parts.len());
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut damage = damage.into_inner();
    damage.sort_by_key(ToString::to_string);
    findings.damage.extend(damage);
    findings.files += parts.len();
    findings.parts = parts.len();
    findings.bytes += parts.iter().map(|part| part.bytes()).sum::<u64>();
}

fn list(io: &dyn Io, dir: &Path) -> Result<Vec<String>> {
    let mut names = io.list(dir).map_err(|error| Error::io("list", dir, error))?;
    names.sort();
    Ok(names)
}
