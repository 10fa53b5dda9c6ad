//! A part as its table's present definition sees it.
//!
//! A part keeps the columns that it was written with. Tables change: columns come, go, change places and get wider types, and no part is
//! rewritten for it. Columns are known by id; each column of the definition is, in a part, one of three:
//!
//! - *kept*: the part has it, in this type;
//! - *widened*: the part has it in a narrower type, and values, zones and keys are converted when they are read;
//! - *missing*: the part is older than the column, which has one value in all of its rows.
//!
//! Everything outside of this folder speaks of the definition's columns and never sees the difference. A merge writes what it reads, so
//! it brings rows to the definition of its time. Widening keeps the order of values, so a part stays sorted.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, Int32Array, UInt32Array, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field};
use memchr::memmem::Finder;

use super::format::ColumnIndex;
use super::reader::get_or_try;
use super::{ColumnInfo, Part};
use crate::def::TableDef;
use crate::encoding::{CodeRange, Coded, Encoding};
use crate::error::{Error, Result};
use crate::key::{extremes, is_comparable};
use crate::prune::Numbers;

/// Whether every value of `from` is a value of `to`, in the same order and meaning.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let rank = |ty: &DataType| match ty {
        Int16 => Some(1),
        Int32 => Some(2),
        Int64 => Some(3),
        _ => None,
    };
    match (from, to) {
        (Float32, Float64) => true,
        (Decimal128(from, scale), Decimal128(to, same)) => scale == same && from < to,
        _ => rank(from).zip(rank(to)).is_some_and(|(from, to)| from < to),
    }
}

/// Values as a wider type.
pub(crate) fn widen(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, to, &options).map_err(|error| Error::invalid(error.to_string()))
}

/// A value of one row, or NULL, so many times.
pub(crate) fn repeat(value: Option<&ArrayRef>, ty: &DataType, rows: usize) -> Result<ArrayRef> {
    match value {
        None => Ok(new_null_array(ty, rows)),
        Some(value) => take(value, &UInt32Array::from(vec![0; rows]), None).map_err(|e| Error::invalid(e.to_string())),
    }
}

/// What a column of the definition is in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The part's column of this number.
    Kept(usize),
    Widened(usize),
    Missing,
}

/// A definition over a part.
pub(super) struct View {
    def: Arc<TableDef>,
    resolved: OnceLock<Resolved>,
}

struct Resolved {
    columns: Vec<Source>,
    /// Indexes and dictionaries of columns that the file does not have as they are.
    indexes: Vec<OnceLock<ColumnIndex>>,
    dictionaries: Vec<OnceLock<ArrayRef>>,
    /// The columns by which the part is sorted, as far as the definition has them.
    sort_key: Vec<usize>,
    keys: OnceLock<Vec<ArrayRef>>,
}

impl View {
    pub(super) fn new(def: Arc<TableDef>) -> View {
        View { def, resolved: OnceLock::new() }
    }

    pub(super) fn is_of(&self, def: &Arc<TableDef>) -> bool {
        Arc::ptr_eq(&self.def, def)
    }
}

impl Part {
    /// The definition over this part. A part that no table has yet is as it was written.
    fn resolved(&self) -> Result<Option<(&TableDef, &Resolved)>> {
        let Some(view) = &self.view else { return Ok(None) };
        let footer = &self.open()?.footer;
        let def = &view.def;
        let resolved = get_or_try(&view.resolved, || {
            let columns: Vec<Source> = (def.ids.iter().zip(def.schema.fields()))
                .map(|(id, field)| match footer.ids.iter().position(|other| other == id) {
                    None => Ok(Source::Missing),
                    Some(at) => match footer.schema.field(at).data_type() {
                        ty if ty == field.data_type() => Ok(Source::Kept(at)),
                        ty if widens(ty, field.data_type()) => Ok(Source::Widened(at)),
                        ty => Err(Error::corrupt(self.path(), 0, format!("column {} is of type {ty}", field.name()))),
                    },
                })
                .collect::<Result<_>>()?;
            let logical = |at: &usize| columns.iter().position(|source| source.at() == Some(*at));
            let sort_key = footer.sort_key.iter().map_while(logical).collect();
            let count = columns.len();
            Ok(Resolved {
                sort_key,
                columns,
                indexes: (0..count).map(|_| OnceLock::new()).collect(),
                dictionaries: (0..count).map(|_| OnceLock::new()).collect(),
                keys: OnceLock::new(),
            })
        })?;
        Ok(Some((def, resolved)))
    }

