//! Whole partitions as files: shared with another table, put aside, taken back.
//!
//! Part files never change, so a partition is copied by naming its files once more (a hard link each), however many rows
//! it has. What a snapshot shows and no file has (rows of the head, parts without their deleted rows) is written as parts first; so a copy is
//! exactly what its snapshot shows.
//!
//! A part file knows neither its table nor its id, only columns, order and partition. It is taken for a table's only when these are the
//! table's, and every byte of it is sound.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::def::{PartId, TableDef, TableId};
use crate::error::{Error, Result};
use crate::part::{NewPart, Part, PartDir, PartName};
use crate::snapshot::Snapshot;
use crate::state::{TableState, living_rows};
use crate::store::{Shared, Store};

/// A part file that belongs to no table.
#[derive(Debug, Clone)]
pub struct DetachedPart {
    /// The file.
    pub path: PathBuf,
    /// The partition that its rows belong to.
    pub partition: String,
    /// Its number of rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

impl Store {
    /// What a snapshot shows of a partition, as parts for a table of the same columns and order. A later commit names them by
    /// [`crate::Change::AddParts`].
    pub fn share_partition(
        &self,
        snapshot: &Snapshot,
        from: TableId,
        partition: &str,
        to: &TableDef,
    ) -> Result<Vec<NewPart>> {
        let shared = self.shared();
        let table = snapshot.table(from).ok_or(Error::NoTable { table: from.0 })?;
        if !table.def().has_same_rows(to) {
            return Err(Error::invalid(format!(
                "rows of table {} are not those of table {}",
                table.def().name,
                to.name
            )));
        }
        let contents = shared.contents(&table, partition)?;
        let mut parts = Vec::with_capacity(contents.len());
        for content in contents {
            parts.push(match content {
                Content::File(part) => shared.link(part.path(), part.name.clone())?,
                Content::Written(part) => part,
            });
        }
        shared.parts.sync()?;
        Ok(parts)
    }

    /// Puts what a snapshot shows of a partition as part files into a directory below the data directory, durably; gives their number. What
    /// was in the directory is removed: it is of an attempt that a crash ended.
    pub fn export_partition(&self, snapshot: &Snapshot, from: TableId, partition: &str, dir: &Path) -> Result<usize> {
        let shared = self.shared();
        let io = &*shared.options.io;
        let table = snapshot.table(from).ok_or(Error::NoTable { table: from.0 })?;
        let dir = shared.dir.join(dir);
        io.create_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        for name in io.list(&dir).map_err(|error| Error::io("list", &dir, error))? {
            let path = dir.join(name);
            io.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
        let contents = shared.contents(&table, partition)?;
        for content in &contents {
            let part: &Part = match content {
                Content::File(part) => part,
                Content::Written(part) => part,
            };
            let to = dir.join(PartDir::file_name(part.id()));
            io.link(part.path(), &to).map_err(|error| Error::io("link", &to, error))?;
        }
        for dir in dir.ancestors().take_while(|dir| dir.starts_with(&shared.dir)) {
            io.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
        }
        Ok(contents.len())
    }

    /// The part files in a directory below the data directory and in those below it; none when it is not there. Files whose end is damaged
    /// are an error.
    pub fn detached_parts(&self, dir: &Path) -> Result<Vec<DetachedPart>> {
        let shared = self.shared();
        let mut found = Vec::new();
        let mut open = vec![shared.dir.join(dir)];
        while let Some(dir) = open.pop() {
            let names = match shared.options.io.list(&dir) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                other => other.map_err(|error| Error::io("list", &dir, error))?,
            };
            for name in names {
                let path = dir.join(&name);
                let Some(id) = PartDir::id_of(&name) else {
                    open.push(path);
                    continue;
                };
                let part = shared.detached(id, &path)?;
                let (rows, bytes, partition) = (part.rows(), part.bytes(), part.partition().to_string());
                found.push(DetachedPart { path, partition, rows, bytes });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// A detached file as a part for a table, the file verified to its last byte and left where it is. Fails with [`Error::Foreign`] when it
    /// has other columns than the table, or another order.
    pub fn attach_part(&self, path: &Path, def: &TableDef) -> Result<NewPart> {
        let shared = self.shared();
        let part = shared.detached(PartId(0), path)?;
        if let Some(error) = part.verify().into_iter().next() {
            return Err(error);
        }
        let footer = &part.open()?.footer;
        let own = TableDef {
            sort_key: footer.sort_key.clone(),
            ids: footer.ids.clone(),
            ..TableDef::new("", footer.schema.clone())
        };
        if !own.has_same_rows(&TableDef { collapse: None, sort_key: def.order(), ..def.clone() }) {
            return Err(Error::Foreign { file: path.to_path_buf(), table: def.name.clone() });
        }
        let attached = shared.link(path, part.name.clone())?;
        shared.parts.sync()?;
        Ok(attached)
    }

    /// Removes files below the data directory that are no part of any version, such as detached parts; those that are gone already are
    /// passed over.
    pub fn remove_detached(&self, paths: &[PathBuf]) -> Result<()> {
        let io = &*self.shared().options.io;
        for path in paths {
            match io.remove(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.map_err(|error| Error::io("remove", path, error))?,
            }
        }
        let dirs: std::collections::BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        for dir in dirs {
            match io.sync_dir(dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.map_err(|error| Error::io("sync", dir, error))?,
            }
        }
        Ok(())
    }
}

/// What a partition is made of.
enum Content {
    /// A part's file, as it is.
    File(Arc<Part>),
    /// Rows that no file had.
    Written(NewPart),
}

impl Shared {
    /// All rows of a partition as files.
    fn contents(&self, table: &TableState, partition: &str) -> Result<Vec<Content>> {
        let mut contents = Vec::new();
        for shown in table.parts().iter().filter(|shown| shown.partition() == partition) {
            match shown.deleted_rows() {
                0 => contents.push(Content::File(shown.part().clone())),
                _ => contents.extend(self.rewrite(table.def(), shown)?.map(Content::Written)),
            }
        }
        if let Some(runs) = table.head.partitions.get(partition) {
            let rows = living_rows(runs).map(|(rows, _)| rows).collect::<Result<_>>()?;
            let written = self.write_parts(table.def(), partition, rows)?;
            contents.extend(written.into_iter().map(Content::Written));
        }
        Ok(contents)
    }

    /// One more name for a part's file, as a part that no commit names yet. The name is not durable yet.
    fn link(&self, from: &Path, name: PartName) -> Result<NewPart> {
        let id = self.new_part_id();
        let to = self.parts.path(id);
        self.options.io.link(from, &to).map_err(|error| Error::io("link", &to, error))?;
        Ok(NewPart(Arc::new(Part::new(&self.parts, PartName { id, ..name }, true))))
    }

    /// A part file that is not in the directory of parts.
    fn detached(&self, id: PartId, path: &Path) -> Result<Part> {
        let file = self.options.io.read(path).map_err(|error| Error::io("read", path, error))?;
        let part = Part::of_file(&self.parts, id, path, &file);
        part.ok_or_else(|| Error::corrupt(path, 0, "the file does not end like a part"))
    }
}
