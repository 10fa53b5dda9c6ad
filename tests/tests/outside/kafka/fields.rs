//! What a record's fields become: every kind of value, what is missing, what is more, and what cannot be read.

use rdkafka::producer::BaseRecord;
use weir_tests::outside::broker::{Broker, flush};
use weir_tests::process::{rows, value};

use super::{Weir, put, run, send, wait_for, with};

/// JSON values, and what they are as text; an error is the reason after the column's name.
type Cases = &'static [(&'static str, Result<&'static str, &'static str>)];

/// Column types, and values for them.
const VALUES: &[(&str, Cases)] = &[
    (
        "timestamptz",
        &[
            ("\"2026-01-02T03:04:05.678901Z\"", Ok("2026-01-02 03:04:05.678901+00")),
            ("\"2026-01-02T03:04:05+02:00\"", Ok("2026-01-02 01:04:05+00")),
            ("\"2026-01-02T03:04:05\"", Ok("2026-01-02 03:04:05+00")),
            ("\"2026-01-02 03:04:05.5\"", Ok("2026-01-02 03:04:05.5+00")),
            ("1767323045", Ok("2026-01-02 03:04:05+00")),
            ("1767323045.25", Ok("2026-01-02 03:04:05.25+00")),
            ("1767323045250", Ok("2026-01-02 03:04:05.25+00")),
            ("\"yesterday or so\"", Err("invalid input syntax for type timestamp with time zone: \"yesterday or so\"")),
            ("true", Err("invalid input syntax for type timestamp with time zone: \"true\"")),
        ],
    ),
    (
        "timestamp",
        &[
            ("\"2026-01-02T03:04:05\"", Ok("2026-01-02 03:04:05")),
            ("\"2026-01-02T03:04:05+02:00\"", Ok("2026-01-02 01:04:05")),
            ("1767323045250", Ok("2026-01-02 03:04:05.25")),
        ],
    ),
    (
        "date",
        &[
            ("\"2026-01-02\"", Ok("2026-01-02")),
            ("\"2026-02-30\"", Err("date/time field value out of range: \"2026-02-30\"")),
        ],
    ),
    (
        "jsonb",
        &[
            ("{\"b\": [1, {\"c\": null}], \"a\": \"\\u00e9\"}", Ok("{\"a\": \"é\", \"b\": [1, {\"c\": null}]}")),
            ("\"text\"", Ok("\"text\"")),
            ("12345678901234567890.5", Ok("12345678901234567890.5")),
        ],
    ),
    ("json", &[("{\"b\":  1, \"a\":2}", Ok("{\"b\":  1, \"a\":2}"))]),
    (
        "text",
        &[
            ("{\"b\": 1}", Ok("{\"b\": 1}")),
            ("[1, 2]", Ok("[1, 2]")),
            ("12.50", Ok("12.50")),
            ("true", Ok("true")),
            ("\"\\u00e9\\ud83d\\ude00\\n\\\"\"", Ok("é😀\n\"")),
            ("null", Ok("NULL")),
            ("\"\"", Ok("")),
        ],
    ),
    (
        "bigint",
        &[
            ("9223372036854775807", Ok("9223372036854775807")),
            ("-9223372036854775808", Ok("-9223372036854775808")),
            ("\"42\"", Ok("42")),
            ("1e3", Ok("1000")),
            ("9223372036854775808", Err("value \"9223372036854775808\" is out of range for type bigint")),
            ("1.5", Err("invalid input syntax for type bigint: \"1.5\"")),
            ("\"4x\"", Err("invalid input syntax for type bigint: \"4x\"")),
            ("{}", Err("invalid input syntax for type bigint: \"{}\"")),
        ],
    ),
    ("smallint", &[("-32768", Ok("-32768")), ("32768", Err("value \"32768\" is out of range for type smallint"))]),
    (
        "UInt64",
        &[
            ("18446744073709551615", Ok("18446744073709551615")),
            ("-1", Err("value \"-1\" is out of range for type uint64")),
        ],
    ),
    ("UInt8", &[("255", Ok("255")), ("256", Err("value \"256\" is out of range for type uint8"))]),
    (
        "double precision",
        &[
            ("0.1", Ok("0.1")),
            ("\"NaN\"", Ok("NaN")),
            ("\"-Infinity\"", Ok("-Infinity")),
            ("1e400", Err("value \"1e400\" is out of range for type double precision")),
        ],
    ),
    (
        "numeric(30,4)",
        &[
            ("12345678901234567890123456.7891", Ok("12345678901234567890123456.7891")),
            ("\"0.00005\"", Ok("0.0001")),
            ("1.5e3", Ok("1500.0000")),
            ("true", Err("invalid input syntax for type numeric: \"true\"")),
        ],
    ),
    ("numeric(4,2)", &[("100", Err("numeric field overflow"))]),
    (
        "boolean",
        &[
            ("true", Ok("t")),
            ("\"false\"", Ok("f")),
            ("\"yes\"", Ok("t")),
            ("1", Ok("t")),
            ("2", Err("invalid input syntax for type boolean: \"2\"")),
        ],
    ),
    (
        "uuid",
        &[
            ("\"6B3DDFD2-A96C-4F7A-8A0B-33A0A3E1AD75\"", Ok("6b3ddfd2-a96c-4f7a-8a0b-33a0a3e1ad75")),
            ("\"6b3d\"", Err("invalid input syntax for type uuid: \"6b3d\"")),
        ],
    ),
    (
        "bigint[]",
        &[
            ("[1, null, 9223372036854775807]", Ok("{1,NULL,9223372036854775807}")),
            ("[]", Ok("{}")),
            ("[1, \"x\"]", Err("element 2: invalid input syntax for type bigint: \"x\"")),
            ("7", Err("invalid input syntax for type bigint[]: \"7\"")),
        ],
    ),
    ("text[]", &[("[\"a b\", \"\", {\"k\": 1}]", Ok("{\"a b\",\"\",\"{\\\"k\\\": 1}\"}"))]),
    (
        "timestamptz[]",
        &[("[1767323045, \"2026-01-02\"]", Ok("{\"2026-01-02 03:04:05+00\",\"2026-01-02 00:00:00+00\"}"))],
    ),
    ("bytea", &[("\"\\\\x00ff\"", Ok("\\x00ff"))]),
    ("interval", &[("\"1 day 02:00\"", Ok("1 day 02:00:00"))]),
    ("time", &[("\"03:04:05.5\"", Ok("03:04:05.5"))]),
];

