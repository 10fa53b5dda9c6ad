//! Partitions as a whole: dropped, moved, shared, put aside and taken back, with rows in parts and in the head.

mod support;

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use support::{T, append, create, ids, schema, sorted};
use weir_storage::{Change, Error, Store, StoreOptions, TableDef, TableId, check};

const OTHER: TableId = TableId(16385);

fn manual() -> StoreOptions {
    StoreOptions { granule_rows: 100, background: false, ..StoreOptions::default() }
}

/// Partition a has 0..300, b has 1000..1300; of each, the last 100 are in the head.
fn filled(dir: &Path) -> Store {
    let store = Store::open(dir, manual()).unwrap();
    store.commit(create(sorted())).unwrap();
    for (from, to) in [(0, 100), (100, 200), (200, 300)] {
        if from == 200 {
            store.flush(None).unwrap();
        }
        store.commit(append("a", from..to)).unwrap();
        store.commit(append("b", 1000 + from..1000 + to)).unwrap();
    }
    store
}

fn ids_of(store: &Store, table: TableId) -> Vec<i64> {
    let scan = store.snapshot().scan(table, &[]).unwrap();
    let read = |i| scan.read(i, &[0], None).unwrap().column(0).as_primitive::<Int64Type>().values().to_vec();
    let mut ids: Vec<i64> = (0..scan.len()).flat_map(read).collect();
    ids.sort_unstable();
    ids
}

fn part_files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("parts")).unwrap().count()
}

#[test]
fn a_dropped_partition_takes_its_head_rows_and_files_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let before = store.snapshot();
    assert_eq!(part_files(dir.path()), 2);
    store
        .commit(vec![Change::DropPartitions { table: T, partitions: vec!["a".into(), "nothing".into()] }].into())
        .unwrap();
    assert_eq!(ids(&store.snapshot()), (1000..1300).collect::<Vec<_>>());
    assert_eq!(ids(&before).len(), 600, "an open snapshot still has its rows");
    drop(before);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while part_files(dir.path()) > 1 {
        assert!(std::time::Instant::now() < deadline, "the file is still there");
        std::thread::yield_now();
    }
    store.close().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    assert_eq!(ids(&store.snapshot()), (1000..1300).collect::<Vec<_>>());
    store.flush(None).unwrap();
    assert_eq!(ids(&store.snapshot()), (1000..1300).collect::<Vec<_>>());
}

#[test]
fn a_partition_moves_between_tables_at_one_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let to = Change::CreateTable { id: OTHER, def: TableDef { name: "o".into(), ..sorted() } };
    let moved = Change::MovePartition { from: T, to: OTHER, partition: "a".into() };
    store.commit(vec![to, moved].into()).unwrap();
    for _ in 0..2 {
        assert_eq!(ids(&store.snapshot()), (1000..1300).collect::<Vec<_>>());
        assert_eq!(ids_of(&store, OTHER), (0..300).collect::<Vec<_>>());
        store.flush(None).unwrap();
    }
    store.close().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    assert_eq!(ids_of(&store, OTHER), (0..300).collect::<Vec<_>>());
    let unsorted = TableId(16386);
    store.commit(vec![Change::CreateTable { id: unsorted, def: TableDef::new("u", schema()) }].into()).unwrap();
    let refused = store.commit(vec![Change::MovePartition { from: T, to: unsorted, partition: "b".into() }].into());
    assert!(matches!(refused, Err(Error::Invalid(_))));
    assert_eq!(ids(&store.snapshot()).len(), 300);
}

