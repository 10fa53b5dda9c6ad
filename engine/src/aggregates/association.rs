//! How far two columns of classes depend on each other, by ClickHouse's names: cramersV, contingency, theilsU.
//!
//! State: the lists of the first and of the second classes, of rows in which neither is NULL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Create, function};
use crate::error::Result;
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let of = |names, doc, example, create: Create| {
        let state = |args: &[Type], _: &Type| args.iter().map(|ty| Type::Array(Box::new(ty.clone()))).collect();
        let params = vec![Param::Any, Param::Any];
        function(names, doc, example, vec![AggregateOverload::new(params, Returns::Exact(Type::Float8), state, create)])
    };
    macro_rules! create {
        ($finish:expr) => {
            |call| Ok(Box::new(Association { types: call.args.to_vec(), finish: $finish, rows: Collected::default() }))
        };
    }
    vec![
        of(
            &["cramersV"],
            "Cramér's V of two columns of classes: 0 if they do not depend on each other, 1 if each decides the other.",
            ("cramersV(x, x)", "1"),
            create!(cramers_v),
        ),
        of(
            &["cramersVBiasCorrected"],
            "Cramér's V, corrected for small samples.",
            ("cramersVBiasCorrected(x % 2, x % 2)", "1"),
            create!(corrected),
        ),
        of(
            &["contingency"],
            "The contingency coefficient of two columns of classes.",
            ("contingency(x % 2, x % 2)", "0.7071067811865476"),
            create!(|table| Some((table.squares() / (table.squares() + table.n)).sqrt())),
        ),
        of(
            &["theilsU"],
            "How much of the first column's uncertainty the second takes away, from 0 to 1.",
            ("theilsU(x, x)", "1"),
            create!(uncertainty),
        ),
    ]
}

/// How many rows have each class, and each pair.
#[derive(Default)]
struct Table {
    n: f64,
    lefts: HashMap<u32, f64>,
    rights: HashMap<u32, f64>,
    pairs: HashMap<(u32, u32), f64>,
}

impl Table {
    /// The counts of pairs with those of their classes, in an order that is always the same.
    fn cells(&self) -> Vec<(f64, f64, f64)> {
        let cell = |((left, right), count): (&(u32, u32), &f64)| (*count, self.lefts[left], self.rights[right]);
        let mut cells: Vec<(f64, f64, f64)> = self.pairs.iter().map(cell).collect();
        cells.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)));
        cells
    }

    /// Pearson's chi-squared.
    fn squares(&self) -> f64 {
        let sum: f64 = self.cells().iter().map(|(count, left, right)| count * count / (left * right)).sum();
        (self.n * (sum - 1.0)).max(0.0)
    }
}

/// No more than 1; NaN, of a column of one class, stays what it is.
fn capped(v: f64) -> f64 {
    if v > 1.0 { 1.0 } else { v }
}

fn cramers_v(table: &Table) -> Option<f64> {
    let least = table.lefts.len().min(table.rights.len()) as f64;
    let v = (table.squares() / table.n / (least - 1.0)).sqrt();
    Some(capped(v))
}

fn corrected(table: &Table) -> Option<f64> {
    let (rows, columns, n) = (table.lefts.len() as f64, table.rights.len() as f64, table.n);
    let part = (table.squares() / n - (rows - 1.0) * (columns - 1.0) / (n - 1.0)).max(0.0);
    let [rows, columns] = [rows, columns].map(|count| count - (count - 1.0).powi(2) / (n - 1.0));
    Some(capped((part / (rows.min(columns) - 1.0)).sqrt()))
}

fn uncertainty(table: &Table) -> Option<f64> {
    let n = table.n;
    let mut lefts: Vec<f64> = table.lefts.values().map(|count| count / n).collect();
    lefts.sort_unstable_by(f64::total_cmp);
    let entropy: f64 = lefts.iter().map(|part| part * part.ln()).sum();
    // Negative, as the entropy is here.
    let given: f64 = table.cells().iter().map(|(count, _, right)| count / n * (count / right).ln()).sum();
    // Without the sign of a zero.
    Some(if entropy == 0.0 { 0.0 } else { ((entropy - given) / entropy).clamp(0.0, 1.0).abs() })
}

struct Association {
    types: Vec<Type>,
    finish: fn(&Table) -> Option<f64>,
    rows: Collected,
}

impl Accumulator for Association {
    fn update(&mut self, args: &[ArrayRef], groups: &[u32], _: usize, filter: Option<&BooleanArray>) -> Result<()> {
        let nulls = NullBuffer::union(args[0].logical_nulls().as_ref(), args[1].logical_nulls().as_ref());
        self.rows.add(&args[..2], groups, rows_that_count(nulls.as_ref(), filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let types: Vec<_> = self.types.iter().map(Type::to_arrow).collect();
        let (columns, groups) = self.rows.take(&types)?;
        let (order, lengths) = by_group(&groups, n_groups);
        let list =
            |(ty, column): (&Type, ArrayRef)| lists(ty.element_field(), take(&column, &order, None)?, &lengths, false);
        self.types.iter().zip(columns).map(list).collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let types: Vec<_> = self.types.iter().map(Type::to_arrow).collect();
        let (columns, groups) = self.rows.take(&types)?;
        let mut numbers: Vec<Vec<u32>> = Vec::with_capacity(2);
        for (ty, column) in self.types.iter().zip(&columns) {
            let converter = keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?;
            let rows = converter.convert_columns(&[keys::normalize(ty, column)?])?;
            let mut known = HashMap::new();
            let mut number = |row| {
                let next = known.len() as u32;
                *known.entry(rows.row(row)).or_insert(next)
            };
            numbers.push((0..column.len()).map(&mut number).collect());
        }
        let mut tables: Vec<Table> = (0..n_groups).map(|_| Table::default()).collect();
        for (row, &group) in groups.iter().enumerate() {
            let (table, left, right) = (&mut tables[group as usize], numbers[0][row], numbers[1][row]);
            table.n += 1.0;
            *table.lefts.entry(left).or_default() += 1.0;
            *table.rights.entry(right).or_default() += 1.0;
            *table.pairs.entry((left, right)).or_default() += 1.0;
        }
        let finish = self.finish;
        let results = tables.iter().map(|table| if table.n > 0.0 { finish(table) } else { None });
        Ok(Arc::new(results.collect::<Float64Array>()))
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }
}
