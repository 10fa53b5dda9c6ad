//! SHOW, SET and RESET.

use weir_sql::Type;
use weir_sql::catalog::ColumnInfo;
use weir_sql::plan::OutputColumn;

use crate::catalog::system::{Cell, Rows as SystemRows};
use crate::error::Result;
use crate::session::setting_values::unrecognized;
use crate::session::settings::definitions;
use crate::session::{Outcome, Prepared, Rows, Session, Severity};

/// SHOW.
pub(super) fn show(session: &mut Session, name: &str, columns: &[OutputColumn]) -> Result<Outcome> {
    let shape: Vec<ColumnInfo> = columns
        .iter()
        .map(|c| ColumnInfo {
            name: c.name.clone(),
            ty: Type::Text,
            nullable: true,
            default: None,
            collation: weir_sql::collation::Collation::DEFAULT,
        })
        .collect();
    let mut rows = SystemRows::new(&shape);
    if name == "all" {
        for definition in definitions() {
            let value = session.settings.get(definition.name);
            rows.push_all(vec![definition.name.into(), value.into(), definition.doc.into()]);
        }
    } else {
        let value = match name {
            "transaction_read_only" => {
                let read_only = session.transaction.as_ref().is_some_and(|t| t.read_only);
                Some(if read_only || session.settings.is_on(name) { "on" } else { "off" }.to_string())
            }
            _ => session.settings.get(name),
        };
        rows.push_all(vec![Cell::from(value.ok_or_else(|| unrecognized(name))?)]);
    }
    Ok(Outcome::Rows(Rows::of_batches(columns.to_vec(), vec![rows.finish()], "SHOW")))
}

/// Tells which of a query's SETTINGS Weir does not have. None of them changes anything: a query's answer does not depend on them.
pub(super) fn note_unknown(session: &mut Session, prepared: &Prepared) {
    use weir_sql::parse::Ast;
    let (Ast::Query(query) | Ast::Emitted(query, _)) = prepared.parsed.syntax.ast.as_ref() else { return };
    for setting in query.settings.iter().flatten() {
        let name = setting.key.value.to_ascii_lowercase();
        if session.settings.raw(&name).is_none() {
            session.notice(Severity::Notice, "00000", format!("setting \"{name}\" is not known, and is ignored"));
        }
    }
}

/// SET, SET LOCAL, RESET.
pub(super) fn set(session: &mut Session, name: &str, value: Option<&str>, local: bool) -> Result<Outcome> {
    let tag = if value.is_some() { "SET" } else { "RESET" };
    match (name, value) {
        ("session_authorization" | "role", value) => {
            // There is one role; a session may say that it is another.
            if let (Some(user), "session_authorization") = (value, name) {
                session.settings.force("session_authorization", user);
            }
        }
        ("transaction_isolation", _) => {}
        ("transaction_read_only", Some(value)) => {
            let on = session.settings.set(name, Some(value), true)? == "on";
            session.transaction()?.read_only = on;
        }
        _ => {
            if local && !session.in_block() {
                session.notice(Severity::Warning, "25P01", "SET LOCAL can only be used in transaction blocks");
            }
            session.settings.set(name, value, local)?;
        }
    }
    Ok(Outcome::Command { tag: tag.into() })
}
