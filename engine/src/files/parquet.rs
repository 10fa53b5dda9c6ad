//! Parquet files. A row group is a morsel; only the columns that are asked for are read, and a row group whose statistics say that none of its
//! rows fulfils the query's conditions is passed over.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_comparator, new_null_array};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, FieldRef, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use weir_sql::Type;
use weir_storage::{Prune, PruneOp};

use super::scan::{FileReader, Piece, Wanted};
use super::{convert, distinct, missing_column};
use crate::copy::file_error;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::cast_array;

/// A row group of more rows than this is read by several threads.
const PIECE_ROWS: usize = 256 << 10;

/// The columns of a file.
pub(super) fn columns(path: &Path) -> Result<Vec<(String, Type)>> {
    let metadata = metadata(path)?;
    let fields = metadata.schema().fields();
    let names = distinct(fields.iter().map(|field| field.name().clone()));
    Ok(names.into_iter().zip(fields).map(|(name, field)| (name, convert::type_of(field))).collect())
}

fn open(path: &Path) -> Result<File> {
    let failed = |e| file_error("open for reading", path, &e);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let message = format!("could not open file \"{}\" for reading: Is a directory", path.display());
        return Err(Error::new(ErrorKind::Io, message));
    }
    Ok(file)
}

fn failed(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => file_error("read", path, &io),
            Err(other) => damaged(path, &other.to_string()),
        },
        ParquetError::ArrowError(text) | ParquetError::General(text) | ParquetError::EOF(text) => damaged(path, &text),
        other => damaged(path, &other.to_string()),
    }
}

fn damaged(path: &Path, text: &str) -> Error {
    Error::new(ErrorKind::BadCopyFile, format!("file \"{}\" is not a valid Parquet file", path.display()))
        .with_detail(text.to_string())
}

/// The file's footer, with a schema whose texts are views.
fn metadata(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = open(path)?;
    let plain = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|e| failed(path, e))?;
    let fields: Vec<Field> = plain.schema().fields().iter().map(|field| convert::with_views(field)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, plain.schema().metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    // A schema that the reader cannot make is no loss: the columns are cast.
    Ok(ArrowReaderMetadata::try_new(plain.metadata().clone(), options).unwrap_or(plain))
}

/// Reads one file.
pub(super) struct Reader {
    file: Arc<Open>,
    /// Rows of row groups that are to be read: the group, the first row in it and how many.
    pieces: std::vec::IntoIter<(usize, usize, usize)>,
}

struct Open {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// For each wanted column: where it is among the columns that are read, its field and its own type.
    sources: Vec<Option<(usize, FieldRef, Type)>>,
    wanted: Arc<Wanted>,
}

impl Reader {
    pub(super) fn open(path: &Path, wanted: &Arc<Wanted>) -> Result<Reader> {
        let metadata = metadata(path)?;
        let fields = metadata.schema().fields().clone();
        let names = distinct(fields.iter().map(|field| field.name().clone()));
        let mut found = Vec::with_capacity(wanted.columns.len());
        for column in &wanted.columns {
            match names.iter().position(|name| *name == column.name) {
                None if !wanted.options.union_by_name => return Err(missing_column(path, &column.name)),
                at => found.push(at),
            }
        }
        let mut read: Vec<usize> = found.iter().copied().flatten().collect();
        read.sort_unstable();
        read.dedup();
        let source = |at: usize| {
            let field = fields[at].clone();
            let ty = convert::type_of(&field);
            (read.iter().position(|column| *column == at).unwrap_or(0), field, ty)
        };
        let sources = found.iter().map(|at| at.map(source)).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), read.iter().copied());
        let dropped = pruned(&metadata, &found, wanted);
        let mut pieces = Vec::new();
        for (group, info) in metadata.metadata().row_groups().iter().enumerate() {
            if dropped.get(group).copied().unwrap_or(false) {
                continue;
            }
            let rows = usize::try_from(info.num_rows()).unwrap_or(0);
            let count = rows.div_ceil(PIECE_ROWS).max(1);
            // Pieces of about equal size.
            pieces.extend((0..count).map(|n| (group, rows * n / count, rows * (n + 1) / count - rows * n / count)));
        }
        let file = Arc::new(Open { path: path.to_path_buf(), metadata, mask, sources, wanted: wanted.clone() });
        Ok(Reader { file, pieces: pieces.into_iter() })
    }
}

impl FileReader for Reader {
    fn claim(&mut self) -> Result<Option<Piece>> {
        let Some((group, first, rows)) = self.pieces.next() else { return Ok(None) };
        let file = self.file.clone();
        Ok(Some(Box::new(move |emit| file.read(group, first, rows, emit))))
    }
}

