//! A simulated disk behind the `Io` trait: what is written is lost in a crash unless it was fsynced, names are lost unless
//! their directory was, and it can stop at every single operation or be full.
//!
//! A crash keeps, of what was not fsynced, what chance (a seed) decides: a file's tail whole, cut anywhere, or with sectors still
//! zero; a rename or a new name done or not; a removal done or not. A disk can also be *watched*: then it keeps, from one run, what a
//! crash would have left at any of its operations.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::buffer::Buffer;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_storage::{Io, IoFile, LockError};

const SECTOR: usize = 512;

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    /// How many of them are fsynced.
    durable: usize,
}

type File = Arc<Mutex<Inode>>;

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, File>,
    /// The names as the disk has them for sure.
    durable_names: BTreeMap<PathBuf, File>,
    /// Operations that change something, so far.
    operations: u64,
    /// From this operation on nothing works any more.
    stop_at: Option<u64>,
    /// The operation that fails, once.
    fail_at: Option<u64>,
    /// How many files may be read before one cannot, once.
    fail_read: Option<u64>,
    /// Bytes that files may still grow by.
    room: Option<u64>,
    /// What is done when the next part file is begun.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    watch: Option<Watch>,
}

/// Takes images of a disk while it is used.
struct Watch {
    random: StdRng,
    /// One operation in so many.
    every: u32,
    /// What whoever uses the disk said last of where it stands.
    mark: (u64, u64),
    images: Vec<Image>,
}

/// What a crash just before an operation leaves.
pub(crate) struct Image {
    pub(crate) operation: u64,
    pub(crate) mark: (u64, u64),
    pub(crate) disk: Disk,
}

/// The disk. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicBool>,
}

impl Disk {
    /// Operations that change something, so far.
    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Lets nothing work from this operation on.
    pub(crate) fn stop_at(&self, operation: u64) {
        self.state.lock().stop_at = Some(operation);
    }

    /// Lets the operation after so many more fail, as a bad sector or cable does, and none after it.
    pub(crate) fn fail_after(&self, operations: u64) {
        let mut state = self.state.lock();
        state.fail_at = Some(state.operations + operations);
    }

    /// Lets one file not be read, after so many that are; `None` calls it off.
    pub(crate) fn fail_read_after(&self, reads: Option<u64>) {
        self.state.lock().fail_read = reads;
    }

    /// From here on, about one operation in `every` leaves an image of what a crash just before it would.
    pub(crate) fn watch(&self, seed: u64, every: u32) {
        let watch = Watch { random: StdRng::seed_from_u64(seed), every, mark: (0, 0), images: Vec::new() };
        self.state.lock().watch = Some(watch);
    }

    /// Says where its user stands: the images that follow carry it.
    pub(crate) fn mark(&self, mark: (u64, u64)) {
        if let Some(watch) = &mut self.state.lock().watch {
            watch.mark = mark;
        }
    }

    /// The images so far.
    pub(crate) fn take_images(&self) -> Vec<Image> {
        self.state.lock().watch.as_mut().map_or(Vec::new(), |watch| std::mem::take(&mut watch.images))
    }

    /// Lets something happen when the next part file is begun: while a flush or merge is at work. `None` calls it off; says whether
    /// what was to happen before has.
    pub(crate) fn meanwhile(&self, action: Option<Box<dyn FnOnce() + Send>>) -> bool {
        std::mem::replace(&mut self.state.lock().meanwhile, action).is_none()
    }

