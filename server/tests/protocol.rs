//! The conversation after log-in, message by message: both protocols, transactions, portals, cancelling, and what a slow client costs.

mod common;

use std::time::{Duration, Instant};

use common::{Client, TestServer, bind, close, describe, execute, flush, message, parse, query, sync};

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000000) a";

fn cancel(server: &TestServer, pid: i32, secret: u32) {
    let mut other = Client::connect(server.pg);
    let request =
        [&16u32.to_be_bytes()[..], &80_877_102u32.to_be_bytes(), &pid.to_be_bytes(), &secret.to_be_bytes()].concat();
    other.send(&request);
    assert_eq!(other.read(), "EOF", "a cancel request has no answer");
}

#[test]
fn thirteen_parameters_are_reported_and_changes_follow() {
    let server = TestServer::start();
    let mut client = Client::connect(server.pg);
    client.startup(&[
        ("user", "me"),
        ("database", "lab"),
        ("application_name", "a test"),
        ("options", "-c TimeZone=CET"),
    ]);
    let greeting = client.read_until_ready();
    let status: Vec<&str> = greeting.iter().filter_map(|m| m.strip_prefix("S ")).collect();
    assert_eq!(status.len(), 13, "{status:?}");
    for expected in [
        "application_name=a test",
        "client_encoding=UTF8",
        "server_encoding=UTF8",
        "integer_datetimes=on",
        "standard_conforming_strings=on",
        "TimeZone=CET",
        "DateStyle=ISO, MDY",
        "IntervalStyle=postgres",
        "session_authorization=me",
    ] {
        assert!(status.contains(&expected), "{expected} in {status:?}");
    }
    assert!(status.iter().any(|s| s.starts_with("server_version=15.")), "{status:?}");
    assert_eq!(client.query("SET TimeZone = 'UTC'"), ["C SET", "S TimeZone=UTC", "Z I"]);
    assert_eq!(client.query("SELECT current_database(), current_user")[1], "D lab|me");
}

#[test]
fn an_empty_query_is_one_and_several_statements_are_one_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    for empty in ["", ";", " -- ping\n", "/* ping */"] {
        assert_eq!(client.query(empty), ["I", "Z I"], "{empty:?}");
    }
    assert_eq!(
        client.query("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT a FROM t"),
        ["C CREATE TABLE", "C INSERT 0 2", "T a:23:-1:t", "D 1", "D 2", "C SELECT 2", "Z I"]
    );
    assert_eq!(
        client.query("INSERT INTO t VALUES (3); SELECT 1/0; SELECT 7"),
        ["C INSERT 0 1", "T ?column?:23:-1:t", "E 22012", "Z I"]
    );
    assert_eq!(client.query("SELECT count(*) FROM t")[1], "D 2");
}

#[test]
fn a_failed_block_refuses_all_but_its_end() {
    let server = TestServer::start();
    let mut client = server.client();
    client.query("CREATE TABLE t (a int)");
    assert_eq!(client.query("BEGIN"), ["C BEGIN", "Z T"]);
    assert_eq!(client.query("INSERT INTO t VALUES (1)"), ["C INSERT 0 1", "Z T"]);
    assert_eq!(client.query("SAVEPOINT s"), ["C SAVEPOINT", "Z T"]);
    assert_eq!(client.query("SELECT * FROM nowhere"), ["E 42P01", "Z E"]);
    assert_eq!(client.query("SELECT 1"), ["E 25P02", "Z E"]);
    let prepare = [parse("", "SELECT 1", &[]), bind("", "", 0, &[], &[]), execute("", 0), sync()];
    assert_eq!(client.exchange(&prepare), ["E 25P02", "Z E"]);
    assert_eq!(client.query("ROLLBACK TO s"), ["C ROLLBACK", "Z T"]);
    assert_eq!(client.query("COMMIT"), ["C COMMIT", "Z I"]);
    assert_eq!(client.query("BEGIN; SELECT nope"), ["C BEGIN", "E 42703", "Z E"]);
    assert_eq!(client.query("COMMIT"), ["C ROLLBACK", "Z I"]);
    assert_eq!(client.query("SELECT a FROM t")[1], "D 1");
    assert_eq!(client.query("COMMIT"), ["N WARNING 25P01", "C COMMIT", "Z I"]);
}

#[test]
fn an_error_is_heard_before_sync_and_what_follows_it_is_passed_over() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send(&[parse("", "SELECT * FROM nowhere", &[]), describe(b'S', ""), flush()].concat());
    assert_eq!(client.read(), "E 42P01");
    assert_eq!(client.exchange(&[bind("", "", 0, &[], &[]), execute("", 0), sync()]), ["Z I"]);
    // A statement that worked before the error, in the same run up to Sync, is undone with it.
    client.query("CREATE TABLE t (a int)");
    let insert = |value: &str| {
        [parse("", &format!("INSERT INTO t VALUES ({value})"), &[]), bind("", "", 0, &[], &[]), execute("", 0)].concat()
    };
    let answers = client.exchange(&[insert("1"), insert("1/0"), insert("3"), sync()]);
    assert_eq!(answers.iter().filter(|m| m.starts_with('C')).count(), 1, "{answers:?}");
    assert_eq!(answers[answers.len() - 2..], ["E 22012", "Z I"]);
    assert_eq!(client.query("SELECT count(*) FROM t")[1], "D 0");
}

