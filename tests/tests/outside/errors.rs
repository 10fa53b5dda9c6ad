//! Wrong statements, put to PostgreSQL and to Weir: the same SQLSTATE, message, position, hint and detail.
//!
//! What Weir says beyond PostgreSQL (which word was expected, "did you mean" for tables, functions and settings) is not here.

use postgres::error::ErrorPosition;
use postgres::{Client, NoTls};
use weir_tests::outside::oracle::Postgres;
use weir_tests::process::Server;

const TABLES: &str = "CREATE TABLE t (id int, name text, amount numeric(10,2), ts timestamptz);
    CREATE TABLE users (id int, email text, created date)";

const WRONG: &[&str] = &[
    "select nme from t",
    "select t.nme from t",
    "select x.name from t",
    "select u.email from users",
    "select * from public.nope",
    "select * from nosuch.t",
    "select foo(1)",
    "select abs('a', 2)",
    "select id from t a join users b on true",
    "select name from t a join t b on a.id = b.id",
    "select id + name from t",
    "select id = name from t",
    "select name + 1 from t",
    "select 1 + 'x'",
    "select 'x'::int",
    "select cast('2024-13-01' as date)",
    "select sum(name) from t",
    "select name, count(*) from t",
    "select name from t group by id",
    "select count(*) from t where count(*) > 1",
    "select * from t where id",
    "select * from t where sum(id) > 3",
    "select * from t having name = 'x'",
    "select id from t order by 5",
    "select id from t group by 7",
    "select distinct id from t order by name",
    "select id form t wher x",
    "selec 1",
    "select case when 1 then 2 end",
    "select coalesce(1, 'x', now())",
    "select array[1, 'x', now()]",
    "select 1 union select 1, 2",
    "select 1 union select now()",
    "select id from t union select name from t",
    "select * from t limit 'x'",
    "select * from t offset -1 limit now()",
    "insert into t (id, nope) values (1, 2)",
    "insert into t (id, id) values (1, 2)",
    "insert into t (id) values (1, 2)",
    "insert into t (id, name) values (1)",
    "insert into t values (now())",
    "insert into nope values (1)",
    "update t set nope = 1",
    "update nope set a = 1",
    "update t set id = now()",
    "delete from t where nope = 1",
    "delete from nope",
    "select row_number() from t",
    "select sum(row_number() over ()) from t",
    "select sum(sum(id)) from t",
    "select * from t where row_number() over () = 1",
    "select lag(id) over w from t",
    "select * from t a, t a",
    "select a.* from t",
    "select nope.* from t",
    "select t.id from t a",
    "select t.id from t join users u on t.id = users.id",
    "select (select id, name from t)",
    "select 1 in (select 1, 2)",
    "select id from t where id in ('a', 'b')",
    "select id from t where id = any(1)",
    "select x.y.z.a.b from t",
    "select now() + 1",
    "select -name from t",
    "select not id from t",
    "select id is true from t",
    "select a from (select id as b from t) s",
    "with x as (select 1 as a) select b from x",
    "with x as (select 1), x as (select 2) select 1",
    "select extract(foo from now())",
    "select date_trunc('foo', now())",
    "select 'abc'::nosuchtype",
    "create table t2 (a nosuch)",
    "create table t (a int)",
    "drop table nope",
    "drop view t",
    "set nosuch = 1",
    "set nosuch.x = 1",
    "show nosuch",
    "show datestyl",
    "select generate_series(1,2) from t where generate_series(1,2) = 1",
    "select * from generate_series('a', 1)",
    "select string_agg(name) from t",
    "select min() from t",
    "select interval '1 foo'",
    r#"select "Name" from t"#,
    "select id id2 id3 from t",
    "select 1 from t where name ~ 5",
    "select name like 5 from t",
    "select id between 1 and 'x' from t",
    "select (1,2) = (1,2,3)",
    "select greatest(1, 'a')",
    "select nullif(1, now())",
    "select 'a'::text::json -> 5",
    r#"select jsonb '{"a":1}' ->> now()"#,
    "select ('{1,2}'::int[])['a']",
    "select id[1] from t",
    "select substring(1, 2)",
    "select round(1.5::float8, 2)",
    "execute nope",
    "deallocate nope",
    "fetch nope",
    "close nope",
    "values (1, 2), (3)",
    "values (1), (now())",
    "select 1 where 'x'",
    "select all_ from t",
    "select * from t order by nope",
    "select * from t order by nme",
    "select max(id) over (order by nope) from t",
    "select 1 as a order by b",
    "select id from t group by name having id > 1",
    "select upper(id) from t",
    "select length(id) from t",
    "select t from users",
    "select * from users u where exists (select 1 from t where t.id = u.idd)",
    "select trunc(now())",
];

/// What a server says of a statement.
fn said(client: &mut Client, sql: &str) -> String {
    let error = match client.simple_query(sql) {
        Ok(_) => return "nothing".to_string(),
        Err(error) => error,
    };
    let db = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    let position = match db.position() {
        Some(ErrorPosition::Original(at)) => at.to_string(),
        _ => "-".to_string(),
    };
    format!("{} {} at {position}; {:?}; {:?}", db.code().code(), db.message(), db.hint(), db.detail())
}

#[test]
fn errors_are_postgres_s() {
    let postgres = Postgres::start();
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut theirs = Client::connect(&postgres.config(), NoTls).expect("PostgreSQL answers");
    let config = format!("host=127.0.0.1 port={} user=weir dbname=weir", server.port());
    let mut ours = Client::connect(&config, NoTls).expect("Weir answers");
    for client in [&mut theirs, &mut ours] {
        client.batch_execute(TABLES).expect("tables are made");
    }
    let mut differences = Vec::new();
    for sql in WRONG {
        let (expected, found) = (said(&mut theirs, sql), said(&mut ours, sql));
        if expected != found {
            differences.push(format!("{sql}\n  PostgreSQL: {expected}\n  Weir:       {found}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
