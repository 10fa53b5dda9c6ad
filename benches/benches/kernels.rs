//! Kernels: filters, patterns, arithmetic, casts, text, hashes, JSON, moments and orders, each by a query whose time is the kernel's.
//!
//! Those of a column of text state its bytes a second, the others rows a second.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::table::{ROWS, Table};

/// What is measured: its name, the column of text whose bytes it reads (none: it is the rows that count), and the query.
type Kernel = (&'static str, Option<&'static str>, &'static str);

const URL: Option<&str> = Some("url");

const FILTERS: &[Kernel] = &[
    ("integers", None, "SELECT count(*) FROM t WHERE b < 300000"),
    ("integers, two columns", None, "SELECT count(*) FROM t WHERE a < b"),
    (
        "integers, one of twenty",
        None,
        "SELECT count(*) FROM t WHERE a IN (1, 5, 9, 60, 77, 400, 401, 402, 5000, 5001, 5002, 7000, 9000, 11000, 13000, 17000, 19000, 31000, 41000, 49999)",
    ),
    ("integers, or NULL", None, "SELECT count(*) FROM t WHERE maybe > 500000"),
    ("doubles", None, "SELECT count(*) FROM t WHERE price BETWEEN 100 AND 5000"),
    ("numeric", None, "SELECT count(*) FROM t WHERE cents >= 5000.00"),
    ("moments", None, "SELECT count(*) FROM t WHERE extract(hour FROM ts) = 7"),
    ("few texts", None, "SELECT count(*) FROM t WHERE few = 'kind 7'"),
    ("many texts", URL, "SELECT count(*) FROM t WHERE url = 'https://www.example.com/'"),
    ("three at once", None, "SELECT count(*) FROM t WHERE b < 300000 AND few <> 'kind 7' AND flag"),
    ("what is left of the others", None, "SELECT sum(a), min(name) FROM t WHERE b < 1000"),
];

const PATTERNS: &[Kernel] = &[
    ("LIKE, at the start", URL, "SELECT count(*) FROM t WHERE url LIKE 'https://www.example7%'"),
    ("LIKE, within", URL, "SELECT count(*) FROM t WHERE url LIKE '%/item/4242%'"),
    ("LIKE, two within", URL, "SELECT count(*) FROM t WHERE url LIKE '%example7%page=42%'"),
    ("LIKE, at the end", URL, "SELECT count(*) FROM t WHERE url LIKE '%42'"),
    ("ILIKE", URL, "SELECT count(*) FROM t WHERE url ILIKE '%/ITEM/4242%'"),
    ("regular expression", URL, r"SELECT count(*) FROM t WHERE url ~ 'section[1-3]/item/1[0-9]+5\?'"),
    (
        "regular expression, replaced",
        URL,
        r"SELECT max(regexp_replace(url, '^https?://(?:www\.)?([^/]+)/.*$', '\1')) FROM t",
    ),
    ("position", URL, "SELECT sum(strpos(url, 'page=')) FROM t"),
];

const ARITHMETIC: &[Kernel] = &[
    ("integers", None, "SELECT sum(a * 3 + b) FROM t"),
    ("integers, division", None, "SELECT sum(b / (a + 1)) FROM t"),
    ("doubles", None, "SELECT sum(price * 1.5e0 + 2) FROM t"),
    ("doubles, root", None, "SELECT sum(sqrt(price)) FROM t"),
    ("numeric", None, "SELECT sum(cents * 2 + 1.05) FROM t"),
    ("numeric, division", None, "SELECT sum(cents / 7) FROM t"),
    ("CASE", None, "SELECT sum(CASE WHEN flag THEN a WHEN b < 500000 THEN b ELSE 0 END) FROM t"),
    ("coalesce", None, "SELECT sum(coalesce(maybe, a)) FROM t"),
];

const CASTS: &[Kernel] = &[
    ("integer to text", None, "SELECT max(b::text) FROM t"),
    ("text to integer", Some("digits"), "SELECT sum(digits::bigint) FROM t"),
    ("text to numeric", Some("digits"), "SELECT sum(digits::numeric) FROM t"),
    ("text to double", Some("digits"), "SELECT sum(digits::double precision) FROM t"),
    ("text to timestamp", Some("moment"), "SELECT max(moment::timestamp) FROM t"),
    ("timestamp to text", None, "SELECT max(ts::text) FROM t"),
    ("integer to double", None, "SELECT sum(b::double precision) FROM t"),
    ("double to integer", None, "SELECT sum(price::bigint) FROM t"),
    ("double to numeric", None, "SELECT sum(price::numeric(12, 2)) FROM t"),
    ("numeric to double", None, "SELECT sum(cents::double precision) FROM t"),
];

const TEXTS: &[Kernel] = &[
    ("length", URL, "SELECT sum(length(url)) FROM t"),
    ("upper", URL, "SELECT max(upper(url)) FROM t"),
    ("substring", URL, "SELECT max(substring(url, 9, 20)) FROM t"),
    ("split_part", URL, "SELECT max(split_part(url, '/', 3)) FROM t"),
    ("replace", URL, "SELECT max(replace(url, 'www.', '')) FROM t"),
    ("concatenation", Some("name"), "SELECT max(name || '/' || few) FROM t"),
    ("domain", URL, "SELECT max(domain(url)) FROM t"),
    ("least", URL, "SELECT min(url) FROM t"),
];

const HASHES: &[Kernel] = &[
    ("cityHash64, integers", None, "SELECT max(cityHash64(b)) FROM t"),
    ("cityHash64, text", URL, "SELECT max(cityHash64(url)) FROM t"),
    ("md5", URL, "SELECT max(md5(url)) FROM t"),
    ("sha256", URL, "SELECT max(sha256(url::bytea)) FROM t"),
];

const JSON: &[Kernel] = &[
    ("an integer", Some("doc"), "SELECT sum(JSONExtractInt(doc, 'latency_ms')) FROM t"),
    ("a text", Some("doc"), "SELECT max(JSONExtractString(doc, 'path')) FROM t"),
    ("one of few texts", Some("doc"), "SELECT count(*) FROM t WHERE JSONExtractString(doc, 'ab') = 'B'"),
    ("a text within", Some("doc"), "SELECT max(JSONExtractString(doc, 'user', 'name')) FROM t"),
    ("by jsonb's operator", Some("doc"), "SELECT max(doc::jsonb ->> 'path') FROM t"),
];

const MOMENTS: &[Kernel] = &[
    ("date_trunc, minute", None, "SELECT max(date_trunc('minute', ts)) FROM t"),
    ("date_trunc, day", None, "SELECT max(date_trunc('day', ts)) FROM t"),
    ("date_trunc, month", None, "SELECT max(date_trunc('month', ts)) FROM t"),
    ("date_trunc, day elsewhere", None, "SELECT max(date_trunc('day', ts, 'Europe/Berlin')) FROM t"),
    ("date_bin", None, "SELECT max(date_bin('5 minutes', ts, TIMESTAMPTZ '2024-01-01')) FROM t"),
    ("day of the week", None, "SELECT sum(extract(dow FROM ts)) FROM t"),
    ("an interval more", None, "SELECT max(ts + INTERVAL '1 day 2 hours') FROM t"),
    ("to_char", None, "SELECT max(to_char(ts, 'YYYY-MM-DD HH24:MI')) FROM t"),
];

/// The last row in an order: all rows are sorted for it.
const ORDERS: &[Kernel] = &[
    ("integers", None, "SELECT b FROM t ORDER BY b OFFSET (SELECT count(*) - 1 FROM t)"),
    ("doubles", None, "SELECT price FROM t ORDER BY price DESC OFFSET (SELECT count(*) - 1 FROM t)"),
    ("texts", Some("token"), "SELECT token FROM t ORDER BY token OFFSET (SELECT count(*) - 1 FROM t)"),
    ("texts that begin alike", URL, "SELECT url FROM t ORDER BY url OFFSET (SELECT count(*) - 1 FROM t)"),
    ("three keys", None, "SELECT few, a, b FROM t ORDER BY few, a DESC, b OFFSET (SELECT count(*) - 1 FROM t)"),
    ("the first ten", None, "SELECT b FROM t ORDER BY b LIMIT 10"),
    ("the first ten texts", URL, "SELECT url FROM t ORDER BY url LIMIT 10"),
    (
        "row numbers",
        None,
        "SELECT max(n) FROM (SELECT row_number() OVER (PARTITION BY few ORDER BY b) AS n FROM t) numbered",
    ),
];

fn kernels(criterion: &mut Criterion) {
    let mut table = Table::filled();
    let families = [
        ("filter", FILTERS),
        ("pattern", PATTERNS),
        ("arithmetic", ARITHMETIC),
        ("cast", CASTS),
        ("text", TEXTS),
        ("hash", HASHES),
        ("json", JSON),
        ("moment", MOMENTS),
        ("order", ORDERS),
    ];
    for (family, kernels) in families {
        let mut group = criterion.benchmark_group(family);
        group.sample_size(10);
        for (name, column, sql) in kernels {
            let bytes = column.map(|column| Throughput::Bytes(table.bytes(column)));
            group.throughput(bytes.unwrap_or(Throughput::Elements(ROWS)));
            group.bench_function(*name, |bencher| bencher.iter(|| table.run(sql)));
        }
        group.finish();
    }
    table.close();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
