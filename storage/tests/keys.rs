//! Unique keys from outside: finding rows by key in heads and parts, uniqueness under concurrency, and the index's upkeep.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::disk::Disk;
use support::{T, append, create, ids, rows, sorted};
use weir_storage::{Change, Commit, Error, Snapshot, Store, StoreOptions, TableDef, check_with};

fn options(disk: &Disk) -> StoreOptions {
    StoreOptions { io: Arc::new(disk.clone()), granule_rows: 100, background: false, ..StoreOptions::default() }
}

fn open(disk: &Disk) -> Store {
    Store::open("/db", options(disk)).unwrap()
}

/// The table of the other tests with its id as the key.
fn keyed() -> TableDef {
    TableDef { key: Some(vec![0]), ..sorted() }
}

fn key(ids: &[i64]) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(ids.to_vec()))]
}

/// Which of these ids are found; each at the place of a row that has it.
fn found(snapshot: &Snapshot, ids: &[i64]) -> Vec<bool> {
    let places = snapshot.find_keys(T, &key(ids)).unwrap();
    let there: Vec<u64> = places.iter().flatten().copied().collect();
    let expected: Vec<i64> = ids.iter().zip(&places).filter(|(_, place)| place.is_some()).map(|(id, _)| *id).collect();
    assert_eq!(snapshot.take(T, &there, &[0, 1]).unwrap(), rows(expected.into_iter()));
    places.iter().map(Option::is_some).collect()
}

/// Replaces or adds rows of these ids, as a statement does: looks up, deletes, adds.
fn upsert(snapshot: &Snapshot, partition: &str, ids: &[i64]) -> Commit {
    let places = snapshot.find_keys(T, &key(ids)).unwrap();
    let places: Vec<u64> = places.into_iter().flatten().collect();
    let mut changes = vec![Change::Delete { table: T, rows: snapshot.row_set(T, &places).unwrap() }];
    changes.extend(append(partition, ids.iter().copied()).changes);
    Commit { seen: Some(snapshot.version()), ..Commit::from(changes) }
}

#[test]
fn keys_are_found_in_head_and_parts_and_after_they_move() {
    let disk = Disk::default();
    let store = open(&disk);
    store.commit(create(keyed())).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let mut there = std::collections::BTreeSet::new();
    let mut verify = |store: &Store, there: &std::collections::BTreeSet<i64>| {
        let snapshot = store.snapshot();
        assert_eq!(ids(&snapshot), there.iter().copied().collect::<Vec<_>>());
        let asked: Vec<i64> = (0..300).map(|_| random.random_range(-20..4000)).collect();
        let expected: Vec<bool> = asked.iter().map(|id| there.contains(id)).collect();
        assert_eq!(found(&snapshot, &asked), expected);
        assert_eq!(found(&snapshot, &asked[..1]), expected[..1]);
        assert!(found(&snapshot, &[]).is_empty());
    };
    let mut order = StdRng::seed_from_u64(2);
    for round in 0..40 {
        let many = round % 5 == 0;
        let mut ids: Vec<i64> = (0..if many { 700 } else { 20 }).map(|_| order.random_range(0..4000)).collect();
        ids.sort_unstable_by_key(|id| id * 7919 % 4001);
        ids.dedup();
        ids = ids.into_iter().collect::<std::collections::HashSet<_>>().into_iter().collect();
        store.commit(upsert(&store.snapshot(), ["", "p"][round % 2], &ids)).unwrap();
        there.extend(&ids);
        if round % 4 == 3 {
            store.flush(None).unwrap();
        }
        if round % 10 == 9 {
            store.maintain().unwrap();
        }
        if round % 3 == 0 {
            verify(&store, &there);
        }
    }
    verify(&store, &there);
    // Bulk rows, as parts.
    let def = store.snapshot().table(T).unwrap().def().clone();
    let parts = store.write_parts(&def, "p", vec![rows(5000..25_000)]).unwrap();
    let seen = Some(store.snapshot().version());
    store.commit(Commit { seen, ..Commit::from(vec![Change::AddParts { table: T, parts }]) }).unwrap();
    there.extend(5000..25_000);
    verify(&store, &there);
    assert_eq!(
        found(&store.snapshot(), &(4990..25_010).rev().collect::<Vec<_>>()).iter().filter(|f| **f).count(),
        20_000
    );
    store.close().unwrap();
    let store = open(&disk);
    verify(&store, &there);
    store.flush(None).unwrap();
    verify(&store, &there);
    store.close().unwrap();
    let findings = check_with(Arc::new(disk.clone()), Path::new("/db")).unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
}

