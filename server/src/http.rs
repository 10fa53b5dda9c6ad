//! The HTTP door: small, for probes, scripts and `curl`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | 200 `ok` |
//! | `POST /query?format=json` (or `csv`), body SQL | the rows of the last statement: one JSON object a line, or CSV with a header |
//!
//! Rows are streamed as they are computed; a client that stops reading ends its query. With a password configured, `/query` wants it as HTTP
//! basic authentication (any user) or as a bearer token. Errors are JSON: `{"code": SQLSTATE, "message": …}` with status 400, 401 or 503.

use std::io::{self, Write};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use weir_engine::format::FormatSettings;
use weir_engine::{CancelHandle, Database, Error, ErrorKind, Outcome};

use crate::pg::sqlstate;
use crate::render::{self, Form};
use crate::statements::{self, Trouble};

/// How much gathers before it is sent.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Clone)]
struct Context {
    db: Database,
    password: Option<Arc<str>>,
}

/// All routes.
pub(crate) fn router(db: Database, password: Option<&str>) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/query", post(query))
        .with_state(Context { db, password: password.map(Arc::from) })
}

/// Serves until told to stop, then lets running requests finish.
pub(crate) async fn serve(listener: TcpListener, app: Router, mut stopped: watch::Receiver<bool>) {
    let until = async move {
        let _ = stopped.changed().await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(until).await {
        tracing::error!(%error, "HTTP ended");
    }
}

#[derive(Deserialize)]
struct Parameters {
    format: Option<String>,
}

async fn query(
    State(context): State<Context>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    sql: String,
) -> Response {
    if !authorized(context.password.as_deref(), &headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"weir\"")];
        return (challenge, failure(StatusCode::UNAUTHORIZED, "28P01", "a password is needed", None)).into_response();
    }
    let form = match parameters.format.as_deref() {
        None | Some("json") => Form::Json,
        Some("csv") => Form::Csv,
        Some(other) => {
            let message = format!("format \"{other}\" does not exist: use json or csv");
            return failure(StatusCode::BAD_REQUEST, "22023", &message, None);
        }
    };
    let (started, outcome) = oneshot::channel();
    let (chunks, receiver) = mpsc::channel(4);
    let db = context.db;
    tokio::task::spawn_blocking(move || run(&db, &sql, form, chunks, started));
    match outcome.await {
        Ok(Ok(cancel)) => {
            let guard = CancelOnDrop(cancel);
            let body = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
                receiver.recv().await.map(|chunk: io::Result<Bytes>| (chunk, (receiver, guard)))
            });
            let content = match form {
                Form::Csv => "text/csv; charset=utf-8",
                _ => "application/x-ndjson",
            };
            ([(header::CONTENT_TYPE, content)], Body::from_stream(body)).into_response()
        }
        Ok(Err(error)) => failure(StatusCode::BAD_REQUEST, sqlstate(error.kind), &error.message, error.position),
        Err(_) => failure(StatusCode::INTERNAL_SERVER_ERROR, "XX000", "the query panicked", None),
    }
}

/// A client that goes away ends its query, also between two chunks.
struct CancelOnDrop(CancelHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs all statements; the rows of the last go to `chunks`. Errors before the last has begun are told through `started`, those after it break
/// the body off, which HTTP clients notice.
fn run(
    db: &Database,
    sql: &str,
    form: Form,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    started: oneshot::Sender<weir_engine::Result<CancelHandle>>,
) {
    let mut session = db.session();
    let mut started = Some(started);
    let mut out = Chunks { buffer: Vec::new(), chunks };
    let result = statements::run(&mut session, sql, |session, outcome, last| {
        if let Outcome::CopyIn(_) = outcome {
            let message = "COPY FROM STDIN is for the Postgres protocol";
            return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message).into());
        }
        if !last {
            return statements::drain(outcome);
        }
        if let Some(started) = started.take() {
            let _ = started.send(Ok(session.cancel_handle()));
        }
        match outcome {
            Outcome::Rows(rows) => {
                render::rows(rows, form, &FormatSettings::of(&session.function_context()), &mut out)?;
            }
            Outcome::CopyOut(mut copy) => {
                while let Some(bytes) = copy.next()? {
                    out.write_all(bytes)?;
                }
            }
            Outcome::Empty | Outcome::Command { .. } | Outcome::CopyIn(_) => {}
        }
        Ok(out.flush()?)
    });
    match (result, started) {
        (Ok(()), None) => {}
        (Ok(()), Some(started)) => drop(started.send(Ok(session.cancel_handle()))),
        (Err(Trouble::Statement(error)), Some(started)) => drop(started.send(Err(error))),
        (Err(trouble), _) => drop(out.chunks.blocking_send(Err(io::Error::other(trouble.to_string())))),
    }
}

/// Bytes on their way to the body of a response; blocks while the client does not read.
struct Chunks {
    buffer: Vec<u8>,
    chunks: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn failure(status: StatusCode, code: &str, message: &str, position: Option<usize>) -> Response {
    let mut body = serde_json::json!({ "code": code, "message": message });
    if let Some(position) = position {
        body["position"] = position.into();
    }
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// Whether the request brings the password, as Basic or Bearer.
fn authorized(password: Option<&str>, headers: &HeaderMap) -> bool {
    use base64::Engine;
    let Some(password) = password else { return true };
    let Some((scheme, credentials)) =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '))
    else {
        return false;
    };
    let given = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => credentials.trim().as_bytes().to_vec(),
        "basic" => match base64::engine::general_purpose::STANDARD.decode(credentials.trim()) {
            Ok(pair) => pair.splitn(2, |&b| b == b':').nth(1).unwrap_or_default().to_vec(),
            Err(_) => return false,
        },
        _ => return false,
    };
    // Every byte is compared, so that the time taken tells nothing but the length.
    given.len() == password.len() && given.iter().zip(password.as_bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_may_come_as_basic_or_bearer() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            headers
        };
        assert!(authorized(None, &HeaderMap::new()));
        assert!(!authorized(Some("s3cret"), &HeaderMap::new()));
        assert!(authorized(Some("s3cret"), &with("Bearer s3cret")));
        assert!(authorized(Some("s3cret"), &with("Basic bWU6czNjcmV0")));
        assert!(!authorized(Some("s3cret"), &with("Basic bWU6d3Jvbmc=")));
        assert!(!authorized(Some("s3cret"), &with("Bearer s3creT")));
    }
}
