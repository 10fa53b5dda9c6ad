//! The granules of a stored table, as a source: one by one, or in blocks of which what is made of them may be remembered (`partial_cache`).

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::concat;
use arrow::datatypes::Int64Type;
use weir_sql::plan::Expr;
use weir_storage::{CodeRange, Coded, Prune, Run, Shown};

use super::scan::{Columns, Reader};
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::partial_cache::{BLOCK_GRANULES, BLOCK_ROWS_MIN, Block, Proof, Zones};
use crate::exec::pipeline::{Emit, Source, Task, Unit, Units};
use crate::exec::runtime_filter::Trial;

/// A scan's granules.
pub(crate) struct Granules {
    shared: Arc<Shared>,
    order: Option<Vec<usize>>,
    next: AtomicUsize,
    /// What is asked of their rows, if what is made of them may be remembered.
    filters: Option<Arc<[Expr]>>,
}

struct Shared {
    scan: weir_storage::Scan,
    reader: Arc<Reader>,
    trials: Vec<Trial>,
    context: Arc<QueryContext>,
}

impl Granules {
    pub(crate) fn new(
        scan: weir_storage::Scan,
        reader: Arc<Reader>,
        trials: Vec<Trial>,
        context: Arc<QueryContext>,
    ) -> Granules {
        let order = trials.iter().find_map(|trial| trial.order(&scan));
        let shared = Arc::new(Shared { scan, reader, trials, context });
        Granules { shared, order, next: AtomicUsize::new(0), filters: None }
    }

    /// Whose rows do not change, apart from what these say of them.
    pub(crate) fn with_filters(self, filters: &Option<Arc<[Expr]>>) -> Granules {
        // What joins and sorts want of the rows is another matter each time.
        let filters = filters.clone().filter(|_| self.shared.trials.is_empty());
        Granules { filters, ..self }
    }

    fn task(&self, granules: Range<usize>) -> Task {
        let shared = self.shared.clone();
        Box::new(move |emit| granules.into_iter().try_for_each(|i| shared.read(i, emit)))
    }
}

impl Shared {
    fn read(&self, i: usize, emit: Emit<'_>) -> Result<()> {
        let Shared { scan, reader, trials, context } = self;
        context.cancel.check()?;
        if let Some(progress) = &context.progress {
            progress.fetch_add(scan.rows(i) as u64, Ordering::Relaxed);
        }
        if trials.iter().any(|trial| trial.excludes(scan, i)) {
            return Ok(());
        }
        let granule = Granule { scan, number: i, width: reader.width() };
        reader.granule(scan.rows(i), trials, &granule, context, emit)
    }
}

/// A granule of a stored table.
struct Granule<'a> {
    scan: &'a weir_storage::Scan,
    number: usize,
    /// How many columns a row has; the column of this number is its place.
    width: usize,
}

impl Columns for Granule<'_> {
    fn read(&self, columns: &[usize], selection: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        // A place is asked for in ascending order of columns, so last.
        let stored = columns.strip_suffix(&[self.width]).unwrap_or(columns);
        let mut arrays = self.scan.read(self.number, stored, selection)?.columns().to_vec();
        if stored.len() < columns.len() {
            let places = self.scan.places(self.number, selection)?;
            arrays.push(Arc::new(places.unary::<_, Int64Type>(|place| place as i64)));
        }
        Ok(arrays)
    }

    fn codes(&self, column: usize, selection: Option<&[u32]>) -> Result<Option<Coded>> {
        Ok(self.scan.codes(self.number, column, selection)?)
    }

    fn codes_within(
        &self,
        column: usize,
        wanted: impl FnOnce(&ArrayRef) -> Option<CodeRange>,
    ) -> Result<Option<BooleanBuffer>> {
        Ok(self.scan.codes_within(self.number, column, wanted)?)
    }

    fn nulls(&self, column: usize, selection: Option<&[u32]>) -> Result<Option<NullBuffer>> {
        Ok(self.scan.nulls(self.number, column, selection)?)
    }

    fn extremes(&self, column: usize) -> Result<Option<ArrayRef>> {
        let zone = self.scan.zone(self.number, column);
        Ok(zone.map(|zone| concat(&[zone.min.as_ref(), zone.max.as_ref()])).transpose()?)
    }

    fn lengths(&self, column: usize, selection: Option<&[u32]>) -> Result<Option<Int32Array>> {
        Ok(self.scan.lengths(self.number, column, selection)?)
    }

    fn comparing(&self, comparison: &Prune) -> Result<Option<BooleanBuffer>> {
        Ok(self.scan.comparing(self.number, comparison)?)
    }

    fn containing(&self, column: usize, text: &str) -> Result<Option<BooleanBuffer>> {
        Ok(self.scan.containing(self.number, column, text)?)
    }

    fn fields(&self, column: usize, selection: Option<&[u32]>, names: &[String]) -> Result<Option<ArrayRef>> {
        Ok(self.scan.fields(self.number, column, selection, names)?)
    }
}