#[test]
fn keys_of_several_columns_and_types_are_equal_as_sql_has_it() {
    let store = open(&Disk::default());
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::Utf8View, true),
        Field::new("f", DataType::Float64, true),
    ]));
    store.commit(create(TableDef { key: Some(vec![1, 2]), ..TableDef::new("t", schema.clone()) })).unwrap();
    let texts = [Some("a"), Some(""), None, Some("b"), None];
    let floats = [Some(0.0), None, Some(f64::NAN), Some(1.5), None];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..5)),
        Arc::new(StringViewArray::from_iter(texts)),
        Arc::new(Float64Array::from_iter(floats)),
    ];
    let rows = RecordBatch::try_new(schema, columns).unwrap();
    let changes = vec![Change::Append { table: T, partition: String::new(), rows }];
    store.commit(Commit { seen: Some(store.snapshot().version()), ..changes.into() }).unwrap();
    for flush in [false, true] {
        if flush {
            store.flush(None).unwrap();
        }
        let snapshot = store.snapshot();
        let keys: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(vec![
                Some("a"),
                Some(""),
                None,
                Some("b"),
                None,
                Some("a"),
                None,
                Some("b"),
            ])),
            Arc::new(Float64Array::from(vec![
                Some(-0.0),
                None,
                Some(-f64::NAN),
                Some(1.5),
                None,
                None,
                Some(0.0),
                Some(1.0),
            ])),
        ];
        let places = snapshot.find_keys(T, &keys).unwrap();
        let there: Vec<u64> = places.iter().flatten().copied().collect();
        assert_eq!(
            places.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, true, true, true, true, false, false, false]
        );
        let numbers = snapshot.take(T, &there, &[0]).unwrap();
        assert_eq!(numbers.column(0).as_primitive::<Int64Type>().values()[..], [0, 1, 2, 3, 4]);
        assert!(matches!(snapshot.find_keys(T, &keys[..1]), Err(Error::Invalid(_))));
        assert!(matches!(snapshot.find_keys(T, &[keys[1].clone(), keys[0].clone()]), Err(Error::Invalid(_))));
    }
}

