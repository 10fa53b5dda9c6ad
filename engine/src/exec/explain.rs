//! EXPLAIN: the tree of operators as text or JSON, in Postgres's layout.
//!
//! Weir has no cost model: costs are printed as zero, because clients parse them, and rows are
//! what the optimiser went by. With ANALYZE the plan is run to its end
//! and each operator tells what it did: rows, time from the start to its last row, granules read and pruned, memory.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use weir_sql::plan::{Expr, ExprKind, OutputColumn, Plan, SortKey, SubqueryKind};
use weir_sql::statement::ExplainOptions;

use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::operator::Node;
use crate::exec::{RowStream, operators};

/// The lines of EXPLAIN. With `analyze`, the plan is run.
pub fn explain(plan: &Plan, context: &Arc<QueryContext>, options: &ExplainOptions) -> Result<Vec<String>> {
    let planned = Instant::now();
    let node = operators::compile(plan, context)?;
    let planning = planned.elapsed();
    let mut stream = RowStream::new(node, context)?;
    let executed = Instant::now();
    if options.analyze {
        while stream.next()?.is_some() {}
    }
    let execution = executed.elapsed();
    let milliseconds = |d: std::time::Duration| d.as_secs_f64() * 1000.0;
    if options.json {
        let mut root = serde_json::Map::new();
        root.insert("Plan".into(), json(&stream.node, options));
        if options.analyze {
            root.insert("Planning Time".into(), milliseconds(planning).into());
            root.insert("Execution Time".into(), milliseconds(execution).into());
            root.insert("Peak Memory Bytes".into(), stream.memory_peak().into());
        }
        let text = serde_json::to_string_pretty(&serde_json::Value::Array(vec![root.into()]));
        return Ok(vec![text.unwrap_or_default()]);
    }
    let mut lines = Vec::new();
    text(&stream.node, 0, options, &mut lines);
    if options.analyze && options.summary {
        lines.push(format!("Planning Time: {:.3} ms", milliseconds(planning)));
        lines.push(format!("Peak Memory: {} kB", stream.memory_peak().div_ceil(1024)));
        lines.push(format!("Execution Time: {:.3} ms", milliseconds(execution)));
    }
    Ok(lines)
}

/// A guess at the bytes of a row.
fn width(columns: &[OutputColumn]) -> usize {
    columns.iter().map(|c| if c.ty.size() > 0 { c.ty.size() as usize } else { 32 }).sum()
}

fn text(node: &Node, depth: usize, options: &ExplainOptions, lines: &mut Vec<String>) {
    let description = node.operator.describe();
    let (arrow, indent) = match depth {
        0 => (String::new(), 2),
        _ => (format!("{}->  ", " ".repeat(depth * 6 - 4)), depth * 6 + 2),
    };
    let mut line = format!("{arrow}{}", description.name);
    if options.costs {
        let rows = node.estimate();
        let _ = write!(line, "  (cost=0.00..0.00 rows={rows:.0} width={})", width(&node.columns));
    }
    let metrics = &node.metrics;
    if options.analyze {
        let get = |v: &std::sync::atomic::AtomicU64| v.load(Ordering::Relaxed);
        let (first, last, loops) = (get(&metrics.first), get(&metrics.last), get(&metrics.loops));
        if loops == 0 {
            line.push_str(" (never executed)");
        } else if options.timing {
            let (first, last) = (first as f64 / 1e6, last as f64 / 1e6);
            let rows = get(&metrics.rows);
            let _ = write!(line, " (actual time={first:.3}..{last:.3} rows={rows} loops={loops})");
        } else {
            let _ = write!(line, " (actual rows={} loops={loops})", get(&metrics.rows));
        }
    }
    lines.push(line);
    let indent = " ".repeat(indent);
    if options.verbose {
        let names: Vec<&str> = node.columns.iter().map(|c| c.name.as_str()).collect();
        lines.push(format!("{indent}Output: {}", names.join(", ")));
    }
    for (key, value) in &description.details {
        lines.push(format!("{indent}{key}: {value}"));
    }
    if options.analyze {
        for (key, value) in metrics.notes.lock().iter() {
            lines.push(format!("{indent}{key}: {value}"));
        }
        let filtered = metrics.filtered.load(Ordering::Relaxed);
        if filtered > 0 {
            lines.push(format!("{indent}Rows Removed by Runtime Filter: {filtered}"));
        }
        let memory = metrics.memory.load(Ordering::Relaxed);
        if memory > 0 {
            lines.push(format!("{indent}Memory: {} kB", memory.div_ceil(1024)));
        }
    }
    let query = |of_rows: bool, lines: &mut Vec<String>| {
        for (_, query) in node.queries.iter().filter(|query| query.0 == of_rows) {
            lines.push(format!("{indent}{}", if of_rows { SUB_PLAN } else { INIT_PLAN }));
            // What it did is counted where it runs.
            let mut below = Vec::new();
            text(query, depth + 1, &ExplainOptions { analyze: false, ..*options }, &mut below);
            lines.extend(below.into_iter().map(|line| format!("  {line}")));
        }
    };
    query(false, lines);
    for child in node.operator.children() {
        text(child, depth + 1, options, lines);
    }
    query(true, lines);
}

