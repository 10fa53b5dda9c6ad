//! Background work from outside: merges, folding, expiry, checkpoints, back-pressure, a full disk.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Int64Array, Int64Builder,
    IntervalMonthDayNanoArray, ListBuilder, RecordBatch, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Field, Int64Type, IntervalMonthDayNanoType, Schema, TimeUnit, TimestampMicrosecondType,
};
use support::disk::Disk;
use support::{T, append, create, granules, ids, schema, sorted};
use weir_storage::{Change, Collapse, Commit, Error, Retain, Store, StoreOptions, TableDef, TtlDef, check};

/// Nothing happens by itself.
fn manual() -> StoreOptions {
    StoreOptions { granule_rows: 100, background: false, ..StoreOptions::default() }
}

fn parts(store: &Store) -> usize {
    store.snapshot().table(T).unwrap().parts().len()
}

#[test]
fn a_merge_keeps_all_rows_in_order_and_old_snapshots_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    store.commit(create(sorted())).unwrap();
    // Interleaved, overlapping and disjoint parts, with equal ids.
    let batches: [Vec<i64>; 5] = [
        (0..1000).step_by(2).collect(),
        (1..1000).step_by(2).collect(),
        (500..800).collect(),
        (5000..5250).collect(),
        vec![3; 250],
    ];
    for batch in &batches {
        store.commit(append("", batch.iter().copied())).unwrap();
        store.flush(None).unwrap();
    }
    let before = store.snapshot();
    let mut expected = batches.concat();
    expected.sort_unstable();
    assert_eq!(parts(&store), 5);
    store.maintain().unwrap();
    let files = || std::fs::read_dir(dir.path().join("parts")).unwrap().count();
    assert_eq!((parts(&store), files()), (1, 6));
    let merged = granules(&store.snapshot());
    assert_eq!(merged.concat(), expected);
    assert!(merged.iter().rev().skip(1).all(|granule| granule.len() == 100));
    assert_eq!(ids(&before), expected, "an open snapshot reads the old files");
    drop(before);
    assert_eq!(files(), 1);
    store.close().unwrap();
    assert!(check(dir.path()).unwrap().damage.is_empty());
    let store = Store::open(dir.path(), manual()).unwrap();
    assert_eq!(granules(&store.snapshot()).concat(), expected);
}

#[test]
fn parts_without_a_key_follow_each_other_and_partitions_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    store.commit(create(TableDef::new("t", schema()))).unwrap();
    for part in 0..5 {
        let own = |partition: i64| (0..150).map(move |row| 10_000 * partition + 1000 * part + 999 - row);
        store.commit([append("a", own(1)).changes, append("b", own(2)).changes].concat().into()).unwrap();
        store.flush(None).unwrap();
    }
    assert_eq!(parts(&store), 10);
    let before = granules(&store.snapshot()).concat();
    store.maintain().unwrap();
    let snapshot = store.snapshot();
    let table = snapshot.table(T).unwrap();
    let partitions: Vec<(&str, u64)> = table.parts().iter().map(|part| (part.partition(), part.rows())).collect();
    assert_eq!(partitions, [("a", 750), ("b", 750)]);
    let of = |ids: &[i64], partition: i64| -> Vec<i64> {
        ids.iter().copied().filter(|id| id / 10_000 == partition).collect()
    };
    let after = granules(&snapshot).concat();
    assert_eq!((of(&after, 1), of(&after, 2)), (of(&before, 1), of(&before, 2)));
}

#[test]
fn thousands_of_commits_make_few_parts_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { granule_rows: 100, head_rows_max: 20, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options.clone()).unwrap();
    store.commit(create(sorted())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..400 {
                    let id = i * 8 + thread;
                    store.commit(append("", id..id + 1)).unwrap();
                }
            });
        }
    });
    store.maintain().unwrap();
    assert!(parts(&store) < 24, "{} parts", parts(&store));
    assert_eq!(ids(&store.snapshot()), (0..3200).collect::<Vec<_>>());
    store.close().unwrap();
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(ids(&store.snapshot()), (0..3200).collect::<Vec<_>>());
}

