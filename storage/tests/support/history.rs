//! A random history of a store, and the model that says what the store shows after each of its commits.
//!
//! Every commit sets the key `n` to a number that no other attempt to commit had, so a state says which one was its last. The model of each attempt is
//! kept: an attempt that failed, or that a crash cut off, may or may not be there afterwards, and nothing in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use weir_storage::{Change, Commit, Error, Result, RowSet, Snapshot, Store, StoreOptions, TableDef};

use super::disk::Disk;
use super::model::{Shown, Table, expected, read};
use super::{T, create, sorted};

/// Where the store is on its disk.
pub(crate) const DIR: &str = "/db";

const PARTITIONS: [&str; 3] = ["", "a", "b"];

/// Opens the store as a history uses it.
pub(crate) fn open(disk: &Disk) -> Result<Store> {
    let options = StoreOptions {
        io: Arc::new(disk.clone()),
        granule_rows: 10,
        log_bytes_max: 4000,
        background: false,
        threads: 1,
        ..StoreOptions::default()
    };
    Store::open(DIR, options)
}

/// The ids of all rows, and their places.
fn places(snapshot: &Snapshot) -> Result<Vec<(i64, u64)>> {
    let scan = snapshot.scan(T, &[])?;
    let mut places = Vec::new();
    for granule in 0..scan.len() {
        let batch = scan.read(granule, &[0], None)?;
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        places.extend(ids.iter().copied().zip(scan.places(granule, None)?.values().iter().copied()));
    }
    Ok(places)
}

/// A history so far.
pub(crate) struct History {
    disk: Disk,
    random: StdRng,
    store: Option<Store>,
    /// What each attempt to commit would show.
    attempts: BTreeMap<u64, Arc<Shown>>,
    /// The last attempt that was acknowledged.
    acknowledged: u64,
    /// Snapshots that are held open.
    held: Vec<(Snapshot, Arc<Shown>)>,
    /// Rows that were found in older snapshots; their ids, and the attempts that put them there.
    found: Vec<(RowSet, Vec<(i64, u64)>)>,
    next_id: i64,
    /// Acknowledged commits.
    pub(crate) commits: u64,
    /// Operations that failed, of the disk.
    pub(crate) faults: u64,
}

impl History {
    /// From an empty disk on.
    pub(crate) fn new(disk: Disk, seed: u64) -> History {
        let store = open(&disk).unwrap();
        History {
            disk,
            random: StdRng::seed_from_u64(seed),
            store: Some(store),
            attempts: BTreeMap::from([(0, Arc::new(None))]),
            acknowledged: 0,
            held: Vec::new(),
            found: Vec::new(),
            next_id: 0,
            commits: 0,
            faults: 0,
        }
    }

    /// From what a crash of another history left, at a time when of its attempts the first of `mark` was the last acknowledged, and the second the
    /// last begun. What is there is compared.
    pub(crate) fn resume(disk: Disk, other: &History, mark: (u64, u64), seed: u64, place: &str) -> History {
        let store = open(&disk).unwrap_or_else(|error| panic!("{place}: {error}"));
        let snapshot = store.snapshot();
        let n = attempt_of(&snapshot);
        assert!((mark.0..=mark.1).contains(&n), "{place}: commit {n} is there");
        let shown = &other.attempts[&n];
        let found = read(&snapshot).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(found, expected(shown), "{place}, commit {n}");
        History {
            disk,
            random: StdRng::seed_from_u64(seed),
            store: Some(store),
            attempts: BTreeMap::from([(n, shown.clone())]),
            acknowledged: n,
            held: Vec::new(),
            found: Vec::new(),
            next_id: other.next_id,
            commits: 0,
            faults: 0,
        }
    }