impl Source for Granules {
    fn claim(&self) -> Result<Option<Task>> {
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        if nth >= self.shared.scan.len() {
            return Ok(None);
        }
        let i = self.order.as_ref().map_or(nth, |order| order[nth]);
        Ok(Some(self.task(i..i + 1)))
    }

    fn morsels(&self) -> Option<usize> {
        Some(self.shared.scan.len())
    }

    fn units(&self) -> Result<Option<Units>> {
        let Some(filters) = &self.filters else { return Ok(None) };
        let Shared { scan, context, .. } = &*self.shared;
        let proofs: Vec<Proof> = filters.iter().map(|filter| Proof::new(filter, context)).collect();
        let (mut units, mut unproven) = (Vec::new(), Vec::new());
        let mut of_part: Option<(usize, Bounds)> = None;
        let mut i = 0;
        while i < scan.len() {
            let rest = i..scan.len();
            let (of, number, deleted, list, end): (Arc<dyn Any + Send + Sync>, _, _, _, _) =
                match (scan.place_in_part(i), scan.run(i)) {
                    (Some((part, granule)), _) => {
                        let shown = &scan.shown()[part];
                        let bounds = match &of_part {
                            Some((number, bounds)) if *number == part => bounds,
                            _ => &of_part.insert((part, Bounds::of_part(shown, &proofs, context)?)).1,
                        };
                        let (number, run) = bounds.block(granule);
                        let is_in_run =
                            |&i: &usize| scan.place_in_part(i).is_some_and(|(of, at)| of == part && run.contains(&at));
                        let end = i + rest.take_while(is_in_run).count();
                        (shown.part().clone(), number, shown.deleted_in(run.clone())?, bounds.unproven(&run), end)
                    }
                    (None, Some(run)) => {
                        let bounds = Bounds::of_run(run, &proofs, context)?;
                        let is_in_run = |&i: &usize| scan.run(i).is_some_and(|of| Arc::ptr_eq(of, run));
                        let end = i + rest.take_while(is_in_run).count();
                        (run.clone(), 0, scan.deleted_in_run(i), bounds.unproven(&(0..1)), end)
                    }
                    (None, None) => {
                        units.push(Unit { task: self.task(i..i + 1), block: None });
                        i += 1;
                        continue;
                    }
                };
            let list = unproven.iter().position(|known| *known == list).unwrap_or_else(|| {
                unproven.push(list);
                unproven.len() - 1
            });
            let rows = (i..end).map(|i| scan.rows(i)).sum();
            let block = Block { of, def: scan.def().clone(), number, deleted, rows };
            let block = (rows >= BLOCK_ROWS_MIN).then_some((block, list));
            units.push(Unit { task: self.task(i..end), block });
            i = end;
        }
        Ok(Some(Units { filters: filters.clone(), unproven, units }))
    }
}

/// What is known of granules of a part, or of a run of the head as one.
struct Bounds {
    granules: usize,
    /// Granules of a block.
    size: usize,
    /// For each filter, of which granules it is known to hold.
    proven: Vec<Vec<bool>>,
}

impl Bounds {
    fn of_part(part: &Shown, proofs: &[Proof], context: &Arc<QueryContext>) -> Result<Bounds> {
        let granules = part.granule_count()?;
        Bounds::new(granules, BLOCK_GRANULES, &Zones::Part(part), proofs, context)
    }

    fn of_run(run: &Run, proofs: &[Proof], context: &Arc<QueryContext>) -> Result<Bounds> {
        Bounds::new(1, 1, &Zones::Run(run), proofs, context)
    }

    fn new(
        granules: usize,
        size: usize,
        zones: &Zones<'_>,
        proofs: &[Proof],
        context: &Arc<QueryContext>,
    ) -> Result<Bounds> {
        let proven = proofs.iter().map(|proof| proof.of(zones, context)).collect::<Result<_>>()?;
        Ok(Bounds { granules, size, proven })
    }

    /// The block that a granule is in: its number and its granules.
    fn block(&self, granule: usize) -> (usize, Range<usize>) {
        let number = granule / self.size;
        (number, number * self.size..((number + 1) * self.size).min(self.granules))
    }

    /// The filters that are not known to hold for all of a run. Granules that were pruned count: what is left out of a question must hold for
    /// them too, or they might be missing from another's answer.
    fn unproven(&self, run: &Range<usize>) -> Vec<usize> {
        let holds = |proven: &Vec<bool>| proven[run.clone()].iter().all(|&known| known);
        (0..self.proven.len()).filter(|&filter| !holds(&self.proven[filter])).collect()
    }
}