#[test]
fn the_background_flushes_merges_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        StoreOptions { granule_rows: 100, head_rows_max: 500, log_bytes_max: 100_000, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options.clone()).unwrap();
    store.commit(create(sorted())).unwrap();
    for i in 0..200 {
        store.commit(append("", i * 100..(i + 1) * 100)).unwrap();
    }
    let start = Instant::now();
    let log_bytes = || -> u64 {
        let files = std::fs::read_dir(dir.path().join("log")).unwrap();
        files.map(|file| file.unwrap()).filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    };
    loop {
        let table = store.snapshot().table(T).unwrap();
        if table.head_rows() < 500 && (1..24).contains(&table.parts().len()) && log_bytes() < 250_000 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{} parts, {} head rows", parts(&store), table.head_rows());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ids(&store.snapshot()), (0..20_000).collect::<Vec<_>>());
    store.close().unwrap();
    let findings = check(dir.path()).unwrap();
    assert_eq!((findings.damage.len(), findings.rows, findings.version.is_some()), (0, 20_000, true));
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(ids(&store.snapshot()), (0..20_000).collect::<Vec<_>>());
}

#[test]
fn a_merge_whose_parts_go_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    store.commit(create(sorted())).unwrap();
    for round in 0..20 {
        for part in 0..6 {
            store.commit(append("", part * 3000..(part + 1) * 3000)).unwrap();
            store.flush(None).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| store.maintain().unwrap());
            std::thread::sleep(Duration::from_millis(round));
            store.commit(vec![Change::Truncate { table: T }].into()).unwrap();
        });
        assert_eq!((parts(&store), ids(&store.snapshot()).len()), (0, 0));
    }
    let files = std::fs::read_dir(dir.path().join("parts")).unwrap().count();
    assert_eq!(files, 0);
}

/// A row of every kind of type, NULL now and then, for each id.
fn all_types(ids: &[i64]) -> RecordBatch {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for &id in ids {
        (0..id % 4).for_each(|item| lists.values().append_value(id + item));
        lists.append(id % 5 != 0);
    }
    let some = |id: &i64| (id % 3 != 0).then_some(*id);
    let texts = StringViewArray::from_iter(ids.iter().map(|id| some(id).map(|id| format!("a text that is long {id}"))));
    let uuids = ids.iter().map(|id| some(id).map(|id| u128::from(id as u64).to_be_bytes()));
    let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16).unwrap();
    let intervals = ids.iter().map(|&id| IntervalMonthDayNanoType::make_value(id as i32, 1, id));
    let decimals = Decimal128Array::from_iter(ids.iter().map(|id| some(id).map(i128::from)));
    let texts: ArrayRef = Arc::new(texts);
    let field = Arc::new(Field::new("text", DataType::Utf8View, true));
    let records = StructArray::from(vec![(field, texts.clone())]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("list", Arc::new(lists.finish())),
        ("record", Arc::new(records)),
        ("uuid", Arc::new(uuids)),
        ("interval", Arc::new(IntervalMonthDayNanoArray::from_iter_values(intervals))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(20, 2).unwrap())),
        ("bool", Arc::new(BooleanArray::from_iter(ids.iter().map(|id| some(id).map(|id| id % 2 == 0))))),
        ("text", texts),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

#[test]
fn every_type_goes_through_a_merge() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    let schema = all_types(&[]).schema();
    store.commit(create(TableDef { sort_key: vec![0], ..TableDef::new("t", schema) })).unwrap();
    // Alternating rows, alternating runs of rows, and a part by itself.
    let batches: [Vec<i64>; 5] = [
        (0..500).step_by(2).collect(),
        (0..500).skip(1).step_by(2).collect(),
        (500..1000).filter(|id| id / 40 % 2 == 0).collect(),
        (500..1000).filter(|id| id / 40 % 2 == 1).collect(),
        (1000..1200).collect(),
    ];
    for ids in &batches {
        let append = Change::Append { table: T, partition: String::new(), rows: all_types(ids) };
        store.commit(vec![append].into()).unwrap();
        store.flush(None).unwrap();
    }
    store.maintain().unwrap();
    assert_eq!(parts(&store), 1);
    let scan = store.snapshot().scan(T, &[]).unwrap();
    let columns: Vec<usize> = (0..scan.def().schema.fields().len()).collect();
    for granule in 0..scan.len() {
        let from = granule as i64 * 100;
        let expected = all_types(&(from..from + 100).collect::<Vec<_>>());
        assert_eq!(scan.read(granule, &columns, None).unwrap().columns(), expected.columns());
    }
    assert_eq!(scan.len(), 12);
}

/// Adds up column 1 of rows with the same column 0.
struct Sum;

