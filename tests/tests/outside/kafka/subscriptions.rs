//! Subscriptions come and go: topics and tables in any order, from the configuration and from DDL, and partitions that are added.

use weir_tests::outside::broker::Broker;
use weir_tests::process::{rows, value};

use super::{Weir, run, send, send_ids, wait_for, wait_for_ids, wait_for_state, with};

#[test]
fn a_topic_made_after_its_table() {
    let broker = Broker::shared();
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE later (id bigint) {}", with(broker, "later", &[])));
    let waiting = "SELECT state FROM weir.kafka_status WHERE topic = 'later'";
    wait_for(&mut client, waiting, "waiting for its topic");
    broker.create_topic("later", 2);
    send_ids(broker, "later", 1, 0..10);
    wait_for_ids(&mut client, "later", 0..10);
    assert_eq!(wait_for_state(&mut client, "later", 0, "running"), "");
}

#[test]
fn partitions_added_while_a_topic_is_read_and_while_weir_is_away() {
    let broker = Broker::shared();
    broker.create_topic("grows", 1);
    send_ids(broker, "grows", 0, 0..5);
    let mut weir = Weir::start();
    let mut client = weir.client();
    let latest = with(broker, "grows", &[("scan.startup.mode", "latest-offset")]);
    run(&mut client, &format!("CREATE TABLE grows (id bigint) {latest}"));
    wait_for_state(&mut client, "grows", 0, "running");
    send_ids(broker, "grows", 0, 5..10);
    wait_for_ids(&mut client, "grows", 5..10);
    // What is in a partition that came later is new, wherever the subscription began.
    broker.add_partitions("grows", 2);
    send_ids(broker, "grows", 1, 10..20);
    wait_for_ids(&mut client, "grows", 5..20);
    drop(client);
    weir.down();
    broker.add_partitions("grows", 3);
    send_ids(broker, "grows", 2, 20..30);
    weir.up();
    wait_for_ids(&mut weir.client(), "grows", 5..30);
}

#[test]
fn a_subscription_of_the_configuration_beside_one_of_a_table() {
    let broker = Broker::shared();
    broker.create_topic("both", 1);
    send(broker, "both", 0, &[r#"{"id": 1, "note": "a", "more": [1, 2]}"#, r#"{"id": 2}"#]);
    let weir = Weir::with_config(&format!(
        r#"
        [[kafka]]
        name = "first"
        brokers = "{}"
        topic = "both"
        table = "configured"
        [kafka.options]
        "json.extra-column" = "rest"
        "batch.rows" = 1
        "batch.interval-ms" = 10
        [kafka.properties]
        "client.id" = "weir-in-a-test"
        "fetch.wait.max.ms" = 10
        "#,
        broker.address()
    ));
    let mut client = weir.client();
    let states = "SELECT source, state FROM weir.kafka_status ORDER BY source";
    wait_for(&mut client, "SELECT state FROM weir.kafka_status", "waiting for its table");
    run(&mut client, "CREATE TABLE configured (id bigint, note text, rest jsonb)");
    run(&mut client, &format!("CREATE TABLE declared (id bigint, note text) {}", with(broker, "both", &[])));
    wait_for(&mut client, "SELECT count(*) FROM configured", "2");
    wait_for(&mut client, "SELECT count(*) FROM declared", "2");
    let found = rows(&mut client, "SELECT id, note, rest FROM configured ORDER BY id");
    assert_eq!(found, [["1", "a", "{\"more\": [1, 2]}"], ["2", "NULL", "NULL"]]);
    assert_eq!(rows(&mut client, states), [["first", "running"], ["public.declared", "running"]]);
    // One that ends does not touch the other.
    run(&mut client, "DROP TABLE declared");
    wait_for(&mut client, "SELECT count(*) FROM weir.kafka_status", "1");
    send(broker, "both", 0, &[r#"{"id": 3}"#]);
    wait_for(&mut client, "SELECT count(*) FROM configured", "3");
}

#[test]
fn a_table_made_anew_begins_anew() {
    let broker = Broker::shared();
    broker.create_topic("anew", 1);
    send_ids(broker, "anew", 0, 0..10);
    let weir = Weir::with_config(&format!(
        "[[kafka]]\nbrokers = \"{}\"\ntopic = \"anew\"\ntable = \"configured\"\n",
        broker.address()
    ));
    let mut client = weir.client();
    let tables = [
        "CREATE TABLE configured (id bigint)".to_string(),
        format!("CREATE TABLE declared (id bigint) {}", with(broker, "anew", &[])),
    ];
    tables.iter().for_each(|sql| run(&mut client, sql));
    for table in ["configured", "declared"] {
        wait_for_ids(&mut client, table, 0..10);
    }
    // At once, and with no event in between that would tell anyone.
    for (table, sql) in ["configured", "declared"].iter().zip(&tables) {
        run(&mut client, &format!("DROP TABLE {table}; {sql}"));
        wait_for_ids(&mut client, table, 0..10);
    }
    send_ids(broker, "anew", 0, 10..20);
    for table in ["configured", "declared"] {
        wait_for_ids(&mut client, table, 0..20);
    }
}

#[test]
fn a_table_dropped_while_events_flow() {
    let broker = Broker::shared();
    broker.create_topic("flows", 2);
    let weir = Weir::start();
    let mut client = weir.client();
    for round in 0..3 {
        run(&mut client, &format!("CREATE TABLE flows (id bigint) {}", with(broker, "flows", &[("batch.rows", "7")])));
        let events = std::thread::spawn(move || {
            for start in 0..20 {
                let first = round * 2000 + start * 100;
                send_ids(broker, "flows", (start % 2) as i32, first..first + 100);
            }
        });
        let some = "SELECT count(*) > 50 FROM flows";
        wait_for(&mut client, some, "t");
        run(&mut client, "DROP TABLE flows");
        wait_for(&mut client, "SELECT count(*) FROM weir.kafka_status", "0");
        events.join().expect("the events are sent");
    }
    run(&mut client, &format!("CREATE TABLE flows (id bigint) {}", with(broker, "flows", &[])));
    wait_for_ids(&mut client, "flows", 0..6000);
    assert_eq!(value(&mut client, "SELECT count(*) FROM weir.dead_letters"), "0");
}

#[test]
fn options_that_are_wrong_are_shown_and_forgotten_with_their_table() {
    let broker = Broker::shared();
    let weir = Weir::start();
    let mut client = weir.client();
    for (key, wrong, said) in [
        ("scan.startup.mode", "somewhere", "scan.startup.mode 'somewhere' is not supported"),
        ("batch.rows", "many", "option 'batch.rows' is not a number: 'many'"),
        ("properties.no.such.property", "1", "no.such.property"),
        ("json.extra-column", "nowhere", "there is no column \"nowhere\""),
    ] {
        broker_topic(broker);
        run(&mut client, &format!("CREATE TABLE wrong (id bigint) {}", with(broker, "wrong", &[(key, wrong)])));
        let shown = format!(
            "SELECT coalesce(max(last_error), '') LIKE '%{}%' FROM weir.kafka_status",
            said.replace('\'', "''")
        );
        wait_for(&mut client, &shown, "t");
        run(&mut client, "DROP TABLE wrong");
        wait_for(&mut client, "SELECT count(*) FROM weir.kafka_status", "0");
    }
}

/// A topic with one record, made once.
fn broker_topic(broker: &Broker) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        broker.create_topic("wrong", 1);
        send_ids(broker, "wrong", 0, 0..1);
    });
}
