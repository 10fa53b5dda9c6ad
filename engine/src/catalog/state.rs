//! The catalogue at one version: an immutable index over the definitions that a snapshot holds.
//!
//! It is built again whenever the snapshot's catalogue version moves (or a transaction has DDL of its own pending), and shared by all
//! sessions that read that version.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Schema, SchemaRef};
use weir_sql::catalog::{Catalog, ColumnInfo, Relation, RelationKind};
use weir_sql::collation::Collation;
use weir_sql::plan::Plan;

use super::alert::AlertDef;
use super::definition::{FIRST_USER_OID, Kind, RelationDef, SchemaDef};
use super::system;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::ViewPlan;

/// Where relations' definitions are kept.
pub const RELATION_PREFIX: &str = "catalog/relation/";
/// Where schemas' definitions are kept.
pub const SCHEMA_PREFIX: &str = "catalog/schema/";
/// Where alerts' definitions are kept.
pub const ALERT_PREFIX: &str = "catalog/alert/";
/// Where the next oid is kept.
pub const NEXT_OID: &str = "catalog/next_oid";

/// Schemas that are always there, with their oids.
pub const FIXED_SCHEMAS: [(&str, u32); 4] =
    [("pg_catalog", 11), ("public", 2200), ("weir", 2201), ("information_schema", 13207)];

/// A relation of the catalogue: its definition, and as the binder sees it.
#[derive(Debug)]
pub struct Entry {
    /// What is kept.
    pub def: RelationDef,
    /// As the binder sees it.
    pub relation: Arc<Relation>,
    /// A materialized view's SELECT, split; made when it is first needed.
    pub(crate) view_plan: OnceLock<Arc<ViewPlan>>,
    /// What a transform computes, as rows of the table that it is for, or what a sink sends; made when it is first needed.
    pub(crate) plan: OnceLock<Arc<Plan>>,
}

impl Entry {
    pub(crate) fn new(def: RelationDef) -> Entry {
        let kind = match (def.kind, &def.query) {
            (Kind::Table | Kind::Sink, _) | (_, None) => RelationKind::Table,
            (Kind::View, Some(query)) => RelationKind::View { query: query.clone() },
            (Kind::Materialized, Some(_)) => RelationKind::MaterializedView,
        };
        let relation = Arc::new(Relation {
            oid: def.oid,
            schema: def.schema.clone(),
            name: def.name.clone(),
            kind,
            columns: def
                .columns
                .iter()
                .map(|c| ColumnInfo {
                    name: c.name.clone(),
                    ty: c.ty.clone(),
                    nullable: c.nullable,
                    default: c.default.clone(),
                    collation: c.collation.unwrap_or(Collation::DEFAULT),
                })
                .collect(),
            primary_key: def.primary_key.clone(),
        });
        Entry { def, relation, view_plan: OnceLock::new(), plan: OnceLock::new() }
    }

    /// The Arrow schema of its columns.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.relation.columns)
    }

    /// Whether it was made to be filled by a stream: `WITH ('connector' = 'kafka', …)`.
    pub fn is_stream(&self) -> bool {
        let is_kafka = |(key, value): &(String, String)| key == "connector" && value == "kafka";
        self.def.kind == Kind::Table && self.def.options.iter().any(is_kafka)
    }

    /// `schema.name`.
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.def.schema, self.def.name)
    }
}

/// The Arrow schema of columns.
pub fn schema_of(columns: &[ColumnInfo]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|c| c.ty.field(&c.name, c.nullable)).collect::<Vec<_>>()))
}

/// The catalogue at one version.
#[derive(Debug)]
pub struct CatalogState {
    /// Storage's catalogue version.
    pub version: u64,
    schemas: BTreeMap<String, u32>,
    entries: BTreeMap<u32, Arc<Entry>>,
    alerts: BTreeMap<u32, Arc<AlertDef>>,
    by_name: HashMap<String, HashMap<String, u32>>,
    /// For each relation, the materialized views that it feeds.
    feeds: HashMap<u32, Vec<u32>>,
    sinks: Vec<u32>,
    /// For each table, the views that bring rows of it to others.
    transforms: HashMap<u32, Vec<u32>>,
    next_oid: u32,
}

