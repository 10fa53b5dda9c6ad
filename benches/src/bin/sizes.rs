//! Bytes on disk and speed of loading: `cargo run --release -p weir-benches --features outside --bin sizes`.
//!
//! TPC-H lineitem and orders at scale 1 (from `tpchgen-cli`), and the real flights, soccer events and grocery transactions, each loaded
//! from Parquet into Weir, ClickHouse (chdb, MergeTree, default codecs) and DuckDB, sorted by the same columns. Weir's bytes are those of
//! its parts as the load left them; ClickHouse's are after OPTIMIZE FINAL; DuckDB's are those of its file after a checkpoint, which
//! come in blocks of 256 KiB. A load ends when its rows are durable; peers load in turns with Weir, and the median ratio counts.
//!
//! The release build of the server must be there (`cargo build --release -p weir-server`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use weir_tests::outside::duckdb::{data, python, root};
use weir_tests::process::{Server, value};

/// Loads of the table whose speed counts.
const ROUNDS: usize = 3;

/// A table: its columns in both dialects, and what it is sorted by.
struct Table {
    name: &'static str,
    file: PathBuf,
    columns: &'static [(&'static str, &'static str)],
    order: &'static str,
}

/// A type as Weir (Postgres) and ClickHouse spell it, by the word used below.
fn spelled(word: &str) -> (&'static str, &'static str) {
    match word {
        "int" => ("integer NOT NULL", "Int32"),
        "int?" => ("integer", "Nullable(Int32)"),
        "bigint" => ("bigint NOT NULL", "Int64"),
        "money" => ("numeric(15,2) NOT NULL", "Decimal(15,2)"),
        "float" => ("double precision NOT NULL", "Float64"),
        "date" => ("date NOT NULL", "Date"),
        "time" => ("timestamp NOT NULL", "DateTime64(6)"),
        "text" => ("text NOT NULL", "String"),
        "text?" => ("text", "Nullable(String)"),
        "bigints" => ("bigint[]", "Array(Int64)"),
        other => panic!("no type is called {other}"),
    }
}

fn tables() -> Vec<Table> {
    vec![
        Table {
            name: "lineitem",
            file: tpch().join("lineitem.parquet"),
            columns: &[
                ("l_orderkey", "bigint"),
                ("l_partkey", "bigint"),
                ("l_suppkey", "bigint"),
                ("l_linenumber", "int"),
                ("l_quantity", "money"),
                ("l_extendedprice", "money"),
                ("l_discount", "money"),
                ("l_tax", "money"),
                ("l_returnflag", "text"),
                ("l_linestatus", "text"),
                ("l_shipdate", "date"),
                ("l_commitdate", "date"),
                ("l_receiptdate", "date"),
                ("l_shipinstruct", "text"),
                ("l_shipmode", "text"),
                ("l_comment", "text"),
            ],
            order: "l_shipdate, l_orderkey, l_linenumber",
        },
        Table {
            name: "orders",
            file: tpch().join("orders.parquet"),
            columns: &[
                ("o_orderkey", "bigint"),
                ("o_custkey", "bigint"),
                ("o_orderstatus", "text"),
                ("o_totalprice", "money"),
                ("o_orderdate", "date"),
                ("o_orderpriority", "text"),
                ("o_clerk", "text"),
                ("o_shippriority", "int"),
                ("o_comment", "text"),
            ],
            order: "o_orderdate, o_orderkey",
        },
        Table {
            name: "flights",
            file: data("flights-3m.parquet"),
            columns: &[
                ("date", "time"),
                ("delay", "bigint"),
                ("distance", "bigint"),
                ("origin", "text"),
                ("destination", "text"),
            ],
            order: "origin, date",
        },
        Table {
            name: "soccer",
            file: data("soccer-events.parquet"),
            columns: &[
                ("id", "bigint"),
                ("ts", "time"),
                ("competition", "text"),
                ("matchId", "bigint"),
                ("matchPeriod", "text"),
                ("eventSec", "float"),
                ("teamId", "bigint"),
                ("playerId", "bigint"),
                ("eventId", "bigint"),
                ("eventName", "text"),
                ("subEventId", "int?"),
                ("subEventName", "text?"),
                ("tags", "bigints"),
            ],
            order: "competition, \"eventName\", ts",
        },
        Table {
            name: "transactions",
            file: data("completejourney/transactions.parquet"),
            columns: &[
                ("household_id", "bigint"),
                ("store_id", "bigint"),
                ("basket_id", "bigint"),
                ("product_id", "bigint"),
                ("quantity", "bigint"),
                ("sales_value", "float"),
                ("retail_disc", "float"),
                ("coupon_disc", "float"),
                ("coupon_match_disc", "float"),
                ("week", "bigint"),
                ("transaction_timestamp", "time"),
            ],
            order: "store_id, transaction_timestamp",
        },
    ]
}

