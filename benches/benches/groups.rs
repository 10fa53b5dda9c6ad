//! Group tables by what their keys are, and aggregates by what they keep: rows a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::table::{ROWS, Table};

/// Keys of groups, which are counted.
const KEYS: &[(&str, &str)] = &[
    ("8 bytes, dense", "a"),
    ("8 bytes, sparse", "sparse"),
    ("8 bytes, all different", "id"),
    ("8 bytes, NULLs", "maybe"),
    ("16 bytes, dense", "a, day"),
    ("16 bytes, all different", "a, id"),
    ("few texts", "few"),
    ("few texts and an hour", "few, date_trunc('hour', ts)"),
    ("a minute", "date_trunc('minute', ts)"),
    ("texts", "name"),
    ("texts, all different", "token"),
    ("long texts, all different", "url"),
    ("texts and numbers", "name, flag, day"),
    ("few texts, numbers, a day", "few, a, flag, day"),
    ("numeric", "cents"),
];

/// Aggregates, of one group, of forty and of fifty thousand.
const AGGREGATES: &[(&str, &str)] = &[
    ("count", "count(*)"),
    ("sum of integers", "sum(a)"),
    ("sum of numeric", "sum(cents)"),
    ("average of doubles", "avg(price)"),
    ("extremes", "min(b), max(b)"),
    ("extremes of texts", "min(name), max(name)"),
    ("distinct, integers", "count(DISTINCT b)"),
    ("distinct, few texts", "count(DISTINCT few)"),
    ("distinct, texts", "count(DISTINCT name)"),
    ("distinct, about", "uniq(b)"),
    ("median", "percentile_cont(0.5) WITHIN GROUP (ORDER BY price)"),
    ("three quantiles", "percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY price)"),
    ("quantile, about", "quantileTDigest(0.9)(price)"),
    ("the latest", "argMax(a, ts)"),
    ("an array", "array_agg(b)"),
    ("a filter of its own", "count(*) FILTER (WHERE flag), sum(a) FILTER (WHERE b < 500000)"),
];

fn measure(criterion: &mut Criterion, table: &mut Table, family: &str, queries: Vec<(&str, String)>) {
    let mut group = criterion.benchmark_group(family);
    group.sample_size(10).throughput(Throughput::Elements(ROWS));
    for (name, sql) in queries {
        group.bench_function(name, |bencher| bencher.iter(|| table.run(&sql)));
    }
    group.finish();
}

fn groups(criterion: &mut Criterion) {
    let mut table = Table::filled();
    let keys = KEYS.iter().map(|(name, keys)| {
        (*name, format!("SELECT max(n) FROM (SELECT count(*) AS n FROM t GROUP BY {keys}) counted"))
    });
    measure(criterion, &mut table, "group by", keys.collect());
    let distinct = |(name, keys): &(&'static str, &str)| {
        (*name, format!("SELECT count(*) FROM (SELECT DISTINCT {keys} FROM t) seen"))
    };
    measure(criterion, &mut table, "distinct", KEYS.iter().map(distinct).collect());
    for (family, keys) in [("one group", ""), ("40 groups", " GROUP BY few"), ("50,000 groups", " GROUP BY a")] {
        let query = |(name, call): &(&'static str, &str)| (*name, format!("SELECT {call} FROM t{keys}"));
        measure(criterion, &mut table, family, AGGREGATES.iter().map(query).collect());
    }
    table.close();
}

criterion_group!(benches, groups);
criterion_main!(benches);
