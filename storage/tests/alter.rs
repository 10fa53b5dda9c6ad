//! Definitions that change: columns come, go, move and widen at once, for rows in parts and in the head, old ones and new ones.

mod support;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use support::T;
use weir_storage::{Change, Prune, PruneOp, Store, StoreOptions, TableDef, check};

fn manual() -> StoreOptions {
    StoreOptions { granule_rows: 100, background: false, ..StoreOptions::default() }
}

/// `k int NOT NULL, v text`, sorted by k.
fn before() -> TableDef {
    let fields = vec![Field::new("k", DataType::Int32, false), Field::new("v", DataType::Utf8View, true)];
    TableDef { sort_key: vec![0], ..TableDef::new("t", Arc::new(Schema::new(fields))) }
}

/// `n int DEFAULT 7, w text, k bigint NOT NULL`: v is gone, k is wider and last, n and w are new.
fn after() -> TableDef {
    let fields = vec![
        Field::new("n", DataType::Int32, false),
        Field::new("w", DataType::Utf8View, true),
        Field::new("k", DataType::Int64, false),
    ];
    let seven: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    TableDef {
        sort_key: vec![2],
        ids: vec![3, 4, 1],
        missing: vec![Some(seven), None, None],
        ..TableDef::new("t", Arc::new(Schema::new(fields)))
    }
}

fn old_rows(from: i32, to: i32) -> Change {
    let text = (from..to).map(|k| format!("row {k}"));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from_iter_values(from..to)), Arc::new(StringViewArray::from_iter_values(text))];
    let rows = RecordBatch::try_new(before().schema, columns).unwrap();
    Change::Append { table: T, partition: String::new(), rows }
}

fn new_rows(from: i64, to: i64) -> Change {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values((from..to).map(|k| k as i32 + 1))),
        Arc::new(StringViewArray::from_iter_values((from..to).map(|k| format!("new {k}")))),
        Arc::new(Int64Array::from_iter_values(from..to)),
    ];
    let rows = RecordBatch::try_new(after().schema, columns).unwrap();
    Change::Append { table: T, partition: String::new(), rows }
}

/// All rows under the new definition, by k.
fn rows(store: &Store) -> Vec<(i64, i32, Option<String>)> {
    let scan = store.snapshot().scan(T, &[]).unwrap();
    let mut rows = Vec::new();
    for granule in 0..scan.len() {
        let batch = scan.read(granule, &[0, 1, 2], None).unwrap();
        let (n, w, k) =
            (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_string_view(), batch.column(2));
        let text = |row| w.is_valid(row).then(|| w.value(row).to_string());
        rows.extend((0..k.len()).map(|row| (k.as_primitive::<Int64Type>().value(row), n.value(row), text(row))));
    }
    rows.sort();
    rows
}

fn expected(new_from: i64, new_to: i64) -> Vec<(i64, i32, Option<String>)> {
    let old = (0..400).map(|k| (k, 7, None));
    old.chain((new_from..new_to).map(|k| (k, k as i32 + 1, Some(format!("new {k}"))))).collect()
}

#[test]
fn rows_of_every_age_are_seen_through_the_newest_definition() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), manual()).unwrap();
    store.commit(vec![Change::CreateTable { id: T, def: before() }, old_rows(0, 250)].into()).unwrap();
    store.flush(None).unwrap();
    store.commit(vec![old_rows(250, 400)].into()).unwrap();
    let old = store.snapshot();
    store.commit(vec![Change::AlterTable { id: T, def: after() }].into()).unwrap();
    assert_eq!(rows(&store), expected(0, 0));
    store.commit(vec![new_rows(5_000_000_000, 5_000_000_100)].into()).unwrap();
    let all = expected(5_000_000_000, 5_000_000_100);
    assert_eq!(rows(&store), all);
    let scan = old.scan(T, &[]).unwrap();
    let first = scan.read(0, &[1], None).unwrap();
    assert_eq!(first.column(0).as_string_view().value(3), "row 3", "an old snapshot has the old columns");
    drop((scan, old));
    for step in 0..3 {
        match step {
            0 => {
                store.close().unwrap();
                store = Store::open(dir.path(), manual()).unwrap();
            }
            1 => store.flush(None).unwrap(),
            _ => store.maintain().unwrap(),
        }
        assert_eq!(rows(&store), all, "step {step}");
    }
    store.close().unwrap();
    assert!(check(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn zones_and_keys_of_old_parts_prune_by_the_new_types() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    store.commit(vec![Change::CreateTable { id: T, def: before() }, old_rows(0, 400)].into()).unwrap();
    store.flush(None).unwrap();
    store.commit(vec![Change::AlterTable { id: T, def: after() }].into()).unwrap();
    let granules = |column: usize, op, values: ArrayRef| {
        store.snapshot().scan(T, &[Prune { column, op, values }.into()]).unwrap().len()
    };
    assert_eq!(granules(2, PruneOp::Eq, Arc::new(Int64Array::from(vec![150]))), 1);
    assert_eq!(granules(2, PruneOp::Gt, Arc::new(Int64Array::from(vec![5_000_000_000]))), 0);
    assert_eq!(granules(0, PruneOp::Eq, Arc::new(Int32Array::from(vec![7]))), 4);
    assert_eq!(granules(0, PruneOp::Eq, Arc::new(Int32Array::from(vec![8]))), 0);
    assert_eq!(granules(1, PruneOp::IsNull, Arc::new(StringViewArray::from(Vec::<&str>::new()))), 4);
    assert_eq!(granules(1, PruneOp::IsNotNull, Arc::new(StringViewArray::from(Vec::<&str>::new()))), 0);
    assert_eq!(granules(1, PruneOp::Eq, Arc::new(StringViewArray::from(vec!["row 3"]))), 0);
    let zone = store.snapshot().scan(T, &[]).unwrap().zone(1, 2).unwrap();
    assert_eq!(zone.max.as_primitive::<Int64Type>().value(0), 199);
}

#[test]
fn a_flush_that_began_before_is_right_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    store.commit(vec![Change::CreateTable { id: T, def: before() }].into()).unwrap();
    // Parts written under the old definition, named under the new one: what a flush or merge in between does.
    let Change::Append { rows: batch, .. } = old_rows(0, 400) else { unreachable!() };
    let parts = store.write_parts(&before(), "", vec![batch]).unwrap();
    store.commit(vec![Change::AlterTable { id: T, def: after() }].into()).unwrap();
    store.commit(vec![Change::AddParts { table: T, parts }].into()).unwrap();
    assert_eq!(rows(&store), expected(0, 0));
}

#[test]
fn a_type_does_not_change_to_one_that_holds_less() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    store.commit(vec![Change::CreateTable { id: T, def: after() }].into()).unwrap();
    let narrow = TableDef { ids: vec![1, 2], sort_key: vec![0], ..before() };
    assert!(store.commit(vec![Change::AlterTable { id: T, def: narrow }].into()).is_err());
    let twice = TableDef { ids: vec![3, 3, 1], ..after() };
    assert!(store.commit(vec![Change::AlterTable { id: T, def: twice }].into()).is_err());
}
