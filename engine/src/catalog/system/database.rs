//! The database as a whole: schemas, roles, settings, languages and the other short lists that clients ask for.

use weir_sql::collation::Collation;

use super::class::OWNER;
use super::{Cell, Fill, Rows, SystemContext};

use crate::session::settings::{Definition, definitions};

/// The one database's oid.
const DATABASE: u32 = 5;
/// A role that is only there because someone logged in under its name.
const LOGIN: u32 = 16000;

pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "pg_namespace" => pg_namespace,
        "pg_database" => pg_database,
        "pg_roles" => pg_roles,
        "pg_authid" => pg_roles,
        "pg_user" => pg_user,
        "pg_shadow" => pg_user,
        "pg_am" => pg_am,
        "pg_collation" => pg_collation,
        "pg_language" => pg_language,
        "pg_tablespace" => pg_tablespace,
        "pg_extension" => pg_extension,
        "pg_settings" => pg_settings,
        "pg_proc" => pg_proc,
        "pg_timezone_names" => pg_timezone_names,
        _ => return None,
    })
}

fn pg_namespace(context: &SystemContext, rows: &mut Rows<'_>) {
    for (name, oid) in context.state.schemas() {
        rows.push(&[("oid", oid.into()), ("nspname", name.into()), ("nspowner", OWNER.into())]);
    }
}

fn pg_database(context: &SystemContext, rows: &mut Rows<'_>) {
    rows.push(&[
        ("oid", DATABASE.into()),
        ("datname", (&context.session.database_name).into()),
        ("datdba", OWNER.into()),
        ("encoding", 6.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", 1663.into()),
        ("datcollate", "C.UTF-8".into()),
        ("datctype", "C.UTF-8".into()),
    ]);
}

/// Roles: the owner, and whoever is logged in.
fn roles(context: &SystemContext) -> Vec<(u32, String)> {
    let mut roles = vec![(OWNER, crate::session::OWNER_NAME.to_string())];
    if context.session.user != crate::session::OWNER_NAME {
        roles.push((LOGIN, context.session.user.clone()));
    }
    roles
}

/// The oid of a role's name.
pub(crate) fn role_oid(user: &str, name: &str) -> Option<u32> {
    match name {
        crate::session::OWNER_NAME => Some(OWNER),
        name if name == user => Some(LOGIN),
        _ => None,
    }
}

/// The name of a role's oid.
pub(crate) fn role_name(user: &str, oid: u32) -> Option<String> {
    match oid {
        OWNER => Some(crate::session::OWNER_NAME.to_string()),
        LOGIN if user != crate::session::OWNER_NAME => Some(user.to_string()),
        _ => None,
    }
}

fn pg_roles(context: &SystemContext, rows: &mut Rows<'_>) {
    for (oid, name) in roles(context) {
        rows.push(&[
            ("oid", oid.into()),
            ("rolname", name.into()),
            ("rolsuper", true.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", true.into()),
            ("rolcreatedb", true.into()),
            ("rolcanlogin", true.into()),
            ("rolreplication", true.into()),
            ("rolbypassrls", true.into()),
            ("rolconnlimit", (-1).into()),
        ]);
    }
}

fn pg_user(context: &SystemContext, rows: &mut Rows<'_>) {
    for (oid, name) in roles(context) {
        rows.push(&[
            ("usename", name.into()),
            ("usesysid", oid.into()),
            ("usecreatedb", true.into()),
            ("usesuper", true.into()),
            ("userepl", true.into()),
            ("usebypassrls", true.into()),
        ]);
    }
}

fn pg_am(_: &SystemContext, rows: &mut Rows<'_>) {
    for (oid, name, handler, kind) in [(2u32, "heap", 3u32, "t"), (403, "btree", 330, "i")] {
        rows.push(&[
            ("oid", oid.into()),
            ("amname", name.into()),
            ("amhandler", handler.into()),
            ("amtype", kind.into()),
        ]);
    }
}

fn pg_collation(_: &SystemContext, rows: &mut Rows<'_>) {
    for collation in Collation::all() {
        let name = collation.name();
        let icu = collation.locale();
        let provider = if icu.is_some() {
            "i"
        } else if collation == Collation::DEFAULT {
            "d"
        } else {
            "c"
        };
        let locale = (provider == "c").then_some(name.as_str());
        rows.push(&[
            ("oid", collation.oid().into()),
            ("collname", (&name).into()),
            ("collnamespace", 11.into()),
            ("collowner", OWNER.into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", (-1).into()),
            ("collcollate", locale.into()),
            ("collctype", locale.into()),
            ("colliculocale", icu.into()),
        ]);
    }
}

fn pg_language(_: &SystemContext, rows: &mut Rows<'_>) {
    for (oid, name, trusted) in [(12u32, "internal", false), (14, "sql", true)] {
        rows.push(&[
            ("oid", oid.into()),
            ("lanname", name.into()),
            ("lanowner", OWNER.into()),
            ("lanpltrusted", trusted.into()),
        ]);
    }
}

fn pg_tablespace(_: &SystemContext, rows: &mut Rows<'_>) {
    for (oid, name) in [(1663u32, "pg_default"), (1664, "pg_global")] {
        rows.push(&[("oid", oid.into()), ("spcname", name.into()), ("spcowner", OWNER.into())]);
    }
}

fn pg_extension(_: &SystemContext, rows: &mut Rows<'_>) {
    rows.push(&[
        ("oid", 13569u32.into()),
        ("extname", "plpgsql".into()),
        ("extowner", OWNER.into()),
        ("extnamespace", 11.into()),
        ("extversion", "1.0".into()),
    ]);
}

fn pg_settings(context: &SystemContext, rows: &mut Rows<'_>) {
    for definition in definitions() {
        let Definition { name, unit, category, doc, context: who, kind, min, max, choices, .. } = definition;
        rows.push(&[
            ("name", (*name).into()),
            ("setting", context.session.settings.raw(name).into()),
            ("unit", (*unit).into()),
            ("category", (*category).into()),
            ("short_desc", (*doc).into()),
            ("context", (*who).into()),
            ("vartype", (*kind).into()),
            ("source", if context.session.settings.is_set(name) { "session" } else { "default" }.into()),
            ("min_val", (*min).into()),
            ("max_val", (*max).into()),
            ("enumvals", choices.clone().map_or(Cell::Null, Cell::from)),
            ("boot_val", definition.default.into()),
            ("reset_val", context.session.settings.reset_value(name).into()),
            ("pending_restart", false.into()),
        ]);
    }
}

/// Our functions; those that Postgres's types name come first, under their own oids.
fn pg_proc(_: &SystemContext, rows: &mut Rows<'_>) {
    for function in crate::catalog::procs::list() {
        rows.push(&[
            ("oid", function.oid.into()),
            ("proname", (&function.name).into()),
            ("pronamespace", 11.into()),
            ("proowner", OWNER.into()),
            ("prolang", 12u32.into()),
            ("procost", 1.0.into()),
            ("prorows", if function.set { 1000.0 } else { 0.0 }.into()),
            ("prokind", function.kind.into()),
            ("proisstrict", true.into()),
            ("proretset", function.set.into()),
            ("provolatile", function.volatility.into()),
            ("proparallel", "s".into()),
            ("pronargs", function.arguments.len().into()),
            ("prorettype", function.returns.into()),
            ("proargtypes", function.arguments.clone().into()),
            ("prosrc", (&function.name).into()),
        ]);
    }
}

fn pg_timezone_names(_: &SystemContext, rows: &mut Rows<'_>) {
    for name in jiff::tz::db().available() {
        rows.push(&[("name", name.as_str().into())]);
    }
}
