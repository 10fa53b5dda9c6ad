//! The rows of several files, one after the other, in morsels.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::datatypes::SchemaRef;
use weir_sql::plan::OutputColumn;
use weir_storage::Prune;

use super::options::Options;
use super::{FILENAME, Kind, csv, json, parquet};
use crate::error::Result;
use crate::exec::batch::schema_of;
use crate::exec::context::{RowTask, TableCall, TableRows};
use crate::functions::Context;

/// What readers need of a call.
pub(super) struct Wanted {
    /// The columns to give, `filename` not among them.
    pub(super) columns: Vec<OutputColumn>,
    /// The same as names and types.
    pub(super) options: Options,
    /// Conditions that all rows which are wanted fulfil, over `columns`; others may be left out.
    pub(super) prune: Vec<Prune>,
    pub(super) context: Arc<Context>,
    /// Rows of a batch.
    pub(super) batch_rows: usize,
    pub(super) cancel: crate::cancel::Cancel,
}

/// Columns of some rows, in the order of [`Wanted::columns`].
pub(super) type Columns = (Vec<ArrayRef>, usize);

/// A piece of a file: gives its rows when it is run.
pub(super) type Piece = Box<dyn FnOnce(&mut dyn FnMut(Columns) -> Result<()>) -> Result<()> + Send>;

/// One file, open.
pub(super) trait FileReader: Send {
    /// The next piece, cheaply; `None` at the end.
    fn claim(&mut self) -> Result<Option<Piece>>;
}

/// The rows of a call.
pub(super) struct Scan {
    kind: Kind,
    files: VecDeque<PathBuf>,
    current: Option<(PathBuf, Box<dyn FileReader>)>,
    wanted: Arc<Wanted>,
    schema: SchemaRef,
    /// Where `filename` stands among the columns, if it is wanted.
    filename: Option<usize>,
    /// Batches of a piece that was run here.
    ready: VecDeque<RecordBatch>,
}

impl Scan {
    pub(super) fn new(kind: Kind, files: Vec<PathBuf>, options: Options, call: &TableCall<'_>) -> Scan {
        let filename = match options.filename {
            true => call.columns.iter().position(|c| c.name == FILENAME),
            false => None,
        };
        let columns = call.columns.iter().enumerate().filter(|(at, _)| Some(*at) != filename).map(|(_, c)| c.clone());
        let shifted = |prune: &Prune| match filename {
            Some(at) if prune.column == at => None,
            Some(at) if prune.column > at => Some(Prune { column: prune.column - 1, ..prune.clone() }),
            _ => Some(prune.clone()),
        };
        let wanted = Wanted {
            columns: columns.collect(),
            options,
            prune: call.prune.iter().filter_map(shifted).collect(),
            context: call.context.functions.clone(),
            batch_rows: call.context.batch_rows,
            cancel: call.context.cancel.clone(),
        };
        Scan {
            kind,
            files: files.into(),
            current: None,
            wanted: Arc::new(wanted),
            schema: schema_of(call.columns),
            filename,
            ready: VecDeque::new(),
        }
    }
}

impl TableRows for Scan {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let Some(task) = self.claim()? else { return Ok(None) };
            let ready = &mut self.ready;
            task(&mut |batch| {
                ready.push_back(batch);
                Ok(())
            })?;
        }
    }

    fn claim(&mut self) -> Result<Option<RowTask>> {
        loop {
            self.wanted.cancel.check()?;
            if self.current.is_none() {
                let Some(path) = self.files.pop_front() else { return Ok(None) };
                let reader: Box<dyn FileReader> = match self.kind {
                    Kind::Parquet => Box::new(parquet::Reader::open(&path, &self.wanted)?),
                    Kind::Csv => Box::new(csv::Reader::open(&path, &self.wanted)?),
                    Kind::Json => Box::new(json::Reader::open(&path, &self.wanted)?),
                };
                self.current = Some((path, reader));
            }
            let Some((path, reader)) = &mut self.current else { continue };
            let Some(piece) = reader.claim()? else {
                self.current = None;
                continue;
            };
            let (schema, filename, path) = (self.schema.clone(), self.filename, path.clone());
            return Ok(Some(Box::new(move |emit| {
                piece(&mut |(mut columns, rows)| {
                    if let Some(at) = filename {
                        let name = path.display().to_string();
                        columns.insert(at, Arc::new(StringViewArray::from_iter_values((0..rows).map(|_| &name))));
                    }
                    let options = RecordBatchOptions::new().with_row_count(Some(rows));
                    emit(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
                })
            })));
        }
    }
}
