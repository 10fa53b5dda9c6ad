//! What the catalogue keeps of each schema and relation, as JSON in the storage's key-value map.
//!
//! | key | value |
//! |---|---|
//! | `catalog/schema/OID` | [`SchemaDef`] |
//! | `catalog/relation/OID` | [`RelationDef`] |
//! | `catalog/alert/OID` | [`AlertDef`](super::AlertDef) |
//! | `catalog/next_oid` | the smallest oid never given out, in decimal |
//!
//! Expressions and queries are kept as SQL text, types by the name Postgres writes them with ([`type_from_name`] reads it back). Oids
//! of users' objects start at [`FIRST_USER_OID`] and are never used twice. Fields are only ever added, each with a default.

use serde::{Deserialize, Serialize};
use weir_sql::Type;
use weir_sql::collation::Collation;
use weir_sql::statement::Fold;
use weir_sql::types::{MAP, STATE};

use super::streaming::{EmitDef, LateDef, SinkDef};
use crate::format::{IntervalStyle, interval};

/// Oids below it are Postgres's and Weir's own.
pub const FIRST_USER_OID: u32 = 16384;

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDef {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: String,
}

/// What a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A table.
    Table,
    /// A view: a query by name.
    View,
    /// An incremental materialized view.
    Materialized,
    /// What sends the changes of a table or view on: its rows are those that wait.
    Sink,
}

impl Kind {
    /// As messages call it.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Table => "table",
            Kind::View => "view",
            Kind::Materialized => "materialized view",
            Kind::Sink => "sink",
        }
    }

    /// `pg_class.relkind`; sinks are not there.
    pub fn letter(self) -> &'static str {
        match self {
            Kind::Table | Kind::Sink => "r",
            Kind::View => "v",
            Kind::Materialized => "m",
        }
    }
}

/// A table, view or materialized view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelationDef {
    /// Its oid, which is also storage's table id.
    pub oid: u32,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its columns.
    pub columns: Vec<ColumnDef>,
    /// Of each column, what storage knows it by. Empty while they are 1, 2, 3, …: until columns are dropped or moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub column_ids: Vec<u32>,
    /// The greatest of the ids ever given out, once they are not just counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_column_id: Option<u32>,
    /// PRIMARY KEY of Postgres's form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<usize>,
    /// The sorting key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order_by: Vec<usize>,
    /// PARTITION BY, over the columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_by: Option<String>,
    /// TTL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ttl: Vec<TtlDef>,
    /// ENGINE, in ClickHouse's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Skip indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexDef>,
    /// What ENGINE makes of rows with equal sorting keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merging: Option<MergingDef>,
    /// `WITH (…)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, String)>,
    /// WATERMARK: column and expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<(usize, String)>,
    /// The SELECT of a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The search path when the view was made, which its query is bound with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_path: Vec<String>,
    /// Relations that the query reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<u32>,
    /// A materialized view that is being filled, fed by commits, or a table that is made anew of its stream: hidden from queries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub building: bool,
    /// The view whose place it takes once it is filled, or the table to which its rows go then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u32>,
    /// A materialized view that is computed again as a whole, every so many microseconds: its rows are kept as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<i64>,
    /// Where a sink stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkDef>,
    /// EMIT of a materialized view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit: Option<EmitDef>,
    /// What becomes of rows that come to a materialized view after their window is closed, if they do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LateDef>,
    /// CREATE MATERIALIZED VIEW … TO: what rows bring to another table. The relation is a view of that table's columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformDef>,
    /// Whether a materialized view has all that its table shows, and nothing else: it may answer queries on the table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_step: bool,
    /// Where that is so of young rows only: TTL takes older ones from the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeDef>,
    /// COMMENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl RelationDef {
    /// Whether a read shows closed windows alone.
    pub fn shows_closed(&self) -> bool {
        self.emit == Some(EmitDef::OnWindowClose)
    }

    /// EMIT as it is written.
    pub fn emit_text(&self) -> Option<String> {
        Some(match self.emit? {
            EmitDef::Changes => "EMIT CHANGES".to_string(),
            EmitDef::OnWindowClose => "EMIT ON WINDOW CLOSE".to_string(),
            EmitDef::Every(micros) => format!("EMIT EVERY '{}'", interval_text(micros)?),
        })
    }

    /// The table that late rows go to.
    pub fn late_table(&self) -> Option<u32> {
        match self.late {
            Some(LateDef::Side(table)) => Some(table),
            _ => None,
        }
    }

    /// Whether it is a materialized view that follows its inputs, and keeps states.
    pub fn keeps_states(&self) -> bool {
        self.kind == Kind::Materialized && self.refresh.is_none()
    }

    /// The columns of which no two rows have the same values, if there are such.
    pub fn key(&self) -> Option<Vec<usize>> {
        match &self.merging {
            Some(_) => Some(self.order_by.clone()),
            None => (!self.primary_key.is_empty()).then(|| self.primary_key.clone()),
        }
    }

    /// The column that says whether a row hides its key and is itself not shown.
    pub fn tombstones(&self) -> Option<usize> {
        match &self.merging {
            Some(MergingDef::Replacing { is_deleted, .. }) => *is_deleted,
            _ => None,
        }
    }
}

