//! Files that COPY writes: there in full, or not at all.
//!
//! Bytes go to a temporary file beside the target; [`NewFile::finish`] fsyncs it, gives it its name and fsyncs the folder, so that a crash
//! leaves the old file or the new one. A file that was not finished is removed. A name that ends with `.gz` or `.zst` is compressed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Compression's level for zstd: its own default.
const ZSTD_LEVEL: i32 = 3;

/// A file in the making.
pub(crate) struct NewFile {
    target: PathBuf,
    temporary: PathBuf,
    out: Option<Sink>,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Sink {
    fn write(&mut self) -> &mut dyn Write {
        match self {
            Sink::Plain(out) => out,
            Sink::Gzip(out) => out,
            Sink::Zstd(out) => out,
        }
    }

    fn finish(self) -> io::Result<File> {
        let out = match self {
            Sink::Plain(out) => out,
            Sink::Gzip(out) => out.finish()?,
            Sink::Zstd(out) => out.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// An error of the system about a file, in PostgreSQL's words: `could not open file "x" for reading: No such file or directory`.
pub(crate) fn file_error(what: &str, path: &Path, error: &io::Error) -> Error {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text).to_string();
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::UndefinedFile,
        io::ErrorKind::StorageFull => ErrorKind::DiskFull,
        _ => ErrorKind::Io,
    };
    let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
    let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
    Error::new(kind, format!("could not {verb} file \"{}\"{rest}: {text}", path.display()))
}

impl NewFile {
    /// Begins the file that will be called `target`. Parquet compresses by itself: `plain`.
    pub(crate) fn create(target: &Path, plain: bool) -> Result<NewFile> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
            let message = format!("could not open file \"{}\" for writing: it is no file's name", target.display());
            return Err(Error::new(ErrorKind::Io, message));
        };
        if target.is_dir() {
            let message = format!("could not open file \"{}\" for writing: Is a directory", target.display());
            return Err(Error::new(ErrorKind::Io, message));
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = target.with_file_name(format!(".{name}.{}-{number}.tmp", std::process::id()));
        let file = File::create(&temporary).map_err(|e| file_error("open for writing", target, &e))?;
        let out = BufWriter::with_capacity(256 << 10, file);
        let sink = match target.extension().and_then(|e| e.to_str()) {
            Some("gz") if !plain => Sink::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::default())),
            Some("zst") if !plain => {
                let encoder = zstd::Encoder::new(out, ZSTD_LEVEL);
                Sink::Zstd(encoder.map_err(|e| file_error("write", target, &e))?)
            }
            _ => Sink::Plain(out),
        };
        Ok(NewFile { target: target.to_path_buf(), temporary, out: Some(sink) })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| file_error("write", &self.target, &e))
    }

    /// Makes the file durable under its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.complete().map_err(|e| file_error("write", &self.target, &e))
    }

    fn complete(&mut self) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        out.finish()?.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        let folder = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Some(out) => out.write().write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Some(out) => out.write().flush(),
            None => Ok(()),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        self.out = None;
        // After a rename there is nothing of this name; otherwise nobody wants it.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_the_old_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.csv");
        fs::write(&path, "old").expect("written");
        let mut file = NewFile::create(&path, false).expect("created");
        file.write(b"new").expect("written");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("there"), "old");
        let mut file = NewFile::create(&path, false).expect("created");
        file.write(b"new").expect("written");
        file.finish().expect("finished");
        assert_eq!(fs::read_to_string(&path).expect("there"), "new");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let Err(error) = NewFile::create(Path::new("/nowhere/x.csv"), false) else { panic!("created") };
        assert_eq!(error.kind, ErrorKind::UndefinedFile);
        assert_eq!(error.message, "could not open file \"/nowhere/x.csv\" for writing: No such file or directory");
    }
}
