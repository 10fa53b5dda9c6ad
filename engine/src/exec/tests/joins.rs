//! Joins of each kind.

use super::*;

fn two() -> World {
    let ints = |v: Vec<Option<i32>>| -> ArrayRef { Arc::new(Int32Array::from(v)) };
    let texts = |v: Vec<&str>| -> ArrayRef { Arc::new(StringViewArray::from(v)) };
    numbers()
        .table(
            "l",
            vec![
                ("a", Type::Int4, ints(vec![Some(1), Some(2), Some(2), None, Some(4)])),
                ("x", Type::Text, texts(vec!["l1", "l2", "l3", "l4", "l5"])),
            ],
        )
        .table(
            "r",
            vec![
                ("b", Type::Int4, ints(vec![Some(2), Some(1), Some(2), None, Some(5)])),
                ("y", Type::Text, texts(vec!["r1", "r2", "r3", "r4", "r5"])),
            ],
        )
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[test]
fn equi_joins_of_each_kind() {
    let world = two();
    let rows = |kind: &str| sorted(world.rows(&format!("SELECT x, y FROM l {kind} JOIN r ON a = b")));
    let inner = ["l1|r2", "l2|r1", "l2|r3", "l3|r1", "l3|r3"];
    let left = ["l4|", "l5|"];
    let right = ["|r4", "|r5"];
    let all = |parts: &[&[&str]]| sorted(parts.iter().flat_map(|p| p.iter().map(|s| s.to_string())).collect());
    assert_eq!(rows(""), all(&[&inner]));
    assert_eq!(rows("LEFT"), all(&[&inner, &left]));
    assert_eq!(rows("RIGHT"), all(&[&inner, &right]));
    assert_eq!(rows("FULL"), all(&[&inner, &left, &right]));
}

#[test]
fn the_rest_of_a_condition_decides_what_matches() {
    let world = two();
    let rows = |kind: &str| sorted(world.rows(&format!("SELECT x, y FROM l {kind} JOIN r ON a = b AND y <> 'r1'")));
    assert_eq!(rows(""), ["l1|r2", "l2|r3", "l3|r3"]);
    assert_eq!(rows("LEFT"), ["l1|r2", "l2|r3", "l3|r3", "l4|", "l5|"]);
    assert_eq!(rows("FULL"), ["l1|r2", "l2|r3", "l3|r3", "l4|", "l5|", "|r1", "|r4", "|r5"]);
}

#[test]
fn joins_without_equalities() {
    let world = two();
    assert_eq!(world.rows("SELECT count(*) FROM (SELECT id FROM numbers WHERE id < 5) a, numbers b").join(""), "5000");
    assert_eq!(sorted(world.rows("SELECT x, y FROM l JOIN r ON a > b")), ["l2|r2", "l3|r2", "l5|r1", "l5|r2", "l5|r3"]);
    let left = sorted(world.rows("SELECT x, y FROM l LEFT JOIN r ON a > b AND y = 'r1'"));
    assert_eq!(left, ["l1|", "l2|", "l3|", "l4|", "l5|r1"]);
}

#[test]
fn semi_and_anti_joins_and_lateral() {
    let world = two();
    assert_eq!(world.rows("SELECT x FROM l WHERE EXISTS (SELECT 1 FROM r WHERE b = a)"), ["l1", "l2", "l3"]);
    assert_eq!(world.rows("SELECT x FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE b = a)"), ["l4", "l5"]);
    assert_eq!(world.rows("SELECT x FROM l WHERE a IN (SELECT b FROM r)"), ["l1", "l2", "l3"]);
    assert_eq!(world.rows("SELECT x FROM l WHERE a NOT IN (SELECT b FROM r)"), [] as [&str; 0]);
    let sql = "SELECT x, y FROM l LEFT JOIN LATERAL (SELECT y FROM r WHERE b = a ORDER BY y DESC LIMIT 1) t ON true";
    assert_eq!(world.rows(sql), ["l1|r2", "l2|r3", "l3|r3", "l4|", "l5|"]);
}

#[test]
fn a_join_of_many_rows_with_many_matches() {
    let world = two();
    let sql = "SELECT count(*), sum(a.id) FROM numbers a JOIN numbers b ON a.n = b.n";
    assert_eq!(world.rows(sql), ["100000|49950000"]);
    let sql = "SELECT count(*) FROM numbers a JOIN numbers b ON a.third = b.third AND a.n = b.n";
    let each: usize = ["zero", "one"]
        .iter()
        .enumerate()
        .map(|(third, _)| {
            (0..10).map(|n| (0..1000).filter(|i| i % 3 == third && i % 10 == n).count().pow(2)).sum::<usize>()
        })
        .sum();
    assert_eq!(world.rows(sql), [each.to_string()]);
}