/// What a query that runs once is called, and one that runs for each row.
const INIT_PLAN: &str = "InitPlan";
const SUB_PLAN: &str = "SubPlan";

fn json(node: &Node, options: &ExplainOptions) -> serde_json::Value {
    let description = node.operator.describe();
    let mut map = serde_json::Map::new();
    map.insert("Node Type".into(), description.name.into());
    if options.costs {
        map.insert("Startup Cost".into(), 0.0.into());
        map.insert("Total Cost".into(), 0.0.into());
        map.insert("Plan Rows".into(), (node.estimate().round() as u64).into());
        map.insert("Plan Width".into(), width(&node.columns).into());
    }
    let metrics = &node.metrics;
    if options.analyze {
        let get = |v: &std::sync::atomic::AtomicU64| v.load(Ordering::Relaxed);
        if options.timing {
            map.insert("Actual Startup Time".into(), (get(&metrics.first) as f64 / 1e6).into());
            map.insert("Actual Total Time".into(), (get(&metrics.last) as f64 / 1e6).into());
        }
        map.insert("Actual Rows".into(), get(&metrics.rows).into());
        map.insert("Actual Loops".into(), get(&metrics.loops).into());
        if get(&metrics.filtered) > 0 {
            map.insert("Rows Removed by Runtime Filter".into(), get(&metrics.filtered).into());
        }
        map.insert("Memory Bytes".into(), metrics.memory.load(Ordering::Relaxed).into());
        for (key, value) in metrics.notes.lock().iter() {
            map.insert(key.to_string(), value.clone().into());
        }
    }
    if options.verbose {
        map.insert("Output".into(), node.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>().into());
    }
    for (key, value) in description.details {
        map.insert(key.into(), value.into());
    }
    let mut children: Vec<_> = node.operator.children().into_iter().map(|child| json(child, options)).collect();
    for (of_rows, query) in &node.queries {
        let mut query = json(query, &ExplainOptions { analyze: false, ..*options });
        if let Some(map) = query.as_object_mut() {
            map.insert("Parent Relationship".into(), if *of_rows { SUB_PLAN } else { INIT_PLAN }.into());
        }
        children.push(query);
    }
    if !children.is_empty() {
        map.insert("Plans".into(), children.into());
    }
    map.into()
}

