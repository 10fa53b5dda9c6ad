//! `weir.alerts`: each alert, where it is, and what its webhooks wait for.

use weir_sql::Type;

use super::{Cell, Rows, SystemContext};
use crate::alerts::{AlertState, delivery_error, is_enabled, pending_deliveries};

/// The columns of `weir.alerts`.
pub(super) const COLUMNS: &[(&str, Type)] = &[
    ("schema", Type::Text),
    ("name", Type::Text),
    ("query", Type::Text),
    ("every", Type::Text),
    ("for", Type::Text),
    ("actions", Type::Text),
    ("enabled", Type::Bool),
    // ok, pending or firing; error while it cannot be evaluated, disabled while it is not.
    ("state", Type::Text),
    ("since", Type::Timestamptz),
    ("checked_at", Type::Timestamptz),
    ("value", Type::Jsonb),
    ("error", Type::Text),
    ("deliveries_pending", Type::Int8),
    ("delivery_error", Type::Text),
];

pub(super) fn alerts(context: &SystemContext, rows: &mut Rows<'_>) {
    for alert in context.state.alerts() {
        let enabled = is_enabled(&context.snapshot, alert.oid);
        let seen = context.database.watched_alerts().of(alert.oid);
        // What is damaged shows as never evaluated, and in the log.
        let stored = AlertState::of(&context.snapshot, alert.oid).ok().flatten().filter(|_| enabled);
        let state = match (enabled, &seen.error, &stored) {
            (false, ..) => "disabled",
            (true, Some(_), _) => "error",
            (true, None, Some(stored)) => stored.status.name(),
            (true, None, None) => "ok",
        };
        let value = seen.value.as_ref().or(stored.as_ref().map(|stored| &stored.value)).filter(|_| enabled);
        let value = value.and_then(|rows| {
            let mut text = Vec::new();
            crate::format::json::write(&rows.clone().into(), &mut text).ok()?;
            String::from_utf8(text).ok()
        });
        let checked_at = seen.checked_at.max(stored.as_ref().map(|stored| stored.checked_at)).filter(|_| enabled);
        rows.push(&[
            ("schema", (&alert.schema).into()),
            ("name", (&alert.name).into()),
            ("query", (&alert.query).into()),
            ("every", alert.every_text().into()),
            ("for", alert.hold_text().into()),
            ("actions", alert.actions_text().into()),
            ("enabled", enabled.into()),
            ("state", state.into()),
            ("since", stored.as_ref().map_or(Cell::Null, |stored| stored.since.into())),
            ("checked_at", checked_at.into()),
            ("value", value.into()),
            ("error", seen.error.filter(|_| enabled).into()),
            ("deliveries_pending", pending_deliveries(&context.snapshot, alert.oid).into()),
            ("delivery_error", delivery_error(&context.snapshot, alert.oid).into()),
        ]);
    }
}