    /// What a column is here, and more of it when it is not just the file's.
    fn source(&self, column: usize) -> Result<(Source, Option<(&TableDef, &Resolved)>)> {
        let Some((def, resolved)) = self.resolved()? else { return Ok((Source::Kept(column), None)) };
        let unknown = || Error::invalid(format!("table {} has no column {column}", def.name));
        Ok((*resolved.columns.get(column).ok_or_else(unknown)?, Some((def, resolved))))
    }

    /// Whether it was written with exactly these columns.
    pub fn is_of(&self, def: &TableDef) -> Result<bool> {
        let footer = &self.open()?.footer;
        Ok(footer.ids == def.ids && footer.schema.fields() == def.schema.fields())
    }

    /// A column's definition.
    pub(crate) fn field(&self, column: usize) -> Result<Option<&Field>> {
        let schema = match self.resolved()? {
            Some((def, _)) => &def.schema,
            None => &self.open()?.footer.schema,
        };
        Ok(schema.fields().get(column).map(|field| &**field))
    }

    /// The columns by which it is sorted.
    pub(crate) fn sort_key(&self) -> Result<&[usize]> {
        Ok(match self.resolved()? {
            Some((_, resolved)) => &resolved.sort_key,
            None => &self.open()?.footer.sort_key,
        })
    }

    /// How many entries the dictionary of a column has, if it has one.
    pub(crate) fn dictionary_entries(&self, column: usize) -> Result<Option<u64>> {
        let (source, _) = self.source(column)?;
        let Some(at) = source.at() else { return Ok(None) };
        Ok(self.open()?.footer.columns[at].dictionary.map(|(_, entries)| entries))
    }

    /// A column's index. Of a missing column it has no chunks, only what is known of its one value.
    pub(crate) fn index(&self, column: usize) -> Result<&ColumnIndex> {
        match self.source(column)? {
            (Source::Widened(at), Some((def, resolved))) => get_or_try(&resolved.indexes[column], || {
                let mut index = self.file_index(at)?.clone();
                let ty = def.schema.field(column).data_type();
                if let Some((min, max)) = &index.zones {
                    index.zones = Some((widen(min, ty)?, widen(max, ty)?));
                }
                Ok(index)
            }),
            (Source::Missing, Some((def, resolved))) => get_or_try(&resolved.indexes[column], || {
                self.missing_index(def.missing[column].as_ref(), def.schema.field(column))
            }),
            (Source::Kept(at) | Source::Widened(at), _) => self.file_index(at),
            (Source::Missing, None) => Err(Error::invalid(format!("part {} has no column {column}", self.id()))),
        }
    }

    fn missing_index(&self, value: Option<&ArrayRef>, field: &Field) -> Result<ColumnIndex> {
        let granules = self.granules()?;
        let known = value.filter(|value| value.is_valid(0) && extremes(*value).is_some());
        let zone = repeat(known, field.data_type(), granules.len())?;
        let is_null = value.is_none_or(|value| value.is_null(0));
        Ok(ColumnIndex {
            encodings: vec![Encoding::Constant as u8; granules.len()],
            nulls: if is_null { granules.to_vec() } else { vec![0; granules.len()] },
            zones: is_comparable(field).then(|| (zone.clone(), zone)),
            ..ColumnIndex::default()
        })
    }

    /// The entries of a column's dictionary, if it has one.
    pub(crate) fn dictionary(&self, column: usize) -> Result<Option<&ArrayRef>> {
        match self.source(column)? {
            (Source::Missing, _) => Ok(None),
            (Source::Widened(at), Some((def, resolved))) => {
                let Some(entries) = self.file_dictionary(at)? else { return Ok(None) };
                let wide = || widen(entries, def.schema.field(column).data_type());
                get_or_try(&resolved.dictionaries[column], wide).map(Some)
            }
            (Source::Kept(at) | Source::Widened(at), _) => self.file_dictionary(at),
        }
    }