#[test]
fn a_key_that_another_commit_added_meanwhile_is_a_conflict() {
    let store = open(&Disk::default());
    store.commit(create(keyed())).unwrap();
    store.commit(upsert(&store.snapshot(), "", &[1, 2, 3])).unwrap();
    let old = store.snapshot();
    let changed = |commit: Commit| match store.commit(commit) {
        Err(Error::RowsChanged { table: 16384 }) => true,
        Ok(_) => false,
        Err(error) => panic!("{error}"),
    };
    // New keys, from the same snapshot: the second with one of the first's fails, others do not.
    assert!(!changed(upsert(&old, "", &[10, 11])));
    assert!(changed(upsert(&old, "", &[12, 11])));
    assert!(!changed(upsert(&old, "", &[12])));
    // A key that is there: both delete its row.
    assert!(!changed(upsert(&old, "", &[2, 20])));
    assert!(changed(upsert(&old, "", &[2])));
    assert!(!changed(upsert(&store.snapshot(), "", &[2, 11])));
    // Parts on either side.
    let def = store.snapshot().table(T).unwrap().def().clone();
    let part = |ids: std::ops::Range<i64>| {
        let parts = store.write_parts(&def, "", vec![rows(ids)]).unwrap();
        Commit { seen: Some(old.version()), ..Commit::from(vec![Change::AddParts { table: T, parts }]) }
    };
    assert!(changed(part(12..500)));
    assert!(!changed(part(100..500)));
    assert!(changed(part(499..600)));
    assert!(changed(upsert(&old, "", &[50, 499])));
    assert!(!changed(upsert(&old, "", &[50])));
    assert!(!changed(part(600..700)));
    // A flush and a merge change nothing of this.
    let before = store.snapshot();
    store.flush(None).unwrap();
    store.maintain().unwrap();
    assert!(!changed(upsert(&before, "", &[1, 10, 700])));
    assert!(changed(upsert(&before, "", &[700])));
    let commit = Commit::from(append("", 1000..1001).changes);
    assert!(matches!(store.commit(commit), Err(Error::Invalid(_))), "keys were not looked up");
    let expected = [1, 2, 3, 10, 11, 12, 20, 50].into_iter().chain(100..500).chain(600..701);
    assert_eq!(ids(&store.snapshot()), expected.collect::<Vec<_>>());
}

#[test]
fn a_transaction_finds_its_own_rows() {
    let store = open(&Disk::default());
    store.commit(create(keyed())).unwrap();
    store.commit(upsert(&store.snapshot(), "", &[1, 2, 3])).unwrap();
    let base = store.snapshot();
    let mut changes = upsert(&base, "", &[2, 9]).changes;
    let view = base.with_changes(&changes).unwrap();
    assert_eq!(found(&view, &[1, 2, 3, 9, 10]), [true, true, true, true, false]);
    changes.extend(upsert(&view, "", &[2, 9, 10]).changes);
    assert_eq!(ids(&base.with_changes(&changes).unwrap()), [1, 2, 3, 9, 10]);
    store.commit(Commit { seen: Some(base.version()), ..Commit::from(changes) }).unwrap();
    assert_eq!(ids(&store.snapshot()), [1, 2, 3, 9, 10]);
}

