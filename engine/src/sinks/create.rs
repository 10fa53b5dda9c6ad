//! CREATE SINK, and the INSERT … SELECT of a stream into a stream, which goes on as a sink.

use std::sync::Arc;

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::Type;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::{CreateSink, Emit, Insert, InsertedQuery, ObjectName, SinkSource, Statement};
use weir_storage::{Change, TableId};

use super::closing::Standing;
use super::{KeyColumn, Source};
use crate::catalog::{CatalogState, Entry, Kind, RelationDef, SinkDef, SinkMode};
use crate::error::{Error, Result};
use crate::exec::ViewPlan;
use crate::format::quote_identifier;
use crate::functions::registry;
use crate::session::context::TEMPORARY;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity, View};
use crate::statement::define::{blank, define, dependencies, done, set_relation, view_columns};
use crate::statement::names::{already_exists, sql_error, taken, target_schema};
use crate::statement::table::{output_columns, storage_def};
use crate::views;

const COMMAND: &str = "CREATE SINK";

/// CREATE SINK.
pub(crate) fn create(session: &mut Session, running: &Running, create: &CreateSink) -> Result<Outcome> {
    session.writable(COMMAND)?;
    let schema = target_schema(&running.view, &create.name)?;
    if taken(&running.view, &schema, &create.name.name) {
        if create.if_not_exists {
            let message = format!("relation \"{}\" already exists, skipping", create.name.name);
            session.notice(Severity::Notice, "42P07", message);
            return done(COMMAND);
        }
        return Err(already_exists(&create.name.name));
    }
    let (view, from, owns) = match &create.source {
        SinkSource::Relation(name) => (running.view.clone(), named(&running.view, name)?, false),
        SinkSource::Query(query) => {
            views::create(session, running, query)?;
            let view = Arc::new(session.view()?);
            let from = view.state.find(&schema, &query.name.name).cloned();
            (view, from.ok_or_else(|| Error::internal("a sink's view is not there"))?, true)
        }
    };
    check_source(&from)?;
    let into = create.table.as_ref().map(|name| named(&running.view, name)).transpose()?;
    let columns = output_columns(&from.relation);
    let list: Vec<String> = columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let (from_schema, from_name) = (quote_identifier(&from.def.schema), quote_identifier(&from.def.name));
    let mut def = RelationDef {
        query: Some(format!("SELECT {} FROM {from_schema}.{from_name}", list.join(", "))),
        depends: std::iter::once(from.def.oid).chain(into.iter().map(|into| into.def.oid)).collect(),
        ..blank(session.database.new_oid(), schema, &create.name.name, Kind::Sink, Vec::new())
    };
    let mut asked = Asked::of(&create.options, into.is_some())?;
    def.sink = Some(SinkDef {
        from: from.def.oid,
        owns,
        mode: SinkMode::Append,
        key: Vec::new(),
        into: into.as_ref().map(|into| into.def.oid),
    });
    let source = Source::of(&view.state, &Entry::new(def.clone()))?;
    let key = source.key(&view.state)?;
    let closes = from.def.shows_closed();
    let grouped = is_grouped(&view.state, &from)?;
    let changes = grouped || key.is_some();
    let mode = asked.mode.unwrap_or(if changes && !closes { SinkMode::Upsert } else { SinkMode::Append });
    let mode = if closes && mode == SinkMode::Append { SinkMode::Close } else { mode };
    let payload = match (mode, &key) {
        (SinkMode::Close, _) => Vec::new(),
        _ if closes => return Err(not_upsert(&from)),
        (SinkMode::Upsert, Some(key)) => key_payload(key),
        (SinkMode::Upsert, None) => return Err(no_key(&from)),
        (SinkMode::Append, _) if grouped => return Err(not_append(&from)),
        (SinkMode::Append, _) => columns.clone(),
    };
    if let Some(into) = &into {
        check_target(&view.state, &def, into, mode, key.as_deref(), &columns)?;
    }
    let own = [("weir_sequence", Type::Int8), ("weir_epoch", Type::Int8)];
    let own = own.map(|(name, ty)| OutputColumn::computed(name, ty));
    def.columns = view_columns(&own.into_iter().chain(payload).collect::<Vec<_>>());
    def.building = asked.snapshot && !closes;
    if let Some(sink) = &mut def.sink {
        sink.mode = mode;
        sink.key = asked.key.iter().map(|name| column_named(&columns, name)).collect::<Result<_>>()?;
    }
    if into.is_none() {
        // Whoever has this id writes for this sink; two databases must not have the same.
        let id = format!("weir-{}", uuid::Uuid::new_v4());
        asked.options.push(("transactional.id".to_string(), id));
    }
    def.options = asked.options;
    let table = storage_def(&def, Entry::new(def.clone()).schema());
    let mut changes = vec![Change::CreateTable { id: TableId(def.oid), def: table }, set_relation(&def)?];
    if closes && !asked.snapshot {
        changes.push(Standing::behind(&view.state, &view.snapshot, &from).kept(def.oid)?);
    }
    define(session, running, changes)?;
    if def.building {
        session.transaction()?.pending.views.push(def.oid);
    }
    if into.is_some() {
        session.database.watch_sinks();
    }
    done(COMMAND)
}