    /// The first values of all granules, by the columns of [`Part::sort_key`].
    pub(crate) fn keys(&self) -> Result<&[ArrayRef]> {
        let keys = self.file_keys()?;
        let Some((def, resolved)) = self.resolved()? else { return Ok(keys) };
        let wide = || {
            let wide = |(column, key): (&usize, &ArrayRef)| match resolved.columns[*column] {
                Source::Widened(_) => widen(key, def.schema.field(*column).data_type()),
                _ => Ok(key.clone()),
            };
            resolved.sort_key.iter().zip(keys).map(wide).collect::<Result<_>>()
        };
        get_or_try(&resolved.keys, wide).map(Vec::as_slice)
    }

    /// Reads one column of a granule, all rows or the selected ones.
    pub(crate) fn read(&self, granule: usize, column: usize, selection: Option<&[u32]>) -> Result<ArrayRef> {
        match self.source(column)? {
            (Source::Widened(at), Some((def, _))) => {
                widen(&self.file_read(granule, at, selection)?, def.schema.field(column).data_type())
            }
            (Source::Missing, Some((def, _))) => {
                let rows = selection.map_or(self.granules()?[granule] as usize, <[u32]>::len);
                repeat(def.missing[column].as_ref(), def.schema.field(column).data_type(), rows)
            }
            (Source::Kept(at) | Source::Widened(at), _) => self.file_read(granule, at, selection),
            (Source::Missing, None) => Err(Error::invalid(format!("part {} has no column {column}", self.id()))),
        }
    }

    /// Reads the codes of one column of a granule, if it is kept in codes as it is seen.
    pub(crate) fn codes(&self, granule: usize, column: usize, selection: Option<&[u32]>) -> Result<Option<Coded>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_codes(granule, at, selection),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// Which rows of one column of a granule are NULL, if that is kept as it is seen.
    pub(crate) fn nulls(&self, granule: usize, column: usize, selection: Option<&[u32]>) -> Result<Option<NullBuffer>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_nulls(granule, at, selection).map(Some),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// How many bytes the values of one text column of a granule have, if that is known without reading them.
    pub(crate) fn lengths(
        &self,
        granule: usize,
        column: usize,
        selection: Option<&[u32]>,
    ) -> Result<Option<Int32Array>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_lengths(granule, at, selection),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// Reads the documents of one column of a granule with only the fields of these names, if they are kept so that those can be read alone.
    pub(crate) fn fields(
        &self,
        granule: usize,
        column: usize,
        selection: Option<&[u32]>,
        names: &[String],
    ) -> Result<Option<ArrayRef>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_fields(granule, at, selection, names),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// Which values of one column of a granule are some numbers, where that is found without making values of what is encoded.
    pub(crate) fn within(&self, granule: usize, column: usize, numbers: &Numbers) -> Result<Option<BooleanBuffer>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_within(granule, at, numbers),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// Which values of one column of a granule are kept as codes that `wanted` finds in the part's dictionary, where that is found without reading
    /// the codes.
    pub(crate) fn codes_within(
        &self,
        granule: usize,
        column: usize,
        wanted: impl FnOnce(&ArrayRef) -> Option<CodeRange>,
    ) -> Result<Option<BooleanBuffer>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_codes_within(granule, at, wanted),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// Which values of one text column of a granule are empty, or else which are not, where that is found without reading them.
    pub(crate) fn empty(&self, granule: usize, column: usize, is_empty: bool) -> Result<Option<BooleanBuffer>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_empty(granule, at, is_empty),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// Which values of one text column of a granule have a text in them, where that is found without looking at them one by one.
    pub(crate) fn containing(
        &self,
        granule: usize,
        column: usize,
        needle: &Finder<'_>,
    ) -> Result<Option<BooleanBuffer>> {
        match self.source(column)? {
            (Source::Kept(at), _) => self.file_containing(granule, at, needle),
            (Source::Widened(_) | Source::Missing, _) => Ok(None),
        }
    }

    /// How a column is kept; one that the part does not have takes no bytes.
    pub fn column(&self, column: usize) -> Result<ColumnInfo> {
        match self.source(column)?.0 {
            Source::Kept(at) | Source::Widened(at) => self.file_column(at),
            Source::Missing => {
                let nulls = self.index(column)?.nulls.iter().map(|&nulls| u64::from(nulls)).sum();
                Ok(ColumnInfo { bytes: 0, raw_bytes: 0, encodings: Vec::new(), nulls })
            }
        }
    }
}

impl Source {
    /// The file's column.
    fn at(self) -> Option<usize> {
        match self {
            Source::Kept(at) | Source::Widened(at) => Some(at),
            Source::Missing => None,
        }
    }
}
