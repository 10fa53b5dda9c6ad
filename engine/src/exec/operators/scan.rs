//! Scans: a table's granules, a computed relation's batches, a view's states.
//!
//! A granule is a morsel. Its filter columns are read first; the other columns are read only if rows passed, and only at those rows (late
//! materialisation). What storage can prune by is handed to it before (see `prune`), and so is what joins above know by then of their
//! other sides (`runtime_filter`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use weir_sql::catalog::RelationKind;
use weir_sql::plan::{self, Expr};
use weir_sql::{Type, walk};
use weir_storage::{CodeRange, Coded, Condition, Prune, Snapshot, TableId};

use super::coded::CodedFilter;
use super::contained::Contained;
use super::faded::Faded;
use super::fields;
use super::granules::Granules;
use super::reads::Reads;
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

/// Compiles a scan. `reads`: how its columns are read above.
pub(super) fn compile(scan: &plan::Scan, wanted: &[Wanted], reads: Reads, context: &Arc<QueryContext>) -> Result<Node> {
    let relation = &scan.relation;
    let rows = context.relations.rows(relation)?;
    let mut faded = Vec::new();
    let (filters, stored) = match rows {
        RelationRows::View { snapshot, table, view, filters } => {
            return partial::compile_view(scan, &snapshot, table, &view, filters, context);
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
    let is_once = |column: usize| scan.projection.iter().filter(|&&other| other == column).count() == 1;
    let reads = reads.map(|column| Some(scan.projection[column]).filter(|&column| is_once(column)));
    let reader = Reader::new(&filters, &scan.projection, &types, &faded, context)?.with_reads(reads);
    // A place is no part of the row, and may be another's tomorrow.
    let reads_place = filters.iter().flat_map(walk::columns_read).any(|column| column >= types.len());
    let scan_node = Scan {
        title: if relation.kind == RelationKind::States { "State Scan" } else { "Seq Scan" },
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
    /// As EXPLAIN calls it.
    title: &'static str,
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

/// Texts are searched for what a filter requires of them if at least one of so many rows is still wanted.
const SEARCHED_AT_LEAST: usize = 4;

/// Filters and projects granules.
pub(crate) struct Reader {
    filters: Vec<Filter>,
    projection: Vec<usize>,
    /// How filters read columns, and how what is above does.
    filtered: Reads,
    projected: Reads,
    /// How many columns a row has; the column of this number is its place.
    width: usize,
    faded: Faded,
}

struct Filter {
    test: Expression,
    /// How it is asked of a dictionary.
    coded: Option<CodedFilter>,
    /// The comparison with a constant that it is.
    comparison: Option<Prune>,
    /// What it requires of texts.
    contained: Option<Contained>,
}

impl Reader {
    pub(crate) fn new(
        filters: &[Expr],
        projection: &[usize],
        types: &[Type],
        faded: &[(usize, Expr)],
        context: &Arc<QueryContext>,
    ) -> Result<Reader> {
        let width = types.len();
        let faded = Faded::new(faded, width + 1, context)?;
        // What fades is shown otherwise than it is encoded.
        let is_plain = |column: usize| column < width && !faded.is_faded(column);
        let filtered = Reads { fields: fields::fields(filters, context), ..Reads::default() };
        let filtered = filtered.map(|column| Some(column).filter(|&column| is_plain(column)));
        let filter = |filter: &Expr| {
            let test = Expression::new(filter, context)?;
            let coded = CodedFilter::new(filter, &test, is_plain);
            let comparison = prune::comparison(filter, types, context).filter(|comparison| is_plain(comparison.column));
            Ok(Filter { test, coded, comparison, contained: Contained::new(filter, is_plain, context) })
        };
        let filters = filters.iter().map(filter).collect::<Result<_>>()?;
        let (projection, projected) = (projection.to_vec(), Reads::default());
        Ok(Reader { filters, projection, filtered, projected, width, faded })
    }

    /// Where what is put out is read like that.
    fn with_reads(self, reads: Reads) -> Reader {
        let is_plain = |column: usize| column < self.width && !self.faded.is_faded(column);
        let projected = reads.map(|column| Some(column).filter(|&column| is_plain(column)));
        Reader { projected, ..self }
    }

    /// How many columns a row has; the column of this number is its place.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        self.filters.iter().for_each(|filter| filter.test.prepare(context));
        self.faded.prepare(context);
    }

    /// One granule's rows.
    pub(crate) fn granule(
        &self,
        rows: usize,
        trials: &[Trial],
        stored: &impl Columns,
        context: &Arc<QueryContext>,
        emit: Emit<'_>,
    ) -> Result<()> {
        let none = Reads::default();
        let read = |columns: &[usize], selection: &Option<UInt32Array>, reads: &Reads| {
            let selection = selection.as_ref().map(|rows| &**rows.values());
            self.read(stored, columns, selection, reads, context)
        };
        if self.filters.is_empty()
            && trials.is_empty()
            && let Some(extremes) = self.extremes(stored)?
        {
            return emit(extremes);
        }
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.width + 1];
        // What passed so far; `None` is all.
        let mut selection: Option<UInt32Array> = None;
        let (passing, left) = self.by_encoding(stored, rows, context)?;
        if let Some(passing) = passing {
            match passing.count_set_bits() {
                0 => return Ok(()),
                all if all == rows => {}
                some if left.is_empty() && trials.is_empty() && self.projection.is_empty() => {
                    return emit(Batch::new(Vec::new(), some));
                }
                _ => selection = Some(passing.set_indices_u32().collect::<Vec<_>>().into()),
            }
        }
        let mut at_hand = selection.as_ref().map_or(rows, |rows| rows.len());
        // Which of the rows at hand pass so far.
        let mut keep: Option<BooleanArray> = None;
        for test in left {
            let is_narrow = |keep: &BooleanArray| !test.safe || keep.true_count() * 8 < at_hand * 7;
            if let Some(keep) = keep.take_if(|keep| is_narrow(keep)) {
                at_hand = narrow_by(&keep, &mut columns, &mut selection)?;
                if at_hand == 0 {
                    return Ok(());
                }
            }
            let unread = |column: &&usize| columns[**column].is_none();
            let unread: Vec<usize> = test.columns.iter().filter(unread).copied().collect();
            for (&column, array) in unread.iter().zip(read(&unread, &selection, &self.filtered)?) {
                columns[column] = Some(array);
            }
            let of = columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.clone()?)));
            let batch = Batch::sparse(columns.len(), at_hand, of);
            let passing = select_all([test], &batch, context)?.filter(|passing| passing.true_count() < at_hand);
            keep = match (keep, passing) {
                (Some(keep), Some(passing)) => Some(BooleanArray::new(keep.values() & passing.values(), None)),
                (keep, passing) => keep.or(passing),
            };
        }
        // Of fields of documents that filters read, more may be wanted.
        for (at, column) in columns.iter_mut().enumerate() {
            if !self.projection.contains(&at) || self.filtered.fields.contains_key(&at) {
                *column = None;
            }
        }
        if let Some(keep) = keep {
            narrow_by(&keep, &mut columns, &mut selection)?;
        }
        for trial in trials {
            if selection.as_ref().is_some_and(|rows| rows.is_empty()) {
                break;
            }
            let column = &mut columns[trial.column];
            if column.is_none() {
                *column = read(&[trial.column], &selection, &none)?.pop();
            }
            let Some(passing) = column.as_ref().map(|keys| trial.passing(keys)).transpose()?.flatten() else {
                continue;
            };
            narrow(&mut columns, &passing)?;
            selection = Some(passing_of(selection.as_ref(), passing)?);
        }
        let passed = selection.as_ref().map_or(rows, |rows| rows.len());
        if passed == 0 {
            return Ok(());
        }
        let mut missing: Vec<usize> = self.projection.iter().copied().filter(|&c| columns[c].is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            for (&column, array) in missing.iter().zip(read(&missing, &selection, &self.projected)?) {
                columns[column] = Some(array);
            }
        }
        let column = |&c: &usize| columns[c].clone().ok_or_else(|| Error::internal("a column was not read"));
        emit(Batch::new(self.projection.iter().map(column).collect::<Result<_>>()?, passed))
    }

    /// The least and the greatest value of each column, if that is all that is wanted, and known.
    fn extremes(&self, stored: &impl Columns) -> Result<Option<Batch>> {
        if self.projection.is_empty() || !self.projection.iter().all(|at| self.projected.extremes.contains(at)) {
            return Ok(None);
        }
        let columns = self.projection.iter().map(|&column| stored.extremes(column)).collect::<Result<Option<_>>>()?;
        Ok(columns.map(|columns| Batch::new(columns, 2)))
    }

    /// Columns of all rows or of some, as they are or as it is enough to read them.
    fn read(
        &self,
        stored: &impl Columns,
        columns: &[usize],
        selection: Option<&[u32]>,
        reads: &Reads,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<ArrayRef>> {
        let mut alone = Vec::new();
        for &column in &reads.coded {
            if columns.contains(&column)
                && let Some(coded) = stored.codes(column, selection)?
            {
                alone.push((column, coded.into_array()));
            }
        }
        for &column in &reads.nulls {
            if columns.contains(&column)
                && let Some(nulls) = stored.nulls(column, selection)?
            {
                let values = BooleanBuffer::new_unset(nulls.len());
                alone.push((column, Arc::new(BooleanArray::new(values, Some(nulls)))));
            }
        }
        for &column in &reads.lengths {
            if columns.contains(&column)
                && let Some(lengths) = stored.lengths(column, selection)?
            {
                alone.push((column, Arc::new(lengths)));
            }
        }
        for (&column, names) in &reads.fields {
            if columns.contains(&column)
                && let Some(array) = stored.fields(column, selection, names)?
            {
                alone.push((column, array));
            }
        }
        let is_alone = |column: usize| alone.iter().find(|(found, _)| *found == column);
        let whole: Vec<usize> = columns.iter().copied().filter(|&column| is_alone(column).is_none()).collect();
        let mut whole = match whole.is_empty() {
            true => Vec::new(),
            false => self.faded.read(&whole, |columns| stored.read(columns, selection), context)?,
        }
        .into_iter();
        let one = |&column: &usize| is_alone(column).map(|(_, array)| array.clone()).or_else(|| whole.next());
        columns.iter().map(one).collect::<Option<_>>().ok_or_else(|| Error::internal("a column was not read"))
    }

    /// The rows that filters leave which are asked of what is encoded, and those that have to be asked of these rows.
    fn by_encoding(
        &self,
        stored: &impl Columns,
        rows: usize,
        context: &Arc<QueryContext>,
    ) -> Result<(Option<BooleanBuffer>, Vec<&Expression>)> {
        let mut passing: Option<BooleanBuffer> = None;
        let mut narrow = |found: BooleanBuffer| {
            let both = passing.as_ref().map_or(found.clone(), |passing| passing & &found);
            passing.insert(both).count_set_bits()
        };
        let (mut left, mut some) = (Vec::new(), rows);
        for filter in &self.filters {
            match filter.by_codes(stored, self.width + 1, context)? {
                Some(found) => some = narrow(found),
                None => left.push(filter),
            }
        }
        // Few texts are sooner read than all are searched.
        let mut unanswered = Vec::new();
        for filter in left {
            let mut is_answered = false;
            if some * SEARCHED_AT_LEAST > rows
                && let Some(contained) = &filter.contained
                && let Some(found) = contained.find(|text| stored.containing(contained.column, text))?
            {
                some = narrow(found);
                is_answered = contained.is_enough;
            }
            if !is_answered {
                unanswered.push(&filter.test);
            }
        }
        Ok((passing, unanswered))
    }
}

