//! BACKUP while rows come in, RESTORE elsewhere: equal at the backup's version, to a folder, whole and on top of an earlier one.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_tests::process::{Server, check, eventually, rows, value, weir_binary};

const CHECKSUM: &str = "SELECT count(*), sum(id), sum(v), count(DISTINCT s), min(s), max(s) FROM t WHERE id <= ";

fn restore(from: &Path, data: &Path) -> (bool, String) {
    let output = Command::new(weir_binary())
        .args(["restore", "--data"])
        .arg(data)
        .arg("--from")
        .arg(from)
        .output()
        .expect("weir runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn a_backup_under_ingest_is_exactly_one_version() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let place = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let server = Server::start(data.path());
    let mut client = server.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, v int, s text) ORDER BY id;
             CREATE MATERIALIZED VIEW m AS SELECT v % 10 AS d, count(*) AS n, sum(id) AS ids FROM t GROUP BY 1;
             INSERT INTO t SELECT i, i % 100, 'row ' || i FROM generate_series(-500000, 0) AS i",
        )
        .expect("it is made");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            let mut id = 1;
            while !stop.load(Ordering::Relaxed) {
                let sql =
                    format!("INSERT INTO t SELECT i, i % 100, 'row ' || i FROM generate_series({id}, {}) AS i", id + 9);
                client.batch_execute(&sql).expect("rows come in");
                id += 10;
            }
        });
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        eventually("rows come in", Duration::from_secs(30), || value(&mut client, "SELECT max(id) FROM t") != "0");
        let done = rows(&mut client, &format!("BACKUP DATABASE TO '{}'", first.display()));
        assert_eq!(done[0][1], done[0][2], "all parts were copied: {done:?}");
        client.batch_execute("DELETE FROM t WHERE id = -7; UPDATE t SET v = 5000 WHERE id = -9").expect("rows change");
        let sql = format!("BACKUP DATABASE TO '{}' WITH (base = '{}')", second.display(), first.display());
        let done = rows(&mut client, &sql);
        let number = |at: usize| -> u64 { done[0][at].parse().expect("a number") };
        assert!(number(2) < number(1), "what the first has is not copied again: {done:?}");
    });
    for (backup, changed) in [(&first, false), (&second, true)] {
        let target = tempfile::tempdir().expect("a temporary folder");
        let dir = target.path().join("data");
        let (success, text) = restore(backup, &dir);
        assert!(success, "{text}");
        assert_eq!(check(&dir).0, 0);
        let restored = Server::start(&dir);
        let mut other = restored.connect();
        let last = value(&mut other, "SELECT max(id) FROM t");
        assert_eq!(last.parse::<i64>().expect("a number") % 10, 0, "a commit is in it whole or not at all");
        let gone = value(&mut other, "SELECT count(*) FROM t WHERE id = -7");
        assert_eq!(gone, if changed { "0" } else { "1" });
        let count: i64 = value(&mut other, "SELECT count(*) FROM t").parse().expect("a number");
        assert_eq!(count, 500_001 + last.parse::<i64>().expect("a number") - i64::from(changed));
        if changed {
            // The source changed no more than by new rows since.
            let sql = format!("{CHECKSUM}{last}");
            assert_eq!(rows(&mut other, &sql), rows(&mut client, &sql));
        }
        let view = "SELECT d, n, ids FROM m ORDER BY d";
        let query = "SELECT v % 10 AS d, count(*), sum(id) FROM t GROUP BY 1 ORDER BY 1";
        other.batch_execute("SET weir.view_rewrite = off").expect("the table itself is asked");
        assert_eq!(rows(&mut other, view), rows(&mut other, query));
        other.batch_execute("INSERT INTO t VALUES (99999999, 1, 'after')").expect("it goes on from there");
        let (success, text) = restore(backup, &dir);
        assert!(!success, "a directory with data is not written over: {text}");
    }
}

#[test]
fn a_damaged_or_unfinished_backup_is_refused() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let place = tempfile::tempdir().expect("a temporary folder");
    let backup = place.path().join("b");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, v bigint, w text) ORDER BY id;
             INSERT INTO t SELECT i, i * 7919::bigint, 'row ' || i FROM generate_series(1, 1000000) AS i;
             CREATE TABLE u (id bigint); INSERT INTO u VALUES (1)",
        )
        .expect("it is made");
    rows(&mut client, &format!("BACKUP DATABASE TO '{}'", backup.display()));
    let again = client.batch_execute(&format!("BACKUP DATABASE TO '{}'", backup.display()));
    assert_eq!(again.expect_err("there is one").code().expect("a code").code(), "42710");
    let target = place.path().join("restored");
    let sql = format!("RESTORE DATABASE FROM '{}' WITH (data = '{}')", backup.display(), target.display());
    rows(&mut client, &sql);
    let restored = Server::start(&target);
    let sums = rows(&mut restored.connect(), "SELECT count(*), sum(id) FROM t");
    assert_eq!(sums, [["1000000", "500000500000"]]);
    restored.stop();
    let over = client.batch_execute(&format!("RESTORE DATABASE FROM '{}'", backup.display()));
    assert_eq!(over.expect_err("it is open").code().expect("a code").code(), "0A000");

    let mut files = vec![backup.join("checkpoint"), backup.join("MANIFEST")];
    files.extend(std::fs::read_dir(backup.join("parts")).expect("parts").map(|file| file.expect("a file").path()));
    assert!(files.len() > 2);
    for (nth, file) in files.iter().enumerate() {
        let sound = std::fs::read(file).expect("it can be read");
        let mut damaged = sound.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 4;
        std::fs::write(file, damaged).expect("it can be written");
        let (success, text) = restore(&backup, &place.path().join(format!("d{nth}")));
        assert!(!success && text.contains("damaged"), "{}: {text}", file.display());
        std::fs::write(file, sound).expect("it can be written");
    }
    std::fs::remove_file(backup.join("MANIFEST")).expect("it goes");
    let (success, text) = restore(&backup, &place.path().join("unfinished"));
    assert!(!success && text.contains("MANIFEST"), "{text}");
}
