//! Backup and restore of the whole database, to a folder or any other [`Place`].
//!
//! A backup is what one version shows: the part files, which never change, and a checkpoint of the rest, with rows that are not in parts yet. It
//! is taken from a snapshot, so commits go on meanwhile and are not in it. Parts that an earlier backup has (`base`) are not copied again but
//! named where they are. The manifest, with the checksum of every object, is written last: without one there is no backup.
//!
//! ```text
//! MANIFEST                      what belongs to the backup
//! checkpoint                    everything but the parts
//! parts/0000000000000042.part   a part
//! ```
//!
//! A restore writes an empty directory, verifies every byte on the way, and puts the checkpoint there last: a directory that was not
//! restored to its end does not open.

mod manifest;
mod place;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use weir_storage::DiskIo;
use weir_storage::{Io, Restoring};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::cancel::Cancel;
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use manifest::{Manifest, PartEntry};
pub use place::{Opener, Place, Places};

/// The manifest's name.
const MANIFEST: &str = "MANIFEST";
/// The checkpoint's name.
const CHECKPOINT: &str = "checkpoint";

/// What a backup or restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The version that it shows.
    pub version: u64,
    /// Its parts.
    pub parts: usize,
    /// Those that were copied.
    pub copied: usize,
    /// Bytes that were copied, the checkpoint's among them.
    pub bytes: u64,
}

fn part_name(id: u64) -> String {
    format!("parts/{id:016}.part")
}

/// Backs a database up to the place that a URI names. Options: `base`, an earlier backup's URI; all others are the place's.
pub(crate) fn backup(database: &Database, uri: &str, options: &[(String, String)], cancel: &Cancel) -> Result<Summary> {
    let places = database.places();
    let place = places.open(uri, options)?;
    if place.has(MANIFEST)? {
        let message = format!("there is a backup in \"{uri}\" already");
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::DuplicateObject), message));
    }
    let base_uri = options.iter().find(|(key, _)| key == "base").map(|(_, uri)| uri.as_str());
    let known: HashMap<u64, PartEntry> = match base_uri {
        None => HashMap::new(),
        Some(base) => {
            let manifest = read_manifest(&*places.open(base, options)?, base)?;
            let at =
                |part: PartEntry| (part.id, PartEntry { at: Some(part.at.unwrap_or_else(|| base.into())), ..part });
            manifest.parts.into_iter().map(at).collect()
        }
    };
    let store = database.store()?;
    let snapshot = store.snapshot();
    let image = store.image(&snapshot)?;
    let (mut copied, mut bytes) = (0, image.checkpoint.len() as u64);
    let mut parts = Vec::with_capacity(image.parts.len());
    for part in &image.parts {
        cancel.check()?;
        let id = part.id().0;
        if let Some(entry) = known.get(&id).filter(|entry| entry.footer == part.footer_checksum()) {
            parts.push(entry.clone());
            continue;
        }
        let file = part.file()?;
        place.put(&part_name(id), &file)?;
        copied += 1;
        bytes += file.len() as u64;
        let (length, checksum) = (file.len() as u64, xxh3_64(&file));
        parts.push(PartEntry { id, bytes: length, checksum, footer: part.footer_checksum(), at: None });
    }
    place.put(CHECKPOINT, &image.checkpoint)?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        version: snapshot.version(),
        base: base_uri.map(str::to_string),
        checkpoint_bytes: image.checkpoint.len() as u64,
        checkpoint: xxh3_64(&image.checkpoint),
        parts,
    };
    place.put(MANIFEST, &manifest.to_bytes()?)?;
    Ok(Summary { version: manifest.version, parts: manifest.parts.len(), copied, bytes })
}

fn read_manifest(place: &dyn Place, uri: &str) -> Result<Manifest> {
    let mut bytes = Vec::new();
    place.get(MANIFEST, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    Manifest::from_bytes(&bytes).map_err(|why| damaged(uri, MANIFEST, &why))
}

fn damaged(uri: &str, name: &str, why: &str) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("\"{name}\" of the backup in \"{uri}\" is damaged"))
        .with_detail(format!("{why}."))
}

/// Restores a backup into a directory, which must be empty or not be there.
pub fn restore(
    places: &Places,
    uri: &str,
    options: &[(String, String)],
    dir: &Path,
    cancel: &Cancel,
) -> Result<Summary> {
    let own = places.open(uri, options)?;
    let manifest = read_manifest(&*own, uri)?;
    let restoring = Restoring::begin(places.io(), dir)?;
    let mut others: HashMap<String, Box<dyn Place>> = HashMap::new();
    let mut bytes = 0;
    for part in &manifest.parts {
        cancel.check()?;
        let (place, uri) = match &part.at {
            None => (&*own, uri),
            Some(at) => {
                if !others.contains_key(at) {
                    others.insert(at.clone(), places.open(at, options)?);
                }
                (&**others.get(at).ok_or_else(|| Error::internal("a place that was just opened"))?, at.as_str())
            }
        };
        let name = part_name(part.id);
        let mut file = restoring.part(part.id)?;
        let (mut hash, mut length) = (Xxh3::new(), 0);
        place.get(&name, &mut |chunk| {
            hash.update(chunk);
            length += chunk.len() as u64;
            Ok(file.append(chunk)?)
        })?;
        if (length, hash.digest()) != (part.bytes, part.checksum) {
            return Err(damaged(uri, &name, "its checksum does not match the manifest"));
        }
        file.finish()?;
        bytes += length;
    }
    let mut checkpoint = Vec::new();
    own.get(CHECKPOINT, &mut |chunk| {
        checkpoint.extend_from_slice(chunk);
        Ok(())
    })?;
    if (checkpoint.len() as u64, xxh3_64(&checkpoint)) != (manifest.checkpoint_bytes, manifest.checkpoint) {
        return Err(damaged(uri, CHECKPOINT, "its checksum does not match the manifest"));
    }
    bytes += checkpoint.len() as u64;
    restoring.finish(&checkpoint)?;
    let parts = manifest.parts.len();
    Ok(Summary { version: manifest.version, parts, copied: parts, bytes })
}

/// A folder on this machine, as a path; `None` for URIs of other schemes.
pub(crate) fn local_path(uri: &str) -> Option<PathBuf> {
    match uri.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None => Some(PathBuf::from(uri)),
    }
}

impl Database {
    /// Lets BACKUP and RESTORE use places whose URIs begin with `scheme://`.
    pub fn register_place(&self, scheme: &str, open: Opener) {
        self.change_places(|places| places.register(scheme, open));
    }

    /// Backs the database up, as BACKUP DATABASE does.
    pub fn backup(&self, uri: &str, options: &[(String, String)]) -> Result<Summary> {
        backup(self, uri, options, &Cancel::default())
    }
}

/// All file access of local places.
pub(crate) type SharedIo = Arc<dyn Io>;