impl Filter {
    /// The rows that pass, if what is encoded tells.
    fn by_codes(
        &self,
        stored: &impl Columns,
        width: usize,
        context: &Arc<QueryContext>,
    ) -> Result<Option<BooleanBuffer>> {
        if let Some(coded) = &self.coded {
            if let Some(rows) = stored.codes_within(coded.column, |entries| coded.range(entries))? {
                return Ok(Some(rows));
            }
            if let Some(codes) = stored.codes(coded.column, None)?
                && let Some(rows) = coded.rows(&self.test, &codes, width, context)
            {
                return Ok(Some(rows));
            }
        }
        self.comparison.as_ref().map_or(Ok(None), |comparison| stored.comparing(comparison))
    }
}

/// What a reader reads.
pub(crate) trait Columns {
    /// Columns, of all rows or of some.
    fn read(&self, columns: &[usize], selection: Option<&[u32]>) -> Result<Vec<ArrayRef>>;

    /// A column in codes, of all rows or of some, if it is kept so.
    fn codes(&self, _column: usize, _selection: Option<&[u32]>) -> Result<Option<Coded>> {
        Ok(None)
    }

    /// Which of all rows have codes that `wanted` finds in the dictionary of their part, if that is known without reading the codes.
    fn codes_within(
        &self,
        _column: usize,
        _wanted: impl FnOnce(&ArrayRef) -> Option<CodeRange>,
    ) -> Result<Option<BooleanBuffer>> {
        Ok(None)
    }

