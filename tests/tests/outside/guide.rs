//! The guide's SQL, taken from its text as it stands there, through psql, with PostgreSQL's answers on the same rows.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::process::Server;

use weir_tests::outside::duckdb::root;
use weir_tests::outside::oracle::Postgres;

/// The guide's text from the first line that starts with `from` to the first `;` that ends a statement.
fn snippet<'a>(guide: &'a str, from: &str) -> &'a str {
    let start = guide.find(from).unwrap_or_else(|| panic!("the guide has no {from:?}"));
    let end = guide[start..].find(';').expect("a statement ends with a semicolon");
    &guide[start..start + end + 1]
}

/// Runs SQL by psql, which reads it from standard input: rows as unaligned text.
fn psql(config: &str, sql: &str) -> Vec<String> {
    let mut child = Command::new("psql")
        .args([config, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut input = child.stdin.take().expect("stdin is piped");
    // From a thread of its own: psql may print before it has read all.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(sql.as_bytes()).expect("psql reads"));
        child.wait_with_output().expect("psql ends")
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}\n{complaint}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
}

/// Events of the last day as INSERTs, none within half a minute of where one of the guide's windows ends.
fn events(random: &mut StdRng) -> String {
    const KINDS: [&str; 5] = ["product_viewed", "added_to_cart", "checkout_started", "purchase", "page_viewed"];
    const EDGES: [i64; 4] = [5 * 60, 30 * 60, 60 * 60, 24 * 60 * 60];
    let mut sql = String::from("INSERT INTO events VALUES ");
    let mut written = 0;
    while written < 3000 {
        let ago = random.random_range(0..[300, 2000, 5000, 90_000][written % 4]);
        if EDGES.iter().any(|edge| (ago - edge).abs() < 30) {
            continue;
        }
        let kind = KINDS[random.random_range(0..KINDS.len())];
        let user = random.random_range(0..200);
        let (device, country) = (["mobile", "desktop"][user % 2], ["DE", "US", "FR", "JP", ""][user % 5]);
        let (page, product) = (random.random_range(0..20), random.random_range(0..30));
        let amount = random.random_range(0..1_000_000);
        let comma = if written == 0 { "" } else { "," };
        write!(
            sql,
            "{comma}('{kind}', {user}, now() - interval '{ago} seconds', '00000000-0000-0000-0000-{user:012}', '{{}}', \
             '{device}', '{country}', 'page-{page}', 'sku-{product}', {}.{:02})",
            amount / 100,
            amount % 100
        )
        .expect("a string takes all");
        written += 1;
    }
    sql
}

/// PostgreSQL's spelling of the guide's queries, in their order, and whether rows may tie in their order.
const IN_POSTGRES: [(&str, &str, bool); 4] = [
    (
        "SELECT \n    toStartOfMinute(timestamp) as minute",
        "SELECT date_trunc('minute', timestamp) AS minute, count(DISTINCT user_id) FROM events
         WHERE timestamp >= now() - interval '5 minutes' GROUP BY minute ORDER BY minute",
        false,
    ),
    (
        "SELECT \n    product_id,\n    sum(amount) as revenue",
        "SELECT product_id, sum(amount) AS revenue, count(*) FROM events
         WHERE event_type = 'purchase' AND timestamp >= now() - interval '1 hour'
         GROUP BY product_id ORDER BY revenue DESC LIMIT 10",
        false,
    ),
    (
        "SELECT \n    event_type,\n    count() as events",
        "SELECT event_type, count(*), count(DISTINCT user_id) FROM events
         WHERE event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase')
           AND timestamp >= now() - interval '30 minutes'
         GROUP BY event_type
         ORDER BY array_position(ARRAY['product_viewed', 'added_to_cart', 'checkout_started', 'purchase'], event_type)",
        false,
    ),
    (
        "SELECT \n    country,\n    count() as requests",
        "SELECT country, count(*) AS requests, count(DISTINCT user_id) FROM events
         WHERE timestamp >= now() - interval '5 minutes' GROUP BY country ORDER BY requests DESC LIMIT 20",
        true,
    ),
];

#[test]
fn the_guide_runs_as_written() {
    let guide = fs::read_to_string(root().join("../shared/guide.txt")).expect("the guide stands beside the checkout");
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let weir = format!("host=127.0.0.1 port={} user=weir dbname=weir", server.port());
    let oracle = Postgres::start();
    let postgres = oracle.config();

    // The ClickHouse one: the first CREATE TABLE with LowCardinality.
    let clickhouse = &guide[guide.find("-- Example: ClickHouse table").expect("the guide has its table")..];
    psql(&weir, snippet(clickhouse, "CREATE TABLE events ("));
    psql(
        &postgres,
        "CREATE TABLE events (event_type text, user_id bigint, timestamp timestamptz, session_id uuid, properties text,
         device text, country text, page_id text, product_id text, amount numeric(10,2))",
    );
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Half of the rows are there before the view, half come after it.
    let copy = |sql: &str| {
        psql(&postgres, sql);
        let rows = psql(&postgres, "SELECT * FROM events");
        psql(&postgres, "CREATE TABLE IF NOT EXISTS gone AS SELECT * FROM events WITH NO DATA");
        psql(&postgres, "INSERT INTO gone SELECT * FROM events; TRUNCATE events");
        let values: Vec<String> = rows.iter().map(|row| format!("('{}')", row.replace('|', "','"))).collect();
        psql(&weir, &format!("INSERT INTO events VALUES {}", values.join(",")));
    };
    copy(&events(&mut random));
    psql(&weir, snippet(clickhouse, "CREATE MATERIALIZED VIEW page_views_hourly"));
    copy(&events(&mut random));
    psql(&postgres, "INSERT INTO events SELECT * FROM gone");

    let found = psql(&weir, snippet(clickhouse, "SELECT \n    hour,\n    page_id"));
    let expected = psql(
        &postgres,
        "SELECT date_trunc('hour', timestamp) AS hour, page_id, count(*) AS views, count(DISTINCT user_id) FROM events
         WHERE event_type = 'page_viewed' GROUP BY 1, 2
         HAVING date_trunc('hour', timestamp) >= now() - interval '24 hours' ORDER BY hour DESC, views DESC",
    );
    assert_eq!(found.len(), 100.min(expected.len()));
    // Pages may tie within an hour, and the guide's LIMIT may cut through a tie: every row shown is a right one, in order.
    assert!(found.iter().all(|row| expected.contains(row)), "{found:?} is not in {expected:?}");
    let order = |rows: &[String]| -> Vec<(String, String)> {
        let key = |row: &String| row.split('|').map(str::to_string).collect::<Vec<_>>();
        rows.iter().map(|row| (key(row)[0].clone(), key(row)[2].clone())).collect()
    };
    assert_eq!(order(&found), order(&expected)[..found.len()]);
    let all = psql(&weir, "SELECT hour, page_id, views, unique_users FROM page_views_hourly ORDER BY hour, page_id");
    let expected = psql(
        &postgres,
        "SELECT date_trunc('hour', timestamp) AS hour, page_id, count(*), count(DISTINCT user_id) FROM events
         WHERE event_type = 'page_viewed' GROUP BY 1, 2 ORDER BY 1, 2",
    );
    assert_eq!(all, expected, "the view is not its SELECT");

    for (start, in_postgres, ties) in IN_POSTGRES {
        let mut found = psql(&weir, snippet(clickhouse, start));
        let mut expected = psql(&postgres, in_postgres);
        if ties {
            found.sort();
            expected.sort();
        }
        assert!(!expected.is_empty(), "the rows do not test {start:?}");
        assert_eq!(found, expected, "{start:?}");
    }
}
