//! Names in definitions: which schema a new relation goes to, which relation an old name means.

use std::sync::Arc;

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::statement::ObjectName;

use crate::catalog::{Entry, Found, system};
use crate::error::{Error, ErrorKind, Result};
use crate::session::View;

/// An error of the SQL kind.
pub(crate) fn sql_error(kind: SqlErrorKind, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Sql(kind), message)
}

/// As it was written.
pub(crate) fn written(name: &ObjectName) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    }
}

/// The schema that a new relation of this name goes to.
pub(crate) fn target_schema(view: &View, name: &ObjectName) -> Result<String> {
    let schema = match &name.schema {
        Some(schema) if view.state.schema_oid(schema).is_none() => {
            return Err(sql_error(SqlErrorKind::UndefinedSchema, format!("schema \"{schema}\" does not exist")));
        }
        Some(schema) => schema.clone(),
        None => view
            .current_schema()
            .ok_or_else(|| sql_error(SqlErrorKind::UndefinedSchema, "no schema has been selected to create in"))?,
    };
    if matches!(schema.as_str(), "pg_catalog" | "information_schema" | "weir") {
        let message = format!("permission denied to create \"{schema}.{}\"", name.name);
        return Err(sql_error(SqlErrorKind::Unsupported, message)
            .with_detail(format!("Relations of schema \"{schema}\" are Weir's own.")));
    }
    Ok(schema)
}

/// The schema that a new table of this name goes to, which may be that of the session's temporary tables.
pub(crate) fn table_schema(view: &View, name: &ObjectName) -> Result<String> {
    match name.schema.as_deref() {
        Some("pg_temp") => Ok(view.temporary_schema()),
        _ => target_schema(view, name),
    }
}

/// What a name means now.
pub(crate) enum Named {
    /// A user's relation.
    User(Arc<Entry>),
    /// A computed one.
    System,
    /// Nothing.
    Nothing,
}

/// Looks a name up as this session sees it.
pub(crate) fn look_up(view: &View, name: &ObjectName) -> Named {
    match view.find(name.schema.as_deref(), &name.name) {
        Some(Found::User(entry)) => Named::User(entry.clone()),
        Some(Found::System(_)) => Named::System,
        None => Named::Nothing,
    }
}

/// Whether a relation of this name is there already, one that is being built among them.
pub(crate) fn taken(view: &View, schema: &str, name: &str) -> bool {
    view.state.find(schema, name).is_some() || system::find(schema, name).is_some()
}

/// 42P07.
pub(crate) fn already_exists(name: &str) -> Error {
    sql_error(SqlErrorKind::DuplicateTable, format!("relation \"{name}\" already exists"))
}

/// 42P01.
pub(crate) fn does_not_exist(name: &ObjectName) -> Error {
    sql_error(SqlErrorKind::UndefinedTable, format!("relation \"{}\" does not exist", written(name)))
}
