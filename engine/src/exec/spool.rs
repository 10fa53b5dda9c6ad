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

/// Rows that are kept; each reader gets them all, in order.
pub struct Spool {
    kept: Vec<(u64, Kept)>,
    file: Option<Arc<SpillFile>>,
    _held: Vec<Reservation>,
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
        Ok(Arc::new(Spool { kept, file, _held: held }))
    }

    /// The rows.
    pub(crate) fn read(self: &Arc<Self>) -> Arc<dyn Source> {
        let spool = self.clone();
        Arc::new(Numbered::new(self.kept.len(), move |i, emit| {
            emit(match (&spool.kept[i].1, &spool.file) {
                (Kept::Memory(batch), _) => batch.clone(),
                (Kept::Disk(extent), Some(file)) => file.read(extent)?,
                (Kept::Disk(_), None) => return Err(Error::internal("a spool on disk has a file")),
            })
        }))
    }
}
