//! Alerts: a SELECT that is evaluated every so often, and what is done once it has been true for long enough.
//!
//! An alert is true when its SELECT gives rows; one of a single boolean column and a single row, when that is true. It goes from `ok` over `pending`,
//! in which it stays for the time of FOR, to `firing`, and back to `ok` when it is no longer true: Prometheus's states and meaning. What it does
//! is in the commit that makes it `firing`: rows of INSERT INTO, so that they come exactly once, and of each webhook an entry of the outbox
//! ([`outbox`]), which is delivered at least once. While nothing changes nothing is written.
//!
//! | key | value |
//! |---|---|
//! | `catalog/alert/OID` | the definition ([`AlertDef`]) |
//! | `alert/OID` | [`AlertState`], as JSON, from the first evaluation on |
//! | `alert_disabled/OID` | there while it is disabled |
//! | `alert_outbox/OID/N` | a delivery that waits |
//! | `alert_undelivered/OID` | why the last one was given up, until another is made |
//!
//! One thread looks what is due and starts each evaluation in a thread of its own, so that one whose query is slow holds up no other; none begins before
//! its last has ended. Only evaluations write `alert/OID`. What is left of an alert that was dropped is swept away by the same thread.

mod define;
mod evaluate;
mod outbox;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_storage::{Change, Snapshot};

pub(crate) use define::{dropped, run};
pub use outbox::Delivery;
pub(crate) use outbox::{delivery_error, pending_deliveries};

use crate::catalog::state::ALERT_PREFIX;
use crate::catalog::{AlertDef, CatalogState};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::session::now_micros;
use crate::statement::commit::commit;
use crate::statement::names::sql_error;
use crate::transaction::{Item, Pending};

/// How the keys of all that becomes of alerts begin.
const KEYS: &str = "alert";
const STATE: &str = "alert/";
const DISABLED: &str = "alert_disabled/";
/// Evaluations that run at the same time.
const AT_WORK_MAX: usize = 4;

/// Where an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is not true.
    Ok,
    /// It is true, but not for as long as FOR asks.
    Pending,
    /// It is true, and its actions were carried out.
    Firing,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Pending => "pending",
            Status::Firing => "firing",
        }
    }
}

/// What is kept of an alert, written whenever its status changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AlertState {
    pub(crate) status: Status,
    /// Since when it has this status: microseconds since 1970, as all times here.
    pub(crate) since: i64,
    /// When it was evaluated.
    pub(crate) checked_at: i64,
    /// The rows that it gave then.
    pub(crate) value: Vec<Value>,
}

impl AlertState {
    /// An alert's; none before its first evaluation.
    pub(crate) fn of(snapshot: &Snapshot, alert: u32) -> Result<Option<AlertState>> {
        read(snapshot, &state_key(alert))
    }
}

fn state_key(alert: u32) -> String {
    format!("{STATE}{alert}")
}

fn disabled_key(alert: u32) -> String {
    format!("{DISABLED}{alert}")
}

/// Whether an alert is evaluated.
pub(crate) fn is_enabled(snapshot: &Snapshot, alert: u32) -> bool {
    snapshot.get(&disabled_key(alert)).is_none()
}

/// What is kept as JSON under a key.
fn read<T: for<'de> Deserialize<'de>>(snapshot: &Snapshot, key: &str) -> Result<Option<T>> {
    let Some(value) = snapshot.get(key) else { return Ok(None) };
    serde_json::from_slice(value).map(Some).map_err(|error| {
        Error::new(ErrorKind::DataCorrupted, format!("the entry \"{key}\" is damaged")).with_detail(error.to_string())
    })
}

/// The change that keeps something as JSON under a key.
fn set<T: Serialize>(key: String, value: &T) -> Result<Change> {
    let value = serde_json::to_vec(value).map_err(|e| Error::internal(format!("an entry is not JSON: {e}")))?;
    Ok(Change::Set { key, value: Some(value) })
}

/// The change that removes a key.
fn unset(key: String) -> Change {
    Change::Set { key, value: None }
}

/// The oid of the alert that a key of these is about.
fn alert_of(key: &str) -> Option<u32> {
    key.strip_prefix(KEYS)?.split('/').nth(1)?.parse().ok()
}

/// The oid of the alert that a change defines.
pub(crate) fn defined(change: &Change) -> Option<u32> {
    match change {
        Change::Set { key, value: Some(_) } => key.strip_prefix(ALERT_PREFIX)?.parse().ok(),
        _ => None,
    }
}

/// Whether a key of a transaction still fits a newer catalogue; `created` is what the transaction makes itself.
pub(crate) fn check(state: &CatalogState, key: &str, value: Option<&[u8]>, created: &[u32]) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let gone = |what: &str| {
        let message = format!("could not serialize access due to a concurrent definition: {what} was dropped");
        Error::new(ErrorKind::SerializationFailure, message)
    };
    if let Some(alert) = alert_of(key) {
        let there = state.alert(alert).is_some() || created.contains(&alert);
        return if there { Ok(()) } else { Err(gone("an alert")) };
    }
    let Some(Ok(def)) = key.strip_prefix(ALERT_PREFIX).map(|_| serde_json::from_slice::<AlertDef>(value)) else {
        return Ok(());
    };
    if state.find_alert(&def.schema, &def.name).is_some_and(|other| other.oid != def.oid) {
        return Err(already_exists(&def.name));
    }
    match def.depends.iter().any(|input| state.entry(*input).is_none() && !created.contains(input)) {
        true => Err(gone("what an alert reads")),
        false => Ok(()),
    }
}

