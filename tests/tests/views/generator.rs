//! Random tables, views and changes, as SQL.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// What is done next.
pub(crate) enum Step {
    /// A statement, or several that are one transaction.
    Sql(String),
    /// The database is closed and opened again.
    Reopen,
    /// It is opened as a crash would have left it.
    Crash,
}

/// A view that is there.
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) query: String,
    /// The views it reads.
    on: Vec<String>,
    /// Its columns of numbers, of which others make something.
    numbers: Vec<&'static str>,
    /// What its groups are made of, where it has such.
    groups: Option<Groups>,
}

/// What a view groups, by what, and what it keeps of each group.
struct Groups {
    from: String,
    of_one_table: bool,
    keys: Vec<&'static str>,
    columns: String,
}

/// What there is.
pub(crate) struct World {
    keyed: bool,
    partitioned: bool,
    views: Vec<View>,
    made: u64,
    added_columns: u32,
    next_id: i32,
}

impl World {
    pub(crate) fn new(rng: &mut StdRng) -> World {
        let (keyed, partitioned) = (rng.random_bool(0.5), rng.random_bool(0.3));
        World { keyed, partitioned, views: Vec::new(), made: 0, added_columns: 0, next_id: 0 }
    }

    pub(crate) fn tables(&self) -> Vec<String> {
        let key = if self.keyed { ", PRIMARY KEY (id)" } else { "" };
        let partitions = if self.partitioned { " PARTITION BY (k % 3)" } else { "" };
        vec![
            format!("CREATE TABLE events (id int NOT NULL, k int, d int, v int, at timestamp{key}){partitions}"),
            "CREATE TABLE dims (d int PRIMARY KEY, name text, w int)".into(),
            "CREATE TABLE more (k int, v int, at timestamp)".into(),
        ]
    }

    pub(crate) fn views(&self) -> &[View] {
        &self.views
    }

    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// A query like one of the views, but by other groups and with conditions of its own.
    pub(crate) fn question(&self, rng: &mut StdRng) -> Option<String> {
        const COARSER: &[&str] =
            &["date_trunc('day', at)", "at::date", "date_trunc('month', at)", "extract(hour FROM at)"];
        const OF_K: &[&str] = &["k = 1", "k IN (0, 2, 3)", "k IS NULL OR k > 2", "k % 3 = 1"];
        const OF_AT: &[&str] = &[
            "at >= '2026-05-03 02:00'",
            "at < '2026-05-03 04:00' AND at >= timestamp '2026-05-02'",
            "'2026-05-03 01:59:59.999999' >= at",
            "at > '2026-05-03 01:30'",
            "date_trunc('day', at) = '2026-05-03' OR at::date < '2026-05-02'",
        ];
        // Mostly of views that may answer it.
        let groups = self.views.iter().filter_map(|view| view.groups.as_ref());
        let (likely, others): (Vec<&Groups>, Vec<&Groups>) = groups.partition(|groups| groups.of_one_table);
        let few = if likely.is_empty() || rng.random_bool(0.1) { others } else { likely };
        let Groups { from, keys, columns, .. } = few.choose(rng)?;
        let (has_k, has_at) = (keys.contains(&"k"), keys.iter().any(|key| key.contains("at)")));
        let mut by: Vec<&str> = keys.iter().copied().filter(|_| rng.random_bool(0.6)).collect();
        let share = |likely: bool| if likely { 0.5 } else { 0.1 };
        by.extend(COARSER.choose(rng).filter(|_| rng.random_bool(share(has_at))));
        let of_k = OF_K.choose(rng).filter(|_| rng.random_bool(share(has_k)));
        let of_at = OF_AT.choose(rng).filter(|_| rng.random_bool(share(has_at)));
        let conditions: Vec<String> = of_k.into_iter().chain(of_at).map(|one| format!("({one})")).collect();
        let list = |before: &str, list: &[String], between: &str| match list {
            [] => String::new(),
            list => format!("{before}{}", list.join(between)),
        };
        let condition = list(" WHERE ", &conditions, " AND ");
        let group = list(" GROUP BY ", &by.iter().map(|key| key.to_string()).collect::<Vec<_>>(), ", ");
        let shown: String = by.iter().map(|key| format!("{key}, ")).collect();
        let kinds = if rng.random_bool(share(has_k)) { ", count(DISTINCT k) AS ks, max(k) AS top" } else { "" };
        Some(format!("SELECT {shown}{columns}{kinds} FROM {from}{condition}{group}"))
    }

