//! GROUP BY and each aggregate.

use weir_sql::statement::ExplainOptions;

use super::*;

#[test]
fn groups_come_in_the_order_of_their_first_rows() {
    let world = numbers();
    assert_eq!(
        world.rows("SELECT third, count(*), count(third) FROM numbers GROUP BY third"),
        ["zero|334|334", "one|333|333", "|333|0"]
    );
    assert_eq!(
        world.rows("SELECT n, third, count(*) FROM numbers WHERE id < 31 GROUP BY n, third LIMIT 3"),
        ["0|zero|2", "1|one|1", "2||1"]
    );
    assert_eq!(
        world.rows("SELECT even, third, n, f, count(*) FROM numbers GROUP BY even, third, n, f LIMIT 1"),
        ["t|zero|0|0|1"]
    );
    assert_eq!(world.rows("SELECT count(*) FROM (SELECT id, third FROM numbers GROUP BY id, third) g"), ["1000"]);
}

#[test]
fn a_limit_ends_where_all_groups_would_begin() {
    let world = numbers();
    for sql in [
        "SELECT id, third, count(*) FROM numbers GROUP BY id, third",
        "SELECT third, n, count(*), sum(id), array_agg(id) FROM numbers WHERE id % 7 > 0 GROUP BY third, n",
        "SELECT third || n, count(DISTINCT even), max(f) FILTER (WHERE even) FROM numbers GROUP BY 1",
        "SELECT f::numeric(9, 1), any_value(id) FROM numbers GROUP BY 1",
        "SELECT -n, s FROM (SELECT id % 70 AS n, sum(f) AS s FROM numbers WHERE id > 95 GROUP BY 1) g",
        "SELECT x, count(*) FROM (SELECT id AS x FROM numbers UNION ALL SELECT 500 - n FROM numbers) u GROUP BY x",
        "SELECT a.n, b.id, count(*) FROM numbers a JOIN numbers b ON a.id = b.id + 30 GROUP BY a.n, b.id",
    ] {
        let all = world.rows(sql);
        for (limit, offset) in [(1, 0), (3, 1), (5, 25), (50, 60), (9000, 0)] {
            let expected: Vec<String> = all.iter().skip(offset).take(limit).cloned().collect();
            let limited = format!("{sql} LIMIT {limit} OFFSET {offset}");
            assert_eq!(world.rows(&limited), expected, "{limited}");
        }
    }
}

#[test]
fn under_a_limit_rows_of_later_groups_are_passed_over() {
    let world = numbers();
    let options = ExplainOptions { analyze: true, ..Default::default() };
    for (sql, made) in [
        // All of the first batch, which is 100 rows.
        ("SELECT id, third, count(*) FROM numbers GROUP BY id, third LIMIT 5", 100),
        ("SELECT id, third, count(*) FROM numbers GROUP BY id, third LIMIT 50 OFFSET 50", 100),
        // The first morsel has fewer.
        ("SELECT id, third, count(*) FROM numbers GROUP BY id, third LIMIT 101", 1000),
        // A row may fail.
        ("SELECT id, third, sum(1 / (id + 1)) FROM numbers GROUP BY id, third LIMIT 5", 1000),
    ] {
        let lines = explain(&world.plan(sql), &world.context(1, 8192), &options).expect("it runs");
        let rows = format!("rows={made} loops=1)");
        assert!(lines.iter().any(|l| l.contains("HashAggregate") && l.contains(&rows)), "{sql}: {lines:?}");
    }
}

#[test]
fn no_keys_give_one_row_even_over_nothing() {
    let world = numbers();
    assert_eq!(world.rows("SELECT count(*), sum(id), max(third) FROM numbers WHERE id < 0"), ["0||"]);
    assert_eq!(world.rows("SELECT n FROM numbers WHERE id < 0 GROUP BY n"), [] as [&str; 0]);
    assert_eq!(world.rows("SELECT count(*) FROM numbers HAVING count(*) > 5"), ["1000"]);
}