    /// What the store shows now.
    pub(crate) fn now(&self) -> &Shown {
        &self.attempts[&self.acknowledged]
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    /// One step, with or without a fault; then the store shows what it should.
    pub(crate) fn step(&mut self) {
        let fault = self.random.random_range(0..12);
        match fault {
            0 => self.disk.fail_after(self.random.random_range(0..8)),
            1 => self.disk.set_room(Some(self.random.random_range(0..3000))),
            2 => self.disk.fail_read_after(Some(self.random.random_range(0..4))),
            _ => {}
        }
        let failed = self.act().err();
        if let Some(error) = failed {
            self.faults += 1;
            let expected = match &error {
                Error::Io { .. } => fault == 0 || fault == 2,
                Error::Full { .. } => fault == 1,
                _ => false,
            };
            assert!(expected, "{error}");
        }
        // The operation that was to fail may not have come: it fails no more.
        self.disk.fail_after(u64::MAX / 2);
        self.disk.set_room(None);
        self.disk.fail_read_after(None);
        if self.store.is_none() {
            self.store = Some(open(&self.disk).expect("the disk works again"));
        }
        let snapshot = self.store().snapshot();
        assert_eq!(read(&snapshot).unwrap(), expected(self.now()), "after attempt {}", self.acknowledged);
    }

    fn act(&mut self) -> Result<()> {
        if self.now().is_none() {
            let create = create(self.first_def());
            return self.commit(create.changes, Some(Table::default()));
        }
        match self.random.random_range(0..36) {
            0..7 => self.append(),
            7..9 => self.bulk(),
            9..12 => self.work(|store| store.flush(Some(T))),
            12..15 => self.work(Store::maintain),
            20..23 => {
                let (rows, ids) = self.find()?;
                self.delete(rows, ids)
            }
            23..25 => {
                let (rows, ids) = self.find()?;
                let table = self.table();
                self.found.push((rows, ids.into_iter().map(|id| (id, table.rows[&id].born)).collect()));
                Ok(())
            }
            25..28 => self.delete_found(),
            28..30 => self.alter(),
            30..36 => self.upsert(),
            15 => {
                self.held.push((self.store().snapshot(), self.attempts[&self.acknowledged].clone()));
                Ok(())
            }
            16 => {
                if !self.held.is_empty() {
                    let at = self.random.random_range(0..self.held.len());
                    let (snapshot, shown) = self.held.swap_remove(at);
                    assert_eq!(read(&snapshot)?, expected(&shown), "a snapshot that was held");
                }
                Ok(())
            }
            17 => self.empty(),
            _ => self.reopen(),
        }
    }

    /// An attempt to commit, after which the store shows this.
    fn commit(&mut self, changes: Vec<Change>, shown: Shown) -> Result<()> {
        let seen = Some(self.store().snapshot().version());
        self.commit_seen(changes, shown, seen)
    }

    /// The same of keys that were looked up at a version.
    fn commit_seen(&mut self, mut changes: Vec<Change>, shown: Shown, seen: Option<u64>) -> Result<()> {
        let n = self.next_attempt();
        changes.push(Change::Set { key: "n".into(), value: Some(n.to_string().into_bytes()) });
        self.attempts.insert(n, Arc::new(shown));
        self.disk.mark((self.acknowledged, n));
        self.store().commit(Commit { seen, ..Commit::from(changes) })?;
        self.acknowledged = n;
        self.disk.mark((n, n));
        self.commits += 1;
        Ok(())
    }

    /// The number of the next attempt to commit.
    fn next_attempt(&self) -> u64 {
        self.attempts.last_key_value().map_or(0, |(n, _)| *n) + 1
    }

    /// New ids: a few, or many.
    fn ids(&mut self) -> std::ops::Range<i64> {
        let most = if self.random.random_ratio(1, 5) { 120 } else { 4 };
        let from = self.next_id;
        self.next_id += self.random.random_range(1..most);
        from..self.next_id
    }

    /// The table as it is now.
    fn table(&self) -> Table {
        self.now().clone().expect("it was made")
    }

    /// Its definition as it is now.
    fn def(&self) -> TableDef {
        TableDef::clone(self.store().snapshot().table(T).expect("it was made").def())
    }

    fn partition(&mut self) -> &'static str {
        PARTITIONS.choose(&mut self.random).copied().unwrap_or_default()
    }

