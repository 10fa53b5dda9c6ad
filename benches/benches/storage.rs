//! Storage: encoding, decoding and taking single rows by kind of column, a flush, a merge, and small commits from many threads.
//!
//! Encodings are measured through the public doors: a part of one column, written to and read from memory (`/dev/shm`). Only small
//! commits go to the disk, since their fsync is what counts.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int64Type, Schema};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use weir_benches::memory;
use weir_storage::{Change, Codec, Store, StoreOptions, TableDef, TableId, Transform};

const T: TableId = TableId(1);
/// Rows of a column; few in a test build, which only shows that all this still runs.
const ROWS: usize = if cfg!(debug_assertions) { 1 << 13 } else { 1 << 18 };

fn open(dir: &TempDir, options: StoreOptions) -> Store {
    Store::open(dir.path(), options).expect("it opens")
}

fn quiet() -> StoreOptions {
    StoreOptions { background: false, ..StoreOptions::default() }
}

/// Columns of a stream of events, by what they are like.
fn columns(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let mut random = StdRng::seed_from_u64(1);
    let mut int =
        |range: std::ops::Range<i64>| -> Vec<i64> { (0..rows).map(|_| random.random_range(range.clone())).collect() };
    let (hashes, users, steps, kinds, cents) =
        (int(i64::MIN..i64::MAX), int(0..50_000), int(0..2000), int(0..40), int(0..1_000_000));
    let times = steps.iter().scan(1_700_000_000_000_000, |time, step| {
        *time += step;
        Some(*time)
    });
    let json = users.iter().zip(&kinds).zip(&cents).map(|((user, kind), cents)| {
        format!(r#"{{"user": {user}, "kind": "kind {kind}", "amount": {cents}, "tags": ["a", "b{kind}"], "page": "/p/{user}"}}"#)
    });
    let decimal = Decimal128Array::from_iter_values(cents.iter().map(|&cents| i128::from(cents)));
    vec![
        ("int8 random", Arc::new(Int64Array::from(hashes.clone()))),
        ("int8 small", Arc::new(Int64Array::from(users.clone()))),
        ("timestamp rising", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
        ("double random", Arc::new(Float64Array::from_iter_values(hashes.iter().map(|&hash| hash as f64 / 3e9)))),
        ("double cents", Arc::new(Float64Array::from_iter_values(cents.iter().map(|&cents| cents as f64 / 100.0)))),
        ("numeric", Arc::new(decimal.with_precision_and_scale(10, 2).expect("a decimal"))),
        (
            "text few",
            Arc::new(StringViewArray::from_iter_values(kinds.iter().map(|kind| format!("event kind {kind}")))),
        ),
        ("text many", Arc::new(StringViewArray::from_iter_values(hashes.iter().map(|hash| format!("{hash:016x}"))))),
        ("json", Arc::new(StringViewArray::from_iter_values(json))),
    ]
}

/// Columns for the encodings that those of a stream do not come to by themselves, and the codec that asks for it.
fn asked(rows: usize) -> Vec<(&'static str, ArrayRef, Transform)> {
    let mut random = StdRng::seed_from_u64(2);
    let mut draw = |below: u32| -> Vec<u32> { (0..rows).map(|_| random.random_range(0..below)).collect() };
    let (percent, noise) = (draw(100), draw(u32::MAX));
    let runs = percent.iter().scan(0, |run, step| {
        *run += i64::from(*step == 0);
        Some(*run * 1000)
    });
    let seconds: Vec<i64> =
        noise.iter().map(|noise| 1_700_000_000_000_000 + i64::from(noise % 604_800) * 1_000_000).collect();
    let measured: Vec<f64> = noise.iter().map(|&noise| 20.0 + f64::from(noise) / 1e9 / 3.0).collect();
    let outliers =
        percent.iter().zip(&noise).map(|(percent, noise)| i64::from(if *percent == 0 { *noise } else { noise >> 20 }));
    let urls = noise.iter().map(|noise| format!("https://www.example.com/section{}/item/{noise}?ref=mail", noise % 9));
    let lists = noise.iter().map(|noise| Some((0..noise % 5).map(|n| Some(i64::from(noise >> n))).collect::<Vec<_>>()));
    let (auto, plain) = (Transform::Auto, Transform::Plain);
    vec![
        ("constant", Arc::new(Int64Array::from_value(42, rows)), auto),
        ("runs", Arc::new(Int64Array::from_iter_values(runs)), auto),
        ("plain", Arc::new(Int64Array::from_iter_values(noise.iter().map(|&noise| i64::from(noise)))), plain),
        (
            "packed",
            Arc::new(Int64Array::from_iter_values(noise.iter().map(|noise| i64::from(noise % 1000)))),
            Transform::Packed,
        ),
        ("patched", Arc::new(Int64Array::from_iter_values(outliers)), auto),
        ("scaled", Arc::new(TimestampMicrosecondArray::from(seconds)), Transform::Scaled),
        (
            "delta of deltas",
            Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| row * row))),
            Transform::Delta(2),
        ),
        ("gorilla", Arc::new(Float64Array::from(measured.clone())), Transform::Gorilla),
        ("split", Arc::new(Float64Array::from(measured)), auto),
        (
            "some NULLs",
            Arc::new(Int64Array::from_iter(noise.iter().map(|&noise| (noise % 10 > 0).then_some(i64::from(noise))))),
            auto,
        ),
        ("boolean", Arc::new(BooleanArray::from_iter(noise.iter().map(|noise| Some(noise % 3 == 0)))), auto),
        ("text alike", Arc::new(StringViewArray::from_iter_values(urls)), auto),
        ("lists", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), auto),
    ]
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), array.is_nullable());
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.iter().map(|(_, array)| array.clone()).collect()).expect("columns fit")
}