#[test]
fn many_groups_are_merged_by_partition() {
    let ids = 0..50_000_i64;
    let keys: StringViewArray = ids.clone().map(|i| Some(format!("a key of some length {}", i % 25_000))).collect();
    let world = World::default().table(
        "many",
        vec![
            ("id", Type::Int8, Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
            ("key", Type::Text, Arc::new(keys)),
        ],
    );
    for context in [world.context(1, 8192), world.context(4, 100)] {
        let sql = "SELECT key, count(*), min(id), max(id) FROM many GROUP BY key";
        let rows = world.rows_in(sql, &context).expect("it runs");
        assert_eq!(rows.len(), 25_000);
        assert_eq!(rows[0], "a key of some length 0|2|0|25000");
        assert_eq!(rows[24_999], "a key of some length 24999|2|24999|49999");
        let sql = "SELECT count(DISTINCT key), count(DISTINCT id) FROM many";
        assert_eq!(world.rows_in(sql, &context).expect("it runs"), ["25000|50000"]);
    }
}

#[test]
fn rows_that_hardly_meet_are_grouped_by_partition_alone() {
    let ids = 0..280_000_i64;
    let key = |i: i64| (i % 200_000 != 7).then_some(i % 200_000);
    let texts: StringViewArray = ids.clone().map(|i| Some(format!("the key {}", i % 200_000 / 2))).collect();
    let world = World::default().table(
        "sparse",
        vec![
            ("id", Type::Int8, Arc::new(Int64Array::from_iter_values(ids.clone())) as ArrayRef),
            ("key", Type::Int8, Arc::new(ids.map(key).collect::<Int64Array>())),
            ("text", Type::Text, Arc::new(texts)),
        ],
    );
    let broker = Broker::new(1 << 30);
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { query: 12 << 20, operator: usize::MAX, folder: Some(folder.path().to_path_buf()) };
    let little = QueryMemory::new(&broker, limits);
    for context in [world.context(1, 8192), world.context(3, 8192), world.context_of(2, 8192, little)] {
        let sql = "SELECT key, text, count(*), min(id), max(id), avg(id) FROM sparse GROUP BY key, text";
        let rows = world.rows_in(sql, &context).expect("it runs");
        assert_eq!(rows.len(), 200_000);
        assert_eq!(rows[0], "0|the key 0|2|0|200000|100000.000000000000");
        assert_eq!(rows[7], "|the key 3|2|7|200007|100007.000000000000");
        assert_eq!(rows[150_001], "150001|the key 75000|1|150001|150001|150001.000000000000");
    }
}

#[test]
fn sums_and_means_have_postgres_s_types() {
    let world = numbers();
    assert_eq!(
        world.rows("SELECT sum(id), sum(n), avg(n), avg(id) FROM numbers"),
        ["499500|4500|4.5000000000000000|499.5000000000000000"]
    );
    assert_eq!(world.rows("SELECT sum(f), avg(f) FROM numbers"), ["49950|49.95"]);
    let plan = world.plan("SELECT sum(id), sum(n), avg(n), sum(f), count(*) FROM numbers");
    let types: Vec<String> = plan.columns().iter().map(|c| c.ty.to_string()).collect();
    assert_eq!(types, ["numeric(38,0)", "bigint", "numeric", "double precision", "bigint"]);
}

#[test]
fn spread_and_correlation() {
    let world = numbers();
    assert_eq!(
        world.rows("SELECT var_pop(n), stddev_pop(n), var_samp(n) FROM numbers"),
        ["8.2500000000000000|2.8722813232690143|8.2582582582582583"]
    );
    assert_eq!(world.rows("SELECT stddev(n) FROM numbers WHERE id = 1"), [""]);
    assert_eq!(
        world.rows("SELECT corr(f, f), regr_slope(f, id::float8), covar_pop(f, f) FROM numbers"),
        ["1|0.1|833.3325"]
    );
    assert_eq!(world.rows("SELECT var_pop(f) FROM numbers"), ["833.3325"]);
}

#[test]
fn filters_conditions_and_distinct() {
    let world = numbers();
    assert_eq!(
        world.rows("SELECT count(*) FILTER (WHERE even), sumIf(n, even), countIf(n = 3) FROM numbers"),
        ["500|2000|100"]
    );
    assert_eq!(
        world
            .rows("SELECT count(DISTINCT n), count(DISTINCT third), sum(DISTINCT n), uniqExact(n, third) FROM numbers"),
        ["10|2|45|20"]
    );
    assert_eq!(world.rows("SELECT even, count(DISTINCT n) FROM numbers GROUP BY even"), ["t|5", "f|5"]);
}

#[test]
fn order_inside_a_call_and_order_of_the_input() {
    let world = numbers();
    assert_eq!(world.rows("SELECT array_agg(id) FROM numbers WHERE id < 5"), ["{0,1,2,3,4}"]);
    assert_eq!(
        world.rows("SELECT array_agg(id ORDER BY n DESC, id) FROM numbers WHERE id IN (1, 2, 12)"),
        ["{2,12,1}"]
    );
    assert_eq!(
        world.rows("SELECT string_agg(third, ',' ORDER BY id DESC) FROM numbers WHERE id < 5"),
        ["one,zero,one,zero"]
    );
    assert_eq!(world.rows("SELECT string_agg(DISTINCT third, '-') FROM numbers"), ["one-zero"]);
    assert_eq!(
        world.rows("SELECT any_value(third), anyLast(id), argMax(id, n), argMin(id, n) FROM numbers WHERE id > 1"),
        ["zero|999|9|10"]
    );
    assert_eq!(
        world.rows("SELECT groupUniqArray(n), groupArray(third) FROM numbers WHERE id IN (0, 1, 2, 10)"),
        ["{0,1,2}|{zero,one,one}"]
    );
}

#[test]
fn quantiles_and_modes() {
    let world = numbers();
    let sql = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f), percentile_disc(0.5) WITHIN GROUP (ORDER BY id), \
               mode() WITHIN GROUP (ORDER BY third), median(n) FROM numbers";
    assert_eq!(world.rows(sql), ["49.95|499|zero|4.5"]);
    assert_eq!(world.rows("SELECT quantile(0.9)(id) FROM numbers"), ["899.1"]);
    assert_eq!(world.rows("SELECT n, median(id) FROM numbers GROUP BY n LIMIT 2"), ["0|495", "1|496"]);
}

#[test]
fn bits_booleans_and_extremes() {
    let world = numbers();
    assert_eq!(
        world.rows(
            "SELECT bool_and(even), bool_or(even), bit_or(n), min(third), max(third), max(f), min(id) FROM numbers"
        ),
        ["f|t|15|one|zero|99.9|0"]
    );
}

#[test]
fn floats_group_by_value_and_sum_without_order() {
    let values = vec![0.0, -0.0, f64::NAN, -f64::NAN, 1e100, 1.0, -1e100];
    let world =
        World::default().table("floats", vec![("f", Type::Float8, Arc::new(Float64Array::from(values)) as ArrayRef)]);
    assert_eq!(
        world.rows("SELECT f, count(*) FROM floats GROUP BY f"),
        ["0|2", "NaN|2", "1e+100|1", "1|1", "-1e+100|1"]
    );
    assert_eq!(world.rows("SELECT sum(f) FROM floats WHERE f < 'NaN'"), ["1"]);
    assert_eq!(world.rows("SELECT max(f), min(f) FROM floats"), ["NaN|-1e+100"]);
}