impl CatalogState {
    /// Reads the definitions of a key-value map.
    pub fn load<'a>(version: u64, pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<CatalogState> {
        let mut state = CatalogState {
            version,
            schemas: FIXED_SCHEMAS.iter().map(|(name, oid)| (name.to_string(), *oid)).collect(),
            entries: BTreeMap::new(),
            alerts: BTreeMap::new(),
            by_name: HashMap::new(),
            feeds: HashMap::new(),
            sinks: Vec::new(),
            transforms: HashMap::new(),
            next_oid: FIRST_USER_OID,
        };
        for (key, value) in pairs {
            if key.starts_with(RELATION_PREFIX) {
                let def: RelationDef = serde_json::from_slice(value).map_err(|e| damaged(key, &e))?;
                if def.keeps_states() {
                    for input in def.depends.iter().filter(|input| def.late_table() != Some(**input)) {
                        state.feeds.entry(*input).or_default().push(def.oid);
                    }
                }
                state.sinks.extend(def.sink.is_some().then_some(def.oid));
                if let Some(transform) = &def.transform {
                    state.transforms.entry(transform.from).or_default().push(def.oid);
                }
                state.by_name.entry(def.schema.clone()).or_default().insert(def.name.clone(), def.oid);
                state.next_oid = state.next_oid.max(def.oid + 1);
                state.entries.insert(def.oid, Arc::new(Entry::new(def)));
            } else if key.starts_with(SCHEMA_PREFIX) {
                let def: SchemaDef = serde_json::from_slice(value).map_err(|e| damaged(key, &e))?;
                state.next_oid = state.next_oid.max(def.oid + 1);
                state.schemas.insert(def.name, def.oid);
            } else if key.starts_with(ALERT_PREFIX) {
                let def: AlertDef = serde_json::from_slice(value).map_err(|e| damaged(key, &e))?;
                state.next_oid = state.next_oid.max(def.oid + 1);
                state.alerts.insert(def.oid, Arc::new(def));
            } else if key == NEXT_OID {
                let next = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                state.next_oid = state.next_oid.max(next);
            }
        }
        Ok(state)
    }

    /// The smallest oid never given out.
    pub fn next_oid(&self) -> u32 {
        self.next_oid
    }

    /// All schemas: name and oid.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, u32)> {
        self.schemas.iter().map(|(name, oid)| (name.as_str(), *oid))
    }

    /// A schema's oid.
    pub fn schema_oid(&self, name: &str) -> Option<u32> {
        self.schemas.get(name).copied()
    }

    /// All users' relations, by oid; views that are being built among them.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// A user's relation.
    pub fn entry(&self, oid: u32) -> Option<&Arc<Entry>> {
        self.entries.get(&oid)
    }

    /// A user's relation by name, in one schema.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Arc<Entry>> {
        self.by_name.get(schema)?.get(name).and_then(|oid| self.entries.get(oid))
    }

    /// The materialized views that this relation feeds.
    pub fn fed_by(&self, oid: u32) -> impl Iterator<Item = &Arc<Entry>> {
        self.feeds.get(&oid).into_iter().flatten().filter_map(|view| self.entries.get(view))
    }

    /// All sinks.
    pub fn sinks(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.sinks.iter().filter_map(|sink| self.entries.get(sink))
    }

    /// The views that bring what comes to this table to another.
    pub fn transforms_of(&self, oid: u32) -> impl Iterator<Item = &Arc<Entry>> {
        self.transforms.get(&oid).into_iter().flatten().filter_map(|view| self.entries.get(view))
    }

    /// The relations whose queries read this one.
    pub fn dependents(&self, oid: u32) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values().filter(move |entry| entry.def.depends.contains(&oid))
    }

    /// What depends on a relation, as messages name it: `view v`, `alert a`.
    pub fn dependent_names(&self, oid: u32) -> impl Iterator<Item = String> {
        let views = self.dependents(oid).map(|entry| format!("{} {}", entry.def.kind.noun(), entry.def.name));
        views.chain(self.alerts_on(oid).map(|alert| format!("alert {}", alert.name)))
    }

    /// All alerts, by oid.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<AlertDef>> {
        self.alerts.values()
    }

    /// An alert.
    pub fn alert(&self, oid: u32) -> Option<&Arc<AlertDef>> {
        self.alerts.get(&oid)
    }

    /// An alert by name, in one schema.
    pub fn find_alert(&self, schema: &str, name: &str) -> Option<&Arc<AlertDef>> {
        self.alerts().find(|alert| alert.schema == schema && alert.name == name)
    }

    /// The alerts that read or write a relation.
    pub fn alerts_on(&self, oid: u32) -> impl Iterator<Item = &Arc<AlertDef>> {
        self.alerts().filter(move |alert| alert.depends.contains(&oid))
    }

    /// Any relation by name: of one schema, or along a search path. `pg_catalog` comes first unless the path names it.
    pub fn resolve(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<Found<'_>> {
        let look = |schema: &str| {
            let user = self.find(schema, name).map(Found::User);
            user.or_else(|| system::find(schema, name).map(Found::System))
        };
        match schema {
            Some(schema) => look(schema),
            None => {
                let implicit = !path.iter().any(|s| s == "pg_catalog");
                implicit.then_some("pg_catalog").into_iter().chain(path.iter().map(String::as_str)).find_map(look)
            }
        }
    }
}

/// The catalogue as a definition's text was bound: no session, a search path of its own, views that are being built among the rest.
pub(crate) struct StateCatalog<'a> {
    /// The catalogue.
    pub(crate) state: &'a CatalogState,
    /// Where unqualified names are looked up.
    pub(crate) path: &'a [String],
}

impl Catalog for StateCatalog<'_> {
    fn relation(&self, schema: Option<&str>, name: &str) -> weir_sql::Result<Option<Arc<Relation>>> {
        Ok(self.state.resolve(schema, name, self.path).map(|found| match found {
            Found::User(entry) => entry.relation.clone(),
            Found::System(system) => system.relation.clone(),
        }))
    }

    fn relation_names(&self) -> Vec<String> {
        self.state.entries().map(|entry| entry.def.name.clone()).collect()
    }

    fn setting(&self, name: &str) -> Option<String> {
        crate::session::settings::definition(name).map(|definition| definition.shown_default())
    }
}

/// A relation that a name was resolved to.
pub enum Found<'a> {
    /// A user's.
    User(&'a Arc<Entry>),
    /// Computed.
    System(&'static system::SystemRelation),
}

impl Found<'_> {
    /// Its oid.
    pub fn oid(&self) -> u32 {
        match self {
            Found::User(entry) => entry.def.oid,
            Found::System(system) => system.relation.oid,
        }
    }
}

fn damaged(key: &str, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("the catalogue's entry \"{key}\" is damaged"))
        .with_detail(error.to_string())
}
