//! COPY through a session: what goes in comes out, errors name their place, nothing is left of what failed.

use crate::error::{Error, ErrorKind};
use crate::{Database, Options, Outcome, Session, TransactionStatus};

fn database(options: Options) -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().expect("a folder");
    let db = Database::open_with(dir.path(), options).expect("opened");
    (dir, db)
}

fn copy_in(session: &mut Session, sql: &str, data: &[u8]) -> Result<String, Error> {
    let parsed = session.parse(sql)?;
    let prepared = session.prepare(&parsed[0], &[])?;
    let Outcome::CopyIn(mut copy) = session.run(&prepared, &[])? else { panic!("{sql} takes no data") };
    // Small odd pieces, so that lines and tuples are cut everywhere.
    for piece in data.chunks(7) {
        if let Err(error) = copy.push(piece) {
            copy.abort(session);
            return Err(error);
        }
    }
    copy.finish(session)
}

fn copy_out(session: &mut Session, sql: &str) -> Vec<u8> {
    let parsed = session.parse(sql).expect(sql);
    let prepared = session.prepare(&parsed[0], &[]).expect(sql);
    let Ok(Outcome::CopyOut(mut copy)) = session.run(&prepared, &[]) else { panic!("{sql} gives no data") };
    let mut all = Vec::new();
    while let Some(row) = copy.next().expect(sql) {
        all.extend_from_slice(row);
    }
    all
}

fn text(session: &mut Session, sql: &str) -> String {
    String::from_utf8(copy_out(session, sql)).expect("text")
}

const TYPES: &str =
    "CREATE TABLE t (b bool, i2 smallint, i4 integer, i8 bigint, u8 UInt64, f4 real, f8 double precision,
    n numeric, d numeric(10,2), s text, v varchar(5), c char(3), y bytea, u uuid, j json, jb jsonb, dt date, tm time,
    ts timestamp, tz timestamptz, iv interval, ia integer[], ta text[])";

const ROWS: &str = "INSERT INTO t VALUES
    (true, -2, 4, 8, 18446744073709551615, 1.5, 1e300, 12345678901234567890.123, 1.25, E'tab\\t nl\\n \\\\ \"q\" , é', 'v', 'c',
     '\\x00ff', '00112233-4455-6677-8899-aabbccddeeff', '{\"a\": 1}', '{\"b\": [1,2]}', '2020-02-29', '12:34:56.789',
     '2020-01-01 00:00:00.000001', '2020-01-01 00:00:00+02', '1 year 2 days 03:04:05', '{1,NULL,3}', '{a,\"b,c\",\"\",NULL}');
    INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL, 'NaN', '-Infinity', 'NaN', NULL, '', NULL, NULL, '', NULL, NULL, NULL, 'infinity', NULL,
     '-infinity', NULL, NULL, '{}', NULL)";

#[test]
fn every_type_goes_out_and_in_again_in_every_format() {
    let (_dir, db) = database(Options::default());
    let mut session = db.session();
    session.execute(TYPES).expect("created");
    session.execute(ROWS).expect("inserted");
    session.execute(&TYPES.replace("TABLE t", "TABLE u")).expect("created");
    for format in ["text", "csv", "csv, HEADER", "binary", "csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'nil'"] {
        let out = copy_out(&mut session, &format!("COPY t TO STDOUT (FORMAT {format})"));
        let tag = copy_in(&mut session, &format!("COPY u FROM STDIN (FORMAT {format})"), &out).expect(format);
        assert_eq!(tag, "COPY 2");
        let again = copy_out(&mut session, &format!("COPY u TO STDOUT (FORMAT {format})"));
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&again), "{format}");
        session.execute("TRUNCATE u").expect("emptied");
    }
}

#[test]
fn columns_that_are_not_named_have_their_default() {
    let (_dir, db) = database(Options::default());
    let mut session = db.session();
    session.execute("CREATE TABLE t (a int, b text DEFAULT 'x', c int NOT NULL, d timestamptz DEFAULT now())").unwrap();
    assert_eq!(copy_in(&mut session, "COPY t (c, a) FROM STDIN", b"1\t\\N\n2\t5\n").unwrap(), "COPY 2");
    assert_eq!(
        text(&mut session, "COPY (SELECT a, b, c, d IS NULL FROM t ORDER BY c) TO STDOUT"),
        "\\N\tx\t1\tf\n5\tx\t2\tf\n"
    );
    let error = copy_in(&mut session, "COPY t (a) FROM STDIN", b"1\n").unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotNullViolation);
    assert_eq!(error.context.as_deref(), Some("COPY t, line 1: \"1\""));
}