#[test]
fn parameters_are_inferred_and_described() {
    let server = TestServer::start();
    let mut client = server.client();
    client.query("CREATE TABLE t (a bigint, b text, c numeric(10,2), d timestamptz, e UInt16)");
    let described = |client: &mut Client, sql: &str, types: &[u32]| {
        client.exchange(&[parse("", sql, types), describe(b'S', ""), sync()])[1..].to_vec()
    };
    assert_eq!(
        described(&mut client, "SELECT a, c, $1 + 1, $2 FROM t WHERE b = $3 AND d > $4 AND e = $5 LIMIT $6", &[]),
        ["t [23, 25, 25, 1184, 23, 20]", "T a:20:-1:t c:1700:655366:t ?column?:23:-1:t ?column?:25:-1:t", "Z I"]
    );
    assert_eq!(
        described(&mut client, "INSERT INTO t VALUES ($1, $2, $3, $4, $5)", &[]),
        ["t [20, 25, 1700, 1184, 23]", "n", "Z I"]
    );
    assert_eq!(
        described(&mut client, "SELECT $1, $2", &[0, 701]),
        ["t [25, 701]", "T ?column?:25:-1:t ?column?:701:-1:t", "Z I"]
    );
    assert_eq!(client.exchange(&[parse("", "SELECT $2::int", &[]), sync()]), ["E 42P18", "Z I"]);
    // Parameters in binary, results each in its own format.
    let rows = client.exchange(&[
        parse("s", "SELECT $1::int4, $1::int4 + 1", &[]),
        bind("", "s", 1, &[Some(&[0, 0, 0, 41])], &[1, 0]),
        describe(b'P', ""),
        execute("", 0),
        close(b'S', "s"),
        sync(),
    ]);
    assert_eq!(rows, ["1", "2", "T int4:23:-1:b ?column?:23:-1:t", "D 0x00000029|42", "C SELECT 1", "3", "Z I"]);
    let missing = client.exchange(&[bind("", "s", 0, &[Some(b"1")], &[]), sync()]);
    assert_eq!(missing, ["E 26000", "Z I"]);
    assert_eq!(
        client.exchange(&[parse("", "SELECT $1::int", &[]), bind("", "", 0, &[], &[]), sync()]),
        ["1", "E 08P01", "Z I"]
    );
    assert_eq!(client.exchange(&[parse("", "SELECT 1; SELECT 2", &[]), sync()]), ["E 42601", "Z I"]);
}

#[test]
fn portals_are_read_in_pieces_and_end_with_their_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    client.query("BEGIN");
    let series = "SELECT g FROM generate_series(1, 5) g";
    let first = client.exchange(&[parse("s", series, &[]), bind("p", "s", 0, &[], &[]), execute("p", 2), sync()]);
    assert_eq!(first, ["1", "2", "D 1", "D 2", "s", "Z T"]);
    assert_eq!(
        client.exchange(&[execute("p", 2), flush(), execute("p", 2), sync()]),
        ["D 3", "D 4", "s", "D 5", "C SELECT 1", "Z T"]
    );
    assert_eq!(client.exchange(&[execute("p", 0), sync()]), ["C SELECT 0", "Z T"]);
    assert_eq!(client.exchange(&[bind("p", "s", 0, &[], &[]), sync()]), ["E 42P03", "Z E"]);
    client.query("ROLLBACK");
    assert_eq!(client.exchange(&[execute("p", 0), sync()]), ["E 34000", "Z I"]);
    // Without a block, Sync ends the transaction and the portal with it.
    let outside = client.exchange(&[bind("q", "s", 0, &[], &[]), execute("q", 2), sync()]);
    assert_eq!(outside, ["2", "D 1", "D 2", "s", "Z I"]);
    assert_eq!(client.exchange(&[execute("q", 2), sync()]), ["E 34000", "Z I"]);
    // A cursor of SQL is described like a portal.
    client.query("BEGIN; DECLARE c CURSOR FOR SELECT 1::bigint AS n");
    assert_eq!(client.exchange(&[describe(b'P', "c"), sync()]), ["T n:20:-1:t", "Z T"]);
    assert_eq!(client.query("FETCH 5 FROM c"), ["T n:20:-1:t", "D 1", "C FETCH 1", "Z T"]);
}

