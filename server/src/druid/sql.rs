//! The statements that a spec becomes, and how names and texts are written in them.

use std::fmt;

use weir_engine::functions::quote::{quote_ident, quote_literal};

pub(super) fn identifier(name: &str) -> String {
    let mut out = String::new();
    quote_ident(name, &mut out);
    out
}

pub(super) fn literal(text: &str) -> String {
    let mut out = String::new();
    quote_literal(text, &mut out);
    out
}

/// What a spec becomes.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// What is worth knowing, as comments.
    pub(super) notes: Vec<String>,
    pub(super) table: Table,
    pub(super) view: Option<View>,
}

/// CREATE TABLE
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) name: String,
    /// Names, types and constraints, as SQL.
    pub(super) columns: Vec<(String, String)>,
    pub(super) partition_by: Option<String>,
    pub(super) order_by: Vec<String>,
    pub(super) options: Vec<(String, String)>,
}

/// CREATE VIEW, or CREATE MATERIALIZED VIEW where it groups.
#[derive(Debug)]
pub(super) struct View {
    pub(super) name: String,
    /// Expressions and the names of their columns.
    pub(super) columns: Vec<(String, String)>,
    pub(super) filter: Option<String>,
    /// How many columns, from the first, are what it groups by; `None` if it does not group.
    pub(super) keys: Option<usize>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "-- {}", note.replace(['\n', '\r'], " "))?;
        }
        let table = &self.table;
        writeln!(f, "CREATE TABLE {} (", identifier(&table.name))?;
        let columns = table.columns.iter().map(|(name, ty)| format!("    {} {ty}", identifier(name)));
        writeln!(f, "{}\n)", columns.collect::<Vec<_>>().join(",\n"))?;
        if let Some(partition_by) = &table.partition_by {
            writeln!(f, "PARTITION BY {partition_by}")?;
        }
        writeln!(f, "ORDER BY ({})", table.order_by.join(", "))?;
        let option = |(key, value): &(String, String)| format!("    {} = {}", literal(key), literal(value));
        writeln!(f, "WITH (\n{}\n);", table.options.iter().map(option).collect::<Vec<_>>().join(",\n"))?;
        let Some(view) = &self.view else { return Ok(()) };
        let kind = if view.keys.is_some() { "MATERIALIZED VIEW" } else { "VIEW" };
        writeln!(f, "\nCREATE {kind} {} AS\nSELECT", identifier(&view.name))?;
        let column = |(expr, name): &(String, String)| match identifier(name) {
            name if *expr == name => format!("    {name}"),
            name => format!("    {expr} AS {name}"),
        };
        writeln!(f, "{}", view.columns.iter().map(column).collect::<Vec<_>>().join(",\n"))?;
        write!(f, "FROM {}", identifier(&table.name))?;
        if let Some(filter) = &view.filter {
            write!(f, "\nWHERE {filter}")?;
        }
        if let Some(keys) = view.keys {
            let keys: Vec<String> = (1..=keys).map(|key| key.to_string()).collect();
            write!(f, "\nGROUP BY {}", keys.join(", "))?;
        }
        writeln!(f, ";")
    }
}