/// Which rows a table has never lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeDef {
    /// What storage knows the column by whose moment is a row's age.
    pub column: u32,
    /// Rows are younger than so many microseconds.
    pub micros: i64,
}

/// What the rows that come to a table bring to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformDef {
    /// The oid of the table that rows come to.
    pub from: u32,
    /// That of the one that gets the query's rows.
    pub into: u32,
    /// Its name, as SQL writes it.
    pub name: String,
    /// The SELECT, bound under the definition's search path.
    pub query: String,
}

/// What a table's engine makes of rows with equal sorting keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergingDef {
    /// The row of the greatest version stays, of several the last.
    Replacing {
        /// The version's column.
        version: Option<usize>,
        /// Rows with 1 in this column hide their key.
        is_deleted: Option<usize>,
    },
    /// One row with the sums of these columns.
    Summing(Vec<usize>),
    /// One row, each column folded as it says.
    Aggregating,
    /// Rows add and cancel each other.
    Collapsing {
        /// The column with 1 or -1.
        sign: usize,
        /// The version's column, which is the key's last.
        version: Option<usize>,
    },
}

impl MergingDef {
    /// The columns that it names.
    pub fn columns(&self) -> Vec<usize> {
        self.clone().columns_mut().into_iter().map(|column| *column).collect()
    }

