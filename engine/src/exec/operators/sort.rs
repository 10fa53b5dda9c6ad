//! ORDER BY: rows sorted by their keys' row bytes, in memory in parallel; what does not fit goes to disk in sorted runs.
//!
//! Keys are normalised and encoded so that bytes compare as SQL does; the first sixteen bytes stand in the entry itself, so that most comparisons
//! touch nothing else. Equal keys keep the order of the input: the answer is always the same. Rows are gathered morsel by morsel when they
//! are read. A run's key is the row's key and then its position in the input, so that the merge keeps that order too.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, Rows};
use weir_sql::Type;
use weir_sql::plan::SortKey;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, arrays};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Numbered, Source, drain, parallel, sort};
use crate::exec::runs::{Run, RunWriter, gather, merge};
use crate::exec::spill::{SharedFile, SpillFile};

pub(crate) struct Sort {
    input: Node,
    keys: Arc<SortKeys>,
    text: String,
}

/// Compiled ORDER BY keys.
pub(crate) struct SortKeys {
    exprs: Vec<Expression>,
    types: Vec<Type>,
    converter: RowConverter,
}

impl SortKeys {
    pub(crate) fn new(keys: &[SortKey], context: &Arc<QueryContext>) -> Result<SortKeys> {
        let exprs = Expression::list(keys.iter().map(|k| &k.expr), context)?;
        let types: Vec<Type> = exprs.iter().map(|e| e.ty.clone()).collect();
        let options: Vec<SortOptions> =
            keys.iter().map(|k| SortOptions { descending: k.descending, nulls_first: k.nulls_first }).collect();
        let converter = keys::row_converter(&types, &options)?;
        Ok(SortKeys { exprs, types, converter })
    }

    /// Whether all rows are equal.
    pub(crate) fn is_empty(&self) -> bool {
        self.exprs.is_empty()
    }

    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        self.exprs.iter().for_each(|e| e.prepare(context));
    }

    /// Each row's first key.
    pub(crate) fn first(&self, batch: &Batch, context: &Arc<QueryContext>) -> Result<ArrayRef> {
        self.exprs[0].array(batch, context)
    }

    /// Each row's key as bytes.
    pub(crate) fn encode(&self, batch: &Batch, context: &Arc<QueryContext>) -> Result<Rows> {
        let columns = keys::normalize_all(&self.types, &arrays(&self.exprs, batch, context)?)?;
        Ok(self.converter.convert_columns(&columns)?)
    }
}

impl Sort {
    pub(crate) fn new(input: Node, keys: &[SortKey], context: &Arc<QueryContext>) -> Result<Sort> {
        let text = explain::sort_keys(keys, &explain::names(&input.columns));
        Ok(Sort { input, keys: Arc::new(SortKeys::new(keys, context)?), text })
    }
}

/// A row among all batches.
#[derive(Clone, Copy)]
struct Entry {
    prefix: [u64; 2],
    batch: u32,
    row: u32,
}

/// The first bytes, as numbers that compare like them.
fn prefix(key: &[u8]) -> [u64; 2] {
    let mut bytes = [0; PREFIX];
    let n = key.len().min(PREFIX);
    bytes[..n].copy_from_slice(&key[..n]);
    let bytes = u128::from_be_bytes(bytes);
    [(bytes >> 64) as u64, bytes as u64]
}

/// Bytes of a key that stand in the entry.
const PREFIX: usize = 16;

/// A batch of the input: where it stands, its rows, and their keys.
struct Input {
    at: u64,
    batch: Batch,
    keys: Rows,
}