    /// The next step. The first ones make views more often.
    pub(crate) fn step(&mut self, rng: &mut StdRng) -> Step {
        let wants_view = self.views.is_empty() || (self.views.len() < 5 && rng.random_bool(0.2));
        if wants_view {
            return Step::Sql(self.create_view(rng));
        }
        match rng.random_range(0..40) {
            0 => Step::Reopen,
            1 | 2 => Step::Crash,
            3 => self.drop_view(rng),
            4 => Step::Sql(self.alter()),
            5 => Step::Sql(format!("TRUNCATE {}", ["events", "dims", "more"].choose(rng).expect("a table"))),
            6..=10 => {
                let statements: Vec<String> = (0..rng.random_range(2..4)).map(|_| self.change(rng)).collect();
                let end = if rng.random_bool(0.8) { "COMMIT" } else { "ROLLBACK" };
                Step::Sql(format!("BEGIN; {}; {end}", statements.join("; ")))
            }
            _ => Step::Sql(self.change(rng)),
        }
    }

    /// Rows come, change or go.
    fn change(&mut self, rng: &mut StdRng) -> String {
        match rng.random_range(0..20) {
            0..=6 => self.insert_events(rng),
            7..=9 => {
                let rows = self.rows(rng, 4, |_, rng| format!("({}, {}, {})", k(rng), v(rng), at(rng)));
                format!("INSERT INTO more VALUES {rows}")
            }
            10..=12 => {
                let mut ids: Vec<i32> = (0..8).filter(|_| rng.random_bool(0.3)).collect();
                ids.push(8);
                let row = |d: i32| format!("({d}, '{}', {})", ["a", "b", "c"].choose(rng).expect("a name"), v(rng));
                let rows: Vec<String> = ids.into_iter().map(row).collect();
                format!(
                    "INSERT INTO dims VALUES {} ON CONFLICT (d) DO UPDATE SET name = excluded.name, w = excluded.w",
                    rows.join(", ")
                )
            }
            13 => format!("DELETE FROM events WHERE k = {}", rng.random_range(0..5)),
            14 => format!("DELETE FROM events WHERE id % 3 = {}", rng.random_range(0..3)),
            15 => format!("DELETE FROM dims WHERE d = {}", rng.random_range(0..8)),
            16 => format!("DELETE FROM more WHERE v > {}", rng.random_range(0..20)),
            17 => format!("UPDATE events SET v = v + 1, k = k % 4 + 1 WHERE d = {}", rng.random_range(0..8)),
            18 => format!("UPDATE dims SET name = 'c' WHERE w < {}", rng.random_range(0..20)),
            _ => {
                format!("UPDATE more SET at = at + interval '1 hour' WHERE k = {} OR v IS NULL", rng.random_range(0..5))
            }
        }
    }

    fn insert_events(&mut self, rng: &mut StdRng) -> String {
        let known = self.next_id;
        let rows = self.rows(rng, 6, |world, rng| {
            let id = world.next_id;
            world.next_id += 1;
            format!("({id}, {}, {}, {}, {})", k(rng), d(rng), v(rng), at(rng))
        });
        let again = rng.random_range(0..known.max(1));
        match self.keyed && known > 0 && rng.random_bool(0.4) {
            true => format!(
                "INSERT INTO events (id, k, d, v, at) VALUES {rows}, ({again}, {}, {}, {}, {}) ON CONFLICT (id) DO UPDATE \
                 SET k = excluded.k, d = excluded.d, v = events.v + excluded.v, at = excluded.at",
                k(rng),
                d(rng),
                v(rng),
                at(rng)
            ),
            false => format!("INSERT INTO events (id, k, d, v, at) VALUES {rows}"),
        }
    }

    fn rows(
        &mut self,
        rng: &mut StdRng,
        most: usize,
        mut row: impl FnMut(&mut World, &mut StdRng) -> String,
    ) -> String {
        let burst = if rng.random_bool(0.1) { 20 } else { 0 };
        let rows: Vec<String> = (0..rng.random_range(1..=most) + burst).map(|_| row(self, rng)).collect();
        rows.join(", ")
    }

    fn alter(&mut self) -> String {
        self.added_columns += 1;
        format!("ALTER TABLE events ADD COLUMN extra_{} int DEFAULT 7", self.added_columns)
    }

    fn drop_view(&mut self, rng: &mut StdRng) -> Step {
        let at = rng.random_range(0..self.views.len());
        let mut gone = vec![self.views[at].name.clone()];
        let first = gone[0].clone();
        for view in &self.views {
            if view.on.iter().any(|input| gone.contains(input)) {
                gone.push(view.name.clone());
            }
        }
        self.views.retain(|view| !gone.contains(&view.name));
        Step::Sql(format!("DROP MATERIALIZED VIEW {first} CASCADE"))
    }

