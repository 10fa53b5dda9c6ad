//! What statements parse to, and how mistakes are told.

use super::*;
use crate::statement::{AlterAction, CopyFormat, ObjectKind, ObjectName, TtlRule};

fn ast(sql: &str) -> Ast {
    match parse(sql) {
        Ok(mut statements) => Arc::unwrap_or_clone(statements.remove(0).ast),
        Err(error) => panic!("{sql}: {error} ({:?}) at {:?}", error.detail, error.position),
    }
}

fn ready(sql: &str) -> Statement {
    match ast(sql) {
        Ast::Ready(statement) => *statement,
        other => panic!("{sql}: {other:?}"),
    }
}

fn table(sql: &str) -> ast::CreateTable {
    match ast(sql) {
        Ast::CreateTable(table) => *table,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn errors_name_the_token_and_its_place() {
    for (sql, message, position) in [
        ("select 1 +", "syntax error at end of input", 11),
        ("select é from t where group by é", "syntax error at or near \"group\"", 23),
        ("select 1; select (1", "syntax error at end of input", 20),
        ("select 1 2", "syntax error at or near \"2\"", 10),
        ("select a from t where where b", "syntax error at or near \"where\"", 23),
        ("selec 1", "syntax error at or near \"selec\"", 1),
        ("create table t", "syntax error at end of input", 15),
        ("create table t (a int4,, b int4)", "syntax error at or near \",\"", 24),
        ("create table t (a int4 nul)", "syntax error at or near \"nul\"", 24),
        ("create table t (a)", "column \"a\" has no type", 17),
        (
            "create table t (a int4 primary key, primary key (a))",
            "multiple primary keys for table \"t\" are not allowed",
            37,
        ),
        ("create table t (a int4) ttl a ttl a", "TTL is given twice", 31),
        ("drop table", "syntax error at end of input", 11),
        ("begin x", "syntax error at or near \"x\"", 7),
        ("copy t from stdin with (format xml)", "COPY format \"xml\" not recognized", 32),
        ("copy t from stdin with (header, header)", "conflicting or redundant options", 33),
        ("explain (foo) select 1", "unrecognized EXPLAIN option \"foo\"", 10),
        ("set x", "syntax error at end of input", 6),
        ("prepare a (blah) as select 1", "type \"blah\" does not exist", 12),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!((error.message.as_str(), error.position), (message, Some(position)), "{sql}");
    }
}

#[test]
fn what_is_not_supported_says_so() {
    for (sql, message) in [
        ("create table t (a int4 unique)", "UNIQUE constraint is not supported"),
        ("create table t (a int4, constraint c check (a > 0))", "CHECK constraint is not supported"),
        ("create table t (a int4 references u)", "FOREIGN KEY constraint is not supported"),
        ("create table t (like u)", "CREATE TABLE … LIKE is not supported"),
        ("create table t (a int4) partition by range (a)", "PARTITION BY RANGE, LIST or HASH is not supported"),
        ("create materialized view v to t populate as select 1", "POPULATE with TO is not supported"),
        ("copy t from stdin where a > 1", "COPY … WHERE is not supported"),
        ("commit and chain", "AND CHAIN is not supported"),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unsupported, message), "{sql}");
    }
    for (sql, message) in [
        ("rename table t to u", "RENAME TABLE is not supported yet"),
        ("alter sequence s restart", "ALTER SEQUENCE is not supported yet"),
        (
            "create or replace function f() returns int4 as $$ select 1 $$ language sql",
            "CREATE FUNCTION is not supported yet",
        ),
        ("create unique index on t (a)", "CREATE UNIQUE INDEX is not supported yet"),
    ] {
        let Ast::Unsupported(error) = ast(sql) else { panic!("{sql}") };
        assert_eq!(error.message, message, "{sql}");
    }
}

