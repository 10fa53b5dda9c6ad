//! Rows of system relations: [`Cell`]s by column name, made into one batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, StringViewArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Schema, SchemaRef};
use weir_sql::Type;
use weir_sql::catalog::ColumnInfo;

/// A value of a system relation, put into whatever type its column has.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL
    Null,
    /// boolean
    Bool(bool),
    /// Any integer or oid type; microseconds for a timestamp.
    Int(i64),
    /// real, double precision
    Float(f64),
    /// Any text type.
    Text(String),
    /// An array.
    List(Vec<Cell>),
}

impl From<bool> for Cell {
    fn from(v: bool) -> Cell {
        Cell::Bool(v)
    }
}

macro_rules! cell_from_integer {
    ($($ty:ty),*) => {
        $(impl From<$ty> for Cell {
            fn from(v: $ty) -> Cell {
                Cell::Int(v as i64)
            }
        })*
    };
}
cell_from_integer!(i16, i32, i64, u32, u64, usize);

impl From<f64> for Cell {
    fn from(v: f64) -> Cell {
        Cell::Float(v)
    }
}

impl From<&str> for Cell {
    fn from(v: &str) -> Cell {
        Cell::Text(v.to_string())
    }
}

impl From<String> for Cell {
    fn from(v: String) -> Cell {
        Cell::Text(v)
    }
}

impl From<&String> for Cell {
    fn from(v: &String) -> Cell {
        Cell::Text(v.clone())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(v: Option<T>) -> Cell {
        v.map_or(Cell::Null, Into::into)
    }
}

impl<T: Into<Cell>> From<Vec<T>> for Cell {
    fn from(v: Vec<T>) -> Cell {
        Cell::List(v.into_iter().map(Into::into).collect())
    }
}

/// Collects the rows of one relation.
pub struct Rows<'a> {
    columns: &'a [ColumnInfo],
    cells: Vec<Vec<Cell>>,
    rows: usize,
}

impl<'a> Rows<'a> {
    /// None yet.
    pub fn new(columns: &'a [ColumnInfo]) -> Rows<'a> {
        Rows { columns, cells: vec![Vec::new(); columns.len()], rows: 0 }
    }

    /// Whether there is a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.name == name)
    }

    /// Adds a row. A column that is not named is NULL, or false, 0 or "" if it does not admit NULL.
    pub fn push(&mut self, named: &[(&str, Cell)]) {
        for (column, cells) in self.columns.iter().zip(&mut self.cells) {
            let given = named.iter().find(|(name, _)| *name == column.name).map(|(_, cell)| cell.clone());
            cells.push(given.unwrap_or_else(|| blank(column)));
        }
        debug_assert!(
            named.iter().all(|(name, _)| self.columns.iter().any(|c| c.name == *name)),
            "a system relation's row names a column that is not there: {named:?}"
        );
        self.rows += 1;
    }

    /// Adds a row of all columns, in order.
    pub fn push_all(&mut self, row: Vec<Cell>) {
        for (cells, cell) in self.cells.iter_mut().zip(row) {
            cells.push(cell);
        }
        self.rows += 1;
    }

    /// The batch.
    pub fn finish(self) -> RecordBatch {
        let arrays: Vec<ArrayRef> =
            self.columns.iter().zip(&self.cells).map(|(column, cells)| array(&column.ty, cells)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(nullable_schema(self.columns), arrays, &options)
            .expect("each array was made for its column")
    }
}

/// System relations are declared with NOT NULL where Postgres has it, but a batch need not insist.
fn nullable_schema(columns: &[ColumnInfo]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|c| c.ty.field(&c.name, true)).collect::<Vec<_>>()))
}

fn blank(column: &ColumnInfo) -> Cell {
    match (&column.ty, column.nullable) {
        (_, true) => Cell::Null,
        (Type::Bool, _) => Cell::Bool(false),
        (Type::Float4 | Type::Float8, _) => Cell::Float(0.0),
        (Type::Array(_), _) => Cell::List(Vec::new()),
        (ty, _) if ty.is_text() => Cell::Text(String::new()),
        _ => Cell::Int(0),
    }
}

/// An array of a type from cells; cells that do not fit are NULL.
pub(super) fn array(ty: &Type, cells: &[Cell]) -> ArrayRef {
    let ints = || {
        cells.iter().map(|cell| match cell {
            Cell::Int(v) => Some(*v),
            _ => None,
        })
    };
    let floats = || {
        cells.iter().map(|cell| match cell {
            Cell::Float(v) => Some(*v),
            Cell::Int(v) => Some(*v as f64),
            _ => None,
        })
    };
    match ty {
        Type::Bool => Arc::new(BooleanArray::from_iter(cells.iter().map(|cell| match cell {
            Cell::Bool(v) => Some(*v),
            _ => None,
        }))),
        Type::Int2 => Arc::new(Int16Array::from_iter(ints().map(|v| v.map(|v| v as i16)))),
        Type::Int4 => Arc::new(Int32Array::from_iter(ints().map(|v| v.map(|v| v as i32)))),
        Type::Int8 => Arc::new(Int64Array::from_iter(ints())),
        Type::Float4 => Arc::new(Float32Array::from_iter(floats().map(|v| v.map(|v| v as f32)))),
        Type::Float8 => Arc::new(Float64Array::from_iter(floats())),
        Type::Timestamptz => Arc::new(TimestampMicrosecondArray::from_iter(ints()).with_timezone("UTC")),
        Type::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter(ints())),
        ty if ty.is_oid() => Arc::new(UInt32Array::from_iter(ints().map(|v| v.map(|v| v as u32)))),
        Type::Array(element) => lists(element, cells),
        ty if ty.is_text() || matches!(ty, Type::Json | Type::Jsonb | Type::Map(_)) => {
            Arc::new(StringViewArray::from_iter(cells.iter().map(|cell| match cell {
                Cell::Text(v) => Some(v.clone()),
                _ => None,
            })))
        }
        other => new_null_array(&other.to_arrow(), cells.len()),
    }
}

fn lists(element: &Type, cells: &[Cell]) -> ArrayRef {
    let mut items = Vec::new();
    let mut lengths = Vec::with_capacity(cells.len());
    for cell in cells {
        let list: &[Cell] = match cell {
            Cell::List(list) => list,
            _ => &[],
        };
        items.extend_from_slice(list);
        lengths.push(list.len());
    }
    let nulls = NullBuffer::from_iter(cells.iter().map(|cell| matches!(cell, Cell::List(_))));
    Arc::new(ListArray::new(
        element.element_field(),
        OffsetBuffer::from_lengths(lengths),
        array(element, &items),
        Some(nulls),
    ))
}