#[test]
fn a_running_statement_is_cancelled_wherever_it_runs() {
    let server = TestServer::start();
    let mut client = server.client();
    let (pid, secret) = (client.pid, client.secret);
    let begin_and_cancel = |client: &mut Client, messages: &[Vec<u8>]| {
        client.send(&messages.concat());
        std::thread::sleep(Duration::from_millis(200));
        cancel(&server, pid, secret.wrapping_add(1));
        std::thread::sleep(Duration::from_millis(200));
        let asked = Instant::now();
        cancel(&server, pid, secret);
        let answers = client.read_until_ready();
        (answers, asked.elapsed())
    };
    let (answers, _) = begin_and_cancel(&mut client, &[query(ENDLESS)]);
    assert_eq!(answers.last().map(String::as_str), Some("Z I"));
    assert_eq!(answers[answers.len() - 2], "E 57014");
    let (answers, _) =
        begin_and_cancel(&mut client, &[parse("", ENDLESS, &[]), bind("", "", 0, &[], &[]), execute("", 0), sync()]);
    assert_eq!(answers[answers.len() - 2..], ["E 57014", "Z I"]);
    client.query(&format!("BEGIN; DECLARE c CURSOR FOR {ENDLESS}"));
    let (answers, took) = begin_and_cancel(&mut client, &[query("FETCH 1 FROM c")]);
    assert_eq!(answers[answers.len() - 2..], ["E 57014", "Z E"]);
    assert!(took < Duration::from_secs(5), "cancelling took {took:?}");
    client.query("ROLLBACK");
    // A cancel that comes late means nothing that runs later.
    cancel(&server, pid, secret);
    assert_eq!(client.query("SELECT 1")[1], "D 1");
}

#[test]
fn a_statement_ends_at_its_timeout_and_the_next_has_its_own() {
    let server = TestServer::start();
    let mut client = Client::connect(server.pg);
    client.startup(&[("user", "me"), ("statement_timeout", "150ms")]);
    client.read_until_ready();
    let answers = client.query(ENDLESS);
    assert_eq!(answers[answers.len() - 2..], ["E 57014", "Z I"]);
    let answers = client.query("SELECT pg_sleep(60)");
    assert_eq!(answers[answers.len() - 2..], ["E 57014", "Z I"]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(client.query("SELECT 1")[1], "D 1");
    client.query("SET statement_timeout = 0");
    assert_eq!(client.query("SHOW statement_timeout")[1], "D 0");
}

#[test]
fn a_session_is_ended_by_number() {
    let server = TestServer::start();
    let (mut idle, mut busy, mut admin) = (server.client(), server.client(), server.client());
    assert_eq!(admin.query(&format!("SELECT pg_terminate_backend({})", idle.pid))[1], "D t");
    assert_eq!(idle.read_until_ready(), ["E FATAL 57P01"]);
    assert_eq!(idle.read(), "EOF");
    busy.send(&query(ENDLESS));
    std::thread::sleep(Duration::from_millis(300));
    let state = format!("SELECT state FROM pg_stat_activity WHERE pid = {}", busy.pid);
    assert_eq!(admin.query(&state)[1], "D active");
    assert_eq!(admin.query(&format!("SELECT pg_terminate_backend({})", busy.pid))[1], "D t");
    assert_eq!(busy.read_until_ready().last().map(String::as_str), Some("E FATAL 57P01"));
    assert_eq!(busy.read(), "EOF");
    assert_eq!(admin.query("SELECT pg_terminate_backend(12345)")[1], "D f");
    admin.query("BEGIN");
    let mut other = server.client();
    let state = format!("SELECT state FROM pg_stat_activity WHERE pid = {}", admin.pid);
    assert_eq!(other.query(&state)[1], "D idle in transaction");
}

#[test]
fn many_clients_are_served_at_once() {
    let server = TestServer::start_with(|config| config.max_connections = 80);
    server.client().query("CREATE TABLE t (a int)");
    std::thread::scope(|scope| {
        for number in 0..60 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                for _ in 0..3 {
                    assert_eq!(client.query(&format!("INSERT INTO t VALUES ({number})")), ["C INSERT 0 1", "Z I"]);
                }
            });
        }
    });
    assert_eq!(server.client().query("SELECT count(*), sum(a) FROM t")[1], "D 180|5310");
}

/// Memory of this process, which the server is part of.
#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_does_not_read_holds_no_more_than_a_batch() {
    let server = TestServer::start();
    let mut client = server.client();
    client.query("SELECT 1");
    let before = resident_bytes();
    // 10 GB of rows, of which nobody reads any.
    client.send(&query("SELECT g, repeat('x', 1000) FROM generate_series(1, 10000000) g"));
    let mut most = 0;
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(resident_bytes().saturating_sub(before));
    }
    assert!(most < 300 << 20, "{} MB are held for a client that does not read", most >> 20);
    // The server is not stuck with it: it notices that the client is gone.
    drop(client);
    let mut other = server.client();
    let count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%repeat%' AND pid <> pg_backend_pid()";
    let start = Instant::now();
    while other.query(count)[1] != "D 0" {
        assert!(start.elapsed() < Duration::from_secs(20), "the session of a client that is gone lives on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_terminate_message_ends_a_session() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send(&message(b'X', &[]));
    assert_eq!(client.read(), "EOF");
}
