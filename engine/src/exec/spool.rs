//! All rows of a source, kept to be read afterwards: in memory while they fit, on disk beyond that.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::pipeline::{Numbered, Source, drain};
use crate::exec::spill::{Extent, SharedFile, SpillFile};

/// A batch that is kept.
enum Kept {
    Memory(Batch),
    Disk(Extent, Arc<SpillFile>),
}

/// Reads a source to its end; the result gives its rows in order.
pub(crate) fn spool(
    context: &Arc<QueryContext>,
    source: &dyn Source,
    owner: &'static str,
    metrics: &Metrics,
) -> Result<Arc<dyn Source>> {
    let file = SharedFile::default();
    let locals = drain(
        context,
        source,
        || Ok((Vec::new(), context.memory.reservation(owner))),
        |(kept, held), at, batch| {
            kept.push((
                at,
                match held.fits(held.bytes() + batch.bytes())? {
                    true => Kept::Memory(batch),
                    false => {
                        let file = file.get(context)?;
                        Kept::Disk(file.append(&batch)?, file)
                    }
                },
            ));
            Ok(())
        },
    )?;
    if let Some(file) = file.used() {
        file.note(metrics);
    }
    let (kept, held): (Vec<_>, Vec<_>) = locals.into_iter().unzip();
    held.iter().for_each(|held| metrics.held(held));
    let mut kept: Vec<(u64, Kept)> = kept.into_iter().flatten().collect();
    kept.sort_unstable_by_key(|(at, _)| *at);
    Ok(Arc::new(Numbered::new(kept.len(), move |i, emit| {
        let _ = &held;
        emit(match &kept[i].1 {
            Kept::Memory(batch) => batch.clone(),
            Kept::Disk(extent, file) => file.read(extent)?,
        })
    })))
}
