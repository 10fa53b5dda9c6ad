//! A killed server and a damaged disk: what was acknowledged is there, once, and damage is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::process::{Server, check, eventually, rows, value, weir_binary};

const CONNECTIONS: usize = 8;

/// Inserts rows (connection, 0), (connection, 1), … one by one until the server is gone; keeps how many were acknowledged.
fn insert_until_killed(server: &Server, connection: usize, acknowledged: &AtomicI64, stop: &AtomicBool) {
    let Ok(mut client) = server.try_connect() else { return };
    while !stop.load(Ordering::Relaxed) {
        let next = acknowledged.load(Ordering::Relaxed);
        match client.execute("INSERT INTO acked VALUES ($1, $2, 'some text')", &[&(connection as i32), &next]) {
            Ok(_) => acknowledged.store(next + 1, Ordering::Relaxed),
            Err(_) => return,
        }
    }
}

#[test]
fn every_acknowledged_insert_survives_sigkill_once() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().expect("a temporary folder");
    let acknowledged: Vec<AtomicI64> = (0..CONNECTIONS).map(|_| AtomicI64::new(0)).collect();
    let mut server = Server::start(data.path());
    server.connect().batch_execute("CREATE TABLE acked (c integer, seq bigint, t text)").expect("the table is made");
    for _ in 0..6 {
        let stop = AtomicBool::new(false);
        let time = Duration::from_millis(random.random_range(100..900));
        thread::scope(|scope| {
            for (connection, count) in acknowledged.iter().enumerate() {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || insert_until_killed(server, connection, count, stop));
            }
            thread::sleep(time);
            let killed = Command::new("kill").args(["-9", &server.pid().to_string()]).status();
            assert!(killed.expect("kill runs").success());
            stop.store(true, Ordering::Relaxed);
        });
        server.kill();
        server = Server::start(data.path());
        let mut client = server.connect();
        for (connection, count) in acknowledged.iter().enumerate() {
            let acked = count.load(Ordering::Relaxed);
            let found = rows(
                &mut client,
                &format!(
                    "SELECT count(*), count(DISTINCT seq), coalesce(max(seq) + 1, 0) FROM acked WHERE c = {connection}"
                ),
            );
            let kept: i64 = found[0][0].parse().expect("a count");
            assert_eq!(found[0][0], found[0][1], "a row is there twice");
            assert_eq!(found[0][0], found[0][2], "a row is missing between others");
            // One more may have been made durable just before its acknowledgement was cut off.
            assert!(kept == acked || kept == acked + 1, "{acked} acknowledged, {kept} found");
            count.store(kept, Ordering::Relaxed);
        }
    }
    server.stop();
    let (code, said) = check(data.path());
    assert_eq!(code, 0, "{said}");
}

#[test]
fn an_alert_fires_once_whenever_the_server_is_killed() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(data.path());
    let made = "CREATE TABLE t (v integer); CREATE TABLE fired (v integer);
        CREATE ALERT a WHEN (SELECT v FROM t) EVERY '1 second' THEN INSERT INTO fired, WEBHOOK 'http://127.0.0.1:9/none'";
    server.connect().batch_execute(made).expect("it is made");
    let is_in = |server: &Server, state: &str| {
        let mut client = server.connect();
        eventually(state, Duration::from_secs(60), || {
            let found = rows(&mut client, "SELECT state FROM weir.alerts WHERE checked_at IS NOT NULL");
            found == [[state.to_string()]]
        });
    };
    const ROUNDS: usize = 4;
    for round in 0..ROUNDS {
        is_in(&server, "ok");
        server.connect().batch_execute(&format!("INSERT INTO t VALUES ({round})")).expect("a row comes");
        // Before, while or after it fires.
        thread::sleep(Duration::from_millis(random.random_range(0..1500)));
        server.kill();
        server = Server::start(data.path());
        is_in(&server, "firing");
        let mut client = server.connect();
        assert_eq!(value(&mut client, &format!("SELECT count(*) FROM fired WHERE v = {round}")), "1");
        client.batch_execute("TRUNCATE TABLE t").expect("it is true no longer");
    }
    is_in(&server, "ok");
    // Each time it was to be told that it fired, and that it was resolved.
    assert_eq!(value(&mut server.connect(), "SELECT deliveries_pending FROM weir.alerts"), (2 * ROUNDS).to_string());
    server.stop();
}

#[test]
fn small_inserts_do_not_make_parts() {
    const INSERTS: usize = 10_000;
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    server.connect().batch_execute("CREATE TABLE small (c integer, seq bigint)").expect("the table is made");
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.connect();
                let insert = client.prepare("INSERT INTO small VALUES ($1, $2)").expect("it binds");
                for seq in 0..INSERTS / CONNECTIONS {
                    client.execute(&insert, &[&(connection as i32), &(seq as i64)]).expect("inserts never fail");
                }
            });
        }
    });
    let mut client = server.connect();
    assert_eq!(value(&mut client, "SELECT count(*) FROM small"), INSERTS.to_string());
    let parts: usize =
        value(&mut client, "SELECT count(*) FROM weir.parts WHERE \"table\" = 'small'").parse().expect("a count");
    assert!(parts <= 4, "{INSERTS} one-row inserts made {parts} parts");
}

/// All files below a folder that have bytes to damage.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.metadata().expect("a file").len() > 0 => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

fn query(data: &Path, sql: &str) -> (i32, String) {
    let output = Command::new(weir_binary())
        .args(["sql", "--format", "csv", "-c", sql, "--data"])
        .arg(data)
        .output()
        .expect("weir sql runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

#[test]
fn a_flipped_byte_is_found_and_never_answers() {
    const SUM: &str = "SELECT count(*), sum(a), sum(length(b)), min(c), max(c) FROM flipped";
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client
        .batch_execute("CREATE TABLE flipped (a bigint, b text, c timestamp) ORDER BY (a)")
        .expect("the table is made");
    // One bulk load that becomes parts, then rows that stay in the log.
    let bulk =
        "INSERT INTO flipped SELECT g * 7 % 1000, 'text ' || g % 50, timestamp '2024-01-01' + g * interval '1 second'
        FROM generate_series(1, 60000) g";
    client.batch_execute(bulk).expect("rows go in");
    client.batch_execute("INSERT INTO flipped VALUES (1, 'x', '2024-05-05')").expect("a row goes in");
    drop(client);
    server.kill();
    let (code, right) = query(data.path(), SUM);
    assert_eq!(code, 0, "{right}");
    assert_eq!(check(data.path()).0, 0);
    for file in files(data.path()) {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let sound = fs::read(&file).expect("the file can be read");
        for _ in 0..6 {
            let place = random.random_range(0..sound.len());
            let mut damaged = sound.clone();
            damaged[place] ^= 1 << random.random_range(0..8);
            fs::write(&file, &damaged).expect("the file can be written");
            let (code, said) = check(data.path());
            assert_eq!(code, 1, "byte {place} of {name} is flipped and weir check says: {said}");
            assert!(said.contains(&name), "weir check does not name {name}: {said}");
            let (code, said) = query(data.path(), SUM);
            // A query that does not need the damaged bytes may answer, but only rightly.
            let clear_error = code == 1 && !said.contains("panicked") && said.contains(&name);
            assert!(clear_error || (code == 0 && said == right), "byte {place} of {name}: exit {code}: {said}");
            fs::write(&file, &sound).expect("the file can be written");
        }
    }
}
