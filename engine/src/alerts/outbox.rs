//! The outbox of webhooks: what waits to be posted, and the door through which whoever has a network takes it.
//!
//! A delivery is written by the commit that changes its alert, and removed by [`Database::acknowledge_delivery`], once the receiver has answered:
//! it is made at least once, and has an id by which a receiver knows one that comes again. Those of one alert to one URL are made in order.
//! After a failure it is tried again, with pauses that double from a second to five minutes; after 24 hours it is given up.
//! In an embedded database they wait until someone takes them.
//!
//! The body is what Prometheus's Alertmanager posts (version 4 of its format, which Grafana's follows), of one alert, and beside it `alert`, `schema`,
//! `since`, `query` and `value`, the first rows of the SELECT as objects.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use weir_storage::Snapshot;

use super::{AlertState, Status, alert_of, read, set, unset};
use crate::catalog::AlertDef;
use crate::database::Database;
use crate::error::Result;
use crate::format::datetime::write_timestamptz;
use crate::session::now_micros;
use crate::statement::commit::commit;
use crate::transaction::{Item, Pending};

const OUTBOX: &str = "alert_outbox/";
const UNDELIVERED: &str = "alert_undelivered/";
/// The pause after the first failure, and the longest, in microseconds.
const PAUSE_FIRST: i64 = 1_000_000;
const PAUSE_MAX: i64 = 300 * 1_000_000;
/// How long a delivery is tried, in microseconds.
const GIVE_UP: i64 = 24 * 3600 * 1_000_000;

/// What is to be posted to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The same each time that this is tried, and of no other: for the header `Idempotency-Key`.
    pub id: String,
    /// Where to.
    pub url: String,
    /// JSON.
    pub body: String,
    key: String,
}

/// A delivery as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    id: String,
    url: String,
    body: String,
    /// When it was written.
    written: i64,
    /// How often it has failed, why it did last, and when it is tried again.
    #[serde(default)]
    failures: u32,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    next: i64,
}

fn time(micros: i64) -> String {
    let mut text = Vec::new();
    write_timestamptz(micros, &TimeZone::UTC, b'T', true, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn outbox_of(alert: u32) -> String {
    format!("{OUTBOX}{alert}/")
}

/// Writes a delivery for each webhook of an alert that fires, or that was firing since then and is resolved.
pub(super) fn post(
    snapshot: &Snapshot,
    alert: &AlertDef,
    state: &AlertState,
    resolved: Option<i64>,
    pending: &mut Pending,
) -> Result<()> {
    let body = body(alert, state, resolved).to_string();
    let prefix = outbox_of(alert.oid);
    let last = snapshot.scan_prefix(&prefix).last().and_then(|(key, _)| key.rsplit('/').next()?.parse::<u64>().ok());
    let first = last.map_or(0, |last| last + 1);
    for (n, url) in (first..).zip(alert.webhooks()) {
        let waiting = Waiting {
            id: Uuid::new_v4().to_string(),
            url: url.to_string(),
            body: body.clone(),
            written: now_micros(),
            failures: 0,
            error: None,
            next: 0,
        };
        // As many digits as keep them in order.
        pending.items.push(Item::Own(set(format!("{prefix}{n:020}"), &waiting)?));
    }
    Ok(())
}

fn body(alert: &AlertDef, state: &AlertState, resolved: Option<i64>) -> serde_json::Value {
    let status = if state.status == Status::Firing { "firing" } else { "resolved" };
    let labels = json!({ "alertname": alert.name, "schema": alert.schema });
    // An end that is not known is Go's zero of times.
    let ends = resolved.map_or_else(|| "0001-01-01T00:00:00Z".to_string(), |_| time(state.since));
    json!({
        "version": "4",
        "status": status,
        "alert": alert.name,
        "schema": alert.schema,
        "since": time(state.since),
        "query": alert.query,
        "value": state.value,
        "receiver": "weir",
        "groupKey": format!("{}.{}", alert.schema, alert.name),
        "truncatedAlerts": 0,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": {},
            "startsAt": time(resolved.unwrap_or(state.since)),
            "endsAt": ends,
            "generatorURL": "",
            "fingerprint": format!("{:016x}", alert.oid),
        }],
    })
}

