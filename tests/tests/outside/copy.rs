//! COPY against a real PostgreSQL: the same bytes out, the same rows in, the same errors with the same place.

use std::io::{Read, Write};

use postgres::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::outside::oracle::Postgres;
use weir_tests::process::Server;

const TABLE: &str =
    "CREATE TABLE t (id int NOT NULL, b bool, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric,
    d numeric(12,3), s text, v varchar(8), c char(4), y bytea, u uuid, j json, jb jsonb, dt date, tm time, ts timestamp,
    tz timestamptz, iv interval, ia integer[], ta text[], da date[])";

const ROWS: &[&str] = &[
    r#"1, true, -32768, 9223372036854775807, 1.5, 1e300, 12345678901234567890.123450, -1.25, E'tab\t nl\n cr\r \\ "q" , '' é',
      'v', 'c', '\x00ff0a', '00112233-4455-6677-8899-aabbccddeeff', '{"a":  1}', '{"b": [1, 2], "a": "x\ty"}', '2020-02-29',
      '12:34:56.789', '2020-01-01 00:00:00.000001', '2020-01-01 00:00:00+02', '1 year 2 days 03:04:05', '{1,NULL,3}',
      '{a,"b,c","",NULL,"q\\\""}', '{2020-01-01,NULL}'"#,
    r#"2, NULL, NULL, NULL, 'NaN', '-Infinity', 'NaN', 0, '', '', '', '', NULL, 'null', 'null', 'infinity', '24:00', '-infinity',
      'infinity', '-1 mon', '{}', NULL, '{}'"#,
    r#"3, false, 0, 0, -0.0, 5e-324, 0.000, 1, '\.', E'\b\f\v', '\N', '\x5c', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '[]', '1e3',
      '0001-01-01', '00:00', '1970-01-01', '1969-12-31 23:59:59.999999+00', '-00:00:01', '{-1}', '{NULL,"NULL"}', NULL"#,
    r#"4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
      NULL, NULL"#,
];

const FORMATS: &[&str] = &[
    "FORMAT text",
    "FORMAT text, DELIMITER '|', NULL 'nil', HEADER",
    "FORMAT csv",
    "FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', NULL 'x'",
    "FORMAT csv, FORCE_QUOTE *, ESCAPE '\\'",
    "FORMAT binary",
];

fn out(client: &mut Client, sql: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.copy_out(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}")).read_to_end(&mut bytes).expect("it ends");
    bytes
}

/// What a server said of data: how many rows, or the code, the message and the place.
fn copy_in(client: &mut Client, sql: &str, data: &[u8]) -> Result<u64, (String, String, Option<String>)> {
    let mut run = || -> Result<u64, postgres::Error> {
        let mut writer = client.copy_in(sql)?;
        for piece in data.chunks(5000) {
            // A server that refused already may have stopped listening; what it said comes from finish.
            let _ = writer.write_all(piece);
        }
        writer.finish()
    };
    run().map_err(|e| match e.as_db_error() {
        Some(db) => (db.code().code().to_string(), db.message().to_string(), db.where_().map(str::to_string)),
        None => panic!("{sql}: {e:?}"),
    })
}

fn both() -> (Postgres, Server, tempfile::TempDir, Client, Client) {
    let postgres = Postgres::start();
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let oracle = Client::connect(&postgres.config(), postgres::NoTls).expect("PostgreSQL takes connections");
    let weir = server.connect();
    (postgres, server, data, oracle, weir)
}

#[test]
fn every_type_is_copied_as_postgres_copies_it() {
    let (_postgres, _server, _data, mut oracle, mut weir) = both();
    for client in [&mut oracle, &mut weir] {
        client.batch_execute(TABLE).expect("created");
        for row in ROWS {
            client.batch_execute(&format!("INSERT INTO t VALUES ({row})")).unwrap_or_else(|e| panic!("{row}: {e:?}"));
        }
    }
    for format in FORMATS {
        let sql = format!("COPY (SELECT * FROM t ORDER BY id) TO STDOUT ({format})");
        let expected = out(&mut oracle, &sql);
        let actual = out(&mut weir, &sql);
        assert_eq!(String::from_utf8_lossy(&expected), String::from_utf8_lossy(&actual), "{format}");
        assert_eq!(expected, actual, "{format}");
        weir.batch_execute("TRUNCATE t").expect("emptied");
        let options = format.replace(", FORCE_QUOTE *", "");
        let rows = copy_in(&mut weir, &format!("COPY t FROM STDIN ({options})"), &expected);
        assert_eq!(rows, Ok(ROWS.len() as u64), "{format}");
        assert_eq!(out(&mut weir, &sql), expected, "{format}: after a round trip");
    }
}

