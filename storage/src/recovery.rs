//! Recovery: the newest checkpoint, the logs after it, and the sweep of what nobody names.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frame::{Frames, Kind};
use crate::io::Io;
use crate::log::{checkpoint_path, log_path};
use crate::part::PartDir;
use crate::record::Replay;
use crate::state::State;

/// What was found.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) next_part: u64,
    /// Number and valid length of the log to go on with; `None` when there is none yet.
    pub(crate) log: Option<(u32, u64)>,
    /// Number of the checkpoint the state comes from.
    pub(crate) checkpoint: Option<u32>,
    /// Bytes of the logs since then.
    pub(crate) log_bytes: u64,
    /// Files that nothing names.
    pub(crate) garbage: Vec<std::path::PathBuf>,
}

/// Reads the directory. Changes nothing.
pub(crate) fn recover(io: &Arc<dyn Io>, dir: &Path) -> Result<Recovered> {
    let list = |name: &str| {
        let dir = dir.join(name);
        io.list(&dir).map_err(|error| Error::io("list", &dir, error))
    };
    let parts = PartDir::new(io.clone(), dir);
    let log_files = list("log")?;
    let part_files = list("parts")?;
    let numbers = |suffix: &str| -> BTreeSet<u32> {
        log_files.iter().filter_map(|name| name.strip_suffix(suffix)?.parse().ok()).collect()
    };
    let (checkpoints, logs) = (numbers(".checkpoint"), numbers(".log"));

    let mut replay = Replay::new(parts.clone());
    let checkpoint = checkpoints.last().copied();
    if let Some(number) = checkpoint {
        let path = checkpoint_path(dir, number);
        read_frames(io, &path, Kind::Checkpoint, number, false, &mut replay)?;
        if !replay.ended {
            return Err(Error::corrupt(&path, 0, "the checkpoint has no end"));
        }
    }
    let first = checkpoint.unwrap_or(1);
    let mut wanted: Vec<u32> = logs.range(first..).copied().collect();
    if wanted.is_empty() && (checkpoint.is_some() || part_files.iter().any(|name| name.ends_with(".part"))) {
        return Err(Error::corrupt(&log_path(dir, first), 0, "the file is missing"));
    }
    // A newest log without a whole header was being created: the one before it is the last.
    let mut garbage = Vec::new();
    if let [.., _, last] = wanted[..]
        && is_unborn(io, &log_path(dir, last))?
    {
        garbage.push(log_path(dir, last));
        wanted.pop();
    }
    let (mut log, mut log_bytes) = (None, 0);
    for (at, &number) in wanted.iter().enumerate() {
        let path = log_path(dir, number);
        if number != first + at as u32 {
            return Err(Error::corrupt(&log_path(dir, first + at as u32), 0, "the file is missing"));
        }
        let last = at + 1 == wanted.len();
        let length = read_frames(io, &path, Kind::Log, number, last, &mut replay)?;
        log_bytes += length;
        // Torn before its header was complete: it is created again.
        log = (length > 0).then_some((number, length));
    }
    if log.is_none() && wanted.len() > 1 {
        return Err(Error::corrupt(&log_path(dir, first), 0, "the log has no header"));
    }

    let named: BTreeSet<String> = replay
        .state
        .tables
        .iter()
        .flat_map(|(_, table)| table.parts().iter())
        .filter_map(|part| Some(part.path().file_name()?.to_string_lossy().into_owned()))
        .collect();
    garbage.extend(part_files.iter().filter(|name| !named.contains(*name)).map(|name| parts.dir.join(name)));
    let kept = |name: &str| {
        let number = |suffix: &str| name.strip_suffix(suffix).and_then(|number| number.parse::<u32>().ok());
        number(".log").is_some_and(|number| number >= first)
            || number(".checkpoint").is_some_and(|number| number == first)
    };
    garbage.extend(log_files.iter().filter(|name| !kept(name)).map(|name| dir.join("log").join(name)));
    // Ids of garbage are not used again either, so that a late removal can never hit a new part.
    let used = part_files.iter().filter_map(|name| name.split('.').next()?.parse::<u64>().ok()).max().unwrap_or(0);
    Ok(Recovered {
        next_part: replay.next_part.max(used + 1),
        state: replay.state,
        log,
        checkpoint,
        log_bytes,
        garbage,
    })
}

fn is_unborn(io: &Arc<dyn Io>, path: &Path) -> Result<bool> {
    let bytes = io.read(path).map_err(|error| Error::io("read", path, error))?;
    Ok(bytes.len() < crate::frame::FILE_HEADER || bytes.iter().all(|&byte| byte == 0))
}

/// Replays one file; gives the length of its whole frames, 0 when it was torn before its header was complete.
fn read_frames(io: &Arc<dyn Io>, path: &Path, kind: Kind, number: u32, last: bool, replay: &mut Replay) -> Result<u64> {
    let bytes = io.read(path).map_err(|error| Error::io("read", path, error))?;
    let Some(mut frames) = Frames::open(path, &bytes, kind, number, last)? else { return Ok(0) };
    while let Some(frame) = frames.next()? {
        let expected = replay.state.version + 1;
        if kind == Kind::Log && frame.first != expected {
            let detail = format!("version {} follows version {}", frame.first, expected - 1);
            return Err(Error::corrupt(path, frame.offset, detail));
        }
        for (index, (offset, record)) in frame.records.iter().enumerate() {
            let version = if kind == Kind::Log { frame.first + index as u64 } else { frame.first };
            replay.record(record, version).map_err(|damage| damage.at(path, *offset))?;
        }
    }
    Ok(frames.valid_len())
}