fn main() {
    println!(
        "{:14} {:>12} {:>12} {:>12} {:>10} {:>10}",
        "table", "Weir", "ClickHouse", "DuckDB", "/ClickH.", "/DuckDB"
    );
    let mut sums = [0; 3];
    for table in tables() {
        let bytes = [weir(&table).0, peer("chdb", &table).0, peer("duckdb", &table).0];
        row(table.name, bytes);
        sums.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum += bytes);
    }
    row("sum", sums);
    println!("limits of the sum's ratios: 0.75 and 1.00");
    let lineitem = &tables()[0];
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (own, other) = (weir(lineitem).1, peer("chdb", lineitem).1);
            println!("lineitem loaded: Weir {:.2} s, ClickHouse {:.2} s", own.as_secs_f64(), other.as_secs_f64());
            own.as_secs_f64() / other.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("lineitem loaded: median ratio {:.2} (limit 1.00)", ratios[ROUNDS / 2]);
}

fn row(name: &str, [weir, chdb, duckdb]: [u64; 3]) {
    let (chdb_ratio, duckdb_ratio) = (weir as f64 / chdb as f64, weir as f64 / duckdb as f64);
    println!("{name:14} {weir:>12} {chdb:>12} {duckdb:>12} {chdb_ratio:>10.2} {duckdb_ratio:>10.2}");
}

/// The folder with TPC-H at scale 1, made once.
fn tpch() -> PathBuf {
    let folder = root().join("target/tpch");
    if !folder.join("orders.parquet").exists() {
        let generator = python().with_file_name("tpchgen-cli");
        let args = ["parquet", "--quiet", "-s", "1", "--tables", "lineitem,orders", "--output-dir"];
        let done = Command::new(generator).args(args).arg(&folder).status().expect("tpchgen-cli starts");
        assert!(done.success(), "tpchgen-cli failed");
    }
    folder
}

/// Bytes of a table's parts, and how long its load took.
fn weir(table: &Table) -> (u64, Duration) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path());
    let mut client = server.connect();
    let columns: Vec<String> =
        table.columns.iter().map(|(name, word)| format!("\"{name}\" {}", spelled(word).0)).collect();
    let create = format!("CREATE TABLE t ({}) ORDER BY ({})", columns.join(", "), table.order);
    client.batch_execute(&create).expect("the table is made");
    let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let start = Instant::now();
    let load = format!("INSERT INTO t SELECT {} FROM read_parquet('{}')", names.join(", "), table.file.display());
    client.batch_execute(&load).expect("rows come in");
    let took = start.elapsed();
    let bytes = value(&mut client, "SELECT sum(bytes) FROM weir.parts WHERE \"table\" = 't'");
    (bytes.parse().expect("a number"), took)
}

/// What a peer's script prints: bytes, and the seconds that the load took.
fn peer(name: &str, table: &Table) -> (u64, Duration) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let columns: Vec<String> =
        table.columns.iter().map(|(name, word)| format!("\"{name}\" {}", spelled(word).1)).collect();
    let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let output = Command::new(python())
        .args(["-c", if name == "chdb" { CHDB } else { DUCKDB }])
        .args([folder.path(), Path::new(&table.file)])
        .args([columns.join(", "), names.join(", "), table.order.to_string()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = printed.split_whitespace();
    let bytes = words.next().and_then(|word| word.parse().ok()).expect("bytes");
    (bytes, Duration::from_secs_f64(words.next().and_then(|word| word.parse().ok()).expect("seconds")))
}

const CHDB: &str = r#"
import sys, time
from chdb import session
folder, file, columns, names, order = sys.argv[1:]
s = session.Session(folder)
s.query(f"CREATE TABLE t ({columns}) ENGINE = MergeTree ORDER BY ({order})")
start = time.monotonic()
s.query(f"INSERT INTO t SELECT {names} FROM file('{file}', Parquet)")
took = time.monotonic() - start
s.query("OPTIMIZE TABLE t FINAL")
print(str(s.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 't'", "TSV")).strip(), took)
"#;

const DUCKDB: &str = r#"
import sys, time, os, duckdb
folder, file, _, names, order = sys.argv[1:]
c = duckdb.connect(folder + "/t.db")
c.execute("SET enable_progress_bar = false")
start = time.monotonic()
c.execute(f"CREATE TABLE t AS SELECT {names} FROM '{file}' ORDER BY {order}")
c.execute("CHECKPOINT")
took = time.monotonic() - start
c.close()
print(os.path.getsize(folder + "/t.db"), took)
"#;