fn already_exists(name: &str) -> Error {
    sql_error(weir_sql::ErrorKind::DuplicateObject, format!("alert \"{name}\" already exists"))
}

/// What this process has seen of each alert.
#[derive(Default)]
pub(crate) struct Watched(Mutex<HashMap<u32, Seen>>);

/// What it has seen of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// When an evaluation was last started.
    started: Option<i64>,
    running: bool,
    /// When the last that has ended was started.
    pub(crate) checked_at: Option<i64>,
    /// The rows that the last gave which did not fail.
    pub(crate) value: Option<Vec<Value>>,
    /// Why the last one failed.
    pub(crate) error: Option<String>,
}

impl Watched {
    /// Of one alert.
    pub(crate) fn of(&self, alert: u32) -> Seen {
        self.0.lock().get(&alert).cloned().unwrap_or_default()
    }

    /// Marks one that is due as running. False if it is not, or cannot be now.
    fn begin(&self, snapshot: &Snapshot, alert: &AlertDef, now: i64) -> Result<bool> {
        let stored = AlertState::of(snapshot, alert.oid)?;
        let mut watched = self.0.lock();
        if watched.values().filter(|seen| seen.running).count() >= AT_WORK_MAX {
            return Ok(false);
        }
        let enabled = is_enabled(snapshot, alert.oid);
        let seen = watched.entry(alert.oid).or_default();
        let last = seen.started.max(stored.as_ref().map(|state| state.checked_at));
        let due = match enabled {
            // A clock that was set back does not hold anything up.
            true => last.is_none_or(|last| now < last || now >= last.saturating_add(alert.every)),
            false => stored.is_some() || seen.started.is_some(),
        };
        if seen.running || !due {
            return Ok(false);
        }
        *seen = Seen { running: true, started: Some(now), ..std::mem::take(seen) };
        Ok(true)
    }

    fn change(&self, alert: u32, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.0.lock().get_mut(&alert) {
            change(seen);
        }
    }
}

/// An evaluation that runs, until it is dropped.
struct AtWork {
    database: Database,
    alert: u32,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.database.watched_alerts().change(self.alert, |seen| seen.running = false);
    }
}

impl AtWork {
    /// Evaluates the alert and notes what came of it.
    fn evaluate(self) {
        let started = now_micros();
        let result = evaluate::evaluate(&self.database, self.alert);
        self.database.watched_alerts().change(self.alert, |seen| match result {
            Ok(Some(value)) => {
                *seen = Seen { checked_at: Some(started), value: Some(value), error: None, ..seen.clone() };
            }
            Ok(None) => *seen = Seen { running: seen.running, ..Seen::default() },
            Err(error) if error.kind == ErrorKind::Shutdown => {}
            // Another commit came between: it is due again at once.
            Err(error) if error.kind == ErrorKind::SerializationFailure => seen.started = None,
            Err(error) => {
                tracing::warn!(alert = self.alert, %error, "an alert cannot be evaluated for now");
                seen.checked_at = Some(started);
                seen.error = Some(error.to_string());
            }
        });
    }
}

/// Whether there is anything to watch.
pub(crate) fn any(snapshot: &Snapshot, state: &CatalogState) -> bool {
    state.alerts().next().is_some() || snapshot.scan_prefix(KEYS).next().is_some()
}

/// Begins to evaluate what is due.
pub(crate) fn look(database: &Database) -> Result<()> {
    let snapshot = database.store()?.snapshot();
    let state = database.catalog(&snapshot)?;
    database.background().check()?;
    sweep(database, &snapshot, &state)?;
    // Where there are more than can run at once, the one that waits the longest is next.
    let mut alerts: Vec<&Arc<AlertDef>> = state.alerts().collect();
    alerts.sort_by_cached_key(|alert| database.watched_alerts().of(alert.oid).started);
    for alert in alerts {
        if database.watched_alerts().begin(&snapshot, alert, now_micros())? {
            let at_work = AtWork { database: database.clone(), alert: alert.oid };
            let started = std::thread::Builder::new().name("weir-alert".into()).spawn(move || at_work.evaluate());
            started.map_err(|error| Error::internal(format!("cannot start a thread: {error}")))?;
        }
    }
    Ok(())
}

/// Removes what is left of alerts that were dropped.
fn sweep(database: &Database, snapshot: &Snapshot, state: &Arc<CatalogState>) -> Result<()> {
    database.watched_alerts().0.lock().retain(|alert, seen| seen.running || state.alert(*alert).is_some());
    let left = |key: &str| alert_of(key).is_some_and(|alert| state.alert(alert).is_none());
    let keys = snapshot.scan_prefix(KEYS).map(|(key, _)| key).filter(|key| left(key));
    let items: Vec<Item> = keys.map(|key| Item::Own(unset(key.to_string()))).collect();
    match items.is_empty() {
        true => Ok(()),
        false => commit(database, Pending { items, ..Pending::default() }),
    }
}
