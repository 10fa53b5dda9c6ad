//! Apache Druid's ingestion specs as SQL: a table that a Kafka topic fills, and the view that is what Druid's data source is.
//!
//! Druid keeps what it rolled up, and calls it by the data source's name. Here the table `NAME_raw` keeps each row, partitioned as Druid's segments
//! and sorted as they are, by time and dimensions; the view NAME groups it by the bucket of the query granularity, `__time`, and by the
//! dimensions, in the same commit. Where nothing is rolled up it is a plain view. What has no counterpart is a [`document::Refusal`]; what says how
//! Druid works, and changes no answer, is a comment.

mod columns;
mod document;
mod filter;
mod granularity;
mod metrics;
mod sql;
mod stream;

use serde_json::Value;

use self::columns::{Column, Columns, Element, Kind, Several};
use self::document::{Node, Object, Result};
use self::filter::Filter;
use self::granularity::Granularity;
use self::metrics::Metric;
pub(crate) use self::sql::Script;
use self::sql::{Table, View, identifier};

/// What the command line adds to a spec.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// The topic, in place of the spec's.
    pub(crate) topic: Option<String>,
    /// The brokers, in place of the spec's.
    pub(crate) brokers: Option<String>,
}

/// The SQL that does in Weir what a spec does in Druid.
pub(crate) fn convert(spec: &Value, given: &Given) -> Result<Script> {
    let mut notes = Vec::new();
    let root = Node::root(spec);
    let mut outer = root.object()?;
    let kind = outer.take("type");
    // Supervisors of old have no `spec`.
    let mut inner = outer.take("spec").map(|node| node.object()).transpose()?;
    let parts = inner.as_mut().unwrap_or(&mut outer);
    let schema = parts.need("dataSchema")?;
    let io = parts.take("ioConfig");
    let tuning = parts.ignore(&["tuningConfig"]);
    if let Some(kind) = &kind {
        stream::check_type(kind)?;
    }
    let mut without_effect = tuning;
    for mut object in [inner, Some(outer)].into_iter().flatten() {
        object.refuse_member("suspended", "a suspended supervisor reads nothing: convert it once it shall")?;
        without_effect.extend(object.ignore(&["context", "id", "resource"]));
        object.end()?;
    }
    let mut script = schema_of(&schema, &mut notes, |parser, name, notes| {
        stream::options(io.as_ref(), parser, name, given, notes, &mut without_effect)
    })?;
    if !without_effect.is_empty() {
        notes.push(format!("Without effect on what is stored: {}.", without_effect.join(", ")));
    }
    script.notes = notes;
    Ok(script)
}

/// The timestamp's column and how it is read.
struct Timestamp {
    column: String,
}

/// Converts `dataSchema`; `options` makes the table's options from the old form's parser and the data source's name.
fn schema_of<'a>(
    node: &Node<'a>,
    notes: &mut Vec<String>,
    options: impl FnOnce(Option<stream::Format>, &str, &mut Vec<String>) -> Result<Vec<(String, String)>>,
) -> Result<Script> {
    let mut schema = node.object()?;
    let source = schema.need("dataSource")?.text()?;
    let parser = schema.take("parser").map(|parser| stream::parser(&parser)).transpose()?;
    let (format, parsed) = match parser {
        Some(parser) => (Some(parser.format), Some((parser.timestamp, parser.dimensions))),
        None => (None, None),
    };
    let (own_timestamp, own_dimensions) = (schema.take("timestampSpec"), schema.take("dimensionsSpec"));
    let (old_timestamp, old_dimensions) = parsed.unwrap_or_default();
    let timestamp = timestamp(own_timestamp.or(old_timestamp), notes)?;
    let mut columns = Columns::default();
    columns.0.push(Column { name: timestamp.column.clone(), kind: Kind::Time, is_dimension: false });
    let order = match own_dimensions.or(old_dimensions) {
        Some(dimensions) => dimensions_of(&dimensions, &timestamp, &mut columns, notes)?,
        None => Order::default(),
    };
    let filter = match schema.take("transformSpec") {
        Some(transform) => transform_of(&transform, &mut columns)?,
        None => None,
    };
    let metrics = schema.list("metricsSpec")?;
    let metrics = metrics.iter().map(|metric| Metric::read(metric, &mut columns, notes));
    let metrics: Vec<Metric<'_>> = metrics.collect::<Result<_>>()?;
    let grains = granularities(&mut schema, notes)?;
    schema.refuse_member("projections", "projections are not converted: make a materialized view for each")?;
    schema.end()?;

    let mut names: Vec<&str> = vec!["__time"];
    names.extend(columns.dimensions().map(|column| column.name.as_str()));
    for metric in &metrics {
        if names.contains(&metric.name) {
            return metric.refuse(&format!("there is a column \"{}\" already", metric.name));
        }
        names.push(metric.name);
    }
    if order.discovers && grains.rolls_up {
        return node.refuse(
            "dimensions that are discovered cannot be rolled up: name them in dimensionsSpec, or say \"rollup\": false",
        );
    }

    let moment = identifier(&timestamp.column);
    let raw = format!("{source}_raw");
    let mut table = Table { name: raw, options: options(format, source, notes)?, ..Table::default() };
    let column = |column: &Column| {
        let not_null = if column.kind == Kind::Time { " NOT NULL" } else { "" };
        (column.name.clone(), format!("{}{not_null}", column.kind.sql()))
    };
    table.columns = columns.0.iter().map(column).collect();
    table.partition_by = grains.segment.bucket(&moment);
    table.order_by = order.keys(&columns, &moment);
    if order.discovers {
        table.options.push(("schema_evolution".into(), "add_columns".into()));
    }
    let mut shown = vec![(grains.bucket(&moment), "__time".to_string())];
    shown.extend(columns.dimensions().map(|column| (column.shown(), column.name.clone())));
    let keys = grains.rolls_up.then_some(shown.len());
    for metric in &metrics {
        shown.push((metric.sql(&columns, &moment, grains.rolls_up)?, metric.name.to_string()));
    }
    if order.discovers {
        notes.push("Fields that have no column get one of the raw table, where queries find them; the view shows those it names.".into());
    }
    if grains.rolls_up {
        let asked: Vec<String> = metrics.iter().filter_map(Metric::asked).collect();
        if !asked.is_empty() {
            notes.push(format!("Sketches are asked by {}.", asked.join(", ")));
        }
    }
    let filter = filter.map(|filter| filter.sql(&columns)).transpose()?;
    let view = View { name: source.to_string(), columns: shown, filter, keys };
    Ok(Script { notes: Vec::new(), table, view: Some(view) })
}