#[test]
fn changes_of_definitions() {
    let actions = |sql: &str| match ready(sql) {
        Statement::AlterTable(alter) => alter.actions,
        other => panic!("{sql}: {other:?}"),
    };
    for (sql, count) in [
        (
            "alter table if exists only s.t * add column if not exists a int4 default 1 not null, drop column b cascade",
            2,
        ),
        ("alter table t modify column a Nullable(Int64) default 1 codec(ZSTD(3), LZ4) comment 'x' after b", 5),
        ("alter table t alter a set data type text collate \"C\" using a::text, alter column b drop not null", 2),
        ("alter table t rename a to b", 1),
        ("alter table t owner to someone", 0),
        ("alter materialized view v rename to w", 1),
        ("alter table t modify ttl d + interval 1 day, d + toIntervalDay(3) delete where a > 1", 1),
        ("alter table t freeze partition id '2024' with name 'x'", 1),
        ("alter table t attach partition (1, 'a') from u", 1),
        ("alter table t set (durability = async), reset (durability)", 2),
    ] {
        assert_eq!(actions(sql).len(), count, "{sql}");
    }
    let [AlterAction::SetTtl(rules)] =
        &actions("alter table t modify ttl a + interval 1 day, b + interval 2 day where c")[..]
    else {
        panic!("a TTL");
    };
    assert_eq!(
        rules[1],
        TtlRule { time: "b + interval 2 day".into(), condition: Some("c".into()), of: None, rollup: None }
    );
    assert_eq!(
        rename_column("a + A(a) + \"a\" + t.a + ax", "a", "b c").as_deref(),
        Ok("\"b c\" + A(\"b c\") + \"b c\" + t.\"b c\" + ax")
    );
}

#[test]
fn changes_of_rows() {
    for sql in [
        "update only t * as x set a = 1, (b, c) = (select 1, default) from u join v using (id), w where x.id = u.id returning *",
        "update s.t set a = default",
        "delete from t x using u, v where x.id = u.id returning x.*",
        "merge into t as x using (select 1 as id) s on x.id = s.id when matched and s.id > 1 then delete when matched then update set a = s.id, (b) = row(1) when not matched by target and s.id = 2 then do nothing when not matched then insert (id, a) values (s.id, default) when not matched by source then delete",
        "merge into t using s on true when not matched then insert default values",
    ] {
        ast(sql);
    }
    let Ast::Update(update) = ast("ALTER TABLE s.t UPDATE a = 1 WHERE b = 2") else { panic!("an UPDATE") };
    assert_eq!((update.assignments.len(), update.selection.is_some()), (1, true));
    let Ast::Delete(delete) = ast("ALTER TABLE t DELETE WHERE b = 2") else { panic!("a DELETE") };
    assert!(delete.selection.is_some());
    for sql in [
        "delete t",
        "update t",
        "merge into t using s on true",
        "merge into t using s on true when matched then insert values (1)",
    ] {
        assert_eq!(parse(sql).expect_err(sql).kind, ErrorKind::Syntax, "{sql}");
    }
}

#[test]
fn clickhouse_in_select() {
    for sql in [
        "select quantile(0.9)(x), quantiles(0.5, 0.9)(x) filter (where y) over (partition by z) from t",
        "select count() from t FINAL prewhere a = 1 where `b c` == 2 limit 3 by a",
        "select now() - interval 5 minute, interval '5' second, interval '5 minutes', interval 2 week",
        "select timestamp, toStartOfHour(timestamp) from events where timestamp >= now() - INTERVAL 24 HOUR",
        "select [1, 2], x in (1, 2), properties['page_id'] from t settings max_threads = 1",
        "select cast(x as Nullable(UInt8)), x::Array(String)",
        "select 'a'\n'b', e'\\n', $$x$$, u&'\\0061', trim(both from x), case when a then b end, and(a, b)",
    ] {
        ast(sql);
    }
    let Ast::Query(query) = ast("select quantile(0.9)(x)") else { panic!("a query") };
    assert_eq!(query.to_string(), "SELECT quantile(0.9)(x)");
}

