//! What goes on now: sessions, prepared statements, cursors.

use super::{Fill, Rows, SystemContext};

pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "pg_stat_activity" => pg_stat_activity,
        "pg_prepared_statements" => pg_prepared_statements,
        "pg_cursors" => pg_cursors,
        _ => return None,
    })
}

fn pg_stat_activity(context: &SystemContext, rows: &mut Rows<'_>) {
    for activity in context.database.activity() {
        let state = activity.state();
        rows.push(&[
            ("datid", 5u32.into()),
            ("datname", activity.database.into()),
            ("pid", activity.id.into()),
            ("usesysid", 10u32.into()),
            ("usename", activity.user.into()),
            ("application_name", activity.application.into()),
            ("backend_start", activity.started.into()),
            ("query_start", activity.query_started.into()),
            ("state_change", activity.query_started.into()),
            ("state", state.into()),
            ("query", activity.query.into()),
            ("backend_type", "client backend".into()),
        ]);
    }
}

fn pg_prepared_statements(context: &SystemContext, rows: &mut Rows<'_>) {
    for (name, text) in &context.session.prepared {
        rows.push(&[("name", name.into()), ("statement", text.into()), ("from_sql", true.into())]);
    }
}

fn pg_cursors(context: &SystemContext, rows: &mut Rows<'_>) {
    for (name, text, hold, scroll) in &context.session.cursors {
        rows.push(&[
            ("name", name.into()),
            ("statement", text.into()),
            ("is_holdable", (*hold).into()),
            ("is_binary", false.into()),
            ("is_scrollable", (*scroll).into()),
        ]);
    }
}
