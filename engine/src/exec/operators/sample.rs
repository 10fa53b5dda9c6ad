//! Samples: some of the rows, by chance, and always the same ones for the same seed and input.
//!
//! Whether a row is taken is decided by a hash of the seed and of the row's position (its morsel, and its place in it), so that neither threads nor
//! batches matter. A number of rows is the rows of the least hashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, BooleanArray, UInt32Array};
use arrow::datatypes::Float64Type;
use weir_sql::plan::{Expr, Sample};

use super::limit::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Source, Task, drain};

pub(crate) struct SampleScan {
    input: Node,
    of: Sample,
    amount: Expression,
    offset: Option<Expression>,
    seed: Option<Expression>,
}

impl SampleScan {
    pub(crate) fn new(
        input: Node,
        of: Sample,
        amount: &Expr,
        offset: Option<&Expr>,
        seed: Option<&Expr>,
        context: &Arc<QueryContext>,
    ) -> Result<SampleScan> {
        let optional = |expr: Option<&Expr>| expr.map(|expr| Expression::new(expr, context)).transpose();
        let (offset, seed) = (optional(offset)?, optional(seed)?);
        Ok(SampleScan { input, of, amount: Expression::new(amount, context)?, offset, seed })
    }

    /// The least hashes' rows, in order.
    fn rows(
        &self,
        source: Arc<dyn Source>,
        count: usize,
        seed: u64,
        context: &Arc<QueryContext>,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<dyn Source>> {
        let locals = drain(
            context,
            source.as_ref(),
            || Ok((Vec::new(), u64::MAX, context.memory.reservation("Sample"))),
            |(kept, limit, held): &mut (Vec<Kept>, u64, _), at, batch| {
                let chosen: Vec<u32> =
                    (0..batch.rows as u32).filter(|&row| chance(seed, at + u64::from(row)) <= *limit).collect();
                if chosen.is_empty() || count == 0 {
                    return Ok(());
                }
                let rows = batch.take(&UInt32Array::from(chosen.clone()))?;
                held.grow(rows.bytes())?;
                for (place, row) in chosen.into_iter().enumerate() {
                    let at = at + u64::from(row);
                    kept.push(Kept { chance: chance(seed, at), at, row: rows.slice(place, 1) });
                }
                if kept.len() > 2 * count {
                    kept.select_nth_unstable_by_key(count - 1, |row| row.chance);
                    kept.truncate(count);
                    *limit = kept.iter().map(|row| row.chance).max().unwrap_or(u64::MAX);
                }
                Ok(())
            },
        )?;
        let (mut kept, mut reservations) = (Vec::new(), Vec::new());
        for (rows, _, held) in locals {
            kept.extend(rows);
            metrics.held(&held);
            reservations.push(held);
        }
        kept.sort_unstable_by_key(|row| (row.chance, row.at));
        kept.truncate(count);
        kept.sort_unstable_by_key(|row| row.at);
        let rows: Vec<Batch> = kept.into_iter().map(|kept| kept.row).collect();
        let types = self.input.types();
        let size = context.batch_rows.max(1);
        let batches = rows.chunks(size).map(|rows| Batch::concat(rows, &types)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Held::new(batches, reservations)))
    }
}

/// A row that may be of the sample.
struct Kept {
    chance: u64,
    at: u64,
    row: Batch,
}

/// A number that a seed and a position give, equally spread (SplitMix64).
fn chance(seed: u64, at: u64) -> u64 {
    let mut z = (seed ^ at.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_add(at);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The chances below which a share of all lies.
fn below(share: f64) -> u64 {
    if share >= 1.0 { u64::MAX } else { (share * u64::MAX as f64) as u64 }
}

impl Operator for SampleScan {
    fn describe(&self) -> Description {
        Description::new(match self.of {
            Sample::Share => "Sample (bernoulli)",
            Sample::Blocks => "Sample (system)",
            Sample::Rows | Sample::ShareOrRows => "Sample",
        })
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let number = |expr: &Expression| -> Result<Option<f64>> {
            expr.prepare(context);
            let array = expr.array(&Batch::new(Vec::new(), 1), context)?;
            Ok(array.as_primitive::<Float64Type>().iter().next().flatten())
        };
        let invalid = |message: &str| Error::new(ErrorKind::InvalidSampleArgument, message);
        let amount = number(&self.amount)?.ok_or_else(|| invalid("TABLESAMPLE parameter cannot be null"))?;
        let seed = match &self.seed {
            Some(seed) => {
                number(seed)?.ok_or_else(|| invalid("TABLESAMPLE REPEATABLE parameter cannot be null"))?.to_bits()
            }
            None => rand::random(),
        };
        let offset = match &self.offset {
            Some(offset) => number(offset)?
                .filter(|offset| (0.0..=1.0).contains(offset))
                .ok_or_else(|| invalid("the offset of a sample must be between 0 and 1"))?,
            None => 0.0,
        };
        let source = self.input.open(context)?;
        let share = match self.of {
            Sample::Share | Sample::Blocks if (0.0..=100.0).contains(&amount) => amount / 100.0,
            Sample::Share | Sample::Blocks => {
                return Err(invalid("sample percentage must be between 0 and 100"));
            }
            Sample::ShareOrRows if (0.0..=1.0).contains(&amount) => amount,
            Sample::ShareOrRows if self.offset.is_some() => {
                return Err(invalid("only a sample of a share has an offset"));
            }
            Sample::ShareOrRows | Sample::Rows if amount >= 0.0 => {
                return self.rows(source, amount as usize, seed, context, metrics);
            }
            Sample::ShareOrRows | Sample::Rows => return Err(invalid("sample size must not be negative")),
        };
        let by_blocks = self.of == Sample::Blocks;
        // The offset's part is those of lesser chances.
        let taken = Taken { from: below(offset), to: below(offset + share), all: offset + share >= 1.0 };
        Ok(Arc::new(Shared { source, next: AtomicU64::new(0), seed, taken, by_blocks }))
    }

    fn estimate(&self) -> f64 {
        self.input.operator.estimate() / 10.0
    }
}

/// A share of the rows of a source.
struct Shared {
    source: Arc<dyn Source>,
    next: AtomicU64,
    seed: u64,
    taken: Taken,
    by_blocks: bool,
}

/// The chances that are taken.
#[derive(Clone, Copy)]
struct Taken {
    from: u64,
    to: u64,
    /// Whether the greatest chance is taken as well.
    all: bool,
}

impl Taken {
    fn takes(self, chance: u64) -> bool {
        chance >= self.from && (chance < self.to || self.all)
    }
}

impl Source for Shared {
    fn claim(&self) -> Result<Option<Task>> {
        loop {
            let Some(task) = self.source.claim()? else { return Ok(None) };
            let morsel = self.next.fetch_add(1, Ordering::Relaxed) << 32;
            let (seed, taken) = (self.seed, self.taken);
            if self.by_blocks {
                if !taken.takes(chance(seed, morsel)) {
                    continue;
                }
                return Ok(Some(task));
            }
            return Ok(Some(Box::new(move |emit| {
                let mut at = morsel;
                task(&mut |batch| {
                    let rows = (0..batch.rows as u64).map(|row| taken.takes(chance(seed, at + row)));
                    let rows = batch.filter(&BooleanArray::from(rows.collect::<Vec<bool>>()))?;
                    at += batch.rows as u64;
                    if rows.rows > 0 { emit(rows) } else { Ok(()) }
                })
            })));
        }
    }

    fn morsels(&self) -> Option<usize> {
        self.source.morsels()
    }
}
