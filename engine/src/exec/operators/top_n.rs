//! ORDER BY … LIMIT n: every thread keeps its n best rows, and what cannot be among them is dropped by one comparison: of first keys where that
//! is enough ([`TopBound`]), of all keys' bytes otherwise.

use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array};
use arrow::datatypes::UInt64Type;
use weir_sql::plan::SortKey;

use super::limit::Held;
use super::sort::SortKeys;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::operator::{Description, Metrics, Node, Opened, Operator};
use crate::exec::pipeline::{Source, drain};
use crate::exec::runs::gather;
use crate::exec::top_bound::TopBound;

pub(crate) struct TopN {
    input: Node,
    keys: Arc<SortKeys>,
    rows: usize,
    /// What the first key of a row has to be, where rows may be dropped by it.
    bound: Option<Arc<TopBound>>,
    text: String,
}

impl TopN {
    pub(crate) fn new(
        input: Node,
        keys: &[SortKey],
        rows: usize,
        bound: Option<Arc<TopBound>>,
        context: &Arc<QueryContext>,
    ) -> Result<TopN> {
        let text = explain::sort_keys(keys, &explain::names(&input.columns));
        Ok(TopN { input, keys: Arc::new(SortKeys::new(keys, context)?), rows, bound, text })
    }
}

/// A row that may be among the best.
struct Candidate {
    key: Box<[u8]>,
    at: u64,
    batch: usize,
    row: usize,
}

#[derive(Default)]
struct Best {
    candidates: Vec<Candidate>,
    batches: Vec<Batch>,
    /// The key and the position of the n-th best so far: no row behind it is wanted.
    bound: Option<(Box<[u8]>, u64)>,
    bytes: usize,
}

impl Best {
    /// Adds a batch's rows, which stand at the positions `at(row)`; whether there is a new bound.
    fn add(
        &mut self,
        n: usize,
        at: impl Fn(usize) -> u64,
        batch: &Batch,
        keys: &arrow::row::Rows,
        columns: usize,
    ) -> Result<bool> {
        let mut wanted = Vec::new();
        for row in 0..batch.rows {
            let key = keys.row(row);
            let key: &[u8] = key.as_ref();
            if self.bound.as_ref().is_some_and(|(bound, nth)| key > &**bound || key == &**bound && at(row) > *nth) {
                continue;
            }
            self.candidates.push(Candidate {
                key: key.into(),
                at: at(row),
                batch: self.batches.len(),
                row: wanted.len(),
            });
            self.bytes += key.len() + size_of::<Candidate>();
            wanted.push(row as u32);
        }
        if wanted.is_empty() {
            return Ok(false);
        }
        let kept = if wanted.len() == batch.rows { batch.clone() } else { batch.take(&UInt32Array::from(wanted))? };
        self.bytes += kept.bytes();
        self.batches.push(kept);
        let many = self.candidates.len() > 2 * n + 4096;
        if many {
            self.trim(n, columns)?;
        }
        Ok(many)
    }

    /// Drops all but the n best of more.
    fn trim(&mut self, n: usize, columns: usize) -> Result<()> {
        self.candidates.select_nth_unstable_by(n - 1, |a, b| a.key.cmp(&b.key).then(a.at.cmp(&b.at)));
        self.candidates.truncate(n);
        self.bound = Some((self.candidates[n - 1].key.clone(), self.candidates[n - 1].at));
        let places: Vec<_> = self.candidates.iter().map(|c| (c.batch, c.row)).collect();
        let batch = gather(&self.batches, columns, &places)?;
        self.candidates.iter_mut().enumerate().for_each(|(row, c)| (c.batch, c.row) = (0, row));
        self.bytes =
            batch.bytes() + self.candidates.iter().map(|c| c.key.len() + size_of::<Candidate>()).sum::<usize>();
        self.batches = vec![batch];
        Ok(())
    }

    /// The n-th best row, once there is a bound.
    fn nth(&self, n: usize) -> Batch {
        let nth = &self.candidates[n - 1];
        self.batches[nth.batch].slice(nth.row, 1)
    }
}

impl Operator for TopN {
    fn describe(&self) -> Description {
        Description::new("Sort").with("Sort Key", self.text.clone()).with("Sort Method", format!("top-{}", self.rows))
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        if self.rows == 0 {
            return Ok(Arc::new(Held::new(Vec::new(), Vec::new())));
        }
        self.keys.prepare(context);
        if let Some(bound) = &self.bound {
            bound.reset();
        }
        let Opened { source: input, is_placed } = self.input.open_unordered(context)?;
        let columns = self.input.columns.len();
        let locals = drain(
            context,
            input.as_ref(),
            || Ok((Best::default(), context.memory.reservation("Sort"))),
            |(best, held), start, mut batch| {
                let places = if is_placed { batch.columns.pop() } else { None };
                let at = |row: usize| match &places {
                    Some(places) => places.as_primitive::<UInt64Type>().value(row),
                    None => start + row as u64,
                };
                let passing = match &self.bound {
                    Some(bound) => bound.passing(&self.keys.first(&batch, context)?)?,
                    None => None,
                };
                let tighter = match passing {
                    Some(rows) if rows.is_empty() => return Ok(()),
                    Some(rows) => {
                        let few = batch.take(&rows)?;
                        let keys = self.keys.encode(&few, context)?;
                        best.add(self.rows, |row| at(rows.value(row) as usize), &few, &keys, columns)?
                    }
                    None => {
                        let keys = self.keys.encode(&batch, context)?;
                        best.add(self.rows, at, &batch, &keys, columns)?
                    }
                };
                if let (true, Some(bound)) = (tighter, &self.bound) {
                    bound.tighten(self.keys.first(&best.nth(self.rows), context)?);
                }
                held.resize(best.bytes)
            },
        )?;
        let (mut batches, mut candidates, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for (best, reservation) in locals {
            let offset = batches.len();
            batches.extend(best.batches);
            candidates.extend(best.candidates.into_iter().map(|c| Candidate { batch: c.batch + offset, ..c }));
            metrics.held(&reservation);
            held.push(reservation);
        }
        candidates.sort_unstable_by(|a, b| a.key.cmp(&b.key).then(a.at.cmp(&b.at)));
        candidates.truncate(self.rows);
        let chunks = candidates
            .chunks(context.batch_rows.max(1))
            .map(|run| gather(&batches, columns, &run.iter().map(|c| (c.batch, c.row)).collect::<Vec<_>>()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Held::new(chunks, held)))
    }
}