/// The rows of some batches in order, with the batches' numbers.
fn sorted(inputs: &[Input], context: &QueryContext) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(inputs.iter().map(|input| input.batch.rows).sum());
    for (i, input) in inputs.iter().enumerate() {
        entries.extend((0..input.batch.rows).map(|row| Entry {
            prefix: prefix(input.keys.row(row).as_ref()),
            batch: i as u32,
            row: row as u32,
        }));
    }
    // Keys of one short length are in the entries as a whole.
    let mut lengths = inputs.iter().flat_map(|i| (0..i.batch.rows).map(|row| i.keys.row(row).as_ref().len()));
    let length = lengths.next().unwrap_or(0);
    let whole = length <= PREFIX && lengths.all(|n| n == length);
    let key = |e: &Entry| inputs[e.batch as usize].keys.row(e.row as usize);
    let compare = |a: &Entry, b: &Entry| -> Ordering {
        a.prefix
            .cmp(&b.prefix)
            .then_with(|| if whole { Ordering::Equal } else { key(a).cmp(&key(b)) })
            .then_with(|| (a.batch, a.row).cmp(&(b.batch, b.row)))
    };
    sort(context, &mut entries, compare)?;
    Ok(entries)
}

/// What one thread has read.
struct Local {
    inputs: Vec<Input>,
    held: Reservation,
    runs: Vec<Run>,
}

impl Local {
    /// Writes what is held as a run.
    fn spill(&mut self, file: &SpillFile, context: &QueryContext) -> Result<()> {
        let inputs = std::mem::take(&mut self.inputs);
        let columns = inputs.first().map_or(0, |input| input.batch.columns.len());
        let entries = sorted(&inputs, context)?;
        let batches: Vec<Batch> = inputs.iter().map(|input| input.batch.clone()).collect();
        let mut writer = RunWriter::new(file);
        for entries in entries.chunks(RUN_ROWS) {
            context.cancel.check()?;
            let places: Vec<(usize, usize)> = entries.iter().map(|e| (e.batch as usize, e.row as usize)).collect();
            let keys = BinaryArray::from_iter_values(places.iter().map(|&(batch, row)| {
                let input = &inputs[batch];
                [input.keys.row(row).as_ref(), &(input.at + row as u64).to_be_bytes()].concat()
            }));
            writer.push(gather(&batches, columns, &places)?, keys)?;
        }
        self.runs.extend(writer.finish()?);
        self.held.resize(0)
    }
}

/// Rows that are gathered at once for a run.
const RUN_ROWS: usize = 1024;

impl Operator for Sort {
    fn describe(&self) -> Description {
        Description::new("Sort").with("Sort Key", self.text.clone())
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.keys.prepare(context);
        let input = self.input.open(context)?;
        let file = SharedFile::default();
        let mut locals = drain(
            context,
            input.as_ref(),
            || Ok(Local { inputs: Vec::new(), held: context.memory.reservation("Sort"), runs: Vec::new() }),
            |local, at, batch| {
                let keys = self.keys.encode(&batch, context)?;
                let bytes = batch.bytes() + keys.size() + batch.rows * size_of::<Entry>();
                local.inputs.push(Input { at, batch, keys });
                match local.held.fits(local.held.bytes() + bytes)? {
                    true => Ok(()),
                    false => local.spill(&*file.get(context)?, context),
                }
            },
        )?;
        locals.iter().for_each(|local| metrics.held(&local.held));
        if let Some(file) = file.used() {
            let locals: Vec<_> = locals.into_iter().map(parking_lot::Mutex::new).collect();
            let runs = parallel(context, locals.len(), |i| {
                let mut local = locals[i].lock();
                local.spill(&file, context)?;
                Ok(std::mem::take(&mut local.runs))
            })?;
            file.note(metrics);
            return merge(context, file, runs.into_iter().flatten().collect());
        }
        let mut inputs: Vec<Input> = locals.iter_mut().flat_map(|local| std::mem::take(&mut local.inputs)).collect();
        inputs.sort_unstable_by_key(|input| input.at);
        let entries = sorted(&inputs, context)?;
        let batches: Vec<Batch> = inputs.into_iter().map(|input| input.batch).collect();
        let held: Vec<Reservation> = locals.into_iter().map(|local| local.held).collect();
        let (size, columns) = (context.batch_rows.max(1), self.input.columns.len());
        Ok(Arc::new(Numbered::new(entries.len().div_ceil(size), move |i, emit| {
            let _ = &held;
            let run = &entries[i * size..((i + 1) * size).min(entries.len())];
            let places: Vec<(usize, usize)> = run.iter().map(|e| (e.batch as usize, e.row as usize)).collect();
            emit(gather(&batches, columns, &places)?)
        })))
    }
}
