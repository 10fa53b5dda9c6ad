//! What a database does by itself: one thread for each kind of work, begun when there is first reason to.

use std::sync::OnceLock;
use std::time::Duration;

use weir_storage::Snapshot;

use crate::catalog::CatalogState;
use crate::database::{Database, WeakDatabase};
use crate::error::{ErrorKind, Result};
use crate::statement::rollup;
use crate::views::refresh;
use crate::{alerts, sinks, watermark};

/// How often it is looked what is due.
const PAUSE: Duration = Duration::from_millis(200);

/// Which threads were begun.
#[derive(Default)]
pub(crate) struct Begun {
    rollups: OnceLock<()>,
    refreshes: OnceLock<()>,
    sinks: OnceLock<()>,
    watermarks: OnceLock<()>,
    alerts: OnceLock<()>,
}

impl Database {
    /// Begins what there is reason to when the database is opened.
    pub(crate) fn watch_all(&self, snapshot: &Snapshot, state: &CatalogState) {
        if state.entries().any(|entry| entry.def.ttl.iter().any(|rule| rule.rollup)) {
            self.watch_rollups();
        }
        if state.entries().any(|entry| entry.def.refresh.is_some()) {
            self.watch_refreshes();
        }
        if state.sinks().any(|entry| entry.def.sink.as_ref().is_some_and(|sink| sink.into.is_some())) {
            self.watch_sinks();
        }
        if state.entries().any(|entry| entry.def.watermark.is_some()) {
            self.watch_watermarks();
        }
        if alerts::any(snapshot, state) {
            self.watch_alerts();
        }
    }

    /// Begins to roll up what is due by TTL; once is enough, here and below.
    pub(crate) fn watch_rollups(&self) {
        self.begun().rollups.get_or_init(|| self.watch("weir-rollup", rollup::watch));
    }

    /// Begins to refresh the views that are due.
    pub(crate) fn watch_refreshes(&self) {
        self.begun().refreshes.get_or_init(|| self.watch("weir-refresh", |db| repeat(db, refresh::look)));
    }

    /// Begins to carry on what sinks have for tables.
    pub(crate) fn watch_sinks(&self) {
        self.begun().sinks.get_or_init(|| self.watch("weir-sinks", sinks::table::watch));
    }

    /// Begins to look for partitions that become idle.
    pub(crate) fn watch_watermarks(&self) {
        self.begun().watermarks.get_or_init(|| self.watch("weir-watermarks", |db| repeat(db, watermark::catch_up)));
    }

    /// Begins to evaluate the alerts that are due.
    pub(crate) fn watch_alerts(&self) {
        self.begun().alerts.get_or_init(|| self.watch("weir-alerts", |db| repeat(db, alerts::look)));
    }

    fn watch(&self, name: &str, watch: fn(&WeakDatabase)) {
        let database = self.downgrade();
        if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(move || watch(&database)) {
            tracing::warn!(%error, name, "a thread of the background cannot be started");
        }
    }
}

/// Looks what is due, again and again, until the database is closed.
fn repeat(database: &WeakDatabase, look: fn(&Database) -> Result<()>) {
    loop {
        std::thread::sleep(PAUSE);
        let Some(database) = database.upgrade() else { return };
        match look(&database) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Shutdown => return,
            Err(error) => tracing::warn!(%error, "what is due cannot be looked at for now"),
        }
    }
}
