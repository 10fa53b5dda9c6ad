//! `check` from outside: every flipped bit of every file is found and named.

mod support;

use std::path::Path;
use std::sync::Arc;

use support::disk::Disk;
use support::{T, append, create, ids, sorted};
use weir_storage::{Change, Error, Store, StoreOptions, check, check_with};

fn options(disk: &Disk) -> StoreOptions {
    StoreOptions {
        io: Arc::new(disk.clone()),
        granule_rows: 50,
        log_bytes_max: 1000,
        background: false,
        ..StoreOptions::default()
    }
}

/// A directory with a checkpoint, a log, and parts.
fn sample() -> Disk {
    let disk = Disk::default();
    let store = Store::open("/db", options(&disk)).unwrap();
    store.commit(create(sorted())).unwrap();
    store.commit(append("p", 0..120)).unwrap();
    store.flush(None).unwrap();
    store.commit(append("", 120..140)).unwrap();
    store.commit(vec![Change::Set { key: "catalog/x".into(), value: Some(vec![7; 100]) }].into()).unwrap();
    store.maintain().unwrap();
    store.commit(append("p", 140..160)).unwrap();
    store.flush(Some(T)).unwrap();
    store.commit(append("", 160..170)).unwrap();
    store.close().unwrap();
    disk
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    let disk = sample();
    let findings = check_with(Arc::new(disk.clone()), Path::new("/db")).unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
    assert_eq!((findings.rows, findings.garbage, findings.files), (170, 0, disk.files().len()));
    let mut flips = 0;
    for file in disk.files() {
        for byte in (0..disk.len(&file)).step_by(3) {
            let bit = (byte % 8) as u8;
            disk.flip(&file, byte, bit);
            let findings = check_with(Arc::new(disk.clone()), Path::new("/db")).unwrap();
            let named = |error: &Error| matches!(error, Error::Corrupt { file: damaged, .. } if *damaged == file);
            assert!(findings.damage.iter().any(named), "byte {byte} of {}: {:?}", file.display(), findings.damage);
            // Whoever opens it reads an error or the right rows.
            if let Ok(store) = Store::open("/db", options(&disk.crashed(0))) {
                let snapshot = store.snapshot();
                let scan = snapshot.scan(T, &[]);
                if let Ok(scan) = scan
                    && (0..scan.len()).all(|granule| scan.read(granule, &[0, 1], None).is_ok())
                {
                    assert_eq!(ids(&snapshot), (0..170).collect::<Vec<_>>());
                }
            }
            disk.flip(&file, byte, bit);
            flips += 1;
        }
    }
    assert!(flips > 1000);
}

#[test]
fn all_damage_is_found_at_once() {
    let disk = sample();
    let files: Vec<_> = disk.files().into_iter().filter(|file| file.extension().is_some()).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    files.iter().for_each(|file| disk.flip(file, 30, 0));
    let findings = check_with(Arc::new(disk), Path::new("/db")).unwrap();
    for file in &files {
        let named = |error: &Error| matches!(error, Error::Corrupt { file: damaged, .. } if damaged == file);
        assert!(findings.damage.iter().any(named), "{} in {:?}", file.display(), findings.damage);
    }
}

#[test]
fn missing_files_are_damage_and_garbage_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check(dir.path()), Err(Error::Invalid(_))));
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    match check(dir.path()) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    store.commit(create(sorted())).unwrap();
    store.commit(append("", 0..100)).unwrap();
    store.flush(None).unwrap();
    let part = store.snapshot().table(T).unwrap().parts()[0].path().to_path_buf();
    store.close().unwrap();
    std::fs::write(dir.path().join("parts/0000000000000099.part"), "half a par").unwrap();
    let findings = check(dir.path()).unwrap();
    assert_eq!((findings.damage.len(), findings.garbage, findings.parts), (0, 1, 1));
    std::fs::write(dir.path().join("LOCK"), "17 00").unwrap();
    std::fs::remove_file(&part).unwrap();
    let damage: Vec<String> = check(dir.path()).unwrap().damage.iter().map(ToString::to_string).collect();
    assert_eq!(damage.len(), 2, "{damage:?}");
    assert!(damage[0].contains("LOCK") && damage[1].contains("the file is missing"), "{damage:?}");
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    assert!(check(dir.path()).unwrap().damage.iter().any(|error| error.to_string().contains("log")));
}