/// The view that goes with a sink which is dropped.
pub(crate) fn owned(def: &RelationDef) -> Option<u32> {
    def.sink.as_ref().filter(|sink| sink.owns).map(|sink| sink.from)
}

/// What the options ask for.
struct Asked {
    mode: Option<SinkMode>,
    /// Names of the columns of a record's key.
    key: Vec<String>,
    /// Whether what is there already is sent too.
    snapshot: bool,
    /// What is left for who sends, in one spelling each.
    options: Vec<(String, String)>,
}

impl Asked {
    fn of(options: &[(String, String)], into_table: bool) -> Result<Asked> {
        let mut asked = Asked { mode: None, key: Vec::new(), snapshot: true, options: Vec::new() };
        for (name, value) in options {
            let mut keep = |name: &str| asked.options.push((name.to_string(), value.clone()));
            match name.as_str() {
                "mode" | "type" => asked.mode = Some(mode_of(value)?),
                "key" | "key.fields" | "primary_key" => {
                    asked.key = value.split([',', ';']).map(|name| name.trim().to_string()).collect();
                }
                "snapshot" => asked.snapshot = !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0"),
                "connector" if into_table => return Err(invalid("a sink INTO a table has no connector".to_string())),
                "connector" if value == "kafka" => keep(name),
                "connector" => return Err(invalid(format!("sink connector '{value}' is not supported: use 'kafka'"))),
                "format" | "value.format" if value.eq_ignore_ascii_case("json") => keep("format"),
                "format" | "value.format" => {
                    return Err(invalid(format!("sink format '{value}' is not supported: use 'json'")));
                }
                "brokers" | "bootstrap.servers" | "properties.bootstrap.server" | "properties.bootstrap.servers" => {
                    keep("properties.bootstrap.servers");
                }
                "topic" => keep(name),
                name if name.starts_with("properties.") => keep(name),
                name => return Err(invalid(format!("unrecognized sink option \"{name}\""))),
            }
        }
        if into_table {
            return Ok(asked);
        }
        for required in ["connector", "topic", "properties.bootstrap.servers"] {
            if !asked.options.iter().any(|(name, value)| name == required && !value.is_empty()) {
                let message = format!("option '{required}' is missing");
                let hint = "For example: INTO KAFKA (topic = 'out', brokers = 'localhost:9092').";
                return Err(invalid(message).with_hint(hint));
            }
        }
        Ok(asked)
    }
}

fn invalid(message: String) -> Error {
    sql_error(SqlErrorKind::InvalidParameter, message)
}

