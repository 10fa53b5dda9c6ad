//! Statements of the histories: their SQL, and what they do to rows.

use std::ops::RangeInclusive;

use rand::Rng;
use rand::rngs::StdRng;

/// A statement.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// INSERT.
    Insert(Vec<(i32, i32)>),
    /// INSERT … ON CONFLICT DO NOTHING.
    InsertIgnored(Vec<(i32, i32)>),
    /// INSERT … ON CONFLICT DO UPDATE SET v = t.v + excluded.v.
    Upsert(Vec<(i32, i32)>),
    /// UPDATE … SET v = v + n WHERE id in a range.
    Add(RangeInclusive<i32>, i32),
    /// UPDATE … SET v = v + n WHERE v % 3 = r.
    AddWhere(i32, i32),
    /// UPDATE … SET id = id + n WHERE id in a range.
    Move(RangeInclusive<i32>, i32),
    /// DELETE WHERE id in a range.
    Delete(RangeInclusive<i32>),
    /// DELETE WHERE v % 3 = r.
    DeleteWhere(i32),
    /// MERGE: matched rows of an even source value go, others get it added, unmatched ones are inserted.
    Merge(Vec<(i32, i32)>),
    /// SELECT count(*), sum(v).
    Sum,
}

/// What a statement answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many rows.
    Count(u64),
    /// Count and sum.
    Sum(i64, i64),
    /// 23505.
    Duplicate,
    /// 40001.
    Conflict,
}

/// A row of the model; `number` tells it from any other row that ever was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: u32,
    pub(crate) id: i32,
    pub(crate) v: i32,
}

/// What a statement does to the rows that it sees.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// Numbers of rows that go.
    pub(crate) deleted: Vec<u32>,
    /// Rows that come: id and v.
    pub(crate) added: Vec<(i32, i32)>,
    /// How many rows it counts.
    pub(crate) count: u64,
}

impl Operation {
    pub(crate) fn random(rng: &mut StdRng, keyed: bool) -> Operation {
        let range = |rng: &mut StdRng| {
            let from = rng.random_range(0..8);
            from..=from + rng.random_range(0..4)
        };
        let some = |rng: &mut StdRng| {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(1..4) {
                let id = rng.random_range(0..8);
                if rows.iter().all(|&(known, _)| known != id) {
                    rows.push((id, rng.random_range(0..6)));
                }
            }
            rows
        };
        match rng.random_range(0..if keyed { 10 } else { 8 }) {
            0 => Operation::Insert(some(rng)),
            1 => Operation::Add(range(rng), rng.random_range(1..4)),
            2 => Operation::AddWhere(rng.random_range(0..3), rng.random_range(1..4)),
            3 => Operation::Move(range(rng), rng.random_range(1..4)),
            4 => Operation::Delete(range(rng)),
            5 => Operation::DeleteWhere(rng.random_range(0..3)),
            6 => Operation::Merge(some(rng)),
            7 => Operation::Sum,
            8 => Operation::InsertIgnored(some(rng)),
            _ => Operation::Upsert(some(rng)),
        }
    }

    pub(crate) fn sql(&self, t: &str) -> String {
        let values = |rows: &[(i32, i32)]| {
            let rows: Vec<String> = rows.iter().map(|(id, v)| format!("({id}, {v})")).collect();
            rows.join(", ")
        };
        let between = |range: &RangeInclusive<i32>| format!("id BETWEEN {} AND {}", range.start(), range.end());
        match self {
            Operation::Insert(rows) => format!("INSERT INTO {t} VALUES {}", values(rows)),
            Operation::InsertIgnored(rows) => {
                format!("INSERT INTO {t} VALUES {} ON CONFLICT (id) DO NOTHING", values(rows))
            }
            Operation::Upsert(rows) => {
                format!("INSERT INTO {t} VALUES {} ON CONFLICT (id) DO UPDATE SET v = {t}.v + excluded.v", values(rows))
            }
            Operation::Add(range, n) => format!("UPDATE {t} SET v = v + {n} WHERE {}", between(range)),
            Operation::AddWhere(r, n) => format!("UPDATE {t} SET v = v + {n} WHERE v % 3 = {r}"),
            Operation::Move(range, n) => format!("UPDATE {t} SET id = id + {n} WHERE {}", between(range)),
            Operation::Delete(range) => format!("DELETE FROM {t} WHERE {}", between(range)),
            Operation::DeleteWhere(r) => format!("DELETE FROM {t} WHERE v % 3 = {r}"),
            Operation::Merge(rows) => format!(
                "MERGE INTO {t} USING (VALUES {}) s(id, v) ON {t}.id = s.id WHEN MATCHED AND s.v % 2 = 0 THEN DELETE \
                 WHEN MATCHED THEN UPDATE SET v = {t}.v + s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)",
                values(rows)
            ),
            Operation::Sum => format!("SELECT count(*), coalesce(sum(v), 0)::bigint FROM {t}"),
        }
    }