/// An expression as SQL, more or less; `names` are those of the input's columns.
pub(crate) fn expression(expr: &Expr, names: &[String]) -> String {
    let one = |e: &Expr| expression(e, names);
    let list = |l: &[Expr], with: &str| l.iter().map(one).collect::<Vec<_>>().join(with);
    match &expr.kind {
        ExprKind::Column(i) => names.get(*i).cloned().unwrap_or_else(|| format!("column{}", i + 1)),
        ExprKind::Outer { column, .. } => format!("outer.column{}", column + 1),
        ExprKind::Literal(value) if value.ty.is_number() || value.is_null() || value.ty == weir_sql::Type::Bool => {
            value.to_string()
        }
        ExprKind::Literal(value) => match value.as_str() {
            Some(_) => format!("{value}::{}", value.ty),
            None => {
                let text = crate::format::text_at(&value.ty, &value.array, 0, &Default::default());
                format!("'{}'::{}", text.unwrap_or_default(), value.ty)
            }
        },
        ExprKind::Parameter(i) => format!("${}", i + 1),
        ExprKind::Call { name, args, .. } => {
            let symbol = !name.starts_with(|c: char| c.is_alphabetic() || c == '_');
            match args.as_slice() {
                [left, right] if symbol => format!("({} {name} {})", one(left), one(right)),
                [right] if symbol => format!("({name} {})", one(right)),
                _ => format!("{name}({})", list(args, ", ")),
            }
        }
        ExprKind::Cast { expr: input, .. } => format!("({})::{}", one(input), expr.ty),
        ExprKind::And(parts) => format!("({})", list(parts, " AND ")),
        ExprKind::Or(parts) => format!("({})", list(parts, " OR ")),
        ExprKind::Not(input) => format!("(NOT {})", one(input)),
        ExprKind::IsNull(input) => format!("({} IS NULL)", one(input)),
        ExprKind::Case { branches, otherwise } => {
            let mut text = String::from("CASE");
            for (condition, result) in branches {
                let _ = write!(text, " WHEN {} THEN {}", one(condition), one(result));
            }
            if let Some(otherwise) = otherwise {
                let _ = write!(text, " ELSE {}", one(otherwise));
            }
            text + " END"
        }
        ExprKind::Coalesce(parts) => format!("COALESCE({})", list(parts, ", ")),
        ExprKind::InList { expr, list: values } => format!("({} IN ({}))", one(expr), list(values, ", ")),
        ExprKind::Array(parts) => format!("ARRAY[{}]", list(parts, ", ")),
        ExprKind::Row(parts) => format!("ROW({})", list(parts, ", ")),
        ExprKind::Field(input, index) => format!("({}).f{}", one(input), index + 1),
        ExprKind::Quantified { left, name, array, all, .. } => {
            format!("({} {name} {} ({}))", one(left), if *all { "ALL" } else { "ANY" }, one(array))
        }
        ExprKind::Subquery(subquery) => {
            let how = match &subquery.kind {
                SubqueryKind::Scalar => "".into(),
                SubqueryKind::Exists => "EXISTS ".into(),
                SubqueryKind::Array => "ARRAY ".into(),
                SubqueryKind::Any { left, .. } => format!("{} = ANY ", list(left, ", ")),
                SubqueryKind::All { left, .. } => format!("{} = ALL ", list(left, ", ")),
            };
            format!("{how}({})", if subquery.correlated { SUB_PLAN } else { INIT_PLAN })
        }
        ExprKind::Lambda(lambda) => {
            let params = &lambda.params;
            let body = weir_sql::walk::inline(&lambda.body, &|column| params.len() + column);
            let body = expression(&body, &[params.as_slice(), names].concat());
            match params.as_slice() {
                [one] => format!("{one} -> {body}"),
                several => format!("({}) -> {body}", several.join(", ")),
            }
        }
    }
}

/// Several.
pub(crate) fn expressions<'a>(exprs: impl IntoIterator<Item = &'a Expr>, names: &[String]) -> String {
    exprs.into_iter().map(|e| expression(e, names)).collect::<Vec<_>>().join(", ")
}

/// Sort keys.
pub(crate) fn sort_keys(keys: &[SortKey], names: &[String]) -> String {
    let key = |key: &SortKey| {
        let nulls = match (key.descending, key.nulls_first) {
            (false, true) => " NULLS FIRST",
            (true, false) => " NULLS LAST",
            _ => "",
        };
        format!("{}{}{nulls}", expression(&key.expr, names), if key.descending { " DESC" } else { "" })
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// The names of columns.
pub(crate) fn names(columns: &[OutputColumn]) -> Vec<String> {
    columns.iter().map(|c| c.name.clone()).collect()
}
