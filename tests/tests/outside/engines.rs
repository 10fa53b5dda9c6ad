//! ClickHouse's merging engines beside ClickHouse: random rows come in several INSERTs, and what a plain SELECT shows here is what
//! SELECT … FINAL shows there.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::outside::chdb;
use weir_tests::process::{Server, explain, rows};

const SEEDS: u64 = 25;
const INSERTS: usize = 6;
const KEYS: usize = 8;

/// An engine, its table's columns, and rows for it, of which each follows on those before.
struct Engine {
    engine: &'static str,
    columns: &'static str,
    rows: fn(&mut StdRng, &mut Vec<Option<u8>>) -> Vec<String>,
}

const ENGINES: &[Engine] = &[
    Engine {
        engine: "ReplacingMergeTree",
        columns: "k Int32, x Int64, s String",
        rows: |r, keys| vec![format!("({}, {}, '{}')", key(r, keys), r.random_range(-9..9), r.random_range(0..99))],
    },
    Engine {
        engine: "ReplacingMergeTree(v)",
        columns: "k Int32, v UInt32, s String",
        rows: |r, keys| vec![format!("({}, {}, '{}')", key(r, keys), r.random_range(0..5), r.random_range(0..99))],
    },
    Engine {
        engine: "ReplacingMergeTree(v, gone)",
        columns: "k Int32, v UInt32, gone UInt8",
        rows: |r, keys| vec![format!("({}, {}, {})", key(r, keys), r.random_range(0..9), r.random_range(0..2))],
    },
    Engine {
        engine: "SummingMergeTree",
        columns: "k Int32, x Int64, y Float64",
        rows: |r, keys| {
            vec![format!("({}, {}, {})", key(r, keys), r.random_range(-1..2), f64::from(r.random_range(-1..2)) / 2.0)]
        },
    },
    Engine {
        engine: "AggregatingMergeTree",
        columns: "k Int32, n SimpleAggregateFunction(sum, Int64), least SimpleAggregateFunction(min, Int32), \
                  most SimpleAggregateFunction(max, String), last SimpleAggregateFunction(anyLast, UInt32), \
                  bits SimpleAggregateFunction(groupBitOr, UInt32)",
        rows: |r, keys| {
            let (k, n, least, most) =
                (key(r, keys), r.random_range(-9..9), r.random_range(-99..99), r.random_range(0..99));
            vec![format!("({k}, {n}, {least}, '{most}', {}, {})", r.random_range(0..99), 1u32 << r.random_range(0..9))]
        },
    },
    // Each row is cancelled before its key has another.
    Engine {
        engine: "CollapsingMergeTree(sign)",
        columns: "k Int32, x UInt8, sign Int8",
        rows: |r, keys| {
            let k = key(r, keys);
            let before = keys[k].take().map(|x| format!("({k}, {x}, -1)"));
            if before.is_none() || r.random_bool(0.7) {
                keys[k] = Some(r.random());
            }
            before.into_iter().chain(keys[k].map(|x| format!("({k}, {x}, 1)"))).collect()
        },
    },
    Engine {
        engine: "VersionedCollapsingMergeTree(sign, v)",
        columns: "k Int32, v UInt8, sign Int8",
        rows: |r, keys| {
            let k = key(r, keys);
            let before = keys[k].take();
            if before.is_none() || r.random_bool(0.7) {
                keys[k] = Some(before.map_or(0, |v| v + 1));
            }
            let cancel = before.map(|v| format!("({k}, {v}, -1)"));
            // The new row may come before the cancelled one: versions say which belong together.
            keys[k].map(|v| format!("({k}, {v}, 1)")).into_iter().chain(cancel).collect()
        },
    },
];

fn key(r: &mut StdRng, keys: &[Option<u8>]) -> usize {
    r.random_range(0..keys.len())
}

#[test]
fn merging_engines_show_what_clickhouse_shows_with_final() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let (mut script, mut ours) = (Vec::new(), Vec::new());
    for seed in 0..SEEDS {
        for (at, Engine { engine, columns, rows: generate }) in ENGINES.iter().enumerate() {
            let mut random = StdRng::seed_from_u64(seed);
            let mut keys = vec![None; KEYS];
            let name = format!("t{at}_{seed}");
            let mut statements = vec![format!("CREATE TABLE {name} ({columns}) ENGINE = {engine} ORDER BY k")];
            for _ in 0..INSERTS {
                let count = random.random_range(1..8);
                let values: Vec<String> = (0..count).flat_map(|_| generate(&mut random, &mut keys)).collect();
                if !values.is_empty() {
                    statements.push(format!("INSERT INTO {name} VALUES {}", values.join(", ")));
                }
            }
            for sql in &statements {
                client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {}", explain(&e)));
            }
            let label = vec![format!("seed {seed}, {engine}")];
            ours.push(label.clone());
            ours.extend(rows(&mut client, &format!("SELECT * FROM {name} ORDER BY k")));
            script.extend(statements);
            script.push(format!("SELECT '{}'", label[0]));
            script.push(format!("SELECT * FROM {name} FINAL ORDER BY k"));
        }
    }
    let theirs = chdb::rows(&script);
    let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
    if let Some(at) = differs {
        let case = ours[..=at].iter().rev().find(|row| row[0].starts_with("seed")).expect("every case has a label");
        let statements: Vec<&String> = script.iter().skip_while(|sql| !sql.contains(&case[0])).collect();
        panic!("{}: {:?}, ClickHouse {:?}; {:?}", case[0], ours[at], theirs[at], statements.first());
    }
    assert_eq!(ours.len(), theirs.len(), "ClickHouse has as many rows");
}