    pub(crate) fn columns_mut(&mut self) -> Vec<&mut usize> {
        match self {
            MergingDef::Replacing { version, is_deleted } => version.iter_mut().chain(is_deleted).collect(),
            MergingDef::Summing(columns) => columns.iter_mut().collect(),
            MergingDef::Aggregating => Vec::new(),
            MergingDef::Collapsing { sign, version } => std::iter::once(sign).chain(version).collect(),
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type", with = "type_name")]
    pub ty: Type,
    /// Whether it admits NULL.
    pub nullable: bool,
    /// DEFAULT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// CODEC(…), as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// The f of SimpleAggregateFunction(f, type): how values of rows with one key become one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "fold_name")]
    pub fold: Option<Fold>,
    /// The n of DateTime64(n).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    /// COLLATE, where it is not the database's.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "collation_name")]
    pub collation: Option<Collation>,
    /// COMMENT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A rule of TTL: column + interval [WHERE condition].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtlDef {
    /// The column.
    pub column: usize,
    /// Months of the interval.
    pub months: i32,
    /// Days of it.
    pub days: i32,
    /// Microseconds of it.
    pub micros: i64,
    /// Only the column's date counts, in UTC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub day: bool,
    /// Rows for which this is not true do not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// A column's rule: the row stays, and this column of it goes back to its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<usize>,
    /// The text has a GROUP BY: expired rows become fewer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollup: bool,
    /// The rule's text.
    pub sql: String,
}

impl RelationDef {
    /// What storage knows its columns by.
    pub fn ids(&self) -> Vec<u32> {
        match self.column_ids.is_empty() {
            true => (1..=self.columns.len() as u32).collect(),
            false => self.column_ids.clone(),
        }
    }

    /// REFRESH EVERY as an interval, in Postgres's style.
    pub fn refresh_text(&self) -> Option<String> {
        interval_text(self.refresh?)
    }

    /// The table's TTL as it is written; columns have their own.
    pub fn ttl_text(&self) -> Option<String> {
        let rules: Vec<&str> = self.ttl.iter().filter(|rule| rule.of.is_none()).map(|rule| rule.sql.as_str()).collect();
        (!rules.is_empty()).then(|| rules.join(", "))
    }
}

/// Microseconds as an interval, in Postgres's style.
pub(crate) fn interval_text(micros: i64) -> Option<String> {
    let mut text = Vec::new();
    interval::write(interval::from_parts(0, 0, micros).ok()?, IntervalStyle::default(), &mut text);
    String::from_utf8(text).ok()
}

/// A skip index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexDef {
    /// Its oid, by which parts know it.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: IndexKind,
    /// Granules that are taken together.
    pub granularity: u32,
    /// What it is over.
    pub keys: Vec<IndexKey>,
    /// Parts that lack it are to get it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
}

/// What a skip index is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexKey {
    /// The expression's text.
    pub sql: String,
    /// The columns that it reads.
    pub columns: Vec<usize>,
    /// Whether it is that column itself.
    pub is_column: bool,
    /// Its type.
    #[serde(rename = "type", with = "type_name")]
    pub ty: Type,
}

/// What a skip index keeps, and with which parameters; see [`weir_storage::IndexKind`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum IndexKind {
    MinMax,
    Set(u32),
    Bloom(f64),
    Ngrams { n: u32, bytes: u32, hashes: u32, seed: u64 },
    Tokens { bytes: u32, hashes: u32, seed: u64 },
    Text,
}

mod fold_name {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use weir_sql::statement::Fold;

    pub(super) fn serialize<S: Serializer>(fold: &Option<Fold>, serializer: S) -> Result<S::Ok, S::Error> {
        fold.map(Fold::name).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fold>, D::Error> {
        let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        Fold::named(&name).map(Some).ok_or_else(|| D::Error::custom(format!("no fold is called {name}")))
    }
}

mod collation_name {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use weir_sql::collation::Collation;

    pub(super) fn serialize<S: Serializer>(collation: &Option<Collation>, serializer: S) -> Result<S::Ok, S::Error> {
        collation.map(Collation::name).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Collation>, D::Error> {
        let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let unknown = || D::Error::custom(format!("no collation is called {name}"));
        Collation::named(&name).map(Some).ok_or_else(unknown)
    }
}

mod type_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use weir_sql::Type;