/// `timestampSpec`
fn timestamp(node: Option<Node<'_>>, notes: &mut Vec<String>) -> Result<Timestamp> {
    let Some(node) = node else { return Ok(Timestamp { column: "timestamp".into() }) };
    let mut spec = node.object()?;
    let column = spec.text("column")?.unwrap_or("timestamp").to_string();
    spec.refuse_any("missingValue", "rows without a timestamp are dead letters in Weir")?;
    if let Some(format) = spec.take("format") {
        match format.text()? {
            "auto" | "iso" | "micro" | "nano" => {}
            name @ ("millis" | "posix" | "ruby") => {
                notes.push(format!(
                    "Timestamps are of {name}; the unit of a number is told by its size, for times since 1973."
                ));
            }
            // Joda's patterns of what is ISO 8601 or SQL's form of it.
            pattern if is_iso(pattern) => {}
            other => {
                return format.refuse(format!("times of the format {other:?} are not read: write ISO 8601 or numbers"));
            }
        }
    }
    spec.end()?;
    Ok(Timestamp { column })
}

/// Whether a pattern of Joda's is one of ISO 8601.
fn is_iso(pattern: &str) -> bool {
    let plain = pattern.replace('\'', "").replace('T', " ");
    let plain = ["ZZ", "Z", "XXX", "X"].iter().find_map(|zone| plain.strip_suffix(zone)).unwrap_or(&plain).to_string();
    let plain = plain.trim_end_matches('S').trim_end_matches('.').trim_end();
    matches!(plain, "yyyy-MM-dd" | "YYYY-MM-dd" | "yyyy-MM-dd HH:mm" | "yyyy-MM-dd HH:mm:ss" | "YYYY-MM-dd HH:mm:ss")
}

/// By what rows are sorted.
#[derive(Default)]
struct Order {
    /// Whether dimensions come before the time, in their own order.
    dimensions_first: bool,
    /// Whether fields that are not named are dimensions.
    discovers: bool,
}

impl Order {
    fn keys(&self, columns: &Columns, moment: &str) -> Vec<String> {
        // Documents have no order.
        let sorted = columns.dimensions().filter(|column| column.kind != Kind::Json);
        let dimensions = sorted.map(|column| identifier(&column.name));
        match self.dimensions_first {
            true => dimensions.chain([moment.to_string()]).collect(),
            false => [moment.to_string()].into_iter().chain(dimensions).collect(),
        }
    }
}

/// `dimensionsSpec`
fn dimensions_of(
    node: &Node<'_>,
    timestamp: &Timestamp,
    columns: &mut Columns,
    notes: &mut Vec<String>,
) -> Result<Order> {
    let mut spec = node.object()?;
    spec.refuse_member("spatialDimensions", "spatial dimensions have no counterpart in Weir")?;
    let dimensions = spec.list("dimensions")?;
    let discovers = spec.flag("useSchemaDiscovery")?.unwrap_or(false)
        || spec.flag("includeAllDimensions")?.unwrap_or(false)
        || dimensions.is_empty();
    if discovers {
        spec.refuse_member(
            "dimensionExclusions",
            "dimensions that are discovered come all: name those that are wanted",
        )?;
    } else {
        // What is not named has no column.
        spec.ignore(&["dimensionExclusions"]);
    }
    let dimensions_first = spec.flag("forceSegmentSortByTime")? == Some(false);
    spec.end()?;
    for node in &dimensions {
        let (name, kind) = dimension(node)?;
        if name == "__time" && dimensions_first {
            continue;
        }
        if name == "__time" || name == timestamp.column || columns.get(name).is_some() {
            return node.refuse(format!("there is a column \"{name}\" already"));
        }
        if let Kind::List(..) = kind {
            notes.push(format!(
                "Records hold an array in \"{name}\", also of one value: anything else is a dead letter."
            ));
        }
        columns.0.push(Column { name: name.to_string(), kind, is_dimension: true });
    }
    Ok(Order { dimensions_first, discovers })
}