#[test]
fn a_shared_partition_is_as_its_snapshot_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let snapshot = store.snapshot();
    store.commit(append("a", 500..600)).unwrap();
    let def = TableDef { name: "o".into(), ..sorted() };
    let parts = store.share_partition(&snapshot, T, "a", &def).unwrap();
    store
        .commit(vec![Change::CreateTable { id: OTHER, def }, Change::AddParts { table: OTHER, parts }].into())
        .unwrap();
    drop(snapshot);
    assert_eq!(ids_of(&store, OTHER), (0..300).collect::<Vec<_>>());
    store.commit(vec![Change::DropTable { id: T }].into()).unwrap();
    store.close().unwrap();
    assert!(check(dir.path()).unwrap().damage.is_empty());
    let store = Store::open(dir.path(), manual()).unwrap();
    assert_eq!(ids_of(&store, OTHER), (0..300).collect::<Vec<_>>());
}

#[test]
fn detached_parts_come_back_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let aside = Path::new("detached/t/a");
    assert_eq!(store.export_partition(&store.snapshot(), T, "a", aside).unwrap(), 2);
    store.commit(vec![Change::DropPartitions { table: T, partitions: vec!["a".into()] }].into()).unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    let found = store.detached_parts(aside).unwrap();
    assert_eq!(
        found.iter().map(|part| (part.partition.as_str(), part.rows)).collect::<Vec<_>>(),
        [("a", 200), ("a", 100)]
    );
    let other = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Int64, true)]);
    let other = TableDef { sort_key: vec![0], ..TableDef::new("o", other.into()) };
    assert!(matches!(store.attach_part(&found[0].path, &other), Err(Error::Foreign { .. })));
    let parts: Vec<_> = found.iter().map(|part| store.attach_part(&part.path, &sorted()).unwrap()).collect();
    store.commit(vec![Change::AddParts { table: T, parts }].into()).unwrap();
    store.remove_detached(&found.iter().map(|part| part.path.clone()).collect::<Vec<_>>()).unwrap();
    assert_eq!(ids(&store.snapshot()), (0..300).chain(1000..1300).collect::<Vec<_>>());
    assert!(store.detached_parts(aside).unwrap().is_empty());

    store.export_partition(&store.snapshot(), T, "b", aside).unwrap();
    let damaged = store.detached_parts(aside).unwrap()[0].path.clone();
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[40] ^= 1;
    std::fs::remove_file(&damaged).unwrap();
    std::fs::write(&damaged, bytes).unwrap();
    assert!(matches!(store.attach_part(&damaged, &sorted()), Err(Error::Corrupt { .. })));
}

#[test]
fn deleted_rows_stay_deleted_wherever_a_partition_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    // One row of the part and one of the head.
    let snapshot = store.snapshot();
    let scan = snapshot.scan(T, &[]).unwrap();
    let mut places: Vec<u64> = Vec::new();
    for granule in 0..scan.len() {
        let (ids, at) = (scan.read(granule, &[0], None).unwrap(), scan.places(granule, None).unwrap());
        let ids = ids.column(0).as_primitive::<Int64Type>().values().to_vec();
        places.extend(ids.iter().zip(at.values()).filter(|(id, _)| [50, 250].contains(*id)).map(|(_, place)| *place));
    }
    let rows = snapshot.row_set(T, &places).unwrap();
    assert_eq!(rows.len(), 2);
    store.commit(vec![Change::Delete { table: T, rows }].into()).unwrap();
    let expected: Vec<i64> = (0..300).filter(|id| *id != 50 && *id != 250).collect();
    let def = TableDef { name: "o".into(), ..sorted() };
    let parts = store.share_partition(&store.snapshot(), T, "a", &def).unwrap();
    let shared = TableId(16386);
    let create = |id| Change::CreateTable { id, def: def.clone() };
    store.commit(vec![create(shared), Change::AddParts { table: shared, parts }].into()).unwrap();
    assert_eq!(ids_of(&store, shared), expected);
    store
        .commit(vec![create(OTHER), Change::MovePartition { from: T, to: OTHER, partition: "a".into() }].into())
        .unwrap();
    assert_eq!(ids_of(&store, OTHER), expected);
    store.close().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    assert_eq!(ids_of(&store, OTHER), expected);
}
