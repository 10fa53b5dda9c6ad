//! CREATE SINK, bound.

use super::{CreateMaterializedView, ObjectName};

/// CREATE SINK.
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Name.
    pub name: ObjectName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// What it is fed by.
    pub source: SinkSource,
    /// INTO a table: its schema and name, resolved.
    pub table: Option<ObjectName>,
    /// INTO KAFKA (…) and WITH (…), keys in lower case.
    pub options: Vec<(String, String)>,
}

/// What a sink is fed by.
#[derive(Debug, Clone)]
pub enum SinkSource {
    /// A relation: its schema and name, resolved.
    Relation(ObjectName),
    /// A query, which becomes a materialized view of the sink's own.
    Query(Box<CreateMaterializedView>),
}
