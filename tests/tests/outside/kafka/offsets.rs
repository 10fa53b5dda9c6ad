//! Where reading begins and goes on: startup modes, restarts, and offsets that the broker does not have any more.

use rdkafka::producer::BaseRecord;
use weir_tests::outside::broker::{Broker, flush};
use weir_tests::process::{eventually, rows, value};

use super::{SOON, Weir, put, run, send_ids, wait_for, wait_for_ids, wait_for_state, with};

#[test]
fn startup_modes_and_a_restart_before_the_first_event() {
    let broker = Broker::shared();
    broker.create_topic("begin", 1);
    let producer = broker.producer();
    for id in 0..10 {
        let payload = format!("{{\"id\": {id}}}");
        put(
            &producer,
            BaseRecord::to("begin").key("").payload(payload.as_str()).timestamp(1_700_000_000_000 + id * 1000),
        );
    }
    flush(&producer);
    let mut weir = Weir::start();
    let mut client = weir.client();
    let later = ("scan.startup.timestamp-millis", "1700000005500");
    let never = ("scan.startup.timestamp-millis", "1900000000000");
    let by_time = ("scan.startup.mode", "timestamp");
    for (table, options) in [
        ("by_default", vec![]),
        ("earliest", vec![("scan.startup.mode", "earliest-offset")]),
        ("latest", vec![("scan.startup.mode", "latest-offset")]),
        ("by_time", vec![by_time, later]),
        ("by_time_too", vec![later, by_time]),
        ("in_future", vec![by_time, never]),
        ("earliest_whatever_time", vec![("scan.startup.mode", "earliest-offset"), later]),
    ] {
        run(&mut client, &format!("CREATE TABLE {table} (id bigint) {}", with(broker, "begin", &options)));
    }
    wait_for(&mut client, "SELECT count(*) FROM weir.kafka_status WHERE state = 'running'", "7");
    drop(client);
    weir.down();
    send_ids(broker, "begin", 0, 10..20);
    weir.up();
    let mut client = weir.client();
    for (table, first) in [
        ("by_default", 0),
        ("earliest", 0),
        ("latest", 10),
        ("by_time", 6),
        ("by_time_too", 6),
        ("in_future", 10),
        ("earliest_whatever_time", 0),
    ] {
        wait_for_ids(&mut client, table, first..20);
    }
}

#[test]
fn a_restart_goes_on_from_the_manifest_whatever_the_group_says() {
    let broker = Broker::shared();
    broker.create_topic("resume", 1);
    send_ids(broker, "resume", 0, 0..100);
    let mut weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE resume (id bigint) {}", with(broker, "resume", &[])));
    wait_for_ids(&mut client, "resume", 0..100);
    let group = "weir-public.resume";
    eventually("the group's offset is published", SOON, || broker.group_offset(group, "resume", 0) == Some(100));
    for wrong in [7, 100_000] {
        let before = value(&mut client, "SELECT count(*) FROM resume").parse().expect("a number");
        drop(client);
        weir.down();
        broker.set_group_offset(group, "resume", 0, wrong);
        send_ids(broker, "resume", 0, before..before + 10);
        weir.up();
        client = weir.client();
        wait_for_ids(&mut client, "resume", 0..before + 10);
    }
    let status = "SELECT source, \"table\", topic, partition, state, \"offset\", high_watermark, lag, events, dead_letters,
        events_per_second > 0, latency_ms_p50 BETWEEN 0 AND latency_ms_p99, latency_ms_p99 < 60000, last_error FROM weir.kafka_status";
    let expected = [
        "public.resume",
        "public.resume",
        "resume",
        "0",
        "running",
        "120",
        "120",
        "0",
        "10",
        "0",
        "t",
        "t",
        "t",
        "NULL",
    ];
    assert_eq!(rows(&mut client, status), [expected]);
}

#[test]
fn records_deleted_before_they_were_read_pause_their_partition() {
    let broker = Broker::shared();
    broker.create_topic("expired", 2);
    (0..2).for_each(|partition| send_ids(broker, "expired", partition, 0..10));
    let mut weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE expired (id bigint) {}", with(broker, "expired", &[])));
    wait_for(&mut client, "SELECT count(*) FROM expired", "20");
    drop(client);
    weir.down();
    (0..2).for_each(|partition| send_ids(broker, "expired", partition, 10..20));
    broker.delete_records("expired", 0, 15);
    weir.up();
    let mut client = weir.client();
    let why = wait_for_state(&mut client, "expired", 0, "paused");
    assert!(why.contains("offset 10 is gone: the broker's oldest is 15, so 5 events were deleted"), "{why}");
    assert!(why.contains("RESET OFFSETS"), "{why}");
    // The other goes on, and this one stays where it is: visibly, and whatever comes.
    (0..2).for_each(|partition| send_ids(broker, "expired", partition, 20..30));
    wait_for(&mut client, "SELECT count(*) FROM expired", "40");
    let standing = "SELECT partition, state, \"offset\", lag FROM weir.kafka_status ORDER BY partition";
    eventually("the lag of the paused partition is seen", SOON, || {
        rows(&mut client, standing) == [["0", "paused", "10", "20"], ["1", "running", "30", "0"]]
    });
    assert_eq!(value(&mut client, "SELECT count(*) FROM expired"), "40");
    // The hint helps.
    run(&mut client, "DROP TABLE expired");
    run(&mut client, &format!("CREATE TABLE expired (id bigint) {}", with(broker, "expired", &[])));
    wait_for(&mut client, "SELECT count(*) FROM expired", "45");
    wait_for_state(&mut client, "expired", 0, "running");
}

#[test]
fn a_topic_made_anew_is_not_the_topic() {
    let broker = Broker::shared();
    let mut weir = Weir::start();
    let mut client = weir.client();
    // Fewer records than were read, as many, and more: offsets alone tell only the first.
    let cases = [("anew_few", 3), ("anew_same", 10), ("anew_more", 25)];
    for (topic, _) in cases {
        broker.create_topic(topic, 1);
        send_ids(broker, topic, 0, 0..10);
        run(&mut client, &format!("CREATE TABLE {topic} (id bigint) {}", with(broker, topic, &[])));
        wait_for_ids(&mut client, topic, 0..10);
    }
    drop(client);
    weir.down();
    for (topic, records) in cases {
        broker.recreate_topic(topic, 1);
        send_ids(broker, topic, 0, 100..100 + records);
    }
    weir.up();
    let mut client = weir.client();
    for (topic, _) in cases {
        let why = wait_for_state(&mut client, topic, 0, "paused");
        assert!(why.contains("made anew") && why.contains("RESET OFFSETS"), "{why}");
        wait_for_ids(&mut client, topic, 0..10);
    }
}

#[test]
fn a_topic_made_anew_while_it_is_read() {
    let broker = Broker::shared();
    broker.create_topic("replaced", 1);
    send_ids(broker, "replaced", 0, 0..10);
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE replaced (id bigint) {}", with(broker, "replaced", &[])));
    wait_for_ids(&mut client, "replaced", 0..10);
    broker.recreate_topic("replaced", 1);
    send_ids(broker, "replaced", 0, 100..103);
    let why = wait_for_state(&mut client, "replaced", 0, "paused");
    assert!(why.contains("made anew"), "{why}");
    wait_for_ids(&mut client, "replaced", 0..10);
    run(&mut client, "DROP TABLE replaced");
    run(&mut client, &format!("CREATE TABLE replaced (id bigint) {}", with(broker, "replaced", &[])));
    wait_for_ids(&mut client, "replaced", 100..103);
}
