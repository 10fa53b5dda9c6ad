//! Scans: a table's granules, a computed relation's batches, a view's states.
//!
//! A granule is a morsel. Its filter columns are read first; the other columns are read only if rows passed, and only at those rows (late
//! materialisation). What storage can prune by is handed to it before (see `prune`), and so is what joins above know by then of their
//! other sides (`runtime_filter`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, NullArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use weir_sql::plan::{self, Expr};
use weir_sql::{Type, walk};
use weir_storage::{Condition, Snapshot, TableId};

use super::faded::Faded;
use super::granules::Granules;
use super::{key_lookup, prune};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, RelationRows};
use crate::exec::explain;
use crate::exec::expression::{Expression, select_all};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::partial;
use crate::exec::pipeline::{Emit, Numbered, Source};
use crate::exec::runtime_filter::{Trial, Wanted};

/// Compiles a scan.
pub(crate) fn compile(scan: &plan::Scan, wanted: &[Wanted], context: &Arc<QueryContext>) -> Result<Node> {
    let relation = &scan.relation;
    let rows = context.relations.rows(relation)?;
    let mut faded = Vec::new();
    let (filters, stored) = match rows {
        RelationRows::View { snapshot, table, view } => {
            return partial::compile_view(scan, &snapshot, table, &view, context);
        }
        RelationRows::States { snapshot, table, view } => {
            return partial::compile_states(scan, snapshot, table, &view, context);
        }
        RelationRows::Stored { snapshot, table, filters, shown } => {
            faded = shown;
            (filters.into_iter().chain(scan.filters.iter().cloned()).collect(), Rows::Stored(snapshot, table))
        }
        RelationRows::Batches(batches) => (scan.filters.clone(), Rows::Batches(Arc::new(batches))),
    };
    let filters: Vec<Expr> = filters.into_iter().flat_map(walk::conjuncts).collect();
    let types: Vec<Type> = relation.columns.iter().map(|c| c.ty.clone()).collect();
    let (mut conditions, mut indexes) = (Vec::new(), String::new());
    if let Rows::Stored(snapshot, table) = &stored {
        let indexed = snapshot.table(*table).map_or(Vec::new(), |table| prune::indexed(table.def(), &types));
        // What storage knows of a column is not what is shown of it.
        let is_faded = |column: usize| faded.iter().any(|(faded, _)| *faded == column);
        let known = |filter: &&Expr| !walk::columns_read(filter).into_iter().any(is_faded);
        let known: Vec<Expr> = filters.iter().filter(known).cloned().collect();
        conditions = prune::conditions(&known, &types, &indexed, context);
        indexes = prune::index_names(&conditions, &indexed);
    }
    let mut names: Vec<String> = relation.columns.iter().map(|c| c.name.clone()).collect();
    names.push("place".into());
    let text = filters.iter().map(|f| explain::expression(f, &names)).collect::<Vec<_>>().join(" AND ");
    let name = match relation.schema.as_str() {
        "public" | "pg_catalog" => relation.name.clone(),
        schema => format!("{schema}.{}", relation.name),
    };
    // Columns of the projection are the relation's; a place is no key, and what fades is not what storage would be asked for.
    let wanted: Vec<Wanted> = wanted
        .iter()
        .map(|wanted| wanted.at(scan.projection[wanted.column]))
        .filter(|wanted| types.get(wanted.column).is_some_and(|ty| wanted.fits(ty)))
        .filter(|wanted| !faded.iter().any(|(faded, _)| *faded == wanted.column))
        .collect();
    let reader = Reader::new(&filters, &scan.projection, relation.columns.len(), &faded, context)?;
    // A place is no part of the row, and may be another's tomorrow.
    let reads_place = filters.iter().flat_map(walk::columns_read).any(|column| column >= types.len());
    let scan_node = Scan {
        name,
        rows: stored,
        conditions,
        indexes,
        reader: Arc::new(reader),
        filters: (faded.is_empty() && !reads_place).then(|| filters.into()),
        text,
        wanted,
        columns: names,
        types,
    };
    Ok(Node::new(scan_node, &scan.columns))
}

enum Rows {
    Stored(Snapshot, TableId),
    Batches(Arc<Vec<RecordBatch>>),
}

