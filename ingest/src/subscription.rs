//! A subscription: which topic fills which table, and how.
//!
//! It comes from `[[kafka]]` in `weir.toml` or from `CREATE TABLE … WITH ('connector' = 'kafka', …)` in Flink's spelling.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_engine::ingest::Subscription as TableSubscription;
use weir_engine::{Rebuild, ReplayFrom};

/// A table grows with its stream up to this many columns, unless an option says otherwise.
const COLUMNS_MAX: usize = 1000;

/// A topic that fills a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its name, by which it is shown.
    pub name: String,
    /// What offsets are kept under, together with the table's oid: the name, but for a table that is made anew.
    pub source: String,
    /// librdkafka's `bootstrap.servers`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The table, `name` or `schema.name`.
    pub table: String,
    /// How records are read.
    pub format: Format,
    /// Where to begin in partitions that have no committed offset.
    pub start: Start,
    /// A json, jsonb or text column that keeps the fields which have no column of their own.
    pub extra_column: Option<String>,
    /// Fields that have no column get one, as long as the table has no more columns than this.
    pub evolve_to: Option<usize>,
    /// A batch is committed when it has this many records,
    pub batch_rows: usize,
    /// or this many bytes,
    pub batch_bytes: usize,
    /// or when its first record has waited this long.
    pub batch_interval: Duration,
    /// Any librdkafka properties: TLS, SASL and the rest.
    pub properties: Vec<(String, String)>,
}

/// How records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
}

/// Where to begin in partitions that have no committed offset. A partition that is added to the topic later always begins at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record the broker has.
    Earliest,
    /// After the newest.
    Latest,
    /// At the first record of this time or later: milliseconds since the epoch.
    Timestamp(i64),
    /// Where the consumer group stands. Partitions of which it has no offset begin as this says.
    Group(NoOffset),
    /// At these offsets. Partitions that are not named begin where the consumer group stands, or else at the oldest record.
    Specific(BTreeMap<i32, i64>),
}

/// Where a partition begins of which the consumer group has no offset: `auto.offset.reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOffset {
    /// At the oldest record.
    Earliest,
    /// After the newest.
    Latest,
    /// Nowhere: it is an error.
    Error,
}

impl From<ReplayFrom> for Start {
    fn from(from: ReplayFrom) -> Start {
        match from {
            ReplayFrom::Earliest => Start::Earliest,
            ReplayFrom::Latest => Start::Latest,
            ReplayFrom::Timestamp(millis) => Start::Timestamp(millis),
            ReplayFrom::Offsets(offsets) => Start::Specific(offsets),
        }
    }
}

impl Subscription {
    /// A subscription with the usual settings.
    pub fn new(name: &str, brokers: &str, topic: &str, table: &str) -> Subscription {
        Subscription {
            name: name.to_string(),
            source: name.to_string(),
            brokers: brokers.to_string(),
            topic: topic.to_string(),
            table: table.to_string(),
            format: Format::Json,
            start: Start::Earliest,
            extra_column: None,
            evolve_to: None,
            batch_rows: 131_072,
            batch_bytes: 64 << 20,
            batch_interval: Duration::from_millis(50),
            properties: Vec::new(),
        }
    }

    /// The same for the hidden table in which its table is made anew.
    pub fn rebuilding(&self, rebuild: &Rebuild) -> Subscription {
        Subscription { name: format!("{} (rebuild)", self.name), table: rebuild.into.clone(), ..self.clone() }
    }

    /// The subscription of a table made with Flink's options.
    pub fn of_table(table: &TableSubscription) -> Result<Subscription, String> {
        Subscription::from_options(&table.table, &table.table, &table.options)
    }

    /// A subscription from Flink's options. The error names the option that is wrong.
    pub fn from_options(name: &str, table: &str, options: &[(String, String)]) -> Result<Subscription, String> {
        let mut subscription = Subscription::new(name, "", "", table);
        let (mut since, mut offsets, mut columns_max) = (None, None, COLUMNS_MAX);
        for (key, value) in options {
            match key.as_str() {
                "scan.startup.timestamp-millis" => since = Some(number(key, value)?),
                "scan.startup.specific-offsets" => offsets = Some(offsets_from(key, value)?),
                "schema_evolution.max-columns" => columns_max = number(key, value)?,
                _ => subscription.set(key, value)?,
            }
        }
        let no_offset = subscription.no_offset()?;
        match &mut subscription.start {
            Start::Timestamp(millis) => *millis = since.unwrap_or(*millis),
            Start::Group(otherwise) => *otherwise = no_offset,
            Start::Specific(at) => {
                let needs = "scan.startup.mode 'specific-offsets' needs option 'scan.startup.specific-offsets'";
                *at = offsets.ok_or(needs)?;
            }
            Start::Earliest | Start::Latest => {}
        }
        if let Some(max) = &mut subscription.evolve_to {
            *max = columns_max;
        }
        let required = [("topic", &subscription.topic), ("properties.bootstrap.servers", &subscription.brokers)];
        for (key, value) in required {
            if value.is_empty() {
                return Err(format!("option '{key}' is missing"));
            }
        }
        if let Start::Timestamp(-1) = subscription.start {
            return Err("scan.startup.mode 'timestamp' needs option 'scan.startup.timestamp-millis'".to_string());
        }
        Ok(subscription)
    }

