//! `weir convert druid`: specs become SQL that runs, and whose view is what Druid's data source is; what cannot is refused by its path.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use weir_engine::Database;
use weir_engine::format::{FormatSettings, text_at};

/// The spec of the guide that Weir is built around, as it stands there.
const GUIDE: &str = r#"{
  "type": "kafka",
  "spec": {
    "dataSchema": {
      "dataSource": "events",
      "timestampSpec": {
        "column": "timestamp",
        "format": "iso"
      },
      "dimensionsSpec": {
        "dimensions": [
          "event_type",
          "user_id",
          "session_id",
          "device",
          "country",
          "page_id",
          "product_id",
          "category"
        ]
      },
      "metricsSpec": [
        { "type": "count", "name": "count" },
        { "type": "doubleSum", "name": "amount", "fieldName": "amount" },
        { "type": "thetaSketch", "name": "unique_users", "fieldName": "user_id" }
      ],
      "granularitySpec": {
        "type": "uniform",
        "segmentGranularity": "HOUR",
        "queryGranularity": "MINUTE"
      }
    }
  }
}"#;

/// Runs the program over a spec on its standard input.
fn weir(spec: &str, more: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["convert", "druid", "-"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weir starts");
    child.stdin.take().expect("stdin is piped").write_all(spec.as_bytes()).expect("weir reads");
    child.wait_with_output().expect("weir ends")
}

fn converted(spec: &Value) -> String {
    let output = weir(&spec.to_string(), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("SQL is UTF-8")
}

/// Why a spec is refused.
fn refused(spec: &str) -> String {
    let output = weir(spec, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).trim_end().to_string()
}

/// A query's rows as texts.
fn rows(db: &Database, sql: &str) -> Vec<String> {
    let result = db.query(sql).unwrap_or_else(|error| panic!("{sql}\n{error}"));
    let mut rows = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let shown = result.columns.iter().zip(batch.columns()).map(|(column, array)| {
                text_at(&column.ty, array, row, &FormatSettings::default()).unwrap_or_else(|| "NULL".to_string())
            });
            rows.push(shown.collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

/// An empty database in which a script has run.
fn database(script: &str) -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open(dir.path()).expect("a database");
    run(&db, script);
    (dir, db)
}

fn run(db: &Database, script: &str) {
    db.execute(script).unwrap_or_else(|error| panic!("{script}\n{error}"));
}

/// A spec of Druid's present form with a stream and these parts of `dataSchema`.
fn spec(schema: &Value) -> Value {
    let mut all = json!({
        "dataSource": "events",
        "timestampSpec": { "column": "ts", "format": "auto" },
        "dimensionsSpec": { "dimensions": ["page"] },
        "granularitySpec": { "segmentGranularity": "DAY", "queryGranularity": "HOUR", "rollup": true }
    });
    for (key, value) in schema.as_object().expect("an object") {
        all[key] = value.clone();
    }
    json!({ "type": "kafka", "spec": {
        "dataSchema": all,
        "ioConfig": {
            "topic": "clicks",
            "consumerProperties": { "bootstrap.servers": "k1:9092,k2:9092", "security.protocol": "SASL_SSL" },
            "inputFormat": { "type": "json" },
            "useEarliestOffset": true,
            "taskCount": 4
        },
        "tuningConfig": { "type": "kafka", "maxRowsPerSegment": 5_000_000 }
    } })
}

#[test]
fn the_guides_spec_becomes_a_table_and_a_view_that_rolls_up() {
    let script = converted(&serde_json::from_str(GUIDE).expect("it is JSON"));
    assert_eq!(
        script,
        r#"-- The spec does not say topic: events is assumed, --topic names another.
-- The spec does not say brokers: localhost:9092 is assumed, --brokers names another.
-- Sketches are asked by APPROX_COUNT_DISTINCT_DS_THETA(unique_users).
CREATE TABLE events_raw (
    "timestamp" timestamptz NOT NULL,
    event_type text,
    user_id text,
    session_id text,
    device text,
    country text,
    page_id text,
    product_id text,
    category text,
    amount double precision
)
PARTITION BY date_trunc('hour', "timestamp", 'UTC')
ORDER BY ("timestamp", event_type, user_id, session_id, device, country, page_id, product_id, category)
WITH (
    'connector' = 'kafka',
    'topic' = 'events',
    'properties.bootstrap.servers' = 'localhost:9092',
    'format' = 'json'
);

CREATE MATERIALIZED VIEW events AS
SELECT
    date_trunc('minute', "timestamp", 'UTC') AS __time,
    event_type,
    user_id,
    session_id,
    device,
    country,
    page_id,
    product_id,
    category,
    count(*) AS count,
    sum(amount) AS amount,
    theta_sketch(user_id) AS unique_users
FROM events_raw
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;
"#
    );
    let (_dir, db) = database(&script);
    run(
        &db,
        "INSERT INTO events_raw (timestamp, event_type, user_id, amount) SELECT timestamptz '2024-01-01 00:00:00+00' + i * interval '10 seconds', \
         CASE WHEN i % 2 = 0 THEN 'purchase' ELSE 'view' END, 'u' || i % 4, i FROM generate_series(0, 59) AS g (i)",
    );
    // Druid SQL, as it would be asked there.
    let sql = "SELECT event_type, SUM(\"count\"), SUM(amount), APPROX_COUNT_DISTINCT_DS_THETA(unique_users) FROM events GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&db, sql), ["purchase 30 870 2", "view 30 900 2"]);
    let minute = "SELECT __time, user_id, count, amount, theta_sketch_estimate(unique_users) FROM events WHERE __time = '2024-01-01 00:09:00+00' ORDER BY user_id";
    let expected =
        ["u0 1 56", "u1 1 57", "u2 2 112", "u3 2 114"].map(|rest| format!("2024-01-01 00:09:00+00 {rest} 1"));
    assert_eq!(rows(&db, minute), expected);
    run(&db, "DELETE FROM events_raw WHERE user_id = 'u0'");
    assert_eq!(rows(&db, sql), ["purchase 15 450 1", "view 30 900 2"]);
    db.close().expect("it closes");
}

#[test]
fn every_aggregator_filter_and_type_gives_what_druid_keeps() {
    let dimensions = json!({ "dimensions": [
        "order",
        { "type": "string", "name": "tags", "multiValueHandling": "SORTED_SET" },
        { "type": "long", "name": "user_id" },
        { "type": "json", "name": "props" }
    ], "dimensionExclusions": ["junk"] });
    let metrics = json!([
        { "type": "count", "name": "count" },
        { "type": "longSum", "name": "bytes", "fieldName": "bytes" },
        { "type": "doubleMax", "name": "bytes_max", "fieldName": "bytes" },
        { "type": "floatSum", "name": "weight", "fieldName": "weight" },
        { "type": "longMin", "name": "order_min", "fieldName": "order" },
        { "type": "stringLast", "name": "last_page", "fieldName": "page" },
        { "type": "doubleFirst", "name": "first_weight", "fieldName": "weight", "timeColumn": "server_time" },
        { "type": "thetaSketch", "name": "users", "fieldName": "user_id", "size": 16384 },
        { "type": "HLLSketchBuild", "name": "pages", "fieldName": "page", "lgK": 12, "tgtHllType": "HLL_4" },
        { "type": "hyperUnique", "name": "pages_too", "fieldName": "page" },
        { "type": "cardinality", "name": "pairs", "fields": ["page", "order"], "byRow": true },
        { "type": "quantilesDoublesSketch", "name": "latency", "fieldName": "latency", "k": 128 },
        { "type": "filtered", "filter": { "type": "like", "dimension": "page", "pattern": "/buy%" },
          "aggregator": { "type": "longSum", "name": "bought", "fieldName": "bytes" } }
    ]);
    let filter = json!({ "type": "and", "fields": [
        { "type": "selector", "dimension": "country", "value": "DE" },
        { "type": "not", "field": { "type": "in", "dimension": "order", "values": ["x", "y"] } },
        { "type": "bound", "dimension": "user_id", "lower": "5", "ordering": "numeric" },
        { "type": "or", "fields": [
            { "type": "equals", "column": "tags", "matchValueType": "STRING", "matchValue": "a" },
            { "type": "null", "column": "tags" }
        ] }
    ] });
    let script = converted(&spec(&json!({
        "dataSource": "Page Views",
        "dimensionsSpec": dimensions,
        "metricsSpec": metrics,
        "transformSpec": { "filter": filter },
        "granularitySpec": { "queryGranularity": { "type": "period", "period": "PT5M" } }
    })));
    let (_dir, db) = database(&script);
    let columns = "ts, \"order\", tags, user_id, props, country, bytes, weight, page, latency, server_time";
    run(
        &db,
        &format!(
            r#"INSERT INTO "Page Views_raw" ({columns}) VALUES
            ('2024-01-01 00:01:00+00', '3', '{{b,a,b}}', 7, '{{"a": 1}}', 'DE', 10, 0.5, '/x', 3, 200),
            ('2024-01-01 00:04:59+00', '3', '{{a,b}}', 7, '{{"a": 1}}', 'DE', 30.9, 1.5, '/buy/1', 5, 100),
            ('2024-01-01 00:05:00+00', '3', '{{a,b}}', 7, '{{"a": 1}}', 'DE', 1, 1, '/x', 5, 1),
            ('2024-01-01 00:03:00+00', 'x', '{{a,b}}', 7, NULL, 'DE', 1, 1, '/buy/1', 5, 1),
            ('2024-01-01 00:03:00+00', '3', '{{a,b}}', 3, NULL, 'DE', 1, 1, '/buy/1', 5, 1),
            ('2024-01-01 00:03:00+00', '3', '{{c}}', 9, NULL, 'DE', 1, 1, '/buy/1', 5, 1),
            ('2024-01-01 00:03:00+00', '3', NULL, 9, NULL, 'FR', 1, 1, '/buy/1', 5, 1)"#
        ),
    );
    let sql = r#"SELECT __time, "order", tags, user_id, props, count, bytes, bytes_max, weight, order_min, last_page, first_weight,
        theta_sketch_estimate(users), finalizeAggregation(pages), finalizeAggregation(pages_too), finalizeAggregation(pairs), bought
        FROM "Page Views" ORDER BY __time"#;
    assert_eq!(
        rows(&db, sql),
        [
            r#"2024-01-01 00:00:00+00 3 {a,b} 7 {"a": 1} 2 40 30.9 2 3 /buy/1 1.5 1 2 2 2 30"#,
            r#"2024-01-01 00:05:00+00 3 {a,b} 7 {"a": 1} 1 1 1 1 3 /x 1 1 1 1 1 NULL"#,
        ]
    );
    let sql = r#"SELECT round(approx_quantileMerge(0)(latency)), round(approx_quantileMerge(1)(latency)), approx_count_distinctMerge(pages), count(*)
        FROM "Page Views""#;
    assert_eq!(rows(&db, sql), ["3 5 2 2"]);
    db.close().expect("it closes");
    for expected in [
        "    tags text[],\n",
        "    bytes double precision,\n",
        "PARTITION BY date_trunc('day', ts, 'UTC')\nORDER BY (ts, \"order\", tags, user_id)\n",
        "    'topic' = 'clicks',\n    'properties.bootstrap.servers' = 'k1:9092,k2:9092',\n",
        "    'scan.startup.mode' = 'earliest-offset',\n    'properties.security.protocol' = 'SASL_SSL'\n",
        "-- Without effect on what is stored: $.spec.tuningConfig, $.spec.ioConfig.taskCount.\n",
        "-- $.spec.dataSchema.metricsSpec[7].size has no counterpart: theta sketches keep 4096 hashes.\n",
    ] {
        assert!(script.contains(expected), "{expected} is not in\n{script}");
    }
}

#[test]
fn without_rollup_the_view_shows_each_row() {
    let script = converted(&spec(&json!({
        "metricsSpec": [{ "type": "count", "name": "count" }, { "type": "longSum", "name": "bytes", "fieldName": "size" }],
        "granularitySpec": { "segmentGranularity": "MONTH", "queryGranularity": "MINUTE", "rollup": false },
        "dimensionsSpec": { "dimensions": ["page", { "type": "auto", "name": "n", "castToType": "LONG" }] }
    })));
    assert!(script.contains("CREATE VIEW events AS\n"), "{script}");
    let (_dir, db) = database(&script);
    run(
        &db,
        "INSERT INTO events_raw (ts, page, n, size) VALUES ('2024-02-03 04:05:06+00', 'a', 7, 8), ('2024-02-03 04:05:07+00', 'a', 7, 8)",
    );
    assert_eq!(rows(&db, "SELECT * FROM events"), ["2024-02-03 04:05:00+00 a 7 1 8"; 2]);
    db.close().expect("it closes");

    // Dimensions that are discovered become columns.
    let script = converted(&spec(&json!({ "dimensionsSpec": {}, "granularitySpec": { "rollup": false } })));
    assert!(script.contains("'schema_evolution' = 'add_columns'"), "{script}");
    assert!(script.contains("    ts AS __time\n"), "{script}");
    database(&script).1.close().expect("it closes");
}

#[test]
fn no_value_ends_the_commit_that_it_comes_in() {
    let metrics = json!([
        { "type": "longSum", "name": "a", "fieldName": "x" },
        { "type": "doubleSum", "name": "b", "fieldName": "x" },
        { "type": "floatMax", "name": "c", "fieldName": "x" },
        { "type": "longMax", "name": "d", "fieldName": "page" }
    ]);
    let (_dir, db) = database(&converted(&spec(&json!({ "metricsSpec": metrics }))));
    let values = "('2024-01-01', 1.5, '7'), ('2024-01-01', -2.5, '7'), ('2024-01-02', 1e300, '1e300'), ('2024-01-03', 2, 'x'), ('2024-01-03', 3.9, 'x')";
    run(&db, &format!("INSERT INTO events_raw (ts, x, page) VALUES {values}"));
    let sql = "SELECT page, a, b, c, d FROM events WHERE __time <> '2024-01-02' ORDER BY 1";
    assert_eq!(rows(&db, sql), ["7 -1 -1 1.5 7", "x 5 5.9 3.9 NULL"]);
    assert_eq!(rows(&db, "SELECT b FROM events WHERE page = '1e300'"), ["1e+300"]);
    db.close().expect("it closes");
}

#[test]
fn the_old_form_is_read_and_flags_say_where_kafka_is() {
    let old = json!({
        "type": "kafka",
        "dataSchema": {
            "dataSource": "metrics",
            "parser": { "type": "string", "parseSpec": {
                "format": "json",
                "timestampSpec": { "column": "time", "format": "yyyy-MM-dd'T'HH:mm:ss.SSSZ" },
                "dimensionsSpec": { "dimensions": ["host"] }
            } },
            "metricsSpec": [{ "type": "doubleMin", "name": "least", "fieldName": "value" }],
            "granularitySpec": { "type": "uniform", "segmentGranularity": "day", "queryGranularity": "none" }
        },
        "tuningConfig": { "type": "kafka" },
        "ioConfig": { "topic": "metrics", "consumerProperties": { "bootstrap.servers": "old:9092" }, "taskCount": 1 }
    });
    let output = weir(&old.to_string(), &["--brokers", "new:9092", "--topic", "metrics-2"]);
    let script = String::from_utf8_lossy(&output.stdout);
    for expected in [
        "'topic' = 'metrics-2'",
        "'properties.bootstrap.servers' = 'new:9092'",
        "'scan.startup.mode' = 'latest-offset'",
        "date_trunc('milliseconds', \"time\", 'UTC') AS __time",
        "min(value) AS \"least\"",
    ] {
        assert!(script.contains(expected), "{expected} is not in\n{script}");
    }
    database(&script).1.close().expect("it closes");
}

#[test]
fn granularities_cut_time_as_druids() {
    for (granularity, cut) in [
        (json!("second"), "2024-05-16 13:47:12+00"),
        (json!("TEN_MINUTE"), "2024-05-16 13:40:00+00"),
        (json!("SIX_HOUR"), "2024-05-16 12:00:00+00"),
        (json!("WEEK"), "2024-05-13 00:00:00+00"),
        (json!("QUARTER"), "2024-04-01 00:00:00+00"),
        (json!({ "type": "period", "period": "P1D", "timeZone": "America/New_York" }), "2024-05-16 04:00:00+00"),
        (json!({ "type": "period", "period": "PT45M", "origin": "2024-05-16T00:10:00Z" }), "2024-05-16 13:40:00+00"),
        (json!({ "type": "duration", "duration": 7_200_000 }), "2024-05-16 12:00:00+00"),
        // All time of a segment.
        (json!("ALL"), "2024-05-16 00:00:00+00"),
        (json!("NONE"), "2024-05-16 13:47:12.345+00"),
    ] {
        let grains = json!({ "segmentGranularity": "DAY", "queryGranularity": granularity });
        let (_dir, db) = database(&converted(&spec(&json!({ "granularitySpec": grains }))));
        run(&db, "INSERT INTO events_raw (ts) VALUES ('2024-05-16 13:47:12.345678+00')");
        assert_eq!(rows(&db, "SELECT __time FROM events"), [cut], "{grains}");
        db.close().expect("it closes");
    }
}

#[test]
fn what_has_no_counterpart_is_refused_by_its_path() {
    let metric = |metric: Value| spec(&json!({ "metricsSpec": [{ "type": "count", "name": "n" }, metric] }));
    let filter = |filter: Value| spec(&json!({ "transformSpec": { "filter": filter } }));
    let mut io = Vec::new();
    for (key, value) in [
        ("topicPattern", json!("a.*")),
        ("lateMessageRejectionPeriod", json!("PT1H")),
        ("inputFormat", json!({ "type": "csv" })),
        ("consumerProperties", json!({ "bootstrap.servers": { "type": "environment" } })),
    ] {
        let mut spec = spec(&json!({}));
        spec["spec"]["ioConfig"][key] = value;
        io.push(spec);
    }
    let batch = json!({ "type": "index_parallel", "spec": { "dataSchema": {}, "ioConfig": {} } });
    let suspended = {
        let mut spec = spec(&json!({}));
        spec["suspended"] = json!(true);
        spec
    };
    let cases = [
        (
            batch,
            "$.type: index_parallel is a batch, not a stream: make the table from a spec of type kafka, then INSERT INTO … SELECT … FROM read_json('…')",
        ),
        (
            json!({ "type": "kinesis", "spec": { "dataSchema": {} } }),
            "$.type: streams of type \"kinesis\" have no counterpart in Weir: use kafka",
        ),
        (json!({ "type": "kafka", "spec": {} }), "$.spec: \"dataSchema\" is missing"),
        (suspended, "$.suspended: a suspended supervisor reads nothing: convert it once it shall"),
        (
            metric(json!({ "type": "momentSketch", "name": "m", "fieldName": "x" })),
            "$.spec.dataSchema.metricsSpec[1].type: the aggregator \"momentSketch\" has no counterpart in Weir",
        ),
        (
            metric(json!({ "type": "longSum", "name": "m", "fieldName": "x", "odd": 1 })),
            "$.spec.dataSchema.metricsSpec[1].odd: this has no counterpart in Weir",
        ),
        (
            metric(json!({ "type": "longSum", "name": "m" })),
            "$.spec.dataSchema.metricsSpec[1]: \"fieldName\" is missing",
        ),
        (
            metric(json!({ "type": "longSum", "name": "page", "fieldName": "x" })),
            "$.spec.dataSchema.metricsSpec[1]: there is a column \"page\" already",
        ),
        (
            metric(json!({ "type": "HLLSketchMerge", "name": "m", "fieldName": "x" })),
            "$.spec.dataSchema.metricsSpec[1].type: the stream brings sketches that Druid's libraries wrote, which Weir cannot read; aggregate the values themselves",
        ),
        (
            metric(json!({ "type": "thetaSketch", "name": "m", "fieldName": "x", "isInputThetaSketch": true })),
            "$.spec.dataSchema.metricsSpec[1].isInputThetaSketch: the stream brings sketches that Druid's libraries wrote, which Weir cannot read; aggregate the values themselves",
        ),
        (
            metric(json!({ "type": "doubleSum", "name": "m", "expression": "a + b" })),
            "$.spec.dataSchema.metricsSpec[1].expression: expressions are not converted: let the producer compute the field",
        ),
        (
            filter(json!({ "type": "and", "fields": [{ "type": "regex", "dimension": "page", "pattern": "x" }] })),
            "$.spec.dataSchema.transformSpec.filter.fields[0].type: the filter \"regex\" has no counterpart in Weir",
        ),
        (
            filter(json!({ "type": "selector", "dimension": "__time", "value": "x" })),
            "$.spec.dataSchema.transformSpec.filter.dimension: filters of time are not converted: ask for the time that is wanted",
        ),
        (
            spec(
                &json!({ "transformSpec": { "transforms": [{ "type": "expression", "name": "a", "expression": "b + 1" }] } }),
            ),
            "$.spec.dataSchema.transformSpec.transforms[0]: transforms are not converted: let the producer compute the field, or a view of your own",
        ),
        (
            spec(&json!({ "timestampSpec": { "column": "ts", "format": "dd/MM/yyyy" } })),
            "$.spec.dataSchema.timestampSpec.format: times of the format \"dd/MM/yyyy\" are not read: write ISO 8601 or numbers",
        ),
        (
            spec(&json!({ "timestampSpec": { "column": "ts", "missingValue": "2000-01-01" } })),
            "$.spec.dataSchema.timestampSpec.missingValue: rows without a timestamp are dead letters in Weir",
        ),
        (
            spec(&json!({ "dimensionsSpec": { "dimensions": [] } })),
            "$.spec.dataSchema: dimensions that are discovered cannot be rolled up: name them in dimensionsSpec, or say \"rollup\": false",
        ),
        (
            spec(&json!({ "dimensionsSpec": { "dimensions": ["a", "a"] } })),
            "$.spec.dataSchema.dimensionsSpec.dimensions[1]: there is a column \"a\" already",
        ),
        (
            spec(&json!({ "dimensionsSpec": { "dimensions": ["a"], "spatialDimensions": [{ "dimName": "c" }] } })),
            "$.spec.dataSchema.dimensionsSpec.spatialDimensions: spatial dimensions have no counterpart in Weir",
        ),
        (
            spec(&json!({ "granularitySpec": { "segmentGranularity": "FORTNIGHT" } })),
            "$.spec.dataSchema.granularitySpec.segmentGranularity: \"FORTNIGHT\" is no granularity",
        ),
        (
            spec(&json!({ "granularitySpec": { "rollup": "yes" } })),
            "$.spec.dataSchema.granularitySpec.rollup: this must be true or false",
        ),
        (io.remove(0), "$.spec.ioConfig.topicPattern: a table reads one topic: make one for each"),
        (
            io.remove(0),
            "$.spec.ioConfig.lateMessageRejectionPeriod: rows are taken whatever their time: filter them in a view",
        ),
        (io.remove(0), "$.spec.ioConfig.inputFormat.type: records of csv are not read: only json is"),
        (
            io.remove(0),
            "$.spec.ioConfig.consumerProperties['bootstrap.servers']: this must be a text, a number or a boolean",
        ),
    ];
    for (spec, reason) in cases {
        assert_eq!(refused(&spec.to_string()), format!("weir: standard input: {reason}"));
    }
}

#[test]
fn an_error_of_json_names_line_and_column() {
    assert_eq!(refused("{\n  \"type\": \"kafka\",\n  \"spec\" {}\n}"), "weir: standard input:3:10: expected `:`");
    assert_eq!(refused("{\"type\": \"kafka\""), "weir: standard input:1:16: EOF while parsing an object");
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(["convert", "druid", "/nowhere.json"]).output();
    let complaint = String::from_utf8_lossy(&output.expect("weir ends").stderr).to_string();
    assert!(complaint.starts_with("weir: cannot read /nowhere.json: "), "{complaint}");
}