    /// Which rows are NULL in a column, of all rows or of some, if that is known without reading it.
    fn nulls(&self, _column: usize, _selection: Option<&[u32]>) -> Result<Option<NullBuffer>> {
        Ok(None)
    }

    /// The least and the greatest value of a column, if they are known without reading it; twice NULL where it has no value.
    fn extremes(&self, _column: usize) -> Result<Option<ArrayRef>> {
        Ok(None)
    }

    /// How many bytes the values of a text column have, of all rows or of some, if that is known without reading it.
    fn lengths(&self, _column: usize, _selection: Option<&[u32]>) -> Result<Option<Int32Array>> {
        Ok(None)
    }

    /// For which of all rows a comparison holds, if that is known without looking at each.
    fn comparing(&self, _comparison: &Prune) -> Result<Option<BooleanBuffer>> {
        Ok(None)
    }

    /// Which of all rows have a text in a column, if that is known without looking at each.
    fn containing(&self, _column: usize, _text: &str) -> Result<Option<BooleanBuffer>> {
        Ok(None)
    }

    /// A column of documents, of all rows or of some, with only these fields, if they can be read alone.
    fn fields(&self, _column: usize, _selection: Option<&[u32]>, _names: &[String]) -> Result<Option<ArrayRef>> {
        Ok(None)
    }
}

