//! Rows by name: look-ups by unique key, deletion of single rows, and what deleted rows cost a scan.
//!
//! Everything is in memory (`/dev/shm`) but what the title of a benchmark says of commits.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Field, Schema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use weir_benches::memory;
use weir_storage::{Change, Commit, Durability, Snapshot, Store, StoreOptions, TableDef, TableId};

const T: TableId = TableId(1);
/// Rows of the table; few in a test build, which only shows that all this still runs.
const ROWS: i64 = if cfg!(debug_assertions) { 20_000 } else { 10_000_000 };
const PARTS: i64 = 4;
const COLUMNS: [usize; 4] = [0, 1, 2, 3];

fn open(dir: &TempDir) -> Store {
    let options = StoreOptions { background: false, ..StoreOptions::default() };
    Store::open(dir.path(), options).expect("it opens")
}

/// Rows with these keys.
fn batch(keys: &[i64]) -> RecordBatch {
    let mut random = StdRng::seed_from_u64(keys.first().copied().unwrap_or(0) as u64);
    let kinds = keys.iter().map(|key| format!("kind {}", key % 40));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("key", Arc::new(Int64Array::from(keys.to_vec()))),
        ("amount", Arc::new(Int64Array::from_iter_values(keys.iter().map(|_| random.random_range(0..100_000))))),
        (
            "price",
            Arc::new(Float64Array::from_iter_values(
                keys.iter().map(|_| f64::from(random.random_range(0..9999)) / 100.0),
            )),
        ),
        ("kind", Arc::new(StringViewArray::from_iter_values(kinds))),
    ];
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), false);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).expect("columns fit")
}

fn def() -> TableDef {
    let sort_key = vec![0];
    TableDef { sort_key, key: Some(vec![0]), durability: Durability::Async, ..TableDef::new("t", batch(&[]).schema()) }
}

/// The keys of a new table in random order, in a few parts.
fn filled(dir: &TempDir) -> (Store, Vec<i64>) {
    let store = open(dir);
    store.commit(vec![Change::CreateTable { id: T, def: def() }].into()).expect("a table");
    let mut keys: Vec<i64> = (0..ROWS).collect();
    keys.shuffle(&mut StdRng::seed_from_u64(7));
    for part in keys.chunks((ROWS / PARTS) as usize) {
        let parts = store.write_parts(&def(), "", vec![batch(part)]).expect("a part");
        add(&store, vec![Change::AddParts { table: T, parts }]);
    }
    (store, keys)
}

fn add(store: &Store, changes: Vec<Change>) {
    let seen = Some(store.snapshot().version());
    store.commit(Commit { seen, ..changes.into() }).expect("a commit");
}

fn find(snapshot: &Snapshot, keys: &[i64]) -> Vec<u64> {
    let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    snapshot.find_keys(T, &[keys]).expect("keys").into_iter().flatten().collect()
}

/// Deletes the rows of these keys and adds new ones.
fn upsert(store: &Store, keys: &[i64]) {
    let snapshot = store.snapshot();
    let rows = snapshot.row_set(T, &find(&snapshot, keys)).expect("rows");
    let changes = vec![
        Change::Delete { table: T, rows },
        Change::Append { table: T, partition: String::new(), rows: batch(keys) },
    ];
    store.commit(Commit { seen: Some(snapshot.version()), ..changes.into() }).expect("a commit");
}

fn scan(snapshot: &Snapshot) -> usize {
    let scan = snapshot.scan(T, &[]).expect("a scan");
    (0..scan.len()).map(|granule| black_box(scan.read(granule, &COLUMNS, None).expect("rows")).num_rows()).sum()
}

fn look_ups(criterion: &mut Criterion) {
    let dir = memory();
    let (store, keys) = filled(&dir);
    let snapshot = store.snapshot();
    let mut group = criterion.benchmark_group("find");
    let mut next = 0;
    group.bench_function("one key", |bencher| {
        bencher.iter(|| {
            next = (next + 7919) % ROWS as usize;
            black_box(find(&snapshot, &keys[next..=next]))
        });
    });
    let many = &keys[..(ROWS / 10) as usize];
    group.sample_size(10).throughput(Throughput::Elements(many.len() as u64));
    group.bench_function("a tenth of all keys", |bencher| bencher.iter(|| black_box(find(&snapshot, many))));
    group.finish();
}

fn changes(criterion: &mut Criterion) {
    let dir = memory();
    let (store, keys) = filled(&dir);
    let mut group = criterion.benchmark_group("change");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("scan, nothing deleted", |bencher| bencher.iter(|| scan(&store.snapshot())));
    for keys in keys[..(ROWS / 10) as usize].chunks(100_000) {
        upsert(&store, keys);
    }
    store.flush(None).expect("a flush");
    group.bench_function("scan, a tenth upserted", |bencher| bencher.iter(|| scan(&store.snapshot())));
    store.maintain().expect("merges");
    group.bench_function("scan, a tenth upserted and merged", |bencher| bencher.iter(|| scan(&store.snapshot())));
    group.throughput(Throughput::Elements(1));
    let mut next = keys.iter().cycle();
    group.bench_function("upsert one row", |bencher| {
        bencher.iter(|| upsert(&store, &[*next.next().expect("keys")]));
    });
    store.flush(None).expect("a flush");
    let snapshot = store.snapshot();
    let mut places = find(&snapshot, &keys).into_iter();
    group.bench_function("delete one row", |bencher| {
        bencher.iter(|| {
            let Some(place) = places.next() else { return };
            let rows = snapshot.row_set(T, &[place]).expect("a row");
            store.commit(vec![Change::Delete { table: T, rows }].into()).expect("a commit");
        });
    });
    group.finish();
}

criterion_group!(benches, look_ups, changes);
criterion_main!(benches);