    /// `auto.offset.reset`; as in Flink an error where it is not said.
    fn no_offset(&self) -> Result<NoOffset, String> {
        let said = self.properties.iter().find(|(key, _)| key == "auto.offset.reset");
        match said.map_or("none", |(_, value)| value.as_str()) {
            "earliest" | "smallest" | "beginning" => Ok(NoOffset::Earliest),
            "latest" | "largest" | "end" => Ok(NoOffset::Latest),
            "none" | "error" => Ok(NoOffset::Error),
            other => Err(format!("auto.offset.reset '{other}' is not supported: use 'earliest', 'latest' or 'none'")),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "connector" => {}
            "topic" => self.topic = value.to_string(),
            "properties.bootstrap.servers" => self.brokers = value.to_string(),
            "format" | "value.format" => self.format = format_of(value)?,
            "scan.startup.mode" => self.start = start_of(value)?,
            "json.extra-column" => self.extra_column = Some(value.to_string()),
            // Flink's: records that do not decode never fail a stream here, they are dead letters.
            "json.ignore-parse-errors" | "json.fail-on-missing-field" => {}
            "schema_evolution" => self.evolve_to = evolution_of(value)?.then_some(COLUMNS_MAX),
            "batch.rows" => self.batch_rows = number(key, value)?,
            "batch.bytes" => self.batch_bytes = number(key, value)?,
            "batch.interval-ms" => self.batch_interval = Duration::from_millis(number(key, value)?),
            // What is neither is an option of the table itself, such as its durability.
            _ => {
                if let Some(property) = key.strip_prefix("properties.") {
                    self.properties.push((property.to_string(), value.to_string()));
                }
            }
        }
        Ok(())
    }
}

/// Whether fields that have no column get one.
fn evolution_of(policy: &str) -> Result<bool, String> {
    match policy {
        "add_columns" => Ok(true),
        "none" => Ok(false),
        other => Err(format!("schema_evolution '{other}' is not supported: use 'add_columns' or 'none'")),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("option '{key}' is not a number: '{value}'"))
}

/// Offsets in Flink's spelling: `partition:0,offset:42;partition:1,offset:300`.
fn offsets_from(key: &str, value: &str) -> Result<BTreeMap<i32, i64>, String> {
    let one = |text: &str| {
        let (partition, offset) = text.split_once(',')?;
        let partition = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        (partition >= 0 && offset >= 0).then_some((partition, offset))
    };
    let offsets: Option<BTreeMap<i32, i64>> = value.trim().trim_end_matches(';').split(';').map(one).collect();
    offsets.ok_or_else(|| {
        format!("option '{key}' should look like 'partition:0,offset:42;partition:1,offset:300', but is '{value}'")
    })
}

/// `json`, or an error that says what there is.
pub fn format_of(name: &str) -> Result<Format, String> {
    match name {
        "json" => Ok(Format::Json),
        other => Err(format!("format '{other}' is not supported: use 'json'")),
    }
}

/// A startup mode in Flink's spelling.
pub fn start_of(mode: &str) -> Result<Start, String> {
    match mode {
        "earliest-offset" | "earliest" => Ok(Start::Earliest),
        "latest-offset" | "latest" => Ok(Start::Latest),
        // Weir's own offsets always come first, whatever the mode. What a mode needs besides comes by options of its own.
        "group-offsets" => Ok(Start::Group(NoOffset::Error)),
        "specific-offsets" => Ok(Start::Specific(BTreeMap::new())),
        "timestamp" => Ok(Start::Timestamp(-1)),
        other => Err(format!(
            "scan.startup.mode '{other}' is not supported: use 'earliest-offset', 'latest-offset', 'group-offsets', 'timestamp' or 'specific-offsets'"
        )),
    }
}