    /// New rows for the table: through the log.
    fn more(&mut self, table: &mut Table) -> Change {
        let (ids, partition) = (self.ids(), self.partition());
        let rows = table.add(&self.def(), partition, ids, self.next_attempt());
        Change::Append { table: T, partition: partition.into(), rows }
    }

    fn append(&mut self) -> Result<()> {
        let mut table = self.table();
        let more = self.more(&mut table);
        self.commit(vec![more], Some(table))
    }

    fn bulk(&mut self) -> Result<()> {
        let (ids, partition, def, mut table) = (self.ids(), self.partition(), self.def(), self.table());
        let rows = table.add(&def, partition, ids.rev(), self.next_attempt());
        let parts = self.store().write_parts(&def, partition, vec![rows])?;
        // Sometimes nobody names them.
        if self.random.random_ratio(1, 5) {
            return Ok(());
        }
        self.commit(vec![Change::AddParts { table: T, parts }], Some(table))
    }

    /// All rows go, or those of a partition.
    fn empty(&mut self) -> Result<()> {
        let mut table = self.table();
        if self.random.random() {
            table.rows.clear();
            return self.commit(vec![Change::Truncate { table: T }], Some(table));
        }
        let partition = self.partition();
        table.rows.retain(|_, row| row.partition != partition);
        self.commit(vec![Change::DropPartitions { table: T, partitions: vec![partition.into()] }], Some(table))
    }

    /// A column comes, with a value for the rows that are there, or goes.
    fn alter(&mut self) -> Result<()> {
        let mut table = self.table();
        let id = 10 + self.next_attempt() as u32;
        let value = self.random.random::<bool>().then_some(i64::from(id));
        let def = table.alter(self.def(), id, value);
        self.commit(vec![Change::AlterTable { id: T, def }], Some(table))
    }

    /// Some rows, a few or many, and their ids.
    fn find(&mut self) -> Result<(RowSet, Vec<i64>)> {
        let snapshot = self.store().snapshot();
        let all = places(&snapshot)?;
        let share = if self.random.random_ratio(1, 4) { 0.6 } else { 0.05 };
        let some: Vec<(i64, u64)> = all.into_iter().filter(|_| self.random.random_bool(share)).collect();
        let places: Vec<u64> = some.iter().map(|(_, place)| *place).collect();
        Ok((snapshot.row_set(T, &places)?, some.into_iter().map(|(id, _)| id).collect()))
    }

    /// Half of all tables have a key.
    fn first_def(&mut self) -> TableDef {
        let key = self.random.random::<bool>().then(|| vec![0]);
        TableDef { key, ..sorted() }
    }

    /// Puts rows in the place of those with their keys, or adds them: some ids that are there, and some that are not.
    fn upsert(&mut self) -> Result<()> {
        let (mut table, def) = (self.table(), self.def());
        if def.key.is_none() {
            return Ok(());
        }
        let share = [0.05, 0.5][self.random.random_range(0..2)];
        let mut ids: Vec<i64> = self.ids().chain([-1]).collect();
        ids.extend(table.rows.keys().copied().filter(|&id| id != -1 && self.random.random_bool(share)));
        ids.shuffle(&mut self.random);
        let snapshot = self.store().snapshot();
        let keys: ArrayRef = Arc::new(Int64Array::from(ids.clone()));
        let found = snapshot.find_keys(T, &[keys])?;
        let there: Vec<(i64, u64)> = ids.iter().zip(&found).filter_map(|(&id, place)| Some((id, (*place)?))).collect();
        assert!(ids.iter().zip(&found).all(|(id, place)| table.rows.contains_key(id) == place.is_some()));
        let places: Vec<u64> = there.iter().map(|(_, place)| *place).collect();
        let taken = snapshot.take(T, &places, &[0])?;
        assert!(there.iter().map(|(id, _)| id).eq(taken.column(0).as_primitive::<Int64Type>().values()));
        let delete = Change::Delete { table: T, rows: snapshot.row_set(T, &places)? };
        let partition = self.partition();
        let rows = table.add(&def, partition, ids.iter().copied(), self.next_attempt());
        let add = match self.random.random_ratio(1, 4) {
            true => Change::AddParts { table: T, parts: self.store().write_parts(&def, partition, vec![rows])? },
            false => Change::Append { table: T, partition: partition.into(), rows },
        };
        let seen = Some(snapshot.version());
        self.commit_seen(vec![delete, add], Some(table), seen)
    }

