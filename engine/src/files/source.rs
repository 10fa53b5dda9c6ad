//! Files to read: names, globs and compression.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::copy::file_error;
use crate::error::{Error, ErrorKind, Result};

/// Opens a file for reading from its start, decompressing gzip and zstd, which are told by their first bytes.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let failed = |e: io::Error| file_error("open for reading", path, &e);
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let message = format!("could not open file \"{}\" for reading: Is a directory", path.display());
        return Err(Error::new(ErrorKind::Io, message));
    }
    let mut magic = Vec::with_capacity(4);
    (&mut file).take(4).read_to_end(&mut magic).map_err(failed)?;
    // Chained rather than sought back, so that pipes and devices can be read as well.
    let whole = io::Cursor::new(magic.clone()).chain(file);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(128 << 10, whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole).map_err(failed)?),
        _ => Box::new(whole),
    })
}

/// The files that patterns name, those of each pattern sorted. A pattern without wildcards must be there; one with them must find something.
pub(crate) fn expand(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pattern in patterns {
        let path = PathBuf::from(pattern);
        // A file of just this name comes first, whatever its name means as a pattern.
        if path.is_file() || !pattern.contains(['*', '?', '[']) {
            files.push(path);
            continue;
        }
        let found = glob::glob(pattern).map_err(|e| {
            let message = format!("invalid file name pattern \"{pattern}\": {}", e.msg);
            Error::new(ErrorKind::InvalidParameter, message)
        })?;
        let mut matched = Vec::new();
        for file in found {
            let file = file.map_err(|e| file_error("open for reading", e.path(), e.error()))?;
            if !file.is_dir() {
                matched.push(file);
            }
        }
        if matched.is_empty() {
            let message = format!("no files match the pattern \"{pattern}\"");
            return Err(Error::new(ErrorKind::UndefinedFile, message));
        }
        matched.sort();
        files.append(&mut matched);
    }
    Ok(files)
}