struct Scan {
    name: String,
    rows: Rows,
    conditions: Vec<Condition>,
    /// The skip indexes that are asked, for EXPLAIN.
    indexes: String,
    reader: Arc<Reader>,
    /// Over the relation's columns; `None` where they are not all that is shown of the rows.
    filters: Option<Arc<[Expr]>>,
    text: String,
    /// Filters that joins will have made when the scan opens, over the relation's columns.
    wanted: Vec<Wanted>,
    /// The relation's columns' names and types.
    columns: Vec<String>,
    types: Vec<Type>,
}

/// Filters and projects granules.
pub(crate) struct Reader {
    filters: Vec<Expression>,
    /// Columns that filters read, sorted.
    filtered: Vec<usize>,
    projection: Vec<usize>,
    /// Columns that are put out but not filtered by, in the order of the projection, each once.
    rest: Vec<usize>,
    /// How many columns a row has; the column of this number is its place.
    width: usize,
    faded: Faded,
}

impl Reader {
    pub(crate) fn new(
        filters: &[Expr],
        projection: &[usize],
        width: usize,
        faded: &[(usize, Expr)],
        context: &Arc<QueryContext>,
    ) -> Result<Reader> {
        let filters = Expression::list(filters, context)?;
        let mut filtered: Vec<usize> = filters.iter().flat_map(|f| f.columns.iter().copied()).collect();
        filtered.sort_unstable();
        filtered.dedup();
        let mut rest: Vec<usize> = projection.iter().copied().filter(|c| !filtered.contains(c)).collect();
        rest.sort_unstable();
        rest.dedup();
        let faded = Faded::new(faded, width + 1, context)?;
        Ok(Reader { filters, filtered, projection: projection.to_vec(), rest, width, faded })
    }

    /// How many columns a row has; the column of this number is its place.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        self.filters.iter().for_each(|f| f.prepare(context));
        self.faded.prepare(context);
    }

    /// One granule's rows. `read` gives columns, of all rows or of some.
    pub(crate) fn granule(
        &self,
        rows: usize,
        trials: &[Trial],
        read: impl Fn(&[usize], Option<&[u32]>) -> Result<Vec<ArrayRef>>,
        context: &Arc<QueryContext>,
        emit: Emit<'_>,
    ) -> Result<()> {
        let read = |columns: &[usize], selection: Option<&[u32]>| {
            self.faded.read(columns, |columns| read(columns, selection), context)
        };
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.width + 1];
        let mut selection: Option<UInt32Array> = None;
        if !self.filters.is_empty() {
            for (&column, array) in self.filtered.iter().zip(read(&self.filtered, None)?) {
                columns[column] = Some(array);
            }
            let nothing: ArrayRef = Arc::new(NullArray::new(rows));
            let batch =
                Batch::new(columns.iter().map(|c| c.clone().unwrap_or_else(|| nothing.clone())).collect(), rows);
            let keep = select_all(&self.filters, &batch, context)?.filter(|keep| keep.true_count() < rows);
            selection = keep.map(|keep| keep.values().set_indices_u32().collect::<Vec<_>>().into());
            self.filtered.iter().filter(|c| !self.projection.contains(c)).for_each(|&c| columns[c] = None);
            if let Some(selection) = &selection {
                narrow(&mut columns, selection)?;
            }
        }
        for trial in trials {
            if selection.as_ref().is_some_and(|rows| rows.is_empty()) {
                break;
            }
            let column = &mut columns[trial.column];
            if column.is_none() {
                *column = read(&[trial.column], selection.as_ref().map(|s| &**s.values()))?.pop();
            }
            let Some(passing) = column.as_ref().map(|keys| trial.passing(keys)).transpose()?.flatten() else {
                continue;
            };
            narrow(&mut columns, &passing)?;
            selection = Some(match &selection {
                None => passing,
                Some(before) => take(before, &passing, None)?.as_primitive().clone(),
            });
        }
        let passed = selection.as_ref().map_or(rows, |rows| rows.len());
        if passed == 0 {
            return Ok(());
        }
        let missing: Vec<usize> = self.rest.iter().copied().filter(|&c| columns[c].is_none()).collect();
        if !missing.is_empty() {
            for (&column, array) in missing.iter().zip(read(&missing, selection.as_ref().map(|s| &**s.values()))?) {
                columns[column] = Some(array);
            }
        }
        let column = |&c: &usize| columns[c].clone().ok_or_else(|| Error::internal("a column was not read"));
        emit(Batch::new(self.projection.iter().map(column).collect::<Result<_>>()?, passed))
    }
}