#[test]
fn every_kind_of_value() {
    let broker = Broker::shared();
    broker.create_topic("values", 1);
    let (mut columns, mut records) = (String::new(), Vec::new());
    let (mut expected, mut reasons) = (Vec::new(), Vec::new());
    for (number, (ty, values)) in VALUES.iter().enumerate() {
        columns += &format!(", c{number} {ty} NULL");
        for (json, outcome) in *values {
            let id = records.len();
            records.push(format!("{{\"id\": {id}, \"c{number}\": {json}, \"unknown\": [{{}}]}}"));
            match outcome {
                Ok(text) => expected.push((number, id, text.to_string())),
                Err(why) => reasons.push([id.to_string(), format!("column \"c{number}\": {why}")]),
            }
        }
    }
    send(broker, "values", 0, &records.iter().map(String::as_str).collect::<Vec<_>>());
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE t (id bigint{columns}) {}", with(broker, "values", &[])));
    wait_for(&mut client, "SELECT max(\"offset\") FROM weir.kafka_status", &records.len().to_string());
    let mut wrong = Vec::new();
    for (number, id, text) in expected {
        let found = rows(&mut client, &format!("SELECT c{number} FROM t WHERE id = {id}"));
        if found != [[text.as_str()]] {
            wrong.push(format!("{}: {found:?}, not {text:?}", records[id]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows(&mut client, "SELECT \"offset\", reason FROM weir.dead_letters ORDER BY 1"), reasons);
}

#[test]
fn fields_that_are_missing_or_null_or_more_than_the_columns() {
    let broker = Broker::shared();
    broker.create_topic("missing", 1);
    let records = [
        r#"{"must": 1}"#,
        r#"{"must": 2, "may": null, "five": null, "zero": null, "now": null}"#,
        r#"{"MUST": 3, "may": "m", "five": 6, "zero": 7, "x": {"y": [1, "é"]}, "z\n": null}"#,
        r#"{"may": "nothing else"}"#,
        r#"{"must": null}"#,
        r#"{"must": 6, "must": 6}"#,
        "{}",
    ];
    send(broker, "missing", 0, &records);
    let weir = Weir::start();
    let mut client = weir.client();
    let columns = "must bigint NOT NULL, may text, five bigint DEFAULT 5, zero bigint NOT NULL DEFAULT 0, now timestamptz DEFAULT now()";
    for (table, extra) in [("plain", ""), ("as_jsonb", "jsonb"), ("as_json", "json"), ("as_text", "text")] {
        let options = if extra.is_empty() { vec![] } else { vec![("json.extra-column", "rest")] };
        let rest = if extra.is_empty() { String::new() } else { format!(", rest {extra}") };
        run(&mut client, &format!("CREATE TABLE {table} ({columns}{rest}) {}", with(broker, "missing", &options)));
        wait_for(&mut client, &format!("SELECT count(*) FROM {table}"), "3");
        let expected = [["1", "NULL", "5", "0", "t"], ["2", "NULL", "NULL", "0", "f"], ["3", "m", "6", "7", "t"]];
        let sql = format!("SELECT must, may, five, zero, now IS NOT NULL FROM {table} ORDER BY must");
        assert_eq!(rows(&mut client, &sql), expected);
    }
    for (table, kept) in [
        ("as_jsonb", r#"{"x": {"y": [1, "é"]}, "z\n": null}"#),
        ("as_json", r#"{"x":{"y": [1, "é"]},"z\n":null}"#),
        ("as_text", r#"{"x":{"y": [1, "é"]},"z\n":null}"#),
    ] {
        let found = rows(&mut client, &format!("SELECT rest FROM {table} ORDER BY must"));
        assert_eq!(found, [["NULL"], ["NULL"], [kept]]);
    }
    wait_for(&mut client, "SELECT count(*) FROM weir.dead_letters", "16");
    let missing = "column \"must\" is missing and admits no NULL";
    let twice = "field \"must\" is given twice";
    let expected = [["3", missing, "4"], ["4", missing, "4"], ["5", twice, "4"], ["6", missing, "4"]];
    let sql = "SELECT \"offset\", reason, count(*) FROM weir.dead_letters GROUP BY 1, 2 ORDER BY 1";
    assert_eq!(rows(&mut client, sql), expected);
}

#[test]
fn records_that_are_no_objects_are_kept_as_they_came() {
    let broker = Broker::shared();
    broker.create_topic("broken", 2);
    let producer = broker.producer();
    let record = || BaseRecord::<[u8], [u8]>::to("broken").partition(1).timestamp(1_767_323_045_250);
    let payloads: [&[u8]; 7] = [b"", b"{\"id\": 1", b"[1]", b"\xff\x00", b"{\"id\": 1} 2", b"nothing", b"{\"id\": 01}"];
    producer.send(record().key(b"k\x00")).map_err(|(e, _)| e).expect("the queue has room");
    for payload in payloads {
        producer.send(record().payload(payload)).map_err(|(e, _)| e).expect("the queue has room");
    }
    producer.send(record().payload(b" {\"id\": 1} ")).map_err(|(e, _)| e).expect("the queue has room");
    flush(&producer);
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE t (id bigint) {}", with(broker, "broken", &[])));
    wait_for(&mut client, "SELECT count(*) FROM t", "1");
    wait_for(&mut client, "SELECT count(*) FROM weir.dead_letters", "8");
    let places = "SELECT DISTINCT topic, partition, time FROM weir.dead_letters";
    assert_eq!(rows(&mut client, places), [["broken", "1", "2026-01-02 03:04:05.25+00"]]);
    let found = rows(&mut client, "SELECT \"offset\", key, raw, reason FROM weir.dead_letters ORDER BY 1");
    let tombstone = "the record has no value: it is a tombstone";
    assert_eq!(found[0], ["0", "\\x6b00", "NULL", tombstone]);
    let raw: Vec<&str> = found[1..].iter().map(|row| row[2].as_str()).collect();
    let expected = payloads.map(|p| p.iter().fold("\\x".to_string(), |text, byte| text + &format!("{byte:02x}")));
    assert_eq!(raw, expected);
    let reasons: Vec<&str> = found[1..].iter().map(|row| row[3].as_str()).collect();
    assert_eq!(reasons[0], "the record is empty");
    assert_eq!(reasons[2], "malformed JSON: the record is not an object");
    assert_eq!(reasons[3], "the record is not UTF-8: invalid byte at offset 0");
    assert!(reasons.iter().skip(4).all(|reason| reason.starts_with("malformed JSON: ")), "{reasons:?}");
    assert_eq!(value(&mut client, "SELECT sum(dead_letters) FROM weir.kafka_status"), "8");
}

#[test]
fn records_over_a_megabyte() {
    let broker = Broker::shared();
    broker.create_topic("large", 1);
    let text = "weir ".repeat(600_000);
    let producer = broker.producer();
    for id in 0..6 {
        // The last cannot be read, and is kept as whole.
        let end = if id == 5 { "" } else { "}" };
        let payload = format!("{{\"id\": {id}, \"body\": \"{text}\"{end}");
        put(&producer, BaseRecord::to("large").key("").payload(payload.as_str()));
    }
    flush(&producer);
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE t (id bigint, body text) {}", with(broker, "large", &[])));
    wait_for(&mut client, "SELECT count(*) FROM t", "5");
    let lengths = rows(&mut client, "SELECT min(length(body)), max(length(body)), count(DISTINCT body) FROM t");
    assert_eq!(lengths, [["3000000", "3000000", "1"]]);
    wait_for(&mut client, "SELECT max(length(raw)) > 3000000 FROM weir.dead_letters", "t");
}

#[test]
fn new_fields_get_columns_where_the_table_says_so() {
    let (broker, weir) = (Broker::shared(), Weir::start());
    let (mut client, topic) = (weir.client(), "evolving");
    broker.create_topic(topic, 1);
    let options = with(broker, topic, &[("schema_evolution", "add_columns"), ("schema_evolution.max-columns", "5")]);
    run(&mut client, &format!("CREATE TABLE evolving (id bigint NOT NULL) {options}"));
    run(
        &mut client,
        "CREATE MATERIALIZED VIEW evolving_count AS SELECT id % 2 AS odd, count(*) AS n FROM evolving GROUP BY 1",
    );
    send(
        broker,
        topic,
        0,
        &["{\"id\": 1}", "{\"id\": 2, \"Name\": \"two\", \"n\": 2.5}", "{\"id\": 3, \"n\": 3, \"name\": null}"],
    );
    wait_for(&mut client, "SELECT count(*) FROM evolving", "3");
    send(broker, topic, 0, &["{\"id\": 4, \"at\": \"2026-01-02T03:04:05Z\", \"more\": {\"a\": [1]}}"]);
    wait_for(&mut client, "SELECT count(*) FROM evolving", "4");
    // The table has as many columns as it may.
    send(broker, topic, 0, &["{\"id\": 5, \"too\": 1, \"much\": 2, \"n\": 5}"]);
    wait_for(&mut client, "SELECT count(*) FROM evolving", "5");
    let found = rows(&mut client, "SELECT id, \"Name\", n, at, more FROM evolving ORDER BY id");
    let row = |cells: [&str; 5]| cells.map(str::to_string).to_vec();
    assert_eq!(
        found,
        [
            row(["1", "NULL", "NULL", "NULL", "NULL"]),
            row(["2", "two", "2.5", "NULL", "NULL"]),
            row(["3", "NULL", "3", "NULL", "NULL"]),
            row(["4", "NULL", "NULL", "2026-01-02 03:04:05+00", "{\"a\": [1]}"]),
            row(["5", "NULL", "5", "NULL", "NULL"]),
        ]
    );
    assert_eq!(value(&mut client, "SELECT count(*) FROM weir.dead_letters"), "0");
    assert_eq!(rows(&mut client, "SELECT n FROM evolving_count ORDER BY odd"), [["2"], ["3"]]);
}