    pub(super) fn serialize<S: Serializer>(ty: &Type, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(ty)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Type, D::Error> {
        let name = String::deserialize(deserializer)?;
        super::type_from_name(&name).ok_or_else(|| D::Error::custom(format!("no type is named {name}")))
    }
}

/// The type that [`Type`]'s Display wrote; `None` for records and for what is no such name.
pub fn type_from_name(name: &str) -> Option<Type> {
    if name.starts_with(MAP) {
        return weir_sql::parse::datatype::type_named(name).ok();
    }
    if let Some(element) = name.strip_suffix("[]") {
        return Some(Type::Array(Box::new(type_from_name(element)?)));
    }
    if name.starts_with(STATE) {
        return weir_sql::parse::datatype::type_named(name).ok();
    }
    let (base, modifiers) = match name.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        Some((base, modifiers)) => (base, modifiers.split(',').collect::<Vec<_>>()),
        None => (name, Vec::new()),
    };
    let length = || modifiers.first().and_then(|n| n.parse().ok());
    Some(match base {
        "boolean" => Type::Bool,
        "smallint" => Type::Int2,
        "integer" => Type::Int4,
        "bigint" => Type::Int8,
        "uint8" => Type::UInt8,
        "uint16" => Type::UInt16,
        "uint32" => Type::UInt32,
        "uint64" => Type::UInt64,
        "real" => Type::Float4,
        "double precision" => Type::Float8,
        "numeric" if modifiers.len() == 2 => {
            Type::Numeric(Some((modifiers[0].parse().ok()?, modifiers[1].parse().ok()?)))
        }
        "numeric" => Type::Numeric(None),
        "text" => Type::Text,
        "character varying" => Type::Varchar(length()),
        "character" | "bpchar" => Type::Bpchar(length()),
        "\"char\"" => Type::Char,
        "name" => Type::Name,
        "bytea" => Type::Bytea,
        "uuid" => Type::Uuid,
        "json" => Type::Json,
        "jsonb" => Type::Jsonb,
        "date" => Type::Date,
        "time without time zone" => Type::Time,
        "timestamp without time zone" => Type::Timestamp,
        "timestamp with time zone" => Type::Timestamptz,
        "interval" => Type::Interval,
        "oid" => Type::Oid,
        "regclass" => Type::Regclass,
        "regtype" => Type::Regtype,
        "regproc" => Type::Regproc,
        "regnamespace" => Type::Regnamespace,
        "regrole" => Type::Regrole,
        "unknown" => Type::Unknown,
        "void" => Type::Void,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::SinkMode;

    #[test]
    fn definitions_come_back_from_their_json() {
        let column = |name: &str, ty: Type| ColumnDef {
            name: name.into(),
            ty,
            nullable: true,
            default: None,
            codec: None,
            fold: None,
            collation: None,
            scale: None,
            comment: None,
        };
        let def = RelationDef {
            oid: 16384,
            schema: "public".into(),
            name: "t".into(),
            kind: Kind::Table,
            columns: vec![
                column("a", Type::Numeric(Some((10, 2)))),
                column("b", Type::Array(Box::new(Type::Varchar(Some(3))))),
                column("c", Type::UInt64),
                column("d", Type::Timestamptz),
                column("e", Type::Char),
                column("f", Type::Bpchar(None)),
            ],
            column_ids: vec![1, 2, 5, 4, 3, 9],
            last_column_id: Some(9),
            primary_key: vec![0],
            order_by: vec![0, 1],
            partition_by: Some("toYYYYMMDD(d)".into()),
            ttl: vec![TtlDef {
                column: 3,
                months: 0,
                days: 90,
                micros: 0,
                day: true,
                condition: Some("a > 1".into()),
                of: None,
                rollup: false,
                sql: "toDate(d) + INTERVAL 90 DAY DELETE WHERE a > 1".into(),
            }],
            engine: None,
            indexes: vec![IndexDef {
                oid: 16385,
                name: "i".into(),
                kind: IndexKind::Ngrams { n: 3, bytes: 512, hashes: 2, seed: u64::MAX },
                granularity: 4,
                keys: vec![IndexKey { sql: "lower(f)".into(), columns: vec![5], is_column: false, ty: Type::Text }],
                everywhere: true,
            }],
            merging: None,
            options: vec![("connector".into(), "kafka".into())],
            watermark: None,
            query: None,
            search_path: Vec::new(),
            depends: Vec::new(),
            building: false,
            replaces: None,
            refresh: None,
            emit: Some(EmitDef::Every(5_000_000)),
            late: Some(LateDef::Side(16390)),
            sink: Some(SinkDef { from: 16391, owns: true, mode: SinkMode::Append, key: vec![1], into: Some(16392) }),
            transform: None,
            in_step: true,
            whole: Some(WholeDef { column: 5, micros: 7 }),
            comment: Some("it's".into()),
        };
        let json = serde_json::to_vec(&def).expect("a definition is JSON");
        assert_eq!(serde_json::from_slice::<RelationDef>(&json).expect("and back"), def);
    }
}