#[test]
fn clickhouse_table_clauses_in_any_order() {
    let table = table(
        "CREATE TABLE IF NOT EXISTS db.`T x` (
            `index` UInt8 CODEC(Delta(4), ZSTD(1)) COMMENT 'no',
            b Nullable(String) DEFAULT 'x',
            c Enum8('a' = 1, 'b' = 2),
            INDEX i (b, lower(b)) TYPE bloom_filter(0.01) GRANULARITY 4,
            PROJECTION p (SELECT b, count() GROUP BY b),
        ) ENGINE = ReplacingMergeTree(b, 'x') ORDER BY (index, toDate(b)) PRIMARY KEY index PARTITION BY tuple()
        SETTINGS index_granularity = 8192, storage_policy = 'hot' COMMENT 'all'",
    );
    assert_eq!(table.name, ObjectName { schema: Some("db".to_string()), name: "T x".to_string() });
    assert!(table.if_not_exists);
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.name.as_str()).collect();
    assert_eq!(names, ["index", "b", "c"]);
    assert_eq!(table.columns[0].codec.as_deref(), Some("Delta(4), ZSTD(1)"));
    assert_eq!(table.columns[0].comment.as_deref(), Some("no"));
    assert_eq!(table.columns[1].default.as_ref().map(|default| default.text.as_str()), Some("'x'"));
    assert_eq!(table.layout.engine_args, ["b", "'x'"]);
    assert_eq!(table.layout.order_by.as_ref().map(Vec::len), Some(2));
    let option = |name: &str, value: &str| (name.to_string(), value.to_string());
    let options = [option("index_granularity", "8192"), option("storage_policy", "hot"), option("comment", "all")];
    assert_eq!(table.layout.options, options);
}

#[test]
fn postgres_table() {
    let table = table(
        "create temp table t (id int8 not null default 1 + 2, \"Name\" text collate \"C\" null, d numeric(10,2) default 0,
         constraint pk primary key (id)) with (durability = async, fillfactor=70) as select 1, 2, 3 with no data",
    );
    assert!(table.temporary && !table.with_data && table.source.is_some());
    assert_eq!(table.columns[0].nullable, Some(false));
    assert_eq!(table.columns[0].default.as_ref().map(|default| default.text.as_str()), Some("1 + 2"));
    assert_eq!(table.columns[1].name.name, "Name");
    assert_eq!(table.primary_key.map(|key| key[0].name.clone()), Some("id".to_string()));
    assert_eq!(table.layout.options[0], ("durability".to_string(), "async".to_string()));
}

#[test]
fn session_statements() {
    let set = |name: &str, value: Option<&str>, local| {
        format!("{:?}", Statement::Set { name: name.to_string(), value: value.map(str::to_string), local })
    };
    for (sql, expected) in [
        ("SET TimeZone TO 'Europe/Berlin'", set("timezone", Some("Europe/Berlin"), false)),
        ("SET LOCAL TIME ZONE LOCAL", set("timezone", None, true)),
        ("SET SESSION search_path = \"$user\", Public", set("search_path", Some("\"$user\", public"), false)),
        ("set extra_float_digits = -1", set("extra_float_digits", Some("-1"), false)),
        ("set weir.threads to default", set("weir.threads", None, false)),
        ("SET NAMES 'utf8'", set("client_encoding", Some("utf8"), false)),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            set("default_transaction_read_only", Some("on"), false),
        ),
        ("RESET TIME ZONE", set("timezone", None, false)),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "Begin { read_only: true }".to_string()),
        ("BEGIN WORK", "Begin { read_only: false }".to_string()),
        ("END TRANSACTION", "Commit".to_string()),
        ("ABORT", "Rollback".to_string()),
        ("ROLLBACK WORK TO SAVEPOINT A", "RollbackTo(\"a\")".to_string()),
        ("RELEASE SAVEPOINT a", "Release(\"a\")".to_string()),
        ("SHOW TIME ZONE", "Show { name: \"timezone\" }".to_string()),
        ("show all", "Show { name: \"all\" }".to_string()),
        ("FETCH FORWARD 5 FROM c", "Fetch { name: \"c\", rows: Forward(Some(5)), skip: false }".to_string()),
        ("FETCH c", "Fetch { name: \"c\", rows: Forward(Some(1)), skip: false }".to_string()),
        ("MOVE FORWARD ALL IN c", "Fetch { name: \"c\", rows: Forward(None), skip: true }".to_string()),
        ("FETCH 100 c", "Fetch { name: \"c\", rows: Forward(Some(100)), skip: false }".to_string()),
        ("CLOSE ALL", "CloseCursor(None)".to_string()),
        ("DEALLOCATE PREPARE p", "Deallocate(Some(\"p\"))".to_string()),
        ("DISCARD ALL", "Discard".to_string()),
        ("LOCK TABLE t IN SHARE MODE", "NoOp { tag: \"LOCK TABLE\" }".to_string()),
        ("COMMENT ON SCHEMA s IS 'x'", "NoOp { tag: \"COMMENT\" }".to_string()),
    ] {
        assert_eq!(format!("{:?}", ready(sql)), expected, "{sql}");
    }
    let Statement::Prepare { parameters, query, .. } = ready("PREPARE p (int4, text) AS select $1, $2 -- x") else {
        panic!("PREPARE")
    };
    assert_eq!((parameters.len(), query.as_str()), (2, "select $1, $2"));
    let Statement::Comment { relation, column, comment } = ready("COMMENT ON COLUMN s.t.c IS $x$it's$x$") else {
        panic!("COMMENT")
    };
    assert_eq!((relation.schema.as_deref(), relation.name.as_str()), (Some("s"), "t"));
    assert_eq!((column.as_deref(), comment.as_deref()), (Some("c"), Some("it's")));
    let Statement::Drop { kind, names, if_exists, cascade } = ready("DROP MATERIALIZED VIEW IF EXISTS a, s.b CASCADE")
    else {
        panic!("DROP")
    };
    assert_eq!((kind, names.len(), if_exists, cascade), (ObjectKind::MaterializedView, 2, true, true));
}