    /// Deletes rows that are all there, sometimes with new ones in the same commit.
    fn delete(&mut self, rows: RowSet, ids: Vec<i64>) -> Result<()> {
        let mut changes = vec![Change::Delete { table: T, rows }];
        let mut table = self.without(&ids);
        if self.random.random() {
            changes.push(self.more(&mut table));
        }
        self.commit(changes, Some(table))
    }

    /// Deletes rows that were found some time ago. Flushes and merges may have moved them; if one is gone, nothing is deleted.
    fn delete_found(&mut self) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        let at = self.random.random_range(0..self.found.len());
        let (rows, ids) = self.found.swap_remove(at);
        let table = self.table();
        let alive = |(id, born): &(i64, u64)| table.rows.get(id).is_some_and(|row| row.born == *born);
        if ids.iter().all(alive) {
            return self.delete(rows, ids.into_iter().map(|(id, _)| id).collect());
        }
        match self.commit(vec![Change::Delete { table: T, rows }], None) {
            Err(Error::RowsChanged { .. }) => Ok(()),
            other => panic!("rows were deleted twice: {other:?}"),
        }
    }

    /// Background work, sometimes while rows are deleted of which it has taken note already.
    fn work(&mut self, work: impl FnOnce(&Store) -> Result<()>) -> Result<()> {
        if self.random.random() {
            return work(self.store());
        }
        let (rows, ids) = self.find()?;
        let n = self.next_attempt();
        self.attempts.insert(n, Arc::new(Some(self.without(&ids))));
        let (store, disk, before) = (self.store().clone(), self.disk.clone(), self.acknowledged);
        let (done, result) = std::sync::mpsc::channel();
        self.disk.meanwhile(Some(Box::new(move || {
            let set = Change::Set { key: "n".into(), value: Some(n.to_string().into_bytes()) };
            disk.mark((before, n));
            let result = store.commit(vec![Change::Delete { table: T, rows }, set].into());
            if result.is_ok() {
                disk.mark((n, n));
            }
            done.send(result.map(drop)).unwrap();
        })));
        let worked = work(self.store());
        self.disk.meanwhile(None);
        match result.try_recv() {
            Ok(Ok(())) => {
                self.acknowledged = n;
                self.commits += 1;
                worked
            }
            Ok(Err(error)) => worked.and(Err(error)),
            Err(_) => worked,
        }
    }

    /// The table without these rows.
    fn without(&self, ids: &[i64]) -> Table {
        let mut table = self.table();
        table.rows.retain(|id, _| !ids.contains(id));
        table
    }

    fn reopen(&mut self) -> Result<()> {
        self.held.clear();
        self.found.clear();
        self.store.take().expect("it is open").close()?;
        self.store = Some(open(&self.disk)?);
        Ok(())
    }

    /// Closes the store, and opens it once more, which removes what nothing names; the disk as it is then.
    pub(crate) fn close(&mut self) -> Disk {
        for (snapshot, shown) in self.held.drain(..) {
            assert_eq!(read(&snapshot).unwrap(), expected(&shown), "a snapshot that was held");
        }
        self.reopen().unwrap();
        let store = self.store.take().expect("it is open");
        let parts = store.snapshot().table(T).map_or(0, |table| table.parts().len());
        store.close().unwrap();
        let files = self.disk.files();
        let files = files.iter().filter(|file| file.extension().is_some_and(|end| end == "part")).count();
        assert_eq!(files, parts, "files of parts, and parts");
        self.disk.copied()
    }
}

/// The number of the last commit that a state has.
fn attempt_of(snapshot: &Snapshot) -> u64 {
    snapshot.get("n").map_or(0, |n| std::str::from_utf8(n).unwrap().parse().unwrap())
}