#[test]
fn errors_name_line_and_column_and_leave_nothing() {
    let (_dir, db) = database(Options::default());
    let mut session = db.session();
    session.execute("CREATE TABLE t (a int NOT NULL, b text)").unwrap();
    let long = format!("1\tx\n{}\ty\n", "9".repeat(200));
    for (options, data, kind, message, context) in [
        (
            "",
            "1\tx\nz\ty\n",
            ErrorKind::InvalidText,
            "invalid input syntax for type integer: \"z\"",
            "COPY t, line 2, column a: \"z\"",
        ),
        ("", "1\tx\n2\n", ErrorKind::BadCopyFile, "missing data for column \"b\"", "COPY t, line 2: \"2\""),
        (
            "",
            "1\tx\ty\n",
            ErrorKind::BadCopyFile,
            "extra data after last expected column",
            "COPY t, line 1: \"1\tx\ty\"",
        ),
        (
            "",
            "1\tx\n\\N\ty\n",
            ErrorKind::NotNullViolation,
            "null value in column \"a\" of relation \"t\" violates not-null constraint",
            "COPY t, line 2: \"\\N\ty\"",
        ),
        (
            "(FORMAT csv)",
            "1,\"x\ny\"\n,\n",
            ErrorKind::NotNullViolation,
            "null value in column \"a\" of relation \"t\" violates not-null constraint",
            "COPY t, line 2: \",\"",
        ),
        ("(FORMAT csv)", "1,\"x", ErrorKind::BadCopyFile, "unterminated CSV quoted field", "COPY t, line 1: \"1,\"x\""),
        (
            "",
            &long,
            ErrorKind::NumericOutOfRange,
            &format!("value \"{}\" is out of range for type integer", "9".repeat(200)),
            &format!("COPY t, line 2, column a: \"{}...\"", "9".repeat(100)),
        ),
    ] {
        let error = copy_in(&mut session, &format!("COPY t FROM STDIN {options}"), data.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message), "{data:?}");
        assert_eq!(error.context.as_deref(), Some(context), "{data:?}");
        assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    }
    assert_eq!(text(&mut session, "COPY (SELECT count(*) FROM t) TO STDOUT"), "0\n");
    let error = copy_in(&mut session, "COPY t FROM STDIN", b"1\t\xff\n").unwrap_err();
    assert_eq!(error.kind, ErrorKind::CharacterNotInRepertoire);
}

#[test]
fn a_block_sees_its_copy_and_can_take_it_back() {
    let (_dir, db) = database(Options { bulk_bytes: 1 << 10, ..Options::default() });
    let mut session = db.session();
    session.execute("CREATE TABLE t (a int)").unwrap();
    let data: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    session.execute("BEGIN").unwrap();
    assert_eq!(copy_in(&mut session, "COPY t FROM STDIN", data.as_bytes()).unwrap(), "COPY 20000");
    assert_eq!(text(&mut session, "COPY (SELECT count(*), sum(a) FROM t) TO STDOUT"), "20000\t199990000\n");
    session.execute("ROLLBACK").unwrap();
    assert_eq!(text(&mut session, "COPY (SELECT count(*) FROM t) TO STDOUT"), "0\n");
    session.execute("BEGIN").unwrap();
    copy_in(&mut session, "COPY t FROM STDIN", b"x\n").unwrap_err();
    assert_eq!(session.transaction_status(), TransactionStatus::Failed);
    session.execute("ROLLBACK").unwrap();
    assert_eq!(copy_in(&mut session, "COPY t FROM STDIN", data.as_bytes()).unwrap(), "COPY 20000");
    assert_eq!(text(&mut db.session(), "COPY (SELECT count(*), sum(a) FROM t) TO STDOUT"), "20000\t199990000\n");
}

#[test]
fn headers_and_forced_nulls() {
    let (_dir, db) = database(Options::default());
    let mut session = db.session();
    session.execute("CREATE TABLE t (a int, b text, c text)").unwrap();
    let sql = "COPY t FROM STDIN (FORMAT csv, HEADER match, FORCE_NOT_NULL (b), FORCE_NULL (c))";
    assert_eq!(copy_in(&mut session, sql, b"a,b,c\n1,,\"\"\n").unwrap(), "COPY 1");
    assert_eq!(text(&mut session, "COPY t TO STDOUT"), "1\t\t\\N\n");
    let error = copy_in(&mut session, sql, b"a,x,c\n1,,\n").unwrap_err();
    assert_eq!(error.message, "column name mismatch in header line field 2: got \"x\", expected \"b\"");
    assert_eq!(
        copy_in(&mut session, "COPY t FROM STDIN (HEADER)", b"\r\n5\t6\t7\r\n\\.\r\nrubbish").unwrap(),
        "COPY 1"
    );
    assert_eq!(text(&mut session, "COPY (SELECT * FROM t WHERE a = 5) TO STDOUT CSV HEADER"), "a,b,c\n5,6,7\n");
}

#[test]
fn files_of_each_format_are_written_and_read() {
    let (dir, db) = database(Options::default());
    let mut session = db.session();
    session.execute(TYPES).unwrap();
    session.execute(ROWS).unwrap();
    session.execute(&TYPES.replace("TABLE t", "TABLE u")).unwrap();
    let expected = text(&mut session, "COPY t TO STDOUT");
    for name in ["x.csv", "x.csv.gz", "x.txt", "x.tsv.zst", "x.parquet", "x.jsonl"] {
        let path = dir.path().join(name);
        session.execute(&format!("COPY t TO '{}'", path.display())).expect(name);
        session.execute(&format!("COPY u FROM '{}'", path.display())).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(text(&mut session, "COPY u TO STDOUT"), expected, "{name}");
        session.execute("TRUNCATE u").unwrap();
    }
    let error = session.execute("COPY u FROM '/nowhere.csv'").unwrap_err();
    assert_eq!(error.kind, ErrorKind::UndefinedFile);
    assert_eq!(error.message, "could not open file \"/nowhere.csv\" for reading: No such file or directory");
}