impl Collapse for Sum {
    fn collapse(&self, def: &TableDef, rows: RecordBatch) -> Result<RecordBatch, String> {
        let (keys, values) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        assert!(keys.values().is_sorted());
        for (key, value) in keys.values().iter().zip(values.values()) {
            *sums.entry(*key).or_default() += value;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(sums.keys().copied())),
            Arc::new(Int64Array::from_iter_values(sums.values().copied())),
        ];
        RecordBatch::try_new(def.schema.clone(), columns).map_err(|error| error.to_string())
    }
}

#[test]
fn flush_and_merge_fold_equal_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { collapse: Some(Arc::new(Sum)), ..manual() }).unwrap();
    let field = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("key"), field("sum")]));
    let def = TableDef { collapse: Some(vec![0]), ..TableDef::new("v", schema.clone()) };
    store.commit(create(def)).unwrap();
    // Enough for folding in pieces: 100,000 keys in six parts, each key several times in each head.
    for part in 0..6 {
        for _ in 0..3 {
            let keys: Vec<i64> = (0..60_000).map(|row| (row * 7 + part * 8000) % 100_000).collect();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(keys)), Arc::new(Int64Array::from(vec![1; 60_000]))];
            let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
            store.commit(vec![Change::Append { table: T, partition: String::new(), rows }].into()).unwrap();
        }
        store.flush(None).unwrap();
        let table = store.snapshot().table(T).unwrap();
        assert_eq!(table.parts().last().unwrap().rows(), 60_000);
    }
    store.maintain().unwrap();
    let snapshot = store.snapshot();
    let scan = snapshot.scan(T, &[]).unwrap();
    assert_eq!(snapshot.table(T).unwrap().parts().len(), 1);
    let (mut keys, mut sum) = (Vec::new(), 0);
    for granule in 0..scan.len() {
        let batch = scan.read(granule, &[0, 1], None).unwrap();
        keys.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
        sum += batch.column(1).as_primitive::<Int64Type>().values().iter().sum::<i64>();
    }
    assert_eq!((sum, keys.len()), (6 * 3 * 60_000, 100_000));
    assert!(keys.is_sorted());
}

#[test]
fn rows_deleted_while_they_are_folded_stay_deleted() {
    let disk = Disk::default();
    let io = Arc::new(disk.clone());
    let store = Store::open(Path::new("/db"), StoreOptions { io, collapse: Some(Arc::new(Sum)), ..manual() }).unwrap();
    let field = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("key"), field("sum")]));
    store.commit(create(TableDef { collapse: Some(vec![0]), ..TableDef::new("v", schema.clone()) })).unwrap();
    let sums = || -> (u64, i64) {
        let scan = store.snapshot().scan(T, &[]).unwrap();
        let of = |granule| -> i64 {
            scan.read(granule, &[1], None).unwrap().column(0).as_primitive::<Int64Type>().values().iter().sum()
        };
        (store.snapshot().table(T).unwrap().rows(), (0..scan.len()).map(of).sum())
    };
    // Deletes the first row that there is, when the next part file is begun.
    let delete_meanwhile = || {
        let (snapshot, store) = (store.snapshot(), store.clone());
        let place = snapshot.scan(T, &[]).unwrap().places(0, Some(&[0])).unwrap().value(0);
        let rows = snapshot.row_set(T, &[place]).unwrap();
        let commit = Commit::from(vec![Change::Delete { table: T, rows }]);
        disk.meanwhile(Some(Box::new(move || drop(store.commit(commit).unwrap()))));
    };
    let append = |keys: Vec<i64>, value: i64| {
        let values = vec![value; keys.len()];
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys)), Arc::new(Int64Array::from(values))];
        let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
        store.commit(vec![Change::Append { table: T, partition: String::new(), rows }].into()).unwrap();
    };
    for _ in 0..6 {
        append((0..40).map(|row| row % 20).collect(), 1);
        store.flush(None).unwrap();
    }
    assert_eq!(sums(), (120, 240));
    append(vec![7, 7], 1);
    delete_meanwhile();
    store.flush(None).unwrap();
    assert!(disk.meanwhile(None));
    // The row was a part's: the flush did not mind, and folded.
    assert_eq!(sums(), (120, 240));
    delete_meanwhile();
    store.maintain().unwrap();
    assert!(disk.meanwhile(None));
    assert_eq!((parts(&store), sums()), (1, (119, 238)), "merged, but not folded");
    store.commit(vec![Change::Truncate { table: T }].into()).unwrap();
    append(vec![7, 7, 8], 1);
    delete_meanwhile();
    store.flush(None).unwrap();
    assert!(disk.meanwhile(None));
    assert_eq!((parts(&store), sums()), (1, (2, 2)), "flushed, but not folded");
}