fn mode_of(value: &str) -> Result<SinkMode> {
    match value.to_ascii_lowercase().as_str() {
        "append" | "append-only" => Ok(SinkMode::Append),
        "upsert" => Ok(SinkMode::Upsert),
        _ => Err(invalid(format!("sink mode '{value}' is not supported: use 'append' or 'upsert'"))),
    }
}

/// A user's relation that was there when the statement was bound.
fn named(view: &View, name: &ObjectName) -> Result<Arc<Entry>> {
    let entry = view.state.find(name.schema.as_deref().unwrap_or_default(), &name.name);
    entry.cloned().ok_or_else(|| {
        let message = format!("cannot make a sink of system relation \"{}\"", name.name);
        sql_error(SqlErrorKind::WrongObjectType, message)
    })
}

fn check_source(from: &Entry) -> Result<()> {
    let name = &from.def.name;
    match from.def.kind {
        Kind::Table | Kind::Materialized if !from.def.schema.starts_with(TEMPORARY) => Ok(()),
        Kind::View => {
            let message = format!("cannot make a sink of view \"{name}\"");
            Err(sql_error(SqlErrorKind::WrongObjectType, message)
                .with_hint(format!("Make it of its query: CREATE SINK … AS SELECT * FROM {name}.")))
        }
        _ => Err(sql_error(SqlErrorKind::WrongObjectType, format!("cannot make a sink of \"{name}\""))),
    }
}

/// Whether a relation's rows change as more comes in.
fn is_grouped(state: &CatalogState, from: &Entry) -> Result<bool> {
    Ok(from.def.keeps_states() && views::plan_of(state, from)?.key_columns().is_some())
}

fn key_payload(key: &[KeyColumn]) -> Vec<OutputColumn> {
    let column = |(at, key): (usize, &KeyColumn)| OutputColumn::computed(format!("key_{at}"), key.ty.clone());
    key.iter().enumerate().map(column).collect()
}

fn no_key(from: &Entry) -> Error {
    let message = format!("{} \"{}\" has no key for mode = upsert", from.def.kind.noun(), from.def.name);
    sql_error(SqlErrorKind::InvalidDefinition, message)
        .with_hint("Use mode = append, a table with a primary key, or a view that shows all columns it groups by.")
}

fn not_append(from: &Entry) -> Error {
    let message = format!("the rows of materialized view \"{}\" change: mode = append cannot say so", from.def.name);
    sql_error(SqlErrorKind::InvalidDefinition, message).with_hint("Use mode = upsert.")
}

fn not_upsert(from: &Entry) -> Error {
    let message =
        format!("materialized view \"{}\" gives each window once: mode = upsert says what changes", from.def.name);
    sql_error(SqlErrorKind::InvalidDefinition, message).with_hint("Use mode = append.")
}

fn column_named(columns: &[OutputColumn], name: &str) -> Result<usize> {
    columns.iter().position(|column| column.name == *name).ok_or_else(|| {
        let message = format!("key column \"{name}\" of the sink does not exist");
        sql_error(SqlErrorKind::UndefinedColumn, message)
    })
}

/// Whether the rows fit the table, and its key tells them apart.
fn check_target(
    state: &CatalogState,
    sink: &RelationDef,
    into: &Entry,
    mode: SinkMode,
    key: Option<&[KeyColumn]>,
    columns: &[OutputColumn],
) -> Result<()> {
    super::table::insert(state, sink, into)?;
    if mode != SinkMode::Upsert {
        return Ok(());
    }
    // Rows of different keys of the sink must not take each other's place.
    let Some(theirs) = into.def.key() else { return Ok(()) };
    let own: Vec<&str> = key.unwrap_or_default().iter().map(|key| columns[key.sent].name.as_str()).collect();
    let theirs: Vec<&str> = theirs.iter().map(|&column| into.def.columns[column].name.as_str()).collect();
    if own.iter().all(|name| theirs.contains(name)) {
        return Ok(());
    }
    let message = format!("the key of table \"{}\" is less than the sink's", into.def.name);
    Err(sql_error(SqlErrorKind::InvalidDefinition, message).with_detail(format!(
        "The sink's is ({}), the table's ({}).",
        own.join(", "),
        theirs.join(", ")
    )))
}

