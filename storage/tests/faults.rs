//! A disk that stops at every single operation of a small workload. Random histories with crashes are in `sim.rs`.

mod support;

use std::path::Path;
use std::sync::Arc;

use support::disk::Disk;
use support::{T, append, create, ids, sorted};
use weir_storage::{Change, Commit, Error, Result, Snapshot, Store, StoreOptions, check_with};

fn open(disk: &Disk) -> Result<Store> {
    let options = StoreOptions {
        io: Arc::new(disk.clone()),
        granule_rows: 10,
        log_bytes_max: 2000,
        background: false,
        ..StoreOptions::default()
    };
    Store::open("/db", options)
}

fn assert_sound(disk: &Disk) {
    let findings = check_with(Arc::new(disk.clone()), Path::new("/db")).unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
}

/// What a step of the workload does, besides its commit.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Nothing,
    Flush,
    Maintain,
}

/// Commit `n` of the workload. Every one sets the key `n` to its number, so that a state says which commits it has.
fn step(n: i64) -> (Commit, After) {
    let mut commit = match n {
        1 => create(sorted()),
        // In the middle all rows go.
        14 => vec![Change::Truncate { table: T }].into(),
        _ => append(if n % 3 == 0 { "p" } else { "" }, n * 10..n * 10 + 1 + n % 9 * 3),
    };
    commit.changes.push(Change::Set { key: "n".into(), value: Some(n.to_string().into_bytes()) });
    let after = match n {
        2..=5 | 8..=12 | 17 | 18 | 20 => After::Flush,
        6 | 13 | 16 | 19 | 22 => After::Maintain,
        _ => After::Nothing,
    };
    (commit, after)
}

const STEPS: i64 = 23;

/// The ids after commit `n`.
fn expected(n: i64) -> Vec<i64> {
    let appended = (2..=n).filter(|&m| m != 14 && (n < 14 || m > 14));
    let mut ids: Vec<i64> = appended.flat_map(|m| m * 10..m * 10 + 1 + m % 9 * 3).collect();
    ids.sort_unstable();
    ids
}

/// Runs the workload from where the disk is; gives the number of the last commit that was acknowledged, and the error that ended it.
fn run(disk: &Disk, from: i64) -> (i64, Option<Error>) {
    let mut acknowledged = from - 1;
    let mut work = || -> Result<()> {
        let store = open(disk)?;
        for n in from..=STEPS {
            let (commit, after) = step(n);
            store.commit(commit)?;
            acknowledged = n;
            match after {
                After::Nothing => {}
                After::Flush => store.flush(None)?,
                After::Maintain => store.maintain()?,
            }
        }
        store.close()
    };
    let error = work().err();
    (acknowledged, error)
}

/// The number of the last commit that a state has; its rows are exactly those of all commits so far.
fn verify(snapshot: &Snapshot) -> i64 {
    let n = snapshot.get("n").map_or(0, |n| std::str::from_utf8(n).unwrap().parse().unwrap());
    if n > 0 {
        assert_eq!(ids(snapshot), expected(n), "after commit {n}");
    }
    n
}

#[test]
fn a_disk_that_stops_anywhere_loses_nothing_that_was_acknowledged() {
    let whole = Disk::default();
    assert!(run(&whole, 1).1.is_none());
    assert_eq!(verify(&open(&whole).unwrap().snapshot()), STEPS);
    let operations = whole.operations();
    assert!(operations > 100, "{operations} operations");
    for stop in 0..operations {
        let disk = Disk::default();
        disk.stop_at(stop);
        let (acknowledged, _) = run(&disk, 1);
        for seed in 0..4 {
            let crashed = disk.crashed(stop * 100 + seed);
            let store = open(&crashed).unwrap_or_else(|error| panic!("stopped at {stop}, seed {seed}: {error}"));
            let found = verify(&store.snapshot());
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "stopped at {stop}, seed {seed}: {acknowledged} acknowledged, {found} found"
            );
            drop(store);
            assert_sound(&crashed);
            if seed == 0 {
                // It goes on as if nothing had been.
                let (last, error) = run(&crashed, found + 1);
                assert!(error.is_none(), "stopped at {stop}: {error:?}");
                assert_eq!((last, verify(&open(&crashed).unwrap().snapshot())), (STEPS, STEPS));
                assert_sound(&crashed);
            }
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing() {
    let disk = Disk::default();
    disk.stop_at(120);
    let (acknowledged, _) = run(&disk, 1);
    for seed in 0..10 {
        let once = disk.crashed(seed);
        let again = once.crashed(0);
        let _ = open(&again);
        for stop in 0..again.operations() {
            let again = once.crashed(0);
            again.stop_at(stop);
            let _ = open(&again);
            let found = verify(&open(&again.crashed(stop)).unwrap().snapshot());
            assert!((acknowledged..=acknowledged + 1).contains(&found));
        }
    }
}
