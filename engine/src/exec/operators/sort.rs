//! ORDER BY: all rows in memory, sorted in parallel by their keys' row bytes.
//!
//! Keys are normalised and encoded so that bytes compare as SQL does; the first sixteen bytes stand in the entry itself, so that most comparisons
//! touch nothing else. Equal keys keep the order of the input: the answer is always the same. Rows are gathered morsel by morsel when they
//! are read.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::compute::{SortOptions, interleave};
use arrow::row::{RowConverter, Rows};
use weir_sql::Type;
use weir_sql::plan::SortKey;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, arrays};
use crate::exec::keys;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Numbered, Source, drain, sort};

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

    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        self.exprs.iter().for_each(|e| e.prepare(context));
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
        let locals = drain(
            context,
            input.as_ref(),
            || Ok((Vec::new(), context.memory.reservation("Sort"))),
            |(batches, held), at, batch| {
                let rows = self.keys.encode(&batch, context)?;
                held.grow(batch.bytes() + rows.size() + batch.rows * size_of::<Entry>())?;
                batches.push((at, batch, rows));
                Ok(())
            },
        )?;
        let (mut batches, mut held) = (Vec::new(), Vec::new());
        for (local, reservation) in locals {
            batches.extend(local);
            metrics.held(&reservation);
            held.push(reservation);
        }
        batches.sort_unstable_by_key(|(at, _, _)| *at);
        let mut entries = Vec::with_capacity(batches.iter().map(|(_, batch, _)| batch.rows).sum());
        for (i, (_, batch, rows)) in batches.iter().enumerate() {
            entries.extend((0..batch.rows).map(|row| Entry {
                prefix: prefix(rows.row(row).as_ref()),
                batch: i as u32,
                row: row as u32,
            }));
        }
        // Keys of one short length are in the entries as a whole.
        let mut lengths = batches.iter().flat_map(|(_, b, rows)| (0..b.rows).map(|row| rows.row(row).as_ref().len()));
        let length = lengths.next().unwrap_or(0);
        let whole = length <= PREFIX && lengths.all(|n| n == length);
        let key = |e: &Entry| batches[e.batch as usize].2.row(e.row as usize);
        let compare = |a: &Entry, b: &Entry| -> Ordering {
            a.prefix
                .cmp(&b.prefix)
                .then_with(|| if whole { Ordering::Equal } else { key(a).cmp(&key(b)) })
                .then_with(|| (a.batch, a.row).cmp(&(b.batch, b.row)))
        };
        sort(context, &mut entries, compare)?;
        let batches: Vec<Batch> = batches.into_iter().map(|(_, batch, _)| batch).collect();
        let (size, columns) = (context.batch_rows.max(1), self.input.columns.len());
        Ok(Arc::new(Numbered::new(entries.len().div_ceil(size), move |i, emit| {
            let _ = &held;
            let run = &entries[i * size..((i + 1) * size).min(entries.len())];
            emit(gather(&batches, columns, run.iter().map(|e| (e.batch as usize, e.row as usize)))?)
        })))
    }
}

/// Rows of several batches as one.
pub(crate) fn gather(batches: &[Batch], columns: usize, places: impl Iterator<Item = (usize, usize)>) -> Result<Batch> {
    let places: Vec<_> = places.collect();
    let columns = (0..columns)
        .map(|c| interleave(&batches.iter().map(|b| b.columns[c].as_ref()).collect::<Vec<_>>(), &places))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Batch::new(columns, places.len()))
}