impl Open {
    fn read(
        &self,
        group: usize,
        first: usize,
        rows: usize,
        emit: &mut dyn FnMut(super::scan::Columns) -> Result<()>,
    ) -> Result<()> {
        if self.sources.iter().all(Option::is_none) {
            // Nothing is read: what is wanted is how many rows there are.
            let size = self.wanted.batch_rows;
            for at in (0..rows).step_by(size) {
                let count = size.min(rows - at);
                let nulls = self.wanted.columns.iter().map(|c| new_null_array(&c.ty.to_arrow(), count));
                emit((nulls.collect(), count))?;
            }
            return Ok(());
        }
        // A file handle of its own, since one has one position.
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(open(&self.path)?, self.metadata.clone());
        let mut builder = builder
            .with_row_groups(vec![group])
            .with_projection(self.mask.clone())
            .with_batch_size(self.wanted.batch_rows);
        let all = self.metadata.metadata().row_group(group).num_rows();
        if first > 0 || (rows as i64) < all {
            builder = builder
                .with_row_selection(RowSelection::from(vec![RowSelector::skip(first), RowSelector::select(rows)]));
        }
        for batch in builder.build().map_err(|e| failed(&self.path, e))? {
            let batch = batch.map_err(|e| damaged(&self.path, &e.to_string()))?;
            let mut columns = Vec::with_capacity(self.sources.len());
            for (source, column) in self.sources.iter().zip(&self.wanted.columns) {
                columns.push(match source {
                    Some((at, field, ty)) => {
                        let own = convert::column(batch.column(*at), field, ty);
                        let cast = own.and_then(|own| cast_array(&self.wanted.context, &own, ty, &column.ty, true));
                        cast.map_err(|e| {
                            let (file, name) = (self.path.display(), &column.name);
                            e.with_context(format!("file \"{file}\", row group {group}, column {name}"))
                        })?
                    }
                    None => new_null_array(&column.ty.to_arrow(), batch.num_rows()),
                });
            }
            emit((columns, batch.num_rows()))?;
        }
        Ok(())
    }
}

/// For each row group whether its statistics say that no row is wanted.
fn pruned(metadata: &ArrowReaderMetadata, found: &[Option<usize>], wanted: &Wanted) -> Vec<bool> {
    let groups = metadata.metadata().row_groups();
    let mut dropped = vec![false; groups.len()];
    for prune in &wanted.prune {
        let Some(Some(at)) = found.get(prune.column) else { continue };
        let field = &metadata.schema().fields()[*at];
        let ty = convert::type_of(field);
        if ty != wanted.columns[prune.column].ty {
            continue;
        }
        let bounds = || -> Option<(ArrayRef, ArrayRef)> {
            let name = metadata.schema().field(*at).name();
            let converter = StatisticsConverter::try_new(name, metadata.schema(), metadata.parquet_schema()).ok()?;
            let low = convert::column(&converter.row_group_mins(groups).ok()?, field, &ty).ok()?;
            let high = convert::column(&converter.row_group_maxes(groups).ok()?, field, &ty).ok()?;
            Some((low, high))
        };
        let Some((low, high)) = bounds() else { continue };
        for (group, dropped) in dropped.iter_mut().enumerate() {
            *dropped |= excluded(prune, &low, &high, group).unwrap_or(false);
        }
    }
    dropped
}

/// Whether bounds exclude a condition; `None` if that cannot be told. Floats and texts are left alone: NaN is greater than all in SQL and absent
/// from statistics, and long texts' bounds may be cut.
fn excluded(prune: &Prune, low: &ArrayRef, high: &ArrayRef, group: usize) -> Option<bool> {
    use arrow::datatypes::DataType::*;
    match low.data_type() {
        Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Date32 | Time64(_) | Timestamp(..)
        | Decimal128(..) => {}
        _ => return None,
    }
    if low.is_null(group) || high.is_null(group) || prune.values.data_type() != low.data_type() {
        return None;
    }
    let below = make_comparator(&prune.values, low, SortOptions::default()).ok()?;
    let above = make_comparator(&prune.values, high, SortOptions::default()).ok()?;
    let outside = |value: usize| match prune.op {
        PruneOp::Eq | PruneOp::In => below(value, group) == Ordering::Less || above(value, group) == Ordering::Greater,
        PruneOp::Lt => below(value, group) != Ordering::Greater,
        PruneOp::Le => below(value, group) == Ordering::Less,
        PruneOp::Gt => above(value, group) != Ordering::Less,
        PruneOp::Ge => above(value, group) == Ordering::Greater,
        _ => false,
    };
    match prune.op {
        PruneOp::Eq | PruneOp::In | PruneOp::Lt | PruneOp::Le | PruneOp::Gt | PruneOp::Ge => {
            Some((0..prune.values.len()).all(outside))
        }
        _ => None,
    }
}
