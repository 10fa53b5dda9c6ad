//! A store from outside: commits, snapshots, reopening, the lock.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use weir_storage::{
    Change, Commit, Condition, Error, Prune, PruneOp, Snapshot, Store, StoreOptions, TableDef, TableId,
};

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
    let twice = Commit::from([append(0..1).changes, create().changes].concat());
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
    assert!(ids(&empty).is_empty());
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

fn options() -> StoreOptions {
    StoreOptions { granule_rows: 100, ..StoreOptions::default() }
}

fn eq(column: usize, values: ArrayRef) -> Prune {
    Prune { column, op: if values.len() == 1 { PruneOp::Eq } else { PruneOp::In }, values }
}

#[test]
fn a_flush_makes_sorted_parts_that_show_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.commit(create()).unwrap();
    store.commit(append((0..950).rev())).unwrap();
    let before = store.snapshot();
    store.flush(None).unwrap();
    store.commit(append(950..1000)).unwrap();
    let after = store.snapshot();
    let table = after.table(T).unwrap();
    assert_eq!((table.parts().len(), table.head_rows(), table.rows()), (1, 50, 1000));
    assert_eq!(ids(&before), (0..950).collect::<Vec<_>>());
    assert_eq!(ids(&after), (0..1000).collect::<Vec<_>>());
    let scan = after.scan(T, &[]).unwrap();
    assert_eq!(scan.len(), 11);
    assert_eq!(scan.read(3, &[0, 1], None).unwrap(), rows(300..400));
    assert_eq!(scan.read(3, &[0, 1], Some(&[5, 7, 99])).unwrap(), rows([305, 307, 399].into_iter()));
    let zone = scan.zone(3, 0).unwrap();
    assert_eq!((zone.min.as_primitive::<Int64Type>().value(0), zone.null_count), (300, 0));
    assert_eq!(zone.max.as_primitive::<Int64Type>().value(0), 399);
    assert_eq!(scan.null_count(3, 1), Some(15));
    drop((store, before, after, scan, table));
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(ids(&store.snapshot()), (0..1000).collect::<Vec<_>>());
}

#[test]
fn granules_are_pruned_by_key_and_by_zone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.commit(create()).unwrap();
    store.commit(append(0..1000)).unwrap();
    store.flush(Some(T)).unwrap();
    let snapshot = store.snapshot();
    let number = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) };
    let range = |op, n| Prune { column: 0, op, values: number(n) };
    let scan_of = |conditions: &[Condition]| snapshot.scan(T, conditions).unwrap();
    let count = |prunes: &[Prune]| {
        let conditions: Vec<Condition> = prunes.iter().cloned().map(Condition::from).collect();
        let scan = scan_of(&conditions);
        let stats = scan.stats();
        assert_eq!(stats.granules_total - stats.granules_pruned_by_key - stats.granules_pruned_by_zone, scan.len());
        (scan.len(), stats.granules_pruned_by_key, stats.granules_pruned_by_zone)
    };
    assert_eq!(count(&[eq(0, number(250))]), (1, 9, 0));
    assert_eq!(count(&[eq(0, number(200))]), (1, 8, 1));
    assert_eq!(count(&[eq(0, number(5000))]), (0, 9, 1));
    assert_eq!(count(&[range(PruneOp::Lt, 200)]), (2, 7, 1));
    assert_eq!(count(&[range(PruneOp::Le, 200)]), (3, 7, 0));
    assert_eq!(count(&[range(PruneOp::Ge, 900), range(PruneOp::Lt, 950)]), (1, 8, 1));
    assert_eq!(count(&[range(PruneOp::Gt, 999)]), (0, 9, 1));
    assert_eq!(count(&[eq(0, Arc::new(Int64Array::from(vec![150, 850])))]), (2, 2, 6));
    let name = |s: &str| -> ArrayRef { Arc::new(StringViewArray::from(vec![s])) };
    assert_eq!(count(&[eq(1, name("nothing like it"))]).0, 0);
    assert_eq!(count(&[Prune { column: 1, op: PruneOp::IsNull, values: name("") }]).0, 10);
    assert_eq!(count(&[Prune { column: 0, op: PruneOp::IsNull, values: number(0) }]).0, 0);
    // Another type prunes nothing.
    assert_eq!(count(&[eq(0, name("250"))]).0, 10);

    let one = |n: i64| Condition::from(eq(0, number(n)));
    let either = |any: Vec<Condition>| scan_of(&[Condition::Any(any)]).len();
    assert_eq!(either(vec![one(150), one(950)]), 2);
    assert_eq!(either(vec![one(150), Condition::All(vec![range(PruneOp::Ge, 850).into(), one(120)])]), 1);
    assert_eq!(either(vec![one(150), eq(0, name("250")).into()]), 10, "a branch of which nothing is known");
    assert_eq!(either(Vec::new()), 0);
}

#[test]
fn a_value_that_no_dictionary_has_prunes_its_granules() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.commit(create()).unwrap();
    let names: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..2000).map(|i| ["ape", "bee", "cow"][i % 3])));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2000));
    let rows = RecordBatch::try_new(schema(), vec![ids, names]).unwrap();
    store.commit(vec![Change::Append { table: T, partition: String::new(), rows }].into()).unwrap();
    store.flush(None).unwrap();
    let snapshot = store.snapshot();
    let pruned = |name: &str| {
        let prune = eq(1, Arc::new(StringViewArray::from(vec![name])));
        snapshot.scan(T, &[prune.into()]).unwrap().stats().granules_pruned_by_dictionary
    };
    assert_eq!((pruned("bee"), pruned("boa")), (0, 20));
}

#[test]
fn bulk_parts_are_named_by_a_commit_or_vanish() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.commit(create()).unwrap();
    let def = store.snapshot().table(T).unwrap().def().clone();
    let files = || std::fs::read_dir(dir.path().join("parts")).unwrap().count();
    let parts = store.write_parts(&def, "p", vec![rows(50..100), rows(0..50)]).unwrap();
    assert_eq!((parts.len(), parts[0].rows(), parts[0].partition(), files()), (1, 100, "p", 1));
    drop(parts);
    assert_eq!(files(), 0);
    let parts = store.write_parts(&def, "p", vec![rows(0..250)]).unwrap();
    let id = parts[0].id();
    let old = store.commit(vec![Change::AddParts { table: T, parts }].into()).unwrap().snapshot;
    store.commit(vec![Change::DropParts { table: T, parts: vec![id] }].into()).unwrap();
    assert!(ids(&store.snapshot()).is_empty());
    assert_eq!((ids(&old).len(), files()), (250, 1), "the snapshot holds the file");
    drop(old);
    assert_eq!(files(), 0);
    let gone = store.commit(vec![Change::DropParts { table: T, parts: vec![id] }].into());
    assert!(matches!(gone, Err(Error::PartsChanged { table: 16384 })));
}
