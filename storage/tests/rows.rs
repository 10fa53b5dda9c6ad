//! Rows by name, from outside: places, row sets, deletion, and reading single rows.

mod support;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use support::disk::Disk;
use support::{T, append, create, granules, ids, place_of, rows, sorted};
use weir_storage::{Change, Commit, Error, Prune, PruneOp, RowSet, Snapshot, Store, StoreOptions, check_with};

fn open(disk: &Disk) -> Store {
    let options = StoreOptions {
        io: Arc::new(disk.clone()),
        granule_rows: 100,
        log_bytes_max: 1000,
        background: false,
        ..StoreOptions::default()
    };
    Store::open("/db", options).unwrap()
}

/// The rows with these ids, every one of which is there.
fn set(snapshot: &Snapshot, ids: &[i64]) -> RowSet {
    let places: Vec<u64> = ids.iter().map(|&id| place_of(snapshot, id).unwrap()).collect();
    snapshot.row_set(T, &places).unwrap()
}

fn delete(snapshot: &Snapshot, ids: &[i64]) -> Commit {
    vec![Change::Delete { table: T, rows: set(snapshot, ids) }].into()
}

/// Parts of 0..250 (a) and 250..400 (b), a head of 400..450 (a) and 450..520 (b).
fn sample(store: &Store) {
    store.commit(create(sorted())).unwrap();
    for (partition, range, flush) in
        [("a", 0..250, true), ("b", 250..400, true), ("a", 400..450, false), ("b", 450..520, false)]
    {
        store.commit(append(partition, range)).unwrap();
        if flush {
            store.flush(None).unwrap();
        }
    }
}

#[test]
fn deleted_rows_are_gone_at_once_and_after_a_restart() {
    let disk = Disk::default();
    let store = open(&disk);
    sample(&store);
    let before = store.snapshot();
    // All of the second granule, the first and the last row of parts and heads, and some in between.
    let mut gone: Vec<i64> = (100..200).collect();
    gone.extend([0, 17, 249, 250, 399, 400, 430, 449, 450, 519]);
    let committed = store.commit(delete(&before, &gone)).unwrap();
    let left: Vec<i64> = (0..520).filter(|id| !gone.contains(id)).collect();
    let verify = |store: &Store, deleted: [u64; 2]| {
        let snapshot = store.snapshot();
        assert_eq!(ids(&snapshot), left);
        let table = snapshot.table(T).unwrap();
        assert_eq!((table.rows(), table.head_rows()), (left.len() as u64, 115));
        assert_eq!(table.parts().iter().map(|part| part.deleted_rows()).collect::<Vec<_>>(), deleted);
    };
    assert_eq!(ids(&committed.snapshot), left);
    assert_eq!(ids(&before), (0..520).collect::<Vec<_>>(), "a snapshot never changes");
    verify(&store, [103, 2]);
    store.close().unwrap();
    let store = open(&disk);
    verify(&store, [103, 2]);
    // The first part is worth rewriting. A checkpoint has the other's marks, and the head's.
    store.maintain().unwrap();
    store.commit(vec![Change::Set { key: "k".into(), value: Some(vec![0; 2000]) }].into()).unwrap();
    store.maintain().unwrap();
    assert!(disk.files().iter().any(|file| file.extension().is_some_and(|end| end == "checkpoint")));
    store.close().unwrap();
    let findings = check_with(Arc::new(disk.clone()), Path::new("/db")).unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
    assert_eq!(findings.rows, left.len() as u64);
    verify(&open(&disk), [0, 2]);
}

#[test]
fn a_snapshot_of_some_rows_shows_them_alone_wherever_they_are() {
    let store = open(&Disk::default());
    sample(&store);
    let before = store.snapshot();
    let (kept, none) = ([3, 99, 100, 249, 250, 401, 449, 450, 519], set(&before, &[]));
    let rows = set(&before, &kept);
    let only = before.with_only(T, &rows).unwrap();
    assert_eq!((ids(&only), only.table(T).unwrap().rows()), (kept.to_vec(), kept.len() as u64));
    // The last granule of the second part has none of them.
    assert_eq!(only.scan(T, &[]).unwrap().len(), 6);
    assert_eq!(ids(&before.with_only(T, &none).unwrap()), Vec::<i64>::new());
    assert_eq!(ids(&before), (0..520).collect::<Vec<_>>());
    // The set names them in a later version as well, where the head is in parts.
    store.flush(None).unwrap();
    assert_eq!(ids(&store.snapshot().with_only(T, &rows).unwrap()), kept);
    // An overlay's own rows.
    let over = before
        .with_changes(&[Change::Append { table: T, partition: "a".into(), rows: support::rows(600..603) }])
        .unwrap();
    assert_eq!(ids(&over.with_only(T, &set(&over, &[449, 601])).unwrap()), [449, 601]);
}

