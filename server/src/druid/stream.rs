//! Where a spec's records come from and how they are read, as the options of a table on a Kafka topic.

use super::Given;
use super::document::{Node, Object, Result};

/// That records are JSON objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format;

/// The old form's `parser`.
pub(super) struct Parser<'a> {
    pub(super) format: Format,
    pub(super) timestamp: Option<Node<'a>>,
    pub(super) dimensions: Option<Node<'a>>,
}

/// Refuses what is no Kafka supervisor or task.
pub(super) fn check_type(kind: &Node<'_>) -> Result<()> {
    match kind.text()? {
        "kafka" | "index_kafka" => Ok(()),
        batch @ ("index_parallel" | "index" | "index_hadoop") => kind.refuse(format!(
            "{batch} is a batch, not a stream: make the table from a spec of type kafka, then INSERT INTO … SELECT … FROM read_json('…')"
        )),
        other => kind.refuse(format!("streams of type {other:?} have no counterpart in Weir: use kafka")),
    }
}

/// Reads `parser`.
pub(super) fn parser<'a>(node: &Node<'a>) -> Result<Parser<'a>> {
    let mut parser = node.object()?;
    if let Some(kind) = parser.take("type")
        && !matches!(kind.text()?, "string" | "map")
    {
        return kind.refuse("only records of JSON are read");
    }
    parser.ignore(&["encoding"]);
    let mut spec = parser.need("parseSpec")?.object()?;
    parser.end()?;
    let format = spec.need("format")?;
    if !matches!(format.text()?, "json" | "timeAndDims") {
        return format.refuse("only records of JSON are read");
    }
    let (timestamp, dimensions) = (spec.take("timestampSpec"), spec.take("dimensionsSpec"));
    json(&mut spec)?;
    spec.end()?;
    Ok(Parser { format: Format, timestamp, dimensions })
}

/// Takes what is said of JSON.
fn json(object: &mut Object<'_>) -> Result<Vec<String>> {
    if let Some(flatten) = object.take("flattenSpec") {
        let mut spec = flatten.object()?;
        if let Some(field) = spec.list("fields")?.first() {
            return field.refuse("fields within fields are not taken out: keep the object as a dimension of type json");
        }
        spec.ignore(&["useFieldDiscovery"]);
        spec.end()?;
    }
    Ok(object.ignore(&["featureSpec", "keepNullColumns", "assumeNewlineDelimited", "useJsonNodeReader"]))
}

/// The table's options. `without_effect` gets the paths of what says how Druid works.
pub(super) fn options(
    io: Option<&Node<'_>>,
    parser: Option<Format>,
    source: &str,
    given: &Given,
    notes: &mut Vec<String>,
    without_effect: &mut Vec<String>,
) -> Result<Vec<(String, String)>> {
    let (mut topic, mut brokers, mut start) = (None, None, None);
    let mut properties = Vec::new();
    if let Some(node) = io {
        let mut io = node.object()?;
        if let Some(kind) = io.take("type") {
            check_type(&kind)?;
        }
        io.refuse_member("topicPattern", "a table reads one topic: make one for each")?;
        io.refuse_member("multiTopic", "a table reads one topic: make one for each")?;
        topic = io.text("topic")?.map(str::to_string);
        if let Some(consumer) = io.take("consumerProperties") {
            for (key, value) in consumer.object()?.rest() {
                match key {
                    "bootstrap.servers" => brokers = Some(value.scalar()?),
                    // Weir keeps offsets itself, and what reads the bytes is not Java.
                    "group.id" | "enable.auto.commit" | "auto.offset.reset" | "key.deserializer"
                    | "value.deserializer" => {}
                    "sasl.jaas.config" => {
                        return value.refuse("librdkafka takes sasl.username and sasl.password in place of JAAS");
                    }
                    key if key.starts_with("druid.dynamic") => {
                        return value.refuse("this is no property of librdkafka");
                    }
                    key => properties.push((format!("properties.{key}"), value.scalar()?)),
                }
            }
        }
        let earliest = io.flag("useEarliestOffset")?.unwrap_or(false);
        start = Some(if earliest { "earliest-offset" } else { "latest-offset" });
        match (io.take("inputFormat"), parser) {
            (Some(format), _) => input_format(&format, without_effect)?,
            (None, Some(Format)) => {}
            (None, None) => return io.refuse("\"inputFormat\" is missing"),
        }
        for key in ["lateMessageRejectionPeriod", "lateMessageRejectionStartDateTime", "earlyMessageRejectionPeriod"] {
            io.refuse_any(key, "rows are taken whatever their time: filter them in a view")?;
        }
        const TASKS: [&str; 13] = [
            "taskCount",
            "replicas",
            "taskDuration",
            "startDelay",
            "period",
            "pollTimeout",
            "completionTimeout",
            "autoScalerConfig",
            "stopTaskCount",
            "idleConfig",
            "emitTimeLagMetrics",
            "serverPriorityToReplicas",
            "useTransaction",
        ];
        without_effect.extend(io.ignore(&TASKS));
        io.end()?;
    }
    let assumed =
        |what: &str, value: &str| format!("The spec does not say {what}: {value} is assumed, --{what} names another.");
    let topic = given.topic.clone().or(topic).unwrap_or_else(|| {
        notes.push(assumed("topic", source));
        source.to_string()
    });
    let brokers = given.brokers.clone().or(brokers).unwrap_or_else(|| {
        notes.push(assumed("brokers", "localhost:9092"));
        "localhost:9092".to_string()
    });
    let mut options = vec![
        ("connector".to_string(), "kafka".to_string()),
        ("topic".to_string(), topic),
        ("properties.bootstrap.servers".to_string(), brokers),
        ("format".to_string(), "json".to_string()),
    ];
    options.extend(start.map(|start| ("scan.startup.mode".to_string(), start.to_string())));
    options.extend(properties);
    Ok(options)
}

fn input_format(node: &Node<'_>, without_effect: &mut Vec<String>) -> Result<()> {
    let mut format = node.object()?;
    let kind = format.need("type")?;
    match kind.text()? {
        "json" => {}
        "kafka" => return kind.refuse("keys, headers and timestamps of Kafka's records are not read: say \"json\""),
        other => return kind.refuse(format!("records of {other} are not read: only json is")),
    }
    without_effect.extend(json(&mut format)?);
    format.end()
}
