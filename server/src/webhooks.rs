//! Webhooks of alerts: what waits in the engine's outbox is posted, and taken out once its receiver has answered with 2xx.
//!
//! At least once: a delivery that was made when the server stops, but not taken out, is made again, under the same `Idempotency-Key`. Redirects are
//! not followed; whatever is not 2xx is a failure. The engine says when it is tried again.

use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, redirect};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use weir_engine::{Database, Delivery};

/// How often it is looked what is due.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Deliveries that are on their way at the same time.
const POSTS_MAX: usize = 16;

/// What posts; the error says why there is none.
pub(crate) fn client() -> Result<Client, String> {
    // The same provider as for the Postgres wire; an error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
    client.map_err(|error| reason(&error))
}

/// Makes deliveries until the server stops; those on their way then may end.
pub(crate) async fn run(db: Database, client: Client, mut stopped: watch::Receiver<bool>) {
    let mut posts: JoinSet<()> = JoinSet::new();
    let mut under_way: HashMap<Id, String> = HashMap::new();
    while !*stopped.borrow() {
        match db.due_deliveries() {
            Ok(due) => {
                for delivery in due {
                    if posts.len() < POSTS_MAX && !under_way.values().any(|id| *id == delivery.id) {
                        let id = delivery.id.clone();
                        under_way.insert(posts.spawn(deliver(db.clone(), client.clone(), delivery)).id(), id);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the outbox of alerts cannot be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            Some(done) = posts.join_next_with_id() => {
                under_way.remove(&done.map_or_else(|error| error.id(), |(id, ())| id));
            }
            _ = stopped.changed() => {}
        }
    }
    while posts.join_next().await.is_some() {}
}

/// Posts one delivery and tells the engine.
async fn deliver(db: Database, client: Client, delivery: Delivery) {
    let posted = post(&client, &delivery).await;
    // Commits wait for the disk.
    let told = tokio::task::spawn_blocking(move || match posted {
        Ok(()) => db.acknowledge_delivery(&delivery),
        Err(error) => {
            tracing::warn!(id = delivery.id, error, "a webhook could not be delivered");
            db.fail_delivery(&delivery, &error)
        }
    });
    if let Ok(Err(error)) = told.await {
        tracing::warn!(%error, "it cannot be noted what became of a webhook");
    }
}

async fn post(client: &Client, delivery: &Delivery) -> Result<(), String> {
    let request = client
        .post(&delivery.url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .header("Idempotency-Key", &delivery.id)
        .body(delivery.body.clone());
    let response = request.send().await.map_err(|error| reason(&error))?;
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {status}")) }
}

/// An error with all that caused it. The URL, which may hold a secret, is left out.
fn reason(error: &reqwest::Error) -> String {
    let mut text = "the request failed".to_string();
    let mut source = error.source();
    if error.is_timeout() {
        text = format!("no answer within {} s", TIMEOUT.as_secs());
    }
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