/// Never folds.
struct Broken;

impl Collapse for Broken {
    fn collapse(&self, _: &TableDef, _: RecordBatch) -> Result<RecordBatch, String> {
        Err("not today".into())
    }
}

#[test]
fn rows_that_cannot_be_folded_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { collapse: Some(Arc::new(Broken)), ..manual() }).unwrap();
    store.commit(create(TableDef { collapse: Some(vec![0]), ..sorted() })).unwrap();
    for part in 0..4 {
        store.commit(append("", (0..300).chain(part..part + 5))).unwrap();
        store.flush(None).unwrap();
    }
    store.maintain().unwrap();
    assert_eq!((parts(&store), ids(&store.snapshot()).len()), (1, 4 * 305));
}

#[test]
fn parts_go_when_all_their_rows_have_expired() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), manual()).unwrap();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![Field::new("ts", time, true)]));
    let ttl = vec![TtlDef { column: 0, months: 1, days: 0, micros: 0, conditional: false }];
    store.commit(create(TableDef { ttl, ..TableDef::new("t", schema.clone()) })).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    let day = 86_400_000_000;
    let write = |partition: &str, times: Vec<Option<i64>>| {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
        let rows = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        store.commit(vec![Change::Append { table: T, partition: partition.into(), rows }].into()).unwrap();
    };
    write("old", vec![Some(now - 40 * day), Some(now - 35 * day)]);
    write("mixed", vec![Some(now - 40 * day), Some(now - 20 * day)]);
    write("kept", vec![Some(now - 40 * day), None]);
    store.flush(None).unwrap();
    store.maintain().unwrap();
    let table = store.snapshot().table(T).unwrap();
    let partitions: Vec<&str> = table.parts().iter().map(|part| part.partition()).collect();
    assert_eq!(partitions, ["kept", "mixed"]);
}

/// Keeps the times that are less than 30 days ago.
struct ThirtyDays;

impl Retain for ThirtyDays {
    fn retain(&self, _: &TableDef, rows: &RecordBatch, now: i64) -> Result<Option<RecordBatch>, String> {
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let kept = times.iter().map(|time| Some(time.is_none_or(|time| time + 30 * 86_400_000_000 > now))).collect();
        filter_record_batch(rows, &kept).map(Some).map_err(|error| error.to_string())
    }
}

#[test]
fn expired_rows_leave_parts_that_nothing_else_would_rewrite() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { retain: Some(Arc::new(ThirtyDays)), ..manual() };
    let store = Store::open(dir.path(), options).unwrap();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![Field::new("ts", time, true)]));
    let def = TableDef::new("t", schema.clone());
    store.commit(create(def.clone())).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    let write = |partition: &str, days: &[i64]| {
        let times: Vec<i64> = days.iter().map(|day| now - day * 86_400_000_000).collect();
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
        let rows = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        store.commit(vec![Change::Append { table: T, partition: partition.into(), rows }].into()).unwrap();
    };
    write("some", &[50, 40, 35, 20, 10]);
    write("none", &[20, 10]);
    store.flush(None).unwrap();
    let rows = || -> Vec<(String, u64)> {
        let table = store.snapshot().table(T).unwrap();
        table.parts().iter().map(|part| (part.partition().to_string(), part.rows())).collect()
    };
    assert_eq!(rows(), [("none".to_string(), 2), ("some".to_string(), 5)]);
    let ttl = vec![TtlDef { column: 0, months: 0, days: 30, micros: 0, conditional: false }];
    store.commit(vec![Change::AlterTable { id: T, def: TableDef { ttl, ..def } }].into()).unwrap();
    let files = || std::fs::read_dir(dir.path().join("parts")).unwrap().count();
    store.maintain().unwrap();
    assert_eq!((rows(), files()), (vec![("none".to_string(), 2), ("some".to_string(), 2)], 2));
    write("new", &[90, 5]);
    store.flush(None).unwrap();
    assert!(rows().contains(&("new".to_string(), 1)), "a flush writes no expired row");
}