    /// Files may grow by this many bytes more; `None` is without end.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.state.lock().room = room;
    }

    /// The names of all files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }

    /// Flips one bit of a file.
    pub(crate) fn flip(&self, path: &Path, byte: usize, bit: u8) {
        let file = self.state.lock().names[path].clone();
        file.lock().bytes[byte] ^= 1 << bit;
    }

    /// A file's bytes.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let file = self.state.lock().names[path].clone();
        file.lock().bytes.clone()
    }

    /// A file's length.
    pub(crate) fn len(&self, path: &Path) -> usize {
        let file = self.state.lock().names[path].clone();
        file.lock().bytes.len()
    }

    /// Another disk with the same files, all of it durable.
    pub(crate) fn copied(&self) -> Disk {
        let state = self.state.lock();
        let whole = |file: &File| {
            let bytes = file.lock().bytes.clone();
            Inode { durable: bytes.len(), bytes }
        };
        let files = state.names.iter().map(|(path, file)| (path.clone(), Arc::new(Mutex::new(whole(file)))));
        disk_of(files.collect())
    }

    /// The disk after the power is back.
    pub(crate) fn crashed(&self, seed: u64) -> Disk {
        crashed(&self.state.lock(), &mut StdRng::seed_from_u64(seed))
    }

    /// Counts an operation; fails when the disk has stopped, or when it is this one's turn to fail.
    fn operate(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(mut watch) = state.watch.take() {
            if watch.random.random_ratio(1, watch.every) {
                let disk = crashed(&state, &mut watch.random);
                watch.images.push(Image { operation: state.operations, mark: watch.mark, disk });
            }
            state.watch = Some(watch);
        }
        state.operations += 1;
        if state.fail_at.is_some_and(|at| state.operations > at) {
            state.fail_at = None;
            return Err(io::Error::other("an input/output error"));
        }
        match state.stop_at {
            Some(stop) if state.operations > stop => Err(io::Error::other("the disk has stopped")),
            _ => Ok(()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<File> {
        self.state.lock().names.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The disk after a crash.
fn crashed(state: &State, random: &mut StdRng) -> Disk {
    let mut names = state.durable_names.clone();
    // Changes of names that no sync of the directory made durable.
    for path in state.names.keys().chain(state.durable_names.keys()) {
        let (now, then) = (state.names.get(path), state.durable_names.get(path));
        let same = match (now, then) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => false,
        };
        if !same && random.random() {
            match now {
                Some(file) => drop(names.insert(path.clone(), file.clone())),
                None => drop(names.remove(path)),
            }
        }
    }
    let names: BTreeMap<PathBuf, File> =
        names.into_iter().map(|(path, file)| (path, Arc::new(Mutex::new(torn(&file.lock(), random))))).collect();
    disk_of(names)
}

/// A disk with exactly these files.
fn disk_of(names: BTreeMap<PathBuf, File>) -> Disk {
    let state = State { durable_names: names.clone(), names, ..State::default() };
    Disk { state: Arc::new(Mutex::new(state)), locked: Arc::default() }
}

/// What a crash leaves of a file.
fn torn(file: &Inode, random: &mut StdRng) -> Inode {
    let mut bytes = file.bytes.clone();
    if file.durable < bytes.len() {
        match random.random_range(0..4) {
            0 => bytes.truncate(file.durable),
            1 => bytes.truncate(random.random_range(file.durable..=bytes.len())),
            2 => {
                for sector in (0..bytes.len()).step_by(SECTOR) {
                    let end = bytes.len().min(sector + SECTOR);
                    if end > file.durable && random.random() {
                        bytes[sector.max(file.durable)..end].fill(0);
                    }
                }
            }
            _ => {}
        }
    }
    Inode { durable: bytes.len(), bytes }
}

struct Open {
    disk: Disk,
    file: File,
}

impl IoFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.disk.state.lock().room;
        let fits = room.map_or(bytes.len(), |room| bytes.len().min(room as usize));
        if let Err(error) = self.disk.operate() {
            // Stopped in the middle of the write.
            self.file.lock().bytes.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        self.file.lock().bytes.extend_from_slice(&bytes[..fits]);
        if let Some(room) = &mut self.disk.state.lock().room {
            *room -= fits as u64;
        }
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.operate()?;
        let mut file = self.file.lock();
        file.durable = file.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.operate()?;
        let mut file = self.file.lock();
        file.bytes.truncate(length as usize);
        file.durable = file.durable.min(length as usize);
        Ok(())
    }
}

impl Io for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        if path.extension().is_some_and(|end| end == "part") {
            let action = self.state.lock().meanwhile.take();
            action.into_iter().for_each(|action| action());
        }
        self.operate()?;
        let file = File::default();
        self.state.lock().names.insert(path.to_path_buf(), file.clone());
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn IoFile>> {
        self.operate()?;
        let file = self.file(path)?;
        let mut inode = file.lock();
        inode.bytes.truncate(length as usize);
        inode.durable = inode.durable.min(length as usize);
        drop(inode);
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn read(&self, path: &Path) -> io::Result<Buffer> {
        let mut state = self.state.lock();
        state.fail_read = match state.fail_read {
            Some(0) => {
                state.fail_read = None;
                return Err(io::Error::other("an input/output error"));
            }
            left => left.map(|left| left - 1),
        };
        drop(state);
        Ok(Buffer::from(self.file(path)?.lock().bytes.clone()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate()?;
        let mut state = self.state.lock();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate()?;
        let file = self.file(from)?;
        let mut state = self.state.lock();
        match state.names.contains_key(to) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => {
                state.names.insert(to.to_path_buf(), file);
                Ok(())
            }
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate()?;
        let gone = self.state.lock().names.remove(path);
        gone.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let mut names: Vec<String> = state
            .names
            .keys()
            .filter_map(|path| {
                Some(path.strip_prefix(dir).ok()?.components().next()?.as_os_str().to_str()?.to_string())
            })
            .collect();
        names.dedup();
        Ok(names)
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate()?;
        let mut state = self.state.lock();
        let state = &mut *state;
        state.durable_names.retain(|path, _| path.parent() != Some(dir));
        let here = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        state.durable_names.extend(here.map(|(path, file)| (path.clone(), file.clone())));
        Ok(())
    }

    fn lock(&self, _: &Path, _: bool) -> Result<Box<dyn Send + Sync>, LockError> {
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        match self.locked.swap(true, Ordering::Acquire) {
            true => Err(LockError::Held(None)),
            false => Ok(Box::new(Guard(self.locked.clone()))),
        }
    }
}
