//! A store from outside: commits, snapshots, reopening, the lock.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use weir_storage::{Change, Commit, Error, Snapshot, Store, StoreOptions, TableDef, TableId};

const T: TableId = TableId(16384);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8View, true)]))
}

fn rows(ids: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let names =
        StringViewArray::from_iter(ids.clone().map(|id| (id % 7 != 0).then(|| format!("the name of number {id}"))));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(names)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn append(ids: impl Iterator<Item = i64> + Clone) -> Commit {
    vec![Change::Append { table: T, partition: String::new(), rows: rows(ids) }].into()
}

fn create() -> Commit {
    vec![Change::CreateTable { id: T, def: TableDef { sort_key: vec![0], ..TableDef::new("t", schema()) } }].into()
}

fn ids(snapshot: &Snapshot) -> Vec<i64> {
    let scan = snapshot.scan(T, &[]).unwrap();
    let mut ids: Vec<i64> = (0..scan.len())
        .flat_map(|i| scan.read(i, &[0], None).unwrap().column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    assert_eq!(store.commit(create()).unwrap().version, 1);
    let first = store.commit(append(0..10)).unwrap();
    store.commit(append(10..20_000)).unwrap();
    let set = |key: &str, value: Option<&str>| Change::Set { key: key.into(), value: value.map(|v| v.into()) };
    store.commit(vec![set("source/a", Some("1")), set("source/b", Some("2")), set("x", Some("3"))].into()).unwrap();
    store.commit(vec![set("x", None)].into()).unwrap();
    assert_eq!(ids(&first.snapshot), (0..10).collect::<Vec<_>>());
    assert_eq!((first.version, first.snapshot.version()), (2, 2));
    store.close().unwrap();

    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let snapshot = store.snapshot();
    assert_eq!((snapshot.version(), snapshot.catalog_version()), (5, 1));
    assert_eq!(ids(&snapshot), (0..20_000).collect::<Vec<_>>());
    assert_eq!(snapshot.get("source/b"), Some("2".as_bytes()));
    assert_eq!(snapshot.scan_prefix("source/").map(|(key, _)| key).collect::<Vec<_>>(), ["source/a", "source/b"]);
    assert_eq!(snapshot.get("x"), None);
    let scan = snapshot.scan(T, &[]).unwrap();
    let read = scan.read(0, &[1, 0], Some(&[0, 3, 7])).unwrap();
    assert_eq!(read, rows([0, 3, 7].into_iter()).project(&[1, 0]).unwrap());
    assert!(store.commit(append(0..1)).unwrap().version == 6);
}

#[test]
fn a_commit_that_does_not_apply_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    assert!(matches!(store.commit(append(0..1)), Err(Error::NoTable { table: 16384 })));
    store.commit(create()).unwrap();
    let twice = Commit { changes: [append(0..1).changes, create().changes].concat(), expect_catalog: None };
    assert!(matches!(store.commit(twice), Err(Error::Invalid(_))));
    let raced = Commit { expect_catalog: Some(0), ..append(0..1) };
    assert!(matches!(store.commit(raced), Err(Error::CatalogChanged)));
    let expected = Commit { expect_catalog: Some(1), ..append(5..6) };
    assert_eq!(store.commit(expected).unwrap().version, 2);
    assert_eq!(ids(&store.snapshot()), [5]);
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    store.commit(create()).unwrap();
    store.commit(append(0..3)).unwrap();
    let mine = store.snapshot().with_changes(&append(3..5).changes).unwrap();
    assert_eq!(ids(&mine), [0, 1, 2, 3, 4]);
    assert_eq!(ids(&store.snapshot()), [0, 1, 2]);
    let empty = mine.with_changes(&[Change::Truncate { table: T }]).unwrap();
    assert_eq!(ids(&empty), []);
}

#[test]
fn one_process_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    match Store::open(dir.path(), StoreOptions::default()) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("opened twice: {:?}", other.map(|_| ())),
    }
    drop(store);
    Store::open(dir.path(), StoreOptions::default()).unwrap();
}

#[test]
fn many_threads_commit_at_once_and_every_version_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    store.commit(create()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..50 {
                    let id = thread * 1000 + i;
                    let done = store.commit(append(id..id + 1)).unwrap();
                    let seen = ids(&done.snapshot);
                    assert!(seen.contains(&id) && seen.len() as u64 == done.version - 1);
                }
            });
        }
    });
    let expected: Vec<i64> = (0..8).flat_map(|thread| (0..50).map(move |i| thread * 1000 + i)).collect();
    assert_eq!(ids(&store.snapshot()), expected);
    assert!(store.snapshot().scan(T, &[]).unwrap().len() == 1, "one-row batches are read together");
    drop(store);
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    assert_eq!(ids(&store.snapshot()), expected);
}