#[test]
fn threads_that_upsert_the_same_keys_leave_one_row_each() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { granule_rows: 100, head_rows_max: 300, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    store.commit(create(keyed())).unwrap();
    let retries = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, retries) = (&store, &retries);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(thread);
                for _ in 0..250 {
                    let first = random.random_range(0..150);
                    let ids: Vec<i64> = (first..first + random.random_range(1..4)).collect();
                    while let Err(error) = store.commit(upsert(&store.snapshot(), "", &ids)) {
                        assert!(matches!(error, Error::RowsChanged { .. }), "{error}");
                        retries.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let snapshot = store.snapshot();
    let all = ids(&snapshot);
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    all.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(all.len() > 140 && snapshot.table(T).unwrap().parts().len() < 30);
    assert!(retries.load(Ordering::Relaxed) < 1000, "{retries:?} retries");
}

#[test]
fn damage_of_the_index_is_found() {
    let disk = Disk::default();
    let store = open(&disk);
    store.commit(create(keyed())).unwrap();
    store.commit(upsert(&store.snapshot(), "", &(0..9000).collect::<Vec<_>>())).unwrap();
    store.flush(None).unwrap();
    let file = store.snapshot().table(T).unwrap().parts()[0].path().to_path_buf();
    store.close().unwrap();
    for byte in (0..disk.len(&file)).step_by(1511) {
        disk.flip(&file, byte, 3);
        let findings = check_with(Arc::new(disk.clone()), Path::new("/db")).unwrap();
        let named = |error: &Error| matches!(error, Error::Corrupt { file: damaged, .. } if *damaged == file);
        assert!(findings.damage.iter().any(named), "byte {byte}: {:?}", findings.damage);
        if let Ok(places) = open(&disk.crashed(0)).snapshot().find_keys(T, &key(&[17, 4711, 8999])) {
            assert!(places.iter().all(Option::is_some), "byte {byte}");
        }
        disk.flip(&file, byte, 3);
    }
}

#[test]
fn a_key_comes_only_while_there_are_no_rows_and_is_of_comparable_columns() {
    let store = open(&Disk::default());
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    let schema = Arc::new(Schema::new(vec![Field::new("l", list, true)]));
    for key in [vec![0], vec![1], vec![]] {
        let def = TableDef { key: Some(key), ..TableDef::new("t", schema.clone()) };
        assert!(matches!(store.commit(create(def)), Err(Error::Invalid(_))));
    }
    store.commit(create(keyed())).unwrap();
    let alter = |def| store.commit(vec![Change::AlterTable { id: T, def }].into());
    store.commit(upsert(&store.snapshot(), "", &[1, 2, 3])).unwrap();
    alter(sorted()).unwrap();
    assert!(matches!(store.snapshot().find_keys(T, &key(&[1])), Err(Error::Invalid(_))));
    assert!(matches!(alter(keyed()), Err(Error::Invalid(_))));
    let anew = vec![Change::Truncate { table: T }, Change::AlterTable { id: T, def: keyed() }];
    store.commit(anew.into()).unwrap();
    store.commit(upsert(&store.snapshot(), "", &[1])).unwrap();
    assert!(store.snapshot().find_keys(T, &key(&[1])).unwrap()[0].is_some());
    alter(TableDef { name: "renamed".into(), ..keyed() }).unwrap();
    assert!(matches!(store.snapshot().find_keys(T, &[]), Err(Error::Invalid(_))));
}

#[test]
fn keys_are_found_after_columns_came_went_and_widened() {
    let store = open(&Disk::default());
    let field = |name, ty| Field::new(name, ty, true);
    let schema = |fields| Arc::new(Schema::new(fields));
    let narrow = schema(vec![field("a", DataType::Utf8View), field("k", DataType::Int32)]);
    store.commit(create(TableDef { key: Some(vec![1]), ..TableDef::new("t", narrow.clone()) })).unwrap();
    let add = |keys: std::ops::Range<i32>| {
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys.clone().map(|key| key.to_string())));
        let columns = vec![texts, Arc::new(arrow::array::Int32Array::from_iter_values(keys)) as ArrayRef];
        let rows = RecordBatch::try_new(narrow.clone(), columns).unwrap();
        let changes = vec![Change::Append { table: T, partition: String::new(), rows }];
        store.commit(Commit { seen: Some(store.snapshot().version()), ..changes.into() }).unwrap();
    };
    add(-300..300);
    store.flush(None).unwrap();
    add(300..400);
    let old = (**store.snapshot().table(T).unwrap().def()).clone();
    // The key is the first column now, and wider; the other is gone, a new one came.
    let def = TableDef {
        schema: schema(vec![field("k", DataType::Int64), field("b", DataType::Float64)]),
        ids: vec![old.ids[1], 9],
        missing: vec![None, None],
        key: Some(vec![0]),
        ..old.clone()
    };
    store.commit(vec![Change::AlterTable { id: T, def: def.clone() }].into()).unwrap();
    let verify = || {
        let snapshot = store.snapshot();
        let places = snapshot.find_keys(T, &key(&[-300, 0, 299, 300, 399, 400])).unwrap();
        let there: Vec<u64> = places.iter().flatten().copied().collect();
        let keys = snapshot.take(T, &there, &[0]).unwrap();
        assert_eq!(keys.column(0).as_primitive::<Int64Type>().values()[..], [-300, 0, 299, 300, 399]);
    };
    verify();
    store.flush(None).unwrap();
    verify();
    store.maintain().unwrap();
    verify();
    let other = TableDef { key: Some(vec![1]), ..def };
    assert!(matches!(store.commit(vec![Change::AlterTable { id: T, def: other }].into()), Err(Error::Invalid(_))));
}