    fn create_view(&mut self, rng: &mut StdRng) -> String {
        let name = format!("v{}", self.made);
        self.made += 1;
        let view = match rng.random_range(0..10) {
            0..=2 if !self.views.is_empty() => self.on_view(rng, name),
            3 => self.copy(rng, name),
            _ => self.grouped(rng, name),
        };
        let sql = format!("CREATE MATERIALIZED VIEW {} AS {}", view.name, view.query);
        self.views.push(view);
        sql
    }

    /// FROM and WHERE with columns `k`, `v`, `at` and `name`.
    fn source(&self, rng: &mut StdRng) -> String {
        const SOURCES: &[&str] = &[
            "SELECT k, v, at, NULL::text AS name FROM events WHERE v > 2 OR v IS NULL",
            "SELECT k, v, at, 'n' || d AS name FROM events",
            "SELECT e.k, e.v, e.at, c.name FROM events e JOIN dims c ON c.d = e.d",
            "SELECT e.k, e.v + c.w AS v, e.at, c.name FROM events e JOIN dims c ON c.d = e.d AND c.w > e.v - 10",
            "SELECT e.k, e.v, e.at, c.name FROM events e LEFT JOIN dims c ON c.d = e.d",
            "SELECT e.k, e.v, e.at, c.name FROM events e LEFT JOIN dims c ON c.d = e.d WHERE c.w IS NULL OR c.w > 5",
            "SELECT e.k, c.w AS v, e.at, c.name FROM events e RIGHT JOIN dims c ON c.d = e.d",
            "SELECT e.k, coalesce(e.v, c.w) AS v, e.at, c.name FROM events e FULL JOIN dims c ON c.d = e.d",
            "SELECT k, v, at, 'e' AS name FROM events UNION ALL SELECT k, v, at, 'm' FROM more",
            "SELECT k, v, at, NULL::text AS name FROM events e WHERE EXISTS (SELECT 1 FROM dims c WHERE c.d = e.d AND c.w > 3)",
            "SELECT k, v, at, NULL::text AS name FROM events WHERE d IN (SELECT d FROM dims WHERE w > 2)",
            "SELECT k, v, at, NULL::text AS name FROM events e WHERE NOT EXISTS (SELECT 1 FROM more m WHERE m.k = e.k)",
            "SELECT e.k, m.v, e.at, NULL::text AS name FROM events e JOIN more m ON m.k = e.k AND m.at BETWEEN e.at - interval '2 hours' AND e.at",
            "SELECT a.k, b.v, a.at, NULL::text AS name FROM events a JOIN events b ON b.k = a.d",
            "SELECT e.k, m.v, e.at, c.name FROM events e LEFT JOIN (SELECT * FROM more WHERE v > 3) m ON m.k = e.k JOIN dims c ON c.d = e.d",
            "SELECT k, v, window_start AS at, NULL::text AS name FROM tumble(events, at, interval '2 hours')",
            "SELECT k, v, window_start AS at, NULL::text AS name FROM hop(events, at, interval '1 hour', interval '3 hours')",
            "SELECT u.k, u.v, u.at, c.name FROM (SELECT k, v, at, d FROM events UNION ALL SELECT k, v, at, k FROM more) u LEFT JOIN dims c ON c.d = u.d",
        ];
        (*SOURCES.choose(rng).expect("a source")).to_string()
    }

    fn grouped(&self, rng: &mut StdRng, name: String) -> View {
        const KEYS: &[&str] = &["k", "name", "k % 3", "date_trunc('hour', at)", "date_trunc('day', at)", "v % 5"];
        let count = [0, 1, 1, 2][rng.random_range(0..4)];
        let mut keys: Vec<&str> = KEYS.choose_multiple(rng, count).copied().collect();
        keys.sort_unstable();
        let of_one_table = rng.random_bool(0.3);
        let source = if of_one_table { self.rows_of_events(rng) } else { self.source(rng) };
        let from = format!("({source}) s");
        let (columns, numbers) = aggregates(rng);
        let having = if rng.random_bool(0.2) { " HAVING count(*) > 1" } else { "" };
        let named: Vec<String> = keys.iter().enumerate().map(|(at, key)| format!("{key} AS g{at}, ")).collect();
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let query = format!("SELECT {}{columns} FROM {from}{group}{having}", named.concat());
        View { name, query, on: Vec::new(), numbers, groups: Some(Groups { from, of_one_table, keys, columns }) }
    }

