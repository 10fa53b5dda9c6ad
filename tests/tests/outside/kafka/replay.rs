//! Events that are read again: startup at named offsets and where a group stands, RESET OFFSETS, and REBUILD while events arrive and the server is
//! killed.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;
use weir_tests::outside::broker::Broker;
use weir_tests::process::{check, eventually, rows, value};

use super::{SOON, Weir, run, send, send_ids, wait_for, wait_for_ids, wait_for_state, with};

impl Weir {
    /// SIGKILL, and a new start.
    fn killed(&mut self) {
        self.server.take().expect("it runs").kill();
        self.up();
    }
}

#[test]
fn startup_at_named_offsets_and_where_a_group_stands() {
    let broker = Broker::shared();
    broker.create_topic("placed", 2);
    (0..2).for_each(|partition| send_ids(broker, "placed", partition, 0..10));
    // Whoever reads publishes where it stands: each has a group of its own.
    let groups = ["placed_1", "placed_2", "placed_3", "placed_4", "placed_5"];
    groups.iter().for_each(|group| broker.set_group_offset(group, "placed", 0, 4));
    let weir = Weir::start();
    let mut client = weir.client();
    let named = ("scan.startup.mode", "specific-offsets");
    let group = ("scan.startup.mode", "group-offsets");
    let of = |nth: usize| ("properties.group.id", groups[nth]);
    let other = |way| ("properties.auto.offset.reset", way);
    for (table, options, expected) in [
        ("both", vec![named, ("scan.startup.specific-offsets", "partition:0,offset:7;partition:1,offset:9")], "4"),
        // What is not named begins where the group stands, or else at the oldest.
        ("one", vec![named, ("scan.startup.specific-offsets", "partition:1,offset:9"), of(0)], "7"),
        ("other_oldest", vec![named, ("scan.startup.specific-offsets", "partition:0,offset:9"), of(1)], "11"),
        ("group_earliest", vec![group, of(2), other("earliest")], "16"),
        ("group_latest", vec![group, of(3), other("latest")], "6"),
        ("nobody", vec![group, ("properties.group.id", "nobody"), other("earliest")], "20"),
    ] {
        run(&mut client, &format!("CREATE TABLE {table} (id bigint) {}", with(broker, "placed", &options)));
        wait_for(&mut client, &format!("SELECT count(*) FROM {table}"), expected);
    }
    for (options, said) in [
        (vec![group, of(4)], "the consumer group has no offset of partition 1"),
        (vec![named], "needs option 'scan.startup.specific-offsets'"),
        (vec![named, ("scan.startup.specific-offsets", "0:7")], "should look like 'partition:0,offset:42"),
        (vec![group, other("somewhere")], "auto.offset.reset 'somewhere' is not supported"),
    ] {
        run(&mut client, &format!("CREATE TABLE wrong (id bigint) {}", with(broker, "placed", &options)));
        let shown = format!(
            "SELECT coalesce(max(last_error), '') LIKE '%{}%' FROM weir.kafka_status WHERE \"table\" = 'public.wrong'",
            said.replace('\'', "''")
        );
        wait_for(&mut client, &shown, "t");
        run(&mut client, "DROP TABLE wrong");
    }
}