/// The columns that were read, at some of their rows.
fn narrow(columns: &mut [Option<ArrayRef>], rows: &UInt32Array) -> Result<()> {
    for column in columns.iter_mut().flatten() {
        *column = take(column, rows, None)?;
    }
    Ok(())
}

impl Operator for Scan {
    fn describe(&self) -> Description {
        let description = Description::new(format!("Seq Scan on {}", self.name));
        let description = match self.text.is_empty() {
            true => description,
            false => description.with("Filter", self.text.clone()),
        };
        let mut description = description;
        for (what, is_top) in [("Runtime Filter", false), ("Top-N Filter", true)] {
            let columns = self.wanted.iter().filter(|wanted| wanted.is_top() == is_top).map(|wanted| wanted.column);
            let names: Vec<&str> = columns.map(|column| self.columns[column].as_str()).collect();
            if !names.is_empty() {
                description = description.with(what, names.join(", "));
            }
        }
        if self.indexes.is_empty() { description } else { description.with("Indexes", self.indexes.clone()) }
    }

    fn children(&self) -> Vec<&Node> {
        Vec::new()
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.reader.prepare(context);
        let (reader, own) = (self.reader.clone(), context.clone());
        let trials: Vec<Trial> = self.wanted.iter().filter_map(|wanted| Trial::new(wanted, metrics)).collect();
        match &self.rows {
            Rows::Stored(snapshot, table) => {
                let mut conditions = self.conditions.clone();
                conditions.extend(trials.iter().filter_map(|trial| trial.condition(&self.types[trial.column])));
                if let Some(found) =
                    key_lookup::open(snapshot, *table, &conditions, reader.clone(), own.clone(), metrics)?
                {
                    return Ok(found);
                }
                let scan = snapshot.scan(*table, &conditions)?;
                note_pruning(&scan, metrics);
                let mut useful = Vec::new();
                for trial in trials {
                    if trial.is_useful(&scan)? {
                        useful.push(trial);
                    }
                }
                Ok(Arc::new(Granules::new(scan, reader, useful, own).with_filters(&self.filters)))
            }
            Rows::Batches(batches) => {
                // Given batches may be of any size: morsels are slices of them.
                let size = context.batch_rows.max(1);
                let batches = batches.clone();
                let mut morsels = Vec::new();
                for (i, batch) in batches.iter().enumerate() {
                    morsels.extend((0..batch.num_rows()).step_by(size).map(|start| (i, start)));
                }
                Ok(Arc::new(Numbered::new(morsels.len(), move |m, emit| {
                    let (i, start) = morsels[m];
                    let rows = size.min(batches[i].num_rows() - start);
                    let read = |columns: &[usize], selection: Option<&[u32]>| {
                        let column = |&c: &usize| {
                            let array = batches[i].column(c).slice(start, rows);
                            match selection {
                                None => Ok(array),
                                Some(rows) => {
                                    let rows = UInt32Array::from(rows.to_vec());
                                    Ok(take(&array, &rows, None)?)
                                }
                            }
                        };
                        columns.iter().map(column).collect()
                    };
                    reader.granule(rows, &trials, read, &own, emit)
                })))
            }
        }
    }
}

/// What EXPLAIN ANALYZE says of pruning.
pub(crate) fn note_pruning(scan: &weir_storage::Scan, metrics: &Metrics) {
    let stats = scan.stats();
    metrics.note("Granules Read", scan.len().to_string());
    metrics.note("Granules Total", stats.granules_total.to_string());
    metrics.note("Granules Pruned by Key", stats.granules_pruned_by_key.to_string());
    metrics.note("Granules Pruned by Zone", stats.granules_pruned_by_zone.to_string());
    metrics.note("Granules Pruned by Dictionary", stats.granules_pruned_by_dictionary.to_string());
    for (index, granules) in scan.pruned_by_index() {
        metrics.note(format!("Granules Pruned by Index {index}"), granules.to_string());
    }
    metrics.note("Parts Pruned", format!("{} of {}", stats.parts_pruned, stats.parts_total));
}