/// How many deliveries of an alert wait.
pub(crate) fn pending_deliveries(snapshot: &Snapshot, alert: u32) -> usize {
    snapshot.scan_prefix(&outbox_of(alert)).count()
}

/// Why the last delivery of an alert that failed did: one that waits, or one that was given up since another was made.
pub(crate) fn delivery_error(snapshot: &Snapshot, alert: u32) -> Option<String> {
    let waiting = |(_, value)| serde_json::from_slice::<Waiting>(value).ok()?.error;
    let failed = snapshot.scan_prefix(&outbox_of(alert)).filter_map(waiting).last();
    failed.or_else(|| read(snapshot, &undelivered_key(alert)).ok().flatten())
}

fn undelivered_key(alert: u32) -> String {
    format!("{UNDELIVERED}{alert}")
}

impl Database {
    /// The deliveries of alerts' webhooks that are due. Whoever takes them posts each and says what came of it; until then they are given
    /// again to whoever asks.
    pub fn due_deliveries(&self) -> Result<Vec<Delivery>> {
        let snapshot = self.store()?.snapshot();
        let state = self.catalog(&snapshot)?;
        let now = now_micros();
        let mut first: HashSet<(u32, String)> = HashSet::new();
        let mut due = Vec::new();
        for (key, _) in snapshot.scan_prefix(OUTBOX) {
            let Some(alert) = alert_of(key).filter(|alert| state.alert(*alert).is_some()) else { continue };
            let Some(waiting) = read::<Waiting>(&snapshot, key)? else { continue };
            // What a receiver has not been told yet comes before what is newer.
            if first.insert((alert, waiting.url.clone())) && waiting.next <= now {
                due.push(Delivery { id: waiting.id, url: waiting.url, body: waiting.body, key: key.to_string() });
            }
        }
        Ok(due)
    }

    /// The receiver has taken a delivery: it is removed.
    pub fn acknowledge_delivery(&self, delivery: &Delivery) -> Result<()> {
        let snapshot = self.store()?.snapshot();
        let Some((alert, _)) = self.waiting(&snapshot, delivery)? else { return Ok(()) };
        let mut items = vec![Item::Own(unset(delivery.key.clone()))];
        let undelivered = undelivered_key(alert);
        if snapshot.get(&undelivered).is_some() {
            items.push(Item::Own(unset(undelivered)));
        }
        commit(self, Pending { items, ..Pending::default() })
    }

    /// A delivery could not be made: it is tried again after a pause, or given up.
    pub fn fail_delivery(&self, delivery: &Delivery, error: &str) -> Result<()> {
        let snapshot = self.store()?.snapshot();
        let Some((alert, waiting)) = self.waiting(&snapshot, delivery)? else { return Ok(()) };
        let now = now_micros();
        let items = if now.saturating_sub(waiting.written) >= GIVE_UP {
            tracing::warn!(alert, id = delivery.id, error, "a webhook is given up");
            let why = format!("given up after 24 hours: {error}");
            vec![Item::Own(unset(delivery.key.clone())), Item::Own(set(undelivered_key(alert), &why)?)]
        } else {
            let next = now.saturating_add(pause(waiting.failures));
            let failures = waiting.failures.saturating_add(1);
            let failed = Waiting { failures, error: Some(error.to_string()), next, ..waiting };
            vec![Item::Own(set(delivery.key.clone(), &failed)?)]
        };
        // Against the catalogue that has the alert: nothing is kept of one that is dropped meanwhile.
        commit(self, Pending { items, catalog: Some(snapshot.catalog_version()), ..Pending::default() })
    }

    /// The alert of a delivery, and the delivery as it is kept; `None` once it or the alert is gone.
    fn waiting(&self, snapshot: &Snapshot, delivery: &Delivery) -> Result<Option<(u32, Waiting)>> {
        let state = self.catalog(snapshot)?;
        let alert = alert_of(&delivery.key).filter(|alert| state.alert(*alert).is_some());
        let waiting = read::<Waiting>(snapshot, &delivery.key)?.filter(|waiting| waiting.id == delivery.id);
        Ok(alert.zip(waiting))
    }
}

/// The pause after so many failures and one more, in microseconds.
fn pause(failures: u32) -> i64 {
    (PAUSE_FIRST << failures.min(20)).min(PAUSE_MAX)
}
