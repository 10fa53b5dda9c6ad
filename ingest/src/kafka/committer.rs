//! Commits decoded batches in the order in which they were read.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use weir_engine::ErrorKind;
use weir_engine::ingest::{IngestBatch, IngestTarget};

use super::Shared;
use super::batch::{DecodedBatch, now_micros};

/// From this many rows on, a batch is written as parts at once: it is cheaper than logging it first.
const BULK_ROWS: usize = 32_768;
/// How long to wait before a commit that failed (a full disk, say) is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Commits batches until there are no more, or until the table is not the target any more. After each commit, the next offsets go to
/// `published`.
pub(super) fn commit_all(
    shared: &Shared,
    source: &str,
    target: &IngestTarget,
    decoded: &Receiver<Result<DecodedBatch, String>>,
    published: &Sender<Vec<(i32, i64)>>,
) -> Result<(), String> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for batch in decoded {
        let batch = batch.inspect_err(|_| shared.restart.store(true, Ordering::Relaxed))?;
        waiting.insert(batch.raw.number, batch);
        while let Some(batch) = waiting.remove(&next) {
            if !commit(shared, source, target, batch, published)? {
                // The reader starts over from the manifest; what is still on its way is read again.
                shared.restart.store(true, Ordering::Relaxed);
                return Ok(());
            }
            next += 1;
        }
    }
    Ok(())
}

/// Commits one batch; false if the table has changed, so that it must be decoded anew. Errors that may pass are waited out: an event is
/// never skipped.
fn commit(
    shared: &Shared,
    source: &str,
    target: &IngestTarget,
    mut batch: DecodedBatch,
    published: &Sender<Vec<(i32, i64)>>,
) -> Result<bool, String> {
    let name = &shared.subscription.name;
    loop {
        if shared.db.catalog_version() != target.catalog_version && !same_table(shared, target) {
            return Ok(false);
        }
        let rows = if batch.rows.num_rows() > 0 { vec![batch.rows.clone()] } else { Vec::new() };
        let committed = shared.db.ingest(IngestBatch {
            table: target.table.clone(),
            rows,
            origins: batch.origins.clone(),
            offsets: batch.offsets(source),
            dead_letters: batch.dead_letters.clone(),
            epoch: target.epoch,
            bulk: batch.rows.num_rows() >= BULK_ROWS,
            ..IngestBatch::default()
        });
        match committed {
            Ok(_) => break,
            Err(e) if e.kind == ErrorKind::Shutdown => return Err(e.message),
            Err(_) if !same_table(shared, target) => return Ok(false),
            Err(e) => {
                tracing::warn!(source = %name, "cannot commit: {}", e.message);
                shared.board.set_error(name, Some(format!("cannot commit: {}", e.message)));
                shared.pause(RETRY);
                if shared.stopping() {
                    return Err(e.message);
                }
            }
        }
    }
    shared.board.set_error(name, None);
    let now = now_micros() / 1000;
    for (&partition, progress) in &batch.progress {
        shared.board.committed(name, partition, progress, now);
    }
    let offsets = std::mem::take(&mut batch.progress).into_iter().map(|(p, progress)| (p, progress.next)).collect();
    // Monitoring alone reads it: when the reader is busy, the next one will do.
    let _ = published.try_send(offsets);
    shared.spare.put(batch.raw);
    Ok(true)
}

/// Whether the table still has the columns and defaults that the batch was decoded for, and is not to be read again from elsewhere.
pub(super) fn same_table(shared: &Shared, target: &IngestTarget) -> bool {
    shared.db.ingest_target(&target.table).is_ok_and(|now| {
        now.oid == target.oid
            && now.epoch == target.epoch
            && now.schema == target.schema
            && (0..target.columns.len()).all(|i| match (now.missing(i), target.missing(i)) {
                (Some(a), Some(b)) => a.as_ref() == b.as_ref(),
                (a, b) => a.is_none() && b.is_none(),
            })
    })
}
