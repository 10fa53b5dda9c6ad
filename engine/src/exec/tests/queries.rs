//! Expressions, filters, sorts, limits, set operations, subqueries, recursion.

use weir_sql::statement::ExplainOptions;

use super::*;

#[test]
fn rows_keep_their_order_and_filters_their_logic() {
    let world = numbers();
    assert_eq!(world.rows("SELECT id, third FROM numbers WHERE id < 4"), ["0|zero", "1|one", "2|", "3|zero"]);
    assert_eq!(world.rows("SELECT id FROM numbers WHERE id > 995 AND even"), ["996", "998"]);
    assert_eq!(world.rows("SELECT id FROM numbers WHERE third IS NULL AND id < 6"), ["2", "5"]);
    assert_eq!(world.rows("SELECT id FROM numbers WHERE NOT (third = 'one') AND id < 4"), ["0", "3"]);
    assert_eq!(world.rows("SELECT id FROM numbers WHERE id IN (7, 3, 1001)"), ["3", "7"]);
    assert_eq!(
        world.rows("SELECT id FROM numbers WHERE id IN (1,2,3,4,5,6,7,8,9,10,11) AND third IN ('one')"),
        ["1", "4", "7", "10"]
    );
    assert_eq!(world.rows("SELECT count(*) FROM numbers WHERE third NOT IN ('zero', NULL)"), ["0"]);
}

#[test]
fn case_and_coalesce_choose_by_row() {
    let world = numbers();
    let sql = "SELECT CASE WHEN id = 1 THEN 'a' WHEN even THEN third ELSE 'c' END FROM numbers WHERE id < 4";
    assert_eq!(world.rows(sql), ["zero", "a", "", "c"]);
    assert_eq!(world.rows("SELECT coalesce(third, 'none') FROM numbers WHERE id < 3"), ["zero", "one", "none"]);
    assert_eq!(world.rows("SELECT nullif(third, 'one') FROM numbers WHERE id < 2"), ["zero", ""]);
}

#[test]
fn sorts_are_postgres_s() {
    let world = numbers();
    let sql = "SELECT third, id FROM numbers WHERE id < 6 ORDER BY third, id DESC";
    assert_eq!(world.rows(sql), ["one|4", "one|1", "zero|3", "zero|0", "|5", "|2"]);
    let sql = "SELECT third, id FROM numbers WHERE id < 6 ORDER BY third DESC LIMIT 3";
    assert_eq!(world.rows(sql), ["|2", "|5", "zero|0"]);
    assert_eq!(world.rows("SELECT id FROM numbers ORDER BY n DESC, id LIMIT 3 OFFSET 1"), ["19", "29", "39"]);
    assert_eq!(world.rows("SELECT id FROM numbers ORDER BY n OFFSET 998"), ["989", "999"]);
    assert_eq!(world.rows("SELECT id FROM numbers LIMIT 2 OFFSET 500"), ["500", "501"]);
    assert_eq!(world.rows("SELECT id FROM numbers ORDER BY id LIMIT 0"), [] as [&str; 0]);
}

#[test]
fn distinct_in_both_forms() {
    let world = numbers();
    assert_eq!(world.rows("SELECT DISTINCT third FROM numbers"), ["zero", "one", ""]);
    let sql = "SELECT DISTINCT ON (third) third, id FROM numbers ORDER BY third, id DESC";
    assert_eq!(world.rows(sql), ["one|997", "zero|999", "|998"]);
}

#[test]
fn set_operations() {
    let world = numbers();
    let a = "SELECT n FROM numbers WHERE id < 12";
    let b = "SELECT n FROM numbers WHERE id IN (1, 11, 12)";
    assert_eq!(world.rows(&format!("{b} UNION ALL {b}")), ["1", "1", "2", "1", "1", "2"]);
    assert_eq!(world.rows(&format!("{b} UNION {b}")), ["1", "2"]);
    assert_eq!(world.rows(&format!("{a} INTERSECT {b}")), ["1", "2"]);
    assert_eq!(world.rows(&format!("{a} INTERSECT ALL {b}")), ["1", "1", "2"]);
    assert_eq!(world.rows(&format!("{b} EXCEPT SELECT n FROM numbers WHERE id = 1")), ["2"]);
    assert_eq!(world.rows(&format!("{b} EXCEPT ALL SELECT n FROM numbers WHERE id = 1")), ["1", "2"]);
}