fn dimension<'a>(node: &Node<'a>) -> Result<(&'a str, Kind)> {
    if let Ok(name) = node.text() {
        return Ok((name, Kind::Text));
    }
    let mut object = node.object()?;
    let name = object.need("name")?.text()?;
    object.ignore(&["createBitmapIndex", "formatVersion"]);
    let ty = object.take("type");
    let several = match object.take("multiValueHandling") {
        None => None,
        Some(handling) => Some(match handling.text()?.to_ascii_uppercase().as_str() {
            "SORTED_ARRAY" => Several::Sorted,
            "SORTED_SET" => Several::Distinct,
            "ARRAY" => Several::AsTheyCome,
            other => return handling.refuse(format!("{other:?} is no way to handle several values")),
        }),
    };
    let kind = match ty.as_ref().map_or(Ok("string"), |ty| ty.text())? {
        "string" => several.map_or(Kind::Text, |several| Kind::List(Element::Text, several)),
        "long" => Kind::Long,
        "double" => Kind::Double,
        "float" => Kind::Float,
        "json" => Kind::Json,
        "auto" => {
            let cast = object.need("castToType")?;
            match cast.text()?.to_ascii_uppercase().as_str() {
                "STRING" => Kind::Text,
                "LONG" => Kind::Long,
                "DOUBLE" => Kind::Double,
                "FLOAT" => Kind::Float,
                "ARRAY<STRING>" => Kind::List(Element::Text, Several::AsTheyCome),
                "ARRAY<LONG>" => Kind::List(Element::Long, Several::AsTheyCome),
                "ARRAY<DOUBLE>" => Kind::List(Element::Double, Several::AsTheyCome),
                other => return cast.refuse(format!("the type {other:?} has no counterpart in Weir")),
            }
        }
        other => return node.refuse(format!("a dimension of type {other:?} has no counterpart in Weir")),
    };
    object.end()?;
    Ok((name, kind))
}

/// `transformSpec`: its filter.
fn transform_of<'a>(node: &Node<'a>, columns: &mut Columns) -> Result<Option<Filter<'a>>> {
    let mut spec = node.object()?;
    if let Some(transform) = spec.list("transforms")?.first() {
        return transform
            .refuse("transforms are not converted: let the producer compute the field, or a view of your own");
    }
    let filter = spec.take("filter").map(|filter| Filter::read(&filter, columns)).transpose()?;
    spec.end()?;
    Ok(filter)
}

/// `granularitySpec`
struct Grains {
    segment: Granularity,
    query: Granularity,
    rolls_up: bool,
}

impl Grains {
    /// The time that rows are shown with.
    fn bucket(&self, moment: &str) -> String {
        match &self.query {
            // Nothing that is equal in its milliseconds becomes one row.
            Granularity::None if !self.rolls_up => moment.to_string(),
            // All time of a segment is its beginning.
            query => query.bucket(moment).or_else(|| self.segment.bucket(moment)).unwrap_or_else(|| moment.to_string()),
        }
    }
}

fn granularities(schema: &mut Object<'_>, notes: &mut Vec<String>) -> Result<Grains> {
    let day = Granularity::Unit("day", "UTC".into());
    let Some(node) = schema.take("granularitySpec") else {
        return Ok(Grains { segment: day, query: Granularity::None, rolls_up: true });
    };
    let mut spec = node.object()?;
    if let Some(kind) = spec.take("type")
        && kind.text()? != "uniform"
    {
        return kind.refuse("segments of arbitrary intervals have no counterpart: partitions are of one granularity");
    }
    let segment_node = spec.take("segmentGranularity");
    let segment = segment_node.as_ref().map_or(Ok(day), Granularity::read)?;
    if let (Granularity::None, Some(node)) = (&segment, &segment_node) {
        return node.refuse("a partition for each millisecond is too many");
    }
    let query_node = spec.take("queryGranularity");
    let query = query_node.as_ref().map_or(Ok(Granularity::None), Granularity::read)?;
    if let (Granularity::All, Granularity::All, Some(node)) = (&segment, &query, &query_node) {
        return node.refuse("all time as one row has no counterpart: give segments a granularity");
    }
    let rolls_up = spec.flag("rollup")?.unwrap_or(true);
    for path in spec.ignore(&["intervals"]) {
        notes.push(format!("A stream is not limited to {path}."));
    }
    spec.end()?;
    Ok(Grains { segment, query, rolls_up })
}