#[test]
fn granules_count_read_and_select_living_rows_only() {
    let store = open(&Disk::default());
    sample(&store);
    let gone: Vec<i64> = (0..100).filter(|id| id % 3 == 0).chain(100..200).chain([420]).collect();
    store.commit(delete(&store.snapshot(), &gone)).unwrap();
    let snapshot = store.snapshot();
    let scan = snapshot.scan(T, &[]).unwrap();
    assert_eq!((0..scan.len()).map(|i| scan.rows(i)).collect::<Vec<_>>(), [66, 50, 100, 50, 49, 70]);
    let first: Vec<i64> = (0..100).filter(|id| id % 3 != 0).collect();
    assert_eq!(scan.read(0, &[0, 1], None).unwrap(), rows(first.iter().copied()));
    assert_eq!(scan.read(0, &[1, 0], Some(&[0, 1, 65])).unwrap().column(0), rows([1, 2, 98].into_iter()).column(1));
    assert_eq!(scan.read(4, &[0], Some(&[19, 20])).unwrap().column(0), rows([419, 421].into_iter()).column(0));
    assert_eq!(scan.read(0, &[], None).unwrap().num_rows(), 66);
    // What the index knows of a whole granule is not told of one with deleted rows.
    assert!(scan.zone(0, 0).is_none() && scan.null_count(0, 1).is_none());
    assert!(scan.zone(1, 0).is_some() && scan.null_count(1, 1).is_some());
    // Places: those of the rows that are read, and all different.
    let mut all = Vec::new();
    for granule in 0..scan.len() {
        let (places, read) = (scan.places(granule, None).unwrap(), scan.read(granule, &[0, 1], None).unwrap());
        assert_eq!(snapshot.take(T, places.values(), &[0, 1]).unwrap(), read);
        let some = [0, 3, 7].map(|row: u32| places.value(row as usize));
        assert_eq!(scan.places(granule, Some(&[0, 3, 7])).unwrap().values()[..], some);
        all.extend_from_slice(places.values());
    }
    assert!(all.is_sorted_by(|a, b| a < b));
    // Any order, twice the same row, no row.
    let order: Vec<u64> = (0..500).map(|i| all[i * 7919 % all.len()]).collect();
    let scanned = granules(&snapshot).concat();
    let expected: Vec<i64> = (0..500).map(|i| scanned[i * 7919 % all.len()]).collect();
    assert_eq!(snapshot.take(T, &order, &[0, 1]).unwrap(), rows(expected.into_iter()));
    assert_eq!(snapshot.take(T, &[], &[1]).unwrap().num_rows(), 0);
    assert_eq!(snapshot.take(T, &order[..9], &[]).unwrap().num_rows(), 9);
    for wrong in [250, 1 << 32 | 150, 2 << 32 | 50, 7 << 32] {
        assert!(matches!(snapshot.take(T, &[wrong], &[0]), Err(Error::Invalid(_))), "{wrong:x}");
    }
    // Pruning goes by what was there: it leaves out no living row.
    let prune = Prune { column: 0, op: PruneOp::Ge, values: Arc::new(Int64Array::from(vec![398])) };
    let scan = snapshot.scan(T, &[prune.into()]).unwrap();
    let found = (0..scan.len())
        .flat_map(|i| scan.read(i, &[0], None).unwrap().column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(found.filter(|&id| (398..=430).contains(&id)).count(), 32);
}

#[test]
fn a_row_is_deleted_once() {
    let store = open(&Disk::default());
    sample(&store);
    let old = store.snapshot();
    let files = store.snapshot().table(T).unwrap().parts().len();
    store.commit(delete(&old, &[3, 420])).unwrap();
    for ids in [&[2, 3][..], &[419, 420], &[3], &[420]] {
        let version = store.snapshot().version();
        assert!(matches!(store.commit(delete(&old, ids)), Err(Error::RowsChanged { table: 16384 })), "{ids:?}");
        assert_eq!(store.snapshot().version(), version, "it left a trace");
    }
    // Rows that are gone with all others, from part and head.
    let (part, head) = (delete(&old, &[7]), delete(&old, &[407]));
    store.commit(vec![Change::Truncate { table: T }].into()).unwrap();
    store.commit(append("a", 1000..1100)).unwrap();
    assert!(matches!(store.commit(part), Err(Error::RowsChanged { .. })));
    assert!(matches!(store.commit(head), Err(Error::RowsChanged { .. })));
    assert_eq!((ids(&store.snapshot()).len(), files), (100, 2));
}

#[test]
fn a_transaction_deletes_rows_of_its_own() {
    let store = open(&Disk::default());
    sample(&store);
    let base = store.snapshot();
    // What the transaction sees and does, step by step.
    let mut changes = append("a", 600..620).changes;
    changes.extend(append("new", 700..705).changes);
    let view = base.with_changes(&changes).unwrap();
    changes.extend(delete(&view, &[5, 402, 600, 611, 704]).changes);
    changes.extend(append("a", 620..625).changes);
    let view = base.with_changes(&changes).unwrap();
    changes.extend(delete(&view, &[620, 624, 410, 700]).changes);
    let view = base.with_changes(&changes).unwrap();
    let seen = ids(&view);
    assert_eq!(view.table(T).unwrap().rows(), seen.len() as u64);
    // Others come first: their rows stand where its own did.
    store.commit(append("a", 800..830)).unwrap();
    store.commit(append("new", 900..910)).unwrap();
    store.commit(changes.into()).unwrap();
    let mut expected = [seen, (800..830).collect(), (900..910).collect()].concat();
    expected.sort_unstable();
    assert_eq!(ids(&store.snapshot()), expected);
    // The same where all rows go in between.
    let base = store.snapshot();
    let mut changes = append("a", 0..10).changes;
    changes.push(Change::Truncate { table: T });
    changes.extend(append("a", 10..20).changes);
    changes.extend(delete(&base.with_changes(&changes).unwrap(), &[12, 19]).changes);
    store.commit(append("b", 950..999)).unwrap();
    store.commit(changes.into()).unwrap();
    assert_eq!(ids(&store.snapshot()), [10, 11, 13, 14, 15, 16, 17, 18]);
}

#[test]
fn flush_and_merge_leave_deleted_rows_out() {
    let disk = Disk::default();
    let store = open(&disk);
    store.commit(create(sorted())).unwrap();
    let mut left = Vec::new();
    for part in 0..6 {
        // Interleaved: every part has ids from everywhere.
        store.commit(append("", (0..300).map(|row| row * 6 + part))).unwrap();
        let gone: Vec<i64> = (0..300).filter(|row| row % 10 == part).map(|row| row * 6 + part).collect();
        store.commit(delete(&store.snapshot(), &gone)).unwrap();
        store.flush(None).unwrap();
        left.extend((0..300).filter(|row| row % 10 != part).map(|row| row * 6 + part));
    }
    left.sort_unstable();
    let deleted = |store: &Store| -> Vec<u64> {
        store.snapshot().table(T).unwrap().parts().iter().map(|part| part.deleted_rows()).collect()
    };
    assert_eq!((deleted(&store), ids(&store.snapshot())), (vec![0; 6], left.clone()));
    // A whole granule of one part, the first and the last rows of others, and a part in full.
    let gone: Vec<i64> = left
        .iter()
        .copied()
        .filter(|id| id % 6 == 2 || (id % 6 == 4 && (600..1300).contains(id)) || *id < 20)
        .collect();
    store.commit(delete(&store.snapshot(), &gone)).unwrap();
    left.retain(|id| !gone.contains(id));
    store.maintain().unwrap();
    assert_eq!((deleted(&store), granules(&store.snapshot()).concat()), (vec![0], left.clone()));
    store.close().unwrap();
    assert_eq!(granules(&open(&disk).snapshot()).concat(), left);
    let places = open(&disk).snapshot().scan(T, &[]).unwrap().places(0, None).unwrap();
    assert_eq!(places.values()[..3], [0, 1, 2]);
}

#[test]
fn rows_are_followed_where_flush_and_merge_put_them() {
    let disk = Disk::default();
    let store = open(&disk);
    store.commit(create(sorted())).unwrap();
    // Not in order, with deleted ones in between, so that numbers change.
    store.commit(append("", (0..300).map(|row| row * 37 % 300))).unwrap();
    store.commit(delete(&store.snapshot(), &[0, 74, 299])).unwrap();
    let in_head = store.snapshot();
    for part in 1..6 {
        store.flush(None).unwrap();
        store.commit(append("", (0..300).map(|row| 300 * part + row * 41 % 300))).unwrap();
    }
    store.flush(None).unwrap();
    let in_parts = store.snapshot();
    store.commit(delete(&in_head, &[1, 150, 298])).unwrap();
    store.maintain().unwrap();
    assert_eq!(store.snapshot().table(T).unwrap().parts().len(), 1);
    // From the head over a part into the merged part; and from a part.
    store.commit(delete(&in_head, &[2, 151])).unwrap();
    store.commit(delete(&in_parts, &[3, 152, 700, 1799])).unwrap();
    for (snapshot, id) in [(&in_head, 1), (&in_head, 152), (&in_parts, 150), (&in_parts, 2)] {
        assert!(matches!(store.commit(delete(snapshot, &[id])), Err(Error::RowsChanged { .. })), "{id}");
    }
    let gone = [0, 74, 299, 1, 150, 298, 2, 151, 3, 152, 700, 1799];
    let left: Vec<i64> = (0..1800).filter(|id| !gone.contains(id)).collect();
    assert_eq!(ids(&store.snapshot()), left);
    store.close().unwrap();
    assert_eq!(ids(&open(&disk).snapshot()), left);
}

#[test]
fn rows_deleted_while_a_flush_or_merge_writes_stay_deleted() {
    let disk = Disk::default();
    let store = open(&disk);
    store.commit(create(sorted())).unwrap();
    let mut gone = Vec::new();
    for part in 0..6 {
        store.commit(append("", (0..250).map(|row| part + 6 * (row * 37 % 250)))).unwrap();
        let now: Vec<i64> = [3, 100, 249].map(|row| part + 6 * row).to_vec();
        let (commit, other) = (delete(&store.snapshot(), &now), store.clone());
        disk.meanwhile(Some(Box::new(move || drop(other.commit(commit).unwrap()))));
        store.flush(None).unwrap();
        assert!(disk.meanwhile(None), "the flush wrote no part");
        gone.extend(now);
        let left: Vec<i64> = (0..1500).filter(|id| id % 6 <= part && !gone.contains(id)).collect();
        assert_eq!(ids(&store.snapshot()), left);
    }
    let now: Vec<i64> = (0..1500).filter(|id| id % 11 == 5 && !gone.contains(id)).collect();
    let (commit, other) = (delete(&store.snapshot(), &now), store.clone());
    disk.meanwhile(Some(Box::new(move || drop(other.commit(commit).unwrap()))));
    store.maintain().unwrap();
    assert!(disk.meanwhile(None), "nothing was merged");
    gone.extend(&now);
    let left: Vec<i64> = (0..1500).filter(|id| !gone.contains(id)).collect();
    let table = store.snapshot().table(T).unwrap();
    assert_eq!((table.parts().len(), table.parts()[0].deleted_rows()), (1, now.len() as u64));
    assert_eq!(ids(&store.snapshot()), left);
    drop(table);
    store.close().unwrap();
    assert_eq!(ids(&open(&disk).snapshot()), left);
}

#[test]
fn parts_of_deleted_rows_are_rewritten_or_dropped() {
    let store = open(&Disk::default());
    store.commit(create(sorted())).unwrap();
    for partition in ["all", "many", "few"] {
        store.commit(append(partition, 0..300)).unwrap();
    }
    store.flush(None).unwrap();
    let scan = store.snapshot().scan(T, &[]).unwrap();
    let places: Vec<u64> = (0..scan.len()).flat_map(|i| scan.places(i, None).unwrap().values().to_vec()).collect();
    // Partitions are in order of their names: all, few, many.
    let gone: Vec<u64> = places
        .iter()
        .copied()
        .filter(|place| match place >> 32 {
            0 => true,
            1 => place % 10 == 0,
            _ => place % 3 == 0,
        })
        .collect();
    let rows = store.snapshot().row_set(T, &gone).unwrap();
    store.commit(vec![Change::Delete { table: T, rows }].into()).unwrap();
    store.maintain().unwrap();
    let table = store.snapshot().table(T).unwrap();
    let parts: Vec<(&str, u64, u64)> =
        table.parts().iter().map(|part| (part.partition(), part.rows(), part.deleted_rows())).collect();
    assert_eq!(parts, [("few", 300, 30), ("many", 200, 0)]);
}
