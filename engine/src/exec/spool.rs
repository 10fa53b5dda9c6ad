//! All rows of a source, kept to be read afterwards: in memory while they fit, on disk beyond that.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::operator::Metrics;
use crate::exec::pipeline::{Numbered, Source, drain};
use crate::exec::spill::{Extent, SharedFile, SpillFile};

/// A batch that is kept.
enum Kept {
    Memory(Batch),
    Disk(Extent),
}

/// Rows on their way into a [`Spool`].
pub(crate) struct Filling {
    context: Arc<QueryContext>,
    kept: Vec<(u64, Kept)>,
    file: SharedFile,
    held: Reservation,
}

impl Filling {
    /// Adds rows after those before.
    pub(crate) fn push(&mut self, batch: Batch) -> Result<()> {
        let kept = match self.held.fits(self.held.bytes() + batch.bytes())? {
            true => Kept::Memory(batch),
            false => Kept::Disk(self.file.get(&self.context)?.append(&batch)?),
        };
        self.kept.push((self.kept.len() as u64, kept));
        Ok(())
    }

    /// The rows.
    pub(crate) fn finish(self, metrics: &Metrics) -> Arc<Spool> {
        let file = self.file.used();
        if let Some(file) = &file {
            file.note(metrics);
        }
        metrics.held(&self.held);
        Arc::new(Spool { kept: self.kept, file, held: vec![self.held] })
    }
}

/// Rows that are kept; each reader gets them all, in order.
pub struct Spool {
    kept: Vec<(u64, Kept)>,
    file: Option<Arc<SpillFile>>,
    held: Vec<Reservation>,
}

impl Spool {
    /// Reads a source to its end.
    pub(crate) fn fill(
        context: &Arc<QueryContext>,
        source: &dyn Source,
        owner: &'static str,
        metrics: &Metrics,
    ) -> Result<Arc<Spool>> {
        let file = SharedFile::default();
        let locals = drain(
            context,
            source,
            || Ok((Vec::new(), context.memory.reservation(owner))),
            |(kept, held), at, batch| {
                let fits = held.fits(held.bytes() + batch.bytes())?;
                kept.push((
                    at,
                    if fits { Kept::Memory(batch) } else { Kept::Disk(file.get(context)?.append(&batch)?) },
                ));
                Ok(())
            },
        )?;
        let file = file.used();
        if let Some(file) = &file {
            file.note(metrics);
        }
        let (kept, held): (Vec<_>, Vec<_>) = locals.into_iter().unzip();
        held.iter().for_each(|held| metrics.held(held));
        let mut kept: Vec<(u64, Kept)> = kept.into_iter().flatten().collect();
        kept.sort_unstable_by_key(|(at, _)| *at);
        Ok(Arc::new(Spool { kept, file, held }))
    }

    /// No rows yet, for one who adds them in order.
    pub(crate) fn empty(context: &Arc<QueryContext>, owner: &'static str) -> Filling {
        Filling {
            context: context.clone(),
            kept: Vec::new(),
            file: SharedFile::default(),
            held: context.memory.reservation(owner),
        }
    }

    /// The rows.
    pub(crate) fn read(self: &Arc<Self>) -> Arc<dyn Source> {
        let spool = self.clone();
        Arc::new(Numbered::new(self.kept.len(), move |i, emit| emit(spool.batch(i)?)))
    }

    /// Whether some of it is on disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.file.is_some()
    }

    /// How many rows each batch has.
    pub(crate) fn sizes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.kept.iter().map(|(_, kept)| match kept {
            Kept::Memory(batch) => batch.rows,
            Kept::Disk(extent) => extent.rows,
        })
    }

    /// All batches, if they are in memory, and what is reserved for them.
    pub(crate) fn into_memory(self: Arc<Self>) -> std::result::Result<(Vec<Batch>, Vec<Reservation>), Arc<Spool>> {
        if self.file.is_some() {
            return Err(self);
        }
        let spool = Arc::try_unwrap(self)?;
        let batch = |(_, kept)| match kept {
            Kept::Memory(batch) => Some(batch),
            Kept::Disk(_) => None,
        };
        Ok((spool.kept.into_iter().filter_map(batch).collect(), spool.held))
    }

    /// The batch of this number.
    pub(crate) fn batch(&self, i: usize) -> Result<Batch> {
        Ok(match (&self.kept[i].1, &self.file) {
            (Kept::Memory(batch), _) => batch.clone(),
            (Kept::Disk(extent), Some(file)) => file.read(extent)?,
            (Kept::Disk(_), None) => return Err(Error::internal("a spool on disk has a file")),
        })
    }
}
