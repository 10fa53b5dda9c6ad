//! What storage's tests share: a table, its rows, and a simulated disk.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod disk;
pub(crate) mod history;
pub(crate) mod model;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use weir_storage::{Change, Commit, Snapshot, TableDef, TableId};

/// The table of most tests.
pub(crate) const T: TableId = TableId(16384);

/// `id bigint NOT NULL, name text`
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8View, true)]))
}

/// Sorted by id.
pub(crate) fn sorted() -> TableDef {
    TableDef { sort_key: vec![0], ..TableDef::new("t", schema()) }
}

/// Rows of these ids; the name follows from the id.
pub(crate) fn rows(ids: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let names = StringViewArray::from_iter(ids.clone().map(name_of));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(names)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn name_of(id: i64) -> Option<String> {
    (id % 7 != 0).then(|| format!("the name of number {id}"))
}

/// A commit that makes the table.
pub(crate) fn create(def: TableDef) -> Commit {
    vec![Change::CreateTable { id: T, def }].into()
}

/// A commit of rows.
pub(crate) fn append(partition: &str, ids: impl Iterator<Item = i64> + Clone) -> Commit {
    vec![Change::Append { table: T, partition: partition.into(), rows: rows(ids) }].into()
}

/// The ids of all rows, granule by granule, and that each has its own name.
pub(crate) fn granules(snapshot: &Snapshot) -> Vec<Vec<i64>> {
    let scan = snapshot.scan(T, &[]).unwrap();
    (0..scan.len())
        .map(|granule| {
            let batch = scan.read(granule, &[0, 1], None).unwrap();
            let ids = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            assert_eq!(batch.column(1), rows(ids.iter().copied()).column(1));
            ids
        })
        .collect()
}

/// The ids of all rows, sorted.
pub(crate) fn ids(snapshot: &Snapshot) -> Vec<i64> {
    let mut ids = granules(snapshot).concat();
    ids.sort_unstable();
    ids
}

/// The place of the first row with this id.
pub(crate) fn place_of(snapshot: &Snapshot, id: i64) -> Option<u64> {
    let scan = snapshot.scan(T, &[]).unwrap();
    (0..scan.len()).find_map(|granule| {
        let batch = scan.read(granule, &[0], None).unwrap();
        let row = batch.column(0).as_primitive::<Int64Type>().values().iter().position(|&other| other == id)?;
        Some(scan.places(granule, Some(&[row as u32])).unwrap().value(0))
    })
}
