//! All file access goes through [`Io`], so that a crash, a full disk and bit rot are test doubles (storage/tests/support/disk.rs).
//! [`DiskIo`] is the real one: files are appended to, fsynced, renamed into place, and read through a memory map.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::buffer::Buffer;

use crate::checksum;

/// The file system, as far as storage needs it.
pub trait Io: Send + Sync {
    /// A new, empty file; one of the same name is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>>;
    /// An existing file, cut to `length` bytes, to append to.
    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn IoFile>>;
    /// The whole file. The buffer may be a memory map.
    fn read(&self, path: &Path) -> io::Result<Buffer>;
    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file that never changes a second name. Fails with `AlreadyExists` when there is a file of that name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and its parents, when they are not there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, and holds it until the guard is dropped.
    fn lock(&self, path: &Path, write_pid: bool) -> std::result::Result<Box<dyn Send + Sync>, LockError>;
}

/// A file being written.
pub trait IoFile: Send {
    /// Writes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another holder, with its pid when the lock file tells it.
    Held(Option<u32>),
    /// The file could not be used.
    Io(io::Error),
}

/// Real files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskIo;

struct DiskFile(File);

impl IoFile for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(drop)
    }
}

impl Io for DiskIo {
    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        Ok(Box::new(DiskFile(File::create(path)?)))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn IoFile>> {
        let mut file = DiskFile(OpenOptions::new().write(true).open(path)?);
        file.truncate(length)?;
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Buffer> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Buffer::from(Vec::<u8>::new()));
        }
        // SAFETY: the data directory is locked by this process, files that are mapped are never written again by it (parts
        // and finished logs are immutable), and the map lives as long as the buffer.
        let map = Arc::new(unsafe { memmap2::Mmap::map(&file)? });
        let (pointer, length) = (NonNull::from(&map[..]).cast::<u8>(), map.len());
        // SAFETY: pointer and length are the map's own, and the allocation handed over keeps the map alive.
        Ok(unsafe { Buffer::from_custom_allocation(pointer, length, map) })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::TooManyLinks) => {
                let mut copy = OpenOptions::new().write(true).create_new(true).open(to)?;
                io::copy(&mut File::open(from)?, &mut copy)?;
                copy.sync_all()
            }
            other => other,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path, write_pid: bool) -> std::result::Result<Box<dyn Send + Sync>, LockError> {
        let open = OpenOptions::new().read(true).write(true).create(write_pid).truncate(false).open(path);
        let mut file = match open {
            // Only looking at a directory that nobody ever opened: there is nothing to lock.
            Err(error) if !write_pid && error.kind() == io::ErrorKind::NotFound => return Ok(Box::new(())),
            other => other.map_err(LockError::Io)?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Err(LockError::Held(parse_lock(&text).flatten()));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        if write_pid {
            file.set_len(0).map_err(LockError::Io)?;
            file.write_all(lock_text(std::process::id()).as_bytes()).map_err(LockError::Io)?;
        }
        Ok(Box::new(file))
    }
}

/// What the lock file of this process says.
fn lock_text(pid: u32) -> String {
    let pid = pid.to_string();
    format!("{pid} {:016x}\n", checksum::of(pid.as_bytes()))
}

/// The pid in a lock file (`Some(None)` when the file is empty); `None` when the text is damaged.
pub(crate) fn parse_lock(text: &str) -> Option<Option<u32>> {
    if text.is_empty() {
        return Some(None);
    }
    let pid = text.split(' ').next()?.parse().ok()?;
    (lock_text(pid) == text).then_some(Some(pid))
}
