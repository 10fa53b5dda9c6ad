//! Aggregates that pick one row's value: argMin and argMax here; `any` and, for types without a faster way, min and max stand on the same
//! [`Extreme`].
//!
//! The row with the smallest key wins, where the key is row bytes of some of the columns, sorted up or down. The state of argMin and
//! argMax is the picked row: the value, what it was picked by, and its position (bigint), which decides between equals.

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, interleave};
use arrow::row::{RowConverter, SortField};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::each_row;
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Order, function};
use crate::error::Result;
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], _: &Type| vec![args[0].clone(), args[1].clone(), Type::Int8];
    let arg = |create| {
        let params = vec![Param::Any, Param::Any];
        vec![AggregateOverload::new(params, Returns::Argument(0), state, create).order(Order::Position)]
    };
    vec![
        function(
            &["argMin", "arg_min", "min_by", "first"],
            "The first argument where the second is least.",
            ("argMin(x, -x)", "3"),
            arg(|call| picked(call, false)),
        ),
        function(
            &["argMax", "arg_max", "max_by", "last"],
            "The first argument where the second is greatest.",
            ("argMax(x, -x)", "1"),
            arg(|call| picked(call, true)),
        ),
    ]
}

fn picked(call: &Call<'_>, greatest: bool) -> Result<Box<dyn Accumulator>> {
    let types = [call.args[0].clone(), call.args[1].clone(), Type::Int8];
    Ok(Box::new(Extreme::new(&types, &[(1, true, greatest), (2, false, false)], &[0, 1])?))
}

/// The row with the smallest key, for each group.
pub(super) struct Extreme {
    types: Vec<Type>,
    /// Columns of the key: which, and whether it is normalised.
    key: Vec<(usize, bool)>,
    /// Rows in which one of these is NULL do not count.
    needed: Vec<usize>,
    converter: RowConverter,
    best: Vec<Option<Box<[u8]>>>,
    pieces: Vec<Vec<ArrayRef>>,
    places: Vec<(usize, usize)>,
    rows: usize,
    bytes: usize,
}

/// Kept pieces are rewritten to the picked rows alone when they have more rows than this, and four times the groups.
const COMPACT: usize = 1 << 16;

impl Extreme {
    /// Over columns of these types, the first of which is the result. The key's columns: which, whether normalised, whether descending.
    pub(super) fn new(types: &[Type], key: &[(usize, bool, bool)], needed: &[usize]) -> Result<Extreme> {
        let fields = key.iter().map(|&(column, normal, descending)| {
            let ty = &types[column];
            let data_type = if normal { keys::normal_type(ty) } else { ty.to_arrow() };
            // NULLs within a value are the greatest of their kind.
            SortField::new_with_options(data_type, SortOptions { descending, nulls_first: descending })
        });
        let mut extreme = Extreme {
            types: types.to_vec(),
            key: key.iter().map(|&(column, normal, _)| (column, normal)).collect(),
            needed: needed.to_vec(),
            converter: RowConverter::new(fields.collect())?,
            best: Vec::new(),
            pieces: Vec::new(),
            places: Vec::new(),
            rows: 0,
            bytes: 0,
        };
        extreme.reset();
        Ok(extreme)
    }

    /// Piece 0 is the NULL of groups without rows.
    fn reset(&mut self) {
        self.pieces = vec![self.types.iter().map(|ty| new_null_array(&ty.to_arrow(), 1)).collect()];
        self.places.clear();
        self.best.clear();
        (self.rows, self.bytes) = (0, 0);
    }

    fn picked(&self, column: usize, n_groups: usize) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = self.pieces.iter().map(|p| p[column].as_ref()).collect();
        let mut places = self.places.clone();
        places.resize(n_groups, (0, 0));
        Ok(interleave(&arrays, &places)?)
    }

    fn compact(&mut self) -> Result<()> {
        let n_groups = self.places.len();
        let columns = (0..self.types.len()).map(|c| self.picked(c, n_groups)).collect::<Result<Vec<_>>>()?;
        self.pieces.truncate(1);
        self.pieces.push(columns);
        for (group, place) in self.places.iter_mut().enumerate() {
            *place = if place.0 == 0 { (0, 0) } else { (1, group) };
        }
        self.rows = n_groups;
        Ok(())
    }
}

impl Accumulator for Extreme {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.best.resize(n_groups.max(self.best.len()), None);
        self.places.resize(n_groups.max(self.places.len()), (0, 0));
        let key = self
            .key
            .iter()
            .map(|&(c, normal)| if normal { keys::normalize(&self.types[c], &args[c]) } else { Ok(args[c].clone()) })
            .collect::<Result<Vec<_>>>()?;
        let rows = self.converter.convert_columns(&key)?;
        let nulls = self.needed.iter().fold(None, |nulls: Option<NullBuffer>, &c| {
            NullBuffer::union(nulls.as_ref(), args[c].logical_nulls().as_ref())
        });
        let piece = self.pieces.len();
        let mut used = false;
        let (best, places, bytes) = (&mut self.best, &mut self.places, &mut self.bytes);
        each_row(groups, nulls.as_ref(), filter, |row, group| {
            let key = rows.row(row);
            let key: &[u8] = key.as_ref();
            if best[group].as_deref().is_none_or(|best| key < best) {
                *bytes += if best[group].is_none() { key.len() } else { 0 };
                best[group] = Some(key.into());
                places[group] = (piece, row);
                used = true;
            }
        });
        if used {
            self.pieces.push(args[..self.types.len()].to_vec());
            self.rows += groups.len();
            if self.rows > COMPACT.max(4 * self.places.len()) {
                self.compact()?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let columns = (0..self.types.len()).map(|c| self.picked(c, n_groups)).collect::<Result<Vec<_>>>()?;
        self.reset();
        Ok(columns)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let column = self.picked(0, n_groups)?;
        self.reset();
        Ok(column)
    }

    fn memory(&self) -> usize {
        self.bytes + self.best.capacity() * 16 + self.places.capacity() * 16 + self.rows * 16 * self.types.len()
    }
}
