//! What a query's value for a row depends on beside its rows: functions that the optimiser writes where it answers a query for many rows at once.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::Int64Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::declare::{INT8, SYSTEM, function};
use super::rows::{Column, batch, primitive};
use super::{Context, Datum, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["weir_single_row"],
            SYSTEM,
            "The value, if it is of one row at the most; of several rows, the error that a subquery has then.",
            ("weir_single_row('a', 1)", "a"),
            vec![Overload::new(vec![Param::Any, INT8], Returns::Argument(0), single_row).lax()],
        ),
        function(
            &["weir_within_limit"],
            SYSTEM,
            "Whether the row of this number is among those that LIMIT (second) and OFFSET (third argument) leave.",
            ("weir_within_limit(3, 2, 1)", "t"),
            vec![Overload::new(vec![INT8, INT8, INT8], Returns::Exact(Type::Bool), within_limit).lax()],
        ),
    ]
}

fn single_row(_: &Context, args: &[Datum], _: usize, _: &Types<'_>) -> Result<Datum> {
    let counts = primitive::<Int64Type>(args, 1)?;
    match counts.array.iter().flatten().any(|count| count > 1) {
        true => Err(several_rows()),
        false => Ok(args[0].clone()),
    }
}

fn within_limit(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let number = primitive::<Int64Type>(args, 0)?;
    let (limit, offset) = (primitive::<Int64Type>(args, 1)?, primitive::<Int64Type>(args, 2)?);
    let bound = |bound: Column<'_, Int64Array>, row: usize| (!bound.is_null(row)).then(|| bound.at(row));
    batch(args, rows, ty.result, |rows| {
        let row = |row: usize| {
            let (limit, offset) = (bound(limit, row), bound(offset, row).unwrap_or(0));
            if limit.is_some_and(|limit| limit < 0) {
                return Err(Error::new(ErrorKind::InvalidLimit, "LIMIT must not be negative"));
            }
            if offset < 0 {
                return Err(Error::new(ErrorKind::InvalidOffset, "OFFSET must not be negative"));
            }
            let nth = number.at(row).saturating_sub(offset);
            Ok(nth > 0 && limit.is_none_or(|limit| nth <= limit))
        };
        Ok(Arc::new((0..rows).map(row).collect::<Result<BooleanArray>>()?))
    })
}

/// The error of a query as a value that has several rows.
pub(crate) fn several_rows() -> Error {
    Error::new(ErrorKind::CardinalityViolation, "more than one row returned by a subquery used as an expression")
}
