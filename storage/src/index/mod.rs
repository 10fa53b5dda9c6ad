//! Skip indexes: what a part knows of its granules beyond zones (FORMAT.md, "Skip indexes").
//!
//! An index has one or more *keys*, each a column or an expression over columns. Storage evaluates no expression: whoever opens the
//! store hands it an [`IndexValues`] that does. Granules are taken together in *blocks* of `granularity`, and of each block the
//! index keeps a summary, by its kind ([`IndexKind`]). Blocks are written in *segments*, sections of their own in the part file,
//! so that neither building nor reading an index needs all of it in memory. The text index has no blocks: it maps each word to the
//! rows that have it.
//!
//! A query asks by an [`IndexTest`]; the answer, for each granule, is whether a row in it may pass. It is only ever wrong by saying
//! yes: what is not known (a value whose expression failed, a set that grew too large) may pass, a part without the index prunes
//! nothing, and NULL passes no test.

mod bloom;
mod build;
mod hash;
mod minmax;
mod open;
mod set;
mod text;
pub(crate) mod words;

use std::fmt;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use crate::bytes::{Reader, Write};
use crate::def::TableDef;
use crate::error::{Decoded, damaged};
use crate::key::is_comparable;
use crate::prune::PruneOp;

pub(crate) use build::{IndexWriter, key_values};
pub(crate) use open::Segment;

/// An index of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexDef {
    /// Chosen by the engine, never used again: by it a part says which index it has.
    pub id: u32,
    /// Its name, unique in the table.
    pub name: String,
    /// What it keeps of its keys.
    pub kind: IndexKind,
    /// How many granules are taken together; at least 1.
    pub granularity: u32,
    /// What it is over.
    pub keys: Vec<IndexKey>,
    /// Parts that do not have it are to be written anew in the background; otherwise it is only in parts that are written from
    /// now on.
    pub everywhere: bool,
}

/// What an index keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum IndexKind {
    /// The least and the greatest value of a block.
    MinMax,
    /// The distinct values of a block, while there are no more than this; 0 is no limit.
    Set(u32),
    /// A Bloom filter of a block's values (of the elements, for a list), with this share of false positives.
    Bloom(f64),
    /// A Bloom filter of the runs of `n` characters in a block's texts.
    Ngrams {
        /// Characters.
        n: u32,
        /// The filter.
        filter: FilterSize,
    },
    /// A Bloom filter of the words in a block's texts.
    Tokens(FilterSize),
    /// For each word, the rows that have it.
    Text,
}

/// A Bloom filter whose size is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterSize {
    /// Its bytes.
    pub bytes: u32,
    /// Bits that are set for each entry.
    pub hashes: u32,
    /// Seeds the hash.
    pub seed: u64,
}

/// What an index is over.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexKey {
    /// A column or an expression.
    pub source: IndexSource,
    /// The type of its values.
    pub ty: DataType,
}

/// Where the values of an index come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexSource {
    /// A column, by number.
    Column(usize),
    /// Something that [`IndexValues`] computes.
    Expression {
        /// What it goes by.
        sql: String,
        /// The columns that it needs.
        columns: Vec<usize>,
    },
}

impl IndexSource {
    /// The columns that it reads.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            IndexSource::Column(column) => vec![*column],
            IndexSource::Expression { columns, .. } => columns.clone(),
        }
    }
}

/// Computes the values of expressions for indexes.
pub trait IndexValues: Send + Sync {
    /// The values of an [`IndexSource::Expression`] over rows of the columns that it needs, in that order: as many, of the type that
    /// the index says. What fails here is not known to the index, and passes every test.
    fn values(&self, sql: &str, rows: &RecordBatch) -> std::result::Result<ArrayRef, String>;
}

/// What the rows that are wanted fulfil, asked of an index.
#[derive(Debug, Clone)]
pub enum IndexTest {
    /// The value (an element of it, for a list) compares so with constants of the key's type (the elements' type).
    Compare {
        /// The comparison; not a test for NULL.
        op: PruneOp,
        /// With what.
        values: ArrayRef,
    },
    /// The text contains each of these pieces.
    Contains(Vec<Piece>),
}

/// Characters that follow each other in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The characters.
    pub text: String,
    /// No letter or digit stands just before them.
    pub starts: bool,
    /// No letter or digit stands just after them.
    pub ends: bool,
}