impl<F: Fn(&[usize], Option<&[u32]>) -> Result<Vec<ArrayRef>>> Columns for F {
    fn read(&self, columns: &[usize], selection: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        self(columns, selection)
    }
}

/// Those of the rows that were selected before which pass.
fn passing_of(before: Option<&UInt32Array>, passing: UInt32Array) -> Result<UInt32Array> {
    Ok(match before {
        None => passing,
        Some(before) => take(before, &passing, None)?.as_primitive().clone(),
    })
}

/// Narrows the rows at hand to those that pass, and says how many they are.
fn narrow_by(
    keep: &BooleanArray,
    columns: &mut [Option<ArrayRef>],
    selection: &mut Option<UInt32Array>,
) -> Result<usize> {
    let passing: UInt32Array = keep.values().set_indices_u32().collect::<Vec<_>>().into();
    let rows = passing.len();
    narrow(columns, &passing)?;
    *selection = Some(passing_of(selection.as_ref(), passing)?);
    Ok(rows)
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
        let description = Description::new(format!("{} on {}", self.title, self.name));
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
        for (&column, names) in self.reader.filtered.fields.iter().chain(&self.reader.projected.fields) {
            description = description.with("Fields", format!("{} ({})", self.columns[column], names.join(", ")));
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
                    reader.granule(rows, &trials, &read, &own, emit)
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