#[test]
fn copy_options_of_both_generations() {
    let copy = |sql: &str| match ast(sql) {
        Ast::Copy(copy) => *copy,
        other => panic!("{sql}: {other:?}"),
    };
    let new =
        copy("COPY s.t (a, \"B\") FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER ';', NULL 'n', QUOTE '''')");
    let old = copy("COPY s.t (a, \"B\") FROM STDIN CSV HEADER DELIMITER AS ';' NULL 'n' QUOTE ''''");
    assert_eq!(new.options, old.options);
    assert_eq!((new.options.delimiter, new.options.quote, new.options.escape), (b';', b'\'', b'\''));
    let text = copy("copy t from stdin with (freeze on)").options;
    assert_eq!((text.format, text.delimiter, text.null.as_str()), (CopyFormat::Text, b'\t', "\\N"));
    let parquet = copy("COPY (select 1) TO '/tmp/x.parquet'");
    assert_eq!((parquet.to, parquet.options.format), (true, CopyFormat::Parquet));
    assert_eq!(copy("COPY BINARY t TO STDOUT").options.format, CopyFormat::Binary);
    let error = parse("copy t to stdout (delimiter 'ab')").expect_err("two bytes");
    assert_eq!(error.message, "COPY delimiter must be a single one-byte character");
}

#[test]
fn explain_and_show() {
    let options = |sql: &str| match ast(sql) {
        Ast::Explain { options, .. } => options,
        other => panic!("{other:?}"),
    };
    let found = options("EXPLAIN (ANALYZE, VERBOSE false, FORMAT JSON, COSTS off, timing 0) SELECT 1");
    assert_eq!((found.analyze, found.verbose, found.json), (true, false, true));
    assert_eq!((found.costs, found.timing, found.summary), (false, false, true));
    assert!(options("EXPLAIN ANALYZE INSERT INTO t VALUES (1)").analyze);
    assert!(!options("explain (select 1)").analyze);
    for sql in ["SHOW TABLES", "show tables from s like 'a%'", "SHOW FUNCTIONS LIKE 'to%'", "SHOW CREATE TABLE s.t"] {
        assert!(matches!(ast(sql), Ast::ShowQuery(_)), "{sql}");
    }
    assert!(matches!(ast("DESCRIBE TABLE s.t"), Ast::Describe { .. }));
}

#[test]
fn a_text_without_statements_has_none() {
    for sql in ["", ";", " -- ping", "/* a */;;"] {
        assert!(parse(sql).expect(sql).is_empty(), "{sql}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    for (open, close) in
        [("(", ")"), ("(select ", ")"), ("f(", ")"), ("case when ", " then 1 end"), ("not ", ""), ("array[", "]")]
    {
        let sql = format!("select {}1{}", open.repeat(5000), close.repeat(5000));
        assert!(parse(&sql).is_err(), "{open}");
        let sql = format!("select {}1{}", open.repeat(20), close.repeat(20));
        ast(&sql);
    }
    let sql = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(parse(&sql).expect_err("too deep").message, "statement is nested too deeply");
    let sql = format!("select 1{}", " + 1".repeat(20_000));
    ast(&sql);
}
