//! SHOW CREATE: the statement that would make a relation again.

use std::fmt::Write;

use super::definition::{Kind, RelationDef};

/// The statement.
pub fn create_statement(def: &RelationDef) -> String {
    let name = format!("{}.{}", quote(&def.schema), quote(&def.name));
    let query = def.query.as_deref().unwrap_or_default();
    if def.kind == Kind::View {
        return format!("CREATE VIEW {name} AS {query}");
    }
    let mut out = String::new();
    match def.kind {
        Kind::Table => {
            let _ = writeln!(out, "CREATE TABLE {name} (");
            let last = def.columns.len().saturating_sub(1);
            for (i, column) in def.columns.iter().enumerate() {
                let _ = write!(out, "    {} {}", quote(&column.name), column.ty);
                if !column.nullable {
                    out.push_str(" NOT NULL");
                }
                if let Some(default) = &column.default {
                    let _ = write!(out, " DEFAULT {default}");
                }
                if let Some(rule) = def.ttl.iter().find(|rule| rule.of == Some(i)) {
                    let _ = write!(out, " TTL {}", rule.sql);
                }
                out.push_str(if i == last && def.primary_key.is_empty() { "\n" } else { ",\n" });
            }
            if !def.primary_key.is_empty() {
                let _ = writeln!(out, "    PRIMARY KEY ({})", names(def, &def.primary_key));
            }
            out.push(')');
        }
        _ => {
            let _ = write!(out, "CREATE MATERIALIZED VIEW {name}");
        }
    }
    if let Some(partition_by) = &def.partition_by {
        let _ = write!(out, "\nPARTITION BY {partition_by}");
    }
    if !def.order_by.is_empty() && def.order_by != def.primary_key {
        let _ = write!(out, "\nORDER BY ({})", names(def, &def.order_by));
    }
    if let Some(ttl) = def.ttl_text() {
        let _ = write!(out, "\nTTL {ttl}");
    }
    if !def.options.is_empty() {
        let options: Vec<String> =
            def.options.iter().map(|(k, v)| format!("'{}' = '{}'", k, v.replace('\'', "''"))).collect();
        let _ = write!(out, "\nWITH ({})", options.join(", "));
    }
    if def.kind == Kind::Materialized {
        let _ = write!(out, "\nAS {query}");
    }
    out
}

fn names(def: &RelationDef, columns: &[usize]) -> String {
    columns.iter().map(|c| quote(&def.columns[*c].name)).collect::<Vec<_>>().join(", ")
}

/// An identifier as SQL writes it.
pub(crate) fn quote(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