    /// Rows of one table.
    fn rows_of_events(&self, rng: &mut StdRng) -> String {
        const SOURCES: &[&str] = &[
            "SELECT k, v, at, NULL::text AS name FROM events",
            "SELECT k, v, at, 'n' || d AS name FROM events",
            "SELECT k, v, at, 'n' || d AS name FROM events WHERE v > 2 OR v IS NULL",
        ];
        (*SOURCES.choose(rng).expect("a source")).to_string()
    }

    fn copy(&self, rng: &mut StdRng, name: String) -> View {
        let query = format!("SELECT k, v * 2 AS n, name, at FROM ({}) s", self.source(rng));
        View { name, query, on: Vec::new(), numbers: vec!["n"], groups: None }
    }

    /// Over another view, alone or joined with a table.
    fn on_view(&self, rng: &mut StdRng, name: String) -> View {
        let input = self.views.choose(rng).expect("a view");
        let (of, number) = (&input.name, input.numbers.choose(rng).expect("a number"));
        let from = match rng.random_range(0..4) {
            0 => format!(
                "SELECT i.{number} AS v, c.name, c.d AS k, NULL::timestamp AS at FROM {of} i JOIN dims c ON c.d = i.{number}"
            ),
            1 => format!(
                "SELECT i.{number} AS v, c.name, c.d AS k, NULL::timestamp AS at FROM dims c LEFT JOIN {of} i ON c.d = i.{number}"
            ),
            _ => {
                format!("SELECT {number} AS v, NULL::text AS name, {number} % 2 AS k, NULL::timestamp AS at FROM {of}")
            }
        };
        let (columns, numbers) = aggregates(rng);
        let key = ["k", "v", "name"].choose(rng).expect("a key");
        let query = match rng.random_bool(0.8) {
            true => format!("SELECT {key} AS g0, {columns} FROM ({from}) s GROUP BY {key}"),
            false => format!("SELECT {columns} FROM ({from}) s"),
        };
        View { name, query, on: vec![of.clone()], numbers, groups: None }
    }
}

/// Some aggregates over `v`, `k` and `at`, and the names of those that are numbers.
fn aggregates(rng: &mut StdRng) -> (String, Vec<&'static str>) {
    const CALLS: &[(&str, &str)] = &[
        ("n", "count(*)"),
        ("filled", "count(v)"),
        ("total", "sum(v)"),
        ("least", "min(v)"),
        ("most", "max(v)"),
        ("kinds", "count(DISTINCT v)"),
        ("mean", "avg(v)"),
        ("spread", "round(stddev_samp(v), 6)"),
        ("middle", "median(v)"),
        ("small", "count(*) FILTER (WHERE v < 8)"),
        ("latest", "max(at)"),
        ("both", "sum(v) - sum(k)"),
        ("all_k", "array_agg(k ORDER BY k)"),
    ];
    let count = rng.random_range(1..4);
    let mut calls: Vec<&(&str, &str)> = CALLS.choose_multiple(rng, count).collect();
    if !calls.iter().any(|(name, _)| is_number(name)) {
        calls.push(&CALLS[0]);
    }
    let columns: Vec<String> = calls.iter().map(|(name, call)| format!("{call} AS {name}")).collect();
    (columns.join(", "), calls.iter().map(|(name, _)| *name).filter(|name| is_number(name)).collect())
}

fn is_number(name: &str) -> bool {
    ["n", "filled", "total", "least", "most", "kinds", "small"].contains(&name)
}

fn or_null(rng: &mut StdRng, share: f64, value: String) -> String {
    if rng.random_bool(share) { "NULL".into() } else { value }
}

fn k(rng: &mut StdRng) -> String {
    let value = rng.random_range(0..5).to_string();
    or_null(rng, 0.05, value)
}

fn d(rng: &mut StdRng) -> String {
    let value = rng.random_range(0..10).to_string();
    or_null(rng, 0.05, value)
}

fn v(rng: &mut StdRng) -> String {
    let value = rng.random_range(0..20).to_string();
    or_null(rng, 0.1, value)
}

/// Mostly about now, some late.
fn at(rng: &mut StdRng) -> String {
    let (day, hour) = (if rng.random_bool(0.1) { 1 } else { 3 }, rng.random_range(0..5));
    let value = format!("'2026-05-0{day} 0{hour}:{}'", rng.random_range(10..60));
    or_null(rng, 0.03, value)
}
