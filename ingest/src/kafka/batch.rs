//! Raw batches, and decoding them to columns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{
    ArrayRef, BinaryViewBuilder, Int32Builder, Int64Builder, RecordBatch, StringViewBuilder,
    TimestampMicrosecondBuilder,
};
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use weir_engine::ingest::{IngestTarget, RowOrigin, SourceOffset};

use weir_sql::Type;

use super::Shared;
use crate::decode::json::JsonDecoder;
use crate::status::Progress;

/// Records as they came, in one buffer.
#[derive(Debug, Default)]
pub(super) struct RawBatch {
    /// Counted from 0 in one life of the pipeline.
    pub(super) number: u64,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    partition: i32,
    offset: i64,
    /// Milliseconds since the epoch, if the record has a time.
    time: Option<i64>,
    key: Option<Range<usize>>,
    /// None in a tombstone.
    payload: Option<Range<usize>>,
}

impl RawBatch {
    pub(super) fn push(
        &mut self,
        partition: i32,
        offset: i64,
        time: Option<i64>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) {
        let mut keep = |bytes: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            start..self.bytes.len()
        };
        let (key, payload) = (key.map(&mut keep), payload.map(&mut keep));
        self.records.push(Record { partition, offset, time, key, payload });
    }

    /// Takes the batch, and leaves an empty one with the next number.
    pub(super) fn take(&mut self, spare: &Spare) -> RawBatch {
        let next = RawBatch { number: self.number + 1, ..spare.0.lock().pop().unwrap_or_default() };
        std::mem::replace(self, next)
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The next offset of each partition after this batch, and what it did there.
    pub(super) fn progress(&self) -> BTreeMap<i32, Progress> {
        let mut progress = BTreeMap::<i32, Progress>::new();
        for record in &self.records {
            let partition = progress.entry(record.partition).or_default();
            partition.next = record.offset + 1;
            partition.events += 1;
            partition.times.extend(record.time);
        }
        progress
    }
}

/// Buffers that wait to be filled again: tens of megabytes each, which the system would have to clear anew for every batch.
#[derive(Clone, Default)]
pub(crate) struct Spare(Arc<Mutex<Vec<RawBatch>>>);

impl Spare {
    /// As many as there may be between the stages.
    const KEPT_MAX: usize = 8;

    /// Keeps the buffers of a batch that is done with.
    pub(super) fn put(&self, mut batch: RawBatch) {
        batch.bytes.clear();
        batch.records.clear();
        let mut kept = self.0.lock();
        if kept.len() < Spare::KEPT_MAX {
            kept.push(batch);
        }
    }
}

/// A batch as columns. The raw records stay with it until it is committed: they are decoded again if the table changes meanwhile.
#[derive(Debug)]
pub(super) struct DecodedBatch {
    pub(super) raw: RawBatch,
    pub(super) rows: RecordBatch,
    /// Which partitions the rows came from, in order.
    pub(super) origins: Vec<RowOrigin>,
    pub(super) dead_letters: Option<RecordBatch>,
    pub(super) progress: BTreeMap<i32, Progress>,
}

impl DecodedBatch {
    /// The offsets after this batch.
    pub(super) fn offsets(&self, source: &str) -> Vec<SourceOffset> {
        let offset = |(&partition, progress): (&i32, &Progress)| SourceOffset {
            source: source.to_string(),
            partition,
            next: progress.next,
        };
        self.progress.iter().map(offset).collect()
    }
}

/// Decodes batches until there are no more.
pub(super) fn decode_all(
    shared: &Shared,
    target: &IngestTarget,
    raw: &Receiver<RawBatch>,
    decoded: &Sender<Result<DecodedBatch, String>>,
) {
    let mut decoder = match JsonDecoder::new(target, shared.subscription.extra_column.as_deref()) {
        Ok(decoder) => decoder,
        Err(why) => return drop(decoded.send(Err(why))),
    };
    decoder.set_evolving(shared.subscription.evolve_to.is_some());
    let mut full = false;
    for batch in raw {
        let batch = decode(shared, &mut decoder, batch);
        if let (Some(max), false) = (shared.subscription.evolve_to, full) {
            // The batch is decoded again when it comes to be committed: the table has other columns then.
            full = !add_columns(shared, target, &decoder.take_new_fields(), max);
            decoder.set_evolving(!full);
        }
        if decoded.send(Ok(batch)).is_err() {
            return;
        }
    }
}