/// INSERT … SELECT of what a stream fills into a table with a connector: it goes on, as a sink. `None` if it does not.
pub(crate) fn running(
    session: &mut Session,
    running: &Running,
    insert: &Insert,
    target: &Entry,
) -> Result<Option<Outcome>> {
    let (Some(connector), Some(query)) = (connector(&target.def), &insert.query) else { return Ok(None) };
    if insert.returning.is_some() || !reads_stream(&running.view, query)? {
        return Ok(None);
    }
    let view = &running.view;
    let name = |n: usize| match n {
        0 => format!("{}_sink", target.def.name),
        n => format!("{}_sink_{}", target.def.name, n + 1),
    };
    let name = (0..).map(name).find(|name| !taken(view, &target.def.schema, name)).unwrap_or_default();
    let name = ObjectName { schema: Some(target.def.schema.clone()), name };
    let names = query.columns.iter().map(|&column| quote_identifier(&target.def.columns[column].name));
    let text = format!(
        "CREATE MATERIALIZED VIEW {}.{} ({}) AS {}",
        quote_identifier(&target.def.schema),
        quote_identifier(&format!("{}_query", name.name)),
        names.collect::<Vec<_>>().join(", "),
        query.text
    );
    let parsed = weir_sql::parse::parse(&text)?;
    let bound = weir_sql::bind::bind(&parsed[0], &**view, registry(), &[])?;
    let Statement::CreateMaterializedView(mut of_query) = bound.statement else {
        return Err(Error::internal("a view's definition is none"));
    };
    let is_kafka = connector.ends_with("kafka");
    if connector == "kafka" && ViewPlan::new(&of_query.plan)?.key_columns().is_some() {
        // What is in a topic stays there: a group is written once, when its window closes, as Flink does.
        of_query.emit = Some(Emit::OnWindowClose);
    }
    let options = match is_kafka {
        true => kafka_options(&target.def, connector),
        false => Vec::new(),
    };
    let table = ObjectName { schema: Some(target.def.schema.clone()), name: target.def.name.clone() };
    let statement = CreateSink {
        name: name.clone(),
        if_not_exists: false,
        source: SinkSource::Query(Box::new(of_query)),
        table: (!is_kafka).then_some(table),
        options,
    };
    create(session, running, &statement)?;
    let message = format!("the statement goes on as sink \"{}\" until DROP SINK", name.name);
    session.notice(Severity::Notice, "00000", message);
    Ok(Some(Outcome::Command { tag: "INSERT 0 0".into() }))
}

fn connector(def: &RelationDef) -> Option<&str> {
    def.options.iter().find(|(name, _)| name == "connector").map(|(_, connector)| connector.as_str())
}

/// A sink's options after those of a table in Flink's form.
fn kafka_options(def: &RelationDef, connector: &str) -> Vec<(String, String)> {
    let mode = if connector == "upsert-kafka" { "upsert" } else { "append" };
    let own = [("connector", "kafka"), ("mode", mode)].map(|(name, value)| (name.to_string(), value.to_string()));
    let kept = |name: &str| matches!(name, "topic" | "format" | "value.format" | "key.fields");
    let kept = def.options.iter().filter(|(name, _)| kept(name) || name.starts_with("properties.")).cloned();
    own.into_iter().chain(kept).collect()
}

/// Whether a query reads what a stream fills, at any remove.
fn reads_stream(view: &View, query: &InsertedQuery) -> Result<bool> {
    let mut next = dependencies(view, &query.text)?;
    while let Some(oid) = next.pop() {
        let Some(entry) = view.state.entry(oid) else { continue };
        if entry.is_stream() {
            return Ok(true);
        }
        next.extend(&entry.def.depends);
    }
    Ok(false)
}