#[test]
fn subqueries_of_each_kind() {
    let world = numbers();
    assert_eq!(world.rows("SELECT (SELECT max(id) FROM numbers)"), ["999"]);
    assert_eq!(world.rows("SELECT (SELECT id FROM numbers WHERE id < 0)"), [""]);
    let error = world.error("SELECT (SELECT id FROM numbers)");
    assert_eq!(error.kind, ErrorKind::CardinalityViolation);
    assert_eq!(
        world.rows("SELECT id FROM numbers WHERE id = ANY (SELECT n FROM numbers WHERE id < 3)"),
        ["0", "1", "2"]
    );
    assert_eq!(world.rows("SELECT count(*) FROM numbers WHERE third NOT IN (SELECT third FROM numbers)"), ["0"]);
    assert_eq!(world.rows("SELECT id FROM numbers WHERE id >= ALL (SELECT id FROM numbers)"), ["999"]);
    assert_eq!(world.rows("SELECT ARRAY(SELECT id FROM numbers WHERE id < 3)"), ["{0,1,2}"]);
    let sql = "SELECT id, (SELECT max(b.id) FROM numbers b WHERE b.n = a.n AND b.id < 30) FROM numbers a WHERE id < 3";
    assert_eq!(world.rows(sql), ["0|20", "1|21", "2|22"]);
    let sql =
        "SELECT count(*) FROM numbers a WHERE EXISTS (SELECT 1 FROM numbers b WHERE b.id = a.n AND b.third = a.third)";
    assert!(!world.rows(sql).is_empty());
    // Never asked for, never an error.
    assert_eq!(world.rows("SELECT CASE WHEN true THEN 1 ELSE (SELECT id::int FROM numbers) END"), ["1"]);
}

#[test]
fn recursion_ends_by_itself_or_by_its_limit() {
    let world = World::default().table(
        "edges",
        vec![
            ("a", Type::Int4, Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef),
            ("b", Type::Int4, Arc::new(Int32Array::from(vec![2, 3, 1, 5])) as ArrayRef),
        ],
    );
    let reach =
        "WITH RECURSIVE reach(x) AS (SELECT 1 UNION SELECT b FROM edges JOIN reach ON a = x) SELECT x FROM reach";
    assert_eq!(world.rows(reach), ["1", "2", "3"]);
    let endless = "WITH RECURSIVE round(x) AS (SELECT 1 UNION ALL SELECT b FROM edges JOIN round ON a = x) SELECT x FROM round LIMIT 5";
    assert_eq!(world.rows(endless), ["1", "2", "3", "1", "2"]);
}

#[test]
fn explain_shows_the_tree_and_what_it_did() {
    let world = numbers();
    let context = world.context(2, 64);
    let plan = world.plan("SELECT third, count(*) FROM numbers WHERE id < 10 GROUP BY third");
    let lines = explain(&plan, &context, &ExplainOptions::default()).expect("it explains");
    assert!(lines[0].contains("(cost=0.00..0.00 rows="), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("Seq Scan on numbers")), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("Filter: (id < ")), "{lines:?}");
    let options = ExplainOptions { analyze: true, ..Default::default() };
    let lines = explain(&plan, &context, &options).expect("it runs");
    assert!(lines.iter().any(|l| l.contains("HashAggregate") && l.contains("rows=3 loops=1)")), "{lines:?}");
    assert!(lines.iter().any(|l| l.contains("Seq Scan") && l.contains("rows=10 loops=1)")), "{lines:?}");
    let json = ExplainOptions { json: true, ..options };
    let text = explain(&plan, &context, &json).expect("it runs").join("\n");
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert!(value[0]["Plan"]["Node Type"].is_string());
}