impl IndexKind {
    /// As SQL names it.
    pub fn name(&self) -> &'static str {
        match self {
            IndexKind::MinMax => "minmax",
            IndexKind::Set(_) => "set",
            IndexKind::Bloom(_) => "bloom_filter",
            IndexKind::Ngrams { .. } => "ngrambf_v1",
            IndexKind::Tokens(_) => "tokenbf_v1",
            IndexKind::Text => "text",
        }
    }

    /// Whether values of this field can be indexed so.
    pub fn takes(&self, field: &Field) -> bool {
        match self {
            IndexKind::MinMax | IndexKind::Set(_) => is_comparable(field),
            IndexKind::Bloom(_) => is_comparable(element(field)),
            IndexKind::Ngrams { .. } | IndexKind::Tokens(_) | IndexKind::Text => {
                *field.data_type() == DataType::Utf8View
            }
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut filter = |tag: u8, n: u32, size: &FilterSize| {
            out.put_u8(tag);
            [n, size.bytes, size.hashes].into_iter().for_each(|number| out.put_varint(number.into()));
            out.put_varint(size.seed);
        };
        match self {
            IndexKind::MinMax => out.put_u8(1),
            IndexKind::Set(values) => {
                out.put_u8(2);
                out.put_varint((*values).into());
            }
            IndexKind::Bloom(rate) => {
                out.put_u8(3);
                out.put_u64(rate.to_bits());
            }
            IndexKind::Ngrams { n, filter: size } => filter(4, *n, size),
            IndexKind::Tokens(size) => filter(5, 0, size),
            IndexKind::Text => out.put_u8(6),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Decoded<IndexKind> {
        let tag = reader.u8()?;
        let filter = |reader: &mut Reader<'_>| -> Decoded<(u32, FilterSize)> {
            let (n, bytes, hashes) = (reader.varint_u32()?, reader.varint_u32()?, reader.varint_u32()?);
            Ok((n, FilterSize { bytes, hashes, seed: reader.varint()? }))
        };
        Ok(match tag {
            1 => IndexKind::MinMax,
            2 => IndexKind::Set(reader.varint_u32()?),
            3 => IndexKind::Bloom(f64::from_bits(reader.u64()?)),
            4 => {
                let (n, size) = filter(reader)?;
                IndexKind::Ngrams { n, filter: size }
            }
            5 => IndexKind::Tokens(filter(reader)?.1),
            6 => IndexKind::Text,
            other => return damaged(format!("there is no kind of index {other}")),
        })
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            IndexKind::MinMax | IndexKind::Text => Ok(()),
            IndexKind::Set(values) => write!(f, "({values})"),
            IndexKind::Bloom(rate) => write!(f, "({rate})"),
            IndexKind::Ngrams { n, filter } => {
                write!(f, "({n}, {}, {}, {})", filter.bytes, filter.hashes, filter.seed)
            }
            IndexKind::Tokens(filter) => write!(f, "({}, {}, {})", filter.bytes, filter.hashes, filter.seed),
        }
    }
}

/// The field of a list's elements, or the field itself.
pub(crate) fn element(field: &Field) -> &Field {
    match field.data_type() {
        DataType::List(item) => item,
        _ => field,
    }
}

/// The limits of what an index may say of itself: far more than is of use.
const GRANULARITY_MAX: u32 = 1 << 20;
const FILTER_BYTES_MAX: u32 = 64 << 20;
const HASHES_MAX: u32 = 64;

/// Why an index cannot be, if it cannot.
pub(crate) fn check(index: &IndexDef, schema: &Schema) -> std::result::Result<(), String> {
    let columns = schema.fields().len();
    for key in &index.keys {
        let field = match &key.source {
            IndexSource::Column(column) => match schema.fields().get(*column) {
                Some(field) if *field.data_type() == key.ty => Field::clone(field),
                _ => return Err(format!("there is no column {column} of type {}", key.ty)),
            },
            IndexSource::Expression { columns: read, .. } => {
                if let Some(column) = read.iter().find(|&&column| column >= columns) {
                    return Err(format!("there is no column {column}"));
                }
                Field::new("", key.ty.clone(), true)
            }
        };
        if !index.kind.takes(&field) {
            return Err(format!("{} does not take values of type {}", index.kind.name(), key.ty));
        }
    }
    let fits =
        |size: &FilterSize| (1..=FILTER_BYTES_MAX).contains(&size.bytes) && (1..=HASHES_MAX).contains(&size.hashes);
    let sound = match &index.kind {
        IndexKind::Bloom(rate) => *rate > 0.0 && *rate < 1.0,
        IndexKind::Ngrams { n, filter } => *n > 0 && fits(filter),
        IndexKind::Tokens(filter) => fits(filter),
        _ => true,
    };
    match sound && !index.keys.is_empty() && (1..=GRANULARITY_MAX).contains(&index.granularity) {
        true => Ok(()),
        false => Err(format!("{} has no such parameters", index.kind)),
    }
}

/// The index of this id.
pub(crate) fn find(def: &TableDef, id: u32) -> Option<&IndexDef> {
    def.indexes.iter().find(|index| index.id == id)
}

/// The values that a list's rows hold, or the array itself: what a Bloom filter is over.
pub(crate) fn elements(values: &ArrayRef) -> ArrayRef {
    use arrow::array::AsArray;
    match values.as_list_opt::<i32>() {
        None => values.clone(),
        Some(list) => {
            let offsets = list.value_offsets();
            let (from, to) = (offsets[0] as usize, offsets[list.len()] as usize);
            list.values().slice(from, to - from)
        }
    }
}