fn raw_bytes(array: &ArrayRef) -> u64 {
    match array.as_any().downcast_ref::<StringViewArray>() {
        Some(text) => (0..text.len()).map(|row| text.value_length(row)).sum(),
        None => array.to_data().get_slice_memory_size().expect("its size") as u64,
    }
}

trait Length {
    fn value_length(&self, row: usize) -> u64;
}

impl Length for StringViewArray {
    fn value_length(&self, row: usize) -> u64 {
        u64::from(self.views()[row] as u32)
    }
}

fn encodings(criterion: &mut Criterion) {
    let all = columns(ROWS).into_iter().map(|(name, array)| (name, array, Transform::Auto));
    for (name, array, transform) in all.chain(asked(ROWS)) {
        let dir = memory();
        let store = open(&dir, quiet());
        let rows = batch(&[(name, array.clone())]);
        let codecs = vec![Codec { transform, ..Codec::default() }];
        let def = TableDef { codecs, ..TableDef::new(name, rows.schema()) };
        store.commit(vec![Change::CreateTable { id: T, def: def.clone() }].into()).expect("a table");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Bytes(raw_bytes(&array)));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| store.write_parts(&def, "", vec![rows.clone()]).expect("a part"));
        });
        let parts = store.write_parts(&def, "", vec![rows.clone()]).expect("a part");
        let bytes = parts[0].bytes();
        let snapshot = store.commit(vec![Change::AddParts { table: T, parts }].into()).expect("a commit").snapshot;
        let scan = snapshot.scan(T, &[]).expect("a scan");
        println!("{name}: {:.2} bytes a row", bytes as f64 / ROWS as f64);
        group.bench_function("decode", |bencher| {
            bencher.iter(|| {
                for granule in 0..scan.len() {
                    black_box(scan.read(granule, &[0], None).expect("rows"));
                }
            });
        });
        let some: Vec<u32> = (0..scan.rows(0) as u32).step_by(100).collect();
        group.throughput(Throughput::Elements(some.len() as u64));
        group.bench_function("every hundredth row", |bencher| {
            bencher.iter(|| black_box(scan.read(0, &[0], Some(&some)).expect("rows")));
        });
        group.finish();
    }
}

fn parts(criterion: &mut Criterion) {
    const PARTS: usize = 8;
    let all = columns(ROWS);
    let rows = batch(&all);
    let def = TableDef { sort_key: vec![6, 2], ..TableDef::new("events", rows.schema()) };
    let dir = memory();
    let store = open(&dir, quiet());
    store.commit(vec![Change::CreateTable { id: T, def: def.clone() }].into()).expect("a table");
    let mut group = criterion.benchmark_group("part");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("sort and write", |bencher| {
        bencher.iter(|| store.write_parts(&def, "", vec![rows.clone()]).expect("a part"));
    });
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("merge 8", |bencher| {
        bencher.iter_batched(
            || {
                store.commit(vec![Change::Truncate { table: T }].into()).expect("a commit");
                for part in 0..PARTS {
                    let (from, count) = (part * ROWS / PARTS, ROWS / PARTS);
                    let parts = store.write_parts(&def, "", vec![rows.slice(from, count)]).expect("a part");
                    store.commit(vec![Change::AddParts { table: T, parts }].into()).expect("a commit");
                }
            },
            |()| store.maintain().expect("a merge"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn commits(criterion: &mut Criterion) {
    const THREADS: usize = 8;
    const COMMITS: usize = 100;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(&dir, StoreOptions::default());
    let row = |id: i64| batch(&[("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef)]);
    let def = TableDef::new("small", row(0).schema());
    store.commit(vec![Change::CreateTable { id: T, def }].into()).expect("a table");
    let next = AtomicI64::new(0);
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(10).throughput(Throughput::Elements((THREADS * COMMITS) as u64));
    group.bench_function("one row from 8 threads", |bencher| {
        bencher.iter(|| {
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        for _ in 0..COMMITS {
                            let rows = row(next.fetch_add(1, Ordering::Relaxed));
                            let change = Change::Append { table: T, partition: String::new(), rows };
                            store.commit(vec![change].into()).expect("a commit");
                        }
                    });
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, encodings, parts, commits);
criterion_main!(benches);