#[test]
fn malformed_data_is_refused_as_postgres_refuses_it() {
    let (_postgres, _server, _data, mut oracle, mut weir) = both();
    for client in [&mut oracle, &mut weir] {
        client.batch_execute("CREATE TABLE t (a int NOT NULL, b text, c date DEFAULT '2020-01-01')").expect("created");
    }
    let long = format!("1\t{}\tx\n", "é".repeat(200));
    let cases: &[(&str, &[u8])] = &[
        ("", b"1\tx\t2020-01-01\n\\.\n"),
        ("", b"1\tx\n"),
        ("", b"1\tx\t2020-01-01\ty\n"),
        ("", b"x\ty\t2020-01-01\n"),
        ("", b"1\tx\t2020-01-01\n2\ty\t2020-13-01\n"),
        ("", b"99999999999\tx\t2020-01-01\n"),
        ("", b"\\N\tx\t2020-01-01\n"),
        ("", b"1\tx\t2020-01-01\r\n2\ty\t2020-01-01\n"),
        ("", b"1\tx\t2020-01-01\n2\ty\t2020-01-01\r\n"),
        ("", b"1\ta\\xC3\\xA9\\101\t\\N\n"),
        ("", b"1\t\\xff\t\\N\n"),
        ("", b"1\t\xff\t\\N\n"),
        ("", b"1\tx\t\\N\n\\.rubbish\n"),
        ("", b"\n"),
        ("", b""),
        ("", long.as_bytes()),
        ("(b, a)", b"x\t1\n"),
        ("(b)", b"x\n"),
        ("CSV", b"1,\"x\ny\",2020-01-01\n,x,\n"),
        ("CSV", b"1,\"x,2020-01-01\n"),
        ("CSV", b"1,x,2020-01-01\n1,x\"a\"\"b,c\"d,2020-01-01\n"),
        ("CSV", b"1,\"\",2020-01-01\r2,x,\r"),
        ("CSV", b"1,x,2020-01-01\n2,x,\r\n"),
        ("CSV HEADER", b"a,b,c\n1,x,\n"),
        ("(FORMAT csv, HEADER match)", b"a,b,x\n1,x,\n"),
        ("(FORMAT csv, HEADER match)", b"a,b\n1,x,\n"),
        ("(FORMAT csv, FORCE_NULL (b), FORCE_NOT_NULL (b))", b"1,\"\",2020-01-01\n2,,2020-01-01\n"),
        ("BINARY", b"nonsense and more of it"),
        ("BINARY", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02"),
        ("BINARY", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x02\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
        (
            "BINARY",
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        ("BINARY", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\x04\0\0"),
    ];
    for (options, data) in cases {
        let columns = if options.starts_with("(b") { *options } else { "" };
        let sql = format!("COPY t {columns} FROM STDIN {}", if columns.is_empty() { *options } else { "" });
        let expected = copy_in(&mut oracle, &sql, data);
        let actual = copy_in(&mut weir, &sql, data);
        assert_eq!(expected, actual, "{sql}: {}", String::from_utf8_lossy(data));
        let all = "COPY (SELECT * FROM t ORDER BY a, b, c) TO STDOUT";
        assert_eq!(out(&mut oracle, all), out(&mut weir, all), "{sql}: {}", String::from_utf8_lossy(data));
    }
}

#[test]
fn arbitrary_data_has_the_fate_it_has_in_postgres() {
    let (_postgres, _server, _data, mut oracle, mut weir) = both();
    for client in [&mut oracle, &mut weir] {
        client.batch_execute("CREATE TABLE t (a text, b text)").expect("created");
    }
    let mut random = StdRng::seed_from_u64(15);
    let pieces: &[&str] = &[
        "a", "b", "\t", "\t", "\n", "\n", "\\", "\\N", "\\.", "\r", "\r\n", "\"", "\"", ",", ",", "\\x4", "\\07", "é",
        "'",
    ];
    for round in 0..1500 {
        let length = random.random_range(0..12);
        let data: String = (0..length).map(|_| pieces[random.random_range(0..pieces.len())]).collect();
        let options = ["", "CSV", "CSV ESCAPE '\\'", "CSV HEADER QUOTE ''''"][round % 4];
        let sql = format!("COPY t FROM STDIN {options}");
        let expected = copy_in(&mut oracle, &sql, data.as_bytes());
        let actual = copy_in(&mut weir, &sql, data.as_bytes());
        assert_eq!(expected, actual, "{sql}: {data:?}");
        let all = "COPY (SELECT * FROM t ORDER BY a, b) TO STDOUT";
        assert_eq!(out(&mut oracle, all), out(&mut weir, all), "{sql}: {data:?}");
        for client in [&mut oracle, &mut weir] {
            client.batch_execute("TRUNCATE t").expect("emptied");
        }
    }
}
