//! Finding rows by their unique key.
//!
//! Keys are hashed, sorted by hash, and looked for in all runs of the head and then in the parts, newest first, until each is found. In a
//! part, all rows that have one of the hashes are collected first, and their keys read granule by granule and compared; so
//! many keys cost little more than one pass over what they touch.

use arrow::array::ArrayRef;

use crate::def::TableId;
use crate::error::{Error, Result};
use crate::rows::place;
use crate::shown::Shown;
use crate::snapshot::Snapshot;
use crate::state::TableState;
use crate::unique::{hash_keys, key_columns, same_key, with_hash};

impl Snapshot {
    /// The place of the row with each of these keys ([`crate::TableDef::key`]: one array a column, one row a key), where there is
    /// one. NULL equals NULL.
    pub fn find_keys(&self, table: TableId, keys: &[ArrayRef]) -> Result<Vec<Option<u64>>> {
        let table = self.table(table).ok_or(Error::NoTable { table: table.0 })?;
        let def = table.def();
        let Some(key) = &def.key else {
            return Err(Error::invalid(format!("table {} has no unique key", def.name)));
        };
        let types = key.iter().map(|&column| def.schema.field(column).data_type());
        if keys.len() != key.len() || !keys.iter().map(|array| array.data_type()).eq(types) {
            return Err(Error::invalid(format!("the keys are not of the key's types in table {}", def.name)));
        }
        let hashes = hash_keys(keys);
        let mut left: Vec<(u64, u32)> = hashes.into_iter().zip(0..).collect();
        left.sort_unstable();
        let mut search = Search { table: &table, key, keys, found: vec![None; left.len()], left };
        search.head();
        for ordinal in (0..table.parts.len()).rev() {
            if search.left.is_empty() {
                break;
            }
            search.part(ordinal)?;
        }
        Ok(search.found)
    }
}

struct Search<'a> {
    table: &'a TableState,
    key: &'a [usize],
    keys: &'a [ArrayRef],
    found: Vec<Option<u64>>,
    /// The keys that are not found yet: hash and number, by hash.
    left: Vec<(u64, u32)>,
}

impl Search<'_> {
    fn head(&mut self) {
        for (number, (_, runs)) in self.table.head.partitions.iter().enumerate() {
            let mut first = 0;
            for run in runs.iter() {
                let columns = key_columns(self.key, &run.batch);
                let (mut from, before) = (0, self.left.len());
                let (found, keys) = (&mut self.found, self.keys);
                self.left.retain(|&(hash, at)| {
                    let is_it = |row: u32| {
                        let sequence = runs.first + first + u64::from(row);
                        !runs.deleted.contains(sequence) && same_key(&columns, row as usize, keys, at as usize)
                    };
                    let same = with_hash(&run.keys, hash, &mut from);
                    let Some((_, row)) = same.iter().find(|(_, row)| is_it(*row)) else { return true };
                    found[at as usize] = Some(place(self.table.parts.len() + number, first + u64::from(*row)));
                    false
                });
                debug_assert!(self.left.len() <= before);
                first += run.batch.num_rows() as u64;
            }
        }
    }

    fn part(&mut self, ordinal: usize) -> Result<()> {
        let shown = &self.table.parts[ordinal];
        if !shown.has_hashes_of(self.table.def())? {
            let (part, table) = (shown.id(), &self.table.def().name);
            return Err(Error::invalid(format!("part {part} is not indexed by the key of table {table}")));
        }
        let mut candidates: Vec<(u32, u32)> = Vec::new();
        shown.rows_of_hashes(self.left.iter().copied(), |key, row| {
            if !shown.deleted.contains(row.into()) {
                candidates.push((row, key));
            }
        })?;
        if candidates.is_empty() {
            return Ok(());
        }
        candidates.sort_unstable();
        self.compare(shown, ordinal, &candidates)?;
        let found = &self.found;
        self.left.retain(|&(_, key)| found[key as usize].is_none());
        Ok(())
    }

    /// Reads the keys of candidates (row and number of the key, by row) and keeps those that are the same.
    fn compare(&mut self, shown: &Shown, ordinal: usize, candidates: &[(u32, u32)]) -> Result<()> {
        let starts = shown.starts()?;
        let mut rest = candidates;
        while let Some(&(first, _)) = rest.first() {
            let granule = starts.partition_point(|&start| start <= u64::from(first)) - 1;
            let (start, end) = (starts[granule], starts[granule + 1]);
            let (here, after) = rest.split_at(rest.partition_point(|&(row, _)| u64::from(row) < end));
            rest = after;
            let mut rows: Vec<u32> = here.iter().map(|&(row, _)| row - start as u32).collect();
            rows.dedup();
            let read = |&column: &usize| shown.read(granule, column, Some(&rows));
            let columns: Vec<ArrayRef> = self.key.iter().map(read).collect::<Result<_>>()?;
            let mut at = 0;
            for &(row, key) in here {
                while rows[at] != row - start as u32 {
                    at += 1;
                }
                if same_key(&columns, at, self.keys, key as usize) {
                    self.found[key as usize] = Some(place(ordinal, row.into()));
                }
            }
        }
        Ok(())
    }
}
