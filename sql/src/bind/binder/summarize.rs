//! DuckDB's SUMMARIZE, and DESCRIBE of a query: what is in its columns, and what they are.
//!
//! SUMMARIZE is one pass of aggregates over the source, whose one row is then turned into a row a column.

use sqlparser::ast::{FunctionArg, SetExpr, TableFactor, TableWithJoins};

use super::Binder;
use super::from::Item;
use super::pivot::source;
use super::scope::{Scope, scope_columns};
use crate::error::Result;
use crate::parse::duckdb::{DESCRIBE, SUMMARIZE};
use crate::parse::names::quoted;
use crate::plan::{Expr, OutputColumn, Plan};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    /// A SUMMARIZE or DESCRIBE that the lexer wrote as a call; `None` if the call is another.
    pub(super) fn bind_summary_call(&mut self, name: &str, args: &[FunctionArg]) -> Result<Option<Item>> {
        if name != SUMMARIZE && name != DESCRIBE {
            return Ok(None);
        }
        let source = source(args)?;
        let (_, columns) = self.bind_source(&source)?;
        if name == DESCRIBE {
            return Ok(Some(described(&columns)));
        }
        let text = summary(&columns);
        let mut query = crate::parse::query(&text)?;
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
            && let SetExpr::Select(inner) = subquery.body.as_mut()
        {
            let relation = TableFactor::Derived { lateral: false, subquery: source, alias: None, sample: None };
            inner.from = vec![TableWithJoins { relation, joins: Vec::new() }];
        }
        self.bind_as_item(&query).map(Some)
    }
}

/// One row a column, as DESCRIBE of a table has it.
fn described(columns: &[OutputColumn]) -> Item {
    let shape: Vec<OutputColumn> =
        [("name", Type::Text), ("type", Type::Text), ("nullable", Type::Bool), ("default", Type::Text)]
            .into_iter()
            .map(|(name, ty)| OutputColumn::computed(name, ty))
            .collect();
    let rows = columns.iter().map(|column| {
        vec![
            Expr::literal(Value::text(&column.name)),
            Expr::literal(Value::text(&column.ty.to_string())),
            Expr::literal(Value::bool(true)),
            Expr::literal(Value::null(Type::Text)),
        ]
    });
    let scope = Scope::of_table("describe", scope_columns(&shape));
    Item { plan: Plan::Values { rows: rows.collect(), columns: shape }, scope }
}

/// The query, over a table `t` that the source takes the place of.
fn summary(columns: &[OutputColumn]) -> String {
    let mut inner = vec!["count(*) AS n".to_string()];
    let mut outer: Vec<(&str, Vec<String>)> = [
        "column_name",
        "column_type",
        "min",
        "max",
        "approx_unique",
        "avg",
        "std",
        "q25",
        "q50",
        "q75",
        "count",
        "null_percentage",
    ]
    .into_iter()
    .map(|name| (name, Vec::new()))
    .collect();
    let text = |value: &str| format!("'{}'", value.replace('\'', "''"));
    for (at, column) in columns.iter().enumerate() {
        let (name, ty) = (quoted(&column.name), &column.ty);
        let ordered = ty.is_number()
            || ty.is_text()
            || matches!(
                ty,
                Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval | Type::Uuid
            );
        let mut add = |label: &str, wanted: bool, aggregate: String, cast: &str| {
            if !wanted {
                return format!("NULL::{cast}");
            }
            inner.push(format!("({aggregate})::{cast} AS {label}_{at}"));
            format!("{label}_{at}")
        };
        let number = ty.is_number();
        let row = [
            text(&column.name),
            text(&ty.to_string()),
            add("min", ordered, format!("min({name})"), "text"),
            add("max", ordered, format!("max({name})"), "text"),
            add("unique", ordered || *ty == Type::Bool, format!("uniq({name})"), "bigint"),
            add("avg", number, format!("avg({name}::float8)"), "text"),
            add("std", number, format!("stddev_samp({name}::float8)"), "text"),
            add("q25", number, format!("percentile_cont(0.25) WITHIN GROUP (ORDER BY {name}::float8)"), "text"),
            add("q50", number, format!("percentile_cont(0.5) WITHIN GROUP (ORDER BY {name}::float8)"), "text"),
            add("q75", number, format!("percentile_cont(0.75) WITHIN GROUP (ORDER BY {name}::float8)"), "text"),
            "n".to_string(),
            add(
                "nulls",
                true,
                format!("round(100.0 * (count(*) - count({name})) / nullif(count(*), 0), 2)"),
                "numeric(9,2)",
            ),
        ];
        outer.iter_mut().zip(row).for_each(|((_, values), value)| values.push(value));
    }
    let items =
        outer.into_iter().map(|(name, values)| format!("unnest(ARRAY[{}]) AS {}", values.join(", "), quoted(name)));
    format!("SELECT {} FROM (SELECT {} FROM t) AS summary", items.collect::<Vec<_>>().join(", "), inner.join(", "))
}
