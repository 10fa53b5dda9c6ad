//! SHOW CREATE: the statement that would make a relation again.

use std::fmt::Write;

use super::definition::{IndexDef, IndexKind, Kind, MergingDef, RelationDef};

/// The statement.
pub fn create_statement(def: &RelationDef) -> String {
    let name = format!("{}.{}", quote(&def.schema), quote(&def.name));
    let query = def.query.as_deref().unwrap_or_default();
    if let Some(transform) = &def.transform {
        return format!("CREATE MATERIALIZED VIEW {name} TO {}\nAS {}", transform.name, transform.query);
    }
    if def.kind == Kind::View {
        return format!("CREATE VIEW {name} AS {query}");
    }
    let mut out = String::new();
    match def.kind {
        Kind::Table => {
            let _ = writeln!(out, "CREATE TABLE {name} (");
            let mut lines: Vec<String> = (0..def.columns.len()).map(|at| column(def, at)).collect();
            lines.extend(def.indexes.iter().map(index));
            if !def.primary_key.is_empty() {
                lines.push(format!("PRIMARY KEY ({})", names(def, &def.primary_key)));
            }
            if let Some((column, expr)) = &def.watermark {
                lines.push(format!("WATERMARK FOR {} AS {expr}", names(def, &[*column])));
            }
            let _ = write!(out, "    {}\n)", lines.join(",\n    "));
            if let Some(engine) = &def.engine {
                let arguments = def.merging.as_ref().map_or(Vec::new(), MergingDef::columns);
                let _ = write!(out, "\nENGINE = {engine}({})", arguments_of(def, &arguments));
            }
        }
        _ => {
            let _ = write!(out, "CREATE MATERIALIZED VIEW {name}");
            if let Some(every) = def.refresh_text() {
                let _ = write!(out, "\nREFRESH EVERY '{every}'");
            }
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
        if let Some(emit) = def.emit_text() {
            let _ = write!(out, "\n{emit}");
        }
    }
    out
}

/// A column's line.
fn column(def: &RelationDef, at: usize) -> String {
    let column = &def.columns[at];
    let ty = column.scale.map_or_else(|| column.ty.to_string(), |scale| format!("DateTime64({scale})"));
    let ty = column.fold.map_or(ty.clone(), |fold| format!("SimpleAggregateFunction({}, {ty})", fold.name()));
    let mut out = format!("{} {ty}", quote(&column.name));
    if let Some(collation) = column.collation {
        let _ = write!(out, " COLLATE {}", quote(&collation.name()));
    }
    // In a table with an ENGINE, columns that say nothing are NOT NULL.
    out.push_str(match (column.nullable, &def.engine) {
        (true, Some(_)) => " NULL",
        (false, None) => " NOT NULL",
        _ => "",
    });
    if let Some(default) = &column.default {
        let _ = write!(out, " DEFAULT {default}");
    }
    if let Some(codec) = &column.codec {
        let _ = write!(out, " CODEC({codec})");
    }
    if let Some(rule) = def.ttl.iter().find(|rule| rule.of == Some(at)) {
        let _ = write!(out, " TTL {}", rule.sql);
    }
    out
}

/// An index's line.
fn index(index: &IndexDef) -> String {
    let keys: Vec<&str> = index.keys.iter().map(|key| key.sql.as_str()).collect();
    let kind = match index.kind {
        IndexKind::MinMax => "minmax".to_string(),
        IndexKind::Set(most) => format!("set({most})"),
        IndexKind::Bloom(share) => format!("bloom_filter({share})"),
        IndexKind::Ngrams { n, bytes, hashes, seed } => format!("ngrambf_v1({n}, {bytes}, {hashes}, {seed})"),
        IndexKind::Tokens { bytes, hashes, seed } => format!("tokenbf_v1({bytes}, {hashes}, {seed})"),
        IndexKind::Text => "text".to_string(),
    };
    format!("INDEX {} ({}) TYPE {kind} GRANULARITY {}", quote(&index.name), keys.join(", "), index.granularity)
}

/// Arguments of an ENGINE, which are columns. Those to sum are one argument.
fn arguments_of(def: &RelationDef, columns: &[usize]) -> String {
    match &def.merging {
        Some(MergingDef::Summing(_)) => format!("({})", names(def, columns)),
        _ => names(def, columns),
    }
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