#[test]
fn writers_that_outrun_the_flush_wait_but_do_not_fail() {
    let dir = tempfile::tempdir().unwrap();
    let max = 50_000;
    let options = StoreOptions { head_bytes_max: max, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    store.commit(create(sorted())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..60 {
                    let from = (thread * 60 + i) * 200;
                    store.commit(append("", from..from + 200)).unwrap();
                    // At most the commits that were let in together are above four times the limit.
                    assert!(store.pressure().bytes < 4 * max + 4 * 20_000);
                }
            });
        }
    });
    assert_eq!(ids(&store.snapshot()).len(), 48_000);
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let disk = Disk::default();
    let io = Arc::new(disk.clone());
    let store = Store::open(Path::new("/db"), StoreOptions { io, log_bytes_max: 1000, ..manual() }).unwrap();
    store.commit(create(sorted())).unwrap();
    for part in 0..4 {
        store.commit(append("", part * 500..(part + 1) * 500)).unwrap();
        store.flush(None).unwrap();
    }
    store.commit(append("", 2000..2500)).unwrap();
    for room in [0, 10, 100, 1000, 3000] {
        disk.set_room(Some(room));
        assert!(matches!(store.commit(append("", 0..20_000)), Err(Error::Full { .. })));
        disk.set_room(Some(room));
        assert!(matches!(store.maintain(), Err(Error::Full { .. })), "with room for {room} bytes");
        disk.set_room(Some(room));
        assert!(matches!(store.flush(None), Err(Error::Full { .. })), "with room for {room} bytes");
    }
    disk.set_room(None);
    assert_eq!(ids(&store.snapshot()), (0..2500).collect::<Vec<_>>());
    store.maintain().unwrap();
    store.flush(None).unwrap();
    store.commit(append("", 2500..2600)).unwrap();
    store.close().unwrap();
    let store = Store::open(Path::new("/db"), StoreOptions { io: Arc::new(disk.clone()), ..manual() }).unwrap();
    assert_eq!(ids(&store.snapshot()), (0..2600).collect::<Vec<_>>());
    assert_eq!(disk.files().len(), 4, "a checkpoint, a log, two parts: {:?}", disk.files());
}

#[test]
fn a_damaged_part_stops_no_other_merge() {
    let disk = Disk::default();
    let io = Arc::new(disk.clone());
    let store = Store::open(Path::new("/db"), StoreOptions { io, ..manual() }).unwrap();
    store.commit(create(sorted())).unwrap();
    for part in 0..4 {
        let changes = ["good", "bad"].map(|partition| append(partition, part * 500..(part + 1) * 500).changes);
        store.commit(Commit::from(changes.concat())).unwrap();
        store.flush(None).unwrap();
    }
    let snapshot = store.snapshot();
    let table = snapshot.table(T).unwrap();
    let victim = table.parts().iter().find(|part| part.partition() == "bad").unwrap();
    disk.flip(victim.path(), 40, 3);
    store.maintain().unwrap();
    let table = store.snapshot().table(T).unwrap();
    let count = |partition: &str| table.parts().iter().filter(|part| part.partition() == partition).count();
    assert_eq!((count("good"), count("bad")), (1, 4));
    let good = table.parts().iter().find(|part| part.partition() == "good").unwrap();
    assert_eq!(good.rows(), 2000);
}

#[test]
fn a_merge_that_a_crash_ended_is_done_after_the_restart() {
    let open = |disk: &Disk, background: bool| {
        let options = StoreOptions { io: Arc::new(disk.clone()), background, ..manual() };
        Store::open(Path::new("/db"), options).unwrap()
    };
    let whole = Disk::default();
    let store = open(&whole, false);
    store.commit(create(sorted())).unwrap();
    for part in 0..4 {
        store.commit(append("", (part..2000).step_by(4))).unwrap();
        store.flush(None).unwrap();
    }
    store.close().unwrap();
    for operation in 0.. {
        let disk = whole.copied();
        let store = open(&disk, false);
        disk.stop_at(disk.operations() + operation);
        if store.maintain().is_ok() {
            assert!(operation > 5, "a merge of {operation} operations");
            break;
        }
        let crashed = disk.crashed(operation);
        // It is begun again by itself; what takes its time is shown a few times only.
        let background = operation % 20 == 10;
        let store = open(&crashed, background);
        if !background {
            store.maintain().unwrap();
        }
        let start = Instant::now();
        while parts(&store) > 1 {
            assert!(start.elapsed() < Duration::from_secs(60), "stopped at {operation}: {} parts", parts(&store));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ids(&store.snapshot()), (0..2000).collect::<Vec<_>>());
        store.close().unwrap();
        let files = crashed.files();
        assert_eq!(files.iter().filter(|file| file.starts_with("/db/parts")).count(), 1, "{files:?}");
    }
}
