//! Snapshots: what one version of the database shows. They never change, and hold the files they show alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::def::{Change, PartId, TableId};
use crate::error::Result;
use crate::prune::Condition;
use crate::rows::{OwnRows, RowSet};
use crate::scan::Scan;
use crate::state::{Effects, Op, State, TableState};

/// The database at one version. Cloning it copies a pointer.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
    pub(crate) granule_rows: usize,
    /// Where rows of heads that are not committed begin.
    pub(crate) own: Arc<OwnRows>,
}

impl Snapshot {
    /// The version.
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// The catalogue's version: raised by every change of tables and of `catalog/…` keys.
    pub fn catalog_version(&self) -> u64 {
        self.state.catalog_version
    }

    /// A table.
    pub fn table(&self, id: TableId) -> Option<Arc<TableState>> {
        self.state.tables.get(&id).cloned()
    }

    /// All tables, by id.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableState>> {
        self.state.tables.iter().map(|(_, table)| table)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.state.keys.get(key).map(|value| &**value)
    }

    /// The keys that begin with `prefix`, in order, and their values.
    pub fn scan_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = self.state.keys.range_from(prefix).map(|(key, value)| (&**key, &**value));
        from.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// This snapshot with changes that are not committed: what a transaction shows itself.
    pub fn with_changes(&self, changes: &[Change]) -> Result<Snapshot> {
        let mut state = State::clone(&self.state);
        let mut effects = Effects { own: OwnRows::clone(&self.own), ..Effects::default() };
        for change in changes {
            state.apply(&Op::Change(change.clone()), self.version(), &mut effects)?;
        }
        Ok(Snapshot { state: Arc::new(state), granule_rows: self.granule_rows, own: Arc::new(effects.own) })
    }

    /// This snapshot with these rows of a table alone, to be read and not to be changed.
    pub fn with_only(&self, table: TableId, rows: &RowSet) -> Result<Snapshot> {
        let mut state = State::clone(&self.state);
        state.keep_only(table, rows, &self.own)?;
        Ok(Snapshot { state: Arc::new(state), ..self.clone() })
    }

    /// This snapshot without these rows, as far as they are in its parts or are uncommitted; others are not looked for.
    pub fn without(&self, table: TableId, rows: &RowSet) -> Result<Snapshot> {
        let shown = self.table(table).ok_or(crate::Error::NoTable { table: table.0 })?;
        let is_there = |part: &PartId| shown.parts().iter().any(|shown| shown.id() == *part);
        let parts = rows.parts.iter().filter(|(part, _)| is_there(part));
        let parts = parts.map(|(part, rows)| (*part, rows.clone())).collect();
        let rows = RowSet { parts, head: BTreeMap::new(), own: rows.own.clone() };
        self.with_changes(&[Change::Delete { table, rows }])
    }

    /// The granules of a table that may hold rows for which all of `conditions` hold.
    pub fn scan(&self, table: TableId, conditions: &[Condition]) -> Result<Scan> {
        let table = self.table(table).ok_or(crate::Error::NoTable { table: table.0 })?;
        Scan::new(&table, conditions, self.granule_rows)
    }
}