#[test]
fn a_keyed_table_is_the_same_after_its_topic_is_read_again() {
    let broker = Broker::shared();
    broker.create_topic("again", 2);
    let payload = |n: usize| format!("{{\"id\": {}, \"v\": \"v{n}\"}}", n % 40);
    for partition in 0..2 {
        let payloads: Vec<String> = (0..200).filter(|n| n % 2 == partition).map(payload).collect();
        send(broker, "again", partition as i32, &payloads.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let mut weir = Weir::start();
    let mut client = weir.client();
    let create = "CREATE TABLE again (id bigint PRIMARY KEY, v text)";
    run(&mut client, &format!("{create} {}", with(broker, "again", &[("batch.rows", "20")])));
    run(&mut client, "CREATE MATERIALIZED VIEW lengths AS SELECT length(v) AS l, count(*) AS n FROM again GROUP BY l");
    let standing = "SELECT string_agg(next_offset::text, ' ' ORDER BY partition) FROM weir.sources";
    wait_for(&mut client, standing, "100 100");
    let all = "SELECT id, v FROM again ORDER BY id";
    let (before, lengths) = (rows(&mut client, all), rows(&mut client, "SELECT l, n FROM lengths ORDER BY l"));
    assert_eq!(before.len(), 40);
    let events = "SELECT sum(events) FROM weir.kafka_status";
    let read = |client: &mut Client| value(client, events).parse::<u64>().expect("a number");
    for (from, again) in [
        ("EARLIEST", 200),
        ("(0 => 90, 1 => 95)", 15),
        ("(1 => 60)", 40),
        ("LATEST", 0),
        ("TIMESTAMP '2001-01-01 00:00:00+00'", 200),
        ("'earliest-offset'", 200),
    ] {
        let had = read(&mut client);
        run(&mut client, &format!("ALTER TABLE again RESET OFFSETS TO {from}"));
        eventually(&format!("{from} reads {again} events again"), SOON, || {
            read(&mut client) == had + again && value(&mut client, standing) == "100 100"
        });
        assert_eq!(rows(&mut client, all), before, "{from}");
        assert_eq!(rows(&mut client, "SELECT l, n FROM lengths ORDER BY l"), lengths, "{from}");
    }
    // While the broker is away it is kept, through a kill.
    broker.down();
    run(&mut client, "DELETE FROM again; ALTER TABLE again RESET OFFSETS TO EARLIEST");
    drop(client);
    weir.killed();
    let mut client = weir.client();
    assert_eq!(value(&mut client, "SELECT count(*) FROM again"), "0");
    broker.up();
    eventually("all is there again", SOON * 2, || rows(&mut client, all) == before);
}

#[test]
fn a_reset_while_events_flow_loses_none() {
    let broker = Broker::shared();
    broker.create_topic("flowing", 2);
    let mut weir = Weir::with_config(&format!(
        "[[kafka]]\nname = \"f\"\nbrokers = \"{}\"\ntopic = \"flowing\"\ntable = \"flowing\"\n[kafka.options]\n\"batch.rows\" = 50\n",
        broker.address()
    ));
    let mut client = weir.client();
    run(&mut client, "CREATE TABLE flowing (id bigint PRIMARY KEY)");
    let events = std::thread::spawn(move || {
        for start in 0..60 {
            send_ids(broker, "flowing", (start % 2) as i32, start * 100..start * 100 + 100);
        }
    });
    wait_for(&mut client, "SELECT count(*) > 0 FROM flowing", "t");
    for round in 0..6 {
        run(&mut client, "BEGIN; TRUNCATE flowing; ALTER TABLE flowing RESET OFFSETS TO EARLIEST; COMMIT");
        if round % 2 == 1 {
            drop(client);
            weir.killed();
            client = weir.client();
        }
        wait_for(&mut client, "SELECT count(*) > 0 FROM flowing", "t");
    }
    events.join().expect("the events are sent");
    wait_for_ids(&mut client, "flowing", 0..6000);
}

#[test]
fn a_reset_resumes_what_is_stopped() {
    let broker = Broker::shared();
    for topic in ["gone", "remade"] {
        broker.create_topic(topic, 1);
        send_ids(broker, topic, 0, 0..10);
    }
    let mut weir = Weir::start();
    let mut client = weir.client();
    for topic in ["gone", "remade"] {
        run(&mut client, &format!("CREATE TABLE {topic} (id bigint) {}", with(broker, topic, &[])));
        wait_for_ids(&mut client, topic, 0..10);
    }
    drop(client);
    weir.down();
    send_ids(broker, "gone", 0, 10..20);
    broker.delete_records("gone", 0, 15);
    broker.recreate_topic("remade", 1);
    send_ids(broker, "remade", 0, 10..13);
    weir.up();
    let mut client = weir.client();
    for topic in ["gone", "remade"] {
        let why = wait_for_state(&mut client, topic, 0, "paused");
        assert!(why.contains("ALTER TABLE … RESET OFFSETS TO EARLIEST"), "{why}");
        run(&mut client, &format!("ALTER TABLE {topic} RESET OFFSETS TO EARLIEST"));
        assert_eq!(wait_for_state(&mut client, topic, 0, "running"), "");
    }
    wait_for(&mut client, "SELECT count(*) FROM gone", "15");
    wait_for_ids(&mut client, "remade", 0..13);
    // It is the topic from now on.
    drop(client);
    weir.down();
    weir.up();
    send_ids(broker, "remade", 0, 13..20);
    wait_for_ids(&mut weir.client(), "remade", 0..20);
}

/// Made anew again and again, while events arrive and with a kill in the middle; a table with a key and one without, one of DDL and one of
/// the configuration.
#[test]
fn a_rebuild_while_events_arrive() {
    let broker = Broker::shared();
    broker.create_topic("rebuilt", 2);
    let mut weir = Weir::with_config(&format!(
        "[[kafka]]\nname = \"r\"\nbrokers = \"{}\"\ntopic = \"rebuilt\"\ntable = \"configured\"\n[kafka.options]\n\"batch.rows\" = 100\n",
        broker.address()
    ));
    let mut client = weir.client();
    run(&mut client, "CREATE TABLE configured (id bigint)");
    let declared = with(broker, "rebuilt", &[("batch.rows", "100")]);
    run(&mut client, &format!("CREATE TABLE declared (id bigint PRIMARY KEY) PARTITION BY (id % 3) {declared}"));
    let tables = ["configured", "declared"];
    for table in tables {
        let query = format!("SELECT id % 7 AS g, count(*) AS n, sum(id) AS s FROM {table} GROUP BY g");
        run(&mut client, &format!("CREATE MATERIALIZED VIEW {table}_groups AS {query}"));
        let query = format!("SELECT count(DISTINCT id) AS n, max(id) AS most FROM {table}");
        run(&mut client, &format!("CREATE MATERIALIZED VIEW {table}_ids AS {query}"));
    }
    send_ids(broker, "rebuilt", 0, 0..4000);
    tables.iter().for_each(|table| wait_for_ids(&mut client, table, 0..4000));
    static SENT: AtomicBool = AtomicBool::new(false);
    let events = std::thread::spawn(move || {
        for start in 40..160 {
            send_ids(broker, "rebuilt", (start % 2) as i32, start * 100..start * 100 + 100);
        }
        SENT.store(true, Ordering::SeqCst);
    });
    let over = "SELECT count(*) FROM weir.rebuilds";
    let mut round = 0;
    while !SENT.load(Ordering::SeqCst) || round < 4 {
        for table in tables {
            run(
                &mut client,
                &format!("DELETE FROM {table} WHERE id % 5 = 1; INSERT INTO {table} VALUES (-1 - {round})"),
            );
            run(&mut client, &format!("ALTER TABLE {table} REBUILD FROM EARLIEST"));
        }
        if round % 2 == 0 {
            // In the middle, or when it is done.
            wait_for(&mut client, "SELECT coalesce(min(rows), 1000) > 200 FROM weir.rebuilds", "t");
            drop(client);
            weir.killed();
            client = weir.client();
        }
        eventually("the rebuilds are over", SOON * 3, || {
            for table in tables {
                let same = format!(
                    "SELECT (SELECT (count(*), sum(id)) FROM {table}) = (SELECT (sum(n), sum(s)) FROM {table}_groups)
                        AND (SELECT max(id) FROM {table}) = (SELECT most FROM {table}_ids)"
                );
                assert_eq!(value(&mut client, &same), "t");
            }
            value(&mut client, over) == "0"
        });
        for table in tables {
            assert_eq!(value(&mut client, &format!("SELECT count(*) FROM {table} WHERE id < 0")), "0", "{table}");
        }
        round += 1;
    }
    events.join().expect("the events are sent");
    for table in tables {
        wait_for_ids(&mut client, table, 0..16_000);
        for (view, query) in [
            ("groups", "SELECT id % 7 AS g, count(*) AS n, sum(id) AS s FROM t GROUP BY g ORDER BY g"),
            ("ids", "SELECT count(DISTINCT id) AS n, max(id) AS most FROM t"),
        ] {
            let shown = rows(&mut client, &format!("SELECT * FROM {table}_{view} ORDER BY 1"));
            assert_eq!(shown, rows(&mut client, &query.replace("FROM t", &format!("FROM {table}"))), "{table}_{view}");
        }
    }
    assert_eq!(value(&mut client, "SELECT count(*) FROM weir.kafka_status WHERE state <> 'running'"), "0");
    assert_eq!(value(&mut client, "SELECT count(DISTINCT source) FROM weir.sources"), "2");
    drop(client);
    weir.down();
    let (code, said) = check(weir.data.path());
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_rebuild_that_is_cancelled_or_dropped() {
    let broker = Broker::shared();
    broker.create_topic("ended", 1);
    send_ids(broker, "ended", 0, 0..100);
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE ended (id bigint) {}", with(broker, "ended", &[])));
    wait_for_ids(&mut client, "ended", 0..100);
    // Without its broker it cannot go on: it is seen, and ended.
    broker.down();
    run(&mut client, "ALTER TABLE ended REBUILD FROM EARLIEST");
    wait_for(&mut client, "SELECT count(DISTINCT source) FROM weir.kafka_status", "2");
    run(&mut client, "ALTER TABLE ended REBUILD CANCEL");
    wait_for(&mut client, "SELECT count(DISTINCT source) FROM weir.kafka_status", "1");
    run(&mut client, "ALTER TABLE ended REBUILD FROM EARLIEST");
    run(&mut client, "DROP TABLE ended");
    wait_for(&mut client, "SELECT count(*) FROM weir.kafka_status", "0");
    assert_eq!(value(&mut client, "SELECT count(*) FROM weir.rebuilds"), "0");
    broker.up();
    // A column that comes meanwhile is in both; what is gone of the topic is gone of the table.
    let evolving = with(broker, "ended", &[("schema_evolution", "add_columns")]);
    run(&mut client, &format!("CREATE TABLE ended (id bigint) {evolving}"));
    wait_for_ids(&mut client, "ended", 0..100);
    broker.delete_records("ended", 0, 40);
    send(broker, "ended", 0, &[r#"{"id": 100, "more": "m"}"#]);
    wait_for(&mut client, "SELECT count(*) FROM weir.columns WHERE \"table\" = 'ended' AND name = 'more'", "1");
    wait_for(&mut client, "SELECT max(more) FROM ended", "m");
    run(&mut client, "ALTER TABLE ended REBUILD FROM EARLIEST");
    wait_for(&mut client, "SELECT count(*) FROM weir.rebuilds", "0");
    wait_for_ids(&mut client, "ended", 40..101);
    assert_eq!(value(&mut client, "SELECT max(more) FROM ended"), "m");
}