/// Gives the table columns for new fields; false if it may not have them.
fn add_columns(shared: &Shared, target: &IngestTarget, fields: &[(String, Type)], max: usize) -> bool {
    if fields.is_empty() {
        return true;
    }
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let name = &shared.subscription.name;
    if target.columns.len() + fields.len() > max {
        tracing::warn!(source = %name, ?names, max, "fields get no column: the table may have no more");
        return false;
    }
    match shared.db.add_columns(&target.table, fields) {
        Ok(()) => {
            tracing::info!(source = %name, ?names, "the table has columns for new fields");
            true
        }
        Err(e) => {
            tracing::warn!(source = %name, ?names, "fields get no column: {}", e.message);
            false
        }
    }
}

fn decode(shared: &Shared, decoder: &mut JsonDecoder, raw: RawBatch) -> DecodedBatch {
    let mut dead = DeadLetters::default();
    let mut progress = raw.progress();
    let mut origins = Vec::<RowOrigin>::new();
    for record in &raw.records {
        let payload = record.payload.clone().map(|payload| &raw.bytes[payload]);
        let outcome = match payload {
            Some(payload) => decoder.push(payload),
            None => Err("the record has no value: it is a tombstone".to_string()),
        };
        match outcome {
            Ok(()) => match origins.last_mut() {
                Some(run) if run.partition == record.partition => run.rows += 1,
                _ => origins.push(RowOrigin { partition: record.partition, rows: 1 }),
            },
            Err(reason) => {
                let key = record.key.clone().map(|key| &raw.bytes[key]);
                dead.push(&shared.subscription.topic, record, key, payload, &reason);
                progress.entry(record.partition).or_default().dead_letters += 1;
            }
        }
    }
    let rows = decoder.finish();
    DecodedBatch { rows, origins, dead_letters: dead.finish(shared), progress, raw }
}

/// Rows of `weir.dead_letters` in the making.
#[derive(Default)]
struct DeadLetters {
    topics: StringViewBuilder,
    partitions: Int32Builder,
    offsets: Int64Builder,
    keys: BinaryViewBuilder,
    raws: BinaryViewBuilder,
    reasons: StringViewBuilder,
    times: Vec<i64>,
}

impl DeadLetters {
    fn push(&mut self, topic: &str, record: &Record, key: Option<&[u8]>, raw: Option<&[u8]>, reason: &str) {
        self.topics.append_value(topic);
        self.partitions.append_value(record.partition);
        self.offsets.append_value(record.offset);
        self.keys.append_option(key);
        self.raws.append_option(raw);
        self.reasons.append_value(reason);
        self.times.push(record.time.map_or_else(now_micros, |millis| millis * 1000));
    }

    fn finish(mut self, shared: &Shared) -> Option<RecordBatch> {
        if self.times.is_empty() {
            return None;
        }
        let schema = shared.db.dead_letter_schema();
        let time = schema.field_with_name("time").ok()?.data_type().clone();
        let mut times = TimestampMicrosecondBuilder::new().with_data_type(time);
        times.append_slice(&self.times);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.topics.finish()),
            Arc::new(self.partitions.finish()),
            Arc::new(self.offsets.finish()),
            Arc::new(self.keys.finish()),
            Arc::new(self.raws.finish()),
            Arc::new(self.reasons.finish()),
            Arc::new(times.finish()),
        ];
        Some(RecordBatch::try_new(schema, arrays).expect("arrays in the order of weir.dead_letters"))
    }
}

/// The wall clock, in microseconds since the epoch.
pub(super) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use weir_engine::Database;

    use super::*;
    use crate::status::Board;
    use crate::subscription::Subscription;

    #[test]
    fn rows_are_told_apart_by_partition() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::open(folder.path()).expect("it opens");
        db.execute("CREATE TABLE t (id bigint)").expect("a table");
        let target = db.ingest_target("t").expect("the table is there");
        let shared = Shared {
            db,
            subscription: Arc::new(Subscription::new("s", "", "topic", "t")),
            board: Board::default(),
            stop: Arc::new(AtomicBool::new(false)),
            restart: Arc::new(AtomicBool::new(false)),
            spare: Spare::default(),
        };
        let mut raw = RawBatch::default();
        // Records that are no rows are of no run.
        let records =
            [(1, r#"{"id": 1}"#), (1, "{"), (1, r#"{"id": 2}"#), (0, "no"), (2, r#"{"id": 3}"#), (1, r#"{"id": 4}"#)];
        for (offset, (partition, record)) in records.into_iter().enumerate() {
            raw.push(partition, offset as i64, None, None, Some(record.as_bytes()));
        }
        raw.push(0, 9, None, None, None);
        let mut decoder = JsonDecoder::new(&target, None).expect("a decoder");
        let decoded = decode(&shared, &mut decoder, raw);
        let run = |partition, rows| RowOrigin { partition, rows };
        assert_eq!(decoded.origins, [run(1, 2), run(2, 1), run(1, 1)]);
        assert_eq!((decoded.rows.num_rows(), decoded.dead_letters.map(|dead| dead.num_rows())), (4, Some(3)));
    }
}