    /// What it does to these rows; `None` if a key is there already.
    pub(crate) fn effect(&self, rows: &[Row], keyed: bool) -> Option<Effect> {
        let mut effect = Effect::default();
        let of = |id: i32| rows.iter().filter(move |row| row.id == id);
        let change = |effect: &mut Effect, row: &Row, to: Option<(i32, i32)>| {
            effect.deleted.push(row.number);
            effect.added.extend(to);
            effect.count += 1;
        };
        let add = |effect: &mut Effect, row: (i32, i32)| {
            effect.added.push(row);
            effect.count += 1;
        };
        match self {
            Operation::Insert(new) => new.iter().for_each(|&row| add(&mut effect, row)),
            Operation::InsertIgnored(new) => {
                new.iter().filter(|(id, _)| of(*id).next().is_none()).for_each(|&row| add(&mut effect, row));
            }
            Operation::Upsert(new) => {
                for &(id, v) in new {
                    match of(id).next() {
                        Some(row) => change(&mut effect, row, Some((id, row.v + v))),
                        None => add(&mut effect, (id, v)),
                    }
                }
            }
            Operation::Add(range, n) => {
                let hit = rows.iter().filter(|row| range.contains(&row.id));
                hit.for_each(|row| change(&mut effect, row, Some((row.id, row.v + n))));
            }
            Operation::AddWhere(r, n) => {
                let hit = rows.iter().filter(|row| row.v % 3 == *r);
                hit.for_each(|row| change(&mut effect, row, Some((row.id, row.v + n))));
            }
            Operation::Move(range, n) => {
                let hit = rows.iter().filter(|row| range.contains(&row.id));
                hit.for_each(|row| change(&mut effect, row, Some((row.id + n, row.v))));
            }
            Operation::Delete(range) => {
                rows.iter().filter(|row| range.contains(&row.id)).for_each(|row| change(&mut effect, row, None));
            }
            Operation::DeleteWhere(r) => {
                rows.iter().filter(|row| row.v % 3 == *r).for_each(|row| change(&mut effect, row, None));
            }
            Operation::Merge(source) => {
                for &(id, v) in source {
                    if of(id).next().is_none() {
                        add(&mut effect, (id, v));
                    }
                    for row in of(id) {
                        change(&mut effect, row, (v % 2 != 0).then_some((id, row.v + v)));
                    }
                }
            }
            Operation::Sum => {}
        }
        if !keyed {
            return Some(effect);
        }
        let free = |id: i32| of(id).all(|row| effect.deleted.contains(&row.number));
        let mut ids: Vec<i32> = effect.added.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let distinct = ids.windows(2).all(|pair| pair[0] != pair[1]);
        (distinct && ids.into_iter().all(free)).then_some(effect)
    }

    /// What it answers when it has this effect on these rows.
    pub(crate) fn answer(&self, rows: &[Row], effect: &Effect) -> Answer {
        match self {
            Operation::Sum => Answer::Sum(rows.len() as i64, rows.iter().map(|row| i64::from(row.v)).sum()),
            _ => Answer::Count(effect.count),
        }
    }
}
