//! ORDER BY: rows sorted by their keys' row bytes, in memory in parallel; what does not fit goes to disk in sorted runs.
//!
//! Keys are normalised and encoded so that bytes compare as SQL does; the first sixteen bytes that differ between rows stand in the entry itself, so that
//! most comparisons touch nothing else. Equal keys keep the order of the input: the answer is always the same. Rows are gathered morsel by morsel when they
//! are read. A run's key is the row's key and then its position in the input, so that the merge keeps that order too.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, Rows};
use parking_lot::Mutex;
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

/// Bytes of a key that stand in the entry.
const PREFIX: usize = 16;

/// Which bytes of a key stand in the entry.
struct Prefix {
    places: Vec<usize>,
    /// Whether no other bytes differ between keys.
    is_whole: bool,
}

impl Prefix {
    /// The first that differ between the keys, if these are of one length; the first otherwise.
    fn new(inputs: &[Input], context: &QueryContext) -> Result<Prefix> {
        let Some(first) = inputs.iter().find(|input| input.batch.rows > 0).map(|input| input.keys.row(0)) else {
            return Ok(Prefix { places: Vec::new(), is_whole: true });
        };
        let first = first.as_ref();
        // For each byte of a key the bits that differ; `None` where lengths do.
        let differences = parallel(context, inputs.len(), |i| {
            let mut all = vec![0; first.len()];
            for row in 0..inputs[i].batch.rows {
                let key = inputs[i].keys.row(row);
                if key.as_ref().len() != first.len() {
                    return Ok(None);
                }
                all.iter_mut().zip(key.as_ref().iter().zip(first)).for_each(|(all, (a, b))| *all |= a ^ b);
            }
            Ok(Some(all))
        })?;
        let Some(differences) = differences.into_iter().collect::<Option<Vec<Vec<u8>>>>() else {
            return Ok(Prefix { places: (0..PREFIX).collect(), is_whole: false });
        };
        let differs = |at: &usize| differences.iter().any(|bits| bits[*at] != 0);
        let mut places: Vec<usize> = (0..first.len()).filter(differs).collect();
        let is_whole = places.len() <= PREFIX;
        places.truncate(PREFIX);
        Ok(Prefix { places, is_whole })
    }

    /// These bytes of a key, as numbers that compare like them.
    fn of(&self, key: &[u8]) -> [u64; 2] {
        let mut bytes = [0; PREFIX];
        for (byte, &place) in bytes.iter_mut().zip(&self.places) {
            *byte = key.get(place).copied().unwrap_or(0);
        }
        let bytes = u128::from_be_bytes(bytes);
        [(bytes >> 64) as u64, bytes as u64]
    }
}

/// A batch of the input: where it stands, its rows, and their keys.
struct Input {
    at: u64,
    batch: Batch,
    keys: Rows,
}

/// The rows of some batches in order, with the batches' numbers.
fn sorted(inputs: &[Input], context: &QueryContext) -> Result<Vec<Entry>> {
    let prefix = Prefix::new(inputs, context)?;
    let rows = inputs.iter().map(|input| input.batch.rows).sum();
    let mut entries = vec![Entry { prefix: [0; 2], batch: 0, row: 0 }; rows];
    let mut rest = entries.as_mut_slice();
    let own = |input: &Input| Mutex::new(rest.split_off_mut(..input.batch.rows).unwrap_or_default());
    let of_inputs: Vec<Mutex<&mut [Entry]>> = inputs.iter().map(own).collect();
    parallel(context, inputs.len(), |i| {
        for (row, entry) in of_inputs[i].lock().iter_mut().enumerate() {
            let prefix = prefix.of(inputs[i].keys.row(row).as_ref());
            *entry = Entry { prefix, batch: i as u32, row: row as u32 };
        }
        Ok(())
    })?;
    drop(of_inputs);
    let key = |e: &Entry| inputs[e.batch as usize].keys.row(e.row as usize);
    let compare = |a: &Entry, b: &Entry| -> Ordering {
        a.prefix
            .cmp(&b.prefix)
            .then_with(|| if prefix.is_whole { Ordering::Equal } else { key(a).cmp(&key(b)) })
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
            let locals: Vec<_> = locals.into_iter().map(Mutex::new).collect();
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
